//! The erasure of a tenant's data.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::access::Bearer;
use crate::api::audit::Asker;
use crate::api::auth::operators_only;
use crate::api::hooks::carry_out;
use crate::api::input::Segment;
use crate::api::problems::not_found;
use crate::api::state::{ANSWER_WITHIN, Api};
use crate::hooks::Tenant;
use crate::http::Problem;
use crate::registry::EditRequest;
use crate::wire::{Erasure, ProblemDetails};

/// Erases all stored data of a tenant that came before now: events with their bodies, deliveries that are still to be
/// made, calls, called numbers, and the details of the audit log. Its derived secret is renewed; the one before signs
/// beside it for 24 h. What comes after is new data. Needs an operator's token.
///
/// It is done in the background, in small parts, also across restarts: ask for the report. The same request while an
/// erasure is under way changes nothing.
#[utoipa::path(
    delete, path = "/v1/tenants/{tenant}/data", operation_id = "eraseTenant", tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant.", example = "acme")),
    responses(
        (status = 202, description = "It has begun, or is under way: how far it is.", body = Erasure),
        (status = 403, description = "A tenant's token.", body = ProblemDetails,
            content_type = "application/problem+json"),
        (status = 404, description = "The tenant never had a hook.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn erase(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(tenant): Segment,
) -> Result<(StatusCode, Json<Erasure>), Problem> {
    operators_only(&asker.bearer)?;
    let (tenant, view) = (named(&tenant)?, api.views.of(asker.scope()));
    let last = api.ask(ANSWER_WITHIN, view.erasure(tenant.clone())).await?;
    if let Some(under_way) = last.filter(|last| last.done_at.is_none()) {
        return Ok((StatusCode::ACCEPTED, Json(under_way)));
    }
    if !api.ask(ANSWER_WITHIN, view.is_known(tenant.clone())).await? {
        return Err(unknown());
    }
    carry_out(&api, &asker, EditRequest::Erase(tenant.clone())).await?;
    tracing::warn!(%tenant, by = asker.bearer.actor(), "a tenant's data is being erased");
    let begun = api.ask(ANSWER_WITHIN, view.erasure(tenant)).await?;
    Ok((StatusCode::ACCEPTED, Json(begun.ok_or_else(unknown)?)))
}

/// How a tenant's last erasure goes, or what came of it: what was erased, what stays, and why. Needs an operator's
/// token.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant}/data", operation_id = "getErasure", tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant.", example = "acme")),
    responses(
        (status = 200, description = "How far it is, or the report.", body = Erasure),
        (status = 403, description = "A tenant's token.", body = ProblemDetails,
            content_type = "application/problem+json"),
        (status = 404, description = "Nothing of this tenant was erased in the last 400 days.",
            body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn erasure(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(tenant): Segment,
) -> Result<Json<Erasure>, Problem> {
    operators_only(&bearer)?;
    let tenant = named(&tenant)?;
    let last = api.ask(ANSWER_WITHIN, api.views.of(&bearer.scope).erasure(tenant)).await?;
    let none = || not_found("Nothing of this tenant was erased in the last 400 days.");
    Ok(Json(last.ok_or_else(none)?))
}

fn named(tenant: &str) -> Result<Tenant, Problem> {
    Tenant::new(tenant).ok_or_else(|| not_found("No tenant can have this name."))
}

fn unknown() -> Problem {
    not_found("No hook belongs to this tenant, and none ever did: there is nothing to erase.")
}
