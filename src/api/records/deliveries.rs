//! Deliveries: listed, and replayed to their hook's current URL. What is unrouted: routed again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::carry_out::{REPLAYS, Recorded, carried_out, time};
use super::resend;
use crate::access::Bearer;
use crate::api::audit::Asker;
use crate::api::auth::operators_only;
use crate::api::input::{JsonBody, Params, Segment, invalid, malformed};
use crate::api::problems::not_found;
use crate::api::state::{Api, LOOK_WITHIN};
use crate::domain::Domain;
use crate::http::Problem;
use crate::outbox::{DeliveryFilter, LetterFilter, ReplayPlan, UnroutedFilter, report_released};
use crate::wire::{
    DeliveryList, DeliveryQuery, Limit, LiveKind, ProblemDetails, ProblemKind, ReplayAnswer, ReplayRequest,
    StatusFilter,
};

/// What the logs say of dead letters.
fn letters(plan: &ReplayPlan) -> Recorded<'static> {
    let target = format!("{} deliveries", plan.possible());
    Recorded { action: "deliveries.replay", target, told: "dead letters replayed" }
}

/// Deliveries, the newest first: what waits, what was delivered, and dead letters.
///
/// A page looks at so many events at most: where a filter other than `tenant`, `host`, `call`, `since` and `until`
/// leaves little of them, it may be short, and `next` leads to the rest.
#[utoipa::path(
    get, path = "/v1/deliveries", operation_id = "listDeliveries", tag = "deliveries", params(DeliveryQuery),
    responses((status = 200, description = "A page of deliveries.", body = DeliveryList)),
)]
pub async fn list(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Params(query): Params<DeliveryQuery>,
) -> Result<Json<DeliveryList>, Problem> {
    let limit = query.limit.map_or(100, Limit::count);
    let filter = meant(query)?;
    Ok(Json(api.ask(LOOK_WITHIN, api.views.of(&bearer.scope).deliveries(filter, limit)).await?))
}

fn meant(query: DeliveryQuery) -> Result<DeliveryFilter, Problem> {
    let (state, answered) = match (query.state, query.status) {
        (state, None) => (state, None),
        (state, Some(StatusFilter::Answered(lowest, highest))) => (state, Some((lowest, highest))),
        (None, Some(StatusFilter::State(state))) => (Some(state), None),
        (Some(_), Some(StatusFilter::State(_))) => {
            return Err(malformed("`state` names a state: `status` is an answer beside it, as 503 or 5xx"));
        }
    };
    Ok(DeliveryFilter {
        id: query.id,
        tenant: query.tenant,
        host: query.host.map(|host| host.to_ascii_lowercase()),
        event: query.event,
        state,
        answered,
        call: query.call,
        since: time(query.since),
        until: time(query.until),
        before: query.after,
    })
}

