//! Answers of several handlers that are no success.

use axum::http::StatusCode;

use crate::http::Problem;
use crate::outbox::StoreFault;
use crate::registry::EditRefusal;

/// What was asked for is not here.
pub fn not_found(detail: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found").detail(detail)
}

/// The request cannot be understood.
pub fn malformed(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read").detail(detail)
}

/// An edit of a hook that may not be.
pub fn refused(refusal: &EditRefusal) -> Problem {
    let conflict = |title, detail| Problem::new(StatusCode::CONFLICT, "conflict", title).detail(detail);
    match refusal {
        EditRefusal::PausedByFile => conflict(
            "Paused by the hooks file",
            "The hooks file pauses this hook: take `paused: true` out of it.",
        ),
        EditRefusal::GivenSecret => conflict(
            "Not a derived secret",
            "Its secret is given in the hooks file: change it there, and the one before signs beside it for 24 h.",
        ),
        EditRefusal::RenewedAlready => conflict(
            "Renewed already",
            "It was renewed less than 24 h ago, and the secret before still signs: another renewal now would cut \
             off whoever uses that one.",
        ),
        EditRefusal::NotFound
        | EditRefusal::OfFile
        | EditRefusal::Taken { .. }
        | EditRefusal::NotCovered { .. }
        | EditRefusal::OverLimit { .. }
        | EditRefusal::Stale { .. }
        | EditRefusal::PrivateTarget
        | EditRefusal::Faults(_) => not_found("No hook has this host, or none belongs to this tenant."),
    }
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
