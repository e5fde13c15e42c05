//! Dead letters: listed, and replayed to their hook's current URL.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::operator::Operator;
use super::problems::{malformed, not_found, unavailable};
use super::state::{ANSWER_WITHIN, Api, LOOK_WITHIN};
use crate::domain::Domain;
use crate::http::Problem;
use crate::outbox::{self, LetterFilter, ReplayPlan, StoreFault, report_released};
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
    /// Not dead letters, but what is unrouted: by domain, reason or call.
    unrouted: bool,
    domain: Option<String>,
    reason: Option<String>,
    call: Option<String>,
    /// RFC 3339.
    since: Option<jiff::Timestamp>,
    until: Option<jiff::Timestamp>,
    /// Where the page before ended.
    after: Option<i64>,
    limit: Option<usize>,
    /// Says what would be done, and does nothing.
    dry_run: bool,
}

fn time(time: Option<jiff::Timestamp>) -> Option<UnixMillis> {
    time.map(|time| UnixMillis(time.as_millisecond()))
}

impl Selection {
    /// The same as a selection of unrouted events; an error names a key that belongs to deliveries only.
    fn unrouted(&self) -> Result<outbox::UnroutedFilter, &'static str> {
        let given = [("id", &self.id), ("tenant", &self.tenant), ("host", &self.host)];
        if let Some((name, _)) = given.into_iter().find(|(_, value)| value.is_some()) {
            return Err(name);
        }
        Ok(outbox::UnroutedFilter {
            // Domains are stored in canonical form.
            domain: self.domain.as_ref().map(|text| {
                Domain::from_sip(text).map_or_else(|_| text.clone(), |domain| domain.as_str().to_owned())
            }),
            reason: self.reason.clone(),
            call: self.call.clone(),
            since: time(self.since),
            until: time(self.until),
            after: self.after.unwrap_or(0),
        })
    }

    fn filter(&self) -> LetterFilter {
        LetterFilter {
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
        return Err(not_found(
            "No dead letter has this id. GET /v1/events/{id} says what became of the event.",
        ));
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
    if selection.unrouted {
        return reroute(&api, &selection).await;
    }
    let given = [("domain", &selection.domain), ("reason", &selection.reason), ("call", &selection.call)];
    if let Some((name, _)) = given.into_iter().find(|(_, value)| value.is_some()) {
        return Err(malformed(format!("`{name}` belongs to `\"unrouted\": true`: dead letters have none.")));
    }
    let plan = planned(&api, &selection).await?;
    carried_out(&api, plan, selection.dry_run).await
}

/// Sends calls with unrouted events through routing again.
async fn reroute(api: &Api, selection: &Selection) -> Result<Response, Problem> {
    let meant = selection.unrouted().map_err(|name| {
        malformed(format!("`{name}` does not belong to `\"unrouted\": true`: no hook has them yet."))
    })?;
    let limit = selection.limit.unwrap_or(REPLAYS).clamp(1, REPLAYS);
    let plan = api.clock.timeout(LOOK_WITHIN, api.outbox.plan_reroute(meant, limit)).await;
    let plan = plan.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))?;
    let (matched, calls, next) = (plan.events, plan.calls.len(), plan.next);
    let mut without_hook = plan.events - plan.with_hook;
    let mut replayed = 0;
    if !selection.dry_run && plan.with_hook > 0 {
        let released = api.clock.timeout(LOOK_WITHIN, api.outbox.reroute(plan)).await;
        let released = released.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))?;
        replayed = released.len();
        without_hook = matched.saturating_sub(replayed);
        released.iter().for_each(|released| report_released(released, &api.metrics, "replayed"));
    }
    let body = json!({
        "matched": matched, "calls": calls, "replayed": replayed, "without_hook": without_hook,
        "dry_run": selection.dry_run, "next": next,
    });
    Ok(Json(body).into_response())
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
