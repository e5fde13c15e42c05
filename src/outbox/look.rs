//! What the API asks the store.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;

use super::history::{self, EventStory};
use super::letters::{self, Filter, ReplayPlan};
use super::numbers::{self, Change};
use super::timeline::{self, CallStory, Timeline};
use super::unrouted::{self, Told};
use super::{DATABASE, Outbox, StoreFault, append, pending, schema};
use crate::background;
use crate::ids::HookId;
use crate::time::UnixMillis;

impl Outbox {
    /// All that is known of an event.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn story(&self, id: String) -> Result<Option<EventStory>, StoreFault> {
        self.reader.call(move |connection| history::story(connection, &id)).await
    }

    /// When the oldest pending delivery of each of these hooks came.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn oldest(&self, hooks: Vec<HookId>) -> Result<Vec<(HookId, UnixMillis)>, StoreFault> {
        self.reader.call(move |connection| pending::oldest(connection, &hooks)).await
    }

    /// How many events are held, and how many calls are live.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn counts(&self) -> Result<(usize, usize), StoreFault> {
        self.reader.call(append::counts).await
    }

    /// A page of dead letters, oldest first, with all that is known of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn dead_letters(&self, filter: Filter, limit: usize) -> Result<Vec<EventStory>, StoreFault> {
        self.reader.call(move |connection| letters::page(connection, &filter, limit)).await
    }

    /// What a replay of the dead letters that pass `filter` would do: at most `limit` at a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn plan_replay(&self, filter: Filter, limit: usize) -> Result<ReplayPlan, StoreFault> {
        let table = self.table();
        let mut plan =
            self.reader.call(move |connection| letters::plan(connection, &table, &filter, limit)).await?;
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
    pub async fn unrouted(&self, skip: usize, limit: usize) -> Result<(Vec<Told>, bool), StoreFault> {
        let table = self.table();
        self.look(move |connection| {
            let groups = unrouted::groups(connection)?;
            let more = groups.len() > skip.saturating_add(limit);
            let page = groups.into_iter().skip(skip).take(limit);
            let told = (0..).zip(page).map(|(rank, group)| unrouted::tell(connection, &table, group, rank));
            Ok((told.collect::<rusqlite::Result<_>>()?, more))
        })
        .await
    }

    /// Which calls a replay of what is unrouted would take, and what would become of their events: those
    /// of about `limit` events at a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn plan_reroute(
        &self,
        selection: unrouted::Selection,
        limit: usize,
    ) -> Result<unrouted::Calls, StoreFault> {
        let shared = Arc::clone(&self.shared);
        self.look(move |connection| unrouted::plan(connection, &shared.knowledge, &selection, limit)).await
    }

    /// A page of calls, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn calls(&self, calls: timeline::Calls, limit: usize) -> Result<Vec<CallStory>, StoreFault> {
        self.look(move |connection| timeline::page(connection, &calls, limit)).await
    }

    /// What happened in a call, by its room's sid or name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn timeline(&self, name: String) -> Result<Option<Timeline>, StoreFault> {
        self.look(move |connection| timeline::of_call(connection, &name)).await
    }

    /// Called numbers that came with another domain since, the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn domain_changes(&self, since: UnixMillis, limit: usize) -> Result<Vec<Change>, StoreFault> {
        self.reader.call(move |connection| numbers::changes(connection, since, limit)).await
    }

    /// A look that may take a while: on a connection and a thread of its own.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        // It goes with the thread: whoever asked may stop waiting.
        let place = Arc::clone(&self.looks).acquire_owned().await.map_err(|_| StoreFault::Closed)?;
        let path: PathBuf = self.config.directory.join(DATABASE);
        let looking = move || -> Result<T, StoreFault> {
            let looked = look(&schema::open_reader(&path)?);
            drop(place);
            Ok(looked?)
        };
        background::run(looking).await.ok_or(StoreFault::Closed)?
    }
}
