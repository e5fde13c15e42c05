//! What had nowhere to go, by reason and domain, and which calls a replay would take.
//!
//! An event without SIP attributes is counted with the callers of its call that have no hook: adding that hook
//! and replaying the domain releases the whole call.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, Result, Row};

use super::event::sees_unrouted;
use crate::access::Scope;
use crate::calls::{Ground, Keys, Known, Order, Shelf, would_free};
use crate::domain::Domain;
use crate::event::Event;
use crate::hooks::HookTable;
use crate::ids::DeliveryId;
use crate::outbox::sqlite::load::load_without_bodies;
use crate::route::Reason;
use crate::time::UnixMillis;
use crate::wire::GroupStory;

/// Callers can dial any domain, so the groups are bounded: beyond this many, all others are one group.
const GROUPS: usize = 10_000;

/// The domain of that last group.
const OTHERS: &str = "(others)";

/// What is unrouted for one reason, with one domain.
#[derive(Debug)]
pub struct Group {
    pub reason: String,
    pub domain: Option<String>,
    pub events: usize,
    pub calls: usize,
    pub last_seen: UnixMillis,
    /// The last one's row.
    latest: DeliveryId,
}

/// Which unrouted events are meant; what is absent restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct UnroutedFilter {
    pub domain: Option<String>,
    pub reason: Option<String>,
    /// A room's sid.
    pub call: Option<String>,
    pub since: Option<UnixMillis>,
    pub until: Option<UnixMillis>,
    /// Calls whose first event's row is behind this one.
    pub after: i64,
}

impl UnroutedFilter {
    fn takes(&self, seen: &Seen) -> bool {
        let fits = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        fits(&self.reason, Some(&seen.reason))
            && fits(&self.domain, seen.domain.as_deref())
            && fits(&self.call, seen.call.as_deref())
            && self.since.is_none_or(|since| seen.received_at >= since)
            && self.until.is_none_or(|until| seen.received_at < until)
    }
}

/// An unrouted event, by its own reason or by that of a caller in its call.
struct Seen {
    id: DeliveryId,
    call: Option<String>,
    /// Its room's key, for events that know no session.
    room: Option<String>,
    reason: String,
    domain: Option<String>,
    received_at: UnixMillis,
    /// The reason is that of a caller in its call.
    of_caller: bool,
}

impl Seen {
    fn key(&self) -> &str {
        self.call.as_deref().or(self.room.as_deref()).unwrap_or_default()
    }
}

/// Looks at every unrouted event, call by call.
fn each(connection: &Connection, mut look: impl FnMut(Seen)) -> Result<()> {
    let read = |row: &Row<'_>| -> Result<Seen> {
        let (own, caller): (String, Option<String>) = (row.get(2)?, row.get(5)?);
        let domain = if caller.is_some() { row.get(6)? } else { row.get(3)? };
        Ok(Seen {
            id: DeliveryId(row.get(0)?),
            call: row.get(1)?,
            room: row.get(7)?,
            of_caller: caller.is_some(),
            reason: caller.unwrap_or(own),
            domain,
            received_at: UnixMillis(row.get(4)?),
        })
    };
    let mut statement = connection.prepare(
        "SELECT seq, events.call, outcome, events.domain, received_at, participants.reason, participants.domain, \
         events.room FROM events INDEXED BY events_waiting LEFT JOIN participants ON participants.call = events.call \
         AND participants.hook IS NULL AND outcome = 'no_call' \
         WHERE state >= 3 AND outcome <> 'held' ORDER BY events.call",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        look(read(row)?);
    }
    Ok(())
}

/// A group while it is counted.
struct Counting {
    group: Group,
    /// The last call counted, and the last event.
    call: Option<String>,
    event: DeliveryId,
}

