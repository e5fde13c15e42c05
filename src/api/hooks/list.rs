//! Which hooks there are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, header};

use super::answer;
use crate::access::Bearer;
use crate::api::input::{Params, Segment, malformed};
use crate::api::problems::not_found;
use crate::api::state::Api;
use crate::hooks::{HostPattern, Layer, Tenant};
use crate::http::Problem;
use crate::registry::{HookCursor, HookFilter};
use crate::wire::{HookAnswer, HookLayer, HookList, HookQuery, Limit};

/// A hook, without its secret.
#[utoipa::path(
    get, path = "/v1/hooks/{host}", operation_id = "getHook", tag = "hooks",
    params(("host" = String, Path, description = "The hook's host pattern.", example = "calls.acme.example")),
    responses((status = 200, description = "The hook.", body = HookAnswer)),
)]
pub async fn get(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(host): Segment,
) -> Result<([(HeaderName, String); 1], Json<HookAnswer>), Problem> {
    let view = api.views.of(&bearer.scope);
    let host = HostPattern::parse(&host).ok();
    let found = host.as_ref().and_then(|host| view.listed_hook(host));
    let found = found.ok_or_else(|| {
        not_found(if host.is_some_and(|host| view.is_unreadable(&host)) {
            "A hook of this host is stored, but cannot be read: register it again, or delete it."
        } else {
            "No hook has this host, or none belongs to this tenant."
        })
    })?;
    Ok(([(header::ETAG, answer::etag(&found.hook))], Json(answer::listed(&found))))
}

/// Hooks by host; a tenant sees its own.
#[utoipa::path(
    get, path = "/v1/hooks", operation_id = "listHooks", tag = "hooks", params(HookQuery),
    responses((status = 200, description = "A page of hooks.", body = HookList)),
)]
pub async fn list(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Params(query): Params<HookQuery>,
) -> Result<Json<HookList>, Problem> {
    let limit = query.limit.map_or(100, Limit::count);
    let (filter, after) = (filter(&query)?, query.after.as_deref().map(cursor).transpose()?);
    let page = api.views.of(&bearer.scope).hooks(filter, after, limit).await;
    let next = page.next.map(|HookCursor { host, layer }| format!("{}/{host}", layer.as_str()));
    Ok(Json(HookList { hooks: page.hooks.iter().map(answer::listed).collect(), next }))
}

/// What a query asks for.
pub fn filter(query: &HookQuery) -> Result<HookFilter, Problem> {
    let tenant = query
        .tenant
        .as_deref()
        .map(|name| Tenant::new(name).ok_or_else(|| malformed("`tenant`: no tenant can have this name")));
    let layer = query.layer.map(|layer| match layer {
        HookLayer::File => Layer::File,
        HookLayer::Api => Layer::Api,
    });
    Ok(HookFilter { tenant: tenant.transpose()?, layer, ..HookFilter::default() })
}

/// Where the page before ended.
pub fn cursor(after: &str) -> Result<HookCursor, Problem> {
    let parse = || {
        let (layer, host) = after.split_once('/')?;
        Some(HookCursor { host: HostPattern::parse(host).ok()?, layer: Layer::named(layer)? })
    };
    parse().ok_or_else(|| malformed("`after` is what the page before gave as `next`"))
}
