//! Which hooks the store knows: ids that outlive restarts, pauses, and what removed hooks left.

use std::collections::HashMap;

use reqwest::Url;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::pending;
use super::seal::Sealer;
use crate::hooks::{Entry, HookTable, HostPattern, Tenant};
use crate::ids::HookId;
use crate::signature::{MasterSecret, Secret};
use crate::time::UnixMillis;

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

/// A row of `hooks`.
struct Known {
    id: HookId,
    host: String,
    tenant: String,
    url: String,
    secrets: Option<Vec<u8>>,
    removed: bool,
    pause: Pause,
}

/// What the store has to learn of a hook.
#[derive(Debug)]
pub enum Change {
    /// A new hook.
    Add { id: HookId, host: String, tenant: String, url: String, secrets: Option<Vec<u8>> },
    /// Another URL or other secrets.
    Alter { id: HookId, url: String, secrets: Option<Vec<u8>> },
    /// It is gone; what was routed to it still goes there.
    Remove { id: HookId, at: UnixMillis },
}

/// What a hook table means for the store: planned by a reader, carried out by the writer.
pub struct Plan {
    /// The table, complete with ids and secrets.
    pub table: HookTable,
    /// What the store has to learn, in order.
    pub changes: Vec<Change>,
    /// Hooks that are paused and have a new URL: it is how a tenant whose receiver answered 410
    /// comes back.
    pub resumed: Vec<HookId>,
    /// What is different, for the log: added, changed, removed hosts.
    pub difference: Difference,
}

/// What a new table changed.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

/// Plans a table: every entry has the id it had, or a new one; what is no longer there is removed.
/// A hook stays itself as long as its host and tenant do.
pub fn plan(
    connection: &Connection,
    entries: Vec<Entry>,
    master: &MasterSecret,
    now: UnixMillis,
) -> Result<Plan> {
    let sealer = Sealer::new(master);
    let mut next_id = next_id(connection)?;
    let (mut live, mut removed) = (HashMap::new(), Vec::new());
    for row in load(connection)? {
        if row.removed {
            removed.push(row);
        } else {
            live.insert(row.host.clone(), row);
        }
    }
    let (mut changes, mut resumed, mut difference) = (Vec::new(), Vec::new(), Difference::default());
    let mut numbered = Vec::with_capacity(entries.len());
    for entry in entries {
        let host = entry.host.to_string();
        let given = spelled(&entry.secrets);
        let url = entry.url.as_str();
        let kept = match live.remove(&host) {
            Some(row) if row.tenant == entry.tenant.as_str() => Some(row),
            // The host has passed to another tenant: another hook.
            Some(row) => {
                changes.push(Change::Remove { id: row.id, at: now });
                removed.push(row);
                None
            }
            None => None,
        };
        let id = match kept {
            Some(row) => {
                let opened = row.secrets.as_deref().and_then(|sealed| sealer.open(&context(row.id), sealed));
                if row.url != url || opened.as_deref().map_or("", String::as_str) != given {
                    let secrets = seal(&sealer, row.id, &given);
                    changes.push(Change::Alter { id: row.id, url: url.to_owned(), secrets });
                    difference.changed.push(host);
                }
                if row.url != url && row.pause.since.is_some() {
                    resumed.push(row.id);
                }
                row.id
            }
            None => {
                let id = HookId(next_id);
                next_id += 1;
                let (secrets, tenant) = (seal(&sealer, id, &given), entry.tenant.to_string());
                difference.added.push(host.clone());
                changes.push(Change::Add { id, host, tenant, url: url.to_owned(), secrets });
                id
            }
        };
        let secrets = signing(connection, &entry.tenant, entry.secrets.clone(), master)?;
        numbered.push((entry, id, secrets));
    }
    for (host, row) in live {
        changes.push(Change::Remove { id: row.id, at: now });
        difference.removed.push(host);
        removed.push(row);
    }
    let (busy, mut retired) = (pending::busy(connection)?, Vec::new());
    for row in removed {
        // One removed only now stays known in any case: until the swap events are still routed to it.
        if !row.removed || busy.contains(&row.id) {
            retired.extend(retire(connection, &row, master, &sealer)?);
        }
    }
    Ok(Plan { table: HookTable::build(numbered, retired), changes, resumed, difference })
}

