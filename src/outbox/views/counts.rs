//! What is unrouted, counted in the background as long as it is too much to be counted for each request.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::background;
use crate::outbox::sqlite;
use crate::outbox::sqlite::views::{Counter, UnroutedCount};
use crate::outbox::{Outbox, StoreFault};

/// Rows of one read transaction: a few milliseconds.
const PART: i64 = 4096;

/// The last count, and who waits for the next one.
#[derive(Default)]
pub struct UnroutedCounts {
    latest: watch::Sender<Option<Arc<UnroutedCount>>>,
    asked: Notify,
    changed: Notify,
}

impl UnroutedCounts {
    /// The last count, if there is one.
    pub(super) fn last(&self) -> Option<Arc<UnroutedCount>> {
        self.latest.borrow().clone()
    }

    /// The last count was asked for: another one follows.
    pub(super) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Waits for the first count.
    pub(super) async fn first(&self) -> Result<Arc<UnroutedCount>, StoreFault> {
        let mut latest = self.latest.subscribe();
        let counted = latest.wait_for(Option::is_some).await.map_err(|_| StoreFault::Closed)?;
        counted.clone().ok_or(StoreFault::Closed)
    }

    /// What is unrouted was replayed.
    pub(super) fn change(&self) {
        self.changed.notify_one();
    }
}

impl Outbox {
    /// Counts what is unrouted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count_unrouted(&self) -> Result<(), StoreFault> {
        let (directory, now) = (self.config.directory.clone(), self.clock.unix());
        let counting = move || {
            sqlite::read(&directory, |store| {
                let mut counter = Counter::default();
                while counter.part(store, PART)? {}
                Ok(counter.finish(now))
            })
        };
        let counted = background::run(counting).await.ok_or(StoreFault::Closed)?;
        let counted = self.looked("unrouted events", counted)?;
        self.counts.latest.send_replace(Some(Arc::new(counted)));
        Ok(())
    }

    /// Waits until somebody has asked for the last count.
    pub async fn unrouted_asked(&self) {
        self.counts.asked.notified().await;
    }

    /// Waits until some of what is unrouted was replayed.
    pub async fn unrouted_changed(&self) {
        self.counts.changed.notified().await;
    }
}
