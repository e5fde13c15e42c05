//! The operator's door: health, metrics, and what the commands need.

mod calls;
mod deliveries;
mod guard;
mod measures;
mod operator;
mod problems;
mod state;
mod tenants;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

pub use self::guard::{AllowedHosts, Guard};
pub use self::state::{Api, Rotation};

use self::operator::Operator;
use self::problems::{not_found, unavailable};
use self::state::ANSWER_WITHIN;
use crate::hooks::HostPattern;
use crate::http::Problem;
use crate::outbox::StoreFault;

impl Api {
    /// The API's routes.
    pub fn routes(self: Arc<Self>) -> Router {
        let metrics = if self.metrics_open { get(metrics_for_all) } else { get(metrics) };
        Router::new()
            .route("/metrics", metrics)
            .route("/v1/events/{id}", get(event))
            .route("/v1/hooks/{host}/resume", post(resume))
            .route("/v1/tenants/{tenant}/secret", get(tenants::secret))
            .route("/v1/tenants/{tenant}/rotate", post(tenants::rotate))
            .route("/v1/deliveries", get(deliveries::list))
            .route("/v1/deliveries/{id}", get(event))
            .route("/v1/deliveries/{id}/replay", post(deliveries::replay_one))
            .route("/v1/replays", post(deliveries::replay))
            .route("/v1/unrouted", get(calls::unrouted))
            .route("/v1/calls", get(calls::list))
            .route("/v1/calls/{room}", get(calls::timeline))
            .with_state(self)
    }
}

async fn metrics(_: Operator, state: State<Arc<Api>>) -> Response {
    metrics_for_all(state).await
}

async fn metrics_for_all(State(api): State<Arc<Api>>) -> Response {
    let text = api.measured().await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn event(
    _: Operator,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let story = api.clock.timeout(ANSWER_WITHIN, api.outbox.story(id)).await;
    match story.unwrap_or(Err(StoreFault::Slow)) {
        Ok(Some(story)) => Ok(Json(story).into_response()),
        Ok(None) => Err(not_found("No event with this id is stored. Delivered ones are kept for 24 h.")),
        Err(error) => Err(unavailable(&error)),
    }
}

async fn resume(
    _: Operator,
    State(api): State<Arc<Api>>,
    Path(host): Path<String>,
) -> Result<Response, Problem> {
    let (pattern, table) = (HostPattern::parse(&host).ok(), api.table());
    let Some(hook) = pattern.and_then(|pattern| table.by_host(&pattern)) else {
        return Err(not_found("No hook has this host."));
    };
    if hook.settings.paused {
        let detail = "The hooks file pauses this hook: take `paused: true` out of it.";
        return Err(Problem::new(StatusCode::CONFLICT, "conflict", "Paused by the hooks file").detail(detail));
    }
    let resumed = api.clock.timeout(ANSWER_WITHIN, api.dispatch.resume(hook.id)).await;
    let resumed = resumed.map_err(|_| unavailable(&StoreFault::Slow))?;
    Ok(Json(json!({ "host": hook.host.to_string(), "resumed": resumed })).into_response())
}
