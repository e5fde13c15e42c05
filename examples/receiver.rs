//! A tenant's receiver: verifies what Switchhook sends. docs/tenants.md shows this very text.
//!
//! ```sh
//! SWITCHHOOK_SECRET=$(switchhook secret acme) cargo run --example receiver
//! ```

#![expect(clippy::disallowed_methods, reason = "an example reads its own settings")]

// cargo add axum serde_json standardwebhooks tokio --features tokio/full
use std::{env, error::Error, sync::Arc};

use axum::http::{HeaderMap, StatusCode};
use axum::{Router, body::Bytes, extract::State, routing::post};
use standardwebhooks::Webhook;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = env::var("SWITCHHOOK_SECRET").unwrap_or_default();
    // With an empty key, anybody could sign.
    let key = secret.strip_prefix("whsec_").filter(|key| !key.is_empty()).ok_or("no SWITCHHOOK_SECRET")?;
    let app = Router::new().fallback(post(receive)).with_state(Arc::new(Webhook::new(key)?));
    let port = env::var("PORT").unwrap_or_else(|_| "9101".into()).parse::<u16>()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}/", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn receive(State(webhook): State<Arc<Webhook>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if webhook.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    // Here: store the event under its webhook-id, unless it is there already. Work on it later.
    println!("{:?} {}", headers["webhook-id"], event["event"]);
    StatusCode::OK
}
