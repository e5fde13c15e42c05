//! Counts what is unrouted, by reason and domain: at once where it is little, else in parts, each a read transaction of
//! its own: one that lasts would keep the write-ahead log from being checkpointed.

use std::collections::HashMap;

use rusqlite::{Connection, Params, Result, Row};

use super::{SEEN, Seen};
use crate::access::Scope;
use crate::ids::DeliveryId;
use crate::route;
use crate::time::UnixMillis;

/// Callers can dial any domain, so the groups are bounded: beyond this many, all others are one group.
const GROUPS: usize = 10_000;

/// The domain of that last group.
pub const OTHERS: &str = "(others)";

/// Rows that are counted for each request; more are counted in the background.
const FEW: i64 = 20_000;

/// What is unrouted for one reason, with one domain.
#[derive(Clone, Debug)]
pub struct Group {
    /// The tenant whose own LiveKit the events are of; empty: the platform's.
    space: String,
    pub reason: String,
    pub domain: Option<String>,
    pub events: usize,
    pub calls: usize,
    pub last_seen: UnixMillis,
    /// The last one's row.
    pub latest: DeliveryId,
}

/// What is unrouted, counted.
#[derive(Debug, Default)]
pub struct UnroutedCount {
    groups: Vec<Group>,
    /// When counting began.
    pub at: UnixMillis,
}

/// Whether too much is unrouted to be counted for each request.
pub fn is_much(connection: &Connection) -> Result<bool> {
    let rows =
        "SELECT count(*) FROM (SELECT 1 FROM events INDEXED BY events_waiting WHERE state >= 3 LIMIT ?1)";
    let rows: i64 = connection.prepare_cached(rows)?.query_row([FEW + 1], |row| row.get(0))?;
    Ok(rows > FEW)
}

/// Counts all of it at once.
pub fn at_once(connection: &Connection, now: UnixMillis) -> Result<UnroutedCount> {
    let mut counter = Counter::default();
    while counter.part(connection, FEW)? {}
    Ok(counter.finish(now))
}

impl UnroutedCount {
    /// The groups that a scope covers, what can be mended first.
    pub fn groups(&self, scope: &Scope) -> Vec<Group> {
        let mut seen: HashMap<(&str, Option<&str>), Group> = HashMap::new();
        let covered =
            self.groups.iter().filter(|group| scope.sees_unrouted(&group.space, group.domain.as_deref()));
        for group in covered {
            let key = (group.reason.as_str(), group.domain.as_deref());
            seen.entry(key).and_modify(|known| known.add(group)).or_insert_with(|| group.clone());
        }
        let mut groups: Vec<Group> = seen.into_values().collect();
        groups.sort_by(|a, b| {
            (a.rank(), b.events, &a.domain, &a.reason).cmp(&(b.rank(), a.events, &b.domain, &b.reason))
        });
        groups
    }
}

impl Group {
    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.calls += other.calls;
        if other.last_seen > self.last_seen {
            (self.last_seen, self.latest) = (other.last_seen, other.latest);
        }
    }

    fn rank(&self) -> u8 {
        match self.reason.as_str() {
            "no_hook" => 0,
            "bad_domain" => 1,
            "no_domain" => 2,
            "no_call" => 4,
            _ => 3,
        }
    }
}

/// How far counting has come: events are read call by call, those without a session first.
#[derive(Default)]
enum Place {
    /// Events that know neither session nor room.
    #[default]
    Alone,
    /// Events that know their room's name only, behind this one.
    Rooms(String),
    /// Events of sessions, behind this one.
    Calls(String),
    End,
}

/// A group while it is counted.
struct Counting {
    group: Group,
    /// The last call counted, and the last event.
    call: Option<String>,
    event: DeliveryId,
}

/// Counts part by part.
#[derive(Default)]
pub struct Counter {
    groups: HashMap<(String, String, Option<String>), Counting>,
    place: Place,
}

impl Counter {
    /// Counts about `rows` more; false: that was all.
    pub fn part(&mut self, connection: &Connection, rows: i64) -> Result<bool> {
        self.place = match std::mem::take(&mut self.place) {
            Place::Alone => {
                self.each(connection, "events.call IS NULL AND events.room IS NULL", [])?;
                Place::Rooms(String::new())
            }
            Place::Rooms(after) => match last(connection, "call IS NULL AND room", (&after, rows))? {
                Some(last) => {
                    let these = "events.call IS NULL AND events.room > ?1 AND events.room <= ?2";
                    self.each(connection, these, (after, &last))?;
                    Place::Rooms(last)
                }
                None => Place::Calls(String::new()),
            },
            Place::Calls(after) => match last(connection, "call", (&after, rows))? {
                Some(last) => {
                    self.each(connection, "events.call > ?1 AND events.call <= ?2", (after, &last))?;
                    Place::Calls(last)
                }
                None => Place::End,
            },
            Place::End => Place::End,
        };
        Ok(!matches!(self.place, Place::End))
    }

    /// What was counted.
    pub fn finish(self, at: UnixMillis) -> UnroutedCount {
        UnroutedCount { groups: self.groups.into_values().map(|counting| counting.group).collect(), at }
    }

    fn each(&mut self, connection: &Connection, these: &str, params: impl Params) -> Result<()> {
        let mut seen =
            connection.prepare_cached(&format!("{SEEN} AND {these} ORDER BY events.call, events.room"))?;
        let mut rows = seen.query(params)?;
        while let Some(row) = rows.next()? {
            self.count(Seen::read(row)?);
        }
        Ok(())
    }

