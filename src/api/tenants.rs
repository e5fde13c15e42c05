//! A tenant's signing secrets.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};

use super::input::Segment;
use super::problems::{not_found, unavailable};
use super::state::{ANSWER_WITHIN, Api, Rotation};
use crate::access::Bearer;
use crate::hooks::{Hook, Signing, Tenant};
use crate::http::Problem;
use crate::outbox::StoreFault;
use crate::time::UnixMillis;
use crate::wire::{HiddenText, ProblemDetails, ProblemKind, TenantSecrets};

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
    let (tenant, hooks) = known(&api, &bearer, &tenant)?;
    if hooks.iter().any(|hook| hook.has_given_secret) {
        return Err(Problem::new(ProblemKind::GivenSecret).detail(ProblemKind::GivenSecret.fix()));
    }
    let now = api.clock.unix();
    let renewed = hooks.first().is_some_and(|hook| {
        hook.secrets.iter().any(|signing| signing.until.is_some() && signing.is_valid(now))
    });
    if renewed {
        return Err(Problem::new(ProblemKind::RenewedAlready).detail(ProblemKind::RenewedAlready.meaning()));
    }
    let Some((rotation, rotated)) = Rotation::new(&bearer.scope, &tenant) else { return Err(unknown()) };
    let asking = async {
        api.rotations.send(rotation).await.ok()?;
        rotated.await.ok()
    };
    match api.clock.timeout(ANSWER_WITHIN, asking).await {
        Ok(Some(Ok(()))) => secrets(&api, &tenant, &api.views.of(&bearer.scope).hooks_of(&tenant)),
        Ok(Some(Err(_)) | None) | Err(_) if api.views.is_away() => Err(unavailable(&StoreFault::Away)),
        Ok(Some(Err(_)) | None) => {
            Err(Problem::new(ProblemKind::NotChanged).detail(ProblemKind::NotChanged.fix()))
        }
        Err(_) => Err(unavailable(&StoreFault::Slow)),
    }
}

/// A tenant that the scope covers, and its hooks.
fn known(api: &Api, bearer: &Bearer, tenant: &str) -> Result<(Tenant, Vec<Arc<Hook>>), Problem> {
    let tenant = Tenant::new(tenant).ok_or_else(unknown)?;
    let hooks = api.views.of(&bearer.scope).hooks_of(&tenant);
    if hooks.is_empty() { Err(unknown()) } else { Ok((tenant, hooks)) }
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
