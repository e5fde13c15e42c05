//! HTTP/2 (RFC 9113). Attempts share a connection, at most so many that none waits for another; each owns its stream:
//! an attempt that ends early resets it, and what was not sent is dropped.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Request, Response};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::conduit::{Conduit, Credit};
use super::faults;
use super::message::{BODY, Failed, Message, Reply};
use crate::delivery::Fault;
use crate::time::{Clock, Moment};

/// Attempts that share a connection at most, even if its peer takes more requests at once: those of one tenant, of
/// which some hang, must not be in the way of another's.
const ATTEMPTS: usize = 32;

/// The connection's flow-control window, in bytes: what a peer may send before it is read, over all requests in flight.
/// Answers that are no longer read may fill their own share without blocking the other requests.
const AHEAD: u32 = (2 * ATTEMPTS * BODY) as u32;

/// Bytes of an answer's header fields, as RFC 9113 §6.5.2 counts them.
const HEAD: u32 = 16 << 10;

/// Requests in flight before the peer has said how many it takes. It says so with the first bytes that it sends.
const STREAMS: usize = 1;

/// A body is handed over in parts of at most this size: what is handed over is held until the peer takes it.
const PART: usize = 64 << 10;

/// At the end, connections get this long.
const END_WITHIN: Duration = Duration::from_secs(1);

/// A connection.
pub struct Http2 {
    send: SendRequest<Bytes>,
    credit: Credit,
    /// Takes no further request.
    is_over: Arc<AtomicBool>,
    /// Ends the connection's task with the last attempt.
    _ends: DropGuard,
}

impl Http2 {
    /// Speaks HTTP/2 over `conduit`; one of `drivers` does so until nobody uses the connection.
    ///
    /// # Errors
    /// What broke it.
    pub async fn over(conduit: Box<dyn Conduit>, drivers: &Drivers) -> Result<Self, Fault> {
        let credit = conduit.credit();
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(BODY as u32)
            .initial_connection_window_size(AHEAD)
            .initial_max_send_streams(STREAMS)
            .max_header_list_size(HEAD);
        let (send, connection) = builder.handshake(conduit).await.map_err(|error| faults::of_h2(&error))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = drivers.drive(connection, Arc::clone(&is_over));
        Ok(Self { send, credit, is_over, _ends: ends })
    }

    /// Posts, and reads the answer. After an attempt that is given up on the way, the connection takes no further
    /// request: it may have died.
    ///
    /// # Errors
    /// [`Failed`].
    pub async fn exchange(&self, message: &Message) -> Result<Reply, Failed> {
        let given_up = Retire(Some(self));
        let reply = self.converse(message).await;
        given_up.forget();
        // Answers without taking what is sent to it.
        if self.credit.is_stuck() {
            self.retire();
        }
        reply
    }

    async fn converse(&self, message: &Message) -> Result<Reply, Failed> {
        let unsent = |error: h2::Error| {
            self.retire();
            Failed::Unsent(faults::of_h2(&error))
        };
        let mut send = self.send.clone().ready().await.map_err(unsent)?;
        let (response, stream) =
            send.send_request(request(message), message.body.is_empty()).map_err(unsent)?;
        let mut uploading = pin!(upload(stream, message.body.clone()));
        let mut answering = pin!(async {
            let response: Response<RecvStream> = response.await.map_err(|error| match error {
                error if is_unprocessed(&error) => unsent(error),
                error => Failed::Broke(faults::of_h2(&error)),
            })?;
            self.credit.extend();
            let (head, body) = response.into_parts();
            Ok(Reply::read(head.status, head.headers, body).await)
        });
        tokio::select! {
            biased;
            // The stream is reset if its body was not sent to the end.
            reply = &mut answering => return reply,
            () = &mut uploading => {}
        }
        answering.await
    }

    /// Whether it takes another request beside those of so many attempts at once, instead of letting it wait for them.
    pub fn has_room(&self, attempts: usize) -> bool {
        attempts < self.send.current_max_send_streams().min(ATTEMPTS)
    }

    /// Whether it takes further requests.
    pub fn is_open(&self, now: Moment) -> bool {
        !self.is_over.load(Ordering::Relaxed) && !self.credit.is_over(now)
    }

    fn retire(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Retires a connection when it is dropped.
struct Retire<'a>(Option<&'a Http2>);

impl Retire<'_> {
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Retire<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            connection.retire();
        }
    }
}

/// Whether the peer says that it did nothing for a request, so that it may be sent again (RFC 9113 §8.7): it refused
/// the stream, or went away orderly before it (§6.8).
fn is_unprocessed(error: &h2::Error) -> bool {
    let is = |reason| error.reason() == Some(reason);
    let is_left_out = error.is_go_away() && is(Reason::NO_ERROR);
    let is_refused = error.is_reset() && is(Reason::REFUSED_STREAM);
    error.is_remote() && (is_left_out || is_refused)
}

fn request(message: &Message) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    request.uri_mut().clone_from(&message.uri);
    request.headers_mut().clone_from(&message.headers);
    request.headers_mut().insert(CONTENT_LENGTH, message.body.len().into());
    request
}

/// Sends a body as its peer takes it. If that fails, the answer's fault says why.
async fn upload(mut stream: SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(PART));
        let Some(Ok(room)) = poll_fn(|context| stream.poll_capacity(context)).await else { return };
        let part = body.split_to(room.min(body.len()));
        if !part.is_empty() && stream.send_data(part, body.is_empty()).is_err() {
            return;
        }
    }
}

/// The tasks of HTTP/2 connections.
#[derive(Default)]
pub struct Drivers {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Drivers {
    /// Drives a connection until it ends or the result is dropped. `is_over` is set at its end.
    fn drive(&self, connection: Connection<Box<dyn Conduit>, Bytes>, is_over: Arc<AtomicBool>) -> DropGuard {
        let unused = self.stop.child_token();
        let used = unused.clone();
        self.tasks.spawn(async move {
            // Its attempts are told what broke it.
            let _ = used.run_until_cancelled(connection).await;
            is_over.store(true, Ordering::Relaxed);
        });
        unused.drop_guard()
    }

    /// Ends them all.
    pub async fn end(&self, clock: &Clock) {
        self.stop.cancel();
        self.tasks.close();
        if clock.timeout(END_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "stopped before these HTTP/2 connections ended");
        }
    }
}

impl Drop for Drivers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
