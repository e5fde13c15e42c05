//! The connections of one listener: which of them have shown a valid token, and which one is closed for another.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::crowd::{Crowd, Voucher};

/// All connections of one listener.
pub struct Visitors(Mutex<Crowd<CancellationToken>>);

/// One connection. Each listener adds it to its requests; it leaves the others when it is dropped.
#[derive(Clone)]
pub struct Visitor(Arc<Entry>);

struct Entry {
    visitors: Arc<Visitors>,
    number: u64,
    is_known: AtomicBool,
}

impl Visitors {
    /// Nobody yet, where so many connections may be.
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Crowd::new(places))))
    }

    /// A connection from this address, which `cut` closes.
    pub fn enter(self: &Arc<Self>, address: IpAddr, cut: CancellationToken) -> Visitor {
        let number = self.with(|crowd| crowd.enter(address, cut));
        Visitor(Arc::new(Entry { visitors: Arc::clone(self), number, is_known: AtomicBool::new(false) }))
    }

    /// Closes the connection whose turn it is. False: all have shown a valid token.
    pub fn dismiss(&self) -> bool {
        let dismissed = self.with(Crowd::dismiss);
        dismissed.map(|cut| cut.cancel()).is_some()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Crowd<CancellationToken>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Visitor {
    /// The connection has shown a valid token: from here on it is closed for no other one.
    pub fn vouch(&self, voucher: Voucher) {
        let Entry { visitors, number, is_known } = &*self.0;
        // Asked with every request: the lock is taken for the first one only.
        if !self.is_known() && visitors.with(|crowd| crowd.vouch(*number, voucher)) {
            is_known.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the connection has shown a valid token.
    pub fn is_known(&self) -> bool {
        self.0.is_known.load(Ordering::Relaxed)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.visitors.with(|crowd| crowd.leave(self.number));
    }
}
