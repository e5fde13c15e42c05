//! The last sequence number of each call at each hook (`switchhook-sequence`).
//!
//! Counted in memory and written to the store only now and then: a row for each event would cost a page write
//! each. A start counts what was not written from the events themselves.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::ids::{Chain, DeliveryId};
use crate::time::UnixMillis;

/// Beyond this many, those that are in the store are dropped from memory, and those that are not are written.
const KNOWN: usize = 100_000;

/// The last number of each chain.
#[derive(Debug, Default)]
pub struct Sequences {
    known: HashMap<Chain, Count, RandomState>,
    /// Chains whose last number is not in the store, by the first event it misses.
    unwritten: BTreeMap<DeliveryId, Chain>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    sequence: i64,
    seen_at: UnixMillis,
    /// The first event since it was last written.
    unwritten: Option<DeliveryId>,
}

/// A chain's last number, to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastNumber {
    pub chain: Chain,
    pub sequence: i64,
    pub seen_at: UnixMillis,
}

impl Sequences {
    /// At most this many are written in one round, so that no request waits long for it.
    pub const ROUND: usize = 128;

    /// Whether the last number of `chain` is in memory.
    pub fn knows(&self, chain: Chain) -> bool {
        self.known.contains_key(&chain)
    }

    /// Adds a stored number; a chain that is in memory already has a higher one.
    pub fn learn(&mut self, last: LastNumber) {
        let LastNumber { chain, sequence, seen_at } = last;
        self.known.entry(chain).or_insert(Count { sequence, seen_at, unwritten: None });
    }

    /// The number of the next delivery of `chain`.
    pub fn next(&self, chain: Chain) -> i64 {
        self.known.get(&chain).map_or(0, |count| count.sequence) + 1
    }

    /// `chain` has reached `sequence` with the event `id`.
    pub fn count(&mut self, chain: Chain, sequence: i64, id: DeliveryId, seen_at: UnixMillis) {
        let before = self.known.get(&chain).and_then(|count| count.unwritten);
        let first = before.unwrap_or(id);
        self.known.insert(chain, Count { sequence, seen_at, unwritten: Some(first) });
        if before.is_none() {
            self.unwritten.insert(first, chain);
        }
    }

    /// The numbers to write in this round, the oldest first, and the event up to which none is missing then:
    /// at most `goal`.
    pub fn write(&mut self, goal: i64) -> (Vec<LastNumber>, i64) {
        self.take(Self::ROUND, goal)
    }

    /// The same of those that are to be written at once, since memory has no room for more.
    pub fn surplus(&mut self, goal: i64) -> (Vec<LastNumber>, i64) {
        self.take(self.unwritten.len().saturating_sub(KNOWN).min(8 * Self::ROUND), goal)
    }

    fn take(&mut self, count: usize, goal: i64) -> (Vec<LastNumber>, i64) {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some((_, chain)) = self.unwritten.pop_first()
        {
            if let Some(count) = self.known.get_mut(&chain) {
                count.unwritten = None;
                let Count { sequence, seen_at, .. } = *count;
                taken.push(LastNumber { chain, sequence, seen_at });
            }
        }
        let complete = self.unwritten.first_key_value().map_or(goal, |(first, _)| goal.min(first.0 - 1));
        (taken, complete)
    }

    /// Drops what is in the store, once there is much of it.
    pub fn forget(&mut self) {
        if self.known.len() > KNOWN + self.unwritten.len() {
            self.known.retain(|_, count| count.unwritten.is_some());
            // A burst is over: its room is given back.
            if self.known.capacity() > 4 * self.known.len().max(KNOWN) {
                self.known.shrink_to(2 * KNOWN);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_writes_the_oldest_and_says_how_far_it_came() {
        let mut sequences = Sequences::default();
        let count = i64::try_from(Sequences::ROUND).expect("few") + 5;
        for id in 1..=count {
            sequences.count(Chain(-id), 1, DeliveryId(id), UnixMillis(1));
        }
        sequences.count(Chain(-1), 2, DeliveryId(count + 1), UnixMillis(1));
        let (written, complete) = sequences.write(count);
        assert_eq!((written.len(), complete), (Sequences::ROUND, count - 5));
        assert_eq!((written[0].chain, written[0].sequence), (Chain(-1), 2));
        assert_eq!(sequences.write(count).1, count);
        assert_eq!((sequences.next(Chain(-1)), sequences.next(Chain(7))), (3, 1));
    }

    #[test]
    fn beyond_its_room_memory_gives_the_oldest_numbers_to_be_written() {
        let mut sequences = Sequences::default();
        let count = i64::try_from(KNOWN).expect("few") + 3;
        for id in 1..=count {
            sequences.count(Chain(-id), 1, DeliveryId(id), UnixMillis(1));
        }
        let (surplus, complete) = sequences.surplus(count);
        let chains: Vec<_> = surplus.iter().map(|last| last.chain).collect();
        assert_eq!((chains, complete), (vec![Chain(-1), Chain(-2), Chain(-3)], 3));
        assert_eq!(sequences.surplus(count), (Vec::new(), 3));
        while !sequences.write(count).0.is_empty() {}
        sequences.forget();
        assert_eq!(sequences.known.len(), 0);
    }

    #[test]
    fn what_memory_counts_wins_over_what_the_store_had() {
        let mut sequences = Sequences::default();
        let stored = |sequence| LastNumber { chain: Chain(1), sequence, seen_at: UnixMillis(1) };
        sequences.learn(stored(4));
        assert_eq!(sequences.next(Chain(1)), 5);
        sequences.count(Chain(1), 5, DeliveryId(9), UnixMillis(2));
        sequences.learn(stored(4));
        assert_eq!(sequences.next(Chain(1)), 6);
    }
}
