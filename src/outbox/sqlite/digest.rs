//! What is derived from events a few seconds after they came, many at once: an index entry or a counter that each
//! event wrote by itself would cost it a page.

pub mod facts;
pub mod index;
mod mark;
pub mod usage;

use rusqlite::{Connection, OptionalExtension, Result, params};

pub use self::mark::digested;

use self::usage::Usage;
use crate::calls::DigestPart;
use crate::ids::DeliveryId;
use crate::time::UnixMillis;

/// Events are digested when they are this old: most are delivered by then, and their rows are final.
const AFTER_MS: i64 = 5000;

/// One transaction digests so many rows: the next events wait for it, about as long as for the disk. Smaller parts cost more.
const ROWS: i64 = 128;

/// Parts that are planned at once: a router that was suspended, or busy, for some seconds has no more than that to do.
const PARTS: usize = 150;

/// While more is due, so many parts are one: that is less work, but events wait longer for it.
const TOGETHER: usize = 4;

/// The parts that are to be digested next.
#[derive(Debug, PartialEq, Eq)]
pub struct DigestPlan {
    pub parts: Vec<DigestPart>,
    /// Much is due.
    pub is_behind: bool,
}

/// Whether the history of an older release is being copied.
pub fn is_copying(connection: &Connection) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM predecessor WHERE done_at IS NULL")?.exists([])
}

/// The parts to digest next. None while the history of an older release is copied: its rows are older than those that are
/// stored already, and are digested before them.
pub fn plan(connection: &Connection, now: UnixMillis) -> Result<DigestPlan> {
    if is_copying(connection)? {
        return Ok(DigestPlan { parts: Vec::new(), is_behind: false });
    }
    let (mut parts, mut after) = (Vec::new(), digested(connection)?);
    while parts.len() < PARTS {
        let Some(up_to) = end_of_part(connection, after, now)? else { break };
        parts.push(DigestPart { after, up_to });
        after = up_to;
    }
    let is_behind = parts.len() == PARTS;
    let together = if is_behind { TOGETHER } else { 1 };
    let joined =
        |parts: &[DigestPart]| Some(DigestPart { after: parts.first()?.after, up_to: parts.last()?.up_to });
    Ok(DigestPlan { parts: parts.chunks(together).filter_map(joined).collect(), is_behind })
}

/// The last row of the part behind `after`; none if the next rows are too young. A row from the future came before the clock
/// stepped back: it may be old. One that came after `now` was read is hardly so far ahead.
fn end_of_part(connection: &Connection, after: i64, now: UnixMillis) -> Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT max(seq) FROM (SELECT seq, received_at FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2) \
             WHERE received_at <= ?3 - ?4 OR received_at > ?3 + ?4",
        )?
        .query_row(params![after, ROWS, now.0, AFTER_MS], |row| row.get(0))
        .optional()
        .map(Option::flatten)
}

/// Digests a part; not twice.
pub fn run(connection: &Connection, usage: &mut Usage, part: DigestPart) -> Result<()> {
    if digested(connection)? != part.after {
        return Ok(());
    }
    usage.digest(connection, part.after, part.up_to)?;
    index::enter(connection, part.after, part.up_to)?;
    facts::copy(connection, part)?;
    connection.prepare_cached("UPDATE progress SET digested = ?1")?.execute([part.up_to]).map(drop)
}

/// Indexes a row that has another hook or call than before, and corrects its facts; one that is not digested yet is
/// entered later.
pub fn enter_again(connection: &Connection, id: DeliveryId) -> Result<()> {
    if id.0 > digested(connection)? {
        return Ok(());
    }
    index::enter(connection, id.0 - 1, id.0)?;
    facts::correct(connection, id)
}

