//! A tenant's receiver: verifies what Switchhook sends, with the official Standard Webhooks library.
//!
//! ```sh
//! SECRET=$(switchhook secret acme) cargo run --example receiver
//! ```

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "an example reads its secret and gives up"
)]

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use standardwebhooks::Webhook;

#[tokio::main]
async fn main() {
    let secret = std::env::var("SECRET").expect("SECRET holds the tenant's secret, whsec_…");
    let webhook = Arc::new(Webhook::new(&secret).expect("a usable secret"));
    let app = Router::new().route("/webhooks/voice", post(receive)).with_state(webhook);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:9101").await.expect("a free port");
    println!("receiving on http://127.0.0.1:9101/webhooks/voice");
    axum::serve(listener, app).await.expect("serving");
}

async fn receive(State(webhook): State<Arc<Webhook>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    // The signature is over the raw bytes: verify first, parse after.
    if webhook.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    // The same event may come twice with the same webhook-id: remember the ids you have handled.
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
    println!("{} {} of call {}", text("webhook-id"), text("switchhook-event"), text("switchhook-call"));
    // Answer within 10 s; anything but 2xx is tried again.
    StatusCode::NO_CONTENT
}
