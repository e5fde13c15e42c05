//! A hook table comes into force while calls run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::last_good::LastGood;
use super::queue::Task;
use super::sqlite;
use super::start::{Hooks, keep};
use super::{Outbox, StoreFault, last_good};
use crate::background;
use crate::calls::Order;
use crate::hooks::Tenant;
use crate::ids::HookId;
use crate::registry::{self, Difference, Plan};
use crate::signature::MasterSecret;

/// At most this many changes of the hook table go into one transaction.
const CHANGES: usize = 500;

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
    /// Puts another hook table in force. It is planned on a thread of its own; the writer stores the changes in
    /// small parts and swaps the table between two batches, so each event is routed by one table, the old or
    /// the new.
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
        // After the swap, so that a call that begins in between is moved, too; one by one, since each reads
        // through all calls.
        let mut last_move = None;
        for change in moves {
            let (done, moved) = oneshot::channel();
            self.queue.inbox.task(Task::Order(Order::Edit([change].into()), Some(done)));
            last_move = Some(moved);
        }
        let old = swapped.await.map_err(|_| StoreFault::Closed)?;
        // Orders are decided behind the events of their batch: an event that came before this would still go
        // where its call led.
        if let Some(moved) = last_move {
            moved.await.map_err(|_| StoreFault::Closed)?;
        }
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
