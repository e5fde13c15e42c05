//! What is decided and not written, what is not decided yet, and what deciding knows.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::inbox::{Append, Inbox};
use super::room;
use crate::calls::{
    Change, Decided, DecidedPost, Fate, Ground, Keys, Known, Order, Outcome, Post, Ready, Receipt,
    Settlement, decide,
};
use crate::ids::DeliveryId;
use crate::time::Moment;

/// At most this many changes are written in one transaction after the store was away.
const CHANGES: usize = 2000;

/// An order, and the channel for its outcome.
pub type Asked = (Order, Option<oneshot::Sender<Outcome>>);

/// All that is between the inbox and the store.
pub struct Backlog {
    pub known: Known,
    /// Events in order of arrival that are not decided.
    pub undecided: VecDeque<Append>,
    batches: VecDeque<Batch>,
    /// The number of the next batch.
    next: u64,
    /// Batches below this number have no entry that waits to be published.
    published: u64,
    /// When the IO under way began.
    busy_since: Option<Moment>,
    /// Rises with each commit: what was loaded before it may be out of date.
    pub commits: u64,
    /// Acknowledged events that are not stored.
    pub acknowledged: usize,
}

/// What was decided at once, and is written at once.
pub struct Batch {
    number: u64,
    pub changes: Arc<Vec<Change>>,
    /// Events that are not published.
    pub entries: Vec<DecidedRequest>,
    /// Outcomes of orders, each with its channel.
    pub outcomes: Vec<(Outcome, Option<oneshot::Sender<Outcome>>)>,
    /// What they released is in the dispatcher's hands.
    pub outcomes_handed: bool,
    /// Of what is acknowledged and waits for the store.
    pub acknowledged: usize,
    /// The bytes it takes of [`super::room::MemoryRoom`].
    pub bytes: usize,
    /// The highest id of its events; all later batches have higher ones.
    last_id: DeliveryId,
}

/// A decided event that its request and the dispatcher wait for.
pub struct DecidedRequest {
    post: Arc<Post>,
    pub decided: DecidedPost,
    /// None: it was acknowledged before it could be decided.
    pub reply: Option<oneshot::Sender<Receipt>>,
}

impl DecidedRequest {
    /// Whether its acknowledgement is the first one, of an event that was not known before.
    fn is_new(&self) -> bool {
        self.reply.is_some() && !matches!(self.decided.receipt.fate, Fate::Duplicate)
    }
}

/// Whether an entry keeps its order with `post`, whose session is this one.
fn is_same_call(entry: &DecidedRequest, post: &Post, session: Option<&Arc<str>>) -> bool {
    match session {
        Some(session) => entry.decided.session.as_ref() == Some(session),
        // Known by its room's name alone.
        None => entry.decided.session.is_none() && post.room.is_some() && entry.post.room == post.room,
    }
}

impl Backlog {
    pub fn new(known: Known) -> Self {
        Self {
            known,
            undecided: VecDeque::new(),
            batches: VecDeque::new(),
            next: 0,
            published: 0,
            busy_since: None,
            commits: 0,
            acknowledged: 0,
        }
    }

    /// Takes new events from the inbox, behind those that are not decided.
    pub fn take(&mut self, inbox: &Inbox, limit: usize) {
        let free = limit.saturating_sub(self.undecided.len());
        self.undecided.extend(inbox.take_appends(free));
    }

