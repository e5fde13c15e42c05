//! Who watches what happens: each reader has a queue of its own with a bound, and whoever reads too slowly loses.
//!
//! With no reader, an event costs one load of an atomic number.

mod happening;
mod queue;

use std::cell::LazyCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use self::queue::{Told, Wanted};

use self::happening::Happening;
use self::queue::ReaderQueue;
use crate::calls::{Fate, Next, Receipt, Released};
use crate::delivery::{Attempt, Delivery};
use crate::hooks::Tenant;
use crate::wire::LiveKind;

/// Readers at once.
pub const READERS: usize = 64;

/// Of these, so many are tenants' at most: the rest is kept for operators.
const OF_TENANTS: usize = 56;

/// Readers of one tenant at once.
pub const OF_ONE: usize = 8;

/// Why there is no place for a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoSeat {
    /// The tenant has as many as it may have.
    OfThisTenant,
    /// All are taken.
    AtAll,
}

/// What happens, for whoever watches.
#[derive(Default)]
pub struct Broadcast {
    /// How many readers there are.
    count: AtomicUsize,
    readers: Mutex<Vec<Arc<ReaderQueue>>>,
    lost: AtomicU64,
    ended: CancellationToken,
}

impl Broadcast {
    /// A reader, who gets what happens from now on.
    ///
    /// # Errors
    /// [`NoSeat`]
    pub fn admit(self: &Arc<Self>, wanted: Wanted) -> Result<StreamReader, NoSeat> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        has_seat(&readers, wanted.scope.tenant())?;
        let queue = Arc::new(ReaderQueue::new(wanted));
        readers.push(Arc::clone(&queue));
        self.count.store(readers.len(), Ordering::Relaxed);
        Ok(StreamReader { broadcast: Arc::clone(self), queue })
    }

    fn leave(&self, queue: &Arc<ReaderQueue>) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|other| !Arc::ptr_eq(other, queue));
        self.count.store(readers.len(), Ordering::Relaxed);
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many events all readers have lost, in all.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Ends all streams, also those that begin later.
    pub fn end(&self) {
        self.ended.cancel();
    }

    /// An event came, and this became of it.
    pub fn received(&self, receipt: &Receipt, nearest: Option<&[String]>) {
        let routed = match &receipt.fate {
            Fate::Routed(delivery) => Some(&**delivery),
            Fate::Unrouted(_) | Fate::Duplicate | Fate::Undecided => None,
        };
        self.send(routed, || happening::of_receipt(receipt, nearest));
    }

    /// An event that waited goes now.
    pub fn released(&self, released: &Released, what: LiveKind) {
        let routed = released.ready.fresh.as_deref();
        self.send(routed, || Some(happening::of_released(released, what)));
    }

    /// An attempt has ended. `next_in`: until the next one. `total`: since the event came.
    pub fn attempted(
        &self,
        delivery: &Delivery,
        attempt: &Attempt,
        next: Next,
        (next_in, total): (Option<Duration>, Duration),
    ) {
        self.send(None, || Some(happening::of_attempt(delivery, attempt, next, (next_in, total))));
    }

    /// Gives it to all readers who want it. `routed`: the delivery, for those who want its body.
    fn send(&self, routed: Option<&Delivery>, happening: impl FnOnce() -> Option<Happening>) {
        if self.readers() == 0 {
            return;
        }
        let Some(happening) = happening().map(Arc::new) else { return };
        // Shared by the readers. Not the dispatcher's own: what waits for slow readers must not count as held for it.
        let shared = LazyCell::new(|| routed.map(|delivery| Arc::new(delivery.uncounted())));
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in readers.iter().filter(|queue| queue.wanted.wants(&happening)) {
            let delivery = if queue.wanted.query.bodies { shared.clone() } else { None };
            if !queue.push(&happening, delivery) {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Somebody who watches, until this is dropped.
pub struct StreamReader {
    broadcast: Arc<Broadcast>,
    queue: Arc<ReaderQueue>,
}

impl StreamReader {
    /// What the reader may see and asked for.
    pub fn wanted(&self) -> &Wanted {
        &self.queue.wanted
    }

    /// Waits for what is sent to the reader next.
    pub async fn next(&self) -> Told {
        self.queue.next().await
    }

    /// Waits until the streams end.
    pub async fn ended(&self) {
        self.broadcast.ended.cancelled().await;
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.broadcast.leave(&self.queue);
    }
}

/// Whether there is a place for one more reader, of this tenant or of an operator.
fn has_seat(readers: &[Arc<ReaderQueue>], tenant: Option<&Tenant>) -> Result<(), NoSeat> {
    let count = |is_meant: &dyn Fn(Option<&Tenant>) -> bool| {
        readers.iter().filter(|queue| is_meant(queue.wanted.scope.tenant())).count()
    };
    if tenant.is_some() && count(&|other| other == tenant) >= OF_ONE {
        return Err(NoSeat::OfThisTenant);
    }
    let is_full = tenant.is_some() && count(&|other| other.is_some()) >= OF_TENANTS;
    if is_full || readers.len() >= READERS { Err(NoSeat::AtAll) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Grant, Scope};
    use crate::wire::LiveQuery;

    fn wanted(tenant: Option<&str>) -> Wanted {
        let scope = tenant
            .map_or_else(Scope::for_tests, |name| Scope::of_tenant_for_tests(Grant::for_tests(name, &[])));
        Wanted { scope, query: LiveQuery::default() }
    }

    #[test]
    fn one_tenant_has_its_places_and_operators_always_have_some() {
        let live = Arc::new(Broadcast::default());
        let mut readers = Vec::new();
        for tenant in 0..OF_TENANTS / OF_ONE {
            let name = format!("t{tenant}");
            readers.extend((0..OF_ONE).map(|_| live.admit(wanted(Some(&name))).expect("a place")));
            assert_eq!(live.admit(wanted(Some(&name))).err(), Some(NoSeat::OfThisTenant));
        }
        assert_eq!(live.admit(wanted(Some("other"))).err(), Some(NoSeat::AtAll));
        readers.extend((OF_TENANTS..READERS).map(|_| live.admit(wanted(None)).expect("a place")));
        assert_eq!(live.admit(wanted(None)).err(), Some(NoSeat::AtAll));
        assert_eq!(live.readers(), READERS);
        readers.clear();
        assert_eq!(live.readers(), 0);
        assert!(live.admit(wanted(Some("other"))).is_ok());
    }
}
