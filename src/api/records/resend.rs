//! Sends delivered events again whose bodies are kept (`keep` of their hooks).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::carry_out::{REPLAYS, Recorded, carried_out, time};
use crate::access::Bearer;
use crate::api::audit::Asker;
use crate::api::input::{Params, Segment, invalid};
use crate::api::problems::not_found;
use crate::api::state::{ANSWER_WITHIN, Api, LOOK_WITHIN};
use crate::hooks::HostPattern;
use crate::http::Problem;
use crate::outbox::{KeptFilter, ReplayPlan};
use crate::wire::{
    EventState, EventStory, Limit, ProblemDetails, ProblemKind, ReplayAnswer, ReplayRequest, ResendQuery,
};

/// Sends a delivered event again to the present URL of its hook. Its body must be kept: `keep` of the hook.
///
/// It has the same `webhook-id` and the same number in its call.
#[utoipa::path(
    post, path = "/v1/events/{id}/resend", operation_id = "resendEvent", tag = "events",
    params(("id" = String, Path, description = "The event's id.", example = "EV_d5xCUcBNh4oK"), ResendQuery),
    responses(
        (status = 200, description = "It is being sent.", body = ReplayAnswer),
        (status = 409, description = "It cannot be sent. `not-kept` with the `reason` `not_delivered` (it is not delivered \
            yet, is a dead letter or unrouted), `nothing_kept` (its hook has no `keep`), `past` (its time is over, it was \
            delivered before the hook had `keep`, or there was no room) or `damaged` (what is kept was altered, or another \
            master secret sealed it); or `no-destination`: its tenant has no hook at its host any more.",
            body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn event(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
    Params(query): Params<ResendQuery>,
) -> Result<Json<ReplayAnswer>, Problem> {
    let filter = KeptFilter { id: Some(id.clone()), ..KeptFilter::default() };
    let plan = planned(&api, &asker.bearer, filter, REPLAYS).await?;
    if plan.matched() == 0 {
        return Err(why_not_event(&api, &asker.bearer, id).await?);
    }
    can_be_sent(&plan)?;
    resent(&api, &asker, plan, query.dry_run, id).await
}

/// Sends all delivered events of a call again, in order, whose bodies are kept: `keep` of their hooks.
///
/// Within the token's scope: of a shared call, a tenant's own.
#[utoipa::path(
    post, path = "/v1/calls/{room}/resend", operation_id = "resendCall", tag = "calls",
    params(
        ("room" = String, Path, description = "The room's sid; its name, while the call is listed.",
            example = "RM_vV3hMuPnBHZy"),
        ResendQuery,
    ),
    responses(
        (status = 200, description = "They are being sent.", body = ReplayAnswer),
        (status = 409, description = "Nothing of it can be sent. `not-kept` with the `reason` `nothing_kept` (no body of it is \
            kept) or `damaged` (what is kept was altered, or another master secret sealed it); or `no-destination`: its \
            tenant has no hook at its host any more.",
            body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn call(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(room): Segment,
    Params(query): Params<ResendQuery>,
) -> Result<Json<ReplayAnswer>, Problem> {
    let filter = KeptFilter { call: Some(room.clone()), ..KeptFilter::default() };
    let plan = planned(&api, &asker.bearer, filter, REPLAYS).await?;
    if plan.matched() == 0 {
        return Err(why_not_call(&api, &asker.bearer, room).await?);
    }
    can_be_sent(&plan)?;
    // An erasure finds the record of a call by its tenant: that of a shared call does not name the room.
    let target = match plan.tenant() {
        Some(_) => format!("{room}: {} events", plan.possible()),
        None => format!("{} events of a shared call", plan.possible()),
    };
    resent(&api, &asker, plan, query.dry_run, target).await
}

/// The same for all that pass a filter.
pub async fn by_filter(
    api: &Api,
    asker: &Asker,
    wanted: ReplayRequest,
) -> Result<Json<ReplayAnswer>, Problem> {
    let given = [("domain", &wanted.domain), ("reason", &wanted.reason)];
    if let Some((name, _)) = given.into_iter().find(|(_, value)| value.is_some()) {
        return Err(invalid(name, "it belongs to `\"unrouted\": true`: delivered events have none"));
    }
    let filter = KeptFilter {
        id: wanted.id,
        call: wanted.call,
        tenant: wanted.tenant,
        host: wanted.host.map(|host| host.to_ascii_lowercase()),
        since: time(wanted.since),
        until: time(wanted.until),
        after: wanted.after.unwrap_or(0),
    };
    let plan = planned(api, &asker.bearer, filter, wanted.limit.map_or(REPLAYS, Limit::count)).await?;
    let target = format!("{} events", plan.possible());
    resent(api, asker, plan, wanted.dry_run, target).await
}

async fn planned(
    api: &Api,
    bearer: &Bearer,
    filter: KeptFilter,
    limit: usize,
) -> Result<ReplayPlan, Problem> {
    api.ask(LOOK_WITHIN, api.views.of(&bearer.scope).plan_resend(filter, limit)).await
}

async fn resent(
    api: &Api,
    asker: &Asker,
    plan: ReplayPlan,
    dry_run: bool,
    target: String,
) -> Result<Json<ReplayAnswer>, Problem> {
    let recorded = Recorded { action: "events.resend", target, told: "delivered events are sent again" };
    carried_out(api, asker, plan, dry_run, recorded).await
}

/// Refuses what was found if nothing of it can be sent.
fn can_be_sent(plan: &ReplayPlan) -> Result<(), Problem> {
    if plan.possible() > 0 {
        return Ok(());
    }
    if plan.damaged > 0 {
        let detail = "What is kept was altered, or another master secret sealed it: it is not sent.";
        return Err(Problem::new(ProblemKind::NotKept).reason("damaged").detail(detail));
    }
    let detail = "Its tenant has no hook at that host any more: add it, then send it again.";
    Err(Problem::new(ProblemKind::NoDestination).detail(detail))
}

/// Why an event cannot be sent again.
async fn why_not_event(api: &Api, bearer: &Bearer, id: String) -> Result<Problem, Problem> {
    let view = api.views.of(&bearer.scope);
    let Some(story) = api.ask(ANSWER_WITHIN, view.story(id)).await? else {
        return Ok(not_found("No event with this id is stored."));
    };
    let not_kept =
        |reason: &str, detail: String| Problem::new(ProblemKind::NotKept).reason(reason).detail(detail);
    Ok(match (story.state, &story.kept_until) {
        (EventState::Delivered, _) if !keeps(api, bearer, &story) => {
            let detail = "Its hook keeps nothing. Set `keep` for what is delivered from then on.";
            not_kept("nothing_kept", detail.to_owned())
        }
        (EventState::Delivered, Some(until)) => {
            let detail =
                format!("Its body was kept until {until}, or for a shorter time, as `keep` was lowered.");
            not_kept("past", detail)
        }
        (EventState::Delivered, None) => {
            let detail = "Its body is not kept: it was delivered before its hook had `keep`, or longer ago than that \
                          says, or more was to be kept than there is room for.";
            not_kept("past", detail.to_owned())
        }
        (state, _) => not_kept("not_delivered", not_delivered(state).to_owned()),
    })
}

/// Whether the hook that an event was delivered to keeps bodies now.
fn keeps(api: &Api, bearer: &Bearer, story: &EventStory) -> bool {
    let host = story.host.as_deref().and_then(|host| HostPattern::parse(host).ok());
    let hook = host.and_then(|host| api.views.of(&bearer.scope).hook(&host));
    hook.is_some_and(|hook| !hook.settings.keep.is_zero())
}

fn not_delivered(state: EventState) -> &'static str {
    match state {
        EventState::Pending => "It is pending: it is being sent.",
        EventState::Dead => {
            "It is a dead letter: replay it (`switchhook replay ID`, POST /v1/deliveries/{id}/replay)."
        }
        EventState::Held => "It waits for its call, and has no hook yet.",
        EventState::Unrouted | EventState::Delivered => {
            "It is unrouted: have its call routed again (`switchhook replay --unrouted --call ROOM`, POST /v1/replays with \
             `unrouted`)."
        }
    }
}

/// Why nothing of a call can be sent again.
async fn why_not_call(api: &Api, bearer: &Bearer, room: String) -> Result<Problem, Problem> {
    let known = api.ask(LOOK_WITHIN, api.views.of(&bearer.scope).timeline(room)).await?;
    if known.is_none() {
        return Ok(not_found("No call of this room is known, and nothing of one is kept."));
    }
    let detail = "No delivered event of this call has a body that is kept. Its events are listed by `switchhook calls \
                  ROOM`, GET /v1/calls/{room}.";
    Ok(Problem::new(ProblemKind::NotKept).reason("nothing_kept").detail(detail))
}