/// What is unrouted, by reason and domain, as far as the scope covers it.
fn groups(connection: &Connection, scope: &Scope) -> Result<Vec<Group>> {
    let mut groups: HashMap<(String, Option<String>), Counting> = HashMap::new();
    each(connection, |seen| {
        if !sees_unrouted(scope, seen.key(), seen.domain.as_deref()) {
            return;
        }
        let mut key = (seen.reason, seen.domain);
        if groups.len() >= GROUPS && !groups.contains_key(&key) {
            key.1 = Some(OTHERS.to_owned());
        }
        let counting = groups.entry(key.clone()).or_insert_with(|| {
            let (reason, domain) = key;
            let group =
                Group { reason, domain, events: 0, calls: 0, last_seen: UnixMillis(0), latest: seen.id };
            Counting { group, call: None, event: DeliveryId(0) }
        });
        // Two callers of one call may have dialled the same.
        if std::mem::replace(&mut counting.event, seen.id) == seen.id {
            return;
        }
        let group = &mut counting.group;
        group.events += 1;
        if seen.received_at >= group.last_seen {
            (group.last_seen, group.latest) = (seen.received_at, seen.id);
        }
        // Events are read call by call.
        if seen.call.is_some() && counting.call != seen.call {
            group.calls += 1;
            counting.call = seen.call;
        }
    })?;
    let mut groups: Vec<Group> = groups.into_values().map(|counting| counting.group).collect();
    // What can be mended comes first.
    let rank = |group: &Group| match group.reason.as_str() {
        "no_hook" => 0,
        "bad_domain" => 1,
        "no_domain" => 2,
        "no_call" => 4,
        _ => 3,
    };
    groups.sort_by(|a, b| {
        (rank(a), b.events, &a.domain, &a.reason).cmp(&(rank(b), a.events, &b.domain, &b.reason))
    });
    Ok(groups)
}

/// More hosts than this are searched only for the first few groups.
const LARGE_TABLE: usize = 1000;
const SEARCHES: usize = 20;

/// The groups from `skip` on, at most `limit`, with what is to be done about each; and whether there are more.
pub fn group_stories(
    connection: &Connection,
    scope: &Scope,
    table: &HookTable,
    (skip, limit): (usize, usize),
) -> Result<(Vec<GroupStory>, bool)> {
    let groups = groups(connection, scope)?;
    let more = groups.len() > skip.saturating_add(limit);
    let page = groups.into_iter().skip(skip).take(limit);
    let told = (0..).zip(page).map(|(rank, group)| tell(connection, scope, table, group, rank));
    Ok((told.collect::<Result<_>>()?, more))
}

/// A group as the API tells it; `rank`: its place on the page.
fn tell(
    connection: &Connection,
    scope: &Scope,
    table: &HookTable,
    group: Group,
    rank: usize,
) -> Result<GroupStory> {
    let is_domain = |domain: &&String| group.reason == "no_hook" && *domain != OTHERS;
    let domain = group.domain.as_ref().filter(is_domain).map(|domain| Domain::stored(domain));
    let hook = domain.as_ref().and_then(|domain| table.by_domain(domain));
    let hook = hook.filter(|hook| scope.sees(hook.tenant.as_str()));
    let search = hook.is_none() && (table.len() <= LARGE_TABLE || rank < SEARCHES || !scope.is_operator());
    let nearest = domain.filter(|_| search).map(|domain| nearest(scope, table, &domain)).unwrap_or_default();
    let fix = match (hook, &group.domain) {
        (Some(hook), Some(domain)) => {
            let tenant = &hook.tenant;
            format!("It has a hook by now ({tenant}): switchhook replay --unrouted --domain {domain}")
        }
        _ => fix(connection, &group)?,
    };
    let last_seen = group.last_seen.to_string();
    let Group { reason, domain, events, calls, .. } = group;
    Ok(GroupStory { reason, domain, events, calls, last_seen, nearest, fix })
}

/// The hosts most like a domain, among those that the scope covers.
fn nearest(scope: &Scope, table: &HookTable, domain: &Domain) -> Vec<String> {
    match scope.tenant() {
        Some(tenant) => table.of(tenant).nearest(domain),
        None => table.all().nearest(domain),
    }
}

