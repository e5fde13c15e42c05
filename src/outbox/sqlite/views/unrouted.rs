//! What had nowhere to go, by reason and domain, and which calls a replay would take.
//!
//! An event without SIP attributes is counted with the callers of its call that have no hook: adding that hook
//! and replaying the domain releases the whole call.

mod count;
mod stories;

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Result, Row};

pub use self::count::{Counter, UnroutedCount, at_once, is_much};
pub use self::stories::group_stories;

use crate::calls::{Ground, Keys, Known, Order, Shelf, would_free};
use crate::ids::DeliveryId;
use crate::outbox::sqlite::load::load_without_bodies;
use crate::route::Reason;
use crate::time::UnixMillis;

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
    fn read(row: &Row<'_>) -> Result<Self> {
        let (own, caller): (String, Option<String>) = (row.get(2)?, row.get(5)?);
        let domain = if caller.is_some() { row.get(6)? } else { row.get(3)? };
        Ok(Self {
            id: DeliveryId(row.get(0)?),
            call: row.get(1)?,
            room: row.get(7)?,
            of_caller: caller.is_some(),
            reason: caller.unwrap_or(own),
            domain,
            received_at: UnixMillis(row.get(4)?),
        })
    }

    fn key(&self) -> &str {
        self.call.as_deref().or(self.room.as_deref()).unwrap_or_default()
    }
}

/// Reads unrouted events, as [`Seen::read`] does.
const SEEN: &str = "SELECT seq, events.call, outcome, events.domain, received_at, participants.reason, \
     participants.domain, events.room FROM events INDEXED BY events_waiting LEFT JOIN participants \
     ON participants.call = events.call AND participants.hook IS NULL AND outcome = 'no_call' \
     WHERE state >= 3 AND outcome <> 'held'";

/// Looks at every unrouted event, call by call.
fn each(connection: &Connection, mut look: impl FnMut(Seen)) -> Result<()> {
    let mut statement = connection.prepare(&format!("{SEEN} ORDER BY events.call"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        look(Seen::read(row)?);
    }
    Ok(())
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
