//! Publishes what was decided: answers requests and operators, and feeds the dispatcher.
//!
//! All of it under the backlog's lock, so that events of a call are handed over in the order they were decided.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::backlog::{Backlog, Batch, DecidedRequest};
use super::shared::Queue;
use crate::calls::{self, Change, Post, Ready, Receipt};
use crate::outbox::engine::StoreFault;
use crate::telemetry::Degradation;

impl Queue {
    /// The first `count` batches are stored: publishes what is not published yet.
    pub(super) fn written(&self, backlog: &mut Backlog, count: usize) {
        let mut ready = Vec::new();
        for batch in backlog.written(count) {
            let Batch { changes, entries, outcomes, outcomes_handed, bytes, .. } = batch;
            self.room.release(bytes);
            changes.iter().for_each(|change| self.is_written(change));
            for entry in entries {
                ready.extend(entry.decided.ready.iter().cloned().map(|ready| self.within_room(ready)));
                self.reply(entry, true);
            }
            for (outcome, reply) in outcomes {
                ready.extend(outcome.revived.iter().cloned());
                let released = outcome.released.iter().filter(|_| !outcomes_handed);
                ready.extend(released.map(|released| self.within_room(released.ready.clone())));
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
        let mut ready = backlog.take_released();
        for entry in backlog.take_entries(of) {
            ready.extend(entry.decided.ready.iter().cloned());
            self.reply(entry, false);
        }
        for delivery in ready.iter().filter_map(|ready| ready.fresh.as_ref()) {
            self.unwritten.insert(delivery);
        }
        if !ready.is_empty() {
            self.hand_over(ready);
        }
        self.say_if_not_durable(backlog);
    }

    /// Answers the request that brought an event. If it is answered already, or was cancelled, the decision is
    /// reported without it.
    fn reply(&self, entry: DecidedRequest, durable: bool) {
        let receipt = Receipt { durable, ..entry.decided.receipt };
        let unheard = match entry.reply {
            Some(reply) => reply.send(receipt).err(),
            None => Some(receipt),
        };
        if unheard.is_some() {
            self.late.push(unheard);
        }
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

    /// Says why the store does not take events, if that was not so before.
    pub(super) fn store_fails(&self, error: &StoreFault) {
        self.health.raise(Degradation::Store);
        let Some(kind) = error.kind() else { return };
        if self.health.store_fails(kind) {
            let (fault, fix, database) = (kind.as_str(), kind.fix(), self.database.display());
            tracing::error!(%database, fault, %error, fix, "the store does not take events: they are acknowledged from memory");
        }
    }

    fn say_if_not_durable(&self, backlog: &Backlog) {
        if backlog.acknowledged > 0 && !self.health.is_on(Degradation::Store) {
            self.store_fails(&StoreFault::Slow);
        }
    }

    /// New pauses, as the writer decided them.
    pub(super) fn share_pauses(&self, backlog: &Backlog) {
        self.pauses.store(Arc::new(backlog.known.pauses.clone()));
    }
}
