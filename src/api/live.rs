//! What happens, as it happens.

mod frames;
mod line;
mod now;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;

pub use self::now::{__path_now, now};

use self::frames::{Frames, Stream};
use super::auth::LastingBearer;
use super::input::Params;
use super::state::Api;
use crate::http::Problem;
use crate::telemetry::{NoSeat, OF_ONE, READERS, Wanted};
use crate::wire::{LiveEvent, LiveQuery, ProblemDetails, ProblemKind};

/// A tenant that has no place left comes back after this many seconds.
const AGAIN: u16 = 10;

/// What happens to events from now on, as server-sent events (WHATWG HTML §9.2).
///
/// A tenant sees three kinds of events: those routed to its hooks, those that its own LiveKit sent, and unrouted ones with
/// a domain that its token's hosts cover.
///
/// Each server-sent event is named by what happened, with a line of JSON as its data. Two have other data. `lost`
/// (`{"count": 3}`): so many are left out, since this reader was slow; up to 1000 and 1 MiB of bodies wait for one
/// reader. `end` (`{"reason": "expired"}`): the token is not accepted any more, or the router stops. After 15 s
/// without anything a comment comes. There are no ids: what happened before, or between two connections, is not repeated.
/// A reader that takes nothing for 10 s is closed. 64 can read at once, 8 of one tenant.
#[utoipa::path(
    get, path = "/v1/stream", operation_id = "stream", tag = "live", params(LiveQuery),
    responses(
        (status = 200, description = "A stream that does not end by itself.", body = LiveEvent,
            content_type = "text/event-stream"),
        (status = 429, description = "The tenant reads as many streams as it may.", body = ProblemDetails,
            content_type = "application/problem+json"),
        (status = 503, description = "As many streams are read as may be.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn stream(
    bearer: LastingBearer,
    State(api): State<Arc<Api>>,
    Params(query): Params<LiveQuery>,
) -> Result<Response, Problem> {
    // The place of this request is free again once the answer begins. Its connection stays in use, so that it is not
    // closed in favour of another one, unless tenants have more than their share of the listener's connections.
    let wanted = Wanted { scope: bearer.bearer.scope.clone(), query };
    let reader = api.metrics.live.admit(wanted).map_err(turned_away)?;
    let mut response = Response::new(Body::new(Frames::of(Stream::new(api, bearer, reader))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Nginx gathers answers otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn turned_away(why: NoSeat) -> Problem {
    match why {
        NoSeat::OfThisTenant => {
            let detail = format!("This tenant reads {OF_ONE} streams already: end one of them.");
            Problem::new(ProblemKind::TooManyRequests).detail(detail).header(header::RETRY_AFTER, AGAIN)
        }
        NoSeat::AtAll => {
            let detail = format!(
                "As many streams are read as may be at once: {READERS}, of which some are kept for operators."
            );
            Problem::new(ProblemKind::Unavailable).detail(detail)
        }
    }
}
