//! What is kept, for how long and how much of it. Pending deliveries are never swept.
//!
//! A reader plans, the writer only removes: no append waits for a search.

use std::time::Duration;

use rusqlite::{Connection, Result, Row, params};

use super::bodies::Bodies;
use super::pending;
use super::rows::State;
use super::writer::Memory;
use crate::ids::DeliveryId;
use crate::time::{UnixMillis, millis};

/// How long and how much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Delivered events, without their bodies.
    pub history: Duration,
    /// Dead letters and unrouted events.
    pub kept: Duration,
    /// Bytes of the bodies of dead letters, and as much again of unrouted events.
    pub kept_bytes: i64,
    /// Bytes of the bodies of unrouted events of rooms without SIP: nobody is likely to ask for them.
    pub without_sip_bytes: i64,
    /// Bytes of the whole database file.
    pub store_bytes: i64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            history: Duration::from_secs(24 * 3600),
            kept: Duration::from_secs(7 * 24 * 3600),
            kept_bytes: 1 << 30,
            without_sip_bytes: 256 << 20,
            store_bytes: i64::MAX,
        }
    }
}

/// What one round removes.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    events: Vec<(i64, i64)>,
    /// Unrouted events of rooms without SIP whose bodies go.
    stripped: Vec<i64>,
    chains: Vec<i64>,
    /// Sessions that are over, by row.
    calls: Vec<String>,
    silent_since: i64,
    /// The file is over its limit, and nothing can go.
    exhausted: bool,
    /// What still waits and is to be parked, and how far that goes.
    parked: Vec<i64>,
    progress: (i64, i64),
    /// How far the walk through delivered rows has come; 0: begin anew.
    walked_to: i64,
}

/// At most this many rows of each kind in one round, so that no append waits long for it.
const ROWS: usize = 2000;

/// What waits longer than this is parked.
const PARKED_AFTER: Duration = Duration::from_secs(30);

/// The walk looks at this many rows in one round.
const WALK: usize = 10 * ROWS;

