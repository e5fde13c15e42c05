//! One event's story.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::access::Bearer;
use crate::api::input::Segment;
use crate::api::problems::not_found;
use crate::api::state::{ANSWER_WITHIN, Api};
use crate::http::Problem;
use crate::wire::EventStory;

/// When an event came, how it was routed, and every attempt to deliver it.
#[utoipa::path(
    get, path = "/v1/events/{id}", operation_id = "getEvent", tag = "events",
    params(("id" = String, Path, description = "The event's id.", example = "EV_d5xCUcBNh4oK")),
    responses((status = 200, description = "Its story.", body = EventStory)),
)]
pub async fn event(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<EventStory>, Problem> {
    story(&api, &bearer, id).await
}

/// A delivery has its event's id: the same story.
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", operation_id = "getDelivery", tag = "deliveries",
    params(("id" = String, Path, description = "The event's id.", example = "EV_d5xCUcBNh4oK")),
    responses((status = 200, description = "Its story.", body = EventStory)),
)]
pub async fn delivery(
    bearer: Bearer,
    State(api): State<Arc<Api>>,
    Segment(id): Segment,
) -> Result<Json<EventStory>, Problem> {
    story(&api, &bearer, id).await
}

async fn story(api: &Api, bearer: &Bearer, id: String) -> Result<Json<EventStory>, Problem> {
    let found = api.ask(ANSWER_WITHIN, api.views.of(&bearer.scope).story(id)).await?;
    let none = || {
        not_found(
            "No event with this id is stored. Delivered ones are kept for 24 h, or as long as their hook's `keep` says.",
        )
    };
    found.map(Json).ok_or_else(none)
}
