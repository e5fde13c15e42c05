//! What a new hook table changes in the store: planned here, carried out by the writer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use reqwest::Url;

use super::claims::TakenClaims;
use super::difference::{ChangedHook, Difference, parts};
use super::kept::{KeptHook, UnreadableSettings, Vault};
use super::pauses::PausedBy;
use super::records::{HookChange, HookRow, StoredHooks};
use crate::hooks::{
    Entry, Format, Hook, HookTable, HostPattern, Layer, Number, Origin, SetAside, Settings, Tenant, Terms,
    UnreadableHook,
};
use crate::ids::HookId;
use crate::signature::MasterSecret;
use crate::time::UnixMillis;

/// A stored hook, opened.
struct KnownHook {
    row: HookRow,
    kept: Result<KeptHook, UnreadableSettings>,
}

/// What a hook table changes in the store.
pub struct Plan {
    /// The table, complete with ids and secrets.
    pub table: HookTable,
    /// What single edits of it are planned from.
    pub registry: Registry,
    /// What the store has to learn, in order.
    pub changes: Vec<HookChange>,
    /// Where calls in progress go instead, once the table is in force.
    pub moves: Vec<HookChange>,
    /// Hooks that are paused and have a new URL, which is how a tenant whose receiver answered 410
    /// comes back; and those the file no longer pauses.
    pub resumed: Vec<HookId>,
    /// Hooks the file pauses.
    pub paused: Vec<HookId>,
    /// What is different, for the log.
    pub difference: Difference,
}

/// What edits of a hook table are planned from, besides the table: secrets, the file's `defaults:` and `limits:`.
pub struct Registry {
    pub(super) vault: Vault,
    pub(super) terms: Terms,
    /// The id of the next new hook.
    pub(super) next_id: i64,
}

impl Registry {
    /// Opens what is sealed of these hooks' URLs.
    pub fn reveal(&self, rows: &mut [HookRow]) {
        rows.iter_mut().for_each(|row| row.reveal(&self.vault));
    }
}

/// Plans a table: every entry has the id it had, or a new one; what is no longer there is removed.
/// A hook stays itself as long as its host and tenant do. Hooks of the API stay as they are, but where the file has
/// the same host, number, trunk or LiveKit key, the file's is in force. `before`: the table in force.
pub fn plan(
    stored: StoredHooks,
    (entries, terms): (Vec<Entry>, Terms),
    before: &HookTable,
    master: &MasterSecret,
    now: UnixMillis,
) -> Plan {
    let StoredHooks { hooks, generations, busy, calling, next_id } = stored;
    let mut planner = Planner::new(Vault::new(master, generations), next_id, before, now);
    let (mut file, mut api, mut removed) = (HashMap::new(), Vec::new(), Vec::new());
    for mut row in hooks {
        row.reveal(&planner.vault);
        let kept = row.open(&planner.vault);
        let known = KnownHook { row, kept };
        match (known.row.removed, known.row.origin.layer) {
            (true, _) => removed.push(known),
            (false, Layer::File) => drop(file.insert(known.row.host.clone(), known)),
            (false, Layer::Api) => api.push(known),
        }
    }
    for entry in entries {
        let known = file.remove(&entry.host.to_string());
        let (kept, passed_on) = match known {
            Some(known) if known.row.tenant != entry.tenant.as_str() => (None, Some(known)),
            known => (known, None),
        };
        // The host has passed to another tenant: another hook.
        if let Some(known) = passed_on {
            planner.pass_on(&known.row, entry.now);
            removed.push(known);
        }
        match kept {
            Some(known) => planner.keep(&known, entry),
            None => planner.add(entry),
        }
    }
    for (host, known) in file {
        planner.changes.push(HookChange::Remove { id: known.row.id, at: now });
        planner.difference.removed.push(host);
        removed.push(known);
    }
    planner.lay_under(api);
    planner.finish(removed, (&busy, &calling), terms)
}

struct Planner<'a> {
    vault: Vault,
    next_id: i64,
    before: &'a HookTable,
    now: UnixMillis,
    live: Vec<Arc<Hook>>,
    aside: SetAside,
    changes: Vec<HookChange>,
    moves: Vec<HookChange>,
    resumed: Vec<HookId>,
    paused: Vec<HookId>,
    difference: Difference,
}

