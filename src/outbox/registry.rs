//! Which hooks the store knows: ids that outlive restarts, pauses, and what removed hooks left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::{Deserialize, Serialize};

use super::pending;
use super::seal::Sealer;
use crate::hooks::{Entry, Format, HookTable, HostPattern, KeyPair, Settings, Signing, Tenant};
use crate::ids::HookId;
use crate::signature::{MasterSecret, Secret};
use crate::time::{UnixMillis, millis};

/// After a secret was changed, the one before signs beside it for this long.
const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// How long a hook was paused before, and since when it is now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pause {
    pub since: Option<UnixMillis>,
    pub before_ms: i64,
}

impl Pause {
    /// Milliseconds it has been paused in all, until `now`.
    pub fn total(&self, now: UnixMillis) -> i64 {
        self.before_ms + self.since.map_or(0, |since| (now.0 - since.0).max(0))
    }
}

/// Who paused a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PausedBy {
    /// Its receiver, by answering 410.
    Gone,
    /// The operator, in the hooks file.
    File,
}

impl PausedBy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::File => "file",
        }
    }
}

/// A row of `hooks`.
struct Known {
    id: HookId,
    host: String,
    tenant: String,
    url: String,
    kept: Kept,
    removed: bool,
    pause: Pause,
    paused_by_file: bool,
}

/// What the store keeps sealed of a hook.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    /// Secrets the operator gave.
    given: Vec<Secret>,
    /// Secrets that were current before, and until when they sign.
    older: Vec<(Secret, i64)>,
    /// The tenant's own LiveKit key.
    livekit: Option<Box<KeyPair>>,
    /// Its changes move calls in progress.
    now: bool,
    /// Absent: the defaults.
    settings: Option<Settings>,
}

/// What the store has to learn of a hook.
#[derive(Debug)]
pub enum Change {
    /// A new hook.
    Add { id: HookId, host: String, tenant: String, url: String, kept: Option<Vec<u8>> },
    /// Another URL, other secrets or other settings.
    Alter { id: HookId, url: String, kept: Option<Vec<u8>> },
    /// It is gone; what was routed to it still goes there.
    Remove { id: HookId, at: UnixMillis },
    /// Its calls in progress go to its new URL, in its new format.
    Move { id: HookId, url: String, format: Format },
    /// Its calls in progress are nobody's from here on.
    Cut { id: HookId },
}

/// Events come for so long after a call's end.
const LATE: Duration = Duration::from_secs(3600);

impl Change {
    /// Whether calls go elsewhere by it.
    pub fn moves_calls(&self) -> bool {
        matches!(self, Self::Move { .. } | Self::Cut { .. })
    }
}

/// The hook of calls that were cut off: there is none, and there never will be.
const NOBODY: i64 = 0;

/// What a hook table means for the store: planned by a reader, carried out by the writer.
#[derive(Default)]
pub struct Plan {
    /// The table, complete with ids and secrets.
    pub table: HookTable,
    /// What the store has to learn, in order.
    pub changes: Vec<Change>,
    /// Where calls in progress go instead, once the table is in force.
    pub moves: Vec<Change>,
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
pub fn plan(
    connection: &Connection,
    entries: Vec<Entry>,
    master: &MasterSecret,
    now: UnixMillis,
) -> Result<Plan> {
    let vault = Vault { connection, sealer: Sealer::new(master), master, now };
    let (mut live, mut removed) = (HashMap::new(), Vec::new());
    for row in load(&vault)? {
        if row.removed {
            removed.push(row);
        } else {
            live.insert(row.host.clone(), row);
        }
    }
    let mut planner = Planner { vault: &vault, next_id: next_id(connection)?, plan: Plan::default() };
    let mut numbered = Vec::with_capacity(entries.len());
    for entry in entries {
        let row = live.remove(&entry.host.to_string());
        let (kept, passed_on) = match row {
            Some(row) if row.tenant != entry.tenant.as_str() => (None, Some(row)),
            row => (row, None),
        };
        // The host has passed to another tenant: another hook.
        if let Some(row) = passed_on {
            planner.plan.changes.push(Change::Remove { id: row.id, at: now });
            if entry.now {
                planner.plan.moves.push(Change::Cut { id: row.id });
            }
            removed.push(row);
        }
        let (id, secrets) = match kept {
            Some(row) => (row.id, planner.keep(&row, &entry)?),
            None => planner.add(&entry)?,
        };
        numbered.push((entry, id, secrets));
    }
    for (host, row) in live {
        planner.plan.changes.push(Change::Remove { id: row.id, at: now });
        planner.plan.difference.removed.push(host);
        removed.push(row);
    }
    let (busy, mut retired) = (pending::busy(connection)?, Vec::new());
    let calling = pending::calling(connection, now.0 - millis(LATE))?;
    for row in removed {
        let has_calls = calling.contains(&row.id);
        // One removed only now stays known in any case: until the swap events are still routed to it.
        if !row.removed || busy.contains(&row.id) {
            retired.extend(retire(&vault, row)?.map(|hook| (hook, has_calls)));
        }
    }
    Ok(Plan { table: HookTable::build(numbered, retired), ..planner.plan })
}

/// What opens, seals and derives secrets.
struct Vault<'a> {
    connection: &'a Connection,
    sealer: Sealer,
    master: &'a MasterSecret,
    now: UnixMillis,
}

