//! The operator's door: health, metrics, and what the commands need.

mod calls;
mod deliveries;
mod operator;
mod problems;
mod state;
mod tenants;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

pub use self::state::{Api, HookAnswer, HookRequest};

use self::operator::Operator;
use self::problems::{not_found, refused, unavailable};
use self::state::ANSWER_WITHIN;
use crate::hooks::HostPattern;
use crate::http::Problem;
use crate::outbox::StoreFault;
use crate::registry::HookEdit;

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
    if let Ok(Ok((held, calls))) = api.clock.timeout(ANSWER_WITHIN, api.outbox.counts()).await {
        api.metrics.calls(held, calls);
    }
    let text = api.metrics.render(api.vitals.health(), api.backlogs().await);
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
    Operator(scope): Operator,
    State(api): State<Arc<Api>>,
    Path(host): Path<String>,
) -> Result<Response, Problem> {
    let Ok(host) = HostPattern::parse(&host) else { return Err(not_found("No hook has this host.")) };
    let answer = api.edit(scope, HookEdit::Resume { host: host.clone() }, None).await;
    match answer.map_err(|error| unavailable(&error))? {
        Ok(edited) => {
            Ok(Json(json!({ "host": host.to_string(), "resumed": edited.is_change })).into_response())
        }
        Err(refusal) => Err(refused(&refusal)),
    }
}
