//! What the dispatcher is to deliver, in the order of arrival.

use std::sync::Mutex;

use tokio::sync::Notify;

use super::lock::lock;
use crate::calls::Ready;

/// The queue to the dispatcher. An entry is small: bodies are bounded by [`crate::delivery::Fresh`], or by
/// [`super::room::Room`] while they are not written.
#[derive(Default)]
pub struct Feed {
    ready: Mutex<Vec<Ready>>,
    wake: Notify,
}

impl Feed {
    pub fn push(&self, ready: impl IntoIterator<Item = Ready>) {
        lock(&self.ready).extend(ready);
        self.wake.notify_one();
    }

    /// Waits for deliveries and takes all there are.
    pub async fn next(&self) -> Vec<Ready> {
        loop {
            let ready = std::mem::take(&mut *lock(&self.ready));
            if !ready.is_empty() {
                return ready;
            }
            self.wake.notified().await;
        }
    }
}