impl<'a> Planner<'a> {
    fn new(vault: Vault, next_id: i64, before: &'a HookTable, now: UnixMillis) -> Self {
        Self {
            vault,
            next_id,
            before,
            now,
            live: Vec::new(),
            aside: SetAside::default(),
            changes: Vec::new(),
            moves: Vec::new(),
            resumed: Vec::new(),
            paused: Vec::new(),
            difference: Difference::default(),
        }
    }

    fn pass_on(&mut self, row: &HookRow, now: bool) {
        self.changes.push(HookChange::Remove { id: row.id, at: self.now });
        if now {
            self.moves.push(HookChange::Cut { id: row.id });
        }
    }

    fn add(&mut self, entry: Entry) {
        let id = HookId(self.next_id);
        self.next_id += 1;
        let (given, livekit) = (entry.secrets.clone(), entry.livekit.clone());
        let kept =
            KeptHook { given, livekit, now: entry.now, settings: unusual(&entry), ..KeptHook::default() };
        let secrets = self.vault.signing(&entry.tenant, &kept, self.now);
        let (host, tenant, url) = (entry.host.to_string(), entry.tenant.to_string(), entry.url.to_string());
        let origin = Origin { created_at: Some(self.now), changed_at: Some(self.now), ..Origin::default() };
        self.difference.added.push(host.clone());
        let kept = self.vault.seal(id, &kept);
        self.changes.push(HookChange::Add { id, host, tenant, url, kept, origin });
        if entry.settings.paused {
            self.paused.push(id);
        }
        self.live.push(Arc::new(Hook::new(entry, id, secrets, origin)));
    }

    fn keep(&mut self, known: &KnownHook, entry: Entry) {
        let (row, now) = (&known.row, self.now);
        // What the file says holds; only the older secrets of an unreadable one are missing.
        let known_kept = self.note_if_unreadable(known);
        let older = known_kept.map(|kept| self.vault.older(&entry.tenant, kept, &entry.secrets, now));
        let (older, resigned) = older.unwrap_or_default();
        let (given, livekit) = (entry.secrets.clone(), entry.livekit.clone());
        let settings = unusual(&entry);
        let mut kept = KeptHook { given, older, livekit, now: entry.now, settings, ..KeptHook::default() };
        // The operator's file is always in force as a whole, so it is the oldest secret that gives way.
        if self.vault.bound(&entry.tenant, &mut kept, now) {
            self.difference.unsigned.push(row.host.clone());
        }
        if resigned {
            self.difference.resigned.push(row.host.clone());
        }
        let moved = row.url != entry.url.as_str();
        let mut origin = row.origin;
        if moved || known_kept != Some(&kept) {
            (origin.version, origin.changed_at) = (row.origin.version + 1, Some(now));
            let (sealed, version) = (self.vault.seal(row.id, &kept), origin.version);
            let url = entry.url.to_string();
            self.changes.push(HookChange::Alter { id: row.id, url, kept: sealed, version, at: now });
        }
        let before = known_kept.and_then(|kept| kept.settings.as_ref());
        let reformed = before.map_or(Format::Raw, |settings| settings.format) != entry.settings.format;
        // Also if `now` is added to an entry that was changed before.
        if entry.now && (moved || reformed || !known_kept.is_some_and(|kept| kept.now)) {
            let (url, format) = (entry.url.to_string(), entry.settings.format);
            self.moves.push(HookChange::Move { id: row.id, url, format });
        }
        self.pause_or_resume(row, entry.settings.paused, moved);
        let keeps_calls = (moved || reformed) && !entry.now;
        let secrets = self.vault.signing(&entry.tenant, &kept, now);
        let hook = Arc::new(Hook::new(entry, row.id, secrets, origin));
        self.note_changed(&hook, keeps_calls);
        self.live.push(hook);
    }

    fn note_changed(&mut self, hook: &Arc<Hook>, keeps_calls: bool) {
        let parts = self.before.by_id(hook.id).map(|before| parts(before, hook)).unwrap_or_default();
        if !parts.is_empty() {
            let (id, host) = (hook.id, hook.host.to_string());
            self.difference.changed.push(ChangedHook { id, host, parts, keeps_calls, calls: 0 });
        }
    }

    fn pause_or_resume(&mut self, row: &HookRow, is_to_pause: bool, moved: bool) {
        let by = row.pause.since.map(|_| row.pause.by.unwrap_or(PausedBy::Gone));
        match (is_to_pause, by) {
            (true, None | Some(PausedBy::Gone)) => self.paused.push(row.id),
            (false, Some(PausedBy::File)) => self.resumed.push(row.id),
            (false, Some(PausedBy::Gone)) if moved => self.resumed.push(row.id),
            (true, Some(PausedBy::File | PausedBy::Api)) | (false, _) => {}
        }
    }

