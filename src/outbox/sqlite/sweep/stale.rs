//! Entries of the index of events whose rows are removed. No row gets a number again, so such an entry stays useless.

use rusqlite::{Connection, Result};

use crate::calls::Sweep;
use crate::outbox::sqlite::digest::index::{SEGMENT, rows_of, segment_of};

/// A round looks at this many entries.
const WALK: i64 = 20_000;

/// Plans the removal of entries. The walk begins anew behind the events that came before `before`: nothing is removed
/// of younger ones.
pub fn plan(connection: &Connection, sweep: &mut Sweep, before: i64) -> Result<()> {
    let mut entries =
        connection.prepare_cached("SELECT entry FROM event_keys WHERE entry > ?1 ORDER BY entry LIMIT ?2")?;
    let mut entries = entries.query([sweep.walked.entries, WALK])?;
    let mut rows = SegmentRows { connection, segment: -1, first_at: 0, seqs: Vec::new() };
    let mut walked = 0;
    while let Some(row) = entries.next()? {
        let entry = row.get(0)?;
        rows.read(segment_of(entry))?;
        if rows.first_at >= before {
            sweep.walked.entries = 0;
            return Ok(());
        }
        if !rows.any_of(entry) {
            sweep.entries.push(entry);
        }
        (walked, sweep.walked.entries) = (walked + 1, entry);
        if sweep.entries.len() >= Sweep::ENTRIES {
            return Ok(());
        }
    }
    if walked < WALK {
        sweep.walked.entries = 0;
    }
    Ok(())
}

/// The rows of one segment.
struct SegmentRows<'c> {
    connection: &'c Connection,
    segment: i64,
    /// When the first one came; 0: there is none.
    first_at: i64,
    seqs: Vec<i64>,
}

impl SegmentRows<'_> {
    fn read(&mut self, segment: i64) -> Result<()> {
        if self.segment == segment {
            return Ok(());
        }
        (self.segment, self.first_at) = (segment, 0);
        self.seqs.clear();
        let mut rows = self
            .connection
            .prepare_cached("SELECT seq, received_at FROM events WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq")?;
        let mut rows = rows.query([segment * SEGMENT, (segment + 1) * SEGMENT - 1])?;
        while let Some(row) = rows.next()? {
            if self.seqs.is_empty() {
                self.first_at = row.get(1)?;
            }
            self.seqs.push(row.get(0)?);
        }
        Ok(())
    }

    fn any_of(&self, entry: i64) -> bool {
        let rows = rows_of(entry);
        let at = self.seqs.partition_point(|seq| seq < rows.start());
        self.seqs.get(at).is_some_and(|seq| rows.contains(seq))
    }
}

/// Removes entries.
pub fn remove(connection: &Connection, entries: &[i64]) -> Result<()> {
    let mut remove = connection.prepare_cached("DELETE FROM event_keys WHERE entry = ?1")?;
    entries.iter().try_for_each(|entry| remove.execute([entry]).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::digest::index::enter;
    use crate::outbox::sqlite::schema::in_memory;

    #[test]
    fn entries_go_with_their_rows_round_by_round() {
        let store = in_memory();
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
             INSERT INTO events (seq, id, event, call, received_at, outcome, size, state, hook) \
             SELECT i, 'EV_' || i, 'x', 'RM_' || (i / 10), i, 'call', 9, 1, 1 FROM n; \
             INSERT INTO hooks (id, host, tenant, url, layer, version) VALUES (1, 'a', 'a', 'https://a', 'file', 1)";
        store.execute_batch(fill).expect("rows");
        enter(&store, 0, 20_000).expect("entered");
        // Of every hundredth row the entries stay, and those of its block.
        store.execute_batch("DELETE FROM events WHERE seq <= 15000 AND seq % 100 > 0").expect("gone");
        let mut sweep = Sweep::default();
        loop {
            plan(&store, &mut sweep, 15_000).expect("a plan");
            remove(&store, &sweep.entries).expect("removed");
            if sweep.walked.entries == 0 {
                break;
            }
            assert!(std::mem::take(&mut sweep.entries).len() <= Sweep::ENTRIES);
        }
        let left: i64 =
            store.query_row("SELECT count(*) FROM event_keys", [], |row| row.get(0)).expect("rows");
        let blocks = (0..=20_000 / 64).filter(|block| {
            let mut rows = block * 64..block * 64 + 64;
            rows.any(|row| row > 0 && row <= 20_000 && (row > 15_000 || row % 100 == 0))
        });
        let (calls, blocks) = (150 + 5000, blocks.count());
        // Tenant and host; and where a block begins, an entry of a call stays with its block.
        assert!((calls + 2 * blocks..=calls + 3 * blocks).contains(&usize::try_from(left).expect("few")));
    }
}
