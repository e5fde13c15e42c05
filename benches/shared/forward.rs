//! The least that any router must do: LiveKit's token and the body's hash are checked, the event is read, its hook found
//! by domain in memory, the body signed (Standard Webhooks) and posted once. No store, no log, no retry.

pub mod serving;
pub mod sqlite;

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use switchhook::Clock;
use switchhook::bench::{Addressed, HotPath};

use super::event::{KEY, SECRET};

/// No body LiveKit posts is larger.
const BODY_BYTES: usize = 1 << 20;

pub struct Forwarder {
    path: HotPath,
    clock: Clock,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An event that is to be posted.
pub struct Forward {
    addressed: Addressed,
    pub body: Bytes,
}

impl Forward {
    /// Its `webhook-id`.
    pub fn id(&self) -> &str {
        self.addressed.id()
    }

    /// Where it goes.
    pub fn url(&self) -> &str {
        self.addressed.url()
    }
}

impl Forwarder {
    /// One with this hooks file.
    pub fn new(hooks: &str) -> Self {
        let clock = Clock::system();
        let path = HotPath::new(KEY, SECRET, hooks, clock.unix());
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(serving::IDLE).build(connector);
        Self { path, clock, client }
    }

    /// Reads and checks a request; or how it is refused.
    pub async fn admit(&self, request: Request) -> Result<Forward, StatusCode> {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, BODY_BYTES).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        match self.path.address(&head.headers, &body, self.clock.unix()) {
            Some(addressed) => Ok(Forward { addressed, body }),
            None => Err(StatusCode::UNAUTHORIZED),
        }
    }

    /// Posts it and reads the answer.
    pub async fn send(&self, Forward { addressed, body }: Forward) {
        let timestamp = self.clock.unix().seconds();
        let request = axum::http::Request::builder()
            .method(Method::POST)
            .uri(addressed.url())
            .header("webhook-id", addressed.id())
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", addressed.sign(timestamp, &body))
            .header(header::CONTENT_TYPE, HeaderValue::from_static(serving::CONTENT_TYPE))
            .body(Full::new(body))
            .expect("a request");
        let answer = self.client.request(request).await.expect("sent");
        // Read to its end, the connection can be used again.
        let _ = answer.into_body().collect().await;
    }
}
