//! What is kept, for how long and how much of it. Pending deliveries are never swept.
//!
//! A reader plans, the writer only removes: no append waits for a search.

mod ended;
pub mod erasure;
pub mod kept;
pub mod letters;
mod room;
mod stale;

use std::time::Duration;

use rusqlite::{Connection, Result, Row, params};

use super::digest::facts;
use super::digest::usage::{self, Usage};
use super::events::Bodies;
use super::events::state::hidden_among;
use super::sessions::numbers;
use super::{audit, events, pending};
use crate::calls::{LastNumber, Shelf, Sweep, Walked};
use crate::ids::DeliveryId;
use crate::time::{UnixMillis, millis};

/// How long and how much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Delivered events, without their bodies.
    pub history: Duration,
    /// Dead letters and unrouted events.
    pub kept: Duration,
    /// What routing read of calls' SIP participants, for the preview of an edit.
    pub facts: Duration,
    /// Bytes of the bodies of dead letters, and as much again of unrouted events.
    pub kept_bytes: i64,
    /// Bytes of the bodies of unrouted events of rooms without SIP, which are rarely replayed.
    pub without_sip_bytes: i64,
    /// Bytes of the bodies of delivered events whose hooks keep them.
    pub delivered_bytes: i64,
    /// Bytes of the whole database file.
    pub store_bytes: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            history: Duration::from_secs(24 * 3600),
            kept: Duration::from_secs(7 * 24 * 3600),
            facts: Duration::from_secs(7 * 24 * 3600),
            kept_bytes: 1 << 30,
            without_sip_bytes: 256 << 20,
            delivered_bytes: 1 << 30,
            store_bytes: i64::MAX,
        }
    }
}

/// At most this many rows of each kind in one round.
const ROWS: usize = Sweep::ROWS;

/// Of all dead letters' bodies, and of all kept bodies of delivered events, a tenant's are at most this part.
const PARTS: i64 = 10;

/// What waits longer than this is parked.
const PARKED_AFTER: Duration = Duration::from_secs(30);

/// The walk looks at this many rows in one round.
const WALK: usize = 10 * ROWS;

/// Plans a round: what is past its time or over its room, oldest first. `walked`: how far the walks came with
/// the round before.
pub fn plan(
    connection: &Connection,
    retention: &Retention,
    now: UnixMillis,
    walked: Walked,
) -> Result<Sweep> {
    let before = |keep: Duration| now.0.saturating_sub(millis(keep));
    let silent_since = before(retention.history);
    let sweep = Sweep { silent_since, walked, ..Sweep::default() };
    let mut planner = SweepPlanner { connection, sweep };
    let over = used_bytes(connection)? - retention.store_bytes;
    planner.park(now)?;
    planner.walk(silent_since)?;
    for shelf in [Shelf::Dead, Shelf::Unrouted] {
        planner.expire(shelf, before(retention.kept))?;
        let over = beyond(connection, shelf, retention.kept_bytes)?;
        planner.sweep.events.extend(over.into_iter().map(|id| (id, shelf)));
    }
    planner.expire(Shelf::WithoutSip, before(retention.kept))?;
    planner.sweep.stripped = beyond(connection, Shelf::WithoutSip, retention.without_sip_bytes)?;
    planner.sweep.facts = facts::plan(connection, now, retention.facts)?;
    planner.sweep.exhausted = over > 0 && !planner.make_room(over)?;
    ended::calls(connection, &mut planner.sweep, now, before(retention.kept))?;
    ended::chains(connection, &mut planner.sweep)?;
    stale::plan(connection, &mut planner.sweep, if over > 0 { i64::MAX } else { silent_since })?;
    planner.sweep.numbers = numbers::beyond(connection)?;
    planner.sweep.audit = audit::plan(connection, now)?;
    planner.sweep.usage = usage::surplus(connection, now)?;
    // The newest row stays: see `remove_events`. Named here, it would go if the commit of this round is repeated after
    // that of a newer row.
    let newest: i64 =
        connection.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    planner.sweep.events.retain(|(id, _)| id.0 < newest);
    Ok(planner.sweep)
}

/// A round while it is planned.
struct SweepPlanner<'c> {
    connection: &'c Connection,
    sweep: Sweep,
}

