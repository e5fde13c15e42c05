//! A connection as the HTTP client sees it: plain or TLS, with a credit of what its peer may send.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::tapped::{Tap, Tapped};
use crate::time::{Clock, Moment};

/// How much a peer may still send, on the wire. It bounds what handshakes, 1xx answers, settings, pings and the like
/// can cost; each answer to a request extends it.
#[derive(Clone)]
pub struct Credit {
    left: Arc<AtomicUsize>,
    since: Moment,
}

impl Credit {
    /// Bytes before the first answer: a TLS handshake, 1xx answers and a head take a tenth of it at most.
    const FIRST: usize = 256 << 10;

    /// Bytes for the rest of an answer whose head has come, and for the head of the next one.
    const EACH: usize = 128 << 10;

    /// Bytes that are saved up at most.
    const MOST: usize = 4 << 20;

    /// A connection that is busy is used this long: then its name is looked up and vetted again.
    const AGE: Duration = Duration::from_secs(60);

    fn first(since: Moment) -> Self {
        Self { left: Arc::new(AtomicUsize::new(Self::FIRST)), since }
    }

    /// Whether the connection is too old for another request.
    pub fn is_over(&self, now: Moment) -> bool {
        now.since(self.since) >= Self::AGE
    }

    /// A request was answered.
    pub fn extend(&self) {
        let more = |left: usize| Some((left + Self::EACH).min(Self::MOST));
        // The function never refuses.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn draw(&self, bytes: usize) -> io::Result<()> {
        let left = |left: usize| left.checked_sub(bytes);
        let drawn = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        let too_much = |_| io::Error::new(io::ErrorKind::InvalidData, "more than an answer may take");
        drawn.map(drop).map_err(too_much)
    }
}

/// A TCP connection whose peer has a credit.
pub type Metered = Tapped<TcpStream, Credit>;

/// A connection that was made just now.
pub fn metered(tcp: TcpStream, clock: &Clock) -> Metered {
    Tapped::new(tcp, Credit::first(clock.now()), clock.clone())
}

impl Tap for Credit {
    fn came(&mut self, bytes: usize) -> io::Result<()> {
        self.draw(bytes)
    }
}

/// A connection that HTTP is spoken over, plain or TLS.
pub trait Conduit: AsyncRead + AsyncWrite + Send + Unpin {
    /// What its peer may still send.
    fn credit(&self) -> Credit;

    /// Whether both sides have agreed on HTTP/2 (ALPN, RFC 7301).
    fn is_h2(&self) -> bool;
}

impl Conduit for Metered {
    fn credit(&self) -> Credit {
        self.tap.clone()
    }

    fn is_h2(&self) -> bool {
        false
    }
}

impl Conduit for TlsStream<Metered> {
    fn credit(&self) -> Credit {
        self.get_ref().0.credit()
    }

    fn is_h2(&self) -> bool {
        self.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

impl Connection for Box<dyn Conduit> {
    fn connected(&self) -> Connected {
        // Every answer carries the credit in its extensions.
        let connected = Connected::new().extra(self.credit());
        if self.is_h2() { connected.negotiated_h2() } else { connected }
    }
}
