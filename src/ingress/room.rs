//! Room for bodies that are coming in: taken as their bytes come, so that what is only announced holds nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::time::{Clock, Moment};

/// A body that is not whole by then gives way when there is no room for another one. LiveKit's come within
/// milliseconds.
const LINGERS_AFTER: Duration = Duration::from_secs(1);

/// So long a body waits for room at most.
const ROOM_WITHIN: Duration = Duration::from_secs(2);

/// A body that waits for room looks again this often whether one that lingers can give way.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// There is no room.
#[derive(Debug)]
pub struct NoRoom;

/// The room for bodies, in KiB.
pub struct Room {
    free: Arc<Semaphore>,
    clock: Clock,
    arriving: Mutex<Arriving>,
}

#[derive(Default)]
struct Arriving {
    begun: u64,
    bodies: BTreeMap<u64, ArrivingBody>,
}

/// A body that is not whole yet.
struct ArrivingBody {
    since: Moment,
    kib: u32,
    cut: CancellationToken,
}

/// What one body holds of the room while it arrives.
pub struct Hold {
    room: Arc<Room>,
    number: u64,
    /// None before the first bytes.
    permits: Option<OwnedSemaphorePermit>,
    /// Cancelled when the body has to give way.
    pub cut: CancellationToken,
}

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: usize, clock: Clock) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(bytes / 1024)), clock, arriving: Mutex::default() })
    }

    /// A body begins to arrive.
    pub fn begin(self: &Arc<Self>) -> Hold {
        let cut = CancellationToken::new();
        let body = ArrivingBody { since: self.clock.now(), kib: 0, cut: cut.clone() };
        let mut arriving = self.arriving();
        arriving.begun += 1;
        let number = arriving.begun;
        arriving.bodies.insert(number, body);
        drop(arriving);
        Hold { room: Arc::clone(self), number, permits: None, cut }
    }

    /// Takes `kib` for the body `number`. Where they are not free, bodies that linger give way to it.
    async fn take(&self, number: u64, kib: u32) -> Result<OwnedSemaphorePermit, NoRoom> {
        let until = self.clock.now() + ROOM_WITHIN;
        loop {
            if let Ok(permits) = Arc::clone(&self.free).try_acquire_many_owned(kib) {
                return Ok(permits);
            }
            let gives_way = self.make_way(number, kib);
            // What has not begun is not missed: LiveKit posts it again. What has begun waits.
            let has_begun = self.arriving().bodies.get(&number).is_some_and(|body| body.kib > 0);
            if !(gives_way || has_begun) || self.clock.now() >= until {
                return Err(NoRoom);
            }
            let freed = Arc::clone(&self.free).acquire_many_owned(kib);
            if let Ok(Ok(permits)) = self.clock.timeout(LOOK_AGAIN, freed).await {
                return Ok(permits);
            }
        }
    }

    /// Cuts off bodies other than `number` that linger, the largest first, until they give back `kib`. Whether there
    /// are any.
    fn make_way(&self, number: u64, kib: u32) -> bool {
        let (now, mut arriving) = (self.clock.now(), self.arriving());
        let lingers = |body: &ArrivingBody| body.kib > 0 && now.since(body.since) >= LINGERS_AFTER;
        let others = arriving.bodies.iter_mut().filter(|(other, body)| **other != number && lingers(body));
        let mut others: Vec<_> = others.map(|(_, body)| body).collect();
        others.sort_by_key(|body| std::cmp::Reverse(body.kib));
        let mut freed = 0;
        for body in others {
            if freed >= kib {
                break;
            }
            body.cut.cancel();
            freed += std::mem::take(&mut body.kib);
        }
        freed > 0
    }

    fn arriving(&self) -> MutexGuard<'_, Arriving> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Holds room for `bytes` in all from here on.
    ///
    /// # Errors
    /// [`NoRoom`] if there is none and no other body gives way in time.
    pub async fn hold(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let held =
            self.permits.as_ref().map_or(0, |permits| u32::try_from(permits.num_permits()).unwrap_or(0));
        let Some(missing) = kib.checked_sub(held).filter(|missing| *missing > 0) else { return Ok(()) };
        let more = self.room.take(self.number, missing).await?;
        match &mut self.permits {
            Some(permits) => permits.merge(more),
            None => self.permits = Some(more),
        }
        if let Some(body) = self.room.arriving().bodies.get_mut(&self.number) {
            body.kib = kib;
        }
        Ok(())
    }

    /// The body is whole: it gives way to no other from here on, and holds its room until what this gives is dropped.
    pub fn whole(mut self) -> Option<OwnedSemaphorePermit> {
        self.permits.take()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.room.arriving().bodies.remove(&self.number);
    }
}
