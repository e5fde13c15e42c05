//! A router starts: the store is opened and read, and the hook table comes into force.

mod engine;

use std::path::Path;

pub use self::engine::StoreEngine;
use super::engine::StoreFault;
use super::last_good::{self, LastGood};
use super::sqlite::{self, LostDatabase};
use crate::access::Revocations;
use crate::calls::{DamagedRow, Known, Order};
use crate::hooks::{Entry, HookTable, Terms};
use crate::registry::{self, PausedBy, Plan, Registry, StoredHooks};
use crate::signature::MasterSecret;
use crate::telemetry::{Degradation, Health, TENANTS};
use crate::time::UnixMillis;

/// At most this many hooks are named in the log one by one.
const NAMED: usize = 1000;

/// A hook table without fault, and what it was read from.
#[derive(Debug)]
pub struct Hooks {
    pub entries: Vec<Entry>,
    /// The file's `defaults:` and `limits:`.
    pub terms: Terms,
    pub read: LastGood,
}

/// The store as a start finds it.
pub struct OpenedStore {
    pub(super) engine: StoreEngine,
    /// Why it cannot be written, if it cannot: then the router starts in memory mode.
    pub(super) fault: Option<StoreFault>,
    /// The database that should have been there.
    pub(super) lost: Option<LostDatabase>,
    pub(super) hooks: StoredHooks,
    pub(super) known: Known,
    /// The tenants that used most lately.
    pub(super) busiest: Vec<String>,
    /// The tokens that are revoked.
    pub revocations: Revocations,
    /// Rows that say which tokens are revoked, and are damaged.
    pub(super) damaged: Vec<DamagedRow>,
}

impl OpenedStore {
    /// Opens the store in a directory and reads what a start needs.
    ///
    /// # Errors
    /// When the store cannot be read: why. [`StoreFault::may_end`] says whether it is worth trying again.
    pub fn open(directory: &Path, now: UnixMillis) -> Result<Self, StoreFault> {
        let lost = sqlite::lost(directory)?;
        let (engine, fault) = StoreEngine::open(directory)?;
        match Self::read(engine, now) {
            Ok(opened) => Ok(Self { fault, lost, ..opened }),
            Err(read) => Err(match fault {
                Some(written) => engine::unreadable(written, read),
                None => read,
            }),
        }
    }

    fn read(engine: StoreEngine, now: UnixMillis) -> Result<Self, StoreFault> {
        let store = engine.store()?;
        let known = Known::new(sqlite::last_id(store)?, sqlite::pauses(store)?, sqlite::recover(store)?);
        let known = known.audited(sqlite::last_audit_id(store)?);
        let hooks = sqlite::stored_hooks(store, now)?;
        let busiest = sqlite::busiest(store, now, TENANTS)?;
        let (revocations, damaged) = sqlite::revocations(store, now)?;
        Ok(Self { engine, fault: None, lost: None, hooks, known, busiest, revocations, damaged })
    }
}

/// A table that comes into force at the start: nothing waits yet.
pub struct Introduced {
    pub table: HookTable,
    pub registry: Registry,
    /// What the store has to learn of it.
    pub orders: Vec<Order>,
}

/// Plans a hook table at the start, and keeps its text.
pub fn introduce(
    directory: &Path,
    stored: StoredHooks,
    hooks: Hooks,
    master: &MasterSecret,
    now: UnixMillis,
) -> Introduced {
    let before = HookTable::default();
    let Plan { table, registry, changes, moves, resumed, paused, difference: _ } =
        registry::plan(stored, (hooks.entries, hooks.terms), &before, master, now);
    let changes = changes.into_iter().chain(moves).collect();
    let pauses = paused.into_iter().map(|hook| Order::Pause { hook, at: now, by: PausedBy::File });
    let resumes = resumed.into_iter().map(|hook| Order::Resume { hook, at: now });
    let orders = std::iter::once(Order::Edit(changes)).chain(pauses).chain(resumes).collect();
    keep(directory, master, &hooks.read);
    tell_shadowed(&table);
    Introduced { table, registry, orders }
}

/// Keeps the text of a good hook table. A start with a faulty file would need it, nothing else does:
/// the table comes into force without it, too.
pub fn keep(directory: &Path, master: &MasterSecret, table: &LastGood) {
    if let Err(error) = last_good::write(directory, master, table) {
        tracing::warn!(%error, "the hook table is not kept for a start with a faulty file");
    }
}

/// Names the hooks of the API that the hooks file keeps out of force.
fn tell_shadowed(table: &HookTable) {
    for hook in table.aside().hooks.values().take(NAMED) {
        tracing::warn!(
            host = %hook.host,
            tenant = hook.tenant.as_str(),
            "the hooks file has the host of a hook of the API, too: the file's is in force"
        );
    }
    for claim in table.aside().claims.iter().take(NAMED) {
        tracing::warn!(
            host = %claim.host,
            tenant = claim.tenant.as_str(),
            field = claim.field,
            value = claim.value.as_str(),
            "a hook of the file has what a hook of the API has, too: the file's has it"
        );
    }
}

/// Names what is lost with a database; `/readyz` says so until the next start.
pub fn tell_lost(lost: Option<LostDatabase>, health: &Health) {
    let Some(LostDatabase { file, state, signs, log }) = lost else { return };
    health.raise(Degradation::NewDatabase);
    let signs: Vec<_> = signs.iter().map(|(name, at)| format!("{name} of {at}")).collect();
    tracing::error!(
        file = %file.display(),
        state,
        signs = signs.join(", "),
        log,
        "the database is gone, and the directory has been used: the router begins with an empty one. Lost are pending \
         deliveries, calls in progress, hooks of the API, rotated secrets and history. To go on with a backup, stop the \
         router and run `switchhook store restore FILE`; to go on without one, do nothing"
    );
}

/// Names the rows about tokens and renewed secrets that are damaged, and says what that means.
pub fn tell_damaged(rows: &[DamagedRow], health: &Health) {
    health.damaged(rows);
    for row in rows.iter().take(NAMED) {
        tracing::error!(
            table = row.table,
            row = row.row.as_str(),
            fix = "stop the router, then: switchhook store recover",
            "a row of the store is damaged, and whose it was is not known: all API tokens that were issued before this \
             start are refused, and deliveries are signed with the secrets that the rows show"
        );
    }
}

/// Names the hooks whose stored settings cannot be read, the first time; `/readyz` says so as long as there are any.
pub fn tell_unreadable(table: &HookTable, health: &Health) {
    let unreadable = &table.aside().unreadable;
    let damaged = unreadable.iter().filter(|hook| hook.is_damaged);
    health.damaged(&damaged.map(|hook| DamagedRow::new("hooks", &hook.id.0)).collect::<Vec<_>>());
    if unreadable.is_empty() {
        health.clear(Degradation::UnreadableHooks);
        return;
    }
    if !health.raise(Degradation::UnreadableHooks) {
        return;
    }
    for hook in unreadable.iter().take(NAMED) {
        tracing::error!(
            host = hook.host.as_str(),
            tenant = hook.tenant.as_str(),
            id = hook.id.0,
            why = hook.why.as_str(),
            fix = hook.fix,
            "the stored settings of a hook cannot be read: what only they say is missing"
        );
    }
    if unreadable.len() > NAMED {
        tracing::error!(hooks = unreadable.len(), "the stored settings of more hooks cannot be read");
    }
}
