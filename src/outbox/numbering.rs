//! Where each call's numbering at each hook stands (`switchhook-sequence`).
//!
//! The writer counts in memory and writes it down only now and then: a row per event would cost a
//! page write each. What was not written down is in the events themselves, which a start reads.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::pending;
use crate::ids::{Chain, DeliveryId};
use crate::time::UnixMillis;

/// So many are written down in one round, so that no append waits long for it.
const ROUND: usize = 2000;

/// Beyond this many, those that are written down are forgotten.
const KNOWN: usize = 100_000;

/// The numbers of calls. Changes count once [`Self::commit`] says so.
#[derive(Debug, Default)]
pub struct Numbering {
    known: HashMap<Chain, Count>,
    /// What is not written down, by the first event it misses.
    unwritten: BTreeMap<DeliveryId, Chain>,
    /// How to take back what the present transaction changed.
    undo: Vec<(Chain, Option<Count>)>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    sequence: i64,
    seen_at: UnixMillis,
    /// The first event since it was written down.
    unwritten: Option<DeliveryId>,
}

impl Numbering {
    /// Reads what the last run did not write down.
    pub fn recover(connection: &Connection) -> Result<Self> {
        let mut numbering = Self::default();
        let mut rows = connection.prepare(
            "SELECT chain, sequence, seq, received_at FROM events WHERE seq > ?1 AND sequence IS NOT NULL \
             ORDER BY seq",
        )?;
        let mut rows = rows.query([pending::progress(connection)?])?;
        while let Some(row) = rows.next()? {
            let (chain, sequence): (_, i64) = (Chain(row.get(0)?), row.get(1)?);
            // What was replayed has a number above those of later rows.
            let sequence = sequence.max(numbering.next(connection, chain)? - 1);
            numbering.count(chain, sequence, DeliveryId(row.get(2)?), UnixMillis(row.get(3)?));
        }
        numbering.commit();
        Ok(numbering)
    }

    /// The number of the next delivery of `chain`.
    pub fn next(&self, connection: &Connection, chain: Chain) -> Result<i64> {
        let last = match self.known.get(&chain) {
            Some(count) => Some(count.sequence),
            None => connection
                .prepare_cached("SELECT sequence FROM chains WHERE chain = ?1")?
                .query_row([chain.0], |row| row.get(0))
                .optional()?,
        };
        Ok(last.unwrap_or(0) + 1)
    }

    /// `chain` has reached `sequence` with the event of row `id`.
    pub fn count(&mut self, chain: Chain, sequence: i64, id: DeliveryId, seen_at: UnixMillis) {
        let before = self.known.get(&chain).copied();
        let unwritten = before.and_then(|count| count.unwritten).or(Some(id));
        let count = Count { sequence, seen_at, unwritten };
        self.known.insert(chain, count);
        if let Some(first) = unwritten {
            self.unwritten.insert(first, chain);
        }
        self.undo.push((chain, before));
    }

    /// Writes one down at once.
    pub fn write(connection: &Connection, chain: Chain, sequence: i64, at: UnixMillis) -> Result<()> {
        connection
            .prepare_cached("INSERT OR REPLACE INTO chains (chain, sequence, seen_at) VALUES (?1, ?2, ?3)")?
            .execute(params![chain.0, sequence, at.0])
            .map(drop)
    }

    /// The transaction is committed.
    pub fn commit(&mut self) {
        self.undo.clear();
        if self.known.len() > KNOWN {
            self.known.retain(|_, count| count.unwritten.is_some());
        }
    }

    /// The transaction is taken back.
    pub fn roll_back(&mut self) {
        for (chain, before) in self.undo.drain(..).rev() {
            let now = match before {
                Some(count) => self.known.insert(chain, count),
                None => self.known.remove(&chain),
            };
            let (now, before) =
                (now.and_then(|count| count.unwritten), before.and_then(|count| count.unwritten));
            if let (Some(first), true) = (now, now != before) {
                self.unwritten.remove(&first);
            }
            if let (Some(first), true) = (before, now != before) {
                self.unwritten.insert(first, chain);
            }
        }
    }

    /// Writes down the oldest of what is not. Gives the row up to which nothing is missing then, at
    /// most `goal`.
    pub fn write_down(&mut self, connection: &Connection, goal: i64) -> Result<i64> {
        let mut write = connection
            .prepare_cached("INSERT OR REPLACE INTO chains (chain, sequence, seen_at) VALUES (?1, ?2, ?3)")?;
        let due: Vec<_> = self.unwritten.iter().take(ROUND).map(|(_, chain)| *chain).collect();
        for chain in due {
            let Some(count) = self.known.get(&chain).copied() else { continue };
            write.execute(params![chain.0, count.sequence, count.seen_at.0])?;
            self.undo.push((chain, Some(count)));
            self.known.insert(chain, Count { unwritten: None, ..count });
            if let Some(first) = count.unwritten {
                self.unwritten.remove(&first);
            }
        }
        Ok(self.unwritten.first_key_value().map_or(goal, |(first, _)| goal.min(first.0 - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Connection {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(include_str!("schema.sql")).expect("the schema");
        connection
    }

    #[test]
    fn what_is_rolled_back_was_never_counted() {
        let (store, mut numbering, at) = (store(), Numbering::default(), UnixMillis(1));
        let next = |numbering: &Numbering, chain| numbering.next(&store, Chain(chain)).expect("a number");
        numbering.count(Chain(1), 1, DeliveryId(1), at);
        numbering.commit();
        numbering.count(Chain(1), 2, DeliveryId(2), at);
        numbering.count(Chain(2), 1, DeliveryId(3), at);
        assert_eq!(numbering.write_down(&store, 3).expect("written"), 3);
        numbering.roll_back();
        assert_eq!((next(&numbering, 1), numbering.unwritten.len()), (2, 1));
        store.execute_batch("DELETE FROM chains").expect("rolled back, too");
        assert_eq!((next(&numbering, 2), numbering.known.len()), (1, 1));
        assert_eq!(numbering.write_down(&store, 3).expect("written"), 3);
        numbering.commit();
        numbering.known.clear();
        assert_eq!(next(&numbering, 1), 2);
    }

    #[test]
    fn a_round_writes_the_oldest_and_says_how_far_it_came() {
        let (store, mut numbering) = (store(), Numbering::default());
        let count = i64::try_from(ROUND).expect("few") + 5;
        for id in 1..=count {
            numbering.count(Chain(-id), 1, DeliveryId(id), UnixMillis(1));
        }
        numbering.commit();
        assert_eq!(numbering.write_down(&store, count).expect("written"), count - 5);
        assert_eq!(numbering.write_down(&store, count).expect("written"), count);
    }
}
