//! What is decided and not written, what is not decided yet, and what deciding knows.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::inbox::{Append, Inbox};
use super::room;
use crate::calls::{
    Change, Decided, Fate, Ground, Keys, Known, Order, Outcome, Post, Ready, Receipt, decide,
};
use crate::ids::DeliveryId;
use crate::time::Moment;

/// At most this many changes are written in one transaction after the store was away.
const CHANGES: usize = 2000;

/// An order, and who waits for its outcome.
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
    pub entries: Vec<Entry>,
    /// Outcomes of orders, with who waits for them.
    pub outcomes: Vec<(Outcome, Option<oneshot::Sender<Outcome>>)>,
    /// Of what is acknowledged and waits for the store.
    pub acknowledged: usize,
    /// What it takes of the room.
    pub bytes: usize,
    /// No event in it has a higher id, and all in later ones have.
    last_id: DeliveryId,
}

/// A decided event on its way to those who wait for it.
pub struct Entry {
    pub post: Arc<Post>,
    pub receipt: Receipt,
    pub ready: Vec<Ready>,
    /// None: it was acknowledged before it could be decided.
    pub reply: Option<oneshot::Sender<Receipt>>,
}

impl Entry {
    /// Whether its acknowledgement is the first one, of an event that was not known before.
    fn is_new(&self) -> bool {
        self.reply.is_some() && !matches!(self.receipt.fate, Fate::Duplicate)
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
    /// later ones of their calls: a call's events keep their order.
    pub fn decide_what_can_be(&mut self, ground: &Ground<'_>) {
        let known = &self.known;
        let mut behind: HashSet<Arc<str>> = HashSet::new();
        let can_be = |append: &Append| {
            let mut keys = Keys::default();
            keys.blocking(known, ground, &append.post);
            let names = append.post.sid.iter().chain(&append.post.room);
            let stays = keys.blocks() || names.clone().any(|name| behind.contains(name));
            if stays {
                behind.extend(names.cloned());
            }
            !stays
        };
        let undecided = std::mem::take(&mut self.undecided);
        let (appends, left): (Vec<_>, Vec<_>) = undecided.into_iter().partition(can_be);
        self.undecided = left.into();
        self.decide(ground, appends, Vec::new());
    }

    fn decide(&mut self, ground: &Ground<'_>, appends: Vec<Append>, orders: Vec<Asked>) {
        let posts: Vec<_> = appends.iter().map(|append| Arc::clone(&append.post)).collect();
        let (orders, waiting): (Vec<_>, Vec<_>) = orders.into_iter().unzip();
        if posts.is_empty() && orders.is_empty() {
            return;
        }
        let Decided { changes, receipts, outcomes } = decide(&posts, &orders, &mut self.known, *ground);
        let acknowledged = appends.iter().filter(|append| append.reply.is_none()).count();
        let bytes = posts.iter().map(|post| room::size(post)).sum();
        let entries = appends.into_iter().zip(receipts);
        let entries = entries.map(|(append, (receipt, ready))| Entry {
            post: append.post,
            receipt,
            ready,
            reply: append.reply,
        });
        self.batches.push_back(Batch {
            number: self.next,
            changes: Arc::new(changes),
            entries: entries.collect(),
            outcomes: outcomes.into_iter().zip(waiting).collect(),
            acknowledged,
            bytes,
            last_id: self.known.last_id(),
        });
        self.next += 1;
    }

    /// Whether all is decided and written.
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
    pub fn take_entries(&mut self, of: Option<&Post>) -> Vec<Entry> {
        let known = &self.known;
        let session = of.and_then(|post| known.session_of(post));
        let is_wanted = |entry: &Entry| {
            of.is_none_or(|post| std::ptr::eq(&*entry.post, post))
                || (session.is_some() && known.session_of(&entry.post) == session)
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

    /// Drops the body of an event that is delivered and not written; the bytes it took.
    pub fn drop_body(&mut self, id: DeliveryId) -> usize {
        let at = self.batches.partition_point(|batch| batch.last_id < id);
        // Changes that are being written are shared, and stay as they are.
        let Some(batch) = self.batches.get_mut(at) else { return 0 };
        let changes = Arc::get_mut(&mut batch.changes).map_or(&mut [][..], Vec::as_mut_slice);
        let added = changes.iter_mut().find_map(|change| match change {
            Change::EventAdded(event) if event.id == id => Some(event),
            _ => None,
        });
        let Some(event) = added else { return 0 };
        let bytes = event.post.body.len();
        event.post = Arc::new(event.post.without_body());
        batch.bytes = batch.bytes.saturating_sub(bytes);
        bytes
    }
}
