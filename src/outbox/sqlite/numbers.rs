//! With which domain and tenant each number was last called.

use rusqlite::{Connection, Result, Row, params};

use crate::calls::{DomainChange, NumberCalled};
use crate::route;
use crate::time::UnixMillis;

/// At most this many numbers are stored; beyond, those called longest ago are removed.
const STORED: i64 = 100_000;

/// At most this many are removed in one round.
const ROUND: i64 = 1000;

/// Stores how a number was called, and how before if that differs.
pub fn called(connection: &Connection, called: &NumberCalled) -> Result<()> {
    let NumberCalled { number, now, before } = called;
    let Some((last, session)) = before else {
        return connection
            .prepare_cached(
                "INSERT INTO numbers (number, domain, tenant, seen_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (number) DO UPDATE SET domain = ?2, tenant = ?3, seen_at = ?4",
            )?
            .execute(params![number.as_str(), now.domain, now.tenant, now.seen_at.0])
            .map(drop);
    };
    connection
        .prepare_cached(
            "INSERT INTO numbers (number, domain, tenant, seen_at, before_domain, before_tenant, changed_at, call) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?4, ?7) \
             ON CONFLICT (number) DO UPDATE SET domain = ?2, tenant = ?3, seen_at = ?4, before_domain = ?5, \
             before_tenant = ?6, changed_at = ?4, call = ?7",
        )?
        .execute(params![
            number.as_str(),
            now.domain,
            now.tenant,
            now.seen_at.0,
            last.domain,
            last.tenant,
            session.as_deref()
        ])
        .map(drop)
}

/// The numbers that are too many, those called longest ago first.
pub fn beyond(connection: &Connection) -> Result<Vec<String>> {
    let stored: i64 = connection.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0))?;
    if stored <= STORED {
        return Ok(Vec::new());
    }
    connection
        .prepare_cached("SELECT number FROM numbers ORDER BY seen_at LIMIT ?1")?
        .query_map([(stored - STORED).max(ROUND)], |row| row.get(0))?
        .collect()
}

/// What changed since, the newest first, at most `limit`.
pub fn changes(connection: &Connection, since: UnixMillis, limit: usize) -> Result<Vec<DomainChange>> {
    let read = |row: &Row<'_>| {
        Ok(DomainChange {
            number: row.get(0)?,
            domain: row.get(1)?,
            tenant: row.get(2)?,
            before_domain: row.get(3)?,
            before_tenant: row.get(4)?,
            call: row.get::<_, Option<String>>(5)?.map(|call| route::name(&call).to_owned()),
            at: UnixMillis(row.get(6)?).to_string(),
        })
    };
    connection
        .prepare_cached(
            "SELECT number, domain, tenant, before_domain, before_tenant, call, changed_at FROM numbers \
             WHERE changed_at >= ?1 ORDER BY changed_at DESC LIMIT ?2",
        )?
        .query_map(params![since.0, i64::try_from(limit).unwrap_or(i64::MAX)], read)?
        .collect()
}
