//! Test events: a tenant sees what a call looks like before the first caller.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;

use crate::access::Bearer;
use crate::api::guard::{Allowance, Meter};
use crate::api::input::{JsonBody, Segment};
use crate::api::problems::not_found;
use crate::api::state::Api;
use crate::dispatch::{TestedEvent, Tester};
use crate::hooks::HostPattern;
use crate::http::Problem;
use crate::samples::SampleCall;
use crate::time::Moment;
use crate::wire::{ProblemKind, SampleKind, TestAnswer, TestRequest, TrialEvent};

/// Tests of one tenant's hooks: six at once, then one in ten seconds.
const TESTS: Allowance = Allowance { burst: 6, interval: Duration::from_secs(10) };

/// Tenants that are told apart.
const TENANTS: usize = 10_000;

/// Sends test events, to each tenant only so often.
pub struct Trials {
    tester: Tester,
    sent: Mutex<Meter<String>>,
}

impl Trials {
    /// Nothing was sent yet.
    pub fn new(tester: Tester) -> Self {
        Self { tester, sent: Mutex::new(Meter::new(TENANTS)) }
    }

    fn admit(&self, tenant: &str, now: Moment) -> Result<(), Problem> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.take(tenant, TESTS, now).map_err(|wait| {
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX);
            let detail =
                format!("A tenant's hooks are tested six times a minute at most. Again in {seconds} s.");
            Problem::new(ProblemKind::TooManyRequests).detail(detail).header(header::RETRY_AFTER, seconds)
        })
    }
}

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
