//! A tenant's signing secrets.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::operator::Operator;
use super::problems::{not_found, refused, unavailable};
use super::state::Api;
use crate::hooks::Tenant;
use crate::http::Problem;
use crate::registry::{HookEdit, Whose};

/// `GET /v1/tenants/{tenant}/secret`: what signs, the current one first.
pub async fn secret(
    _: Operator,
    State(api): State<Arc<Api>>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    secrets(&api, &known(&api, &tenant)?)
}

/// `POST /v1/tenants/{tenant}/rotate`: renews the derived secret.
pub async fn rotate(
    Operator(scope): Operator,
    State(api): State<Arc<Api>>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let tenant = known(&api, &tenant)?;
    let answer = api.edit(scope, HookEdit::Rotate(Whose::Tenant(tenant.clone())), None).await;
    match answer.map_err(|error| unavailable(&error))? {
        Ok(_) => secrets(&api, &tenant),
        Err(refusal) => Err(refused(&refusal)),
    }
}

fn known(api: &Api, tenant: &str) -> Result<Tenant, Problem> {
    let tenant = Tenant::new(tenant).filter(|tenant| !api.table().hooks_of(tenant).is_empty());
    tenant.ok_or_else(|| {
        not_found("No hook belongs to this tenant. A tenant without `tenant:` is named as its host.")
    })
}

fn secrets(api: &Api, tenant: &Tenant) -> Result<Response, Problem> {
    let table = api.table();
    let Some(hook) = table.hooks_of(tenant).first() else {
        return Err(not_found("No hook belongs to this tenant."));
    };
    let now = api.clock.unix();
    let valid: Vec<_> = hook.secrets.iter().filter(|signing| signing.is_valid(now)).collect();
    let revealed: Vec<_> = valid.iter().map(|signing| signing.secret.reveal().to_string()).collect();
    let until: Vec<_> = valid.iter().map(|signing| signing.until.map(|until| until.to_string())).collect();
    let body = json!({ "tenant": tenant.as_str(), "secrets": revealed, "until": until });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
