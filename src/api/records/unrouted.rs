//! What is unrouted, and called numbers that came with another domain.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;

use crate::access::Bearer;
use crate::api::input::{Params, malformed};
use crate::api::state::{ANSWER_WITHIN, Api, LOOK_WITHIN};
use crate::http::Problem;
use crate::outbox::{ChangeFilter, CountedGroups};
use crate::time::{UnixMillis, millis};
use crate::wire::{DomainChange, Limit, UnroutedList, UnroutedQuery};

/// Changed domains are listed for this long, at most this many, the newest first.
const CHANGES_FOR: Duration = Duration::from_secs(24 * 3600);
const CHANGES: usize = 100;

/// What is unrouted, by reason and domain, with what is to be done about it.
///
/// A tenant sees the domains that its token's hosts cover.
#[utoipa::path(
    get, path = "/v1/unrouted", operation_id = "listUnrouted", tag = "unrouted", params(UnroutedQuery),
    responses((status = 200, description = "A page of groups.", body = UnroutedList)),
)]
pub async fn list(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Params(query): Params<UnroutedQuery>,
) -> Result<Json<UnroutedList>, Problem> {
    let skip = query.after.as_deref().map_or(Ok(0), str::parse::<usize>);
    let skip = skip.map_err(|_| malformed("`after` is what the page before gave as `next`"))?;
    let limit = query.limit.map_or(100, Limit::count);
    let view = api.views.of(&bearer.scope);
    let counted = api.ask(LOOK_WITHIN, view.unrouted(skip, limit)).await?;
    let CountedGroups { groups: unrouted, has_more, counted_at } = counted;
    let next = has_more.then(|| skip.saturating_add(unrouted.len()).to_string());
    let counted_at = counted_at.map(|at| at.to_string());
    // Numbers that still reach a tenant belong to the list of calls.
    let domain_changes = changes(&api, &bearer, None, true).await?;
    Ok(Json(UnroutedList { unrouted, counted_at, domain_changes, next }))
}

/// Called numbers that came with another domain of late: a tenant's, or those that go nowhere now.
pub async fn changes(
    api: &Api,
    bearer: &Bearer,
    tenant: Option<String>,
    nowhere: bool,
) -> Result<Vec<DomainChange>, Problem> {
    let since = UnixMillis(api.clock.unix().0 - millis(CHANGES_FOR));
    let filter = ChangeFilter { since, tenant, nowhere };
    api.ask(ANSWER_WITHIN, api.views.of(&bearer.scope).domain_changes(filter, CHANGES)).await
}