struct Planner<'a> {
    vault: &'a Vault<'a>,
    next_id: i64,
    plan: Plan,
}

impl Planner<'_> {
    fn add(&mut self, entry: &Entry) -> Result<(HookId, Vec<Signing>)> {
        let id = HookId(self.next_id);
        self.next_id += 1;
        let (given, livekit) = (entry.secrets.clone(), entry.livekit.clone());
        let kept = Kept { given, older: Vec::new(), livekit, now: entry.now, settings: unusual(entry) };
        let secrets = self.vault.signing(&entry.tenant, &kept)?;
        let (host, tenant, url) = (entry.host.to_string(), entry.tenant.to_string(), entry.url.to_string());
        self.plan.difference.added.push(host.clone());
        self.plan.changes.push(Change::Add { id, host, tenant, url, kept: self.vault.seal(id, &kept) });
        if entry.settings.paused {
            self.plan.paused.push(id);
        }
        Ok((id, secrets))
    }

    fn keep(&mut self, row: &Known, entry: &Entry) -> Result<Vec<Signing>> {
        let (id, now) = (row.id, self.vault.now);
        let resigned = row.kept.given != entry.secrets;
        let mut kept = Kept {
            given: entry.secrets.clone(),
            older: row.kept.older.iter().filter(|(_, until)| now.0 < *until).cloned().collect(),
            livekit: entry.livekit.clone(),
            now: entry.now,
            settings: unusual(entry),
        };
        if resigned {
            let before = self.vault.current(&entry.tenant, &row.kept.given)?;
            let until = now.after(OVERLAP).0;
            kept.older.extend(before.into_iter().map(|secret| (secret, until)));
            self.plan.difference.resigned.push(row.host.clone());
        }
        let moved = row.url != entry.url.as_str();
        if moved || kept != row.kept {
            let sealed = self.vault.seal(id, &kept);
            self.plan.changes.push(Change::Alter { id, url: entry.url.to_string(), kept: sealed });
        }
        let before = row.kept.settings.as_ref().map_or(Format::Raw, |settings| settings.format);
        // Also where it is added to an entry that was changed before.
        if entry.now && (moved || before != entry.settings.format || !row.kept.now) {
            let (url, format) = (entry.url.to_string(), entry.settings.format);
            self.plan.moves.push(Change::Move { id, url, format });
        }
        let other_key = kept.livekit != row.kept.livekit;
        if moved || resigned || other_key || kept.settings != row.kept.settings {
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

/// Carries out one change.
pub fn apply(connection: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::Add { id, host, tenant, url, kept } => connection
            .prepare_cached("INSERT INTO hooks (id, host, tenant, url, kept) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![id.0, host, tenant, url, kept]),
        Change::Alter { id, url, kept } => connection
            .prepare_cached("UPDATE hooks SET url = ?2, kept = ?3 WHERE id = ?1")?
            .execute(params![id.0, url, kept]),
        Change::Remove { id, at } => connection
            .prepare_cached("UPDATE hooks SET removed_at = ?2, paused_at = NULL WHERE id = ?1")?
            .execute(params![id.0, at.0]),
        // A look through all calls: an index would cost each of them a page, for what is rare.
        Change::Move { id, url, format } => {
            let moved = params![id.0, url, format.as_str()];
            connection
                .prepare_cached("UPDATE calls SET url = ?2, format = ?3 WHERE hook = ?1 AND (url <> ?2 OR format <> ?3)")?
                .execute(moved)?;
            connection
                .prepare_cached("UPDATE participants SET url = ?2, format = ?3 WHERE hook = ?1 AND (url <> ?2 OR format <> ?3)")?
                .execute(moved)
        }
        Change::Cut { id } => {
            connection
                .prepare_cached("UPDATE calls SET hook = ?2 WHERE hook = ?1")?
                .execute([id.0, NOBODY])?;
            connection
                .prepare_cached("UPDATE participants SET hook = ?2 WHERE hook = ?1")?
                .execute([id.0, NOBODY])
        }
    }
    .map(drop)
}

/// Hooks that are or were paused.
pub fn pauses(connection: &Connection) -> Result<HashMap<HookId, Pause>> {
    connection
        .prepare(
            "SELECT id, paused_at, paused_ms FROM hooks \
             WHERE removed_at IS NULL AND (paused_at IS NOT NULL OR paused_ms > 0)",
        )?
        .query_map([], |row| Ok((HookId(row.get(0)?), pause(row, 1)?)))?
        .collect()
}

fn pause(row: &Row<'_>, first: usize) -> Result<Pause> {
    Ok(Pause { since: row.get::<_, Option<i64>>(first)?.map(UnixMillis), before_ms: row.get(first + 1)? })
}

/// A tenant's derived secret is renewed.
pub fn rotate(connection: &Connection, tenant: &Tenant, at: UnixMillis) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO tenants (tenant, generation, rotated_at) VALUES (?1, 2, ?2) \
             ON CONFLICT (tenant) DO UPDATE SET generation = generation + 1, rotated_at = ?2",
        )?
        .execute(params![tenant.as_str(), at.0])
        .map(drop)
}

