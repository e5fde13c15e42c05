//! What the writer tells the dispatcher, in the order of arrival.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::inbox::lock;
use crate::delivery::Delivery;
use crate::ids::{Chain, DeliveryId, HookId};
use crate::time::UnixMillis;

/// A delivery that is to be made.
#[derive(Clone, Debug)]
pub struct Ready {
    pub id: DeliveryId,
    pub hook: HookId,
    pub chain: Chain,
    /// When it is due again, if it has failed before.
    pub due: Option<UnixMillis>,
    /// The whole of it, if it is still in memory; else it is loaded when its turn comes.
    pub fresh: Option<Arc<Delivery>>,
}

/// News for the dispatcher.
#[derive(Debug)]
pub enum News {
    /// A new delivery.
    Ready(Ready),
    /// A delivery that lived in memory only is now in the store; its body need not be kept.
    Written { id: DeliveryId, row: DeliveryId, hook: HookId, chain: Chain },
}

/// The queue to the dispatcher. What it holds is small (bodies are bounded by [`crate::delivery::Fresh`]) and
/// durable anyway.
#[derive(Default)]
pub struct Feed {
    news: Mutex<Vec<News>>,
    wake: Notify,
}

impl Feed {
    pub fn push(&self, news: impl IntoIterator<Item = News>) {
        lock(&self.news).extend(news);
        self.wake.notify_one();
    }

    /// Waits for news and takes all there is.
    pub async fn next(&self) -> Vec<News> {
        loop {
            let news = std::mem::take(&mut *lock(&self.news));
            if !news.is_empty() {
                return news;
            }
            self.wake.notified().await;
        }
    }
}
