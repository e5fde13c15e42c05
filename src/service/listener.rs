//! Accepts connections, up to a limit, and lets them finish at the end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::fault::ServiceFault;
use super::tls::Certificate;
use crate::http::PeerAddress;
use crate::telemetry::Seldom;
use crate::time::Clock;

/// Longer than Go's client keeps an idle connection (90 s), so that LiveKit closes it first and never posts on
/// one that we are closing. A request's head must come within this time, too.
const HEAD_WITHIN: Duration = Duration::from_secs(100);

/// Connections that are busy at the end get this long.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// A TLS handshake must be through within this time: a client that stalls holds a place of the limit.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// After a connection that could not be accepted.
const AFTER_FAULT: Duration = Duration::from_millis(50);

/// The log says at most this often that there are too many connections, or that handshakes fail.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;

/// The answer to a connection beyond the limit.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Connections that wait to be accepted: a burst must not wait for a lost SYN to be sent again.
const BACKLOG: u32 = 4096;

/// Listens, and says where: a port of 0 is one the system chooses.
///
/// # Errors
/// When the address is taken, or not this machine's.
pub fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServiceFault> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // After a restart the address may still be in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    bind().map_err(|error| ServiceFault::Listen(address, error))
}

/// A listener and what is served at it.
pub struct Served {
    pub listener: TcpListener,
    pub router: Router,
    /// Connections at once.
    pub connections: usize,
    /// None: plain HTTP.
    pub certificate: Option<Arc<Certificate>>,
}

/// Serves until `stop`.
pub async fn serve(served: Served, clock: Clock, stop: CancellationToken) {
    let Served { listener, router, connections, certificate } = served;
    let places = Arc::new(Semaphore::new(connections));
    let tasks = TaskTracker::new();
    // Cancelled when this function returns or panics: cuts off connections that are still open.
    let cut = CancellationToken::new();
    let _cut_at_the_end = cut.clone().drop_guard();
    let full = Seldom::new(SAY_AGAIN);
    let welcome =
        Welcome { certificate, clock: clock.clone(), failed: Seldom::new(SAY_AGAIN), stop: stop.clone() };
    let welcome = Arc::new(welcome);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let (router, welcome, cut) = (router.clone(), Arc::clone(&welcome), cut.clone());
                    tasks.spawn(async move {
                        cut.run_until_cancelled(welcome.serve(stream, peer, router)).await;
                        drop(place);
                    });
                }
                Err(_) => {
                    if welcome.certificate.is_none() {
                        // The buffer of a new socket has room for this answer.
                        drop(stream.try_write(TOO_MANY));
                    }
                    if let Some(times) = full.admit(clock.now()) {
                        tracing::error!(
                            connections,
                            times,
                            "too many connections: new ones are answered 503, or closed where TLS is spoken"
                        );
                    }
                }
            },
            Err(error) => {
                // For example out of file descriptors: accepting again at once would be a busy loop.
                tracing::error!(%error, "a connection cannot be accepted");
                clock.sleep(AFTER_FAULT).await;
            }
        }
    }
    drop(listener);
    tasks.close();
    // LiveKit posts again what is not answered by then.
    let _ = clock.timeout(FINISH_WITHIN, tasks.wait()).await;
}

/// How connections of one listener are received.
struct Welcome {
    certificate: Option<Arc<Certificate>>,
    clock: Clock,
    /// The log of handshakes that failed.
    failed: Seldom,
    stop: CancellationToken,
}

impl Welcome {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, router: Router) {
        // Answers are small and alone: they must not wait for more.
        let _ = stream.set_nodelay(true);
        let Some(certificate) = &self.certificate else {
            return serve_connection(stream, peer, router, &self.stop).await;
        };
        let handshake = TlsAcceptor::from(certificate.server()).accept(stream);
        let handshake = self.clock.timeout(HANDSHAKE_WITHIN, handshake);
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => serve_connection(stream, peer, router, &self.stop).await,
            Some(Ok(Err(error))) => self.say_failed(peer, &error),
            Some(Err(elapsed)) => self.say_failed(peer, &elapsed),
            None => {}
        }
    }

    fn say_failed(&self, peer: SocketAddr, error: &dyn std::fmt::Display) {
        if let Some(times) = self.failed.admit(self.clock.now()) {
            tracing::warn!(%peer, %error, times, "no TLS handshake: the connection is closed");
        }
    }
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    stop: &CancellationToken,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(PeerAddress(peer));
            let answer = tower_service::Service::call(&mut router, request).await;
            Ok::<_, Infallible>(match answer {
                Ok(response) => response,
                Err(never) => match never {},
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // An error of a connection concerns its peer only.
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
