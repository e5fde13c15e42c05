//! One attempt: build, sign, send, and read the answer.

mod dial;
mod payload;

use std::error::Error as _;
use std::io::ErrorKind;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, Response, Url};
use tokio::sync::oneshot;

use self::dial::{Undialable, VettingResolver, is_local};
use crate::delivery::{Answer, Attempt, Delivery, Fault};
use crate::hooks::{Format, Hook, loggable};
use crate::network::{Listeners, Network, literal_address};
use crate::route::Binding;
use crate::time::{Clock, UnixMillis};

const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Of an answer's body, no more is read.
const ANSWER_BYTES: usize = 16 << 10;

/// Of a test's answer, so much is shown.
const SHOWN_BYTES: usize = 1 << 10;

/// An idle connection is kept this long: shorter than servers commonly do (Node.js: 5 s), so that a delivery
/// does not use a connection that its server is closing.
const IDLE: Duration = Duration::from_secs(4);

/// The `User-Agent` of every delivery.
const USER_AGENT: &str = concat!("Switchhook/", env!("CARGO_PKG_VERSION"));

/// What came of a test event.
#[derive(Debug)]
pub struct TestResult {
    /// The status, or what kept an answer from coming.
    pub outcome: Result<u16, Fault>,
    pub latency: Duration,
    /// The beginning of the answer's body, at most 1 KiB; what is no UTF-8 is replaced.
    pub answer: String,
}

/// Sends deliveries.
pub struct Forwarder {
    /// For hooks that may deliver to the networks the operator has opened.
    private: Dialler,
    /// For all others: public addresses over https.
    public: Dialler,
    clock: Clock,
}

/// Connections to what a network permits, kept apart from other ones.
struct Dialler {
    client: Client,
    /// For the ports of this router's listeners: names are not resolved to them. A resolver is not told the port.
    /// Made when it is first needed: the TLS roots are read for each client, and hardly any hook has such a port.
    careful: OnceLock<Client>,
    network: Arc<Network>,
    own: Listeners,
    clock: Clock,
}

impl Forwarder {
    /// A forwarder that dials what `network` permits, but never this router's own listeners.
    ///
    /// # Errors
    /// When the TLS roots of the system cannot be used.
    pub fn new(network: Arc<Network>, own: &Listeners, clock: Clock) -> Result<Self, reqwest::Error> {
        let public = Dialler::new(Arc::default(), own, &clock)?;
        Ok(Self { private: Dialler::new(network, own, &clock)?, public, clock })
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
        let prepare = |request: &mut Request| request_of(request, delivery, format, number, at);
        let response = self.dialler(&delivery.hook).post(url, prepare).await?;
        let answer =
            Answer { status: response.status().as_u16(), retry_after: retry_after(response.headers(), at) };
        drain(response).await?;
        Ok(answer)
    }

    /// What a hook's deliveries are posted through.
    fn dialler(&self, hook: &Hook) -> &Dialler {
        if hook.private { &self.private } else { &self.public }
    }

    /// Sends a test event to its hook's URL, marked as one, within the hook's timeout and `within`.
    pub async fn test(&self, delivery: &Delivery, within: Duration) -> TestResult {
        let hook = &delivery.hook;
        let (at, began) = (self.clock.unix(), self.clock.now());
        let prepare = |request: &mut Request| {
            request_of(request, delivery, hook.settings.format, 1, at);
            request.headers_mut().insert("switchhook-test", HeaderValue::from_static("true"));
        };
        let sending = async {
            let mut response = self.dialler(hook).post(hook.url.clone(), prepare).await?;
            Ok((response.status().as_u16(), beginning(&mut response).await))
        };
        let sent = self.clock.timeout(hook.settings.timeout.min(within), sending).await;
        let latency = self.clock.now().since(began);
        match sent.unwrap_or(Err(Fault::Timeout)) {
            Ok((status, answer)) => TestResult { outcome: Ok(status), latency, answer },
            Err(fault) => TestResult { outcome: Err(fault), latency, answer: String::new() },
        }
    }
}

