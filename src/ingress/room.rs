//! Room for bodies that are coming in: taken as their bytes come, so that what is only announced holds nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::share::Shares;
use crate::hooks::Tenant;
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
    /// What tenants have of it.
    shares: Shares,
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
    tenant: Option<Tenant>,
    cut: CancellationToken,
}

/// What one body holds of the room while it arrives.
pub struct Hold {
    number: u64,
    held: Option<Held>,
    room: Arc<Room>,
    /// Cancelled when the body has to give way.
    pub cut: CancellationToken,
}

/// A body's part of the room, until it is dropped.
pub struct Held {
    room: Arc<Room>,
    tenant: Option<Tenant>,
    /// None before the first bytes.
    permits: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Room for so many bytes, and for so many of one tenant's.
    pub fn new(bytes: usize, of_one: usize, clock: Clock) -> Arc<Self> {
        let (free, shares) = (Arc::new(Semaphore::new(bytes / 1024)), Shares::new(kib_of(of_one)));
        Arc::new(Self { free, shares, clock, arriving: Mutex::default() })
    }

    /// A body begins to arrive. `tenant`: whose share it is part of.
    pub fn begin(self: &Arc<Self>, tenant: Option<Tenant>) -> Hold {
        let cut = CancellationToken::new();
        let body = ArrivingBody { since: self.clock.now(), kib: 0, tenant: tenant.clone(), cut: cut.clone() };
        let mut arriving = self.arriving();
        arriving.begun += 1;
        let number = arriving.begun;
        arriving.bodies.insert(number, body);
        drop(arriving);
        let held = Some(Held { room: Arc::clone(self), tenant, permits: None });
        Hold { number, held, room: Arc::clone(self), cut }
    }

    /// Takes `kib` for the body `number` of this tenant. Where they are not free, bodies that linger give way to it; where
    /// they are beyond the tenant's share, its own.
    async fn take(
        &self,
        number: u64,
        tenant: Option<&Tenant>,
        kib: u32,
    ) -> Result<OwnedSemaphorePermit, NoRoom> {
        let until = self.clock.now() + ROOM_WITHIN;
        loop {
            let given_back = self.shares.given_back();
            let free = Arc::clone(&self.free).try_acquire_many_owned(kib);
            if let Some(permits) = free.ok().filter(|_| self.shares.book(tenant, kib)) {
                return Ok(permits);
            }
            let has_share = self.shares.has(tenant, kib);
            let gives_way = self.make_way(number, kib, tenant.filter(|_| !has_share));
            // What has not begun is not missed: LiveKit posts it again. What has begun waits.
            let has_begun = self.arriving().bodies.get(&number).is_some_and(|body| body.kib > 0);
            if !(gives_way || has_begun) || self.clock.now() >= until {
                return Err(NoRoom);
            }
            if !has_share {
                // Whether the time is up or not, all is looked at again.
                let _ = self.clock.timeout(LOOK_AGAIN, given_back).await;
                continue;
            }
            let freed = Arc::clone(&self.free).acquire_many_owned(kib);
            let freed = self.clock.timeout(LOOK_AGAIN, freed).await;
            if let Some(permits) = freed.ok().and_then(Result::ok).filter(|_| self.shares.book(tenant, kib)) {
                return Ok(permits);
            }
        }
    }

    /// Cuts off bodies other than `number` that linger, of one tenant or of all, the largest first, until they give back
    /// `kib`. Whether there are any.
    fn make_way(&self, number: u64, kib: u32, of: Option<&Tenant>) -> bool {
        let (now, mut arriving) = (self.clock.now(), self.arriving());
        let lingers = |body: &ArrivingBody| {
            let is_meant = of.is_none_or(|tenant| body.tenant.as_ref() == Some(tenant));
            is_meant && body.kib > 0 && now.since(body.since) >= LINGERS_AFTER
        };
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
        let kib = kib_of(bytes);
        let Some(held) = &mut self.held else { return Ok(()) };
        let Some(missing) = kib.checked_sub(held.kib()).filter(|missing| *missing > 0) else { return Ok(()) };
        let more = self.room.take(self.number, held.tenant.as_ref(), missing).await?;
        match &mut held.permits {
            Some(permits) => permits.merge(more),
            None => held.permits = Some(more),
        }
        if let Some(body) = self.room.arriving().bodies.get_mut(&self.number) {
            body.kib = kib;
        }
        Ok(())
    }

    /// The body is whole: it gives way to no other from here on, and holds its room until what this gives is dropped.
    pub fn whole(mut self) -> Option<Held> {
        self.held.take()
    }
}

impl Held {
    fn kib(&self) -> u32 {
        self.permits.as_ref().map_or(0, |permits| u32::try_from(permits.num_permits()).unwrap_or(u32::MAX))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(tenant) = &self.tenant {
            self.room.shares.give_back(tenant, self.kib());
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.room.arriving().bodies.remove(&self.number);
    }
}

fn kib_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}
