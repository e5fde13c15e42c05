//! Every hook that is or was: so that what was routed to it keeps its destination.

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::pending;
use super::schema::sums::{self, HOOKS};
use crate::hooks::{Layer, Origin, Tenant};
use crate::ids::HookId;
use crate::registry::{
    Generation, HookChange, HookRow, LATE, Pause, PausedBy, Pauses, QuerySealer, StoredHooks,
};
use crate::time::{UnixMillis, millis};

/// The columns of [`hook`], in its order.
const COLUMNS: &str = "id, host, tenant, url, layer, kept IS NULL, removed_at, coalesce(sum, x''), kept, version, created_at, \
                       changed_at, paused_at, paused_by, paused_ms";

/// A hook's row. One that holds what was never stored there is damaged: the hook is not in force, and named.
fn hook(row: &Row<'_>) -> Result<HookRow> {
    match read(row) {
        Err(error) if sums::is_damaged_row(&error) => Ok(HookRow {
            id: HookId(row.get(0)?),
            host: sums::shown(row, 1),
            tenant: sums::shown(row, 2),
            url: String::new(),
            is_locked: false,
            sealed: None,
            origin: Origin {
                layer: Layer::named(&sums::shown(row, 4)).unwrap_or(Layer::File),
                version: 1,
                created_at: None,
                changed_at: None,
            },
            removed: row.get_ref(6)? != ValueRef::Null,
            pause: Pause::default(),
            is_damaged: true,
        }),
        found => found,
    }
}

fn read(row: &Row<'_>) -> Result<HookRow> {
    let time = |column| -> Result<_> { Ok(row.get::<_, Option<i64>>(column)?.map(UnixMillis)) };
    let origin = Origin {
        layer: Layer::named(row.get_ref(4)?.as_str()?).unwrap_or(Layer::File),
        version: row.get(9)?,
        created_at: time(10)?,
        changed_at: time(11)?,
    };
    // An API hook whose `removed_at` was altered is listed as damaged; a hook of the file is stored anew by this start.
    let is_hidden =
        origin.layer == Layer::Api && row.get_ref(6)? != ValueRef::Null && sums::was_in_force(row)?;
    Ok(HookRow {
        id: HookId(row.get(0)?),
        host: row.get(1)?,
        tenant: row.get(2)?,
        url: row.get(3)?,
        is_locked: false,
        sealed: row.get(8)?,
        origin,
        removed: row.get::<_, Option<i64>>(6)?.is_some() && !is_hidden,
        pause: pause_of(row, 12)?,
        is_damaged: !HOOKS.is_intact(row, 0, 0)?,
    })
}

/// What the registry plans a table from.
pub fn stored(connection: &Connection, now: UnixMillis) -> Result<StoredHooks> {
    Ok(StoredHooks {
        busy: pending::busy(connection)?,
        calling: pending::calling(connection, now.0 - millis(LATE))?,
        ..rows(connection)?
    })
}

/// The same without what reads through all calls: which hooks have calls and deliveries.
pub fn rows(connection: &Connection) -> Result<StoredHooks> {
    let hooks = connection
        .prepare(&format!("SELECT {COLUMNS} FROM hooks"))?
        .query_map([], hook)?
        .collect::<Result<_>>()?;
    let generations = intact(
        connection.prepare("SELECT tenant, generation, rotated_at FROM tenants")?.query_map([], |row| {
            Ok((row.get(0)?, Generation { number: row.get(1)?, rotated_at: row.get(2)? }))
        })?,
    )?;
    Ok(StoredHooks { hooks, generations, next_id: next_id(connection)?, ..StoredHooks::default() })
}

/// The rows that can be read; the others are damaged, and named elsewhere.
fn intact<T, C: FromIterator<T>>(rows: impl Iterator<Item = Result<T>>) -> Result<C> {
    rows.filter(|row| !row.as_ref().is_err_and(sums::is_damaged_row)).collect()
}

/// What the registry plans an edit from: the hooks of a host that are not removed, and whether one of the API has
/// calls in progress.
pub fn of_host(connection: &Connection, host: &str, now: UnixMillis) -> Result<(Vec<HookRow>, bool)> {
    let rows = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM hooks WHERE host = ?1 AND removed_at IS NULL"))?
        .query_map([host], hook)?
        .collect::<Result<Vec<_>>>()?;
    let Some(api) = rows.iter().find(|row| row.origin.layer == Layer::Api) else { return Ok((rows, false)) };
    let calling = pending::is_calling(connection, api.id, now.0 - millis(LATE))?;
    Ok((rows, calling))
}

