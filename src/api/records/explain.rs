//! Where an event would go, and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::access::Bearer;
use crate::api::input::{JsonBody, invalid};
use crate::api::state::{ANSWER_WITHIN, Api};
use crate::event::{Caller, Event};
use crate::hooks::Tenant;
use crate::http::Problem;
use crate::wire::{ExplainRequest, Explanation};

/// Where an event would go by the hooks in force, and why, step by step; nothing is stored.
///
/// It is taken as the first event of its call: what the call is bound to is not looked at. For a tenant it is decided
/// as if there were no hooks but its own.
#[utoipa::path(
    post, path = "/v1/explain", operation_id = "explain", tag = "unrouted", request_body = ExplainRequest,
    responses((status = 200, description = "The decision.", body = Explanation)),
)]
pub async fn explain(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    JsonBody(request): JsonBody<ExplainRequest>,
) -> Result<Json<Explanation>, Problem> {
    let event = event_of(&request)?;
    let unknown = || invalid("tenant", "no hook has this tenant: its URL answers 404");
    let at = request.tenant.as_deref().map(|name| Tenant::new(name).ok_or_else(unknown)).transpose()?;
    let view = api.views.of(&bearer.scope);
    api.ask(ANSWER_WITHIN, view.explain(event, at)).await?.map(Json).ok_or_else(unknown)
}

/// What is to be explained.
fn event_of(request: &ExplainRequest) -> Result<Event<'static>, Problem> {
    let ExplainRequest { event, x_to_ip, to, number, trunk, tenant: _ } = request;
    let caller = Caller::of([x_to_ip, to, number, trunk].map(Option::as_deref));
    match (event, caller) {
        (Some(event), None) => {
            let body = serde_json::to_vec(event).unwrap_or_default();
            Event::parse(&body).map(Event::into_owned).map_err(|error| invalid("event", error.to_string()))
        }
        (None, Some(caller)) => Ok(Event { caller: Some(caller), ..Event::default() }.into_owned()),
        (None, None) => Err(invalid("event", "give an event, or `x_to_ip`, `to`, `number` or `trunk`")),
        (Some(_), Some(_)) => {
            Err(invalid("event", "give an event, or `x_to_ip`, `to`, `number` and `trunk`, not both"))
        }
    }
}
