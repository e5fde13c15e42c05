//! Which rows a list has to look at, the newest first: by the index of events where it has them, one by one where not.

use rusqlite::{Connection, OptionalExtension, Result};

use crate::outbox::sqlite::digest::digested;
use crate::outbox::sqlite::digest::index::{EventKey, Finder, SEGMENT};

/// Rows from the first to the second number.
pub type RowRange = (i64, i64);

/// Rows that are looked at in one go where no index finds them.
const CHUNK: i64 = 256;

/// A list looks at about this many rows (30 ms). If it finds no more, its page is short.
const COST: i64 = 20_000;

/// What looking into a segment for a key costs, in rows.
const SEEK: i64 = 6;

/// Walks through the rows of any of some keys, or through all rows.
pub struct Walk<'c> {
    /// None: all rows.
    keys: Option<Vec<EventKey>>,
    finder: Finder<'c>,
    /// The first row that counts.
    from: i64,
    /// Rows from here on have been given out.
    before: i64,
    /// Rows up to this one are in the index.
    digested: i64,
    /// Found in the present segment, the newest last.
    found: Vec<RowRange>,
    cost: i64,
}

impl<'c> Walk<'c> {
    /// A walk from the row before `before` back to `from`.
    pub fn new(
        connection: &'c Connection,
        keys: Option<Vec<EventKey>>,
        (from, before): RowRange,
    ) -> Result<Self> {
        let (oldest, newest) = ends(connection)?;
        Ok(Self {
            keys,
            finder: Finder::new(connection)?,
            from: from.max(oldest),
            before: before.min(newest + 1),
            digested: digested(connection)?,
            found: Vec::new(),
            cost: 0,
        })
    }

    /// A walk through these rows only, in order.
    pub fn through(connection: &'c Connection, rows: impl IntoIterator<Item = i64>) -> Result<Self> {
        let mut walk = Self::new(connection, None, (0, 0))?;
        walk.found = rows.into_iter().map(|seq| (seq, seq)).collect();
        Ok(walk)
    }

    /// The same walk, to its end whatever it costs.
    pub fn untiring(self) -> Self {
        Self { cost: i64::MIN, ..self }
    }

    /// Counts rows that were looked at.
    pub fn spend(&mut self, rows: i64) {
        self.cost += rows;
    }

    /// Where the walk goes on: all rows from there on have been given out. None: it has come to its end.
    pub fn rest(&self) -> Option<i64> {
        let found = self.found.last().map(|(_, last)| last + 1);
        found.or_else(|| (self.before > self.from).then_some(self.before))
    }

    /// Takes back a part of what was given out, which is older than the rest of it.
    pub fn take_back(&mut self, rows: RowRange) {
        let (first, last) = rows;
        self.found.extend((first <= last).then_some(rows));
    }

    /// Leaves out the rows from `before` on.
    pub fn skip_to(&mut self, before: i64) {
        while self.found.pop_if(|(first, _)| *first >= before).is_some() {}
        match self.found.last_mut() {
            Some((_, last)) => *last = (*last).min(before - 1),
            None => self.before = self.before.min(before),
        }
    }

    /// The next rows; none: there are no more, or the walk is tired.
    pub fn next(&mut self) -> Result<Option<RowRange>> {
        loop {
            if self.cost >= COST {
                return Ok(None);
            }
            if let Some(rows) = self.found.pop() {
                return Ok(Some(rows));
            }
            if self.before <= self.from {
                return Ok(None);
            }
            self.look_on()?;
        }
    }

    /// Finds the next rows: those that no index has, or those of a segment.
    fn look_on(&mut self) -> Result<()> {
        let last = self.before - 1;
        if self.keys.is_none() || last > self.digested {
            let tail = if self.keys.is_none() { i64::MIN } else { self.digested + 1 };
            let first = self.from.max(tail).max(self.before - CHUNK);
            self.found.push((first, last));
            self.before = first;
            return Ok(());
        }
        let segment = last / SEGMENT;
        for key in self.keys.iter().flatten() {
            self.finder.find(segment, *key, &mut self.found)?;
            self.cost += SEEK;
        }
        let (from, digested) = (self.from, self.digested);
        self.found.retain_mut(|(first, end)| {
            (*first, *end) = ((*first).max(from), (*end).min(last).min(digested));
            first <= end
        });
        merge(&mut self.found);
        self.before = segment * SEGMENT;
        Ok(())
    }
}

/// Sorts ranges, and makes one of those that overlap.
fn merge(ranges: &mut Vec<RowRange>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let overlap = next.0 <= before.1;
        if overlap {
            before.1 = before.1.max(next.1);
        }
        overlap
    });
}

/// The first and the last row; of an empty table, no row is between them.
pub fn ends(connection: &Connection) -> Result<RowRange> {
    let end = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
    let (oldest, newest) = (end("SELECT min(seq) FROM events")?, end("SELECT max(seq) FROM events")?);
    Ok((oldest.unwrap_or(0), newest.unwrap_or(-1)))
}

/// The first row that came at `since` or later.
pub fn first_since(connection: &Connection, since: i64) -> Result<i64> {
    let (oldest, newest) = ends(connection)?;
    let mut next = connection
        .prepare_cached("SELECT seq, received_at FROM events WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    let (mut low, mut high) = (oldest, newest + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        // Row numbers have gaps: the next row is taken for the middle.
        let found: Option<(i64, i64)> =
            next.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((seq, at)) if at < since => low = seq + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn rows(ranges: &[RowRange]) -> BTreeSet<i64> {
        ranges.iter().flat_map(|(first, last)| *first..=*last).collect()
    }

    proptest! {
        #[test]
        fn merged_ranges_hold_the_same_rows_each_once_and_in_order(
            ranges in prop::collection::vec((0_i64..100, 0_i64..40).prop_map(|(first, more)| (first, first + more)), 0..12),
        ) {
            let mut merged = ranges.clone();
            merge(&mut merged);
            prop_assert_eq!(rows(&merged), rows(&ranges));
            prop_assert!(merged.is_sorted_by(|before, next| before.1 < next.0), "{:?}", merged);
        }
    }

    #[test]
    fn a_walk_is_tired_after_twenty_thousand_rows_and_says_where_it_goes_on() {
        let store = crate::outbox::sqlite::schema::in_memory();
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
             INSERT INTO events (id, event, received_at, outcome, size, state) SELECT i, 'x', 1, 'x', 1, 1 FROM n",
            COST + 1000
        );
        store.execute_batch(&fill).expect("rows");
        let (mut walk, mut looked) = (Walk::new(&store, None, (0, i64::MAX)).expect("a walk"), 0);
        while let Some((first, last)) = walk.next().expect("rows") {
            looked += last - first + 1;
            walk.spend(last - first + 1);
        }
        assert!((COST..COST + CHUNK).contains(&looked), "{looked}");
        assert_eq!(walk.rest(), Some(COST + 1001 - looked));
    }
}
