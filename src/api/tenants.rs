//! A tenant's signing secrets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};

use super::input::Segment;
use super::problems::{not_found, refused};
use super::state::{ANSWER_WITHIN, Api};
use crate::access::Bearer;
use crate::hooks::{Hook, Signing, Tenant};
use crate::http::Problem;
use crate::registry::{EditRequest, Whose};
use crate::time::UnixMillis;
use crate::wire::{HiddenText, ProblemDetails, TenantSecrets};

/// Secrets, which no cache may keep.
type Revealed = ([(HeaderName, &'static str); 1], Json<TenantSecrets>);

/// What signs a tenant's deliveries, the current secret first.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant}/secret", operation_id = "getSecret", tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant.", example = "acme")),
    responses((status = 200, description = "Its secrets.", body = TenantSecrets)),
)]
pub async fn secret(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(tenant): Segment,
) -> Result<Revealed, Problem> {
    let tenant = Tenant::new(&tenant).ok_or_else(|| not_found("No tenant can have this name."))?;
    let view = api.views.of(&bearer.scope);
    let signing = match view.hooks_of(&tenant).first() {
        Some(hook) => hook.secrets.clone(),
        // Also before the tenant's first hook, so that its receiver can be set up.
        None => {
            let derived = api.ask(ANSWER_WITHIN, view.derived_secrets(tenant.clone())).await?;
            derived.ok_or_else(unknown)?
        }
    };
    Ok(revealed(&tenant, &signing, api.clock.unix()))
}

/// Renews a tenant's derived secret; the one before signs beside it for 24 h.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant}/rotate", operation_id = "rotateSecret", tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant.", example = "acme")),
    responses(
        (status = 200, description = "It is renewed: its secrets.", body = TenantSecrets),
        (status = 409, description = "It is not a derived one, or was renewed less than 24 h ago.",
            body = ProblemDetails, content_type = "application/problem+json"),
    ),
)]
pub async fn rotate(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(tenant): Segment,
) -> Result<Revealed, Problem> {
    let tenant = Tenant::new(&tenant).ok_or_else(unknown)?;
    let rotate = EditRequest::Rotate(Whose::Tenant(tenant.clone()));
    match api.edit(&bearer.scope, rotate, None).await? {
        Ok(_) => secrets(&api, &tenant, &api.views.of(&bearer.scope).hooks_of(&tenant)),
        Err(refusal) => Err(refused(&refusal)),
    }
}

fn unknown() -> Problem {
    not_found("No hook belongs to this tenant. A tenant without `tenant:` is named as its host.")
}

fn secrets(api: &Api, tenant: &Tenant, hooks: &[Arc<Hook>]) -> Result<Revealed, Problem> {
    let hook = hooks.first().ok_or_else(unknown)?;
    Ok(revealed(tenant, &hook.secrets, api.clock.unix()))
}

fn revealed(tenant: &Tenant, secrets: &[Signing], now: UnixMillis) -> Revealed {
    let valid: Vec<_> = secrets.iter().filter(|signing| signing.is_valid(now)).collect();
    let secrets = TenantSecrets {
        tenant: tenant.to_string(),
        secrets: valid.iter().map(|signing| HiddenText(signing.secret.reveal())).collect(),
        until: valid.iter().map(|signing| signing.until.map(|until| until.to_string())).collect(),
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(secrets))
}
