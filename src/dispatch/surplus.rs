//! Deliveries that are taken out of their lanes without an attempt: those that their tenant has no room for, and those
//! that are erased.

use super::Dispatch;
use crate::delivery::DeadReason;
use crate::hooks::HookTable;
use crate::ids::{DeliveryId, HookId};
use crate::outbox::GivenUp;
use crate::time::Moment;

/// At most this many deliveries are taken out at one go: after a limit was lowered, or with an erasure, it may be a
/// million, and other tenants' deliveries would wait until all are gone.
const EVICTED: usize = 64;

impl Dispatch {
    /// Whether there are deliveries that are to be taken out of their lanes.
    pub(super) fn has_surplus(&self) -> bool {
        !self.overfull.is_empty() || !self.erased.is_empty()
    }

    /// Forgets some of what is erased.
    fn forget(&mut self) {
        let now = self.clock.now();
        for _ in 0..EVICTED {
            let Some((hook, up_to)) = self.erased.last().copied() else { return };
            if !self.lanes.forget_oldest(hook, up_to, now) {
                self.erased.pop();
            }
        }
    }

    /// Gives up some of what one of the tenants has no room for that have too much.
    pub(super) fn trim(&mut self) {
        self.forget();
        let Some(hook) = self.overfull.pop() else { return };
        if !self.evict(hook, self.clock.now(), &self.outbox.table()) {
            self.overfull.push(hook);
        }
    }

    /// Gives up some of what a hook's tenant has no room for; whether that was all.
    pub(super) fn evict(&mut self, hook: HookId, now: Moment, table: &HookTable) -> bool {
        for _ in 0..EVICTED {
            let Some((delivery, times)) = self.lanes.evict(hook, now) else { return true };
            self.give_up(hook, delivery, times, table);
        }
        false
    }

    /// Makes a delivery that its tenant has no room for a dead letter.
    fn give_up(&self, hook: HookId, delivery: DeliveryId, times: Option<u64>, table: &HookTable) {
        let (reason, at) = (DeadReason::LaneFull, self.clock.unix());
        self.outbox.give_up(GivenUp { delivery, reason, at });
        self.metrics.dead(reason.as_str());
        if let Some(times) = times {
            let tenant = table.by_id(hook).map(|hook| hook.tenant.as_str());
            tracing::error!(
                tenant,
                times,
                "more waits for a tenant than limits.pending or limits.pending_bytes permits: its oldest deliveries \
                 become dead letters (lane_full)"
            );
        }
    }
}
