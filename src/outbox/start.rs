//! A hook table comes into force at the start.

use std::path::Path;

use super::engine::{Engine, StoreFault};
use super::last_good::{self, LastGood};
use super::sqlite::{self, Sqlite};
use crate::calls::Change;
use crate::hooks::{Entry, HookTable};
use crate::registry::{self, PausedBy, Plan};
use crate::signature::MasterSecret;
use crate::time::UnixMillis;

/// A hook table without fault, and what it was read from.
#[derive(Debug)]
pub struct Hooks {
    pub entries: Vec<Entry>,
    pub read: LastGood,
}

/// Makes a hook table known to the store, at the start: nothing waits yet.
pub fn introduce(
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
pub fn keep(directory: &Path, master: &MasterSecret, table: &LastGood) -> bool {
    let kept = last_good::write(directory, master, table);
    if let Err(error) = &kept {
        tracing::warn!(%error, "the hook table is not kept for a start with a faulty file");
    }
    kept.is_ok()
}