impl SweepPlanner<'_> {
    /// Parks what has waited for a while: see `events_parked`.
    fn park(&mut self, now: UnixMillis) -> Result<()> {
        let from = pending::progress(self.connection)?;
        self.sweep.progress = (from, from);
        let before = now.0.saturating_sub(millis(PARKED_AFTER));
        let mut rows = self.connection.prepare_cached(
            "SELECT seq, received_at, state FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = rows.query(params![from, Sweep::BEHIND as i64])?;
        while let Some(row) = rows.next()? {
            let is_young = number(row, 1)?.is_some_and(|received_at| received_at > before);
            if is_young || self.sweep.parked.len() >= ROWS {
                break;
            }
            let seq = row.get(0)?;
            if number(row, 2)? == Some(Shelf::Pending as i64) {
                self.sweep.parked.push(DeliveryId(seq));
            }
            self.sweep.progress.1 = seq;
        }
        // Their bodies would be wiped with those of delivered events. What is parked waits, whatever its state says: it is
        // put right when it is tried.
        self.sweep.parked.extend(hidden_among(self.connection, self.sweep.progress)?);
        // A sweep is carried out in parts, each of which wipes the ring's bodies up to its last row here: an older row in a
        // later part would lose its body.
        self.sweep.parked.sort_unstable();
        Ok(())
    }

    /// Walks on through the table and takes the delivered rows that came before `before`; begins
    /// anew at the first row that is too young.
    fn walk(&mut self, before: i64) -> Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, received_at, state, freed_at FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query(params![self.sweep.walked.events, WALK as i64])?;
        self.sweep.walked.events = 0;
        while let Some(row) = rows.next()? {
            let (seq, received_at) = (row.get(0)?, number(row, 1)?);
            if received_at.is_some_and(|received_at| received_at >= before) {
                self.sweep.walked.events = 0;
                break;
            }
            // A replayed event ages from its replay on.
            let is_past = received_at.is_some() && number(row, 3)?.is_none_or(|freed_at| freed_at < before);
            let is_delivered = number(row, 2)? == Some(Shelf::Delivered as i64);
            // The row of a body that is kept stays with it.
            if is_past && is_delivered && !events::kept::is_kept(self.connection, DeliveryId(seq))? {
                self.sweep.events.push((DeliveryId(seq), Shelf::Delivered));
            }
            self.sweep.walked.events = seq;
            if self.sweep.events.len() >= ROWS {
                break;
            }
        }
        Ok(())
    }

    /// Rows stand in order of arrival, so this ends at the first that is too young.
    fn expire(&mut self, shelf: Shelf, before: i64) -> Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, received_at, freed_at FROM events WHERE state = ?1 AND state >= 2 \
             ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query(params![shelf as i64, ROWS as i64])?;
        while let Some(row) = rows.next()? {
            let Some(received_at) = number(row, 1)? else { continue };
            if received_at >= before {
                break;
            }
            // A replayed event ages from its replay on, also if it was given up again.
            if number(row, 2)?.is_none_or(|freed_at| freed_at < before) {
                self.sweep.events.push((DeliveryId(row.get(0)?), shelf));
            }
        }
        Ok(())
    }
}