/// Adds what a delivery consists of.
fn request_of(request: &mut Request, delivery: &Delivery, format: Format, number: u32, at: UnixMillis) {
    let body = payload::body(delivery, format);
    *request.headers_mut() = payload::headers(delivery, format, &body, number, at);
    *request.body_mut() = Some(body.into());
}

/// The beginning of an answer's body; if it breaks, what came before.
async fn beginning(response: &mut Response) -> String {
    let mut read = Vec::new();
    while read.len() < SHOWN_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk[..chunk.len().min(SHOWN_BYTES - read.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

impl Dialler {
    fn new(network: Arc<Network>, own: &Listeners, clock: &Clock) -> Result<Self, reqwest::Error> {
        let resolver = VettingResolver { network: Arc::clone(&network), own: None, clock: clock.clone() };
        let (client, own, clock) = (client(resolver)?, own.clone(), clock.clone());
        Ok(Self { client, careful: OnceLock::new(), network, own, clock })
    }

    fn careful(&self) -> Result<&Client, Fault> {
        if let Some(careful) = self.careful.get() {
            return Ok(careful);
        }
        let (network, own, clock) = (Arc::clone(&self.network), Some(self.own.clone()), self.clock.clone());
        let careful = client(VettingResolver { network, own, clock }).map_err(|_| Fault::Forbidden)?;
        Ok(self.careful.get_or_init(|| careful))
    }

    async fn post(&self, url: Url, prepare: impl FnOnce(&mut Request)) -> Result<Response, Fault> {
        // An address in the URL is dialled without the resolver, and a removed hook's URL was checked
        // by other settings.
        self.network.check(&url).map_err(|_| Fault::Forbidden)?;
        let is_own_port = url.port_or_known_default().is_some_and(|port| self.own.has_port(port));
        if is_own_port && literal_address(&url).is_some_and(|address| self.own.are_at(address, is_local)) {
            return Err(Fault::Forbidden);
        }
        let client = if is_own_port { self.careful()? } else { &self.client };
        let mut request = Request::new(Method::POST, url);
        prepare(&mut request);
        client.execute(request).await.map_err(|error| fault(&error))
    }
}

fn client(resolver: VettingResolver) -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        // The client must not retry: the lane does.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        // A proxy from the environment would dial addresses that were not vetted.
        .no_proxy()
        .connect_timeout(CONNECT_WITHIN)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(32)
        .dns_resolver(resolver)
        .build()
}

/// Where a delivery is posted: mostly the hook's own URL. Bound URLs were valid hooks' URLs.
fn destination(hook: &Hook, bound: Option<&Binding>) -> Url {
    let other = bound.filter(|bound| *bound.url != *hook.url.as_str());
    other.and_then(|bound| Url::parse(&bound.url).ok()).unwrap_or_else(|| hook.url.clone())
}

/// Reads the answer's body, so that the connection can be used again; beyond a limit the connection is dropped.
async fn drain(mut response: Response) -> Result<(), Fault> {
    let mut read = 0;
    while read < ANSWER_BYTES {
        match response.chunk().await.map_err(|error| fault(&error))? {
            Some(chunk) => read += chunk.len(),
            None => break,
        }
    }
    Ok(())
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

/// What kept an answer from coming.
fn fault(error: &reqwest::Error) -> Fault {
    if error.is_timeout() {
        return Fault::Timeout;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(undialable) = cause.downcast_ref::<Undialable>() {
            return match undialable {
                Undialable::Forbidden(_) => Fault::Forbidden,
                Undialable::Unresolved(_) | Undialable::Slow => Fault::Dns,
            };
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            match innermost(io).kind() {
                ErrorKind::ConnectionRefused => return Fault::Refused,
                ErrorKind::TimedOut => return Fault::Timeout,
                // rustls reports a rejected certificate or handshake like this.
                ErrorKind::InvalidData if error.is_connect() => return Fault::Tls,
                _ => {}
            }
        }
        source = cause.source();
    }
    if error.is_connect() { Fault::Refused } else { Fault::Reset }
}

/// An I/O error wrapped in I/O errors: `source()` would skip the inner ones.
fn innermost(error: &std::io::Error) -> &std::io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) => innermost(inner),
        None => error,
    }
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
