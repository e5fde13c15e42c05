//! One attempt: build, sign, send, and read the answer.

mod client;
mod conduit;
mod dial;
mod faults;
mod http1;
mod http2;
mod machine;
mod message;
mod names;
mod payload;
mod pool;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use jiff::fmt::rfc2822;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use self::client::{Client, Outgoing};
use self::dial::Dial;
use self::http2::Drivers;
use self::message::Reply;
use self::names::{Names, Resolvers};
use self::pool::Pool;
use crate::delivery::{Answer, Attempt, Delivery, Fault};
use crate::hooks::{Format, Hook, Layer, loggable};
use crate::network::{Listeners, Network};
use crate::route::Binding;
use crate::time::{Clock, UnixMillis};

/// Of a test's answer, so much is shown.
const SHOWN_BYTES: usize = 1 << 10;

/// How receivers are reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// What hooks with private targets may be delivered to; others reach public addresses over https.
    pub network: Network,
    /// Who is asked for names; none: the system's nameservers.
    pub nameservers: Vec<SocketAddr>,
    /// Authorities whose certificates are trusted beside the system's.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// What came of a test event.
#[derive(Debug)]
pub struct TestResult {
    /// The status, or what kept an answer from coming.
    pub outcome: Result<u16, Fault>,
    pub latency: Duration,
    /// The beginning of the answer's body, at most 1 KiB; what is no UTF-8 is replaced.
    pub answer: String,
}

/// Why no receiver could be reached.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// Certificates cannot be checked.
    #[error("{0}")]
    Trust(String),
}

/// Sockets for each attempt that may be in flight at once. Each has a connection, and as many idle ones are kept for the
/// next; further addresses that are tried, and look-ups, take the place of idle ones.
pub const SOCKETS_OF_AN_ATTEMPT: usize = 2;

/// Sends deliveries.
pub struct Forwarder {
    client: Client,
    clock: Clock,
}

impl Forwarder {
    /// A forwarder that reaches so far, but never this router's own listeners. `attempts`: how many go on at once, with
    /// [`SOCKETS_OF_AN_ATTEMPT`] each.
    ///
    /// # Errors
    /// [`Unreachable`] when no certificate could be checked.
    pub fn new(reach: Reach, own: &Listeners, attempts: usize, clock: Clock) -> Result<Self, Unreachable> {
        let tls = trust::client(&reach.authorities).map_err(Unreachable::Trust)?;
        let pool = Arc::new(Pool::new(SOCKETS_OF_AN_ATTEMPT * attempts, clock.clone()));
        let resolvers = Resolvers::new(&reach.nameservers, clock.clone());
        let dial = Dial {
            own: own.clone(),
            names: Names::new(resolvers, Arc::clone(&pool), clock.clone()),
            pool,
            tls: TlsConnector::from(Arc::new(tls)),
            drivers: Drivers::default(),
            clock: clock.clone(),
        };
        Ok(Self { client: Client::new(dial, reach.network), clock })
    }

    /// Closes connections that nobody uses, until `stop`; then all of them.
    pub async fn keep_connections(self: Arc<Self>, stop: CancellationToken) {
        self.client.keep(&stop).await;
    }

    /// Tries a delivery once. `number`: from 1. The hook's timeout bounds look-up, connect, TLS, write,
    /// head and body together.
    /// `bound`: where its call was bound to go, if it goes there. `is_cut`: ends the attempt at once.
    pub async fn attempt(
        &self,
        delivery: &Delivery,
        number: u32,
        bound: Option<&Binding>,
        is_cut: oneshot::Receiver<()>,
    ) -> Attempt {
        let hook = &delivery.hook;
        let url = destination(hook, bound);
        let format = bound.map_or(hook.settings.format, |bound| bound.format);
        let posted_to = loggable(url.as_str()).into();
        let (at, began) = (self.clock.unix(), self.clock.now());
        // Pinned here and passed by reference: by value, the future would be stored twice in each waiting
        // attempt.
        let sending = std::pin::pin!(self.send(delivery, number, at, url, format));
        let outcome = tokio::select! {
            outcome = self.clock.timeout(hook.settings.timeout, sending) => outcome.unwrap_or(Err(Fault::Timeout)),
            Ok(()) = is_cut => Err(Fault::CutOff),
        };
        Attempt { number, at, url: posted_to, latency: self.clock.now().since(began), outcome }
    }

