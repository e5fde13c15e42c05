//! What Prometheus reads.

mod measures;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};

use super::auth::MetricsReader;
use super::state::Api;
use crate::wire::ProblemDetails;

/// The metrics, in OpenMetrics' text format.
///
/// They need an operator's token, unless the router runs with `--metrics-open`.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "health",
    responses(
        (status = 200, description = "All metrics.", body = String, content_type = "application/openmetrics-text"),
        (status = 403, description = "A tenant's token.", body = ProblemDetails,
            content_type = "application/problem+json"),
    ),
)]
pub async fn metrics(
    _: MetricsReader,
    State(api): State<Arc<Api>>,
) -> ([(HeaderName, &'static str); 1], String) {
    let text = api.measured().await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text)
}
