//! Places for the connections of a listener.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::http::{Visitor, Visitors};
use crate::time::Clock;

/// So many places, and who has them.
pub struct Hall {
    places: Arc<Semaphore>,
    visitors: Arc<Visitors>,
    /// Cuts off all connections.
    cut: CancellationToken,
}

/// A connection that has a place until this is dropped.
pub struct Guest {
    pub visitor: Visitor,
    /// Cuts off this connection.
    pub cut: CancellationToken,
    /// Whether another connection was closed for this one.
    pub in_place_of_another: bool,
    _place: OwnedSemaphorePermit,
}

impl Hall {
    /// A hall with so many places, whose connections end with `cut`. `clock`: what tells how long they are idle.
    pub fn new(places: usize, cut: CancellationToken, clock: Clock) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), visitors: Visitors::new(places, clock), cut }
    }

    /// A place for a connection from this address: a free one, or that of a connection without a valid token or of one
    /// that is idle, which is closed first, so that there are never more connections than places: that takes as long as
    /// its task needs to be dropped. None: all have shown a valid token and are in use.
    pub async fn admit(&self, address: IpAddr) -> Option<Guest> {
        let free = Arc::clone(&self.places).try_acquire_owned().ok();
        let in_place_of_another = free.is_none();
        let place = match free {
            Some(place) => place,
            None if self.visitors.dismiss() => Arc::clone(&self.places).acquire_owned().await.ok()?,
            None => return None,
        };
        let cut = self.cut.child_token();
        let visitor = self.visitors.enter(address, cut.clone());
        Some(Guest { visitor, cut, in_place_of_another, _place: place })
    }

    /// Closes the connection whose turn it is, if there is one, for want of a descriptor.
    pub fn dismiss(&self) -> bool {
        self.visitors.dismiss()
    }
}
