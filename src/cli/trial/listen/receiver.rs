//! What `switchhook listen` does with a delivery: verifies, answers, passes it on, prints.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use reqwest::Url;
use serde_json::{Value, json};

use crate::cli::terminal::{plain, say, say_json, shorten};
use crate::cli::trial::recording::ms;
use crate::signature::Secret;
use crate::time::{Clock, UnixMillis};

/// Deliveries older than this are not believed (Standard Webhooks libraries: 5 minutes).
const TOLERANCE: i64 = 300;

/// What is done with each delivery.
pub struct Receiver {
    pub secrets: Vec<Secret>,
    pub forward: Option<(reqwest::Client, Url)>,
    pub status: StatusCode,
    pub to_fail: AtomicU32,
    pub json: bool,
    /// Whether deliveries may be of several tenants, and lines say whose each is.
    pub of_several: bool,
    pub clock: Clock,
}

/// What is printed of a delivery beside its headers.
#[derive(Default)]
pub struct Handled {
    pub signature: &'static str,
    /// Whose it is, if the router says so.
    pub tenant: Option<String>,
    /// None: it was not passed on, or nobody answered.
    pub answer: Option<StatusCode>,
    /// Why it could not be passed on.
    pub fault: Option<String>,
}

impl Receiver {
    /// Checks a delivery as Standard Webhooks asks: signature and time.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> &'static str {
        let id = text(headers, "webhook-id");
        let signatures = text(headers, "webhook-signature");
        let Ok(timestamp) = text(headers, "webhook-timestamp").parse::<i64>() else {
            return "missing";
        };
        if self.secrets.is_empty() {
            return "not checked";
        }
        if !self.secrets.iter().any(|secret| secret.verifies(id, timestamp, body, signatures)) {
            return "WRONG";
        }
        let fresh = (self.clock.unix().seconds() - timestamp).abs() <= TOLERANCE;
        if fresh { "verified" } else { "TOO OLD" }
    }

    /// What a delivery with this signature is answered.
    pub async fn answer(&self, signature: &str, headers: &HeaderMap, body: Bytes) -> StatusCode {
        if !matches!(signature, "verified" | "not checked") {
            return StatusCode::UNAUTHORIZED;
        }
        let failing =
            self.to_fail.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if failing.is_ok() {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        match self.pass_on(headers, body).await {
            None => self.status,
            Some(answer) => answer.unwrap_or(StatusCode::BAD_GATEWAY),
        }
    }

    /// Passes a delivery on as it came: what is answered. None: it is not to be passed on.
    pub async fn pass_on(&self, headers: &HeaderMap, body: Bytes) -> Option<reqwest::Result<StatusCode>> {
        let (client, url) = self.forward.as_ref()?;
        let mut request = client.post(url.clone()).body(body);
        for (name, value) in headers {
            let name = name.as_str();
            let ours = name.starts_with("webhook-") || name.starts_with("switchhook-");
            if ours || name == "content-type" || name == "authorization" {
                request = request.header(name, value);
            }
        }
        Some(request.send().await.map(|answer| answer.status()))
    }

    /// What stands above the lines.
    pub fn say_heading(&self) {
        let tenant = if self.of_several { "  tenant" } else { "" };
        say(format_args!(
            "\n{:<13} {:<30} {:<22} {:>4} {:>4}  {:<12} {:>6}  {:>8}{tenant}",
            "time", "event", "call", "seq", "try", "signature", "answer", "after"
        ));
    }

    /// One line per delivery.
    pub fn print(&self, headers: &HeaderMap, handled: &Handled) {
        let received: Option<jiff::Timestamp> = text(headers, "switchhook-received-at").parse().ok();
        let now = self.clock.unix();
        let after = received.map(|received| now.since(UnixMillis(received.as_millisecond())));
        if self.json {
            return say_json(&as_json(headers, handled, after));
        }
        let Handled { signature, tenant, answer, fault } = handled;
        let tenant = tenant.as_deref().filter(|_| self.of_several);
        let tenant = tenant.map(|tenant| format!("  {}", shorten(tenant, 20))).unwrap_or_default();
        let fault =
            fault.as_deref().map(|why| format!("  not forwarded: {}", plain(why))).unwrap_or_default();
        let header = |name, width| shorten(text(headers, name), width);
        say(format_args!(
            "{:<13} {:<30} {:<22} {:>4} {:>4}  {signature:<12} {:>6}  {:>8}{tenant}{fault}",
            now.to_string().get(11..23).unwrap_or_default(),
            header("switchhook-event", 30),
            header("switchhook-call", 22),
            header("switchhook-sequence", 4),
            header("switchhook-attempt", 4),
            answer.as_ref().map_or("-", StatusCode::as_str),
            after.map(ms).unwrap_or_default(),
        ));
    }
}

fn as_json(headers: &HeaderMap, handled: &Handled, after: Option<Duration>) -> Value {
    let Handled { signature, tenant, answer, fault } = handled;
    let header = |name| text(headers, name);
    let number = |name| header(name).parse::<i64>().ok();
    let mut line = json!({
        "event_id": header("webhook-id"), "event": header("switchhook-event"), "call": header("switchhook-call"),
        "sequence": number("switchhook-sequence"), "attempt": number("switchhook-attempt"), "signature": signature,
        "answer": answer.map(|answer| answer.as_u16()), "after_ms": after.map(|after| after.as_millis() as u64),
    });
    // Known only of what a router's stream holds.
    for (name, text) in [("tenant", tenant), ("not_forwarded", fault)] {
        if let Some(text) = text {
            line[name] = text.as_str().into();
        }
    }
    line
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
