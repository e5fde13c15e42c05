//! The engine in memory keeps the engines' contract.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Disk, Memory};
use crate::calls::{Known, Shelf};
use crate::ids::DeliveryId;
use crate::outbox::engine::contract::{Kept, contract};

impl Kept for Arc<Disk> {
    type Engine = Memory;

    fn new() -> Self {
        Self::default()
    }

    fn open(&self) -> Memory {
        Memory(Self::clone(self))
    }

    fn known(engine: &Memory) -> Known {
        engine.known()
    }

    fn altered(_: &Memory) -> usize {
        0
    }

    fn stored(engine: &Memory) -> BTreeSet<String> {
        engine.rows().texts()
    }

    fn shelves(engine: &Memory) -> Vec<(DeliveryId, Shelf)> {
        engine.rows().events.iter().map(|(id, row)| (*id, row.shelf)).collect()
    }

    fn while_it_refuses(&self, attempt: impl FnOnce()) {
        self.refuses.store(true, Ordering::Release);
        attempt();
        self.refuses.store(false, Ordering::Release);
    }
}

contract!(std::sync::Arc<crate::outbox::engine::memory::Disk>);
