//! How hooks and tenants are doing: which is down, paused or backed up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::{answer, list};
use crate::access::Bearer;
use crate::api::input::Params;
use crate::api::state::{ANSWER_WITHIN, Api};
use crate::dispatch::{LaneStatus, LastAttempt};
use crate::http::Problem;
use crate::ids::{DeliveryId, HookId};
use crate::registry::{HookCursor, HookFilter, ListedHook};
use crate::time::{UnixMillis, millis};
use crate::wire::{
    HookQuery, HookState, HookStateList, LaneState, LastAnswer, Limit, TenantState, TenantStateList,
    TenantStateQuery,
};

/// How each hook is doing, by host: its state, what waits, and what its receiver answered last.
#[utoipa::path(
    get, path = "/v1/states/hooks", operation_id = "listHookStates", tag = "hooks", params(HookQuery),
    responses((status = 200, description = "A page of hooks.", body = HookStateList)),
)]
pub async fn hooks(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Params(query): Params<HookQuery>,
) -> Result<Json<HookStateList>, Problem> {
    let limit = query.limit.map_or(100, Limit::count);
    let (filter, after) = (list::filter(&query)?, query.after.as_deref().map(list::cursor).transpose()?);
    let page = api.views.of(&bearer.scope).hooks(filter, after, limit).await;
    let states = states(&api, &page.hooks).await;
    let next = page.next.map(|HookCursor { host, layer }| format!("{}/{host}", layer.as_str()));
    Ok(Json(HookStateList { hooks: states, next }))
}

/// The same by tenant: the worst of its hooks, and what waits for all of them.
#[utoipa::path(
    get, path = "/v1/states/tenants", operation_id = "listTenantStates", tag = "tenants", params(TenantStateQuery),
    responses((status = 200, description = "A page of tenants.", body = TenantStateList)),
)]
pub async fn tenants(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Params(query): Params<TenantStateQuery>,
) -> Result<Json<TenantStateList>, Problem> {
    let limit = query.limit.map_or(100, Limit::count);
    let view = api.views.of(&bearer.scope);
    let (names, next) = view.tenants(query.after, limit).await;
    let mut tenants = Vec::with_capacity(names.len());
    for tenant in names {
        let filter = HookFilter { tenant: Some(tenant.clone()), ..HookFilter::default() };
        let page = view.hooks(filter, None, HOOKS).await;
        tenants.push(together(tenant.to_string(), &states(&api, &page.hooks).await));
    }
    Ok(Json(TenantStateList { tenants, next }))
}

/// Of one tenant, at most so many hooks are looked at.
const HOOKS: usize = 1000;

async fn states(api: &Api, hooks: &[ListedHook]) -> Vec<HookState> {
    let ids: Vec<HookId> = hooks.iter().map(|listed| listed.hook.id).collect();
    let lanes = api.clock.timeout(ANSWER_WITHIN, api.dispatch.status(ids)).await.unwrap_or_default();
    let oldest: Vec<DeliveryId> = lanes.iter().filter_map(|lane| lane.oldest).collect();
    // Without the store the rest is still worth knowing.
    let received = api.clock.timeout(ANSWER_WITHIN, api.views.received(oldest)).await;
    let received: HashMap<_, _> =
        received.ok().and_then(Result::ok).unwrap_or_default().into_iter().collect();
    let now = api.clock.unix();
    let lanes = lanes.into_iter().map(Some).chain(std::iter::repeat(None));
    let state = |(listed, lane): (&ListedHook, Option<LaneStatus>)| {
        let lane = lane.unwrap_or_default();
        let oldest = lane.oldest.and_then(|id| received.get(&id)).map(|at| now.since(*at));
        state(listed, &lane, oldest, now)
    };
    hooks.iter().zip(lanes).map(state).collect()
}

fn state(listed: &ListedHook, lane: &LaneStatus, oldest: Option<Duration>, now: UnixMillis) -> HookState {
    let failing_since = lane.last.and_then(|last| last.failing_since);
    let (state, since) = match (listed.pause.since, failing_since) {
        (Some(since), _) => (LaneState::Paused, Some(since)),
        (None, Some(since)) => (LaneState::Failing, Some(since)),
        (None, None) => (LaneState::Delivering, None),
    };
    let next = lane.next.filter(|_| state == LaneState::Failing).map(|wait| now.after(wait));
    HookState {
        host: listed.hook.host.to_string(),
        tenant: listed.hook.tenant.to_string(),
        layer: answer::layer(listed.hook.origin.layer),
        state,
        since: since.map(|since| since.to_string()),
        paused_by: listed.pause.since.and(listed.pause.by).map(answer::cause),
        shadowed: listed.is_shadowed,
        waiting: lane.waiting,
        oldest_ms: oldest.map(millis),
        last: lane.last.map(last),
        next_probe: next.map(|next| next.to_string()),
        breaker_open: lane.is_open,
        window: Some(lane.window).filter(|window| *window > 0),
        in_flight: lane.in_flight,
        slow: lane.slow,
    }
}

fn last(last: LastAttempt) -> LastAnswer {
    LastAnswer {
        status: last.outcome.ok(),
        error: last.outcome.err().map(str::to_owned),
        at: last.at.to_string(),
    }
}

/// A tenant's hooks as one.
fn together(tenant: String, hooks: &[HookState]) -> TenantState {
    let rank = |state: LaneState| match state {
        LaneState::Paused => 2,
        LaneState::Failing => 1,
        LaneState::Delivering => 0,
    };
    let worst = hooks.iter().max_by_key(|hook| rank(hook.state));
    let newest = hooks.iter().filter_map(|hook| hook.last.as_ref()).max_by(|a, b| a.at.cmp(&b.at));
    TenantState {
        tenant,
        hooks: hooks.len(),
        state: worst.map_or(LaneState::Delivering, |worst| worst.state),
        since: worst.and_then(|worst| worst.since.clone()),
        paused_by: worst.and_then(|worst| worst.paused_by),
        waiting: hooks.iter().map(|hook| hook.waiting).sum(),
        oldest_ms: hooks.iter().filter_map(|hook| hook.oldest_ms).max(),
        last: newest.cloned(),
    }
}
