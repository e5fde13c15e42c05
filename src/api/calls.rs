//! Calls and their timelines; what is unrouted.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::operator::Operator;
use super::problems::{malformed, not_found, unavailable};
use super::state::{ANSWER_WITHIN, Api, LOOK_WITHIN};
use crate::http::Problem;
use crate::outbox::{CallFilter, DomainChange, StoreFault};
use crate::time::{UnixMillis, millis};

/// A list's page, at most.
const PAGE: usize = 1000;

/// Changed domains are listed for this long, at most this many, the newest first.
const CHANGES_FOR: Duration = Duration::from_secs(24 * 3600);
const CHANGES: usize = 100;

/// Which page of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Page {
    limit: Option<usize>,
    /// What the page before gave as `next`.
    after: Option<String>,
    tenant: Option<String>,
    /// Also rooms without SIP.
    all: bool,
}

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(100).clamp(1, PAGE)
    }
}

/// `GET /v1/unrouted`: by reason and domain, what can be mended first.
pub async fn unrouted(
    _: Operator,
    State(api): State<Arc<Api>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(page) = page.map_err(|error| malformed(error.body_text()))?;
    if page.tenant.is_some() || page.all {
        return Err(malformed("`tenant` and `all` belong to /v1/calls".into()));
    }
    let skip = match page.after.as_deref().map(str::parse::<usize>) {
        None => 0,
        Some(Ok(skip)) => skip,
        Some(Err(_)) => return Err(malformed("`after` is what the page before gave as `next`".into())),
    };
    let found = api.clock.timeout(LOOK_WITHIN, api.outbox.unrouted(skip, page.limit())).await;
    let (groups, more) = found.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))?;
    let next = more.then(|| skip.saturating_add(groups.len()).to_string());
    let changes = changes(&api).await?;
    Ok(Json(json!({ "unrouted": groups, "domain_changes": changes, "next": next })).into_response())
}

/// `GET /v1/calls`: the newest first.
pub async fn list(
    _: Operator,
    State(api): State<Arc<Api>>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(page) = page.map_err(|error| malformed(error.body_text()))?;
    let after = page.after.as_deref().map(|after| {
        let (at, key) = after.split_once('/').unwrap_or((after, ""));
        at.parse().map(|at| (at, key.to_owned()))
    });
    let after =
        after.transpose().map_err(|_| malformed("`after` is what the page before gave as `next`".into()))?;
    let limit = page.limit();
    let filter = CallFilter { tenant: page.tenant, all: page.all, after };
    let calls = api.clock.timeout(LOOK_WITHIN, api.outbox.calls(filter, limit)).await;
    let calls = calls.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))?;
    let last = if calls.len() == limit { calls.last() } else { None };
    let next = last.map(|call| format!("{}/{}", call.cursor.0, call.cursor.1));
    let changes = changes(&api).await?;
    Ok(Json(json!({ "calls": calls, "domain_changes": changes, "next": next })).into_response())
}

/// `GET /v1/calls/{room}`: by the room's sid or name.
pub async fn timeline(
    _: Operator,
    State(api): State<Arc<Api>>,
    Path(room): Path<String>,
) -> Result<Response, Problem> {
    let found = api.clock.timeout(LOOK_WITHIN, api.outbox.timeline(room)).await;
    let found = found.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))?;
    let Some(timeline) = found else {
        return Err(not_found(
            "No call of this room is known. Calls are kept for an hour after their end, their events for 24 h.",
        ));
    };
    let call = timeline.call.as_ref().map(|call| call.call.clone());
    let changes = changes(&api).await?;
    let changes: Vec<_> =
        changes.into_iter().filter(|change| change.call == call && call.is_some()).collect();
    let mut body = json!({ "domain_changes": changes, "truncated": timeline.truncated });
    body["call"] = serde_json::to_value(&timeline.call).unwrap_or_default();
    body["events"] = serde_json::to_value(&timeline.events).unwrap_or_default();
    Ok(Json(body).into_response())
}

async fn changes(api: &Api) -> Result<Vec<DomainChange>, Problem> {
    let since = UnixMillis(api.clock.unix().0 - millis(CHANGES_FOR));
    let changes = api.clock.timeout(ANSWER_WITHIN, api.outbox.domain_changes(since, CHANGES)).await;
    changes.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))
}
