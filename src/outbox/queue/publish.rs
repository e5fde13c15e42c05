//! Publishes what was decided: answers requests and operators, and feeds the dispatcher.
//!
//! All of it is handed over under the backlog's lock, so that the events of a call keep the order in which they were
//! decided. Requests are answered by a task of the runtime: the writer's thread would wake the runtime for each request
//! anew, with a system call and mostly a switch of threads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::backlog::{Backlog, Batch, DecidedRequest};
use super::feed::AwaitedReceipt;
use super::shared::Queue;
use crate::calls::{self, Change, Post, Ready, Receipt};
use crate::outbox::engine::StoreFault;
use crate::telemetry::Degradation;

impl Queue {
    /// Waits for decisions, and sends each to the request that waits for it. Returns those without one: their requests were
    /// answered before, or cancelled.
    pub async fn answer(&self) -> Vec<Receipt> {
        let answers = self.answers.next().await;
        let unheard = |AwaitedReceipt { receipt, reply }| match reply {
            Some(reply) => reply.send(receipt).err(),
            None => Some(receipt),
        };
        let unheard = answers.into_iter().filter_map(unheard).collect();
        self.feed.wake();
        unheard
    }

    /// Hands over answers, and deliveries that are to be made.
    fn hand_over(&self, answers: Vec<AwaitedReceipt>, ready: Vec<Ready>) {
        let is_new = !ready.is_empty();
        self.feed.add(ready);
        match answers[..] {
            // The dispatcher is woken behind the answers.
            [_, ..] => self.answers.push(answers),
            [] if is_new => self.feed.wake(),
            [] => {}
        }
    }

    /// The first `count` batches are stored: publishes what is not published yet.
    pub(super) fn written(&self, backlog: &mut Backlog, count: usize) {
        let (mut answers, mut ready) = (Vec::new(), Vec::new());
        for batch in backlog.written(count) {
            let Batch { changes, entries, outcomes, outcomes_handed, bytes, .. } = batch;
            self.room.release(bytes);
            changes.iter().for_each(|change| self.is_written(change));
            for entry in entries {
                ready.extend(entry.decided.ready.iter().cloned().map(|ready| self.within_room(ready)));
                answers.push(answer(entry, true));
            }
            for (outcome, reply) in outcomes {
                ready.extend(outcome.revived.iter().cloned());
                let released = outcome.released.iter().filter(|_| !outcomes_handed);
                ready.extend(released.map(|released| self.within_room(released.ready.clone())));
                // The caller may have stopped waiting; the deliveries are made nevertheless.
                let _ = reply.map(|reply| reply.send(outcome));
            }
        }
        self.hand_over(answers, ready);
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
        let (mut answers, mut ready) = (Vec::new(), backlog.take_released());
        for entry in backlog.take_entries(of) {
            ready.extend(entry.decided.ready.iter().cloned());
            answers.push(answer(entry, false));
        }
        for delivery in ready.iter().filter_map(|ready| ready.fresh.as_ref()) {
            self.unwritten.insert(delivery);
        }
        self.hand_over(answers, ready);
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

/// The decision on an event, with the channel to the request that brought the event.
fn answer(entry: DecidedRequest, durable: bool) -> AwaitedReceipt {
    AwaitedReceipt { receipt: Receipt { durable, ..entry.decided.receipt }, reply: entry.reply }
}