impl Sweep {
    /// Plans a round: what is past its time or over its room, oldest first. `walked_to`: what the
    /// round before gave.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn plan(
        connection: &Connection,
        retention: &Retention,
        now: UnixMillis,
        walked_to: i64,
    ) -> Result<Self> {
        let before = |keep: Duration| now.0.saturating_sub(millis(keep));
        let silent_since = before(retention.history);
        let mut plan = Self { silent_since, walked_to, ..Self::default() };
        let full = used_bytes(connection)? > retention.store_bytes;
        plan.park(connection, now)?;
        plan.walk(connection, silent_since)?;
        for state in [State::Dead, State::Unrouted] {
            plan.expire(connection, state, before(retention.kept))?;
            let over = beyond(connection, state, retention.kept_bytes)?;
            plan.events.extend(over.into_iter().map(|seq| (seq, state as i64)));
        }
        plan.expire(connection, State::WithoutSip, before(retention.kept))?;
        plan.stripped = beyond(connection, State::WithoutSip, retention.without_sip_bytes)?;
        // The file is too large: the oldest history goes, then what is kept.
        plan.exhausted = full
            && plan.oldest_delivered(connection)? == 0
            && plan.expire(connection, State::WithoutSip, i64::MAX)? == 0
            && plan.expire(connection, State::Unrouted, i64::MAX)? == 0
            && plan.expire(connection, State::Dead, i64::MAX)? == 0;
        plan.end_calls(connection, now, before(retention.kept))?;
        plan.chains = connection
            .prepare_cached("SELECT chain FROM chains WHERE seen_at < ?1 LIMIT ?2")?
            .query_map(params![silent_since, ROWS as i64], |row| row.get(0))?
            .collect::<Result<_>>()?;
        Ok(plan)
    }

    /// Where the next round's walk begins.
    pub fn walked_to(&self) -> i64 {
        self.walked_to
    }

    /// Whether the store is over its limit with nothing but what is pending.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.stripped.is_empty()
            && self.chains.is_empty()
            && self.calls.is_empty()
            && self.progress.0 == self.progress.1
    }

    /// Whether another round is likely to find more.
    pub fn is_full(&self) -> bool {
        let behind = self.progress.1 - self.progress.0;
        self.events.len() >= ROWS
            || self.stripped.len() >= ROWS
            || self.chains.len() >= ROWS
            || self.calls.len() >= ROWS
            || behind >= ROWS as i64
    }

    /// Parks what has waited for a while: see `events_parked`.
    fn park(&mut self, connection: &Connection, now: UnixMillis) -> Result<()> {
        let from = pending::progress(connection)?;
        self.progress = (from, from);
        let before = now.0.saturating_sub(millis(PARKED_AFTER));
        let mut rows = connection.prepare_cached(
            "SELECT seq, received_at, state FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = rows.query(params![from, WALK as i64])?;
        while let Some(row) = rows.next()? {
            let (seq, received_at) = pair(row)?;
            if received_at > before || self.parked.len() >= ROWS {
                break;
            }
            if row.get::<_, i64>(2)? == State::Pending as i64 {
                self.parked.push(seq);
            }
            self.progress.1 = seq;
        }
        Ok(())
    }

    /// Walks on through the table and takes the delivered rows that came before `before`; begins
    /// anew at the first row that is too young.
    fn walk(&mut self, connection: &Connection, before: i64) -> Result<()> {
        let mut statement = connection.prepare_cached(
            "SELECT seq, received_at, state, freed_at FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query(params![self.walked_to, WALK as i64])?;
        self.walked_to = 0;
        while let Some(row) = rows.next()? {
            let (seq, received_at) = pair(row)?;
            if received_at >= before {
                self.walked_to = 0;
                break;
            }
            // What was replayed is as old as that.
            let is_past = row.get::<_, Option<i64>>(3)?.is_none_or(|freed_at| freed_at < before);
            if is_past && row.get::<_, i64>(2)? == State::Delivered as i64 {
                self.events.push((seq, State::Delivered as i64));
            }
            self.walked_to = seq;
            if self.events.len() >= ROWS {
                break;
            }
        }
        Ok(())
    }

    /// The oldest delivered rows, wherever they stand: a search through the whole table, which only
    /// a store over its limit asks for.
    fn oldest_delivered(&mut self, connection: &Connection) -> Result<usize> {
        let planned = self.events.len();
        let mut statement =
            connection.prepare_cached("SELECT seq FROM events WHERE state = ?1 ORDER BY seq LIMIT ?2")?;
        let mut rows = statement.query(params![State::Delivered as i64, ROWS as i64])?;
        while let Some(row) = rows.next()? {
            self.events.push((row.get(0)?, State::Delivered as i64));
        }
        Ok(self.events.len() - planned)
    }

    /// Rows stand in order of arrival, so this ends at the first that is too young.
    fn expire(&mut self, connection: &Connection, state: State, before: i64) -> Result<usize> {
        let mut statement = connection.prepare_cached(
            "SELECT seq, received_at, freed_at FROM events WHERE state = ?1 AND state >= 2 \
             ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query(params![state as i64, ROWS as i64])?;
        let planned = self.events.len();
        while let Some(row) = rows.next()? {
            let (seq, received_at) = pair(row)?;
            if received_at >= before {
                break;
            }
            // What was replayed and given up again is as old as that.
            if row.get::<_, Option<i64>>(2)?.is_none_or(|freed_at| freed_at < before) {
                self.events.push((seq, state as i64));
            }
        }
        Ok(self.events.len() - planned)
    }

    /// Sessions that were finished an hour ago (a recording is uploaded after the call) or are silent for
    /// a day; with them the bodies of rooms without SIP. One with a participant nobody owns is kept as
    /// long as its events: that is how a replay finds them.
    fn end_calls(&mut self, connection: &Connection, now: UnixMillis, kept: i64) -> Result<()> {
        const LATE: Duration = Duration::from_secs(3600);
        const SILENT: Duration = Duration::from_secs(25 * 3600);
        let mut calls = connection.prepare_cached(
            "SELECT call FROM calls WHERE (finished_at < ?1 OR seen_at < ?2) AND (seen_at < ?3 OR NOT EXISTS \
             (SELECT 1 FROM participants WHERE participants.call = calls.call AND hook IS NULL)) LIMIT ?4",
        )?;
        let mut calls =
            calls.query(params![now.0 - millis(LATE), now.0 - millis(SILENT), kept, ROWS as i64])?;
        let mut bodies = connection
            .prepare_cached("SELECT seq FROM events WHERE state >= 3 AND call = ?1 AND state = 5 LIMIT ?2")?;
        while let Some(row) = calls.next()? {
            let (call, room): (String, _) = (row.get(0)?, ROWS.saturating_sub(self.stripped.len()));
            let seqs = bodies.query_map(params![call, room as i64], |row| row.get(0))?;
            self.stripped.extend(seqs.collect::<Result<Vec<i64>>>()?);
            // Its other bodies are the next round's.
            if self.stripped.len() >= ROWS {
                break;
            }
            self.calls.push(call);
        }
        Ok(())
    }

    /// The calls it removes, by key.
    pub(super) fn ended_calls(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().map(String::as_str)
    }

    /// Removes what was planned, unless it changed meanwhile.
    pub(super) fn run(&self, connection: &Connection, memory: &mut Memory) -> Result<()> {
        let mut park =
            connection.prepare_cached("UPDATE events SET parked = 1 WHERE seq = ?1 AND state = 0")?;
        for seq in &self.parked {
            park.execute([seq])?;
            memory.bodies.move_out(connection, DeliveryId(*seq))?;
        }
        Bodies::wipe(connection, self.progress.1)?;
        let progress = memory.numbering.write_down(connection, self.progress.1)?;
        connection.prepare_cached("UPDATE progress SET seq = max(seq, ?1)")?.execute([progress])?;
        // The newest row stays: its number must not be given again, or `progress` would be ahead of it.
        let mut event = connection.prepare_cached(
            "DELETE FROM events WHERE seq = ?1 AND state = ?2 AND seq < (SELECT max(seq) FROM events)",
        )?;
        let mut body = connection.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?;
        let mut attempts = connection.prepare_cached("DELETE FROM attempts WHERE seq = ?1")?;
        for (seq, state) in &self.events {
            if event.execute([seq, state])? > 0 {
                body.execute([seq])?;
                attempts.execute([seq])?;
            }
        }
        let mut strip = connection
            .prepare_cached("UPDATE events SET state = 3, size = 0 WHERE seq = ?1 AND state = 5")?;
        for seq in &self.stripped {
            if strip.execute([seq])? > 0 {
                body.execute([seq])?;
            }
        }
        let mut call = connection.prepare_cached("DELETE FROM calls WHERE call = ?1")?;
        let mut participants = connection.prepare_cached("DELETE FROM participants WHERE call = ?1")?;
        for over in &self.calls {
            call.execute([over])?;
            participants.execute([over])?;
        }
        let mut chain = connection.prepare_cached("DELETE FROM chains WHERE chain = ?1 AND seen_at < ?2")?;
        for silent in &self.chains {
            chain.execute([*silent, self.silent_since])?;
        }
        Ok(())
    }
}

/// The oldest rows of a kind whose bodies are more than `room` bytes in all.
fn beyond(connection: &Connection, state: State, room: i64) -> Result<Vec<i64>> {
    let used: i64 = connection
        .prepare_cached("SELECT coalesce(sum(size), 0) FROM events WHERE state = ?1 AND state >= 2")?
        .query_row([state as i64], |row| row.get(0))?;
    let mut over = used - room;
    let mut statement = connection.prepare_cached(
        "SELECT seq, size FROM events WHERE state = ?1 AND state >= 2 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = statement.query(params![state as i64, ROWS as i64])?;
    let mut oldest = Vec::new();
    while let Some((seq, size)) = rows.next()?.map(pair).transpose()? {
        if over <= 0 {
            break;
        }
        over -= size;
        oldest.push(seq);
    }
    Ok(oldest)
}

fn pair(row: &Row<'_>) -> Result<(i64, i64)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn used_bytes(connection: &Connection) -> Result<i64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_rooms_without_sip_stay_within_their_room_and_the_rows_stay() {
        let store = Connection::open_in_memory().expect("a database");
        store.execute_batch(include_str!("schema.sql")).expect("the schema");
        for (id, state) in
            [("EV_1", State::WithoutSip), ("EV_2", State::WithoutSip), ("EV_3", State::Unrouted)]
        {
            let sql = "INSERT INTO events (id, event, received_at, outcome, size, state) \
                       VALUES (?1, 'room_started', 1, 'no_call', 100, ?2)";
            store.execute(sql, params![id, state as i64]).expect("a row");
            let seq = store.last_insert_rowid();
            store.execute("INSERT INTO bodies VALUES (?1, x'00')", [seq]).expect("a body");
        }
        let retention = Retention { without_sip_bytes: 150, ..Retention::default() };
        let plan = Sweep::plan(&store, &retention, UnixMillis(2), 0).expect("a plan");
        assert_eq!((&plan.stripped, plan.events.len()), (&vec![1], 0));
        let mut memory = Memory::recover(&store).expect("a memory");
        plan.run(&store, &mut memory).expect("swept");
        let bodies = "SELECT group_concat(seq) FROM bodies";
        let left: String = store.query_row(bodies, [], |row| row.get(0)).expect("bodies");
        let rows: i64 = store.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).expect("rows");
        assert_eq!((&*left, rows), ("2,3", 3));
        assert!(Sweep::plan(&store, &retention, UnixMillis(2), 0).expect("a plan").stripped.is_empty());
    }
}
