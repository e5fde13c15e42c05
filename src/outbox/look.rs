//! What the API asks the store, within a scope.

use std::path::Path;
use std::sync::Arc;

use super::sqlite::views::{
    self, CallFilter, ChangeFilter, LetterFilter, ReplayPlan, Reroute, UnroutedFilter,
};
use super::sqlite::{self, Store};
use super::views::ScopedView;
use super::{Outbox, StoreFault};
use crate::background;
use crate::calls::Ground;
use crate::delivery::Fresh;
use crate::hooks::{Signing, Tenant};
use crate::registry;
use crate::wire::{CallStory, DomainChange, EventStory, GroupStory, LetterList, Timeline};

/// Host and tenant of each hook that is registered over the API, from a data directory, beside a router that may run.
///
/// # Errors
/// When there is no database, it cannot be read, or a newer release made it.
pub fn registered_hooks(directory: &Path) -> Result<Vec<(String, String)>, StoreFault> {
    // Older releases took hooks from the file alone.
    Ok(sqlite::read_foreign(directory, sqlite::registered)?.unwrap_or_default())
}

impl ScopedView<'_> {
    /// All that is known of an event.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn story(&self, id: String) -> Result<Option<EventStory>, StoreFault> {
        let scope = self.scope.clone();
        self.outbox.reader.call(move |store| views::story(store, &scope, &id)).await
    }

    /// What signs for a tenant that has no hook: derived, the current secret first. None if the scope does not cover
    /// the tenant.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn derived_secrets(&self, tenant: Tenant) -> Result<Option<Vec<Signing>>, StoreFault> {
        if !self.scope.sees(tenant.as_str()) {
            return Ok(None);
        }
        let (asked, outbox) = (tenant.clone(), self.outbox);
        let generation = outbox.reader.call(move |store| sqlite::generation(store, &asked)).await?;
        Ok(Some(registry::derived(&outbox.master, &tenant, generation, outbox.clock.unix())))
    }

    /// A page of dead letters, oldest first, with all that is known of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn dead_letters(&self, filter: LetterFilter, limit: usize) -> Result<LetterList, StoreFault> {
        let scope = self.scope.clone();
        self.outbox.reader.call(move |store| views::letters(store, &scope, &filter, limit)).await
    }

    /// What a replay of the dead letters that pass `filter` would do: at most `limit` at a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn plan_replay(&self, filter: LetterFilter, limit: usize) -> Result<ReplayPlan, StoreFault> {
        let (table, scope) = (self.outbox.table(), self.scope.clone());
        let planned = move |store: &Store| views::plan_replay(store, &scope, &table, &filter, limit);
        let mut plan = self.outbox.reader.call(planned).await?;
        let now = self.outbox.clock.unix();
        for replay in &mut plan.replays {
            replay.paused_before = self.outbox.paused_ms(replay.hook, now);
        }
        Ok(plan)
    }

    /// What is unrouted, by reason and domain, and what is to be done about each; the groups from `skip`
    /// on, at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn unrouted(&self, skip: usize, limit: usize) -> Result<(Vec<GroupStory>, bool), StoreFault> {
        let (table, scope) = (self.outbox.table(), self.scope.clone());
        self.outbox.look(move |store| views::unrouted(store, &scope, &table, (skip, limit))).await
    }

    /// Which calls a replay of what is unrouted would take, and what would become of their events: those
    /// of about `limit` events at a time. None within a tenant's scope: what is unrouted has no owner yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn plan_reroute(&self, selection: UnroutedFilter, limit: usize) -> Result<Reroute, StoreFault> {
        if !self.scope.is_operator() {
            return Ok(Reroute::default());
        }
        let (table, to_fallback) = (self.outbox.table(), self.outbox.config.to_fallback);
        let planned = move |store: &Store| {
            let ground = Ground { table: &table, to_fallback, fresh: &Fresh::default() };
            views::plan_reroute(store, ground, &selection, limit)
        };
        self.outbox.look(planned).await
    }

    /// A page of calls, the newest first; and where the next page begins, if there is one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn calls(
        &self,
        filter: CallFilter,
        limit: usize,
    ) -> Result<(Vec<CallStory>, Option<String>), StoreFault> {
        let scope = self.scope.clone();
        self.outbox.look(move |store| views::calls(store, &scope, &filter, limit)).await
    }

    /// What happened in a call, by its room's sid or name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn timeline(&self, name: String) -> Result<Option<Timeline>, StoreFault> {
        let scope = self.scope.clone();
        self.outbox.look(move |store| views::timeline(store, &scope, &name)).await
    }

    /// Called numbers that came with another domain, the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn domain_changes(
        &self,
        filter: ChangeFilter,
        limit: usize,
    ) -> Result<Vec<DomainChange>, StoreFault> {
        let scope = self.scope.clone();
        self.outbox.reader.call(move |store| sqlite::domain_changes(store, &scope, &filter, limit)).await
    }
}

impl Outbox {
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
