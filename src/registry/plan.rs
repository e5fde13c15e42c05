//! What a new hook table changes in the store: planned here, carried out by the writer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::kept::{Generation, Kept, OVERLAP, Vault};
use super::pauses::Pause;
use crate::hooks::{Entry, Format, HookTable, HostPattern, Settings, Signing, Tenant};
use crate::ids::HookId;
use crate::signature::MasterSecret;
use crate::time::UnixMillis;

/// A hook as it is stored.
#[derive(Clone, Debug)]
pub struct HookRow {
    pub id: HookId,
    pub host: String,
    pub tenant: String,
    pub url: String,
    /// Sealed: secrets, keys and settings that are not the defaults.
    pub sealed: Option<Vec<u8>>,
    pub removed: bool,
    pub pause: Pause,
    pub paused_by_file: bool,
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

/// A stored hook, opened.
struct KnownHook {
    row: HookRow,
    kept: Kept,
}

/// What the store has to learn of a hook.
#[derive(Clone, Debug)]
pub enum HookChange {
    /// A new hook.
    Add { id: HookId, host: String, tenant: String, url: String, kept: Option<Vec<u8>> },
    /// Another URL, other secrets or other settings.
    Alter { id: HookId, url: String, kept: Option<Vec<u8>> },
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

/// What a hook table changes in the store.
#[derive(Default)]
pub struct Plan {
    /// The table, complete with ids and secrets.
    pub table: HookTable,
    /// What the store has to learn, in order.
    pub changes: Vec<HookChange>,
    /// Where calls in progress go instead, once the table is in force.
    pub moves: Vec<HookChange>,
    /// Hooks that are paused and have a new URL, which is how a tenant whose receiver answered 410
    /// comes back; and those the file no longer pauses.
    pub resumed: Vec<HookId>,
    /// Hooks the file pauses.
    pub paused: Vec<HookId>,
    /// What is different, for the log: added, changed, removed hosts.
    pub difference: Difference,
}

/// What a new table changed.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    /// Hosts whose secret is another one.
    pub resigned: Vec<String>,
}

/// Plans a table: every entry has the id it had, or a new one; what is no longer there is removed.
/// A hook stays itself as long as its host and tenant do.
pub fn plan(stored: StoredHooks, entries: Vec<Entry>, master: &MasterSecret, now: UnixMillis) -> Plan {
    let StoredHooks { hooks, generations, busy, calling, next_id } = stored;
    let vault = Vault::new(master, generations, now);
    let (mut live, mut removed) = (HashMap::new(), Vec::new());
    for row in hooks {
        let kept = row.sealed.as_deref().map(|sealed| vault.open(row.id, sealed)).unwrap_or_default();
        let known = KnownHook { row, kept };
        if known.row.removed {
            removed.push(known);
        } else {
            live.insert(known.row.host.clone(), known);
        }
    }
    let mut planner = Planner { vault: &vault, next_id, plan: Plan::default() };
    let mut numbered = Vec::with_capacity(entries.len());
    for entry in entries {
        let known = live.remove(&entry.host.to_string());
        let (kept, passed_on) = match known {
            Some(known) if known.row.tenant != entry.tenant.as_str() => (None, Some(known)),
            known => (known, None),
        };
        // The host has passed to another tenant: another hook.
        if let Some(known) = passed_on {
            planner.pass_on(&known.row, entry.now);
            removed.push(known);
        }
        let (id, secrets) = match kept {
            Some(known) => (known.row.id, planner.keep(&known, &entry)),
            None => planner.add(&entry),
        };
        numbered.push((entry, id, secrets));
    }
    for (host, known) in live {
        planner.plan.changes.push(HookChange::Remove { id: known.row.id, at: now });
        planner.plan.difference.removed.push(host);
        removed.push(known);
    }
    let mut retired = Vec::new();
    for known in removed {
        let has_calls = calling.contains(&known.row.id);
        // A hook that is removed now stays in the table in any case: events are routed to it until the swap.
        if !known.row.removed || busy.contains(&known.row.id) {
            retired.extend(retire(&vault, known).map(|hook| (hook, has_calls)));
        }
    }
    Plan { table: HookTable::build(numbered, retired), ..planner.plan }
}

struct Planner<'a> {
    vault: &'a Vault<'a>,
    next_id: i64,
    plan: Plan,
}

