//! How a request waits for its event to be stored, and is answered even if the store is not there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::backlog::Backlog;
use super::inbox::Append;
use super::room;
use super::shared::Queue;
use crate::calls::{Keys, Loaded, Post, Receipt};
use crate::outbox::engine::StoreFault;
use crate::telemetry::Degradation;

/// What deciding needs is read without the writer within this time, or the event waits undecided.
const READ_WITHIN: Duration = Duration::from_millis(80);

/// So many events are read for at once.
const PART: usize = 512;

/// Neither the store nor the memory queue has room: LiveKit is to try again.
#[derive(Debug, thiserror::Error)]
#[error("neither the store nor memory has room")]
pub struct Full;

impl Queue {
    /// Decides and stores an event; returns once it is durable, or in memory if the store does not take it in
    /// time. `read`: loads from the store without the writer.
    ///
    /// # Errors
    /// [`Full`] when there is room nowhere.
    pub async fn append<R, F>(&self, post: Post, read: R) -> Result<Receipt, Full>
    where
        R: Fn(Keys) -> F,
        F: Future<Output = Result<Loaded, StoreFault>>,
    {
        let bytes = room::size(&post);
        if self.health.is_on(Degradation::Full) || !self.room.admit(bytes) {
            return Err(Full);
        }
        let (reply, mut answer) = oneshot::channel();
        let post = Arc::new(post);
        if !self.inbox.append(Append { post: Arc::clone(&post), reply: Some(reply) }) {
            self.room.release(bytes);
            return Err(Full);
        }
        let began = self.clock.now();
        // In memory mode no request waits for the store: LiveKit sends a room's next event only after this
        // answer.
        let patience = self.waits.left(&post, began).min(self.patience);
        if !self.is_away() && !patience.is_zero() {
            let waited = self.clock.timeout(patience, &mut answer).await;
            let now = self.clock.now();
            self.waits.note(&post, now.since(began), now);
            if let Ok(receipt) = waited {
                return receipt.map_err(|_| Full);
            }
        }
        // One request decides for all that wait: the others are answered then, or find nothing left to decide.
        tokio::select! {
            biased;
            receipt = &mut answer => return receipt.map_err(|_| Full),
            turn = self.turn.lock() => {
                if let Ok(receipt) = answer.try_recv() {
                    return Ok(receipt);
                }
                self.hurry(&post, read).await;
                drop(turn);
            }
        }
        // If the writer has ended, the channel has, too: the request is refused.
        answer.await.map_err(|_| Full)
    }

    /// Answers a request whose time is up: its event is decided from memory, after all that came before.
    async fn hurry<R, F>(&self, post: &Post, read: R)
    where
        R: Fn(Keys) -> F,
        F: Future<Output = Result<Loaded, StoreFault>>,
    {
        let decided = self.clock.timeout(READ_WITHIN, self.read_and_decide(post, read)).await;
        if !matches!(decided, Ok(Ok(()))) {
            // What cannot be read in time waits undecided.
            let mut backlog = self.backlog();
            self.decide_early(&mut backlog, post);
            let of = (!self.is_away()).then_some(post);
            self.acknowledge_undecided(&mut backlog, of);
        }
        // The writer may sleep: what is decided here is not in its inbox.
        self.inbox.nudge();
    }

    /// Decides what can be decided, and publishes it: all of it, or while the store is there what belongs to the
    /// session of `post`.
    fn decide_early(&self, backlog: &mut Backlog, post: &Post) {
        // Under the lock: a table that came into force while the store was read counts.
        let table = self.table.load_full();
        backlog.decide_what_can_be(&self.ground(&table));
        let of = (!self.is_away()).then_some(post);
        self.publish_early(backlog, of);
    }

    /// Reads what is missing to decide all that wait, a part at a time, and decides them.
    async fn read_and_decide<R, F>(&self, post: &Post, read: R) -> Result<(), StoreFault>
    where
        R: Fn(Keys) -> F,
        F: Future<Output = Result<Loaded, StoreFault>>,
    {
        loop {
            let (keys, commits) = {
                let mut backlog = self.backlog();
                backlog.take(&self.inbox, usize::MAX);
                if backlog.is_silent(self.clock.now(), self.patience) {
                    self.open_memory_mode(&mut backlog);
                }
                let table = self.table.load_full();
                let keys = backlog.missing(&self.ground(&table), [], PART);
                if keys.is_empty() {
                    self.decide_early(&mut backlog, post);
                    if backlog.undecided.is_empty() {
                        return Ok(());
                    }
                    continue;
                }
                (keys, backlog.commits)
            };
            let loaded = read(keys).await?;
            self.health.damaged(&loaded.damaged);
            let mut backlog = self.backlog();
            // What was read before a commit may miss what that commit took out of memory.
            if backlog.commits == commits {
                backlog.known.learn(loaded);
            }
        }
    }

    /// From here on no request waits for the store, until all is written.
    pub(super) fn open_memory_mode(&self, backlog: &mut Backlog) {
        self.away.store(true, Ordering::Release);
        // Edits and replays are refused until the store is back.
        self.inbox.refuse_requests();
        self.publish_early(backlog, None);
    }
}
