//! A hook table comes into force: at the start, and while calls run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::engine::Engine;
use super::last_good::LastGood;
use super::queue::Task;
use super::sqlite::{self, Sqlite};
use super::{Outbox, StoreFault, last_good};
use crate::background;
use crate::calls::{Change, Order};
use crate::hooks::{Entry, HookTable, Tenant};
use crate::ids::HookId;
use crate::registry::{self, Difference, PausedBy, Plan};
use crate::signature::MasterSecret;
use crate::time::UnixMillis;

/// So many changes of the hook table go into one transaction.
const CHANGES: usize = 500;

/// A hook table without fault, and what it was read from.
#[derive(Debug)]
pub struct Hooks {
    pub entries: Vec<Entry>,
    pub read: LastGood,
}

/// What a new hook table changed.
#[derive(Debug)]
pub struct Replaced {
    pub difference: Difference,
    /// Paused hooks that go on.
    pub resumed: Vec<HookId>,
    /// Hooks the file pauses.
    pub paused: Vec<HookId>,
}

/// The last hook table that was without fault, if there is one.
///
/// # Errors
/// When it cannot be read.
pub fn last_good_table(directory: &Path, master: &MasterSecret) -> Result<Option<LastGood>, StoreFault> {
    Ok(last_good::read(directory, master)?)
}

impl Outbox {
    /// Puts another hook table in force. Whatever takes time happens on a thread of its own; the
    /// writer learns of changes in small parts and swaps the table between two batches, so each
    /// event goes by the old one or the new one, whole.
    ///
    /// # Errors
    /// When the store cannot be read, or is closed; nothing changes then.
    pub async fn replace_hooks(&self, hooks: Hooks) -> Result<Replaced, StoreFault> {
        let directory = self.config.directory.clone();
        let (master, now, kept) = (self.master.clone(), self.clock.unix(), Arc::clone(&self.kept));
        let planning = move || -> Result<_, StoreFault> {
            let stored = sqlite::read(&directory, |store| sqlite::stored_hooks(store, now))?;
            let plan = registry::plan(stored, hooks.entries, &master, now);
            kept.store(keep(&directory, &master, &hooks.read), Ordering::Release);
            let Plan { table, changes, moves, resumed, paused, difference } = plan;
            let edits: Vec<Order> = changes.chunks(CHANGES).map(|part| Order::Edit(part.into())).collect();
            Ok((Arc::new(table), edits, moves, Replaced { difference, resumed, paused }))
        };
        let planned = background::run(planning).await.ok_or(StoreFault::Closed)?;
        let (table, edits, moves, replaced) = planned?;
        for edit in edits {
            self.queue.inbox.task(Task::Order(edit, None));
        }
        let (done, swapped) = oneshot::channel();
        self.queue.inbox.task(Task::Swap(table, done));
        // Behind it, or a call that begins in between would stay behind; one by one, since each looks
        // through all calls.
        for change in moves {
            self.queue.inbox.task(Task::Order(Order::Edit([change].into()), None));
        }
        let old = swapped.await.map_err(|_| StoreFault::Closed)?;
        // A large table takes a moment to drop: not on a thread that serves.
        background::run(move || drop(old)).await;
        Ok(replaced)
    }

    /// Renews a tenant's derived secret; in force with the next [`Self::replace_hooks`], which the one
    /// before signs beside.
    ///
    /// # Errors
    /// When the store is away or closed.
    pub async fn rotate(&self, tenant: Tenant) -> Result<(), StoreFault> {
        self.request(Order::Rotate { tenant, at: self.clock.unix() }).await.map(drop)
    }

    /// The text of the hook table in force.
    ///
    /// # Errors
    /// When it cannot be read, or not opened.
    pub async fn hooks_text(&self) -> Result<Zeroizing<String>, StoreFault> {
        // An older table is not the one in force.
        if !self.kept.load(Ordering::Acquire) {
            return Err(StoreFault::Sealed);
        }
        let (directory, master) = (self.config.directory.clone(), self.master.clone());
        let reading = tokio::task::spawn_blocking(move || last_good_table(&directory, &master));
        let kept = reading.await.map_err(|_| StoreFault::Closed)??.ok_or(StoreFault::Sealed)?;
        Ok(kept.text)
    }
}

/// Makes a hook table known to the store, at the start: nothing waits yet.
pub(super) fn introduce(
    directory: &Path,
    engine: &mut Sqlite,
    hooks: Hooks,
    master: &MasterSecret,
    now: UnixMillis,
) -> Result<(HookTable, bool), StoreFault> {
    let stored = sqlite::stored_hooks(engine.connection(), now)?;
    let Plan { table, changes, moves, resumed, paused, difference: _ } =
        registry::plan(stored, hooks.entries, master, now);
    let mut edits: Vec<Change> = changes.into_iter().chain(moves).map(Change::Hook).collect();
    let by = PausedBy::File;
    edits.extend(paused.into_iter().map(|hook| Change::HookPaused { hook, at: now, by }));
    edits.extend(resumed.into_iter().map(|hook| Change::HookResumed { hook, at: now }));
    engine.commit(&[&edits])?;
    let kept = keep(directory, master, &hooks.read);
    Ok((table, kept))
}

/// Keeps the text of a good hook table. A start with a faulty file would need it, nothing else does:
/// the table comes into force without it, too.
fn keep(directory: &Path, master: &MasterSecret, table: &LastGood) -> bool {
    let kept = last_good::write(directory, master, table);
    if let Err(error) = &kept {
        tracing::warn!(%error, "the hook table is not kept for a start with a faulty file");
    }
    kept.is_ok()
}
