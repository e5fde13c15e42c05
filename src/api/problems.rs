//! Answers of several handlers that are no success.

use axum::http::StatusCode;

use crate::http::Problem;
use crate::outbox::StoreFault;

/// What was asked for is not here.
pub fn not_found(detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found").detail(detail)
}

/// The request cannot be understood.
pub fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read").detail(detail)
}

/// The store cannot answer; the cause is logged, not shown.
pub fn unavailable(error: &StoreFault) -> Problem {
    tracing::error!(%error, "the store cannot be read");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The store does not answer")
}
