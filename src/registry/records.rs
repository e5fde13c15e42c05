//! Hooks as they are stored, and what the store has to learn of them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::kept::{Generation, KeptHook, UnreadableSettings, Vault};
use super::pauses::Pause;
use crate::hooks::{Format, Origin, loggable};
use crate::ids::HookId;
use crate::time::UnixMillis;

/// A hook as it is stored.
#[derive(Clone)]
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
#[derive(Clone)]
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

impl fmt::Debug for HookRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, host, tenant, url, .. } = self;
        let mut shown = f.debug_struct("HookRow");
        shown.field("id", id).field("host", host).field("tenant", tenant).field("url", &loggable(url));
        shown.finish_non_exhaustive()
    }
}

impl fmt::Debug for HookChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, id, url) = match self {
            Self::Add { id, url, .. } => ("Add", id, Some(url)),
            Self::Alter { id, url, .. } => ("Alter", id, Some(url)),
            Self::Remove { id, .. } => ("Remove", id, None),
            Self::Move { id, url, .. } => ("Move", id, Some(url)),
            Self::Cut { id } => ("Cut", id, None),
        };
        let mut shown = f.debug_struct(name);
        shown.field("id", id).field("url", &url.map(|url| loggable(url))).finish_non_exhaustive()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_url_is_not_printed() {
        let url = || "https://a.example/hook?token=hush".to_owned();
        let (id, at, format, origin) = (HookId(1), UnixMillis(0), Format::Raw, Origin::default());
        let (host, tenant) = ("a.example".to_owned(), "a".to_owned());
        let row = HookRow {
            id,
            host: host.clone(),
            tenant: tenant.clone(),
            url: url(),
            is_locked: false,
            sealed: None,
            origin,
            removed: false,
            pause: Pause::default(),
            is_damaged: false,
        };
        let changes = [
            HookChange::Add { id, host, tenant, url: url(), kept: None, origin },
            HookChange::Alter { id, url: url(), kept: None, version: 2, at },
            HookChange::Move { id, url: url(), format },
        ];
        let printed = format!("{row:?} {changes:?}");
        assert!(!printed.contains("hush"), "{printed}");
        assert_eq!(printed.matches("https://a.example/hook").count(), 4, "{printed}");
    }
}