    async fn send(
        &self,
        delivery: &Delivery,
        number: u32,
        at: UnixMillis,
        url: Url,
        format: Format,
    ) -> Result<Answer, Fault> {
        let (headers, body) = request_of(delivery, format, number, at);
        let is_private = may_be_private(delivery, &url);
        let reply = self.client.post(Outgoing { url: &url, is_private, headers, body }).await?;
        reply.broke.map_or(Ok(answer_of(&reply, at)), Err)
    }

    /// Sends a test event to its hook's URL, marked as one, within the hook's timeout and `within`.
    pub async fn test(&self, delivery: &Delivery, within: Duration) -> TestResult {
        let hook = &delivery.hook;
        let (at, began) = (self.clock.unix(), self.clock.now());
        let (mut headers, body) = request_of(delivery, hook.settings.format, 1, at);
        headers.insert("switchhook-test", HeaderValue::from_static("true"));
        let sending = self.client.post(Outgoing { url: &hook.url, is_private: hook.private, headers, body });
        let sent = self.clock.timeout(hook.settings.timeout.min(within), sending).await;
        let latency = self.clock.now().since(began);
        let (outcome, answer) = match sent.unwrap_or(Err(Fault::Timeout)) {
            Ok(reply) => (reply.broke.map_or(Ok(reply.status.as_u16()), Err), shown(&reply.body)),
            Err(fault) => (Err(fault), String::new()),
        };
        TestResult { outcome, latency, answer }
    }
}

/// What the first attempt at a delivery consists of, if it is made now: for somebody who only looks. Headers that its
/// hook adds are marked as sensitive.
pub fn first_request(delivery: &Delivery, at: UnixMillis) -> (HeaderMap, Bytes) {
    let format = delivery.bound.as_ref().map_or(delivery.hook.settings.format, |bound| bound.format);
    request_of(delivery, format, 1, at)
}

/// What a delivery consists of.
fn request_of(delivery: &Delivery, format: Format, number: u32, at: UnixMillis) -> (HeaderMap, Bytes) {
    let body = payload::body(delivery, format);
    (payload::headers(delivery, format, &body, number, at), body)
}

/// The beginning of an answer's body as text.
fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES)]).into_owned()
}

fn answer_of(reply: &Reply, at: UnixMillis) -> Answer {
    Answer { status: reply.status.as_u16(), retry_after: retry_after(&reply.headers, at) }
}

/// Where a delivery is posted: mostly the hook's own URL. Bound URLs were valid hooks' URLs.
fn destination(hook: &Hook, bound: Option<&Binding>) -> Url {
    let other = bound.filter(|bound| *bound.url != *hook.url.as_str());
    other.and_then(|bound| Url::parse(&bound.url).ok()).unwrap_or_else(|| hook.url.clone())
}

/// Whether a URL that a hook has or had may lead to private targets. An older URL of a hook of the API may have been
/// chosen by somebody who may not use them. When a hook is given private targets its calls move to the new URL, so that
/// such a URL is bound only in what came before the hook was last changed.
fn may_be_private(delivery: &Delivery, url: &Url) -> bool {
    let hook = &delivery.hook;
    let is_own = hook.origin.layer == Layer::File || hook.url.origin() == url.origin();
    let came_after = || hook.origin.changed_at.is_some_and(|changed| delivery.received_at > changed);
    hook.private && (is_own || came_after())
}

/// `Retry-After` as seconds or as a date (RFC 9110 §10.2.3), at most an hour.
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            UnixMillis(date.as_millisecond()).since(now)
        }
    };
    Some(wait.min(Answer::RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_an_hour() {
        let now = UnixMillis(1_795_240_000_000);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).expect("ASCII"));
            retry_after(&headers, now)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("86400"), Some(Duration::from_secs(3600)));
        assert_eq!(read("Sat, 21 Nov 2026 05:47:10 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(read("Sat, 21 Nov 2020 05:47:10 GMT"), Some(Duration::ZERO));
        for nonsense in ["soon", "-1", "1e9", "99999999999999999999"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
