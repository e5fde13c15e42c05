//! What both ends of the router wrap their sockets in: incoming bytes are counted by something else, and a peer that
//! takes nothing of what is written is given up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::time::{Clock, Sleeping};

/// A peer that takes none of the bytes written for it for so long is given up: whatever waits to be written holds
/// memory.
pub const STALLED_AFTER: Duration = Duration::from_secs(10);

/// Learns of the bytes that a stream reads.
pub trait Tap {
    /// So many bytes have come.
    ///
    /// # Errors
    /// When they are too many: the stream's reader gets this error.
    fn came(&mut self, bytes: usize) -> io::Result<()>;
}

/// A stream and its tap. Writing, flushing and closing fail with [`io::ErrorKind::TimedOut`] once they have got no
/// further for [`STALLED_AFTER`].
pub struct Tapped<S, T> {
    stream: S,
    pub tap: T,
    clock: Clock,
    /// Ends when the peer is given up; none while nothing waits to be written.
    stalled: Option<Sleeping>,
    /// It is asked no more than whether it takes anything now.
    is_given_up: bool,
}

impl<S, T> Tapped<S, T> {
    /// Taps a stream, whose peer's patience is measured by this clock.
    pub fn new(stream: S, tap: T, clock: Clock) -> Self {
        Self { stream, tap, clock, stalled: None, is_given_up: false }
    }

    /// What an attempt to write came to: whatever is not pending is progress.
    fn watch<R>(&mut self, context: &mut Context<'_>, tried: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if tried.is_ready() {
            self.stalled = None;
            return tried;
        }
        if !self.is_given_up {
            let clock = &self.clock;
            let stalled =
                self.stalled.get_or_insert_with(|| clock.sleeping_until(clock.now() + STALLED_AFTER));
            ready!(stalled.as_mut().poll(context));
            self.is_given_up = true;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing of what is written")))
    }
}

impl<S: AsyncRead + Unpin, T: Tap + Unpin> AsyncRead for Tapped<S, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(match buffer.filled().len() - before {
            0 => Ok(()),
            bytes => self.tap.came(bytes),
        })
    }
}

impl<S: AsyncWrite + Unpin, T: Unpin> AsyncWrite for Tapped<S, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, tried)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, tried)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, tried)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, tried)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::time::UnixMillis;

    struct Nothing;

    impl Tap for Nothing {
        fn came(&mut self, _: usize) -> io::Result<()> {
            Ok(())
        }
    }

    /// A tapped socket whose buffers, and those of its peer, are full; and the peer.
    async fn full(clock: &Clock) -> (Tapped<TcpStream, Nothing>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.expect("a connection");
        let mut tapped = Tapped::new(stream, Nothing, clock.clone());
        fill(&mut tapped).await;
        (tapped, peer.expect("a connection"))
    }

    /// Writes until nothing more is taken for as long as the system needs to move bytes.
    async fn fill(tapped: &mut Tapped<TcpStream, Nothing>) {
        while soon(tapped.write(&[0; 64 << 10])).await.is_some() {}
    }

    /// Reads until nothing more comes.
    async fn drain(peer: &mut TcpStream) {
        let mut taken = vec![0; 1 << 20];
        while soon(peer.read(&mut taken)).await.is_some() {}
    }

    async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
        Clock::system().timeout(Duration::from_millis(100), future).await.ok()
    }

    /// Whether a write is given up when `clock` is moved on by so much.
    async fn is_given_up(tapped: &mut Tapped<TcpStream, Nothing>, clock: &Clock, after: Duration) -> bool {
        clock.advance(after);
        let written = soon(tapped.write(&[0; 64 << 10])).await;
        written.is_some_and(|written| written.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut))
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up_and_whatever_it_takes_is_time_won() {
        let clock = Clock::manual(UnixMillis(0));
        let (mut tapped, mut peer) = full(&clock).await;
        let almost = STALLED_AFTER - Duration::from_millis(1);
        assert!(!is_given_up(&mut tapped, &clock, almost).await);
        drain(&mut peer).await;
        tapped.write_all(&[0]).await.expect("there is room again");
        fill(&mut tapped).await;
        assert!(!is_given_up(&mut tapped, &clock, almost).await);
        assert!(is_given_up(&mut tapped, &clock, Duration::from_millis(1)).await);
        assert!(is_given_up(&mut tapped, &clock, Duration::ZERO).await, "it stays given up");
    }

    #[tokio::test]
    async fn a_peer_that_has_nothing_to_take_is_not_given_up() {
        let clock = Clock::manual(UnixMillis(0));
        let (mut tapped, mut peer) = full(&clock).await;
        drain(&mut peer).await;
        tapped.write_all(&[0]).await.expect("there is room again");
        clock.advance(Duration::from_secs(3600));
        tapped.write_all(&[0]).await.expect("there is room still");
        tapped.shutdown().await.expect("closed");
    }
}
