//! What an edit of the hooks file would change: past calls are decided again, beside a router that may run.
//!
//! Reads page by page, each in a read transaction of its own: one that lasts would keep the write-ahead log from being
//! checkpointed.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::engine::StoreFault;
use super::sqlite::{self, ReadStore, Store};
use crate::background;
use crate::calls::{Foreseen, KeptFact, Preview, PreviewGround};
use crate::hooks::{Entry, HookTable, HostPattern, Layer, Terms, UnreadableHook};
use crate::ids::HookId;
use crate::registry::{self, HookChange, Plan, StoredHooks};
use crate::signature::MasterSecret;
use crate::time::UnixMillis;

/// Rows of one read transaction: about 20 ms.
const PAGE: i64 = 4096;

/// A hooks file, checked.
pub type FileTable = (Vec<Entry>, Terms);

/// An edit of the hooks file.
pub struct FileEdit {
    /// The new file.
    pub after: FileTable,
    /// The one in force, if it is known.
    pub before: Option<FileTable>,
    /// Whether `sip.h.to` may stand in for `sip.h.x-to-ip`.
    pub to_fallback: bool,
}

/// What an edit would change.
#[derive(Debug)]
pub struct EditPreview {
    /// Hooks of the file that it adds, changes and removes.
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
    /// Whether the file in force is known.
    pub knows_before: bool,
    /// Stored hooks whose settings cannot be read: they are in force nowhere.
    pub unreadable: Vec<UnreadableHook>,
    pub foreseen: Foreseen,
}

/// Why there is no preview.
#[derive(Debug, thiserror::Error)]
pub enum NoPreview {
    #[error("there is no switchhook.db in it: name the data directory of a router")]
    NoStore,
    #[error(
        "its database was made by an older Switchhook: start this one with it once, or use the older one"
    )]
    Older,
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The past calls of a data directory.
pub struct PastCalls(ReadStore);

impl PastCalls {
    /// Opens the database, beside a router that may run.
    ///
    /// # Errors
    /// When the directory has no database of this release, or it cannot be read.
    pub fn open(directory: &Path) -> Result<Self, NoPreview> {
        if !sqlite::has_store(directory) {
            return Err(NoPreview::NoStore);
        }
        let store = sqlite::open_foreign(directory)?.ok_or(NoPreview::Older)?;
        let are_kept = sqlite::facts::are_kept(&store).map_err(StoreFault::from)?;
        if are_kept { Ok(Self(store)) } else { Err(NoPreview::Older) }
    }

    /// Decides them again, at low priority.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn preview(
        &self,
        edit: FileEdit,
        master: &MasterSecret,
        now: UnixMillis,
    ) -> Result<EditPreview, StoreFault> {
        background::step_back();
        let stored = sqlite::hook_rows(&self.0)?;
        let (hosts, known) = (hosts(&stored), known_hosts(&stored));
        let nothing = HookTable::default();
        let before =
            edit.before.map(|file| registry::plan(stored.clone(), file, &nothing, master, now).table);
        let in_force = before.as_ref();
        let plan = registry::plan(stored, edit.after, in_force.unwrap_or(&nothing), master, now);
        let cut: HashSet<HookId> = plan.moves.iter().filter_map(cuts).collect();
        let (table, to_fallback) = (&plan.table, edit.to_fallback);
        let ground = PreviewGround { table, in_force, hosts: &hosts, cut: &cut, to_fallback };
        let foreseen = decide_again(&self.0, Preview::new(ground))?;
        let (added, changed, removed) = counts(&plan, in_force.is_some(), &known);
        let unreadable = plan.table.aside().unreadable.clone();
        Ok(EditPreview { added, changed, removed, knows_before: in_force.is_some(), unreadable, foreseen })
    }
}

fn decide_again(store: &Store, mut preview: Preview<'_>) -> sqlite::Found<Foreseen> {
    let mut take = |page: Vec<KeptFact>| {
        page.iter().try_for_each(|fact| preview.take(fact, |call| sqlite::facts::is_live(store, call)))
    };
    let mut after = 0;
    let digested = loop {
        // Read before the page: what is digested meanwhile is decided twice, not left out.
        let digested = sqlite::digested(store)?;
        let Some((page, last)) = sqlite::facts::page(store, after, PAGE)? else { break digested };
        take(page)?;
        after = last;
    };
    let (mut after, end) = (digested, sqlite::last_id(store)?);
    while let Some((page, last)) = sqlite::facts::young(store, after, PAGE)?.filter(|_| after < end) {
        take(page)?;
        after = last;
    }
    Ok(preview.finish())
}

/// Every hook that is or was, by its host.
fn hosts(stored: &StoredHooks) -> HashMap<HookId, HostPattern> {
    stored.hooks.iter().filter_map(|row| Some((row.id, HostPattern::parse(&row.host).ok()?))).collect()
}

/// The hosts of the file in force.
fn known_hosts(stored: &StoredHooks) -> HashSet<String> {
    let of_file = stored.hooks.iter().filter(|row| !row.removed && row.origin.layer == Layer::File);
    of_file.map(|row| row.host.clone()).collect()
}

fn cuts(change: &HookChange) -> Option<HookId> {
    match change {
        HookChange::Cut { id } => Some(*id),
        HookChange::Add { .. }
        | HookChange::Alter { .. }
        | HookChange::Remove { .. }
        | HookChange::Move { .. } => None,
    }
}

/// How many hooks of the file are added, changed and removed. A host that has passed to another tenant is a changed
/// one.
fn counts(plan: &Plan, knows_before: bool, known: &HashSet<String>) -> (usize, usize, usize) {
    let difference = &plan.difference;
    let passed_on = difference.added.iter().filter(|host| known.contains(*host)).count();
    let is_of_file = |id: HookId| plan.table.by_id(id).is_some_and(|hook| hook.origin.layer == Layer::File);
    let changed = if knows_before {
        difference.changed.iter().filter(|changed| is_of_file(changed.id)).count()
    } else {
        plan.changes.iter().filter(|change| matches!(change, HookChange::Alter { .. })).count()
    };
    (difference.added.len() - passed_on, changed + passed_on, difference.removed.len())
}
