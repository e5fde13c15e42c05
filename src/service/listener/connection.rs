//! One connection: its TLS handshake, its requests, its end.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::handshakes::Handshakes;
use super::linger::linger;
use super::pace::{HEAD_WITHIN, Pace};
use crate::http::{PeerAddress, Visitor};
use crate::service::tls::Certificate;
use crate::tapped::Tapped;
use crate::telemetry::{Metrics, Seldom};
use crate::time::Clock;

/// A TLS handshake must be through within this time, those before it included: a client that stalls holds a place of
/// the limit.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;

/// How connections of one listener are received.
pub struct Welcome {
    /// The listener, as metrics name it.
    pub name: &'static str,
    pub metrics: Arc<Metrics>,
    pub certificate: Option<Arc<Certificate>>,
    pub clock: Clock,
    /// What heads and writes are timed by.
    pub pace: Clock,
    pub handshakes: Handshakes,
    /// The log of handshakes that failed.
    pub failed: Seldom,
    pub stop: CancellationToken,
}

/// A connection, and what is served on it.
pub struct Connection {
    pub peer: SocketAddr,
    pub visitor: Visitor,
    pub router: Router,
    /// Whether further requests may follow the first one.
    pub is_kept: bool,
}

impl Welcome {
    /// Serves a connection until it ends.
    pub async fn serve(&self, stream: TcpStream, connection: Connection) {
        // Answers are small and alone: they must not wait for more.
        let _ = stream.set_nodelay(true);
        let Some(certificate) = &self.certificate else {
            return self.serve_requests(stream, connection).await;
        };
        let handshake = TlsAcceptor::from(certificate.server()).accept(stream);
        let network = PeerAddress(connection.peer).network();
        let handshake = self.handshakes.complete(network, handshake);
        let handshake = self.clock.timeout(HANDSHAKE_WITHIN, handshake);
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.serve_requests(stream, connection).await,
            Some(Ok(Err(error))) => self.say_failed(connection.peer, &error),
            Some(Err(elapsed)) => self.say_failed(connection.peer, &elapsed),
            None => {}
        }
    }

    fn say_failed(&self, peer: SocketAddr, error: &dyn std::fmt::Display) {
        self.metrics.connection_refused(self.name, "no_handshake");
        if let Some(times) = self.failed.admit(self.clock.now()) {
            tracing::warn!(%peer, %error, times, "no TLS handshake: the connection is closed");
        }
    }

    async fn serve_requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        connection: Connection,
    ) {
        let pace = Pace::new(self.pace.clone(), connection.visitor.activity().clone());
        let mut stream = Tapped::new(stream, pace.clone(), self.pace.clone());
        let ended = self.converse(&mut stream, pace.clone(), connection).await;
        if let Err(error) = &ended {
            self.count(error, &pace);
        }
        // A head that is refused is answered, too, before the error comes here.
        let is_answered = ended.map_or_else(|error| error.is_parse(), |()| true);
        if is_answered && !self.stop.is_cancelled() {
            linger(stream, &self.pace).await;
        }
    }

    /// Answers requests until there are no more of them, and closes our side.
    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        pace: Pace,
        connection: Connection,
    ) -> hyper::Result<()> {
        let Connection { peer, visitor, router, is_kept } = connection;
        let timer = pace.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (mut router, visitor) = (router.clone(), visitor.clone());
            pace.has_head();
            async move {
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(PeerAddress(peer));
                request.extensions_mut().insert(visitor);
                let answer = tower_service::Service::call(&mut router, request).await;
                Ok::<_, Infallible>(match answer {
                    Ok(response) => response,
                    Err(never) => match never {},
                })
            }
        });
        let connection = http1::Builder::new()
            .timer(timer)
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES)
            .keep_alive(is_kept)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }

    /// Counts a connection that was closed for being slow or idle. Any other error concerns its peer only.
    fn count(&self, error: &hyper::Error, pace: &Pace) {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        if error.is_timeout() {
            let reason = if pace.is_idle() { "idle" } else { "slow_head" };
            self.metrics.connection_refused(self.name, reason);
        } else if cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut) {
            self.metrics.connection_refused(self.name, "slow_reader");
        }
    }
}
