//! What log and metrics say of an attempt.

use std::time::Duration;

use crate::delivery::{Attempt, Delivery};
use crate::outbox::Next;
use crate::telemetry::Metrics;
use crate::time::Clock;

/// One line per attempt, and its counters.
pub fn attempt(metrics: &Metrics, clock: &Clock, delivery: &Delivery, attempt: &Attempt, next: Next) {
    let outcome = attempt.fault().unwrap_or(match next {
        Next::Delivered => "delivered",
        Next::Retry { .. } | Next::Dead(_) => "failed",
    });
    metrics.attempted(outcome, attempt.status(), attempt.latency, attempt.number > 1);
    let total = match delivery.came {
        Some(came) => clock.now().since(came),
        None => clock.unix().since(delivery.received_at),
    };
    let hook = &delivery.hook;
    // A macro, since the level and the message are part of each call.
    macro_rules! line {
        ($level:ident, $message:literal, $($extra:tt)*) => {
            tracing::$level!(
                event_id = delivery.event_id.as_str(),
                event = &*delivery.event,
                call = delivery.call.as_deref(),
                tenant = hook.tenant.as_str(),
                domain = delivery.domain.as_ref().map(|domain| domain.as_str()),
                url = &*attempt.url,
                attempt = attempt.number,
                status = attempt.status(),
                error = attempt.fault(),
                latency_ms = milliseconds(attempt.latency),
                $($extra)*
                $message
            )
        };
    }
    match next {
        Next::Delivered => {
            metrics.delivered(total);
            line!(info, "delivered", total_ms = milliseconds(total), sequence = delivery.sequence,);
        }
        Next::Retry { due } => {
            let next_in_ms = (due.0 - clock.unix().0).max(0);
            line!(warn, "attempt failed", next_in_ms,);
        }
        Next::Dead(reason) => {
            metrics.dead(reason.as_str());
            line!(error, "dead letter", reason = reason.as_str(), total_ms = milliseconds(total),);
        }
    }
}

/// Milliseconds with three decimals.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
