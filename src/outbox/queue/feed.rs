//! What the queue hands to one receiver, in order: deliveries to the dispatcher, decisions to the task that answers.

use std::sync::Mutex;

use tokio::sync::{Notify, oneshot};

use super::lock::lock;
use crate::calls::Receipt;

/// A decision, and the channel to the request that waits for it; none if it was answered before.
pub struct AwaitedReceipt {
    pub receipt: Receipt,
    pub reply: Option<oneshot::Sender<Receipt>>,
}

/// A queue to one receiver. Its entries are small: bodies are bounded by [`crate::delivery::Fresh`], or by the room
/// for what is not written.
pub struct Feed<T> {
    waiting: Mutex<Vec<T>>,
    wake: Notify,
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new() }
    }
}

impl<T> Feed<T> {
    /// Adds entries, and wakes the receiver.
    pub fn push(&self, new: impl IntoIterator<Item = T>) {
        self.add(new);
        self.wake();
    }

    /// Adds entries: the receiver finds them when it is woken, or looks.
    pub fn add(&self, new: impl IntoIterator<Item = T>) {
        lock(&self.waiting).extend(new);
    }

    /// Wakes the receiver. Done by a thread that is not the runtime's, this is a system call, and mostly a switch to the
    /// runtime's thread.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// All there are.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *lock(&self.waiting))
    }

    /// Waits for entries and takes all there are.
    pub async fn next(&self) -> Vec<T> {
        loop {
            let waiting = self.take();
            if !waiting.is_empty() {
                return waiting;
            }
            self.wake.notified().await;
        }
    }
}
