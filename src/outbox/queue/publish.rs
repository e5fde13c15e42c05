//! Publishes what was decided: answers requests and operators, and feeds the dispatcher.
//!
//! All of it under the backlog's lock, so that events of a call are handed over in the order they were decided.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::backlog::{Backlog, Batch, Entry};
use super::shared::Queue;
use crate::calls::{self, Change, Fate, Post, Ready, Receipt};
use crate::telemetry::Degradation;

impl Queue {
    /// The first `count` batches are stored: publishes what is not published yet.
    pub(super) fn written(&self, backlog: &mut Backlog, count: usize) {
        let mut ready = Vec::new();
        for batch in backlog.written(count) {
            let Batch { changes, entries, outcomes, bytes, .. } = batch;
            self.room.release(bytes);
            changes.iter().for_each(|change| self.is_written(change));
            for entry in entries {
                ready.extend(entry.ready.iter().cloned().map(|ready| self.within_room(ready)));
                tell(entry, true);
            }
            for (outcome, reply) in outcomes {
                ready.extend(outcome.revived.iter().cloned());
                ready
                    .extend(outcome.released.iter().map(|released| self.within_room(released.ready.clone())));
                // The caller may have stopped waiting; the deliveries are made nevertheless.
                let _ = reply.map(|reply| reply.send(outcome));
            }
        }
        if !ready.is_empty() {
            self.hand_over(ready);
        }
        if backlog.is_empty() {
            self.away.store(false, Ordering::Release);
        }
        if backlog.acknowledged == 0 {
            self.health.clear(Degradation::Store);
        }
    }

    fn is_written(&self, change: &Change) {
        match change {
            Change::EventAdded(event) => drop(self.unwritten.remove(event.id)),
            Change::EventFreed(freed) => drop(self.unwritten.remove(freed.id)),
            _ => {}
        }
    }

    /// Without its body if memory has no room for that: the body is read from the store when the delivery
    /// starts.
    fn within_room(&self, ready: Ready) -> Ready {
        let fresh = ready.fresh.filter(|_| self.fresh.has_room());
        Ready { fresh, ..ready }
    }

    /// Publishes what is decided and not written: all of it, or what belongs to the session of one event. And
    /// says so, since it is in memory only.
    pub(super) fn publish_early(&self, backlog: &mut Backlog, of: Option<&Post>) {
        let mut ready = Vec::new();
        for entry in backlog.take_entries(of) {
            for one in &entry.ready {
                one.fresh.iter().for_each(|delivery| self.unwritten.insert(delivery));
            }
            ready.extend(entry.ready.iter().cloned());
            tell(entry, false);
        }
        if !ready.is_empty() {
            self.hand_over(ready);
        }
        self.say_if_not_durable(backlog);
    }

    /// Acknowledges events that cannot be decided before the store can be read: all of them, or one.
    pub(super) fn acknowledge_undecided(&self, backlog: &mut Backlog, of: Option<&Post>) {
        let is_wanted = |post: &Arc<Post>| of.is_none_or(|wanted| std::ptr::eq(&**post, wanted));
        let mut acknowledged = 0;
        for append in backlog.undecided.iter_mut().filter(|append| is_wanted(&append.post)) {
            if let Some(reply) = append.reply.take() {
                acknowledged += 1;
                // The request may have been cancelled; its event stays queued.
                let _ = reply.send(calls::undecided(&append.post));
            }
        }
        backlog.acknowledged += acknowledged;
        self.say_if_not_durable(backlog);
    }

    fn say_if_not_durable(&self, backlog: &Backlog) {
        if backlog.acknowledged > 0 && self.health.raise(Degradation::Store) {
            tracing::error!(
                events = backlog.acknowledged,
                "the store is too slow or takes nothing: events are acknowledged from memory"
            );
        }
    }

    /// New pauses, as the writer decided them.
    pub(super) fn share_pauses(&self, backlog: &Backlog) {
        self.pauses.store(Arc::new(backlog.known.pauses.clone()));
    }
}

/// Answers the request that brought an event.
fn tell(entry: Entry, durable: bool) {
    let Entry { receipt, reply, .. } = entry;
    let receipt = Receipt { durable, ..receipt };
    match reply {
        // The request may have been cancelled; its event is stored nevertheless.
        Some(reply) => drop(reply.send(receipt)),
        None => log_decision(&receipt),
    }
}

/// Logs the decision of an event that was acknowledged before it could be decided: its request is answered
/// already.
fn log_decision(receipt: &Receipt) {
    let (tenant, rule, reason) = match &receipt.fate {
        Fate::Routed(delivery) => (Some(delivery.hook.tenant.as_str()), Some(delivery.rule.as_str()), None),
        Fate::Unrouted(reason) => (None, None, Some(reason.as_str())),
        Fate::Duplicate => (None, None, Some("duplicate")),
        Fate::Undecided => (None, None, Some("undecided")),
    };
    tracing::info!(
        event_id = receipt.event_id.as_str(),
        event = &*receipt.event,
        call = receipt.call.as_deref(),
        tenant,
        rule,
        reason,
        "decided"
    );
}
