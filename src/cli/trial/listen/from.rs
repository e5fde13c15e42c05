//! `switchhook listen --from`: a tenant's events come to this machine through the router's API. The router signs them,
//! so the secret stays there; the tenant's own hook gets them as always.

use std::error::Error as _;
use std::io;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::follow::Follower;
use super::receiver::{Handled, Receiver};
use crate::cli::failure::{Failure, root_cause};
use crate::cli::remote::client;
use crate::cli::terminal::{aside, interrupted, say};
use crate::wire::{LiveEvent, LiveQuery, LiveRequest};

/// Requests that wait to be passed on, and kibibytes of their bodies.
const WAITING: usize = 1000;
const WAITING_KIB: usize = 64 << 10;

/// Receives from a router's stream until interrupted, or until the router refuses.
pub async fn receive(
    router: &client::Router,
    tenant: Option<String>,
    receiver: &Receiver,
) -> Result<(), Failure> {
    let query = LiveQuery { tenant, bodies: true, ..LiveQuery::default() };
    let (sender, requests) = mpsc::channel(WAITING);
    let mut inbox = Inbox { sender, room: Arc::new(Semaphore::new(WAITING_KIB)), left_out: 0 };
    let begun = || {
        if !receiver.json {
            let url = router.url.as_ref().map(ToString::to_string).unwrap_or_default();
            say(format_args!("listening to {url}: deliveries go on as always"));
            receiver.say_heading();
        }
    };
    let following = async move {
        let follower = Follower::new(router, query, receiver.clock.clone());
        // The inbox is dropped with it: what is in there is passed on, then this ends.
        follower.follow(begun, move |event| inbox.put(event)).await
    };
    tokio::select! {
        (failure, ()) = async { tokio::join!(following, pass_on(requests, receiver)) } => Err(failure),
        () = interrupted() => Ok(()),
    }
}

/// Takes requests while earlier ones are passed on.
struct Inbox {
    sender: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    /// How many found no room, since one did.
    left_out: u64,
}

/// A request that waits, and its room.
struct Waiting {
    request: LiveRequest,
    tenant: Option<String>,
    _room: OwnedSemaphorePermit,
}

impl Inbox {
    /// Takes the request of an event that its tenant gets now.
    fn put(&mut self, event: LiveEvent) {
        let LiveEvent { request: Some(request), tenant, .. } = event else { return };
        let kib = u32::try_from(request.body.len() / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(kib).ok();
        let waiting = room.map(|room| Waiting { request, tenant, _room: room });
        let taken = waiting.is_some_and(|waiting| self.sender.try_send(waiting).is_ok());
        if !taken {
            if self.left_out == 0 {
                aside("too much waits to be passed on: what comes is left out until there is room again");
            }
            self.left_out += 1;
        } else if self.left_out > 0 {
            aside(format_args!("there is room again: {} events were left out", self.left_out));
            self.left_out = 0;
        }
    }
}

/// Passes requests on, one after the other, so that each call keeps its order. What nobody answers is not repeated.
async fn pass_on(mut requests: mpsc::Receiver<Waiting>, receiver: &Receiver) {
    while let Some(Waiting { request, tenant, .. }) = requests.recv().await {
        let (headers, body) = parts(request);
        let signature = receiver.verify(&headers, &body);
        let (answer, fault) = match receiver.pass_on(&headers, body).await {
            None => (None, None),
            Some(Ok(answer)) => (Some(answer), None),
            Some(Err(error)) => (None, Some(fault(&error))),
        };
        receiver.print(&headers, &Handled { signature, tenant, answer, fault });
    }
}

/// Why a request could not be passed on, in few words.
fn fault(error: &reqwest::Error) -> String {
    match error.is_timeout() {
        true => "timeout".to_owned(),
        false if is_refused(error) => "refused".to_owned(),
        false => root_cause(error),
    }
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let error_of_io = error.downcast_ref::<io::Error>();
        if error_of_io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A request as it was written to the stream.
fn parts(request: LiveRequest) -> (HeaderMap, Bytes) {
    let header = |(name, value): (String, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    let body = match request.is_base64 {
        true => STANDARD.decode(request.body).unwrap_or_default(),
        false => request.body.into_bytes(),
    };
    (request.headers.into_iter().filter_map(header).collect(), body.into())
}