/// Carries out one change.
pub fn apply(connection: &Connection, change: &Change) -> Result<()> {
    match change {
        Change::Add { id, host, tenant, url, secrets } => connection
            .prepare_cached("INSERT INTO hooks (id, host, tenant, url, secrets) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![id.0, host, tenant, url, secrets]),
        Change::Alter { id, url, secrets } => connection
            .prepare_cached("UPDATE hooks SET url = ?2, secrets = ?3 WHERE id = ?1")?
            .execute(params![id.0, url, secrets]),
        Change::Remove { id, at } => connection
            .prepare_cached("UPDATE hooks SET removed_at = ?2, paused_at = NULL WHERE id = ?1")?
            .execute(params![id.0, at.0]),
    }
    .map(drop)
}

/// Hooks that are or were paused.
pub fn pauses(connection: &Connection) -> Result<HashMap<HookId, Pause>> {
    let known = load(connection)?.into_iter().filter(|row| !row.removed);
    let paused = known.filter(|row| row.pause.since.is_some() || row.pause.before_ms > 0);
    Ok(paused.map(|row| (row.id, row.pause)).collect())
}

/// The id of the next new hook: ids are never used again.
fn next_id(connection: &Connection) -> Result<i64> {
    let used = "SELECT seq FROM sqlite_sequence WHERE name = 'hooks'";
    let last: Option<i64> = connection.query_row(used, [], |row| row.get(0)).optional()?;
    Ok(last.unwrap_or(0) + 1)
}

fn load(connection: &Connection) -> Result<Vec<Known>> {
    let read = |row: &Row<'_>| {
        Ok(Known {
            id: HookId(row.get(0)?),
            host: row.get(1)?,
            tenant: row.get(2)?,
            url: row.get(3)?,
            secrets: row.get(4)?,
            removed: row.get::<_, Option<i64>>(5)?.is_some(),
            pause: Pause { since: row.get::<_, Option<i64>>(6)?.map(UnixMillis), before_ms: row.get(7)? },
        })
    };
    connection
        .prepare("SELECT id, host, tenant, url, secrets, removed_at, paused_at, paused_ms FROM hooks")?
        .query_map([], read)?
        .collect()
}

fn seal(sealer: &Sealer, id: HookId, given: &str) -> Option<Vec<u8>> {
    (!given.is_empty()).then(|| sealer.seal(&context(id), given)).flatten()
}

fn context(id: HookId) -> String {
    format!("hook/{}", id.0)
}

fn spelled(secrets: &[Secret]) -> String {
    secrets.iter().map(|secret| secret.reveal().to_string()).collect::<Vec<_>>().join(" ")
}

/// A removed hook as its last deliveries need it: the last URL, the last secrets.
fn retire(
    connection: &Connection,
    row: &Known,
    master: &MasterSecret,
    sealer: &Sealer,
) -> Result<Option<(Entry, HookId, Vec<Secret>)>> {
    let parts = (HostPattern::parse(&row.host), Tenant::new(&row.tenant), Url::parse(&row.url));
    let (Ok(host), Some(tenant), Ok(url)) = parts else { return Ok(None) };
    let opened = row.secrets.as_deref().and_then(|sealed| sealer.open(&context(row.id), sealed));
    let given = opened.as_deref().map_or("", String::as_str);
    let given = given.split(' ').filter_map(|secret| Secret::parse(secret).ok()).collect();
    let secrets = signing(connection, &tenant, given, master)?;
    let entry = Entry { host, tenant, url, secrets: Vec::new(), numbers: Vec::new(), trunks: Vec::new() };
    Ok(Some((entry, row.id, secrets)))
}

/// What signs for a hook: the given secrets, else the tenant's derived ones.
fn signing(
    connection: &Connection,
    tenant: &Tenant,
    given: Vec<Secret>,
    master: &MasterSecret,
) -> Result<Vec<Secret>> {
    if !given.is_empty() {
        return Ok(given);
    }
    let generation = connection
        .prepare_cached("SELECT generation FROM tenants WHERE tenant = ?1")?
        .query_row([tenant.as_str()], |row| row.get(0))
        .optional()?
        .unwrap_or(1);
    Ok(master.derive(tenant.as_str(), generation))
}
