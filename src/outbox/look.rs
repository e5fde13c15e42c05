//! What the API asks the store.

use std::sync::Arc;

use super::sqlite::views::{
    self, CallFilter, CallStory, EventStory, GroupStory, LetterFilter, ReplayPlan, Reroute, Timeline,
    UnroutedFilter,
};
use super::sqlite::{self, Store};
use super::{Outbox, StoreFault};
use crate::background;
use crate::calls::{DomainChange, Ground};
use crate::delivery::Fresh;
use crate::ids::HookId;
use crate::time::UnixMillis;

impl Outbox {
    /// All that is known of an event.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn story(&self, id: String) -> Result<Option<EventStory>, StoreFault> {
        self.reader.call(move |store| views::story(store, &id)).await
    }

    /// When the oldest pending delivery of each of these hooks came.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn oldest(&self, hooks: Vec<HookId>) -> Result<Vec<(HookId, UnixMillis)>, StoreFault> {
        self.reader.call(move |store| sqlite::oldest(store, &hooks)).await
    }

    /// How many events are held, and how many calls are live.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn counts(&self) -> Result<(usize, usize), StoreFault> {
        self.reader.call(sqlite::counts).await
    }

    /// A page of dead letters, oldest first, with all that is known of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn dead_letters(
        &self,
        filter: LetterFilter,
        limit: usize,
    ) -> Result<Vec<EventStory>, StoreFault> {
        self.reader.call(move |store| views::letters(store, &filter, limit)).await
    }

    /// What a replay of the dead letters that pass `filter` would do: at most `limit` at a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn plan_replay(&self, filter: LetterFilter, limit: usize) -> Result<ReplayPlan, StoreFault> {
        let table = self.table();
        let mut plan =
            self.reader.call(move |store| views::plan_replay(store, &table, &filter, limit)).await?;
        let now = self.clock.unix();
        for replay in &mut plan.replays {
            replay.paused_before = self.paused_ms(replay.hook, now);
        }
        Ok(plan)
    }

    /// What is unrouted, by reason and domain, and what is to be done about each; the groups from `skip`
    /// on, at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn unrouted(&self, skip: usize, limit: usize) -> Result<(Vec<GroupStory>, bool), StoreFault> {
        let table = self.table();
        self.look(move |store| views::unrouted(store, &table, skip, limit)).await
    }

    /// Which calls a replay of what is unrouted would take, and what would become of their events: those
    /// of about `limit` events at a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn plan_reroute(&self, selection: UnroutedFilter, limit: usize) -> Result<Reroute, StoreFault> {
        let (table, to_fallback) = (self.table(), self.config.to_fallback);
        self.look(move |store| {
            let ground = Ground { table: &table, to_fallback, fresh: &Fresh::default() };
            views::plan_reroute(store, ground, &selection, limit)
        })
        .await
    }

    /// A page of calls, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn calls(&self, filter: CallFilter, limit: usize) -> Result<Vec<CallStory>, StoreFault> {
        self.look(move |store| views::calls(store, &filter, limit)).await
    }

    /// What happened in a call, by its room's sid or name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn timeline(&self, name: String) -> Result<Option<Timeline>, StoreFault> {
        self.look(move |store| views::timeline(store, &name)).await
    }

    /// Called numbers that came with another domain since, the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn domain_changes(
        &self,
        since: UnixMillis,
        limit: usize,
    ) -> Result<Vec<DomainChange>, StoreFault> {
        self.reader.call(move |store| sqlite::domain_changes(store, since, limit)).await
    }

    /// Runs a query that may take long, on a connection and a thread of its own.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Store) -> sqlite::Found<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        // The permit is released by the thread, also if the caller stops waiting.
        let place = Arc::clone(&self.looks).acquire_owned().await.map_err(|_| StoreFault::Closed)?;
        let directory = self.config.directory.clone();
        let looking = move || {
            let looked = sqlite::read(&directory, look);
            drop(place);
            looked
        };
        background::run(looking).await.ok_or(StoreFault::Closed)?
    }
}
