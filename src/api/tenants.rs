//! A tenant's signing secrets, its tokens that are refused, and the erasure of its data.

mod erasure;

pub use self::erasure::{__path_erase, __path_erasure, erase, erasure};

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};

use super::audit::Asker;
use super::auth::operators_only;
use super::hooks::carry_out;
use super::input::Segment;
use super::problems::not_found;
use super::state::{ANSWER_WITHIN, Api};
use crate::access::{Bearer, LONGEST_VALIDITY, Revocations};
use crate::hooks::{Signing, Tenant};
use crate::http::Problem;
use crate::registry::{EditRequest, Whose};
use crate::time::UnixMillis;
use crate::wire::{HiddenText, ProblemDetails, ProblemKind, Revoked, TenantSecrets};

/// The `jti` of a token is at most this long.
const JTI_BYTES: usize = 256;

/// Secrets, which no cache may keep.
type Revealed = ([(HeaderName, &'static str); 1], Json<TenantSecrets>);

/// What signs a tenant's deliveries, the current secret first. Needs an operator's token: a tenant is shown its secret
/// when a hook of it is registered, and when it is renewed.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant}/secret", operation_id = "getSecret", tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant.", example = "acme")),
    responses(
        (status = 200, description = "Its secrets.", body = TenantSecrets),
        (status = 403, description = "A tenant's token.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn secret(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(tenant): Segment,
) -> Result<Revealed, Problem> {
    operators_only(&bearer)?;
    let tenant = Tenant::new(&tenant).ok_or_else(|| not_found("No tenant can have this name."))?;
    let view = api.views.of(&bearer.scope);
    let hooks = view.hooks_of(&tenant);
    // A hook may have a secret of its own, which is not the tenant's.
    let derived = hooks.iter().find(|hook| !hook.has_given_secret).or(hooks.first());
    let signing = match derived {
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
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(tenant): Segment,
) -> Result<Revealed, Problem> {
    let tenant = Tenant::new(&tenant).ok_or_else(unknown)?;
    let rotate = EditRequest::Rotate(Whose::Tenant(tenant.clone()));
    let edited = carry_out(&api, &asker, rotate).await?;
    let hook = edited.after.ok_or_else(unknown)?;
    Ok(revealed(&tenant, &hook.secrets, api.clock.unix()))
}

fn unknown() -> Problem {
    not_found("No hook belongs to this tenant. A tenant without `tenant:` is named as its host.")
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

/// Refuses all of a tenant's tokens that were issued before now. Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant}/revoke", operation_id = "revokeTokens", tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant.", example = "acme")),
    responses(
        (status = 200, description = "They are refused from now on, also after a restart.", body = Revoked),
        (status = 403, description = "A tenant's token.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn revoke(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(tenant): Segment,
) -> Result<Json<Revoked>, Problem> {
    operators_only(&asker.bearer)?;
    let tenant = Tenant::new(&tenant).ok_or_else(|| not_found("No tenant can have this name."))?;
    let now = api.clock.unix();
    let record = asker.record(now, "tokens.revoke", tenant.as_str(), Some(tenant.as_str()));
    // In force before it is stored: also if the store takes long, or the caller does not wait.
    let tenants = HashMap::from([(tenant.clone(), now)]);
    api.tokens.revoke(&Revocations { tenants, ..Revocations::default() });
    let view = api.views.of(asker.scope());
    let revoked = api.ask(ANSWER_WITHIN, view.revoke_tenant(tenant.clone(), record)).await?;
    revoked.ok_or(ProblemKind::ScopeTooSmall)?;
    tracing::warn!(%tenant, "tokens revoked: those issued before now are refused");
    Ok(Json(Revoked { tenant: Some(tenant.to_string()), jti: None, at: now.to_string() }))
}

/// Refuses one token, by its `jti`. Needs an operator's token.
#[utoipa::path(
    delete, path = "/v1/tokens/{jti}", operation_id = "revokeToken", tag = "tenants",
    params(("jti" = String, Path, description = "The token's id.", example = "Yq3c8uPd1k")),
    responses(
        (status = 200, description = "It is refused from now on, also after a restart.", body = Revoked),
        (status = 403, description = "A tenant's token.", body = ProblemDetails,
            content_type = "application/problem+json"),
        (status = 409, description = "10 000 tokens are revoked already.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn revoke_token(
    asker: Asker,
    State(api): State<Arc<Api>>,
    Segment(jti): Segment,
) -> Result<Json<Revoked>, Problem> {
    operators_only(&asker.bearer)?;
    let is_id = (1..=JTI_BYTES).contains(&jti.len()) && !jti.contains(char::is_control);
    if !is_id {
        return Err(not_found("No token can have this id."));
    }
    let now = api.clock.unix();
    let record = asker.record(now, "token.revoke", &jti, None);
    if !api.tokens.revoke_token(&jti, now.after(LONGEST_VALIDITY), now) {
        return Err(ProblemKind::TooManyRevoked.into());
    }
    let view = api.views.of(asker.scope());
    let revoked = api.ask(ANSWER_WITHIN, view.revoke_token(&jti, record)).await?;
    revoked.ok_or(ProblemKind::ScopeTooSmall)?;
    tracing::warn!(jti, "token revoked");
    Ok(Json(Revoked { tenant: None, jti: Some(jti), at: now.to_string() }))
}
