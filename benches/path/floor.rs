//! The least any router must do: LiveKit's token and the body's hash are checked, the event is read,
//! its hook found by domain in memory, the body signed (Standard Webhooks) and posted once. No store,
//! no log, no retry: what it has acknowledged is lost when it ends.

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::routing::post;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use switchhook::Clock;
use switchhook::bench::{Addressed, HotPath};

use super::serving;
use super::system::one_hook;
use crate::shared::event::{KEY, SECRET};

/// No body LiveKit posts is larger.
const BODY_BYTES: usize = 1 << 20;

struct Floor {
    path: HotPath,
    clock: Clock,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Routes every event of the comparison to `target`.
pub async fn serve(target: &str) {
    let clock = Clock::system();
    let path = HotPath::new(KEY, SECRET, &one_hook(target), clock.unix());
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(serving::IDLE).build(connector);
    let floor = Arc::new(Floor { path, clock, client });
    let app = axum::Router::new().route("/webhook", post(receive)).with_state(floor);
    serving::serve(app).await;
}

async fn receive(State(floor): State<Arc<Floor>>, request: Request) -> StatusCode {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES).await else { return StatusCode::PAYLOAD_TOO_LARGE };
    match floor.path.address(&head.headers, &body, floor.clock.unix()) {
        Some(addressed) => {
            tokio::spawn(async move { floor.send(&addressed, body).await });
            StatusCode::OK
        }
        None => StatusCode::UNAUTHORIZED,
    }
}

impl Floor {
    async fn send(&self, addressed: &Addressed, body: Bytes) {
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
