//! Connections that wait for the next request to their host, and the places of all sockets that deliveries have.

mod spares;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Uri;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::spares::Link;
use self::spares::Spares;
use super::http1::Http1;
use super::http2::Http2;
use crate::delivery::Fault;
use crate::time::Clock;

/// One in so many of a pool's sockets may be an idle connection to one host: as many as there are quick attempts in flight at
/// most. Tenants may share a host, and each connection that is not kept is made anew.
const IDLE_OF_A_HOST: usize = 3;

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

/// A connection that was closed to make room is gone by then.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// The connections that wait.
pub struct Pool {
    endpoints: Mutex<HashMap<Endpoint, Spares>>,
    /// Places for sockets, those of connections in use included.
    places: Arc<Semaphore>,
    /// Idle connections to one host.
    idle_per_host: usize,
    clock: Clock,
}

impl Pool {
    /// A pool with places for so many sockets.
    pub fn new(sockets: usize, clock: Clock) -> Self {
        let (places, idle_per_host) = (Arc::new(Semaphore::new(sockets)), sockets.div_ceil(IDLE_OF_A_HOST));
        Self { endpoints: Mutex::default(), places, idle_per_host, clock }
    }

    /// Places for so many sockets. If they are not free, connections that wait are closed, those first that have
    /// waited longest.
    ///
    /// # Errors
    /// [`Fault::Local`] if all places are in use.
    pub async fn sockets(&self, count: u32) -> Result<OwnedSemaphorePermit, Fault> {
        if let Some(places) = self.free(count) {
            return Ok(places);
        }
        for _ in 0..count {
            self.evict();
        }
        let places = Arc::clone(&self.places).acquire_many_owned(count);
        let places = self.clock.timeout(ROOM_WITHIN, places).await;
        places.ok().and_then(Result::ok).ok_or(Fault::Local)
    }

    /// A place for one socket, if there is one without waiting. Otherwise the connection that has waited longest is
    /// closed, for whoever asks next.
    pub fn socket_now(&self) -> Option<OwnedSemaphorePermit> {
        self.free(1).or_else(|| {
            self.evict();
            self.free(1)
        })
    }

    fn free(&self, count: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_many_owned(count).ok()
    }

    /// Closes the connection that has waited longest.
    fn evict(&self) {
        let mut endpoints = self.endpoints();
        let oldest = endpoints.iter().filter_map(|(endpoint, spares)| Some((spares.since()?, endpoint)));
        let oldest = oldest.min_by_key(|(since, _)| *since).map(|(_, endpoint)| endpoint.clone());
        let Some(endpoint) = oldest else { return };
        if endpoints.get_mut(&endpoint).is_some_and(|spares| !spares.drop_oldest()) {
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
        if free.len() < self.idle_per_host {
            free.push((connection, now));
        }
    }

    /// Keeps a new connection for all that want to share it, unless there is one with room; gives the one there is.
    /// A connection without room goes on with its attempts, and is closed after the last of them: there are no more of
    /// them than attempts.
    pub fn share(&self, endpoint: Endpoint, connection: Http2) -> Arc<Http2> {
        let now = self.clock.now();
        let mut endpoints = self.endpoints();
        let spares = endpoints.entry(endpoint).or_default();
        if let Some(shared) = spares.shared(now) {
            return shared;
        }
        let connection = Arc::new(connection);
        spares.shared = Some((Arc::clone(&connection), now));
        connection
    }

    /// Closes what nobody has wanted for a while.
    pub fn sweep(&self) {
        let now = self.clock.now();
        self.endpoints().retain(|_, spares| spares.sweep(now));
    }

    /// Closes all that wait.
    pub fn clear(&self) {
        self.endpoints().clear();
    }

    fn endpoints(&self) -> MutexGuard<'_, HashMap<Endpoint, Spares>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::dispatch::forwarder::conduit::metered;
    use crate::dispatch::forwarder::http2::Drivers;
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
        assert!(pool.socket_now().is_none());
        drop(in_use);
        assert!(pool.socket_now().is_some());
        assert!(pool.sockets(1).await.is_ok());
    }

    /// Its peer has not yet said that it takes more than one request.
    #[tokio::test]
    async fn a_shared_connection_without_room_is_replaced_and_closed_after_its_last_attempt() {
        let (clock, drivers) = (Clock::system(), Drivers::default());
        let pool = Pool::new(2, clock.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let connect = async || {
            let place = pool.sockets(1).await.expect("a place");
            let tcp = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("TCP");
            Http2::over(Box::new(metered((tcp, place), &clock)), &drivers).await.expect("HTTP/2")
        };
        let first = pool.share(endpoint(0), connect().await);
        assert!(pool.take(&endpoint(0)).is_none());
        let second = pool.share(endpoint(0), connect().await);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(pool.socket_now().is_none(), "both are in use");
        drop(first);
        let _place = pool.sockets(1).await.expect("the place of the first");
        drop(second);
        assert!(matches!(pool.take(&endpoint(0)), Some(Link::Http2(_))));
    }

    #[tokio::test]
    async fn so_many_connections_to_one_host_wait_for_the_next_request() {
        let clock = Clock::manual(UnixMillis(0));
        let pool = Pool::new(12, clock.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        for _ in 0..5 {
            let place = pool.sockets(1).await.expect("a place");
            let tcp = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("TCP");
            let connection = Http1::over(Box::new(metered((tcp, place), &clock))).await.expect("HTTP");
            pool.put(endpoint(0), connection.into());
        }
        assert_eq!(pool.endpoints()[&endpoint(0)].free.len(), 12 / IDLE_OF_A_HOST);
    }
}