impl Planner<'_> {
    fn pass_on(&mut self, row: &HookRow, now: bool) {
        self.plan.changes.push(HookChange::Remove { id: row.id, at: self.vault.now });
        if now {
            self.plan.moves.push(HookChange::Cut { id: row.id });
        }
    }

    fn add(&mut self, entry: &Entry) -> (HookId, Vec<Signing>) {
        let id = HookId(self.next_id);
        self.next_id += 1;
        let (given, livekit) = (entry.secrets.clone(), entry.livekit.clone());
        let kept = Kept { given, older: Vec::new(), livekit, now: entry.now, settings: unusual(entry) };
        let secrets = self.vault.signing(&entry.tenant, &kept);
        let (host, tenant, url) = (entry.host.to_string(), entry.tenant.to_string(), entry.url.to_string());
        self.plan.difference.added.push(host.clone());
        self.plan.changes.push(HookChange::Add { id, host, tenant, url, kept: self.vault.seal(id, &kept) });
        if entry.settings.paused {
            self.plan.paused.push(id);
        }
        (id, secrets)
    }

    fn keep(&mut self, known: &KnownHook, entry: &Entry) -> Vec<Signing> {
        let KnownHook { row, kept: before_this } = known;
        let (id, now) = (row.id, self.vault.now);
        let resigned = before_this.given != entry.secrets;
        let mut kept = Kept {
            given: entry.secrets.clone(),
            older: before_this.older.iter().filter(|(_, until)| now.0 < *until).cloned().collect(),
            livekit: entry.livekit.clone(),
            now: entry.now,
            settings: unusual(entry),
        };
        if resigned {
            let before = self.vault.current(&entry.tenant, &before_this.given);
            let until = now.after(OVERLAP).0;
            kept.older.extend(before.into_iter().map(|secret| (secret, until)));
            self.plan.difference.resigned.push(row.host.clone());
        }
        let moved = row.url != entry.url.as_str();
        if moved || kept != *before_this {
            let sealed = self.vault.seal(id, &kept);
            self.plan.changes.push(HookChange::Alter { id, url: entry.url.to_string(), kept: sealed });
        }
        let before = before_this.settings.as_ref().map_or(Format::Raw, |settings| settings.format);
        // Also if `now` is added to an entry that was changed before.
        if entry.now && (moved || before != entry.settings.format || !before_this.now) {
            let (url, format) = (entry.url.to_string(), entry.settings.format);
            self.plan.moves.push(HookChange::Move { id, url, format });
        }
        let other_key = kept.livekit != before_this.livekit;
        if moved || resigned || other_key || kept.settings != before_this.settings {
            self.plan.difference.changed.push(row.host.clone());
        }
        match (entry.settings.paused, row.pause.since.is_some()) {
            (true, false) => self.plan.paused.push(id),
            (false, true) if row.paused_by_file || moved => self.plan.resumed.push(id),
            _ => {}
        }
        self.vault.signing(&entry.tenant, &kept)
    }
}

/// Settings that are not the defaults.
fn unusual(entry: &Entry) -> Option<Settings> {
    (*entry.settings != Settings::default()).then(|| (*entry.settings).clone())
}

/// A removed hook as its last deliveries need it: the last URL, secrets and settings.
fn retire(vault: &Vault<'_>, known: KnownHook) -> Option<(Entry, HookId, Vec<Signing>)> {
    let KnownHook { row, kept } = known;
    let host = HostPattern::parse(&row.host).ok()?;
    let (tenant, url) = (Tenant::new(&row.tenant)?, Url::parse(&row.url).ok()?);
    let secrets = vault.signing(&tenant, &kept);
    let entry = Entry {
        host,
        tenant,
        url,
        secrets: Vec::new(),
        numbers: Vec::new(),
        trunks: Vec::new(),
        livekit: kept.livekit,
        settings: Arc::new(kept.settings.unwrap_or_default()),
        now: false,
        line: 0,
    };
    Some((entry, row.id, secrets))
}