/// The id of the next new hook: ids are never used again.
fn next_id(connection: &Connection) -> Result<i64> {
    let used = "SELECT seq FROM sqlite_sequence WHERE name = 'hooks'";
    let last: Option<i64> = connection.query_row(used, [], |row| row.get(0)).optional()?;
    Ok(last.unwrap_or(0) + 1)
}

fn load(vault: &Vault<'_>) -> Result<Vec<Known>> {
    let read = |row: &Row<'_>| {
        let id = HookId(row.get(0)?);
        Ok(Known {
            id,
            host: row.get(1)?,
            tenant: row.get(2)?,
            url: row.get(3)?,
            kept: row.get::<_, Option<Vec<u8>>>(4)?.map(|sealed| vault.open(id, &sealed)).unwrap_or_default(),
            removed: row.get::<_, Option<i64>>(5)?.is_some(),
            pause: pause(row, 6)?,
            paused_by_file: row.get::<_, Option<String>>(8)?.as_deref() == Some(PausedBy::File.as_str()),
        })
    };
    vault
        .connection
        .prepare(
            "SELECT id, host, tenant, url, kept, removed_at, paused_at, paused_ms, paused_by FROM hooks",
        )?
        .query_map([], read)?
        .collect()
}

/// A removed hook as its last deliveries need it: the last URL, secrets and settings.
fn retire(vault: &Vault<'_>, row: Known) -> Result<Option<(Entry, HookId, Vec<Signing>)>> {
    let parts = (HostPattern::parse(&row.host), Tenant::new(&row.tenant), Url::parse(&row.url));
    let (Ok(host), Some(tenant), Ok(url)) = parts else { return Ok(None) };
    let secrets = vault.signing(&tenant, &row.kept)?;
    let entry = Entry {
        host,
        tenant,
        url,
        secrets: Vec::new(),
        numbers: Vec::new(),
        trunks: Vec::new(),
        livekit: row.kept.livekit,
        settings: Arc::new(row.kept.settings.unwrap_or_default()),
        now: false,
        line: 0,
    };
    Ok(Some((entry, row.id, secrets)))
}

impl Vault<'_> {
    fn seal(&self, id: HookId, kept: &Kept) -> Option<Vec<u8>> {
        if *kept == Kept::default() {
            return None;
        }
        let text = zeroize::Zeroizing::new(serde_json::to_string(kept).ok()?);
        self.sealer.seal(&context(id), &text)
    }

    fn open(&self, id: HookId, sealed: &[u8]) -> Kept {
        let opened = self.sealer.open(&context(id), sealed);
        opened.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// What signs for a hook: the current secrets first, then older ones for as long as they do.
    fn signing(&self, tenant: &Tenant, kept: &Kept) -> Result<Vec<Signing>> {
        let current = self.current(tenant, &kept.given)?;
        let mut older: Vec<(Secret, i64)> = kept.older.clone();
        if kept.given.is_empty()
            && let (generation, Some(rotated_at)) = self.generation(tenant)?
        {
            let until = rotated_at.saturating_add(millis(OVERLAP));
            older.extend(
                self.master.derive(tenant.as_str(), generation - 1).into_iter().map(|secret| (secret, until)),
            );
        }
        older.retain(|(secret, until)| self.now.0 < *until && !current.contains(secret));
        let older =
            older.into_iter().map(|(secret, until)| Signing { secret, until: Some(UnixMillis(until)) });
        Ok(current.into_iter().map(Signing::current).chain(older).collect())
    }

    /// The given secrets, else the tenant's derived ones.
    fn current(&self, tenant: &Tenant, given: &[Secret]) -> Result<Vec<Secret>> {
        if !given.is_empty() {
            return Ok(given.to_vec());
        }
        let (generation, _) = self.generation(tenant)?;
        Ok(self.master.derive(tenant.as_str(), generation))
    }

    /// A tenant's generation, and when it was last renewed.
    fn generation(&self, tenant: &Tenant) -> Result<(i64, Option<i64>)> {
        let known = self
            .connection
            .prepare_cached("SELECT generation, rotated_at FROM tenants WHERE tenant = ?1")?
            .query_row([tenant.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(known.unwrap_or((1, None)))
    }
}

fn context(id: HookId) -> String {
    format!("hook/{}", id.0)
}
