//! Connections that wait for the next request to their host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Uri;

use super::http1::Http1;
use super::http2::Http2;
use crate::time::Moment;

/// An idle connection is kept this long: shorter than servers commonly do (Node.js: 5 s), so that a delivery
/// does not use a connection that its server is closing.
const IDLE: Duration = Duration::from_secs(4);

/// Idle connections to one host.
const IDLE_PER_HOST: usize = 32;

/// What connections are the same for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// Scheme, host and port.
    text: Box<str>,
    /// Made for a hook that may have private targets: no other hook may use it.
    is_private: bool,
}

impl Endpoint {
    pub fn of(uri: &Uri, is_private: bool) -> Self {
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Self { text: format!("{scheme}://{authority}").into(), is_private }
    }
}

/// A connection to a receiver.
pub enum Link {
    Http1(Box<Http1>),
    Http2(Arc<Http2>),
}

/// The connections that wait.
#[derive(Default)]
pub struct Pool(Mutex<HashMap<Endpoint, Waiting>>);

/// The connections of one endpoint, each with the time since when it waits.
#[derive(Default)]
struct Waiting {
    free: Vec<(Box<Http1>, Moment)>,
    /// One that attempts share.
    shared: Option<(Arc<Http2>, Moment)>,
}

impl Pool {
    /// A connection to this endpoint.
    pub fn take(&self, endpoint: &Endpoint, now: Moment) -> Option<Link> {
        self.endpoints().get_mut(endpoint)?.take(now)
    }

    /// Keeps a connection that has answered.
    pub fn put(&self, endpoint: Endpoint, connection: Box<Http1>, now: Moment) {
        let mut endpoints = self.endpoints();
        let free = &mut endpoints.entry(endpoint).or_default().free;
        if free.len() < IDLE_PER_HOST {
            free.push((connection, now));
        }
    }

    /// Keeps a new connection for all that want to share it, unless there is one already; gives the one there is.
    pub fn share(&self, endpoint: Endpoint, connection: Http2, now: Moment) -> Arc<Http2> {
        let mut endpoints = self.endpoints();
        let waiting = endpoints.entry(endpoint).or_default();
        if let Some(shared) = waiting.shared(now) {
            return shared;
        }
        let connection = Arc::new(connection);
        waiting.shared = Some((Arc::clone(&connection), now));
        connection
    }

    /// Closes what nobody has wanted for a while.
    pub fn sweep(&self, now: Moment) {
        self.endpoints().retain(|_, waiting| waiting.sweep(now));
    }

    /// Closes all that wait.
    pub fn clear(&self) {
        self.endpoints().clear();
    }

    fn endpoints(&self) -> MutexGuard<'_, HashMap<Endpoint, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, now: Moment) -> Option<Link> {
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

    fn shared(&mut self, now: Moment) -> Option<Arc<Http2>> {
        let (connection, since) = self.shared.as_mut().filter(|(connection, _)| connection.is_open(now))?;
        *since = now;
        Some(Arc::clone(connection))
    }

    /// Whether something is left.
    fn sweep(&mut self, now: Moment) -> bool {
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
