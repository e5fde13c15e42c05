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

/// The store cannot do it now; the cause is logged, not shown.
pub fn unavailable(error: &StoreFault) -> Problem {
    let (title, detail) = match error {
        StoreFault::Away => {
            tracing::warn!(%error, "refused");
            (
                "The store takes nothing at the moment",
                "The store takes nothing at the moment, so this was not done. The router asks the store again \
                 four times a second; repeat this when /readyz says ready.",
            )
        }
        StoreFault::Slow => {
            tracing::error!(%error, "the store does not answer");
            (
                "The store does not answer",
                "The store has not answered in time. A change that was asked for may still be made: look before \
                 you repeat it.",
            )
        }
        StoreFault::Engine(_)
        | StoreFault::Io(_)
        | StoreFault::Version { .. }
        | StoreFault::Sealed
        | StoreFault::Closed => {
            tracing::error!(%error, "the store cannot be read");
            ("The store cannot be read", "The router's log names the cause.")
        }
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", title).detail(detail)
}
