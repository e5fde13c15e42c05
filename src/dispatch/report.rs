//! What log and metrics say of an attempt.

use std::sync::Arc;
use std::time::Duration;

use super::lane::Shift;
use crate::delivery::{Attempt, DeadReason, Delivery};
use crate::hooks::Hook;
use crate::ids::{DeliveryId, EventId};
use crate::outbox::{Keeping, KeptBody, Next};
use crate::telemetry::{Metrics, Seldom};
use crate::time::{Clock, Moment, UnixMillis, fine_millis, millis};

/// One line per attempt, and its counters. `next_in`: until it is tried again; none: not before its hook is resumed.
pub fn attempt(
    metrics: &Metrics,
    clock: &Clock,
    delivery: &Delivery,
    attempt: &Attempt,
    next: Next,
    next_in: Option<Duration>,
) {
    let outcome = attempt.fault().unwrap_or(match next {
        Next::Delivered => "delivered",
        Next::Retry { .. } | Next::Dead(_) => "failed",
    });
    metrics.attempted(outcome, attempt.status(), attempt.latency, attempt.number > 1);
    let total = total(delivery, clock);
    metrics.live.attempted(delivery, attempt, next, (next_in, total));
    let hook = &delivery.hook;
    let delivered = matches!(next, Next::Delivered).then_some(total);
    metrics.hour.attempted(clock.unix(), &hook.tenant, delivered);
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
                latency_ms = fine_millis(attempt.latency),
                $($extra)*
                $message
            )
        };
    }
    match next {
        Next::Delivered => {
            metrics.delivered(total);
            line!(info, "delivered", total_ms = fine_millis(total), sequence = delivery.sequence,);
        }
        Next::Retry { .. } => {
            let next_in_ms = next_in.map(millis);
            line!(warn, "attempt failed", next_in_ms,);
        }
        Next::Dead(reason) => {
            metrics.dead(reason.as_str());
            line!(error, "dead letter", reason = reason.as_str(), total_ms = fine_millis(total),);
        }
    }
}

/// A delivery became a dead letter without an attempt. `event_id`: as far as it could be read.
pub fn untried(
    metrics: &Metrics,
    reason: DeadReason,
    (delivery, event_id): (DeliveryId, Option<EventId>),
    hook: Option<&Arc<Hook>>,
) {
    metrics.dead(reason.as_str());
    tracing::error!(
        event_id = event_id.as_ref().map(EventId::as_str),
        tenant = hook.map(|hook| hook.tenant.as_str()),
        host = hook.map(|hook| hook.host.to_string()),
        delivery = delivery.0,
        reason = reason.as_str(),
        why = reason.meaning(),
        "dead letter"
    );
}

/// How long the delivery has taken: since the event was received, or since it was last replayed or sent again. The time
/// for which an event was held counts.
fn total(delivery: &Delivery, clock: &Clock) -> Duration {
    match delivery.came {
        Some(came) => clock.now().since(came),
        None => clock.unix().since(delivery.replayed_at.unwrap_or(delivery.received_at)),
    }
}

/// A hook's breaker has opened or closed with this attempt. `since`: of the first failure. `next_in`: until the next
/// probe.
pub fn breaker(shift: Shift, hook: &Hook, attempt: &Attempt, since: UnixMillis, next_in: Option<Duration>) {
    let (tenant, host, url) = (hook.tenant.as_str(), hook.host.to_string(), &*attempt.url);
    let (status, error, failing_since) = (attempt.status(), attempt.fault(), since.to_string());
    match shift {
        Shift::Probing => tracing::warn!(
            tenant,
            host,
            url,
            status,
            error,
            failing_since,
            next_probe_in_ms = next_in.map(millis),
            "breaker opened: the receiver fails, and one event at a time is tried until it answers"
        ),
        Shift::Recovered => tracing::warn!(
            tenant,
            host,
            url,
            status,
            failing_since,
            "breaker closed: the receiver answers, and everything that waits is due"
        ),
    }
}

/// Says that bodies of delivered events are not kept, at a limited rate.
pub struct Unkept(Seldom);

impl Default for Unkept {
    fn default() -> Self {
        Self(Seldom::new(Duration::from_secs(10)))
    }
}

impl Unkept {
    /// The body that is kept. Counts and logs one that cannot be.
    pub fn report(
        &self,
        keeping: Keeping,
        hook: &Hook,
        metrics: &Metrics,
        now: Moment,
    ) -> Option<Arc<KeptBody>> {
        match keeping {
            Keeping::Nothing => None,
            Keeping::Sealed(body) => Some(body),
            Keeping::NoRoom => {
                metrics.not_kept();
                if let Some(times) = self.0.admit(now) {
                    let (tenant, host) = (hook.tenant.as_str(), hook.host.to_string());
                    tracing::error!(
                        tenant,
                        host,
                        times,
                        "bodies of delivered events are not kept: too many wait for the store"
                    );
                }
                None
            }
        }
    }
}
