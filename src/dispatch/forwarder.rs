//! One attempt: build, sign, send, and read the answer.

use std::error::Error as _;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::rfc2822;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

use super::dial::{Undialable, VettingResolver};
use crate::delivery::{Answer, Attempt, Delivery, Fault};
use crate::network::Network;
use crate::time::{Clock, UnixMillis};

const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Look-up, connect, TLS, write, head and body together.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(10);

/// Of an answer's body, no more is read.
const ANSWER_BYTES: usize = 16 << 10;

/// An idle connection is kept this long: shorter than servers commonly do (Node.js: 5 s), or a
/// delivery meets a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(4);

/// What every delivery says of itself.
const USER_AGENT: &str = concat!("Switchhook/", env!("CARGO_PKG_VERSION"));

/// Sends deliveries.
pub struct Forwarder {
    client: Client,
    network: Arc<Network>,
    clock: Clock,
}

impl Forwarder {
    /// A forwarder that dials what `network` permits.
    ///
    /// # Errors
    /// When the TLS roots of the system cannot be used.
    pub fn new(network: Arc<Network>, clock: Clock) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            // A proxy of the environment would dial past the vetting.
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(32)
            .dns_resolver(VettingResolver { network: Arc::clone(&network), clock: clock.clone() })
            .build()?;
        Ok(Self { client, network, clock })
    }

    /// Tries a delivery once. `number`: from 1.
    pub async fn attempt(&self, delivery: &Delivery, number: u32) -> Attempt {
        let (at, began) = (self.clock.unix(), self.clock.now());
        let outcome = self.clock.timeout(ATTEMPT_WITHIN, self.send(delivery, number, at)).await;
        let outcome = outcome.unwrap_or(Err(Fault::Timeout));
        Attempt { number, at, latency: self.clock.now().since(began), outcome }
    }

    async fn send(&self, delivery: &Delivery, number: u32, at: UnixMillis) -> Result<Answer, Fault> {
        // An address in the URL is dialled without the resolver, and a removed hook's URL was checked
        // by other settings.
        self.network.check(&delivery.hook.url).map_err(|_| Fault::Forbidden)?;
        let request = self
            .client
            .post(delivery.hook.url.clone())
            .headers(headers(delivery, number, at))
            .body(delivery.body.clone());
        let response = request.send().await.map_err(|error| fault(&error))?;
        let answer =
            Answer { status: response.status().as_u16(), retry_after: retry_after(response.headers(), at) };
        drain(response).await?;
        Ok(answer)
    }
}

/// Reads the answer's body so that the connection can be used again, up to a limit: behind it the
/// connection is dropped.
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

/// What a tenant receives besides the body.
fn headers(delivery: &Delivery, number: u32, at: UnixMillis) -> HeaderMap {
    let id = delivery.event_id.as_str();
    let signatures: Vec<String> =
        (delivery.hook.secrets.iter()).map(|secret| secret.sign(id, at.seconds(), &delivery.body)).collect();
    let mut headers = HeaderMap::with_capacity(16);
    let mut set = |name: &'static str, text: &str| {
        headers.insert(HeaderName::from_static(name), escaped(text));
    };
    set("webhook-id", id);
    set("webhook-timestamp", &at.seconds().to_string());
    set("webhook-signature", &signatures.join(" "));
    set("switchhook-event", &delivery.event);
    set("switchhook-tenant", delivery.hook.tenant.as_str());
    set("switchhook-route", delivery.rule.as_str());
    set("switchhook-attempt", &number.to_string());
    set("switchhook-received-at", &delivery.received_at.to_string());
    if let Some(domain) = &delivery.domain {
        set("switchhook-domain", domain.as_str());
    }
    if let Some(call) = &delivery.call {
        set("switchhook-call", call);
    }
    if let Some(sequence) = delivery.sequence {
        set("switchhook-sequence", &sequence.to_string());
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/webhook+json"));
    headers
}

/// A header value of text that may have come from a caller: everything but visible ASCII is
/// percent-encoded, and so is `%`. At most 1 kB of it: receivers refuse large headers.
fn escaped(text: &str) -> HeaderValue {
    let end = (0..=1024).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let text = if text.len() > 1024 { &text[..end] } else { text };
    let plain = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'%';
    if text.bytes().all(plain)
        && let Ok(value) = HeaderValue::from_str(text)
    {
        return value;
    }
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            0x21..=0x7e if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    // Nothing but visible ASCII is left.
    HeaderValue::from_str(&encoded).unwrap_or_else(|_| HeaderValue::from_static(""))
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
                // How rustls reports a certificate or a handshake it does not accept.
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
    fn text_from_callers_cannot_break_a_header() {
        let value = |text: &str| escaped(text).to_str().expect("ASCII").to_owned();
        assert_eq!(value("call-_+15557101_wKHT"), "call-_+15557101_wKHT");
        assert_eq!(value("a\r\nx: y"), "a%0D%0Ax:%20y");
        assert_eq!(value("Jörg 100%"), "J%C3%B6rg%20100%25");
    }

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
