//! Connections that wait for the next request to their host, and the places of all sockets that deliveries have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Uri;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::http1::Http1;
use super::http2::Http2;
use crate::delivery::Fault;
use crate::time::{Clock, Moment};

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

/// A connection that was closed to make room is gone by then.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// The connections that wait.
pub struct Pool {
    endpoints: Mutex<HashMap<Endpoint, Waiting>>,
    /// Places for sockets, those of connections in use included.
    places: Arc<Semaphore>,
    clock: Clock,
}

/// The connections of one endpoint, each with the time since when it waits.
#[derive(Default)]
struct Waiting {
    free: Vec<(Box<Http1>, Moment)>,
    /// One that attempts share.
    shared: Option<(Arc<Http2>, Moment)>,
}

impl Pool {
    /// A pool with places for so many sockets.
    pub fn new(sockets: usize, clock: Clock) -> Self {
        Self { endpoints: Mutex::default(), places: Arc::new(Semaphore::new(sockets)), clock }
    }

    /// Places for so many sockets. If they are not free, connections that wait are closed, those first that have
    /// waited longest.
    ///
    /// # Errors
    /// [`Fault::Local`] if all places are in use.
    pub async fn sockets(&self, count: u32) -> Result<OwnedSemaphorePermit, Fault> {
        if let Ok(places) = Arc::clone(&self.places).try_acquire_many_owned(count) {
            return Ok(places);
        }
        for _ in 0..count {
            self.evict();
        }
        let places = Arc::clone(&self.places).acquire_many_owned(count);
        let places = self.clock.timeout(ROOM_WITHIN, places).await;
        places.ok().and_then(Result::ok).ok_or(Fault::Local)
    }

    /// Closes the connection that has waited longest.
    fn evict(&self) {
        let mut endpoints = self.endpoints();
        let oldest = endpoints.iter().filter_map(|(endpoint, waiting)| Some((waiting.since()?, endpoint)));
        let oldest = oldest.min_by_key(|(since, _)| *since).map(|(_, endpoint)| endpoint.clone());
        let Some(endpoint) = oldest else { return };
        if endpoints.get_mut(&endpoint).is_some_and(|waiting| !waiting.drop_oldest()) {
            endpoints.remove(&endpoint);
        }
    }

    /// A connection to this endpoint.
    pub fn take(&self, endpoint: &Endpoint) -> Option<Link> {
        self.endpoints().get_mut(endpoint)?.take(self.clock.now())
    }

    /// Keeps a connection that has answered.
    pub fn put(&self, endpoint: Endpoint, connection: Box<Http1>) {
        let now = self.clock.now();
        let mut endpoints = self.endpoints();
        let free = &mut endpoints.entry(endpoint).or_default().free;
        if free.len() < IDLE_PER_HOST {
            free.push((connection, now));
        }
    }

    /// Keeps a new connection for all that want to share it, unless there is one already; gives the one there is.
    pub fn share(&self, endpoint: Endpoint, connection: Http2) -> Arc<Http2> {
        let now = self.clock.now();
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
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.endpoints().retain(|_, waiting| waiting.sweep(now));
    }

    /// Closes all that wait.
    pub fn clear(&self) {
        self.endpoints().clear();
    }

    fn endpoints(&self) -> MutexGuard<'_, HashMap<Endpoint, Waiting>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Since when the oldest waits; none if all are in use.
    fn since(&self) -> Option<Moment> {
        let shared = self.shared.as_ref().filter(|(connection, _)| Arc::strong_count(connection) == 1);
        let free = self.free.first().map(|(_, since)| *since);
        free.into_iter().chain(shared.map(|(_, since)| *since)).min()
    }

    /// Closes the oldest; whether something is left.
    fn drop_oldest(&mut self) -> bool {
        if self.free.is_empty() {
            self.shared = None;
        } else {
            self.free.remove(0);
        }
        self.shared.is_some() || !self.free.is_empty()
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

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::dispatch::forwarder::conduit::metered;
    use crate::time::UnixMillis;

    fn endpoint(number: usize) -> Endpoint {
        Endpoint::of(&format!("http://{number}.example/").parse().expect("a URI"), false)
    }

    #[tokio::test]
    async fn the_connection_that_has_waited_longest_gives_way_and_without_one_it_is_the_routers_fault() {
        let clock = Clock::manual(UnixMillis(0));
        let pool = Pool::new(2, clock.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        for number in 0..2 {
            let place = pool.sockets(1).await.expect("a place");
            let tcp = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("TCP");
            let connection = Http1::over(Box::new(metered((tcp, place), &clock))).await.expect("HTTP");
            pool.put(endpoint(number), connection.into());
            clock.advance(Duration::from_secs(1));
        }
        let _place = pool.sockets(1).await.expect("the place of the first");
        assert!(pool.take(&endpoint(0)).is_none());
        let in_use = pool.take(&endpoint(1));
        assert!(in_use.is_some());
        let (none, ()) = tokio::join!(pool.sockets(1), async { clock.advance(ROOM_WITHIN) });
        assert_eq!(none.err(), Some(Fault::Local));
        drop(in_use);
        assert!(pool.sockets(1).await.is_ok());
    }
}