/// What is to be done about a group, as exactly as its last event tells.
fn fix(connection: &Connection, group: &Group) -> Result<String> {
    let Some(reason) = Reason::named(&group.reason) else {
        return Ok(String::new());
    };
    if reason == Reason::NoDomain {
        // Only the caller's own events name the trunk.
        let mut bodies = connection.prepare_cached(
            "SELECT body FROM events JOIN bodies USING (seq) WHERE state >= 3 AND outcome = 'no_domain' \
             AND call = (SELECT call FROM events WHERE seq = ?1) ORDER BY seq LIMIT 50",
        )?;
        let mut bodies = bodies.query([group.latest.0])?;
        while let Some(row) = bodies.next()? {
            let body: Vec<u8> = row.get(0)?;
            if let Some(caller) = Event::parse(&body).ok().and_then(|event| event.caller) {
                return Ok(reason.advice(Some(&caller), None));
            }
        }
    }
    Ok(reason.advice(None, group.domain.as_deref().filter(|domain| *domain != OTHERS)))
}

/// Calls whose unrouted events a replay takes.
#[derive(Clone, Debug, Default)]
pub struct Reroute {
    /// By key, in the order of their first event, with the number of their events.
    pub(in crate::outbox) calls: Vec<(Arc<str>, usize)>,
    /// Events of them all.
    pub events: usize,
    /// How many of those would have a hook.
    pub with_hook: usize,
    /// Where the rest begins, if there is one.
    pub next: Option<i64>,
}

impl Reroute {
    /// Of how many calls.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }
}

/// Finds the calls that `selection` means, and what the present table makes of them; ends with the call
/// that makes it `limit` events.
pub fn plan(
    connection: &Connection,
    ground: Ground<'_>,
    selection: &UnroutedFilter,
    limit: usize,
) -> Result<Reroute> {
    // Its first event, and whether a caller is why it waits.
    let mut first: BTreeMap<String, (DeliveryId, bool)> = BTreeMap::new();
    each(connection, |seen| {
        if selection.takes(&seen)
            && Reason::named(&seen.reason).is_some_and(Reason::is_mendable)
            && let Some(call) = seen.call
        {
            let (first, of_caller) = first.entry(call).or_insert((seen.id, seen.of_caller));
            *first = seen.id.min(*first);
            *of_caller |= seen.of_caller || seen.domain.is_some();
        }
    })?;
    let mut calls: Vec<_> =
        first.into_iter().map(|(call, (first, of_caller))| (first, call, of_caller)).collect();
    calls.sort();
    let (mut plan, mut last) = (Reroute::default(), selection.after);
    for (first, call, of_caller) in calls.into_iter().filter(|(first, ..)| first.0 > selection.after) {
        if plan.events >= limit {
            plan.next = Some(last);
            break;
        }
        if !of_caller && is_without_sip(connection, &call)? {
            continue;
        }
        last = first.0;
        let session: Arc<str> = call.into();
        let (with_hook, events) = rehearse(connection, ground, &session)?;
        plan.with_hook += with_hook;
        plan.events += events;
        plan.calls.push((session, events));
    }
    Ok(plan)
}

/// Whether no SIP participant was seen in a session: no hook will ever have its events.
fn is_without_sip(connection: &Connection, session: &str) -> Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM events WHERE call = ?1 AND state >= 3 AND state = ?2")?
        .exists((session, Shelf::WithoutSip as i64))
}

/// How many of a session's events a replay would give a hook, and how many there are.
fn rehearse(connection: &Connection, ground: Ground<'_>, session: &Arc<str>) -> Result<(usize, usize)> {
    let (mut known, at) = (Known::default(), UnixMillis(0));
    let order = Order::Reroute { sessions: vec![Arc::clone(session)], at };
    loop {
        let mut keys = Keys::default();
        keys.of_order(&known, &ground, &order);
        if keys.is_empty() {
            return Ok(would_free(&known, ground, session));
        }
        known.learn(load_without_bodies(connection, &keys)?);
    }
}
