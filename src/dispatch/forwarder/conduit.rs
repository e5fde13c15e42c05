//! A connection as HTTP sees it: plain or TLS, with a credit of what its peer may send.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::client::TlsStream;

use crate::tapped::{Tap, Tapped};
use crate::time::{Clock, Moment};

/// How much a peer may still send, on the wire. It bounds what handshakes, 1xx answers, settings, pings and the like
/// can cost; each answer to a request extends it.
#[derive(Clone)]
pub struct Credit {
    account: Arc<Account>,
    since: Moment,
}

struct Account {
    left: AtomicUsize,
    is_stuck: AtomicBool,
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
        let (left, is_stuck) = (AtomicUsize::new(Self::FIRST), AtomicBool::new(false));
        Self { account: Arc::new(Account { left, is_stuck }), since }
    }

    /// Whether the connection is too old for another request.
    pub fn is_over(&self, now: Moment) -> bool {
        now.since(self.since) >= Self::AGE
    }

    /// Whether the peer has not yet taken all that was written.
    pub fn is_stuck(&self) -> bool {
        self.account.is_stuck.load(Ordering::Relaxed)
    }

    /// A request was answered.
    pub fn extend(&self) {
        let more = |left: usize| Some((left + Self::EACH).min(Self::MOST));
        // The function never refuses.
        let _ = self.account.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn draw(&self, bytes: usize) -> io::Result<()> {
        let left = |left: usize| left.checked_sub(bytes);
        let drawn = self.account.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        let too_much = |_| io::Error::new(io::ErrorKind::InvalidData, "more than an answer may take");
        drawn.map(drop).map_err(too_much)
    }

    /// Notes whether the peer has taken what was written just now.
    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.account.is_stuck.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl Tap for Credit {
    fn came(&mut self, bytes: usize) -> io::Result<()> {
        self.draw(bytes)
    }
}

/// A TCP connection that notes whether its peer takes what is written. Its place is free once it is closed.
pub struct Socket {
    tcp: TcpStream,
    credit: Credit,
    _place: OwnedSemaphorePermit,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.credit.is_stuck() {
            // The system, too, drops what the peer has not taken. Otherwise it would hold that for minutes.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.credit.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
        self.credit.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// A TCP connection whose reads fail once its peer has sent more bytes than its [`Credit`] allows.
pub type Metered = Tapped<Socket, Credit>;

/// A connection that was made just now.
pub fn metered((tcp, place): (TcpStream, OwnedSemaphorePermit), clock: &Clock) -> Metered {
    let credit = Credit::first(clock.now());
    Tapped::new(Socket { tcp, credit: credit.clone(), _place: place }, credit, clock.clone())
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
