//! Accepts connections, up to a limit, and lets them finish at the end.

mod connection;
mod hall;
mod handshakes;
mod linger;
mod pace;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::{Connection, Welcome};
use self::hall::{Guest, Hall};
use self::handshakes::Handshakes;
use super::fault::ServiceFault;
use super::tls::Certificate;
use crate::http::PeerAddress;
use crate::telemetry::{Metrics, Seldom};
use crate::time::Clock;

/// Places beside the limit, in which only health is answered: a probe must not be turned away, nor see a router as
/// dead that is only full.
pub const HEALTH_PLACES: usize = 32;

/// Connections that are busy at the end get this long.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// After a connection that could not be accepted.
const AFTER_FAULT: Duration = Duration::from_millis(50);

/// The log says at most this often that connections are closed for others, or that handshakes fail.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted: a burst must not wait for a lost SYN to be sent again.
const BACKLOG: u32 = 4096;

/// Bytes of answers that the system keeps for one connection. What it chooses by itself may be megabytes, which clients
/// that do not read would hold; and so that a client counts as reading it has to take a part of this only.
const SEND_BUFFER: u32 = 128 << 10;

/// Listens, and says where: a port of 0 is one the system chooses.
///
/// # Errors
/// When the address is taken, or not this machine's.
pub fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServiceFault> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // After a restart the address may still be in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        // Accepted sockets have the listener's.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    bind().map_err(|error| ServiceFault::Listen(address, error))
}

/// A listener and what is served at it.
pub struct Served {
    /// The listener, as metrics and the log name it.
    pub name: &'static str,
    pub listener: TcpListener,
    pub router: Router,
    /// What is served when all connections there may be have shown a valid token and are in use.
    pub when_full: Router,
    /// Connections at once.
    pub connections: usize,
    /// None: plain HTTP.
    pub certificate: Option<Arc<Certificate>>,
    pub metrics: Arc<Metrics>,
}

/// Serves until `stop`.
pub async fn serve(served: Served, clock: Clock, stop: CancellationToken) {
    // Cancelled when this function returns or panics: cuts off connections that are still open.
    let cut = CancellationToken::new();
    let _cut_at_the_end = cut.clone().drop_guard();
    let listener = served.listener;
    let welcome = Welcome {
        name: served.name,
        metrics: served.metrics,
        certificate: served.certificate,
        clock: clock.clone(),
        // Peers live in real time, also when a test stops the router's.
        pace: Clock::system(),
        handshakes: Handshakes::on_half_of_the_machine(),
        failed: Seldom::new(SAY_AGAIN),
        stop: stop.clone(),
    };
    let door = Entrance {
        welcome: Arc::new(welcome),
        router: served.router,
        when_full: served.when_full,
        hall: Hall::new(served.connections, cut.clone(), Clock::system()),
        beside: Hall::new(HEALTH_PLACES, cut, Clock::system()),
        connections: served.connections,
        tasks: TaskTracker::new(),
        crowded: Seldom::new(SAY_AGAIN),
        full: Seldom::new(SAY_AGAIN),
        fault: Seldom::new(SAY_AGAIN),
    };
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => door.receive(stream, peer).await,
                Err(error) => door.recover(&error).await,
            }
        }
    };
    let _ = stop.run_until_cancelled(accepting).await;
    drop(listener);
    door.tasks.close();
    // LiveKit posts again what is not answered by then.
    let _ = clock.timeout(FINISH_WITHIN, door.tasks.wait()).await;
}

/// A listener that is open.
struct Entrance {
    welcome: Arc<Welcome>,
    router: Router,
    when_full: Router,
    hall: Hall,
    /// The places in which only health is answered.
    beside: Hall,
    connections: usize,
    tasks: TaskTracker,
    /// Logs of connections that are closed for others, that find no place, and that cannot be accepted.
    crowded: Seldom,
    full: Seldom,
    fault: Seldom,
}

impl Entrance {
    /// Gives a connection a place and serves it there.
    async fn receive(&self, stream: TcpStream, peer: SocketAddr) {
        let address = PeerAddress(peer).network();
        if let Some(guest) = self.hall.admit(address).await {
            if guest.in_place_of_another {
                self.say_crowded();
            }
            return self.serve(stream, peer, guest, true);
        }
        self.say_full();
        if let Some(guest) = self.beside.admit(address).await {
            self.serve(stream, peer, guest, false);
        }
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, guest: Guest, has_place: bool) {
        let welcome = Arc::clone(&self.welcome);
        let router = if has_place { &self.router } else { &self.when_full }.clone();
        let connection = Connection { peer, visitor: guest.visitor.clone(), router, is_kept: has_place };
        let open = welcome.metrics.connection(welcome.name);
        self.tasks.spawn(async move {
            guest.cut.run_until_cancelled(welcome.serve(stream, connection)).await;
            // The place is free once the connection is closed.
            drop((guest, open));
        });
    }

    fn say_crowded(&self) {
        let Welcome { name, metrics, clock, .. } = &*self.welcome;
        metrics.connection_refused(name, "crowded");
        if let Some(times) = self.crowded.admit(clock.now()) {
            tracing::warn!(
                listener = name,
                connections = self.connections,
                times,
                "all connections there may be are open: for each new one the oldest that has shown no valid token is \
                 closed, or else the one that has been idle longest"
            );
        }
    }

    fn say_full(&self) {
        let Welcome { name, metrics, clock, .. } = &*self.welcome;
        metrics.connection_refused(name, "full");
        if let Some(times) = self.full.admit(clock.now()) {
            tracing::error!(
                listener = name,
                connections = self.connections,
                times,
                "too many connections, and all have shown a valid token and are in use: on new ones only health is \
                 answered, all else 503"
            );
        }
    }

    /// After a connection could not be accepted, such as for want of a file descriptor: accepting again at once would
    /// be a busy loop.
    async fn recover(&self, error: &std::io::Error) {
        let Welcome { name, clock, .. } = &*self.welcome;
        self.hall.dismiss();
        if let Some(times) = self.fault.admit(clock.now()) {
            tracing::error!(listener = name, %error, times, "a connection cannot be accepted");
        }
        clock.sleep(AFTER_FAULT).await;
    }
}
