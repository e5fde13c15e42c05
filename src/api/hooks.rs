//! Hooks of the running router.

mod trial;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

pub use self::trial::{__path_test, Trials, test};

use super::input::Segment;
use super::problems::{not_found, unavailable};
use super::state::{ANSWER_WITHIN, Api};
use crate::access::Bearer;
use crate::hooks::HostPattern;
use crate::http::Problem;
use crate::outbox::StoreFault;
use crate::wire::{ProblemDetails, ProblemKind, Resumed};

/// Ends a hook's pause: all that waits is delivered, in order.
#[utoipa::path(
    post, path = "/v1/hooks/{host}/resume", operation_id = "resumeHook", tag = "hooks",
    params(("host" = String, Path, description = "The hook's host pattern.", example = "calls.acme.example")),
    responses(
        (status = 200, description = "It is not paused.", body = Resumed),
        (status = 409, description = "The hooks file pauses it.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn resume(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(host): Segment,
) -> Result<Json<Resumed>, Problem> {
    let view = api.views.of(&bearer.scope);
    let hook = HostPattern::parse(&host).ok().and_then(|pattern| view.hook(&pattern));
    let hook = hook.ok_or_else(|| not_found("No hook has this host."))?;
    if hook.settings.paused {
        return Err(Problem::new(ProblemKind::PausedByFile).detail(ProblemKind::PausedByFile.fix()));
    }
    let resumed = api.clock.timeout(ANSWER_WITHIN, api.dispatch.resume(hook.id)).await;
    let resumed = resumed.map_err(|_| unavailable(&StoreFault::Slow))?;
    Ok(Json(Resumed { host: hook.host.to_string(), resumed }))
}
