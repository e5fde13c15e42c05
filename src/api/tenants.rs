//! A tenant's signing secrets.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::oneshot;

use super::operator::Operator;
use super::problems::{not_found, unavailable};
use super::state::{ANSWER_WITHIN, Api, Rotation};
use crate::hooks::{Signing, Tenant};
use crate::http::Problem;
use crate::outbox::StoreFault;
use crate::time::UnixMillis;

/// `GET /v1/tenants/{tenant}/secret`: what signs, the current one first; also before the tenant's first hook, so
/// that its receiver can be set up.
pub async fn secret(
    _: Operator,
    State(api): State<Arc<Api>>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let tenant = Tenant::new(&tenant).ok_or_else(|| not_found("No tenant can have this name."))?;
    match api.table().hooks_of(&tenant).first() {
        Some(hook) => told(&tenant, &hook.secrets, api.clock.unix()),
        None => {
            let derived = api.clock.timeout(ANSWER_WITHIN, api.outbox.derived_secrets(tenant.clone())).await;
            let derived = derived.unwrap_or(Err(StoreFault::Slow)).map_err(|error| unavailable(&error))?;
            told(&tenant, &derived, api.clock.unix())
        }
    }
}

/// `POST /v1/tenants/{tenant}/rotate`: renews the derived secret.
pub async fn rotate(
    _: Operator,
    State(api): State<Arc<Api>>,
    Path(tenant): Path<String>,
) -> Result<Response, Problem> {
    let tenant = known(&api, &tenant)?;
    let given = api.table().hooks().any(|hook| hook.tenant == tenant && hook.has_given_secret);
    if given {
        let detail = "Its secret is given in the hooks file: change it there, and the one before signs \
                      beside it for 24 h.";
        return Err(Problem::new(StatusCode::CONFLICT, "conflict", "Not a derived secret").detail(detail));
    }
    let now = api.clock.unix();
    let table = api.table();
    let renewed = table.hooks_of(&tenant).first().is_some_and(|hook| {
        hook.secrets.iter().any(|signing| signing.until.is_some() && signing.is_valid(now))
    });
    if renewed {
        let detail = "It was renewed less than 24 h ago, and the secret before still signs: another renewal now \
                      would cut off whoever uses that one.";
        return Err(Problem::new(StatusCode::CONFLICT, "conflict", "Renewed already").detail(detail));
    }
    let (done, rotated) = oneshot::channel();
    let asking = async {
        api.rotations.send(Rotation { tenant: tenant.clone(), done }).await.ok()?;
        rotated.await.ok()
    };
    match api.clock.timeout(ANSWER_WITHIN, asking).await {
        Ok(Some(Ok(()))) => secrets(&api, &tenant),
        Ok(Some(Err(_)) | None) | Err(_) if api.outbox.is_away() => Err(unavailable(&StoreFault::Away)),
        Ok(Some(Err(_)) | None) => Err(not_renewed()),
        Err(_) => Err(unavailable(&StoreFault::Slow)),
    }
}

fn not_renewed() -> Problem {
    let detail = "Nothing is renewed; the router's log names the cause.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The secret is not renewed").detail(detail)
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
    told(tenant, &hook.secrets, api.clock.unix())
}

fn told(tenant: &Tenant, secrets: &[Signing], now: UnixMillis) -> Result<Response, Problem> {
    let valid: Vec<_> = secrets.iter().filter(|signing| signing.is_valid(now)).collect();
    let revealed: Vec<_> = valid.iter().map(|signing| signing.secret.reveal().to_string()).collect();
    let until: Vec<_> = valid.iter().map(|signing| signing.until.map(|until| until.to_string())).collect();
    let body = json!({ "tenant": tenant.as_str(), "secrets": revealed, "until": until });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}
