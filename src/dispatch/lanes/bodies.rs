//! Bodies that a lane keeps in memory, so that they need not be read from the store when they start.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::delivery::Delivery;
use crate::ids::DeliveryId;

/// Of a lane, at most this many are kept.
const MOST: usize = 256;

/// All lanes together keep at most so many bytes of the 16 MiB of [`crate::delivery::Fresh`].
const ROOM: usize = 12 << 20;

/// What a lane keeps.
#[derive(Debug, Default)]
pub struct KeptBodies {
    kept: HashMap<DeliveryId, Arc<Delivery>, RandomState>,
    bytes: usize,
}

impl KeptBodies {
    /// Keeps a delivery if there is room for it. Lanes keep `all` bytes, those of its tenant `own`: a tenant keeps at
    /// most half of what is free besides, so that those that cannot be delivered to leave room for the others.
    pub fn keep(&mut self, id: DeliveryId, delivery: Arc<Delivery>, own: usize, all: usize) {
        let bytes = delivery.body.len();
        if self.kept.len() < MOST && own + bytes <= ROOM.saturating_sub(all) / 2 {
            self.bytes += bytes;
            self.remove(id);
            self.kept.insert(id, delivery);
        }
    }

    /// A delivery that is kept.
    pub fn of(&self, id: DeliveryId) -> Option<Arc<Delivery>> {
        self.kept.get(&id).cloned()
    }

    /// Drops one.
    pub fn remove(&mut self, id: DeliveryId) {
        if let Some(delivery) = self.kept.remove(&id) {
            self.bytes -= delivery.body.len();
        }
    }

    /// Drops all: they are read back when their turn comes.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }

    /// Bytes of all.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