/// Removes what was planned, unless it changed meanwhile. `last_numbers`: those that are not stored yet; with
/// them, the numbers of all events up to `complete` are stored.
pub fn run(
    connection: &Connection,
    (bodies, usage): (&mut Bodies, &mut Usage),
    sweep: &Sweep,
    last_numbers: &[LastNumber],
    complete: i64,
) -> Result<()> {
    // Not what was delivered or given up meanwhile. A state that is not 0 was altered.
    let mut park = connection.prepare_cached(
        "UPDATE events SET parked = 1 WHERE seq = ?1 AND (state = 0 OR settled_at IS NULL)",
    )?;
    for id in &sweep.parked {
        park.execute([id.0])?;
        bodies.move_out(connection, *id)?;
    }
    if sweep.progress.0 < sweep.progress.1 {
        Bodies::wipe(connection, sweep.progress.1)?;
    }
    last_numbers.iter().try_for_each(|last| events::set_last_number(connection, last))?;
    connection
        .prepare_cached("UPDATE progress SET seq = max(seq, ?1), numbered = max(numbered, ?2)")?
        .execute([sweep.progress.1, complete])?;
    events::kept::remove(connection, &sweep.kept)?;
    remove_events(connection, usage, sweep)?;
    usage::sweep(connection, &sweep.usage)?;
    audit::sweep(connection, &sweep.audit)?;
    facts::remove(connection, sweep.facts)?;
    let mut call = connection
        .prepare_cached("DELETE FROM calls WHERE call = ?1 AND (finished_at < ?2 OR seen_at < ?3)")?;
    let mut participants = connection.prepare_cached("DELETE FROM participants WHERE call = ?1")?;
    for session in &sweep.sessions {
        let (finished, seen) = sweep.ended_before;
        if call.execute(params![session, finished, seen])? > 0 {
            participants.execute([session])?;
        }
    }
    let mut number = connection.prepare_cached("DELETE FROM numbers WHERE number = ?1")?;
    sweep.numbers.iter().try_for_each(|gone| number.execute([gone]).map(drop))?;
    stale::remove(connection, &sweep.entries)?;
    let mut chain = connection.prepare_cached("DELETE FROM chains WHERE chain = ?1 AND seen_at < ?2")?;
    sweep.chains.iter().try_for_each(|silent| chain.execute([*silent, sweep.silent_since]).map(drop))
}

fn remove_events(connection: &Connection, usage: &mut Usage, sweep: &Sweep) -> Result<()> {
    // The newest row stays: SQLite would give its number again, and `progress` would be ahead of that row. What is parked
    // is pending, whatever its state says.
    let mut event = connection.prepare_cached(
        "DELETE FROM events WHERE seq = ?1 AND state = ?2 AND parked = 0 AND seq < (SELECT max(seq) FROM events)",
    )?;
    let mut body = connection.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?;
    let mut attempts = connection.prepare_cached("DELETE FROM attempts WHERE seq = ?1")?;
    let mut kept = connection.prepare_cached("DELETE FROM kept_bodies WHERE seq = ?1")?;
    for (id, shelf) in &sweep.events {
        let mut remove = || event.execute([id.0, *shelf as i64]).map(|removed| removed > 0);
        if usage.count_out(connection, *id, &mut remove)? {
            body.execute([id.0])?;
            attempts.execute([id.0])?;
            kept.execute([id.0])?;
        }
    }
    let mut strip = connection.prepare_cached(
        "UPDATE events SET state = 3, bytes = coalesce(bytes, size), size = 0, sum = resum(sum, 'state', state, 3) \
         WHERE seq = ?1 AND state = 5",
    )?;
    for id in &sweep.stripped {
        if strip.execute([id.0])? > 0 {
            body.execute([id.0])?;
        }
    }
    Ok(())
}

/// The oldest rows of a kind whose bodies are more than `room` bytes in all.
fn beyond(connection: &Connection, shelf: Shelf, room: i64) -> Result<Vec<DeliveryId>> {
    let used: i64 = connection
        .prepare_cached(
            "SELECT coalesce(sum(CAST(size AS INTEGER)), 0) FROM events WHERE state = ?1 AND state >= 2",
        )?
        .query_row([shelf as i64], |row| row.get(0))?;
    oldest(connection, shelf, used - room, 0).map(|(oldest, _)| oldest)
}

/// The oldest rows of a kind that was not delivered, but for the newest row, which stays: `over` bytes or a little more,
/// if there are so many. Each row is its body and `row_bytes` more. How many bytes they are.
fn oldest(
    connection: &Connection,
    shelf: Shelf,
    over: i64,
    row_bytes: i64,
) -> Result<(Vec<DeliveryId>, i64)> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, size FROM events WHERE state = ?1 AND state >= 2 AND seq < (SELECT max(seq) FROM events) \
         ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query(params![shelf as i64, ROWS as i64])?;
    let (mut oldest, mut bytes) = (Vec::new(), 0);
    while bytes < over
        && let Some(row) = rows.next()?
    {
        bytes += number(row, 1)?.unwrap_or(0) + row_bytes;
        oldest.push(DeliveryId(row.get(0)?));
    }
    Ok((oldest, bytes))
}

/// A number; none if there is none, or the disk has made something else of it: one row must not end all sweeps.
fn number(row: &Row<'_>, column: usize) -> Result<Option<i64>> {
    Ok(row.get_ref(column)?.as_i64().ok())
}