/// Host and tenant of each hook that is registered over the API.
pub fn registered(connection: &Connection) -> Result<Vec<(String, String)>> {
    connection
        .prepare("SELECT host, tenant FROM hooks WHERE layer = 'api' AND removed_at IS NULL ORDER BY host")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The hooks that are not removed whose settings are stored sealed: id, host, and what is sealed.
pub fn sealed(connection: &Connection) -> Result<Vec<(HookId, String, Vec<u8>)>> {
    connection
        .prepare(
            "SELECT id, host, kept FROM hooks WHERE removed_at IS NULL AND kept IS NOT NULL ORDER BY id",
        )?
        .query_map([], |row| Ok((HookId(row.get(0)?), row.get(1)?, row.get(2)?)))?
        .collect()
}

/// How many calls in progress each hook has.
pub fn live_calls(connection: &Connection) -> Result<HashMap<HookId, usize>> {
    connection
        .prepare_cached(
            "SELECT hook, count(*) FROM calls WHERE hook IS NOT NULL AND finished_at IS NULL GROUP BY hook",
        )?
        .query_map([], |row| Ok((HookId(row.get(0)?), row.get::<_, u32>(1)? as usize)))?
        .collect()
}

/// How often a tenant's derived secret was renewed; none: never.
pub fn generation(connection: &Connection, tenant: &Tenant) -> Result<Option<Generation>> {
    connection
        .prepare_cached("SELECT generation, rotated_at FROM tenants WHERE tenant = ?1")?
        .query_row([tenant.as_str()], |row| Ok(Generation { number: row.get(0)?, rotated_at: row.get(1)? }))
        .optional()
}

/// The id of the next new hook: ids are never used again.
fn next_id(connection: &Connection) -> Result<i64> {
    let used = "SELECT seq FROM sqlite_sequence WHERE name = 'hooks'";
    let last: Option<i64> = connection.query_row(used, [], |row| row.get(0)).optional()?;
    Ok(last.unwrap_or(0) + 1)
}

/// Hooks that are or were paused.
pub fn pauses(connection: &Connection) -> Result<Pauses> {
    let sql = "SELECT id, paused_at, paused_by, paused_ms FROM hooks \
               WHERE removed_at IS NULL AND (paused_at IS NOT NULL OR paused_ms > 0)";
    let mut stored = connection.prepare(sql)?;
    let stored = stored.query_map([], |row| Ok((HookId(row.get(0)?), pause_of(row, 1)?)))?;
    Ok(Pauses::new(intact::<_, HashMap<_, _>>(stored)?))
}

fn pause_of(row: &Row<'_>, first: usize) -> Result<Pause> {
    let by: Option<String> = row.get(first + 1)?;
    Ok(Pause {
        since: row.get::<_, Option<i64>>(first)?.map(UnixMillis),
        by: by.as_deref().and_then(PausedBy::named),
        before_ms: row.get(first + 2)?,
    })
}

/// Stores one change of the hook table.
pub fn edit(connection: &Connection, queries: &QuerySealer, change: &HookChange) -> Result<()> {
    match change {
        HookChange::Add { id, host, tenant, url, kept, origin } => {
            let Origin { layer, version, created_at, changed_at } = origin;
            let times = [created_at, changed_at].map(|at| at.map(|at| at.0));
            connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO hooks \
                     (id, host, tenant, url, kept, layer, version, created_at, changed_at, sum) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, newsum('id', ?1, 'host', ?2, 'tenant', ?3, 'url', ?4, \
                     'layer', ?6, 'kept IS NULL', ?5 IS NULL, 'removed_at', NULL))",
                )?
                .execute(params![
                    id.0,
                    host,
                    tenant,
                    queries.seal(url),
                    kept,
                    layer.as_str(),
                    version,
                    times[0],
                    times[1]
                ])
        }
        HookChange::Alter { id, url, kept, version, at } => connection
            .prepare_cached(
                // Who alters a hook has compared its host and tenant, also those of a damaged row.
                "UPDATE hooks SET url = ?2, kept = ?3, version = ?4, changed_at = ?5, sum = newsum('id', id, 'host', host, \
                 'tenant', tenant, 'url', ?2, 'layer', layer, 'kept IS NULL', ?3 IS NULL, 'removed_at', removed_at) WHERE id = ?1",
            )?
            .execute(params![id.0, queries.seal(url), kept, version, at.0]),
        HookChange::Remove { id, at } => connection
            .prepare_cached(
                "UPDATE hooks SET removed_at = ?2, paused_at = NULL, paused_by = NULL, \
                 sum = resum(sum, 'removed_at', removed_at, ?2) WHERE id = ?1",
            )?
            .execute(params![id.0, at.0]),
        HookChange::Move { id, url, format } => return move_calls(connection, *id, &queries.seal(url), format.as_str()),
        HookChange::Cut { id } => return cut_calls(connection, *id),
    }
    .map(drop)
}

