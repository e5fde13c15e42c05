//! With which domain and tenant each number was last called.

use rusqlite::{Connection, Result, Row, params};

use crate::access::Scope;
use crate::calls::NumberCalled;
use crate::hooks::Tenant;
use crate::route;
use crate::time::UnixMillis;
use crate::wire::DomainChange;

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

/// Which changes are meant.
#[derive(Clone, Debug)]
pub struct ChangeFilter {
    pub since: UnixMillis,
    /// Only numbers that went or go to this tenant.
    pub tenant: Option<String>,
    /// Only numbers that go nowhere now.
    pub nowhere: bool,
}

/// What changed, the newest first, at most `limit`. Within a tenant's scope only what concerns nobody else: its own
/// hooks, and domains that the scope covers.
pub fn changes(
    connection: &Connection,
    scope: &Scope,
    filter: &ChangeFilter,
    limit: usize,
) -> Result<Vec<DomainChange>> {
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
    let own = scope.tenant().map(Tenant::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let changes: Vec<DomainChange> = connection
        .prepare_cached(
            "SELECT number, domain, tenant, before_domain, before_tenant, call, changed_at FROM numbers \
             WHERE changed_at >= ?1 AND (?2 IS NULL OR tenant = ?2 OR before_tenant = ?2) \
             AND (NOT ?3 OR tenant IS NULL) AND (?4 IS NULL OR (coalesce(tenant, ?4) = ?4 \
             AND coalesce(before_tenant, ?4) = ?4 AND coalesce(tenant, before_tenant) IS NOT NULL)) \
             ORDER BY changed_at DESC LIMIT ?5",
        )?
        .query_map(params![filter.since.0, filter.tenant, filter.nowhere, own, limit], read)?
        .collect::<Result<_>>()?;
    let covers = |tenant: &Option<String>, domain: &str| tenant.is_some() || scope.covers_domain(domain);
    let is_covered = |change: &DomainChange| {
        covers(&change.tenant, &change.domain) && covers(&change.before_tenant, &change.before_domain)
    };
    Ok(changes.into_iter().filter(is_covered).collect())
}
