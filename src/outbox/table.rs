//! A hook table comes into force while calls run, as a whole or by single edits.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::last_good::LastGood;
use super::queue::Task;
use super::sqlite;
use super::start::{Hooks, keep, tell_unreadable};
use super::{Outbox, StoreFault, last_good};
use crate::access::Scope;
use crate::background;
use crate::calls::{AuditRecord, Order, Outcome};
use crate::hooks::{Around, HookTable, HostPattern, Tenant};
use crate::ids::{DeliveryId, HookId};
use crate::registry::{
    self, ChangedHook, Difference, EditGround, EditRefusal, EditRequest, Edited, HookCursor, HookFilter,
    HookPage, ListedHook, PausedBy, Plan, TableEdit,
};
use crate::signature::MasterSecret;
use crate::time::UnixMillis;

/// At most this many changes of the hook table go into one transaction.
const CHANGES: usize = 500;

/// How often a table that is to be replaced looks whether the store is back.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a new hook table changed.
#[derive(Debug)]
pub struct Replaced {
    pub difference: Difference,
    /// Paused hooks that go on.
    pub resumed: Vec<HookId>,
    /// Hooks the file pauses.
    pub paused: Vec<HookId>,
}

/// What an edit changed.
#[derive(Debug)]
pub struct Carried {
    pub edited: Edited,
    /// Paused hooks that go on.
    pub resumed: Vec<HookId>,
    /// Hooks that are paused by it.
    pub paused: Vec<HookId>,
    /// Hooks whose lanes have other settings.
    pub lanes: Vec<HookId>,
    /// Hooks whose deliveries up to this one are to be forgotten: they are erased.
    pub erased: Option<(Vec<HookId>, DeliveryId)>,
}

