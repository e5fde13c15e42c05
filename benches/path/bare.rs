//! The bare forwarder: the body in, the body out, nothing else.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::post;
use reqwest::Client;
use reqwest::redirect::Policy;

use crate::shared::forward::serving;

/// Passes every body on to `target`.
pub async fn serve(target: String) {
    let client = Client::builder().no_proxy().redirect(Policy::none());
    let client = client.pool_max_idle_per_host(serving::IDLE).build().expect("a client");
    let app = axum::Router::new().route("/webhook", post(receive)).with_state((client, target));
    serving::serve(app).await;
}

async fn receive(State((client, target)): State<(Client, String)>, body: Bytes) -> StatusCode {
    tokio::spawn(async move {
        let request = client.post(target).header(header::CONTENT_TYPE, serving::CONTENT_TYPE);
        let _ = request.body(body).send().await.expect("sent").bytes().await;
    });
    StatusCode::OK
}
