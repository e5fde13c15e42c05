//! Hooks as they are stored, and what the store has to learn of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::kept::{Generation, KeptHook, UnreadableSettings, Vault};
use super::pauses::Pause;
use crate::hooks::{Format, Origin};
use crate::ids::HookId;
use crate::time::UnixMillis;

/// A hook as it is stored.
#[derive(Clone, Debug)]
pub struct HookRow {
    pub id: HookId,
    pub host: String,
    pub tenant: String,
    /// As it is stored, until [`Self::reveal`].
    pub url: String,
    /// Its URL has a query that cannot be opened.
    pub is_locked: bool,
    /// Sealed: secrets, keys and settings that are not the defaults.
    pub sealed: Option<Vec<u8>>,
    pub origin: Origin,
    pub removed: bool,
    pub pause: Pause,
    /// The row is not as it was written.
    pub is_damaged: bool,
}

impl HookRow {
    /// Opens the query of its URL.
    pub fn reveal(&mut self, vault: &Vault) {
        match vault.open_url(&self.url) {
            Some(url) => self.url = url,
            None => self.is_locked = true,
        }
    }

    /// What is stored of it besides its URL.
    ///
    /// # Errors
    /// [`UnreadableSettings`]: nothing of it is known then, and no default stands for it.
    pub fn open(&self, vault: &Vault) -> Result<KeptHook, UnreadableSettings> {
        match (self.is_damaged, self.is_locked) {
            (true, _) => Err(UnreadableSettings::Row),
            (false, true) => Err(UnreadableSettings::Sealed),
            (false, false) => vault.open(self.id, self.sealed.as_deref()),
        }
    }
}

/// What the store knows of hooks.
#[derive(Clone, Debug, Default)]
pub struct StoredHooks {
    pub hooks: Vec<HookRow>,
    /// Of tenants whose derived secret was renewed.
    pub generations: HashMap<String, Generation>,
    /// The hooks that have pending deliveries or calls.
    pub busy: HashSet<HookId>,
    /// The hooks that have calls which are not over for longer than [`LATE`].
    pub calling: HashSet<HookId>,
    /// The id of the next new hook: ids are never used again.
    pub next_id: i64,
}

/// What the store has to learn of a hook.
#[derive(Clone, Debug)]
pub enum HookChange {
    /// A new hook.
    Add { id: HookId, host: String, tenant: String, url: String, kept: Option<Vec<u8>>, origin: Origin },
    /// Another URL, other secrets or other settings.
    Alter { id: HookId, url: String, kept: Option<Vec<u8>>, version: i64, at: UnixMillis },
    /// It is gone; what was routed to it still goes there.
    Remove { id: HookId, at: UnixMillis },
    /// Its calls in progress go to its new URL, in its new format.
    Move { id: HookId, url: String, format: Format },
    /// Its calls in progress belong to no tenant from here on.
    Cut { id: HookId },
}

impl HookChange {
    /// Whether calls in progress go elsewhere by it.
    pub fn moves_calls(&self) -> bool {
        match self {
            Self::Move { .. } | Self::Cut { .. } => true,
            Self::Add { .. } | Self::Alter { .. } | Self::Remove { .. } => false,
        }
    }
}

/// Events come for so long after a call's end.
pub const LATE: Duration = Duration::from_secs(3600);
