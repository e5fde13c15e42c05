//! What is done in the background: held events end their wait, old rows go, young ones are digested, history of an older
//! release is copied, tenants' data is erased.

mod erasure;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::sqlite::{self, HistoryPlan};
use super::{Outbox, StoreFault};
use crate::background;
use crate::calls::Order;
use crate::telemetry::Degradation;
use crate::time::{UnixMillis, millis};

/// Between two parts of history: a part delays the events of its transaction by a millisecond or two, and few
/// events are to meet one. A million events are copied in about half an hour.
const HISTORY_PAUSE: Duration = Duration::from_millis(75);

/// Between two parts that are digested, or two rounds of calls' numbers: an event that waits for the commit of one is not to
/// meet the next one, too.
const PAUSE: Duration = Duration::from_millis(5);

/// Rounds of calls' numbers behind one plan of a sweep, at most: what gets past its time meanwhile waits for the next plan.
const NUMBER_ROUNDS: usize = 100;

impl Outbox {
    /// Ends the wait of events that were held for the whole of `hold`; how many. Returns once it is stored: the
    /// same events are never counted twice.
    ///
    /// # Errors
    /// When the store cannot be read, or is closed.
    pub async fn expire_held(&self) -> Result<usize, StoreFault> {
        const ROUND: usize = 2000;
        let before = UnixMillis(self.clock.unix().0.saturating_sub(millis(self.config.hold)));
        let overdue = self.ask("held events", move |store| sqlite::overdue(store, before, ROUND)).await?;
        let count = overdue.len();
        if count > 0 {
            self.order(Order::EndHold(overdue)).await?;
        }
        Ok(count)
    }

    /// Removes what is past its time; true if there is likely more. Returns once it is done.
    ///
    /// # Errors
    /// When the store cannot be read, or is closed.
    pub async fn sweep(&self) -> Result<bool, StoreFault> {
        let (retention, now) = (self.config.retention, self.clock.unix());
        let walked = || self.walked.lock().unwrap_or_else(PoisonError::into_inner);
        let from = walked().clone();
        let mut plan = self
            .ask("what is past its time", move |store| sqlite::plan_sweep(store, &retention, now, from))
            .await?;
        *walked() = plan.walked.clone();
        let (kept, letters) = self.plan_kept(retention, now).await?;
        plan.kept.extend(kept);
        plan.events.extend(letters);
        let mut more = plan.is_full();
        if !plan.exhausted {
            self.queue.health.clear(Degradation::Full);
        } else if self.queue.health.raise(Degradation::Full) {
            tracing::error!(
                "the store is at its limit and all of it is pending: events are refused with 503"
            );
        }
        if !plan.is_empty() {
            let mut has_numbers = false;
            for part in plan.parts() {
                has_numbers = self.order(Order::Sweep(Arc::new(part))).await?.has_more;
            }
            // Each of these orders stores some of the calls' last numbers. Another plan only for those that are left would
            // read through many rows again. A full plan is followed by another one, which is not to wait for them.
            let mut rounds = if more { 0 } else { NUMBER_ROUNDS };
            while has_numbers && rounds > 0 {
                self.clock.sleep(PAUSE).await;
                has_numbers = self.order(Order::Sweep(Arc::default())).await?.has_more;
                rounds -= 1;
            }
            more |= has_numbers;
        }
        Ok(more)
    }

    /// Stores what is derived from many events at once: see [`crate::calls::DigestPart`]. Whether there may be more.
    ///
    /// # Errors
    /// When the store cannot be read, or is closed.
    pub async fn digest(&self) -> Result<bool, StoreFault> {
        let now = self.clock.unix();
        let plan = self.ask("usage", move |store| sqlite::plan_digest(store, now)).await?;
        for part in plan.parts {
            self.order(Order::Digest(part)).await?;
            if !plan.is_behind {
                self.clock.sleep(PAUSE).await;
            }
        }
        Ok(plan.is_behind)
    }

    /// Copies some of the history of the database that an older release left; whether there may be more. Between
    /// two parts it rests, so that few events wait for it.
    ///
    /// # Errors
    /// When the store is away or closed, or the old database cannot be read.
    pub async fn copy_history(&self) -> Result<bool, StoreFault> {
        let (directory, now) = (self.config.directory.clone(), self.clock.unix());
        let planning = move || sqlite::plan_history(&directory, now);
        let planned = background::run(planning).await.ok_or(StoreFault::Closed)??;
        let Some(HistoryPlan { parts, backup, bytes }) = planned else { return Ok(false) };
        // An erasure waits for all of the history: then the copying rests only as long as it works.
        let is_awaited = self.ask("erasures", sqlite::erasure::next).await?.is_some();
        let pause = if is_awaited { Duration::ZERO } else { HISTORY_PAUSE };
        for part in parts {
            let began = self.clock.now();
            self.request(Order::CopyHistory(part)).await?;
            if part.is_last {
                let backup = backup.display();
                tracing::info!(
                    %backup,
                    bytes,
                    "the history of the older release is copied: the backup may be deleted"
                );
                return Ok(false);
            }
            let busy = self.clock.now().since(began);
            self.clock.sleep(busy.max(pause)).await;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::take_over_tests::{append_all, caller, close, open, sweep};
    use crate::time::Clock;

    #[tokio::test]
    async fn one_sweep_stores_the_numbers_of_all_calls() {
        const CALLS: i64 = 300;
        let (directory, clock) = (tempfile::tempdir().expect("a folder"), Clock::manual(UnixMillis(1 << 40)));
        let outbox = open(directory.path(), &clock);
        append_all(&outbox, &clock, 0..CALLS as usize, caller).await;
        clock.advance(Duration::from_secs(60));
        let has_more = sweep(&outbox, &clock).await;
        close(outbox).await;
        let store = rusqlite::Connection::open(directory.path().join("switchhook.db")).expect("a store");
        let stored = "SELECT (SELECT count(*) FROM chains), numbered FROM progress";
        let stored: (i64, i64) =
            store.query_row(stored, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("numbers");
        assert_eq!((stored, has_more), ((CALLS, CALLS), false));
    }
}
