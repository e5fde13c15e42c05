//! Hooks of the running router.

mod trial;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

pub use self::trial::{__path_test, Trials, test};

use super::input::Segment;
use super::problems::{not_found, refused};
use super::state::Api;
use crate::access::Bearer;
use crate::hooks::HostPattern;
use crate::http::Problem;
use crate::registry::EditRequest;
use crate::wire::{ProblemDetails, Resumed};

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
    let host = HostPattern::parse(&host).map_err(|_| not_found("No hook has this host."))?;
    match api.edit(&bearer.scope, EditRequest::Resume { host: host.clone() }, None).await? {
        Ok(edited) => Ok(Json(Resumed { host: host.to_string(), resumed: edited.is_change })),
        Err(refusal) => Err(refused(&refusal)),
    }
}