/// Corrects the facts of events that have another outcome than before; an event that is not digested has none yet.
pub fn correct_facts(connection: &Connection, ids: &[DeliveryId]) -> Result<()> {
    let digested = digested(connection)?;
    ids.iter().filter(|id| id.0 <= digested).try_for_each(|id| facts::correct(connection, *id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Tenant;
    use crate::outbox::sqlite::events;
    use crate::outbox::sqlite::schema::in_memory;
    use crate::route::Reason;

    fn fill(store: &Connection, count: i64, received_at: i64) {
        for _ in 0..count {
            let sql = "INSERT INTO events (id, event, received_at, outcome, size, state) \
                       SELECT 'EV_' || (SELECT coalesce(max(seq), 0) FROM events), 'room_started', ?1, 'domain', 9, 1";
            store.execute(sql, [received_at]).expect("a row");
        }
    }

    #[test]
    fn events_are_digested_in_parts_once_they_are_old_enough() {
        let store = in_memory();
        fill(&store, ROWS + 10, 1000);
        fill(&store, 5, 2000);
        let plan = |now| plan(&store, UnixMillis(now)).expect("a plan").parts;
        assert_eq!(plan(1000 + AFTER_MS - 1), []);
        let parts = [(0, ROWS), (ROWS, ROWS + 10)].map(|(after, up_to)| DigestPart { after, up_to });
        assert_eq!(plan(1000 + AFTER_MS), parts);
        for part in [parts[0], parts[0], parts[1]] {
            run(&store, &mut Usage::default(), part).expect("digested");
        }
        assert_eq!(digested(&store).expect("progress"), ROWS + 10);
        assert_eq!(plan(2000 + AFTER_MS), [DigestPart { after: ROWS + 10, up_to: ROWS + 15 }]);
        store.execute("INSERT INTO predecessor VALUES (1, 'old', 2, 0, 0, 0, NULL)", []).expect("a row");
        assert_eq!(plan(2000 + AFTER_MS), []);
    }

    #[test]
    fn what_is_behind_is_digested_in_larger_parts() {
        let store = in_memory();
        let plan = || plan(&store, UnixMillis(1000 + AFTER_MS)).expect("a plan");
        fill(&store, ROWS * (PARTS as i64 - 1), 1000);
        let paced = plan();
        assert_eq!((paced.parts.len(), paced.is_behind), (PARTS - 1, false));
        fill(&store, ROWS, 1000);
        let behind = plan();
        let large = DigestPart { after: 0, up_to: ROWS * TOGETHER as i64 };
        assert_eq!((behind.parts[0], behind.parts.len()), (large, PARTS.div_ceil(TOGETHER)));
        let last = behind.parts.last().map(|part| part.up_to);
        assert_eq!((last, behind.is_behind), (Some(ROWS * PARTS as i64), true));
    }

    #[test]
    fn events_from_before_the_clock_stepped_back_do_not_wait_until_it_is_as_late_again() {
        let store = in_memory();
        let plan = |now| plan(&store, UnixMillis(now)).expect("a plan").parts.last().map(|part| part.up_to);
        let now = 1_000_000;
        fill(&store, 10, now + 3_600_000);
        assert_eq!(plan(now), Some(10));
        fill(&store, 5, now - 1);
        assert_eq!(plan(now), Some(10));
        assert_eq!(plan(now + AFTER_MS), Some(15));
        // Such an event came after the time was read: it is young.
        fill(&store, 1, now + AFTER_MS + 1);
        assert_eq!(plan(now + AFTER_MS), Some(15));
    }

    #[test]
    fn facts_of_an_event_that_gets_another_tenant_have_it_too() {
        let store = in_memory();
        let sql = "INSERT INTO events (id, event, received_at, outcome, size, state, sip) \
                   VALUES ('EV_1', 'participant_joined', 1000, 'held', 9, 4, 1)";
        store.execute(sql, []).expect("a row");
        run(&store, &mut Usage::default(), DigestPart { after: 0, up_to: 1 }).expect("digested");
        let tenant = Tenant::new("acme");
        events::stay(&store, DeliveryId(1), "RM_1", Reason::Filtered, tenant.as_ref()).expect("stays");
        let facts = "SELECT outcome || ' ' || call || ' ' || tenant FROM facts";
        let facts: String = store.query_row(facts, [], |row| row.get(0)).expect("a fact");
        assert_eq!(facts, "filtered RM_1 acme");
    }

    #[test]
    fn facts_of_an_event_that_no_call_was_found_for_within_its_hold_do_not_say_that_it_is_held() {
        let store = in_memory();
        let sql = "INSERT INTO events (id, event, received_at, outcome, size, state, sip) \
                   VALUES (?1, 'participant_joined', 1000, 'held', 9, 4, 2)";
        for id in ["EV_digested", "EV_young"] {
            store.execute(sql, [id]).expect("a row");
        }
        run(&store, &mut Usage::default(), DigestPart { after: 0, up_to: 1 }).expect("digested");
        events::end_hold(&store, &[DeliveryId(1), DeliveryId(2)]).expect("unrouted");
        run(&store, &mut Usage::default(), DigestPart { after: 1, up_to: 2 }).expect("digested");
        let facts = "SELECT group_concat(outcome ORDER BY seq) FROM facts";
        let facts: String = store.query_row(facts, [], |row| row.get(0)).expect("facts");
        assert_eq!(facts, "no_call,no_call");
    }
}