/// Seals queries of hooks' URLs that an older release stored.
pub fn seal_queries(connection: &Connection, queries: &QuerySealer) -> Result<()> {
    let with_query: Vec<(i64, String)> = intact(
        connection
            .prepare("SELECT id, url FROM hooks WHERE instr(url, '?') > 0")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?,
    )?;
    let transaction = connection.unchecked_transaction()?;
    let update = "UPDATE hooks SET url = ?2, sum = resum(sum, 'url', url, ?2) WHERE id = ?1 AND url <> ?2";
    for (id, url) in with_query {
        transaction.prepare_cached(update)?.execute(params![id, queries.seal(&url)])?;
    }
    transaction.commit()
}

/// Reads through all calls: an index would cost each of them a page, for what is rare.
fn move_calls(connection: &Connection, id: HookId, url: &str, format: &str) -> Result<()> {
    for table in ["calls", "participants"] {
        let sql = format!(
            "UPDATE {table} SET url = ?2, format = ?3, sum = resum(sum, 'url', url, ?2, 'format', format, ?3) \
             WHERE hook = ?1 AND (url <> ?2 OR format <> ?3)"
        );
        connection.prepare_cached(&sql)?.execute(params![id.0, url, format])?;
    }
    Ok(())
}

/// Their tenant stays in the rows: what is stored of them is its data still.
fn cut_calls(connection: &Connection, id: HookId) -> Result<()> {
    for table in ["calls", "participants"] {
        let sql = format!("UPDATE {table} SET hook = ?2, sum = resum(sum, 'hook', hook, ?2) WHERE hook = ?1");
        connection.prepare_cached(&sql)?.execute([id.0, HookId::NOBODY.0])?;
    }
    Ok(())
}

/// Begins a pause, unless there is one; see [`Pause::begin`].
pub fn pause(connection: &Connection, hook: HookId, at: UnixMillis, by: PausedBy) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE hooks SET paused_at = coalesce(paused_at, ?2), paused_by = ?3 \
             WHERE id = ?1 AND removed_at IS NULL AND (paused_at IS NULL OR paused_by = 'gone')",
        )?
        .execute(params![hook.0, at.0, by.as_str()])
        .map(drop)
}

/// Ends a pause; `paused_ms`: how long the hook was paused in all, with this pause.
pub fn resume(connection: &Connection, hook: HookId, paused_ms: i64) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE hooks SET paused_ms = ?2, paused_at = NULL, paused_by = NULL \
             WHERE id = ?1 AND paused_at IS NOT NULL",
        )?
        .execute(params![hook.0, paused_ms])
        .map(drop)
}

/// A tenant's derived secret is renewed, unless this or a later one is stored.
pub fn rotate(connection: &Connection, tenant: &Tenant, generation: i64, at: UnixMillis) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO tenants (tenant, generation, rotated_at, sum) VALUES (?1, ?2, ?3, \
             newsum('tenant', ?1, 'generation', ?2, 'rotated_at', ?3, 'revoked_at', NULL)) \
             ON CONFLICT (tenant) DO UPDATE SET generation = ?2, rotated_at = ?3, \
             sum = resum(sum, 'generation', generation, ?2, 'rotated_at', rotated_at, ?3) WHERE generation < ?2",
        )?
        .execute(params![tenant.as_str(), generation, at.0])
        .map(drop)
}
