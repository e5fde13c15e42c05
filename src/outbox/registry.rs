//! Which hooks the store knows: ids that outlive restarts, pauses, and what removed hooks left.

use std::collections::HashMap;

use reqwest::Url;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::rows;
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

/// A row of `hooks` that is not removed, or still has deliveries.
struct Known {
    id: HookId,
    host: String,
    tenant: String,
    url: String,
    secrets: Option<Vec<u8>>,
    removed: bool,
    pause: Pause,
}

/// What the store makes of the entries of a hooks file.
pub struct Registered {
    /// The table, complete with ids and secrets.
    pub table: HookTable,
    /// Hooks that are or were paused.
    pub pauses: HashMap<HookId, Pause>,
}

/// Gives every entry the id it has, or a new one; what is no longer there is marked removed.
///
/// A hook stays itself as long as its host and tenant do. A new URL ends a pause: it is how a
/// tenant whose receiver answered 410 comes back.
pub fn register(
    connection: &mut Connection,
    entries: Vec<Entry>,
    master: &MasterSecret,
    now: UnixMillis,
) -> Result<Registered> {
    let sealer = Sealer::new(master);
    let transaction = connection.transaction()?;
    let mut known: HashMap<String, Known> = HashMap::new();
    let mut removed = Vec::new();
    for row in load(&transaction)? {
        if row.removed {
            removed.push(row);
        } else {
            known.insert(row.host.clone(), row);
        }
    }
    let mut pauses = HashMap::new();
    let mut live = Vec::with_capacity(entries.len());
    for entry in entries {
        let existing = known.remove(&entry.host.to_string());
        let id = match existing {
            Some(row) if row.tenant == entry.tenant.as_str() => {
                keep(&transaction, &row, &entry, &sealer, now)?;
                if row.pause.since.is_some() || row.pause.before_ms > 0 {
                    pauses.insert(row.id, row.pause);
                }
                if row.url != entry.url.as_str()
                    && let Some(since) = row.pause.since
                {
                    let before_ms = row.pause.before_ms + (now.0 - since.0).max(0);
                    pauses.insert(row.id, Pause { since: None, before_ms });
                }
                row.id
            }
            other => {
                if let Some(row) = other {
                    remove(&transaction, row.id, now)?;
                    removed.push(row);
                }
                insert(&transaction, &entry, &sealer)?
            }
        };
        let secrets = signing(&transaction, &entry.tenant, entry.secrets.clone(), master)?;
        live.push((entry, id, secrets));
    }
    for (_, row) in known {
        remove(&transaction, row.id, now)?;
        removed.push(row);
    }
    let mut retired = Vec::new();
    for row in removed {
        if has_pending(&transaction, row.id)? {
            retired.extend(retire(&transaction, &row, master, &sealer)?);
        }
    }
    transaction.commit()?;
    let table = HookTable::build(live, retired);
    Ok(Registered { table, pauses })
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

fn insert(connection: &Connection, entry: &Entry, sealer: &Sealer) -> Result<HookId> {
    connection
        .prepare_cached("INSERT INTO hooks (host, tenant, url) VALUES (?1, ?2, ?3)")?
        .execute(params![entry.host.to_string(), entry.tenant.as_str(), entry.url.as_str()])?;
    let id = HookId(connection.last_insert_rowid());
    if !entry.secrets.is_empty() {
        store_secrets(connection, id, entry, sealer)?;
    }
    Ok(id)
}

fn keep(connection: &Connection, row: &Known, entry: &Entry, sealer: &Sealer, now: UnixMillis) -> Result<()> {
    if row.url != entry.url.as_str() {
        connection
            .prepare_cached("UPDATE hooks SET url = ?2 WHERE id = ?1")?
            .execute(params![row.id.0, entry.url.as_str()])?;
        rows::resume(connection, row.id, now)?;
    }
    let given = spelled(&entry.secrets);
    let stored = row.secrets.as_deref().and_then(|sealed| sealer.open(&context(row.id), sealed));
    if stored.as_deref().map_or("", String::as_str) != given {
        store_secrets(connection, row.id, entry, sealer)?;
    }
    Ok(())
}

fn store_secrets(connection: &Connection, id: HookId, entry: &Entry, sealer: &Sealer) -> Result<()> {
    let given = spelled(&entry.secrets);
    let sealed = (!given.is_empty()).then(|| sealer.seal(&context(id), &given)).flatten();
    connection
        .prepare_cached("UPDATE hooks SET secrets = ?2 WHERE id = ?1")?
        .execute(params![id.0, sealed])
        .map(drop)
}

fn context(id: HookId) -> String {
    format!("hook/{}", id.0)
}

fn spelled(secrets: &[Secret]) -> String {
    secrets.iter().map(|secret| secret.reveal().to_string()).collect::<Vec<_>>().join(" ")
}

fn remove(connection: &Connection, id: HookId, now: UnixMillis) -> Result<()> {
    connection
        .prepare_cached("UPDATE hooks SET removed_at = ?2, paused_at = NULL WHERE id = ?1")?
        .execute(params![id.0, now.0])
        .map(drop)
}

fn has_pending(connection: &Connection, id: HookId) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM events WHERE state = 0 AND hook = ?1 LIMIT 1")?.exists([id.0])
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
