//! What the log and the metrics say of an event that was taken.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::entrance::Ingress;
use crate::domain::Domain;
use crate::outbox::{Fate, Receipt, report_released};
use crate::route::Reason;
use crate::telemetry::{LastHour, Metrics};
use crate::time::UnixMillis;
use crate::wire::LiveKind;

impl Ingress {
    /// Sends each decision to the request that waits for it. A decision without a waiting request is logged and counted here;
    /// with one, the request does that.
    pub async fn answer(self: Arc<Self>, stop: CancellationToken) {
        while let Some(unheard) = stop.run_until_cancelled(self.outbox.answer()).await {
            unheard.iter().for_each(|receipt| self.report(receipt));
        }
    }

    /// The known hosts most like the one dialled. A large table is searched at most once a second.
    fn nearest(&self, receipt: &Receipt) -> Option<Vec<String>> {
        let (domain, table, now) = (receipt.domain.as_ref()?, self.outbox.table(), self.clock.now());
        if table.len() > LARGE_TABLE {
            let mut last = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| now.since(last) < Duration::from_secs(1)) {
                return None;
            }
            *last = Some(now);
        }
        Some(table.nearest(domain)).filter(|nearest| !nearest.is_empty())
    }

    /// One line per event, and its counters.
    pub fn report(&self, receipt: &Receipt) {
        let nearest = match receipt.fate {
            Fate::Unrouted(Reason::NoHook) => self.nearest(receipt),
            _ => None,
        };
        report(&self.metrics, receipt, nearest);
        count(&self.metrics.hour, receipt, self.clock.unix());
        if let Some(change) = &receipt.domain_changed {
            self.metrics.domain_changed();
            // Several tenants may use the same extension, such as 200: without this limit it would fill the
            // log.
            if let Some(suppressed) = self.refusals.admit("domain_changed") {
                let suppressed = (suppressed > 0).then_some(suppressed);
                tracing::warn!(
                    event_id = receipt.post.id.as_str(),
                    call = change.call.as_deref(),
                    number = &*change.number,
                    domain = &*change.domain,
                    tenant = change.tenant.as_deref(),
                    before_domain = &*change.before_domain,
                    before_tenant = change.before_tenant.as_deref(),
                    suppressed,
                    "domain_changed"
                );
            }
        }
    }
}

/// More hosts than this are not searched for every unrouted event.
const LARGE_TABLE: usize = 1000;

fn report(metrics: &Metrics, receipt: &Receipt, nearest: Option<Vec<String>>) {
    // An event that cannot be decided yet is counted when it is.
    if !matches!(receipt.fate, Fate::Undecided) {
        metrics.received(receipt.event(), receipt.lag_ms());
    }
    // Logged only if false, while the store is away.
    let durable = (!receipt.durable).then_some(false);
    macro_rules! line {
        ($level:ident, $message:literal $(, $($extra:tt)*)?) => {
            tracing::$level!(
                event_id = receipt.post.id.as_str(),
                event = receipt.event(),
                room = receipt.room().as_deref(),
                call = receipt.call().as_deref(),
                who = receipt.identity().as_deref(),
                domain = receipt.domain.as_ref().map(|domain| domain.as_str()),
                source = receipt.source,
                $($($extra)*)?
                lag_ms = receipt.lag_ms(),
                durable,
                $message
            )
        };
    }
    report_call(metrics, receipt);
    metrics.live.received(receipt, nearest.as_deref());
    match &receipt.fate {
        Fate::Routed(delivery) => {
            metrics.routed(delivery.rule);
            let (rule, tenant) = (delivery.rule.as_str(), delivery.hook.tenant.as_str());
            line!(info, "received", rule, tenant, sequence = delivery.sequence,);
        }
        // Rooms without a phone call are ordinary: no warning.
        Fate::Unrouted(Reason::Held) => line!(info, "held"),
        Fate::Unrouted(reason @ (Reason::NoCall | Reason::Filtered)) => {
            metrics.unrouted(*reason);
            line!(info, "received", reason = reason.as_str(),);
        }
        Fate::Unrouted(reason) => {
            metrics.unrouted(*reason);
            let value = receipt.value();
            let value = value.as_deref();
            let fix = reason.advice(None, receipt.domain.as_ref().map(Domain::as_str));
            let nearest = nearest.map(tracing::field::debug);
            line!(warn, "unrouted", reason = reason.as_str(), value, nearest, fix,);
        }
        Fate::Duplicate => {
            metrics.duplicate();
            line!(info, "duplicate");
        }
        // It is logged again when it is decided.
        Fate::Undecided => line!(warn, "undecided"),
    }
}

fn count(hour: &LastHour, receipt: &Receipt, now: UnixMillis) {
    match &receipt.fate {
        Fate::Routed(delivery) => hour.received(now, Some(&delivery.hook.tenant)),
        Fate::Unrouted(Reason::Held) => hour.received(now, None),
        Fate::Unrouted(_) => hour.unrouted(now),
        Fate::Duplicate | Fate::Undecided => {}
    }
}

/// What an event did to its call.
fn report_call(metrics: &Metrics, receipt: &Receipt) {
    // What waited for its call goes first, as it came first.
    receipt.released.iter().for_each(|released| report_released(released, metrics, LiveKind::Released));
    if let Some(other) = &receipt.shared_with {
        metrics.shared();
        tracing::warn!(
            call = receipt.call().as_deref(),
            other = &**other,
            "shared call: another tenant's participant joined it; each gets its own participants' events"
        );
    }
}
