//! Dead letters: listed, and replayed to their hook's current URL.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::{ANSWER_WITHIN, Api, Operator, not_found, unavailable};
use crate::http::Problem;
use crate::outbox::{Filter, ReplayPlan, StoreFault};
use crate::time::UnixMillis;

/// A list's page, at most.
const PAGE: usize = 1000;

/// One replay takes at most this many; `next` says where the rest begins.
const REPLAYS: usize = 10_000;

/// Which dead letters are meant; all of it optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    id: Option<String>,
    tenant: Option<String>,
    host: Option<String>,
    /// RFC 3339.
    since: Option<jiff::Timestamp>,
    until: Option<jiff::Timestamp>,
    /// Where the page before ended.
    after: Option<i64>,
    limit: Option<usize>,
    /// Says what would be done, and does nothing.
    dry_run: bool,
}

impl Selection {
    fn filter(&self) -> Filter {
        let time = |time: Option<jiff::Timestamp>| time.map(|time| UnixMillis(time.as_millisecond()));
        Filter {
            id: self.id.clone(),
            tenant: self.tenant.clone(),
            host: self.host.as_ref().map(|host| host.to_ascii_lowercase()),
            since: time(self.since),
            until: time(self.until),
            after: self.after.unwrap_or(0),
        }
    }
}

/// `GET /v1/deliveries`: dead letters with their attempts, oldest first.
pub async fn list(
    _: Operator,
    State(api): State<Arc<Api>>,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(selection) = selection.map_err(|error| malformed(error.body_text()))?;
    let limit = selection.limit.unwrap_or(100).clamp(1, PAGE);
    let page = api.clock.timeout(ANSWER_WITHIN, api.outbox.dead_letters(selection.filter(), limit)).await;
    let page = page.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))?;
    let next = if page.len() == limit { page.last().map(|story| story.seq) } else { None };
    Ok(Json(json!({ "deliveries": page, "next": next })).into_response())
}

/// `POST /v1/deliveries/{id}/replay`.
pub async fn replay_one(
    _: Operator,
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let plan = planned(&api, &Selection { id: Some(id), ..Selection::default() }).await?;
    if plan.homeless > 0 {
        let detail = "Its tenant has no hook at that host any more: add it, then replay.";
        return Err(Problem::new(StatusCode::CONFLICT, "conflict", "Nowhere to send it").detail(detail));
    }
    if plan.replays.is_empty() {
        return Err(not_found("No dead letter has this id."));
    }
    carried_out(&api, plan, false).await
}

/// `POST /v1/replays`: all that pass the filter, or with `dry_run` what that would do.
pub async fn replay(
    _: Operator,
    State(api): State<Arc<Api>>,
    selection: Result<Json<Selection>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(selection) = selection.map_err(|error| malformed(error.body_text()))?;
    let plan = planned(&api, &selection).await?;
    carried_out(&api, plan, selection.dry_run).await
}

async fn planned(api: &Api, selection: &Selection) -> Result<ReplayPlan, Problem> {
    let limit = selection.limit.unwrap_or(REPLAYS).clamp(1, REPLAYS);
    let plan = api.clock.timeout(ANSWER_WITHIN, api.outbox.plan_replay(selection.filter(), limit)).await;
    plan.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))
}

async fn carried_out(api: &Api, plan: ReplayPlan, dry_run: bool) -> Result<Response, Problem> {
    let (matched, homeless, next) = (plan.replays.len() + plan.homeless, plan.homeless, plan.next);
    let replayed = if dry_run {
        0
    } else {
        let replayed = api.clock.timeout(ANSWER_WITHIN, api.outbox.replay(plan)).await;
        replayed.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))?
    };
    if replayed > 0 {
        tracing::info!(deliveries = replayed, "dead letters replayed");
    }
    let body = json!({
        "matched": matched, "replayed": replayed, "without_hook": homeless, "dry_run": dry_run, "next": next,
    });
    Ok(Json(body).into_response())
}

fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read").detail(detail)
}
