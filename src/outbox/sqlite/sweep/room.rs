//! What goes when the database's file is over its limit.

use rusqlite::{Result, params};

use super::{ROWS, SweepPlanner, facts, number, oldest};
use crate::calls::Shelf;
use crate::ids::DeliveryId;

/// Bytes that the row of an event takes without its body, roughly.
pub const ROW_BYTES: i64 = 300;

/// At most so many facts go with a full round of delivered events: about one event in five has facts.
const FACTS_ALONG: usize = ROWS / 5;

impl SweepPlanner<'_> {
    /// The file is `over` bytes too large: the oldest history goes; where that is too little, bodies of delivered events,
    /// then what was never delivered. Of what goes first there may be more than one round takes: then the rest waits
    /// for the next round. Whether the file is likely to come within its limit, now or with the next rounds.
    pub fn make_room(&mut self, over: i64) -> Result<bool> {
        let (full, mut left) = self.history(over)?;
        if full {
            return Ok(true);
        }
        left -= self.oldest_kept(left)?;
        if self.sweep.kept.len() >= ROWS {
            return Ok(true);
        }
        for shelf in [Shelf::WithoutSip, Shelf::Unrouted, Shelf::Dead] {
            let (rows, bytes) = oldest(self.connection, shelf, left, ROW_BYTES)?;
            let full = rows.len() >= ROWS;
            self.sweep.events.extend(rows.into_iter().map(|id| (id, shelf)));
            if full {
                return Ok(true);
            }
            left -= bytes;
        }
        Ok(left <= 0)
    }

    /// Takes the oldest delivered events and facts, which are history, too. Whether they are a full round, and how much of
    /// `over` is left.
    fn history(&mut self, over: i64) -> Result<(bool, i64)> {
        let delivered = self.oldest_delivered()?;
        let along = if delivered >= ROWS { FACTS_ALONG } else { ROWS };
        self.sweep.facts = facts::oldest(self.connection, along.max(self.sweep.facts.len()))?;
        let facts = self.sweep.facts.len();
        let bytes = ROW_BYTES * i64::try_from(delivered + facts).unwrap_or(0);
        Ok((delivered >= ROWS || facts >= ROWS, over - bytes))
    }

    /// The oldest delivered rows whose bodies are not kept; not the newest row, which stays. Searches the whole table, so
    /// only a store over its limit uses it.
    fn oldest_delivered(&mut self) -> Result<usize> {
        let planned = self.sweep.events.len();
        let mut statement = self.connection.prepare_cached(
            "SELECT seq FROM events WHERE state = ?1 AND seq < (SELECT max(seq) FROM events) AND NOT EXISTS \
             (SELECT 1 FROM kept_bodies WHERE kept_bodies.seq = events.seq) ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query(params![Shelf::Delivered as i64, ROWS as i64])?;
        while let Some(row) = rows.next()? {
            self.sweep.events.push((DeliveryId(row.get(0)?), Shelf::Delivered));
        }
        Ok(self.sweep.events.len() - planned)
    }

    /// The oldest bodies of delivered events, `over` bytes of them or a little more, unless those are being sent again;
    /// how many bytes.
    fn oldest_kept(&mut self, over: i64) -> Result<i64> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, size FROM kept_bodies WHERE in_use = 0 ORDER BY seq LIMIT ?1")?;
        let mut rows = statement.query([ROWS as i64])?;
        let mut bytes = 0;
        while bytes < over
            && let Some(row) = rows.next()?
        {
            self.sweep.kept.push(DeliveryId(row.get(0)?));
            bytes += number(row, 1)?.unwrap_or(0);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params};

    use super::super::*;
    use super::{FACTS_ALONG, ROW_BYTES};
    use crate::outbox::sqlite::schema::in_memory;

    /// Adds so many events of a state, each with 100 bytes.
    fn add(store: &Connection, state: Shelf, count: usize) {
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) \
                   INSERT INTO events (id, event, received_at, outcome, size, state) \
                   SELECT 'EV_' || ?1 || i || random(), 'room_started', 1, 'domain', 100, ?1 FROM n";
        store.execute(sql, params![state as i64, count as i64]).expect("events");
    }

    fn add_facts(store: &Connection, count: usize) {
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                   INSERT INTO facts (seq, outcome, received_at, participant, sip) SELECT i, 'domain', 1, 'PA', 1 FROM n";
        store.execute(sql, [count as i64]).expect("facts");
    }

    fn keep_bodies(store: &Connection, count: usize) {
        let sql = "INSERT INTO kept_bodies (seq, tenant, hook, at, until, size, in_use, body) \
                   SELECT seq, 'acme', 1, 1, 2, 100, 0, x'00' FROM events WHERE state = 1 ORDER BY seq LIMIT ?1";
        assert_eq!(store.execute(sql, [count as i64]), Ok(count));
    }

    /// What one round takes of a file that is so many bytes too large.
    fn planned(store: &Connection, over: i64) -> Sweep {
        let limit = used_bytes(store).expect("a size") - over;
        let far = Duration::from_secs(1 << 30);
        let retention =
            Retention { store_bytes: limit, history: far, kept: far, facts: far, ..Retention::default() };
        plan(store, &retention, UnixMillis(100), Walked::default()).expect("a plan")
    }

    fn carry_out(store: &Connection, sweep: &Sweep) {
        run(store, (&mut Bodies::default(), &mut Usage::default()), sweep, &[], 0).expect("swept");
    }

    /// How much there is, in the order in which it goes.
    fn left(store: &Connection) -> [i64; 6] {
        let (delivered, facts, kept) = ("events WHERE state = 1", "facts", "kept_bodies");
        let [without_sip, unrouted, dead] = [5, 3, 2].map(|state| format!("events WHERE state = {state}"));
        [delivered, facts, kept, &without_sip, &unrouted, &dead].map(|rows| {
            let sql = format!("SELECT count(*) FROM {rows}");
            store.query_row(&sql, [], |row| row.get(0)).expect("a number")
        })
    }

    #[test]
    fn however_much_a_file_is_too_large_nothing_goes_while_there_is_more_of_what_goes_before_it() {
        let store = in_memory();
        let much = ROWS as i64;
        add(&store, Shelf::Delivered, ROWS + ROWS + 10);
        keep_bodies(&store, ROWS + 10);
        for (shelf, count) in [(Shelf::Dead, 10), (Shelf::Unrouted, ROWS + 10), (Shelf::WithoutSip, 10)] {
            add(&store, shelf, count);
        }
        add_facts(&store, FACTS_ALONG + ROWS + 10);
        add(&store, Shelf::Pending, 1);
        let mut rounds = Vec::new();
        while left(&store) != [0; 6] && rounds.len() < 20 {
            let sweep = planned(&store, 1 << 40);
            carry_out(&store, &sweep);
            rounds.push((left(&store), sweep.exhausted));
        }
        assert_eq!(
            rounds,
            [
                // A full round of history; of facts, in part.
                ([much + 10, much + 10, much + 10, 10, much + 10, 10], false),
                ([much + 10, 10, much + 10, 10, much + 10, 10], false),
                // The rest of facts, and a full round of kept bodies, whose rows are history then.
                ([much + 10, 0, 10, 10, much + 10, 10], false),
                ([10, 0, 10, 10, much + 10, 10], false),
                // The rest of them, and of rooms without SIP, and a full round of what is unrouted.
                ([10, 0, 0, 0, 10, 10], false),
                // All that is left is too little.
                ([0; 6], true),
            ]
        );
    }

    #[test]
    fn a_file_is_exhausted_while_what_can_go_is_too_little() {
        let store = in_memory();
        add(&store, Shelf::Pending, 10);
        for _ in 0..5 {
            add_facts(&store, 10);
            let sweep = planned(&store, 1 << 30);
            assert!(sweep.exhausted && sweep.facts.len() == 10);
            carry_out(&store, &sweep);
        }
        add_facts(&store, 10);
        assert!(!planned(&store, 10 * ROW_BYTES).exhausted);
        assert!(planned(&store, 10 * ROW_BYTES + 1).exhausted);
        assert!(!planned(&store, 0).exhausted);
        add(&store, Shelf::Dead, 1);
        // The newest row stays, so it makes no room.
        assert!(planned(&store, 10 * ROW_BYTES + 1).exhausted);
        add(&store, Shelf::Pending, 1);
        assert!(!planned(&store, 11 * ROW_BYTES + 100).exhausted);
        assert!(planned(&store, 11 * ROW_BYTES + 101).exhausted);
    }
}