    /// What must be loaded to decide the first `limit` events and these orders.
    pub fn missing<'o>(
        &self,
        ground: &Ground<'_>,
        orders: impl IntoIterator<Item = &'o Order>,
        limit: usize,
    ) -> Keys {
        let mut keys = Keys::default();
        for append in self.undecided.iter().take(limit) {
            keys.of_post(&self.known, ground, &append.post);
        }
        orders.into_iter().for_each(|order| keys.of_order(&self.known, ground, order));
        keys.deduplicated()
    }

    /// Decides the first `limit` events, for which nothing is missing, and these orders.
    pub fn decide_first(&mut self, ground: &Ground<'_>, orders: Vec<Asked>, limit: usize) {
        let count = self.undecided.len().min(limit);
        let appends = self.undecided.drain(..count).collect();
        self.decide(ground, appends, orders);
    }

    /// Decides all events that can be. Those for which something is missing stay, in order, and with them all
    /// later ones of their room.
    pub fn decide_what_can_be(&mut self, ground: &Ground<'_>) {
        let (known, mut blocked) = (&self.known, HashSet::new());
        let mut can_be = |append: &Append| {
            let post = &append.post;
            let names = || [&post.sid, &post.room].into_iter().flatten();
            let mut keys = Keys::default();
            keys.blocking(known, ground, post);
            let is_blocked = keys.blocks() || names().any(|name| blocked.contains(name));
            if is_blocked {
                blocked.extend(names().cloned());
            }
            !is_blocked
        };
        let undecided = std::mem::take(&mut self.undecided);
        let (appends, left): (Vec<_>, Vec<_>) = undecided.into_iter().partition(|append| can_be(append));
        self.undecided = left.into();
        self.decide(ground, appends, Vec::new());
    }

    fn decide(&mut self, ground: &Ground<'_>, appends: Vec<Append>, orders: Vec<Asked>) {
        let posts: Vec<_> = appends.iter().map(|append| Arc::clone(&append.post)).collect();
        let (orders, waiting): (Vec<_>, Vec<_>) = orders.into_iter().unzip();
        if posts.is_empty() && orders.is_empty() {
            return;
        }
        let Decided { changes, posts: decided, outcomes } = decide(&posts, &orders, &mut self.known, *ground);
        let acknowledged = appends.iter().filter(|append| append.reply.is_none()).count();
        let bytes = posts.iter().map(|post| room::size(post)).sum();
        let entries = appends.into_iter().zip(decided);
        let entries = entries.map(|(append, decided)| DecidedRequest {
            post: append.post,
            decided,
            reply: append.reply,
        });
        self.batches.push_back(Batch {
            number: self.next,
            changes: Arc::new(changes),
            entries: entries.collect(),
            outcomes: outcomes.into_iter().zip(waiting).collect(),
            outcomes_handed: false,
            acknowledged,
            bytes,
            last_id: self.known.last_id(),
        });
        self.next += 1;
    }

    /// Changes whenever an event is taken or decided, or a batch is written.
    pub fn state(&self) -> (usize, u64, u64) {
        (self.undecided.len(), self.next, self.commits)
    }

    /// Whether the writer has something to do.
    pub fn has_work(&self) -> bool {
        !self.undecided.is_empty() || !self.batches.is_empty()
    }

    /// Whether something would be lost if nothing were written any more. Changes of hooks would not: the next start makes
    /// them again.
    pub fn would_lose(&self) -> bool {
        let is_lost = |change: &Change| !matches!(change, Change::Hook(_));
        !self.undecided.is_empty() || self.batches.iter().any(|batch| batch.changes.iter().any(is_lost))
    }

    /// Whether all that is decided is written.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// IO begins, after which the lock is released.
    pub fn begin_io(&mut self, now: Moment) {
        self.busy_since = Some(now);
    }

    pub fn end_io(&mut self) {
        self.busy_since = None;
    }

    /// Whether the store has been silent for `patience`.
    pub fn is_silent(&self, now: Moment, patience: Duration) -> bool {
        self.busy_since.is_some_and(|since| now.since(since) >= patience)
    }

    /// The changes to write next; none when all are written.
    pub fn to_write(&self) -> Vec<Arc<Vec<Change>>> {
        let mut count = 0;
        let fits = |batch: &&Batch| {
            let is_first = count == 0;
            count += batch.changes.len().max(1);
            is_first || count <= CHANGES
        };
        self.batches.iter().take_while(fits).map(|batch| Arc::clone(&batch.changes)).collect()
    }

    /// The first `count` batches are stored.
    pub fn written(&mut self, count: usize) -> Vec<Batch> {
        self.commits += 1;
        // What was loaded before this commit may miss what it takes out of memory.
        self.known.end_batch();
        let written: Vec<_> = self.batches.drain(..count.min(self.batches.len())).collect();
        for batch in &written {
            self.known.written(&batch.changes);
            self.acknowledged = self.acknowledged.saturating_sub(batch.acknowledged);
        }
        written
    }

    /// Takes entries that are not published: all, or those of one session; with their batch's number.
    pub fn take_entries(&mut self, of: Option<&Post>) -> Vec<DecidedRequest> {
        let entry_of = |batch: &Batch, post: &Post| {
            let entry = batch.entries.iter().find(|entry| std::ptr::eq(&*entry.post, post));
            entry.map(|entry| entry.decided.session.clone())
        };
        let session = of.and_then(|post| self.batches.iter().rev().find_map(|batch| entry_of(batch, post)));
        let session = session.flatten();
        let is_wanted = |entry: &DecidedRequest| {
            of.is_none_or(|post| {
                std::ptr::eq(&*entry.post, post) || is_same_call(entry, post, session.as_ref())
            })
        };
        let (mut taken, published) = (Vec::new(), self.published);
        for batch in self.batches.iter_mut().skip_while(|batch| batch.number < published) {
            let entries = std::mem::take(&mut batch.entries);
            let (wanted, kept): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_wanted);
            batch.entries = kept;
            let new = wanted.iter().filter(|entry| entry.is_new()).count();
            batch.acknowledged += new;
            self.acknowledged += new;
            taken.extend(wanted);
        }
        if of.is_none() {
            self.published = self.next;
        }
        taken
    }

    /// Nothing will be written any more: all who wait are told by the end of their channel.
    pub fn end(&mut self) {
        self.undecided.clear();
        self.batches.clear();
    }

    /// What orders have released and is not handed over: before anything newer of the same calls is published.
    pub fn take_released(&mut self) -> Vec<Ready> {
        let waiting = self.batches.iter_mut().filter(|batch| !batch.outcomes_handed);
        let released = waiting.flat_map(|batch| {
            batch.outcomes_handed = true;
            batch.outcomes.iter().flat_map(|(outcome, _)| &outcome.released)
        });
        released.map(|released| released.ready.clone()).collect()
    }

    /// Adds to an event that is not written that it is delivered, and drops its body: the bytes that took. None if
    /// it is being written, or is.
    pub fn settle(&mut self, settlement: &Settlement) -> Option<usize> {
        let id = settlement.delivery;
        let at = self.batches.partition_point(|batch| batch.last_id < id);
        let batch = self.batches.get_mut(at)?;
        // Changes that are being written are shared, and stay as they are.
        let changes = Arc::get_mut(&mut batch.changes)?;
        let event = changes.iter_mut().find_map(|change| match change {
            Change::EventAdded(event) if event.id == id => Some(event),
            _ => None,
        })?;
        let bytes = event.post.body.len();
        event.post = Arc::new(event.post.without_body());
        changes.push(Change::Attempted(settlement.clone()));
        batch.bytes = batch.bytes.saturating_sub(bytes);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many batches of so many changes are written in one transaction.
    fn together<const N: usize>(sizes: [usize; N]) -> usize {
        let mut backlog = Backlog::new(Known::default());
        let batch = |size| Batch {
            number: 0,
            changes: Arc::new(vec![Change::HoldEnded(Vec::new()); size]),
            entries: Vec::new(),
            outcomes: Vec::new(),
            outcomes_handed: false,
            acknowledged: 0,
            bytes: 0,
            last_id: DeliveryId(0),
        };
        backlog.batches.extend(sizes.map(batch));
        backlog.to_write().len()
    }

    #[test]
    fn so_many_changes_are_written_in_one_transaction_and_one_batch_always_is() {
        assert_eq!(together([CHANGES - 1, 1, 1]), 2);
        assert_eq!(together([CHANGES - 1, 2]), 1);
        assert_eq!(together([CHANGES + 1, 1]), 1);
    }
}
