//! The least any router must do, and nothing else: what this forwarder has acknowledged is lost when it ends.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;

use super::system::one_hook;
use crate::shared::forward::Forwarder;
use crate::shared::forward::serving;

/// Routes every event of the comparison to `target`.
pub async fn serve(target: &str) {
    let forwarder = Arc::new(Forwarder::new(&one_hook(target)));
    let app = axum::Router::new().route("/webhook", post(receive)).with_state(forwarder);
    serving::serve(app).await;
}

async fn receive(State(forwarder): State<Arc<Forwarder>>, request: Request) -> StatusCode {
    match forwarder.admit(request).await {
        Ok(event) => {
            tokio::spawn(async move { forwarder.send(event).await });
            StatusCode::OK
        }
        Err(refusal) => refusal,
    }
}
