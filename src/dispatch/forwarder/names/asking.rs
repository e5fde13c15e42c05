//! The sockets that one look-up asks with: few, and each asks again by itself when a question or its answer gets lost.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dispatch::forwarder::conduit::{Metered, metered};
use crate::time::{Clock, Sleeping};

/// Sockets that each look-up may have: one for each kind of address.
pub const SOCKETS: u32 = 2;

/// A question without an answer is sent again after this time, and again.
const SENT_AGAIN: Duration = Duration::from_millis(333);

/// Tokio's runtime for the resolver, with a limit of sockets. A truncated UDP answer is asked for again over TCP; the
/// UDP socket is closed before, so a look-up never has both.
#[derive(Clone)]
pub struct Runtime {
    pub tokio: TokioRuntimeProvider,
    pub places: SocketPlaces,
    pub clock: Clock,
}

/// Places for the sockets of one look-up.
#[derive(Clone)]
pub struct SocketPlaces {
    /// Those that it has for itself.
    own: Arc<Semaphore>,
    /// Those that all look-ups share.
    more: Arc<Semaphore>,
    /// At each nameserver, one UDP socket for each kind of address: a question is sent again from the same one.
    servers: Arc<Mutex<HashMap<SocketAddr, Arc<Semaphore>>>>,
}

/// A socket that has places, and the question it has sent.
pub struct Asking {
    socket: UdpSocket,
    clock: Clock,
    question: Mutex<Option<Question>>,
    _places: [OwnedSemaphorePermit; 2],
}

struct Question {
    bytes: Vec<u8>,
    server: SocketAddr,
    again: Sleeping,
}

impl SocketPlaces {
    /// [`SOCKETS`] places, and what is free of those that all share.
    pub fn new(more: Arc<Semaphore>) -> Self {
        Self { own: Arc::new(Semaphore::new(SOCKETS as usize)), more, servers: Arc::default() }
    }

    /// A place for a UDP socket at this nameserver, once there is one.
    async fn at(&self, server: SocketAddr) -> io::Result<[OwnedSemaphorePermit; 2]> {
        let at_server = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            let places = servers.entry(server).or_insert_with(|| Arc::new(Semaphore::new(SOCKETS as usize)));
            Arc::clone(places)
        };
        // The query's own deadline bounds this wait.
        let at_server = at_server.acquire_owned().await.map_err(io::Error::other)?;
        Ok([at_server, self.socket().await?])
    }

    /// A place for a socket, once there is one. The query's own deadline bounds this wait, too.
    async fn socket(&self) -> io::Result<OwnedSemaphorePermit> {
        let place = tokio::select! {
            biased;
            place = Arc::clone(&self.own).acquire_owned() => place,
            place = Arc::clone(&self.more).acquire_owned() => place,
        };
        place.map_err(io::Error::other)
    }
}

type Opening<S> = Pin<Box<dyn Future<Output = io::Result<S>> + Send>>;

impl RuntimeProvider for Runtime {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Asking;
    type Tcp = AsyncIoTokioAsStd<Metered>;

    fn create_handle(&self) -> TokioHandle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        within: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        let (places, clock) = (self.places.clone(), self.clock.clone());
        let connecting = self.tokio.connect_tcp(server, local, within);
        Box::pin(async move {
            let place = places.socket().await?;
            let AsyncIoTokioAsStd(tcp) = connecting.await?;
            Ok(AsyncIoTokioAsStd(metered((tcp, place), &clock)))
        })
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Opening<Asking> {
        let (places, clock) = (self.places.clone(), self.clock.clone());
        Box::pin(async move {
            let places = places.at(server).await?;
            let socket = UdpSocket::bind(local).await?;
            Ok(Asking { socket, clock, question: Mutex::default(), _places: places })
        })
    }
}

impl DnsUdpSocket for Asking {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        if let Some(question) = &mut *self.question.lock().unwrap_or_else(PoisonError::into_inner) {
            while question.again.as_mut().poll(context).is_ready() {
                // If it cannot be sent now, it is the next time.
                let _ = self.socket.try_send_to(&question.bytes, question.server);
                question.again = self.clock.sleeping_until(self.clock.now() + SENT_AGAIN);
            }
        }
        DnsUdpSocket::poll_recv_from(&self.socket, context, buffer)
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        server: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let again = self.clock.sleeping_until(self.clock.now() + SENT_AGAIN);
        let question = Question { bytes: bytes.to_vec(), server, again };
        *self.question.lock().unwrap_or_else(PoisonError::into_inner) = Some(question);
        DnsUdpSocket::poll_send_to(&self.socket, context, bytes, server)
    }
}
