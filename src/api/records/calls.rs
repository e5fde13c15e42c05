//! Calls and their timelines.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::unrouted::changes;
use crate::access::Bearer;
use crate::api::input::{Params, Segment, malformed};
use crate::api::problems::not_found;
use crate::api::state::{Api, LOOK_WITHIN};
use crate::http::Problem;
use crate::outbox::CallFilter;
use crate::wire::{CallList, CallQuery, Limit, Timeline};

/// Calls, the newest first.
#[utoipa::path(
    get, path = "/v1/calls", operation_id = "listCalls", tag = "calls", params(CallQuery),
    responses((status = 200, description = "A page of calls.", body = CallList)),
)]
pub async fn list(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Params(query): Params<CallQuery>,
) -> Result<Json<CallList>, Problem> {
    let after = query.after.as_deref().map(|after| {
        let (at, key) = after.split_once('/').unwrap_or((after, ""));
        at.parse().map(|at| (at, key.to_owned()))
    });
    let after = after.transpose().map_err(|_| malformed("`after` is what the page before gave as `next`"))?;
    let limit = query.limit.map_or(100, Limit::count);
    let filter = CallFilter { tenant: query.tenant.clone(), all: query.all, after };
    let view = api.views.of(&bearer.scope);
    let (calls, next) = api.ask(LOOK_WITHIN, view.calls(filter, limit)).await?;
    let domain_changes = changes(&api, &bearer, query.tenant, false).await?;
    Ok(Json(CallList { calls, domain_changes, next }))
}

/// One call: every event of it and where it went.
///
/// By its room's sid, or by its room's name, of which the latest session is meant.
#[utoipa::path(
    get, path = "/v1/calls/{room}", operation_id = "getCall", tag = "calls",
    params(("room" = String, Path, description = "The room's sid or name.", example = "RM_vV3hMuPnBHZy")),
    responses((status = 200, description = "What happened in it.", body = Timeline)),
)]
pub async fn timeline(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(room): Segment,
) -> Result<Json<Timeline>, Problem> {
    let found = api.ask(LOOK_WITHIN, api.views.of(&bearer.scope).timeline(room)).await?;
    let Some(mut timeline) = found else {
        return Err(not_found(
            "No call of this room is known. Calls are kept for an hour after their end, their events for 24 h \
             or as long as their hook's `keep` says.",
        ));
    };
    if let Some(call) = timeline.call.as_ref().map(|call| call.call.clone()) {
        let changes = changes(&api, &bearer, None, false).await?;
        timeline.domain_changes =
            changes.into_iter().filter(|change| change.call.as_ref() == Some(&call)).collect();
    }
    Ok(Json(timeline))
}