fn used_bytes(connection: &Connection) -> Result<i64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    #[test]
    fn bodies_of_rooms_without_sip_stay_within_their_room_and_the_rows_stay() {
        let store = in_memory();
        for (id, state) in
            [("EV_1", Shelf::WithoutSip), ("EV_2", Shelf::WithoutSip), ("EV_3", Shelf::Unrouted)]
        {
            let sql = "INSERT INTO events (id, event, received_at, outcome, size, state) \
                       VALUES (?1, 'room_started', 1, 'no_call', 100, ?2)";
            store.execute(sql, params![id, state as i64]).expect("a row");
            let seq = store.last_insert_rowid();
            store.execute("INSERT INTO bodies VALUES (?1, x'00')", [seq]).expect("a body");
        }
        let retention = Retention { without_sip_bytes: 150, ..Retention::default() };
        let sweep = plan(&store, &retention, UnixMillis(2), Walked::default()).expect("a plan");
        assert_eq!((&sweep.stripped, sweep.events.len()), (&vec![DeliveryId(1)], 0));
        run(&store, (&mut Bodies::default(), &mut Usage::default()), &sweep, &[], 2).expect("swept");
        let bodies = "SELECT group_concat(seq) FROM bodies";
        let left: String = store.query_row(bodies, [], |row| row.get(0)).expect("bodies");
        let rows: i64 = store.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).expect("rows");
        assert_eq!((&*left, rows), ("2,3", 3));
        assert!(
            plan(&store, &retention, UnixMillis(2), Walked::default()).expect("a plan").stripped.is_empty()
        );
    }

    #[test]
    fn a_row_whose_columns_are_no_numbers_ends_no_sweep() {
        for altered in
            ["state = x''", "state = 'pending'", "received_at = 'x'", "freed_at = x'00'", "size = 'x'"]
        {
            let store = in_memory();
            for (id, state) in [("EV_1", 1), ("EV_2", 1), ("EV_3", 0), ("EV_4", 2), ("EV_5", 3), ("EV_6", 0)]
            {
                let sql = "INSERT INTO events (id, event, received_at, outcome, size, state, freed_at, settled_at) \
                           VALUES (?1, 'room_started', 1, 'x', 100, ?2, 1, iif(?2 = 0, NULL, 1))";
                store.execute(sql, params![id, state]).expect("a row");
            }
            for id in ["EV_1", "EV_4"] {
                store.execute(&format!("UPDATE events SET {altered} WHERE id = ?1"), [id]).expect("altered");
            }
            let (retention, now) = (Retention { kept_bytes: 1, ..Retention::default() }, UnixMillis(1 << 40));
            let sweep = plan(&store, &retention, now, Walked::default()).expect(altered);
            assert_eq!(
                (&sweep.parked, sweep.progress),
                (&vec![DeliveryId(3), DeliveryId(6)], (0, 6)),
                "{altered}"
            );
            assert!(
                sweep.events.contains(&(DeliveryId(2), Shelf::Delivered)),
                "{altered} {:?}",
                sweep.events
            );
            assert!(sweep.events.contains(&(DeliveryId(5), Shelf::Unrouted)), "{altered} {:?}", sweep.events);
        }
    }

    #[test]
    fn of_too_large_dead_letters_and_unrouted_events_the_oldest_go_each_within_its_own_room() {
        let store = in_memory();
        for (id, state) in [("EV_1", Shelf::Dead), ("EV_2", Shelf::Dead), ("EV_3", Shelf::Unrouted)] {
            let sql = "INSERT INTO events (id, event, received_at, settled_at, outcome, size, state) \
                       VALUES (?1, 'room_started', 1, 1, 'x', 100, ?2)";
            store.execute(sql, params![id, state as i64]).expect("a row");
            let seq = store.last_insert_rowid();
            store.execute("INSERT INTO bodies VALUES (?1, x'00')", [seq]).expect("a body");
        }
        let retention = Retention { kept_bytes: 150, ..Retention::default() };
        let sweep = plan(&store, &retention, UnixMillis(2), Walked::default()).expect("a plan");
        assert_eq!(sweep.events, [(DeliveryId(1), Shelf::Dead)]);
    }
}
