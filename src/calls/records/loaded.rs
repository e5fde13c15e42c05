//! What deciding must know of a batch beforehand, and what the store answers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::numbers::LastCalled;
use super::sequences::LastNumber;
use super::session::Session;
use super::sweep::Shelf;
use super::waiting::{Place, Waiting};
use crate::hooks::Number;
use crate::ids::{Chain, DeliveryId};

/// What is to be loaded.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Keys {
    /// Keys of events: which of them are stored?
    pub events: Vec<Arc<str>>,
    pub sessions: Vec<Arc<str>>,
    /// Keys of rooms' names: which sessions do they have?
    pub rooms: Vec<Arc<str>>,
    /// Events without a hook.
    pub waiting: Vec<Place>,
    pub chains: Vec<Chain>,
    pub numbers: Vec<Number>,
    /// Which of these can be sent again?
    pub letters: Vec<DeliveryId>,
}

/// What an engine answers to [`Keys`].
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub sessions: Vec<(Arc<str>, Session)>,
    /// Of every chain that was asked for; 0 where it has no number yet.
    pub chains: Vec<LastNumber>,
    pub numbers: Vec<(Number, LastCalled)>,
    /// Rows that are left out of it.
    pub damaged: Vec<DamagedRow>,
    pub answers: Answers,
}

/// A stored row that a disk has altered, as its checksum shows. Nothing is decided by it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DamagedRow {
    pub table: &'static str,
    /// Its key.
    pub row: String,
}

impl DamagedRow {
    /// The row of this key.
    pub fn new(table: &'static str, row: &(impl ToString + ?Sized)) -> Self {
        Self { table, row: row.to_string() }
    }
}

/// The part of [`Loaded`] that holds for one batch only.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Events that were asked for, and those of them that are stored.
    pub asked: HashSet<Arc<str>, RandomState>,
    pub stored: HashSet<Arc<str>, RandomState>,
    /// Sessions the store does not have.
    pub absent: HashSet<Arc<str>, RandomState>,
    /// The sessions of a room's name, the one that began last first; at most two.
    pub rooms: HashMap<Arc<str>, Vec<Arc<str>>, RandomState>,
    pub waiting: HashMap<Place, Vec<Waiting>, RandomState>,
    /// Numbers that were asked for.
    pub numbers: HashSet<Number, RandomState>,
    /// Of each delivery that was asked for whether it can be sent again: as a dead letter, or as a delivered event whose
    /// body is kept.
    pub letters: HashMap<DeliveryId, Option<Shelf>, RandomState>,
}

impl Answers {
    /// Adds the answers of another round.
    pub fn extend(&mut self, more: Self) {
        let Self { asked, stored, absent, rooms, waiting, numbers, letters } = more;
        self.asked.extend(asked);
        self.stored.extend(stored);
        self.absent.extend(absent);
        self.rooms.extend(rooms);
        self.waiting.extend(waiting);
        self.numbers.extend(numbers);
        self.letters.extend(letters);
    }

    /// Forgets them, and keeps the allocated memory.
    pub fn clear(&mut self) {
        let Self { asked, stored, absent, rooms, waiting, numbers, letters } = self;
        asked.clear();
        stored.clear();
        absent.clear();
        rooms.clear();
        waiting.clear();
        numbers.clear();
        letters.clear();
    }
}
