//! Replays: dead letters are tried again, unrouted events are routed again.

use std::sync::Arc;

use super::ScopedView;
use crate::calls::{AuditRecord, Order, Released, Replay};
use crate::outbox::sqlite::Store;
use crate::outbox::sqlite::views::{self, KeptFilter, ReplayPlan, Reroute};
use crate::outbox::{Outbox, StoreFault};

/// At most this many events are replayed in one transaction.
const PART: usize = 500;

/// At most so many bytes of their bodies, which the writer has to go through, but for one event.
const PART_BYTES: u64 = 1 << 20;

impl ScopedView<'_> {
    /// What sending the delivered events again would do whose bodies are kept and that pass `filter`: at most `limit` at
    /// a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn plan_resend(&self, filter: KeptFilter, limit: usize) -> Result<ReplayPlan, StoreFault> {
        let Outbox { seals, clock, .. } = self.outbox;
        let (table, seals, now) = (self.outbox.table(), Arc::clone(seals), clock.unix());
        let scope = self.scope.clone();
        let planned = move |store: &Store| {
            views::plan_resend(store, &scope, (&table, &seals.bodies), &filter, (limit, now))
        };
        let plan = self.outbox.look("kept bodies", self.scope.tenant(), planned).await?;
        Ok(self.with_pauses(plan))
    }

    /// Adds how long each hook has been paused so far: what is replayed ages from now.
    pub(super) fn with_pauses(&self, mut plan: ReplayPlan) -> ReplayPlan {
        let now = self.outbox.clock.unix();
        for replay in &mut plan.replays {
            replay.paused_before = self.outbox.paused_ms(replay.hook, now);
        }
        plan
    }

    /// Makes what was planned pending again, in order, each part with its record in the audit log. How many.
    ///
    /// # Errors
    /// When the store is away or closed.
    pub async fn replay(&self, plan: ReplayPlan, record: AuditRecord) -> Result<usize, StoreFault> {
        self.outbox.until_taken_over().await?;
        let mut replayed = 0;
        for part in parts(&plan.replays) {
            let order = Order::Revive { replays: part.to_vec(), at: self.outbox.clock.unix() };
            replayed += self.outbox.audited(vec![order], record.clone()).await?.revived.len();
        }
        Ok(replayed)
    }

    /// Sends the unrouted events of these calls through routing again, in order. Gives those that have a
    /// hook now.
    ///
    /// # Errors
    /// When the store is away or closed.
    pub async fn reroute(&self, plan: Reroute, record: AuditRecord) -> Result<Vec<Released>, StoreFault> {
        self.outbox.until_taken_over().await?;
        let (mut released, mut calls) = (Vec::new(), plan.calls.into_iter().peekable());
        while calls.peek().is_some() {
            let (mut sessions, mut events): (Vec<Arc<str>>, usize) = (Vec::new(), 0);
            while let Some((session, count)) =
                calls.next_if(|(_, count)| events == 0 || events + count <= PART)
            {
                events += count.max(1);
                sessions.push(session);
            }
            let order = Order::Reroute { sessions, at: self.outbox.clock.unix() };
            released.extend(self.outbox.audited(vec![order], record.clone()).await?.released);
        }
        self.outbox.counts.change();
        Ok(released)
    }
}

/// What is replayed in one transaction each, in order.
fn parts(replays: &[Replay]) -> impl Iterator<Item = &[Replay]> {
    let mut left = replays;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |replay: &&Replay| {
            bytes += u64::from(replay.bytes);
            bytes <= PART_BYTES
        };
        let count = left.iter().take(PART).take_while(fits).count();
        let (part, rest) = left.split_at_checked(count.max(1))?;
        left = rest;
        Some(part)
    })
}

impl Outbox {
    /// The dispatcher has taken over all that was pending at the start; replays may begin.
    pub fn taken_over(&self) {
        self.taken_over.send_replace(true);
    }

    /// Waits until the dispatcher has read what was pending at the start: a row that becomes pending before
    /// that would be read twice.
    async fn until_taken_over(&self) -> Result<(), StoreFault> {
        let mut taken_over = self.taken_over.subscribe();
        taken_over.wait_for(|taken_over| *taken_over).await.map(drop).map_err(|_| StoreFault::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Shelf;
    use crate::ids::{Chain, DeliveryId, HookId};

    fn replays(sizes: &[u32]) -> Vec<Replay> {
        let replay = |(id, bytes): (i64, &u32)| Replay {
            id: DeliveryId(id),
            from: Shelf::Delivered,
            hook: HookId(1),
            chain: Chain(1),
            sequence: id,
            bytes: *bytes,
            paused_before: 0,
        };
        (1..).zip(sizes).map(replay).collect()
    }

    #[test]
    fn a_part_has_few_events_and_few_bytes() {
        let sizes = |sizes: &[u32]| parts(&replays(sizes)).map(<[_]>::len).collect::<Vec<_>>();
        assert!(sizes(&[]).is_empty());
        assert_eq!(sizes(&[600 << 10, 400 << 10, 100 << 10, 2 << 20, 5, 5]), [2, 1, 1, 2]);
        assert_eq!(sizes(&[9; PART + 1]), [PART, 1]);
    }
}
