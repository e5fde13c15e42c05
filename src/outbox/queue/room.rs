//! How much may wait for the store, and which deliveries are made before they are written.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;

use super::lock::lock;
use crate::calls::Post;
use crate::delivery::Delivery;
use crate::ids::DeliveryId;

/// Bytes an event takes in memory besides its body.
const ROW: usize = 512;

/// Bytes for what waits for the store.
pub struct MemoryRoom {
    used: AtomicUsize,
    limit: usize,
}

/// Bytes an event takes while it waits for the store.
pub fn size(post: &Post) -> usize {
    post.body.len() + ROW
}

impl MemoryRoom {
    pub fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Takes `bytes`; false if there is no room for them.
    pub fn admit(&self, bytes: usize) -> bool {
        let taken = self.used.fetch_add(bytes, Ordering::AcqRel);
        let fits = taken + bytes <= self.limit;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    pub fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Whether the next event is likely not to fit.
    pub fn is_full(&self) -> bool {
        self.used.load(Ordering::Acquire) >= self.limit - self.limit / 64
    }
}

/// Deliveries that are made before they are written: the dispatcher loads them from here.
#[derive(Default)]
pub struct UnwrittenDeliveries {
    deliveries: Mutex<HashMap<DeliveryId, Arc<Delivery>, RandomState>>,
    /// How many there are, to be read without the lock: mostly none.
    count: AtomicUsize,
}

impl UnwrittenDeliveries {
    pub fn insert(&self, delivery: &Arc<Delivery>) {
        let mut deliveries = lock(&self.deliveries);
        deliveries.insert(delivery.id, Arc::clone(delivery));
        self.count.store(deliveries.len(), Ordering::Release);
    }

    pub fn find(&self, id: DeliveryId) -> Option<Arc<Delivery>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        lock(&self.deliveries).get(&id).cloned()
    }

    /// How many are to be delivered still.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether it was there.
    pub fn remove(&self, id: DeliveryId) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut deliveries = lock(&self.deliveries);
        let removed = deliveries.remove(&id).is_some();
        self.count.store(deliveries.len(), Ordering::Release);
        removed
    }
}
