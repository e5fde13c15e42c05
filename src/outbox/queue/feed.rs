//! What the queue hands to one receiver, in order: deliveries to the dispatcher, decisions to their reporter.

use std::sync::Mutex;

use tokio::sync::Notify;

use super::lock::lock;

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
    pub fn push(&self, new: impl IntoIterator<Item = T>) {
        lock(&self.waiting).extend(new);
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
