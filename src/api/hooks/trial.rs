//! Test events: a tenant sees what a call looks like before the first caller.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::access::Bearer;
use crate::api::input::{JsonBody, Segment};
use crate::api::problems::not_found;
use crate::api::state::Api;
use crate::dispatch::TestedEvent;
use crate::hooks::HostPattern;
use crate::http::Problem;
use crate::samples::SampleCall;
use crate::wire::{SampleKind, TestAnswer, TestRequest, TrialEvent};

/// Sends a test event to a hook, or a whole sample call in order, and tells each answer.
///
/// The events are those of a real LiveKit, made new, and marked `switchhook-test: true`. They go past the queue, also to
/// a hook that is paused, and are not tried again. Six tests a minute and tenant.
#[utoipa::path(
    post, path = "/v1/hooks/{host}/test", operation_id = "testHook", tag = "hooks", request_body = TestRequest,
    params(("host" = String, Path, description = "The hook's host pattern.", example = "calls.acme.example")),
    responses((status = 200, description = "What came of it.", body = TestAnswer)),
)]
pub async fn test(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(host): Segment,
    JsonBody(wanted): JsonBody<TestRequest>,
) -> Result<Json<TestAnswer>, Problem> {
    let view = api.views.of(&bearer.scope);
    let hook = HostPattern::parse(&host).ok().and_then(|pattern| view.hook(&pattern));
    let hook = hook.ok_or_else(|| not_found("No hook has this host."))?;
    api.trials.admit(hook.tenant.as_str(), api.clock.now())?;
    let tested = api.trials.tester.test(&hook, wanted.call.map(sample)).await;
    let events: Vec<_> = tested.into_iter().map(told).collect();
    let delivered =
        events.iter().all(|event| event.status.is_some_and(|status| (200..300).contains(&status)));
    Ok(Json(TestAnswer { host: hook.host.to_string(), delivered, events }))
}

fn sample(kind: SampleKind) -> SampleCall {
    match kind {
        SampleKind::Answered => SampleCall::Answered,
        SampleKind::Unanswered => SampleCall::Unanswered,
        SampleKind::WithAgent => SampleCall::WithAgent,
        SampleKind::Recorded => SampleCall::Recorded,
        SampleKind::Transferred => SampleCall::Transferred,
    }
}

fn told(TestedEvent { event, result }: TestedEvent) -> TrialEvent {
    let outcome = result.as_ref().map(|result| result.outcome);
    TrialEvent {
        id: event.id,
        event: event.name,
        status: outcome.and_then(Result::ok),
        error: outcome.and_then(Result::err).map(|fault| fault.as_str().to_owned()),
        latency_ms: result.as_ref().map_or(0.0, |result| result.latency.as_secs_f64() * 1000.0),
        answer: result.map(|result| result.answer),
    }
}
