//! A hook table comes into force at the start.

use std::path::Path;

use super::engine::{Engine, StoreFault};
use super::last_good::{self, LastGood};
use super::sqlite::{self, Sqlite};
use crate::calls::Change;
use crate::hooks::{Entry, HookTable, Terms};
use crate::registry::{self, PausedBy, Plan, Registry};
use crate::signature::MasterSecret;
use crate::telemetry::{Degradation, Health};
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

/// Makes a hook table known to the store, at the start: nothing waits yet.
pub fn introduce(
    directory: &Path,
    engine: &mut Sqlite,
    hooks: Hooks,
    master: &MasterSecret,
    now: UnixMillis,
) -> Result<(HookTable, Registry), StoreFault> {
    let stored = sqlite::stored_hooks(engine.connection(), now)?;
    let before = HookTable::default();
    let Plan { table, registry, changes, moves, resumed, paused, difference: _ } =
        registry::plan(stored, (hooks.entries, hooks.terms), &before, master, now);
    let mut edits: Vec<Change> = changes.into_iter().chain(moves).map(Change::Hook).collect();
    let by = PausedBy::File;
    edits.extend(paused.into_iter().map(|hook| Change::HookPaused { hook, at: now, by }));
    edits.extend(resumed.into_iter().map(|hook| Change::HookResumed { hook, at: now }));
    engine.commit(&[&edits])?;
    keep(directory, master, &hooks.read);
    tell_shadowed(&table);
    Ok((table, registry))
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

/// Names the hooks whose stored settings cannot be read, the first time; `/readyz` says so as long as there are any.
pub fn tell_unreadable(table: &HookTable, health: &Health) {
    let unreadable = &table.aside().unreadable;
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