    /// What is stored of a hook, if it can be read.
    fn note_if_unreadable<'k>(&mut self, known: &'k KnownHook) -> Option<&'k KeptHook> {
        known.kept.as_ref().map_err(|why| self.aside.unreadable.push(unreadable(&known.row, why))).ok()
    }

    /// Adds the hooks of the API, below those of the file.
    fn lay_under(&mut self, mut api: Vec<KnownHook>) {
        if api.is_empty() {
            return;
        }
        let hosts: HashSet<_> = self.live.iter().map(|hook| hook.host.clone()).collect();
        let mut claims = TakenClaims::of(&self.live);
        api.sort_by_key(|known| known.row.id);
        for known in api {
            let Some(kept) = self.note_if_unreadable(&known) else { continue };
            let secrets = |tenant: &Tenant| self.vault.signing(tenant, kept, self.now);
            let Some(mut hook) = stored_hook(&known.row, kept, secrets) else {
                self.aside.unreadable.push(unreadable(&known.row, &UnreadableSettings::Damaged(0)));
                continue;
            };
            let host = hook.host.clone();
            let was_aside = self.before.aside().hooks.contains_key(&host);
            if hosts.contains(&host) {
                if !was_aside {
                    self.difference.shadowed.push(host.to_string());
                }
                self.aside.hooks.insert(host, Arc::new(hook));
                continue;
            }
            self.aside.claims.extend(claims.take(&mut hook));
            if was_aside {
                self.difference.returned.push(host.to_string());
            }
            let hook = Arc::new(hook);
            self.note_changed(&hook, false);
            self.live.push(hook);
        }
    }

    fn finish(
        mut self,
        removed: Vec<KnownHook>,
        (busy, calling): (&HashSet<HookId>, &HashSet<HookId>),
        terms: Terms,
    ) -> Plan {
        // What was routed to one that is set aside still goes there.
        let aside = self.aside.hooks.values().map(|hook| (Arc::clone(hook), calling.contains(&hook.id)));
        let mut retired: Vec<_> = aside.collect();
        for known in removed {
            let row = &known.row;
            // A hook that is removed now stays in the table in any case: events are routed to it until the swap.
            if row.removed && !busy.contains(&row.id) {
                continue;
            }
            let Some(kept) = self.note_if_unreadable(&known) else { continue };
            let secrets = |tenant: &Tenant| self.vault.signing(tenant, kept, self.now);
            if let Some(hook) = stored_hook(row, kept, secrets) {
                retired.push((Arc::new(hook), calling.contains(&row.id)));
            }
        }
        let Self { vault, next_id, live, aside, changes, moves, resumed, paused, difference, .. } = self;
        let table = HookTable::index(live, retired, aside).within(terms.limits());
        let registry = Registry { vault, terms, next_id };
        Plan { table, registry, changes, moves, resumed, paused, difference }
    }
}

/// Settings that are not the defaults.
pub(super) fn unusual(entry: &Entry) -> Option<Settings> {
    (*entry.settings != Settings::default()).then(|| (*entry.settings).clone())
}

fn unreadable(row: &HookRow, why: &UnreadableSettings) -> UnreadableHook {
    let (host, tenant) = (row.host.clone(), row.tenant.clone());
    let is_damaged = row.is_damaged;
    UnreadableHook { id: row.id, host, tenant, why: why.to_string(), fix: why.fix(), is_damaged }
}

/// A hook as it is stored: one of the API, or a removed one as its last deliveries need it.
pub(super) fn stored_hook(
    row: &HookRow,
    kept: &KeptHook,
    secrets: impl FnOnce(&Tenant) -> Vec<crate::hooks::Signing>,
) -> Option<Hook> {
    let host = HostPattern::parse(&row.host).ok()?;
    let (tenant, url) = (Tenant::new(&row.tenant)?, Url::parse(&row.url).ok()?);
    let signing = secrets(&tenant);
    let entry = Entry {
        host,
        tenant,
        url,
        secrets: kept.given.clone(),
        numbers: kept.numbers.iter().filter_map(|number| Number::new(number)).collect(),
        trunks: kept.trunks.clone(),
        livekit: kept.livekit.clone(),
        settings: kept.settings.clone().map(Arc::new).unwrap_or_default(),
        now: false,
        private: kept.private || row.origin.layer == Layer::File,
        line: 0,
    };
    Some(Hook::new(entry, row.id, signing, row.origin))
}