/// Makes the records of an edit for the audit log: one for each tenant it concerns. Secrets do not belong into them.
pub type AuditOf = Box<dyn FnOnce(&Edited) -> Vec<AuditRecord> + Send>;

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
        // What the start changed may not be stored yet: a plan that is made without it would give the ids of new hooks
        // again.
        while self.is_away() {
            self.clock.sleep(LOOK_AGAIN).await;
        }
        let mut registry = self.registry.lock().await;
        let directory = self.config.directory.clone();
        let (master, now, before) = (self.master.clone(), self.clock.unix(), self.table());
        let planning = move || -> Result<_, StoreFault> {
            let stored = sqlite::read(&directory, |store| sqlite::stored_hooks(store, now))?;
            let plan = registry::plan(stored, (hooks.entries, hooks.terms), &before, &master, now);
            keep(&directory, &master, &hooks.read);
            Ok(plan)
        };
        let planned = background::run(planning).await.ok_or(StoreFault::Closed)??;
        let Plan { table, registry: new, changes, moves, resumed, paused, difference } = planned;
        *registry = new;
        tell_unreadable(&table, &self.queue.health);
        for part in changes.chunks(CHANGES) {
            self.queue.inbox.task(Task::Order(Order::Edit(part.into()), None));
        }
        let swapped = self.swap(table);
        // After the swap, so that a call that begins in between is moved, too; one by one, since each reads
        // through all calls.
        let mut last_move = None;
        for change in moves {
            let (done, moved) = oneshot::channel();
            self.queue.inbox.task(Task::Order(Order::Edit([change].into()), Some(done)));
            last_move = Some(moved);
        }
        for hook in &paused {
            self.pause(*hook, now, PausedBy::File);
        }
        for hook in &resumed {
            self.resume(*hook, now);
        }
        let old = swapped.await.map_err(|_| StoreFault::Closed)?;
        // Orders are decided behind the events of their batch: an event that came before this would still go
        // where its call led.
        if let Some(moved) = last_move {
            moved.await.map_err(|_| StoreFault::Closed)?;
        }
        // A large table takes a moment to drop: not on a thread that serves.
        background::run(move || drop(old)).await;
        let difference = self.with_calls(difference).await;
        Ok(Replaced { difference, resumed, paused })
    }

    /// Counts the calls that keep the URL they were bound to. Only for the log: if the store cannot be read now,
    /// they are not counted.
    async fn with_calls(&self, mut difference: Difference) -> Difference {
        if !difference.changed.iter().any(|changed| changed.keeps_calls) {
            return difference;
        }
        let calls = self.look("calls", None, sqlite::live_calls).await.unwrap_or_default();
        let keeps = |changed: &&mut ChangedHook| changed.keeps_calls;
        for changed in difference.changed.iter_mut().filter(keeps) {
            changed.calls = calls.get(&changed.id).copied().unwrap_or(0);
        }
        difference
    }

    /// Edits the hook table. When it returns, the edit is stored, and in force for the next event. `audit` makes the
    /// record that is stored with it; an edit that changes nothing, and a refusal, are not recorded here. One edit at a
    /// time; not to be cancelled between store and table.
    ///
    /// # Errors
    /// When the store is away or closed: nothing changes then.
    pub async fn edit_hook(
        &self,
        scope: &Scope,
        edit: &EditRequest,
        around: &Around<'_>,
        audit: Option<AuditOf>,
    ) -> Result<Result<Carried, EditRefusal>, StoreFault> {
        if self.is_away() {
            return Err(StoreFault::Away);
        }
        let mut registry = self.registry.lock().await;
        let (table, pauses, now) = (self.table(), self.queue.pauses(), self.clock.unix());
        let (mut rows, calling) = match edit.host().map(ToString::to_string) {
            Some(host) => self.lookups.call(move |store| sqlite::hooks_of_host(store, &host, now)).await?,
            None => (Vec::new(), false),
        };
        registry.reveal(&mut rows);
        let ground = EditGround { table: &table, pauses: &pauses, rows, calling, around, now };
        let planned = match registry.plan_edit(scope, edit, &ground) {
            Ok(planned) => planned,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut up_to = None;
        if planned.is_change() {
            let records = audit.map(|audit| audit(&planned.edited)).unwrap_or_default();
            let records = records.into_iter().map(|record| Order::Audit(Arc::new(record)));
            let orders = orders(&planned, now).into_iter().chain(records).collect::<Vec<_>>();
            up_to = self.at_once(Order::Together(orders.into())).await?.erased;
        }
        registry.is_stored(&planned, now);
        let TableEdit { table, moves, paused, resumed, lanes, edited, erased, .. } = planned;
        let hooks_of = |tenant: Tenant| table.all_of(&tenant).map(|hook| hook.id).collect();
        let erased = erased.map(hooks_of).zip(up_to);
        if edited.is_change {
            tell_unreadable(&table, &self.queue.health);
            drop(self.swap(table).await.map_err(|_| StoreFault::Closed)?);
        }
        if edited.is_change && !moves.is_empty() {
            // For calls that began between the two; the table that is in force binds those that begin now.
            self.at_once(Order::Edit(moves.into())).await?;
        }
        Ok(Ok(Carried { edited, resumed, paused, lanes, erased }))
    }

    /// Has the writer swap the table; the receiver gives the old one.
    fn swap(&self, table: HookTable) -> oneshot::Receiver<Arc<HookTable>> {
        let (done, swapped) = oneshot::channel();
        self.queue.inbox.task(Task::Swap(Arc::new(table), done));
        self.queue.inbox.nudge();
        swapped
    }

    /// Has the writer carry out an order without waiting for other work; returns when it is stored.
    async fn at_once(&self, order: Order) -> Result<Outcome, StoreFault> {
        let (reply, outcome) = oneshot::channel();
        self.queue.inbox.task(Task::Order(order, Some(reply)));
        self.queue.inbox.nudge();
        outcome.await.map_err(|_| if self.is_away() { StoreFault::Away } else { StoreFault::Closed })
    }

    /// The hook of a host, if the token may see it.
    pub(super) fn hook(&self, scope: &Scope, host: &HostPattern) -> Option<ListedHook> {
        ListedHook::find(&self.table(), &self.queue.pauses(), scope, host)
    }

    /// A page of the hooks that the token may see, behind `after`, at most `limit`. An operator's looks through the
    /// whole table, on a thread of its own.
    pub(super) async fn hooks(
        &self,
        scope: &Scope,
        filter: HookFilter,
        after: Option<HookCursor>,
        limit: usize,
    ) -> HookPage {
        let (table, pauses, scope) = (self.table(), self.queue.pauses(), scope.clone());
        let reading = move || HookPage::read(&table, &pauses, &scope, (&filter, after.as_ref()), limit);
        background::run(reading).await.unwrap_or_default()
    }
}

/// What the writer is to do for an edit, in one transaction.
fn orders(edit: &TableEdit, at: UnixMillis) -> Vec<Order> {
    let moves = edit.moves.iter().filter(|_| edit.has_calls);
    let changes: Vec<_> = edit.changes.iter().chain(moves).cloned().collect();
    let changes = (!changes.is_empty()).then(|| Order::Edit(changes.into()));
    let rotate = edit.rotated.clone().map(|(tenant, generation)| Order::Rotate { tenant, generation, at });
    let erase = edit.erased.clone().map(|tenant| Order::BeginErasure { tenant, at });
    let pauses = edit.paused.iter().map(|hook| Order::Pause { hook: *hook, at, by: PausedBy::Api });
    let resumes = edit.resumed.iter().map(|hook| Order::Resume { hook: *hook, at });
    changes.into_iter().chain(rotate).chain(erase).chain(pauses).chain(resumes).collect()
}
