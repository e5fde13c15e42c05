//! LiveKit's door: a verified event in, an answer within a second out, whatever is broken behind.

mod body;
mod entrance;
mod keys;
mod refusals;
mod report;
mod room;
mod share;
mod token;
mod verify;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

pub use self::entrance::{BodyLimits, Ingress};
pub use self::keys::{ApiKeys, DoorKeys, KeyRing};
pub use self::token::{check_hash, check_token};

use self::verify::Verified;
use crate::http::Problem;
use crate::outbox::{Full, Post, Received};
use crate::wire::ProblemKind;

impl Ingress {
    /// `POST /webhook` and `POST /webhook/livekit`; `POST /webhook/livekit/{tenant}`.
    pub fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/webhook", post(receive))
            .route("/webhook/", post(receive))
            .route("/webhook/livekit", post(receive))
            .route("/webhook/livekit/", post(receive))
            .route("/webhook/livekit/{tenant}", post(receive))
            .route("/webhook/livekit/{tenant}/", post(receive))
            .method_not_allowed_fallback(wrong_method)
            .fallback(not_found)
            .with_state(self)
    }
}

/// LiveKit takes a 404 for delivered: a mistyped URL must not go unseen.
async fn not_found(State(ingress): State<Arc<Ingress>>, uri: Uri) -> Problem {
    ingress.metrics.rejected("not_found");
    ingress.refusals.note("not_found", Some(uri.path()), None);
    let detail = "LiveKit posts to /webhook, /webhook/livekit or /webhook/livekit/{tenant}.";
    Problem::new(ProblemKind::UnknownPath).detail(detail)
}

async fn wrong_method() -> Problem {
    let detail = "LiveKit posts its events.";
    Problem::new(ProblemKind::MethodNotAllowed).detail(detail)
}

async fn receive(State(ingress): State<Arc<Ingress>>, verified: Verified) -> Response {
    let Verified { body, hash, issuer, door, came, room } = verified;
    let received_at = ingress.clock.unix();
    let post = Post::read(Received { body, hash, issuer, received_at, came, door });
    let appended = ingress.outbox.append(post).await;
    drop(room);
    match appended {
        Ok(receipt) => {
            let after = ingress.clock.now().since(came);
            ingress.metrics.acknowledged(after);
            ingress.metrics.hour.acknowledged(ingress.clock.unix(), after);
            ingress.report(&receipt);
            StatusCode::OK.into_response()
        }
        Err(Full) => {
            ingress.metrics.rejected("unavailable");
            ingress.refusals.note("unavailable", None, None);
            Problem::new(ProblemKind::Unavailable).into_response()
        }
    }
}
