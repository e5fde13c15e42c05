//! The operator's door: health, metrics, and what the commands need.

mod auth;
mod calls;
mod deliveries;
mod tenants;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::mpsc;

pub use self::auth::ApiSecret;
pub use self::tenants::Rotation;

use self::auth::Operator;
use crate::dispatch::Handle;
use crate::hooks::{HookTable, HostPattern};
use crate::http::{Problem, Vitals};
use crate::ids::HookId;
use crate::outbox::{Outbox, StoreFault};
use crate::telemetry::{Backlog, Metrics};
use crate::time::Clock;

/// What the handlers share.
pub struct Api {
    pub secret: ApiSecret,
    pub outbox: Arc<Outbox>,
    pub dispatch: Handle,
    pub metrics: Arc<Metrics>,
    pub vitals: Arc<Vitals>,
    pub clock: Clock,
    /// To whoever renews secrets.
    pub rotations: mpsc::Sender<Rotation>,
    /// `--metrics-open`: whoever reaches the listener may read the metrics.
    pub metrics_open: bool,
}

/// A store that does not answer must not hang its callers.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What looks through all that is kept may take longer; the commands wait for 20 s.
const LOOK_WITHIN: Duration = Duration::from_secs(9);

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

    fn table(&self) -> Arc<HookTable> {
        self.outbox.table()
    }

    async fn backlogs(&self) -> Vec<Backlog> {
        let pending = self.clock.timeout(ANSWER_WITHIN, self.dispatch.pending()).await.unwrap_or_default();
        let waiting = pending.iter().filter(|(_, count)| *count > 0).map(|(hook, _)| *hook).collect();
        let oldest = self.clock.timeout(ANSWER_WITHIN, self.outbox.oldest(waiting)).await;
        let oldest: HashMap<_, _> = match oldest {
            Ok(Ok(oldest)) => oldest.into_iter().collect(),
            // The counts alone are better than no metrics.
            Ok(Err(_)) | Err(_) => HashMap::new(),
        };
        let now = self.clock.unix();
        let mut tenants: HashMap<String, Backlog> = HashMap::new();
        for (hook, count) in pending {
            let tenant = self.tenant_of(hook);
            let oldest = oldest.get(&hook).map(|received| now.since(*received));
            let backlog = tenants.entry(tenant.clone()).or_insert(Backlog { tenant, pending: 0, oldest });
            backlog.pending += count;
            backlog.oldest = backlog.oldest.max(oldest);
        }
        tenants.into_values().collect()
    }

    fn tenant_of(&self, hook: HookId) -> String {
        self.table().by_id(hook).map_or_else(|| "other".to_owned(), |hook| hook.tenant.to_string())
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

fn not_found(detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found").detail(detail)
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read").detail(detail)
}

fn unavailable(error: &StoreFault) -> Problem {
    tracing::error!(%error, "the store cannot be read");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The store does not answer")
}
