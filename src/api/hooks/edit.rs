//! Hooks are registered, changed, paused and removed while calls run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::{answer, refusal};
use crate::api::audit::Asker;
use crate::api::input::{JsonBody, Params, Segment, invalid, malformed};
use crate::api::problems::not_found;
use crate::api::state::Api;
use crate::hooks::{Hook, HostPattern, Tenant};
use crate::http::Problem;
use crate::outbox::{AuditOf, AuditRecord};
use crate::registry::{EditRequest, Edited, Etag, Precondition, Whose};
use crate::wire::{HookAnswer, HookEdit, HookSpec, ProblemDetails};

/// A hook, with its entity tag, and that nothing may cache it.
type Told = (StatusCode, [(HeaderName, HeaderValue); 2], Json<HookAnswer>);

/// Registers a hook, or changes it: in force for the next event when the answer arrives.
///
/// The same request again changes nothing. Hosts of the hooks file cannot be changed. The secret is in the answer once,
/// when the hook is created.
#[utoipa::path(
    put, path = "/v1/hooks/{host}", operation_id = "putHook", tag = "hooks", request_body = HookSpec,
    params(("host" = String, Path, description = "The hook's host pattern.", example = "calls.acme.example"), HookEdit,
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version that is to be changed."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none that can be read.")),
    responses(
        (status = 200, description = "It is in force.", body = HookAnswer),
        (status = 201, description = "It is new, and in force.", body = HookAnswer),
        (status = 403, description = "The token does not cover it.", body = ProblemDetails,
            content_type = "application/problem+json"),
        (status = 409, description = "The hooks file or another hook has it, or a limit is reached.",
            body = ProblemDetails, content_type = "application/problem+json"),
        (status = 412, description = "It was changed in the meantime.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(host): Segment,
    Params(HookEdit { now }): Params<HookEdit>,
    headers: HeaderMap,
    JsonBody(spec): JsonBody<Value>,
) -> Result<Told, Problem> {
    let Ok(host) = HostPattern::parse(&host) else {
        return Err(invalid("host", "it is neither a host name nor a wildcard (`*.`, or `*` alone)"));
    };
    let precondition = precondition(&headers)?;
    let edit = EditRequest::Put { host, spec, now, precondition };
    let edited = carry_out(&api, &asker, edit).await?;
    let status = if edited.is_new { StatusCode::CREATED } else { StatusCode::OK };
    told(&api, &edited, status)
}

/// Removes a hook: new events do not reach it when the answer arrives. What was routed to it still does.
#[utoipa::path(
    delete, path = "/v1/hooks/{host}", operation_id = "deleteHook", tag = "hooks",
    params(("host" = String, Path, description = "The hook's host pattern.", example = "calls.acme.example"), HookEdit,
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version that is to be removed.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "The hooks file has it.", body = ProblemDetails,
            content_type = "application/problem+json"),
        (status = 412, description = "It was changed in the meantime.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn delete(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(host): Segment,
    Params(HookEdit { now }): Params<HookEdit>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (host, precondition) = (known(&host)?, precondition(&headers)?);
    let edit = EditRequest::Delete { host, now, precondition };
    carry_out(&api, &asker, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Renews the derived secret of a hook's tenant; the one before signs beside it for 24 h. The new one is in the answer.
#[utoipa::path(
    post, path = "/v1/hooks/{host}/rotate", operation_id = "rotateHook", tag = "hooks",
    params(("host" = String, Path, description = "The hook's host pattern.", example = "calls.acme.example")),
    responses(
        (status = 200, description = "It is renewed.", body = HookAnswer),
        (status = 409, description = "It is not a derived one, or was renewed less than 24 h ago.",
            body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn rotate(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(host): Segment,
) -> Result<Told, Problem> {
    let edit = EditRequest::Rotate(Whose::Host(known(&host)?));
    let edited = carry_out(&api, &asker, edit).await?;
    told(&api, &edited, StatusCode::OK)
}

/// Pauses a hook: nothing is sent, everything waits, and nothing ages, until it is resumed.
#[utoipa::path(
    post, path = "/v1/hooks/{host}/pause", operation_id = "pauseHook", tag = "hooks",
    params(("host" = String, Path, description = "The hook's host pattern.", example = "calls.acme.example")),
    responses((status = 200, description = "It is paused.", body = HookAnswer)),
)]
pub async fn pause(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(host): Segment,
) -> Result<Told, Problem> {
    let edit = EditRequest::Pause { host: known(&host)? };
    let edited = carry_out(&api, &asker, edit).await?;
    told(&api, &edited, StatusCode::OK)
}

/// Ends a hook's pause: all that waits is delivered, in order.
#[utoipa::path(
    post, path = "/v1/hooks/{host}/resume", operation_id = "resumeHook", tag = "hooks",
    params(("host" = String, Path, description = "The hook's host pattern.", example = "calls.acme.example")),
    responses(
        (status = 200, description = "It is not paused.", body = HookAnswer),
        (status = 409, description = "The hooks file pauses it.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn resume(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(host): Segment,
) -> Result<Told, Problem> {
    let edit = EditRequest::Resume { host: known(&host)? };
    let edited = carry_out(&api, &asker, edit).await?;
    told(&api, &edited, StatusCode::OK)
}

/// Has an edit carried out, with its record in the audit log, also if it is refused. Not if edits come too often.
pub async fn carry_out(api: &Api, asker: &Asker, edit: EditRequest) -> Result<Edited, Problem> {
    api.guard.admit_edit(asker.scope())?;
    let (now, action, target) = (api.clock.unix(), edit.action(), edit.target());
    let record = asker.record(now, action, &target, edit.tenant().map(Tenant::as_str));
    let audit: AuditOf = Box::new(move |edited: &Edited| {
        let told = |hook: &Option<Arc<Hook>>| hook.as_ref().and_then(|hook| answer::recorded(hook));
        let owner = |hook: &Option<Arc<Hook>>| hook.as_ref().map(|hook| hook.tenant.to_string());
        let (before, after) = (told(&edited.before), told(&edited.after));
        match (owner(&edited.before), owner(&edited.after)) {
            // It has passed to another tenant. Each of the two sees its own part in its own log.
            (Some(loser), Some(owner)) if loser != owner => {
                let lost = AuditRecord { tenant: Some(loser), before, ..record.clone() };
                vec![lost, AuditRecord { tenant: Some(owner), after, ..record }]
            }
            (loser, owner) => {
                let tenant = owner.or(loser).or(record.tenant.clone());
                vec![AuditRecord { tenant, before, after, ..record }]
            }
        }
    });
    api.edit(asker.scope(), edit, Some(audit)).await?.map_err(|refused| {
        if let Some(why) = refusal::recorded(&refused)
            && api.refusals.admit(&asker.bearer.identity(), api.clock.now())
        {
            api.views.of(asker.scope()).audit(asker.refusal(now, action, &target, &why));
        }
        refusal::problem(refused)
    })
}

fn told(api: &Api, edited: &Edited, status: StatusCode) -> Result<Told, Problem> {
    let hook = edited.after.as_ref().ok_or_else(|| not_found("No hook has this host."))?;
    let pause = api.views.pause(hook.id);
    let tag = HeaderValue::from_str(&answer::etag(hook)).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    let headers = [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((status, headers, Json(answer::edited(edited, hook, pause, api.clock.unix()))))
}

fn known(host: &str) -> Result<HostPattern, Problem> {
    HostPattern::parse(host).map_err(|_| not_found("No hook has this host, or none belongs to this tenant."))
}

/// What the request says of the version it is about (RFC 9110 §13.1).
fn precondition(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let text = |name: HeaderName| -> Result<Option<String>, Problem> {
        let values: Vec<_> = headers.get_all(&name).iter().collect();
        let texts: Result<Vec<_>, _> = values.iter().map(|value| value.to_str()).collect();
        let texts = texts.map_err(|_| malformed(format!("`{name}` is no text of ASCII")))?;
        Ok((!texts.is_empty()).then(|| texts.join(",")))
    };
    match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Precondition::None),
        (None, Some(none)) if none.trim() == "*" => Ok(Precondition::Absent),
        (None, Some(_)) => {
            Err(malformed("`If-None-Match` can only be `*` here: create it only if there is none"))
        }
        (Some(any), None) if any.trim() == "*" => Ok(Precondition::Present),
        (Some(tags), None) => {
            // A tag that is no version of ours matches nothing.
            let tags = tags.split(',').map(|tag| tag.trim().trim_matches('"'));
            Ok(Precondition::OneOf(tags.filter_map(Etag::parse).collect()))
        }
        (Some(_), Some(_)) => Err(malformed("`If-Match` and `If-None-Match` contradict each other")),
    }
}