/// Sends one dead letter again, to the present URL of its hook.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/replay", operation_id = "replayDelivery", tag = "deliveries",
    params(("id" = String, Path, description = "The event's id.", example = "EV_d5xCUcBNh4oK")),
    responses(
        (status = 200, description = "It is being sent.", body = ReplayAnswer),
        (status = 409, description = "It cannot be sent. `no-destination`: its tenant has no hook at its host any more. `not-kept` \
            with the `reason` `damaged`: what is stored of it was altered.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn replay_one(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<ReplayAnswer>, Problem> {
    let plan =
        planned(&api, &asker.bearer, &ReplayRequest { id: Some(id), ..ReplayRequest::default() }).await?;
    if plan.homeless > 0 {
        let detail = "Its tenant has no hook at that host any more: add it, then replay.";
        return Err(Problem::new(ProblemKind::NoDestination).detail(detail));
    }
    if plan.damaged > 0 {
        let detail =
            "Its stored row or body was altered, or another master secret sealed it: it is not sent.";
        return Err(Problem::new(ProblemKind::NotKept).reason("damaged").detail(detail));
    }
    if plan.matched() == 0 {
        return Err(not_found(
            "No dead letter has this id. GET /v1/events/{id} says what became of the event.",
        ));
    }
    let recorded = letters(&plan);
    carried_out(&api, &asker, plan, false, recorded).await
}

/// Sends again what passes the filter, in order: dead letters, delivered events or unrouted ones.
///
/// Without `delivered` and `unrouted`: dead letters. With `delivered`: delivered events whose bodies are kept.
/// With `unrouted`: whole calls are routed again, which needs an operator's token. With `dry_run`: says what that would do.
#[utoipa::path(
    post, path = "/v1/replays", operation_id = "replay", tag = "deliveries", request_body = ReplayRequest,
    responses(
        (status = 200, description = "What it came to.", body = ReplayAnswer),
        (status = 403, description = "`unrouted` with a tenant's token.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn replay(
    asker: Asker,
    State(api): State<Arc<Api>>,
    JsonBody(wanted): JsonBody<ReplayRequest>,
) -> Result<Json<ReplayAnswer>, Problem> {
    if wanted.delivered && wanted.unrouted {
        return Err(invalid("delivered", "an event is delivered or unrouted, not both"));
    }
    if wanted.delivered {
        return resend::by_filter(&api, &asker, wanted).await;
    }
    if wanted.unrouted {
        operators_only(&asker.bearer)?;
        return reroute(&api, &asker, &wanted).await;
    }
    let given = [("domain", &wanted.domain), ("reason", &wanted.reason), ("call", &wanted.call)];
    if let Some((name, _)) = given.into_iter().find(|(_, value)| value.is_some()) {
        return Err(invalid(name, "it belongs to `\"unrouted\": true`: dead letters have none"));
    }
    let plan = planned(&api, &asker.bearer, &wanted).await?;
    let recorded = letters(&plan);
    carried_out(&api, &asker, plan, wanted.dry_run, recorded).await
}

/// What is meant of unrouted events.
fn unrouted(wanted: &ReplayRequest) -> Result<UnroutedFilter, Problem> {
    let given = [("id", &wanted.id), ("tenant", &wanted.tenant), ("host", &wanted.host)];
    if let Some((name, _)) = given.into_iter().find(|(_, value)| value.is_some()) {
        return Err(invalid(name, "it does not belong to `\"unrouted\": true`: no hook has them yet"));
    }
    Ok(UnroutedFilter {
        // Domains are stored in canonical form.
        domain: wanted.domain.as_ref().map(|text| {
            Domain::from_sip(text).map_or_else(|_| text.clone(), |domain| domain.as_str().to_owned())
        }),
        reason: wanted.reason.clone(),
        call: wanted.call.clone(),
        since: time(wanted.since),
        until: time(wanted.until),
        after: wanted.after.unwrap_or(0),
    })
}

/// Sends calls with unrouted events through routing again.
async fn reroute(api: &Api, asker: &Asker, wanted: &ReplayRequest) -> Result<Json<ReplayAnswer>, Problem> {
    let (meant, view) = (unrouted(wanted)?, api.views.of(asker.scope()));
    let limit = wanted.limit.map_or(REPLAYS, Limit::count);
    let plan = api.ask(LOOK_WITHIN, view.plan_reroute(meant, limit)).await?;
    let mut answer = ReplayAnswer {
        matched: plan.events,
        calls: Some(plan.calls()),
        replayed: 0,
        without_hook: plan.events - plan.with_hook,
        damaged: 0,
        dry_run: wanted.dry_run,
        next: plan.next,
    };
    if !wanted.dry_run && plan.with_hook > 0 {
        let target = format!("{} events of {} calls", plan.events, plan.calls());
        let record = asker.record(api.clock.unix(), "unrouted.replay", &target, None);
        let released = api.ask(LOOK_WITHIN, view.reroute(plan, record)).await?;
        answer.replayed = released.len();
        answer.without_hook = answer.matched.saturating_sub(answer.replayed);
        released.iter().for_each(|released| report_released(released, &api.metrics, LiveKind::Replayed));
    }
    Ok(Json(answer))
}

async fn planned(api: &Api, bearer: &Bearer, wanted: &ReplayRequest) -> Result<ReplayPlan, Problem> {
    let limit = wanted.limit.map_or(REPLAYS, Limit::count);
    let filter = LetterFilter {
        id: wanted.id.clone(),
        tenant: wanted.tenant.clone(),
        host: wanted.host.as_ref().map(|host| host.to_ascii_lowercase()),
        since: time(wanted.since),
        until: time(wanted.until),
        after: wanted.after.unwrap_or(0),
    };
    api.ask(LOOK_WITHIN, api.views.of(&bearer.scope).plan_replay(filter, limit)).await
}
