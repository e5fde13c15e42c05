//! The connections of one listener: which of them have shown a valid token, and which one is closed for another.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::crowd::{Crowd, Voucher};
use crate::time::{Clock, Moment};

/// All connections of one listener.
pub struct Visitors {
    crowd: Mutex<Crowd<Handle>>,
    clock: Clock,
}

/// One connection. Each listener adds it to its requests; it leaves the others when it is dropped.
#[derive(Clone)]
pub struct Visitor(Arc<Entry>);

struct Entry {
    visitors: Arc<Visitors>,
    number: u64,
    is_known: AtomicBool,
    activity: Activity,
}

/// What closes a connection, and what it does.
struct Handle {
    cut: CancellationToken,
    activity: Activity,
}

/// What a connection does; whoever may close it sees it.
#[derive(Clone)]
pub struct Activity(Arc<Mutex<Doing>>);

/// What a connection does just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Nothing, since then.
    Idle(Moment),
    /// It sends a request, the first byte of which came then, or waits for the answer.
    Asking(Moment),
}

impl Visitors {
    /// Nobody yet, where so many connections may be.
    pub fn new(places: usize, clock: Clock) -> Arc<Self> {
        Arc::new(Self { crowd: Mutex::new(Crowd::new(places)), clock })
    }

    /// A connection from this address, which `cut` closes.
    pub fn enter(self: &Arc<Self>, address: IpAddr, cut: CancellationToken) -> Visitor {
        let activity = Activity(Arc::new(Mutex::new(Doing::Idle(self.clock.now()))));
        let handle = Handle { cut, activity: activity.clone() };
        let number = self.with(|crowd| crowd.enter(address, handle));
        let visitors = Arc::clone(self);
        Visitor(Arc::new(Entry { visitors, number, is_known: AtomicBool::new(false), activity }))
    }

    /// Closes the connection whose turn it is. False: all have shown a valid token and are in use.
    pub fn dismiss(&self) -> bool {
        let now = self.clock.now();
        let dismissed = self.with(|crowd| crowd.dismiss(now, |handle| handle.activity.idle_since()));
        dismissed.map(|handle| handle.cut.cancel()).is_some()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Crowd<Handle>) -> T) -> T {
        change(&mut self.crowd.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Visitor {
    /// The connection has shown a valid token: from here on it is closed for another one only if it is idle.
    pub fn vouch(&self, voucher: Voucher) {
        let Entry { visitors, number, is_known, .. } = &*self.0;
        // Asked with every request: the lock is taken for the first one only.
        if is_known.load(Ordering::Relaxed) {
            return;
        }
        let now = visitors.clock.now();
        if visitors.with(|crowd| crowd.vouch(*number, voucher, now)) {
            is_known.store(true, Ordering::Relaxed);
        }
    }

    /// What the connection does.
    pub fn activity(&self) -> &Activity {
        &self.0.activity
    }
}

impl Activity {
    /// The connection does this from here on.
    pub fn set(&self, doing: Doing) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }

    /// What it does.
    pub fn doing(&self) -> Doing {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_since(&self) -> Option<Moment> {
        match self.doing() {
            Doing::Idle(since) => Some(since),
            Doing::Asking(_) => None,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.visitors.with(|crowd| crowd.leave(self.number));
    }
}
