//! `switchhook listen`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use reqwest::Url;
use serde_json::json;

use super::recording::ms;
use crate::cli::failure::Failure;
use crate::cli::remote::client;
use crate::cli::terminal::{interrupted, say, say_json, shorten};
use crate::signature::Secret;
use crate::time::{Clock, UnixMillis};
use crate::wire::TenantSecrets;

/// Receives as a tenant does: verifies the signature, prints one line per delivery, answers.
#[derive(clap::Args)]
pub struct Flags {
    /// Where to listen; any path is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9101")]
    listen: SocketAddr,
    /// What deliveries are signed with; may be repeated
    #[arg(long, env = "SWITCHHOOK_SECRET", hide_env_values = true, value_name = "whsec_…")]
    secret: Vec<String>,
    /// Ask the running router for this tenant's secret instead
    #[arg(long, conflicts_with = "secret")]
    tenant: Option<String>,
    /// Pass deliveries on to this URL and answer as it does
    #[arg(long, value_name = "URL")]
    forward: Option<Url>,
    /// Answer with this status
    #[arg(long, value_name = "STATUS", default_value = "200", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// Answer the first so many with 500, to see them come again
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    fail_first: u32,
    /// One JSON object per delivery instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: client::Router,
}

/// Deliveries older than this are not believed (Standard Webhooks libraries: 5 minutes).
const TOLERANCE: i64 = 300;

struct Receiver {
    secrets: Vec<Secret>,
    forward: Option<(reqwest::Client, Url)>,
    status: StatusCode,
    to_fail: AtomicU32,
    json: bool,
    clock: Clock,
}

/// Serves until interrupted.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let texts = match &flags.tenant {
        Some(tenant) => secrets_of(&flags.router, tenant).await?,
        None => flags.secret,
    };
    let secrets = texts.iter().map(|text| {
        Secret::parse(text).map_err(|fault| Failure::usage(format!("--secret is no signing secret: {fault}")))
    });
    let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
    let unverified = secrets.is_empty();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
    let client = client.map_err(|error| Failure::new(error.to_string()))?;
    let receiver = Receiver {
        secrets,
        forward: flags.forward.map(|url| (client, url)),
        status: StatusCode::from_u16(flags.status).unwrap_or(StatusCode::OK),
        to_fail: AtomicU32::new(flags.fail_first),
        json: flags.json,
        clock: Clock::system(),
    };
    let listener = tokio::net::TcpListener::bind(flags.listen)
        .await
        .map_err(|error| Failure::new(format!("cannot listen on {}: {error}", flags.listen)))?;
    let address = listener.local_addr().map_err(|error| Failure::new(error.to_string()))?;
    if !flags.json {
        say(format_args!("listening on http://{address}/"));
        if unverified {
            say("no --secret and no --tenant: signatures are NOT verified");
        }
        say(format_args!(
            "\n{:<13} {:<30} {:<22} {:>4} {:>4}  {:<12} {:>6}  {:>8}",
            "time", "event", "call", "seq", "try", "signature", "answer", "after"
        ));
    }
    let app = Router::new().fallback(receive).with_state(Arc::new(receiver));
    axum::serve(listener, app)
        .with_graceful_shutdown(interrupted())
        .await
        .map_err(|error| Failure::new(error.to_string()))
}

async fn secrets_of(router: &client::Router, tenant: &str) -> Result<Vec<String>, Failure> {
    let answer: TenantSecrets = router.get(&["v1", "tenants", tenant, "secret"]).answer().await?;
    Ok(answer.secrets.iter().map(|secret| secret.0.to_string()).collect())
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = receiver.verify(&headers, &body);
    let status = receiver.answer(signature, &headers, body).await;
    receiver.print(&headers, signature, status);
    status
}

impl Receiver {
    /// Checks a delivery as Standard Webhooks asks: signature and time.
    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> &'static str {
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

    async fn answer(&self, signature: &str, headers: &HeaderMap, body: Bytes) -> StatusCode {
        if !matches!(signature, "verified" | "not checked") {
            return StatusCode::UNAUTHORIZED;
        }
        let failing =
            self.to_fail.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if failing.is_ok() {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        let Some((client, url)) = &self.forward else { return self.status };
        let mut request = client.post(url.clone()).body(body);
        for (name, value) in headers {
            let name = name.as_str();
            let ours = name.starts_with("webhook-") || name.starts_with("switchhook-");
            if ours || name == "content-type" || name == "authorization" {
                request = request.header(name, value);
            }
        }
        match request.send().await {
            Ok(answer) => answer.status(),
            Err(_) => StatusCode::BAD_GATEWAY,
        }
    }

    fn print(&self, headers: &HeaderMap, signature: &str, status: StatusCode) {
        let header = |name| text(headers, name);
        let now = self.clock.unix();
        let received: Option<jiff::Timestamp> = header("switchhook-received-at").parse().ok();
        let after = received.map(|received| now.since(UnixMillis(received.as_millisecond())));
        if self.json {
            return say_json(&json!({
                "event_id": header("webhook-id"), "event": header("switchhook-event"),
                "call": header("switchhook-call"),
                "sequence": header("switchhook-sequence").parse::<i64>().ok(),
                "attempt": header("switchhook-attempt").parse::<i64>().ok(), "signature": signature,
                "answer": status.as_u16(), "after_ms": after.map(|after| after.as_millis() as u64),
            }));
        }
        let time = now.to_string();
        say(format_args!(
            "{:<13} {:<30} {:<22} {:>4} {:>4}  {signature:<12} {:>6}  {:>8}",
            time.get(11..23).unwrap_or_default(),
            shorten(header("switchhook-event"), 30),
            shorten(header("switchhook-call"), 22),
            shorten(header("switchhook-sequence"), 4),
            shorten(header("switchhook-attempt"), 4),
            status.as_u16(),
            after.map(ms).unwrap_or_default(),
        ));
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
