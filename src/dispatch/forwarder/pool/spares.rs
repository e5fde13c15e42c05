//! The connections of one endpoint that wait for the next request.

use std::sync::Arc;
use std::time::Duration;

use crate::dispatch::forwarder::http1::Http1;
use crate::dispatch::forwarder::http2::Http2;
use crate::time::Moment;

/// An idle connection is kept this long: shorter than servers commonly do (Node.js: 5 s), so that a delivery
/// does not use a connection that its server is closing.
const IDLE: Duration = Duration::from_secs(4);

/// A connection to a receiver.
pub enum Link {
    Http1(Box<Http1>),
    Http2(Arc<Http2>),
}

/// The connections of one endpoint, each with the time since when it waits.
#[derive(Default)]
pub struct Spares {
    pub free: Vec<(Box<Http1>, Moment)>,
    /// One that attempts share, as long as it has room for more.
    pub shared: Option<(Arc<Http2>, Moment)>,
}

impl Spares {
    /// One that takes another request.
    pub fn take(&mut self, now: Moment) -> Option<Link> {
        if let Some(shared) = self.shared(now) {
            return Some(Link::Http2(shared));
        }
        // The one that was used last comes first: its server is the least likely to close it.
        while let Some((connection, since)) = self.free.pop() {
            if is_good(&connection, since, now) {
                return Some(Link::Http1(connection));
            }
        }
        None
    }

    /// The one that attempts share, if it takes another request.
    pub fn shared(&mut self, now: Moment) -> Option<Arc<Http2>> {
        let has_room = |connection: &Arc<Http2>| connection.has_room(Arc::strong_count(connection) - 1);
        let is_good = |connection: &Arc<Http2>| connection.is_open(now) && has_room(connection);
        let (connection, since) = self.shared.as_mut().filter(|(connection, _)| is_good(connection))?;
        *since = now;
        Some(Arc::clone(connection))
    }

    /// Since when the oldest waits; none if all are in use.
    pub fn since(&self) -> Option<Moment> {
        let shared = self.shared.as_ref().filter(|(connection, _)| Arc::strong_count(connection) == 1);
        let free = self.free.first().map(|(_, since)| *since);
        free.into_iter().chain(shared.map(|(_, since)| *since)).min()
    }

    /// Closes the oldest; whether something is left.
    pub fn drop_oldest(&mut self) -> bool {
        if self.free.is_empty() {
            self.shared = None;
        } else {
            self.free.remove(0);
        }
        self.shared.is_some() || !self.free.is_empty()
    }

    /// Closes those that nobody has wanted for a while; whether something is left.
    pub fn sweep(&mut self, now: Moment) -> bool {
        self.free.retain(|(connection, since)| is_good(connection, *since, now));
        if let Some((connection, since)) = &mut self.shared {
            if Arc::strong_count(connection) > 1 {
                *since = now;
            }
            if !connection.is_open(now) || now.since(*since) >= IDLE {
                self.shared = None;
            }
        }
        self.shared.is_some() || !self.free.is_empty()
    }
}

fn is_good(connection: &Http1, since: Moment, now: Moment) -> bool {
    now.since(since) < IDLE && !connection.is_over(now)
}