    fn count(&mut self, seen: Seen) {
        let space = route::space(seen.key()).to_owned();
        let mut key = (space, seen.reason, seen.domain);
        if self.groups.len() >= GROUPS && !self.groups.contains_key(&key) {
            key.2 = Some(OTHERS.to_owned());
        }
        let counting = self.groups.entry(key.clone()).or_insert_with(|| {
            let (space, reason, domain) = key;
            let (last_seen, latest) = (UnixMillis(0), seen.id);
            let group = Group { space, reason, domain, events: 0, calls: 0, last_seen, latest };
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
        if seen.call.is_some() && counting.call != seen.call {
            group.calls += 1;
            counting.call = seen.call;
        }
    }
}

/// The last key of a part: behind `after`, about so many rows on. `column`: with what precedes it in the index.
fn last(connection: &Connection, column: &str, (after, rows): (&str, i64)) -> Result<Option<String>> {
    let key = column.rsplit(' ').next().unwrap_or(column);
    connection
        .prepare_cached(&format!(
            "SELECT max(key) FROM (SELECT {key} AS key FROM events INDEXED BY events_waiting \
             WHERE state >= 3 AND {column} > ?1 ORDER BY {key} LIMIT ?2)"
        ))?
        .query_row((after, rows), |row: &Row<'_>| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Grant;
    use crate::hooks::Tenant;
    use crate::outbox::sqlite::schema::in_memory;

    /// Unrouted events of calls, rooms without a session and events that know no room; of two spaces.
    fn fill(store: &Connection) {
        let add = "INSERT INTO events (id, event, received_at, outcome, size, state, call, room, domain) \
                   SELECT 'EV_' || (SELECT count(*) FROM events), 'x', (SELECT count(*) FROM events), ?1, 9, ?2, ?3, ?4, ?5";
        let add =
            |outcome: &str, state: i64, call: Option<&str>, room: Option<&str>, domain: Option<&str>| {
                store.execute(add, (outcome, state, call, room, domain)).expect("a row");
            };
        for n in 0..7 {
            let (call, own) = (format!("RM_{n}"), format!("RM_{n}@acme"));
            add("no_hook", 3, Some(&call), Some("r"), Some("typo.example"));
            add("no_call", 3, Some(&call), Some("r"), None);
            add("no_hook", 3, Some(&own), Some("r@acme"), Some("typo.example"));
            add("no_call", 5, Some(&format!("RM_web{n}")), Some("web"), None);
            add("no_call", 5, None, Some(&format!("room{}", n % 2)), None);
            add("no_call", 3, None, None, None);
            add("held", 4, Some(&call), Some("r"), None);
            let nowhere =
                "INSERT INTO participants (call, participant, reason, domain) VALUES (?1, ?2, 'no_hook', ?3)";
            for (sid, domain) in
                [("PA_1", "typo.example"), ("PA_2", "typo.example"), ("PA_3", "other.example")]
            {
                store.execute(nowhere, (&call, sid, domain)).expect("a row");
            }
        }
    }

    fn told(counted: &UnroutedCount, scope: &Scope) -> Vec<(String, Option<String>, usize, usize)> {
        let groups = counted.groups(scope).into_iter();
        groups.map(|group| (group.reason, group.domain, group.events, group.calls)).collect()
    }

    #[test]
    fn counting_in_parts_is_the_same_as_at_once() {
        let store = in_memory();
        fill(&store);
        let operator = Scope::for_tests();
        let whole = at_once(&store, UnixMillis(5)).expect("counted");
        let expected = [
            ("no_hook", Some("typo.example"), 21, 14),
            ("no_hook", Some("other.example"), 7, 7),
            ("no_call", None, 21, 7),
        ];
        let expected = expected.map(|(reason, domain, events, calls)| {
            (reason.to_owned(), domain.map(str::to_owned), events, calls)
        });
        assert_eq!(told(&whole, &operator), expected);
        for rows in [1, 2, 3, 10] {
            let (mut counter, mut parts) = (Counter::default(), 0);
            while counter.part(&store, rows).expect("a part") {
                parts += 1;
            }
            assert!(parts >= 21 / rows, "{parts}");
            assert_eq!(told(&counter.finish(UnixMillis(5)), &operator), expected);
        }
        let tenant = Tenant::new("acme").expect("a name");
        let (hosts, numbers, trunks, livekit) = Default::default();
        let grant = Grant { tenant, hosts, numbers, trunks, livekit, private: false };
        let acme = Scope::of_tenant_for_tests(grant);
        assert_eq!(told(&whole, &acme), [("no_hook".to_owned(), Some("typo.example".to_owned()), 7, 7)]);
    }

    #[test]
    fn beyond_ten_thousand_groups_of_unrouted_events_the_others_are_one() {
        let store = in_memory();
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10005) \
                    INSERT INTO events (id, event, received_at, outcome, size, state, call, domain) \
                    SELECT 'EV_' || i, 'x', i, 'no_hook', 9, 3, 'RM_' || printf('%05d', i), i || '.example' FROM n";
        store.execute_batch(fill).expect("rows");
        let counted = at_once(&store, UnixMillis(5)).expect("counted");
        let groups = told(&counted, &Scope::for_tests());
        assert_eq!(groups.len(), GROUPS + 1);
        let others =
            groups.iter().find(|(_, domain, ..)| domain.as_deref() == Some(OTHERS)).expect("the others");
        assert_eq!((others.2, others.3), (5, 5));
    }
}
