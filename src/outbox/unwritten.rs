//! The memory queue: events acknowledged while the store did not take them. Bounded, loud, and
//! emptied as soon as the store is back.

use std::collections::HashMap;
use std::sync::Mutex;

use super::inbox::{Inbox, lock};
use super::{Order, Settlement};
use crate::ids::DeliveryId;

/// What is in memory only, by the id it has there.
pub struct Unwritten {
    queue: Mutex<Queue>,
    /// Bytes of bodies it may hold.
    room: usize,
}

#[derive(Default)]
struct Queue {
    pending: HashMap<DeliveryId, Pending>,
    used: usize,
    last: i64,
}

#[derive(Default)]
struct Pending {
    /// The row it got meanwhile.
    row: Option<DeliveryId>,
    /// What happened before there was a row to write it to.
    settlements: Vec<Settlement>,
    bytes: usize,
}

/// Of one delivery, this many attempts are remembered until it is written.
const REMEMBERED: usize = 16;

impl Unwritten {
    pub fn new(room: usize) -> Self {
        Self { queue: Mutex::default(), room }
    }

    /// Takes in an event of `bytes`; none if there is no room.
    pub fn admit(&self, bytes: usize) -> Option<DeliveryId> {
        let mut queue = lock(&self.queue);
        if queue.used + bytes > self.room {
            return None;
        }
        queue.used += bytes;
        queue.last += 1;
        let id = DeliveryId(DeliveryId::UNWRITTEN + queue.last);
        queue.pending.insert(id, Pending { bytes, ..Pending::default() });
        Some(id)
    }

    /// Whether the next event is likely to be refused.
    pub fn is_full(&self) -> bool {
        lock(&self.queue).used >= self.room - self.room / 64
    }

    /// How many events the store has not taken yet.
    pub fn len(&self) -> usize {
        lock(&self.queue).pending.values().filter(|pending| pending.row.is_none()).count()
    }

    /// The row a delivery has, if it has one.
    pub fn row(&self, id: DeliveryId) -> Option<DeliveryId> {
        if id.0 < DeliveryId::UNWRITTEN {
            return Some(id);
        }
        lock(&self.queue).pending.get(&id).and_then(|pending| pending.row)
    }

    /// The store has it now as `row`; without a row there is nothing left to write for it: it was
    /// unrouted, or a duplicate of what the store had.
    pub fn written(&self, inbox: &Inbox, id: DeliveryId, row: Option<DeliveryId>) {
        let mut queue = lock(&self.queue);
        let Some(mut pending) = queue.pending.remove(&id) else { return };
        queue.used -= std::mem::take(&mut pending.bytes);
        let Some(row) = row else { return };
        let finished = pending.settlements.last().is_some_and(Settlement::is_final);
        for settlement in pending.settlements.drain(..) {
            inbox.order(Order::Settle(Settlement { delivery: row, ..settlement }));
        }
        if !finished {
            queue.pending.insert(id, Pending { row: Some(row), ..pending });
        }
    }

    /// It is known by its row everywhere.
    pub fn forget(&self, id: DeliveryId) {
        lock(&self.queue).pending.remove(&id);
    }

    /// Passes a settlement on under its row's id, or keeps it until there is a row.
    pub fn settle(&self, inbox: &Inbox, settlement: Settlement) {
        let id = settlement.delivery;
        if id.0 < DeliveryId::UNWRITTEN {
            return inbox.order(Order::Settle(settlement));
        }
        let mut queue = lock(&self.queue);
        let Some(pending) = queue.pending.get_mut(&id) else { return };
        let Some(row) = pending.row else {
            if pending.settlements.len() >= REMEMBERED {
                pending.settlements.remove(0);
            }
            pending.settlements.push(settlement);
            return;
        };
        if settlement.is_final() {
            queue.pending.remove(&id);
        }
        inbox.order(Order::Settle(Settlement { delivery: row, ..settlement }));
    }
}
