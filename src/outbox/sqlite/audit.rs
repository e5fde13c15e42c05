//! What was asked for over the API, and which tokens are refused.

use std::sync::Arc;

use rusqlite::{Connection, Result, Row, params};

use super::schema::sums::{self, Covered, REVOKED_TOKENS, TENANTS};
use crate::access::Revocations;
use crate::calls::{AuditEntry, AuditRecord, AuditSweep, DamagedRow};
use crate::hooks::Tenant;
use crate::time::UnixMillis;

/// In place of a tenant's name, which is never empty.
pub const EVERYBODY: &str = "";

/// Records are kept for so long.
const KEPT_MS: i64 = 400 * 24 * 3_600_000;

/// How many records are kept.
#[derive(Clone, Copy)]
struct Bounds {
    all: i64,
    /// Of what one tenant did itself.
    tenant: i64,
}

const BOUNDS: Bounds = Bounds { all: 1_000_000, tenant: 20_000 };

/// A page ends with the record that makes it this large, in bytes of text.
const PAGE_BYTES: usize = 1 << 20;

/// At most this many are removed in one round.
const ROUND: i64 = 2000;

/// Stores a record; not twice.
pub fn add(connection: &Connection, entry: &AuditEntry) -> Result<()> {
    let AuditRecord { at, actor, token, from, tenant, action, target, before, after, outcome } =
        &*entry.record;
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO audit \
             (id, at, actor, token, address, tenant, action, target, before, after, outcome) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![entry.id, at.0, actor, token, from, tenant, action, target, before, after, outcome])
        .map(drop)
}

/// The id of the last record.
pub fn last_id(connection: &Connection) -> Result<i64> {
    connection.query_row("SELECT coalesce(max(id), 0) FROM audit", [], |row| row.get(0))
}

/// A page of records, the newest first: of one tenant's things or of all, older than the record `before`; and whether
/// there are more.
pub fn page(
    connection: &Connection,
    tenant: Option<&Tenant>,
    before: Option<i64>,
    limit: usize,
) -> Result<(Vec<AuditEntry>, bool)> {
    let of = if tenant.is_some() { "tenant = ?1" } else { "?1 IS NULL" };
    let before = before.unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, at, actor, token, address, tenant, action, target, before, after, outcome FROM audit \
         WHERE {of} AND id < ?2 ORDER BY id DESC"
    ))?;
    let mut rows = statement.query(params![tenant.map(Tenant::as_str), before])?;
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if page.len() >= limit || bytes >= PAGE_BYTES {
            return Ok((page, true));
        }
        let entry = read(row)?;
        let AuditRecord { target, before, after, .. } = &*entry.record;
        bytes += [before, after].into_iter().flatten().map(String::len).sum::<usize>() + target.len();
        page.push(entry);
    }
    Ok((page, false))
}

fn read(row: &Row<'_>) -> Result<AuditEntry> {
    let record = AuditRecord {
        at: UnixMillis(row.get(1)?),
        actor: row.get(2)?,
        token: row.get(3)?,
        from: row.get(4)?,
        tenant: row.get(5)?,
        action: row.get(6)?,
        target: row.get(7)?,
        before: row.get(8)?,
        after: row.get(9)?,
        outcome: row.get(10)?,
    };
    Ok(AuditEntry { id: row.get(0)?, record: Arc::new(record) })
}

/// Refuses a tenant's tokens that were issued before `at`.
pub fn revoke_tenant(connection: &Connection, tenant: &Tenant, at: UnixMillis) -> Result<()> {
    revoke(connection, tenant.as_str(), at)
}

/// Refuses all tokens that were issued before `at`.
pub fn revoke_all(connection: &Connection, at: UnixMillis) -> Result<()> {
    revoke(connection, EVERYBODY, at)
}

fn revoke(connection: &Connection, tenant: &str, at: UnixMillis) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO tenants (tenant, generation, revoked_at, sum) VALUES (?1, 1, ?2, \
             newsum('tenant', ?1, 'generation', 1, 'rotated_at', NULL, 'revoked_at', ?2)) \
             ON CONFLICT (tenant) DO UPDATE SET revoked_at = max(coalesce(revoked_at, 0), ?2), \
             sum = resum(sum, 'revoked_at', revoked_at, max(coalesce(revoked_at, 0), ?2))",
        )?
        .execute(params![tenant, at.0])
        .map(drop)
}

/// Refuses a single token.
pub fn revoke_token(
    connection: &Connection,
    jti: &str,
    expires_at: UnixMillis,
    at: UnixMillis,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO revoked_tokens (jti, expires_at, revoked_at, sum) VALUES (?1, ?2, ?3, \
             newsum('jti', ?1, 'expires_at', ?2, 'revoked_at', ?3))",
        )?
        .execute(params![jti, expires_at.0, at.0])
        .map(drop)
}

/// Which tokens are refused although they verify, and the rows about it that are damaged. Whose these were is not known,
/// not even by their key: then all tokens that were issued before `now` are refused. A later one is none of theirs.
pub fn revocations(connection: &Connection, now: UnixMillis) -> Result<(Revocations, Vec<DamagedRow>)> {
    let (mut revocations, mut damaged) = (Revocations::default(), Vec::new());
    rows(connection, &REVOKED_TOKENS, &mut damaged, |row| {
        revocations.tokens.insert(row.get(0)?, UnixMillis(row.get(1)?));
        Ok(())
    })?;
    rows(connection, &TENANTS, &mut damaged, |row| {
        let (tenant, at): (String, Option<i64>) = (row.get(0)?, row.get(3)?);
        match (at.map(UnixMillis), Tenant::new(&tenant)) {
            (Some(at), Some(tenant)) => drop(revocations.tenants.insert(tenant, at)),
            (Some(at), None) if tenant == EVERYBODY => revocations.everybody = Some(at),
            _ => {}
        }
        Ok(())
    })?;
    if !damaged.is_empty() {
        revocations.everybody = Some(now);
    }
    Ok((revocations, damaged))
}

/// Reads all rows of a table that has no other row numbers than its keys; those that are damaged are named.
fn rows<const N: usize>(
    connection: &Connection,
    covered: &Covered<N>,
    damaged: &mut Vec<DamagedRow>,
    mut read: impl FnMut(&Row<'_>) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare(&format!("SELECT {} FROM {}", covered.list(), covered.table))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let is_intact = covered.is_intact(row, 0, 0)?;
        match if is_intact { read(row) } else { Ok(()) } {
            Err(error) if !sums::is_damaged_row(&error) => return Err(error),
            Ok(()) if is_intact => {}
            Ok(()) | Err(_) => damaged.push(DamagedRow::new(covered.table, &sums::shown(row, 0))),
        }
    }
    Ok(())
}

/// What is past its time, or too much: the oldest records, and revocations of tokens that have expired.
pub fn plan(connection: &Connection, now: UnixMillis) -> Result<AuditSweep> {
    plan_within(connection, now, BOUNDS)
}

fn plan_within(connection: &Connection, now: UnixMillis, bounds: Bounds) -> Result<AuditSweep> {
    // Two queries: each is one look into the index then.
    let limits = "SELECT coalesce((SELECT min(id) FROM audit), 1), coalesce((SELECT max(id) FROM audit), 0)";
    let (first, last): (i64, i64) = connection.query_row(limits, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // The newest record stays: its id must not be given again.
    let (mut records, mut up_to) = (0, first - 1);
    let mut old = connection.prepare_cached("SELECT id, at FROM audit WHERE id < ?1 ORDER BY id LIMIT ?2")?;
    let mut old = old.query(params![last, ROUND])?;
    while let Some(row) = old.next()? {
        if row.get::<_, i64>(1)? >= now.0 - KEPT_MS {
            break;
        }
        (records, up_to) = (records + 1, row.get(0)?);
    }
    let surplus = if last - first < bounds.tenant { Vec::new() } else { surplus(connection, last, bounds)? };
    // A damaged one stays: it says that tokens are to be refused.
    let sql = format!("SELECT {} FROM revoked_tokens WHERE expires_at < ?1 LIMIT ?2", REVOKED_TOKENS.list());
    let mut expired = connection.prepare_cached(&sql)?;
    let mut expired = expired.query(params![now.0, ROUND])?;
    let mut tokens = Vec::new();
    while let Some(row) = expired.next()? {
        if REVOKED_TOKENS.is_intact(row, 0, 0)? {
            tokens.push(row.get(0)?);
        }
    }
    Ok(AuditSweep { records, up_to, surplus, tokens })
}

/// The oldest records of tenants that have more than their share, so that no tenant pushes out what others did. If
/// all are too many, the oldest of tenants go before those of operators.
fn surplus(connection: &Connection, last: i64, bounds: Bounds) -> Result<Vec<i64>> {
    let oldest = |of: &str, actor: Option<&str>, limit: i64| -> Result<Vec<i64>> {
        let sql = format!("SELECT id FROM audit WHERE {of} AND id < ?2 ORDER BY id LIMIT ?3");
        let mut statement = connection.prepare_cached(&sql)?;
        statement.query_map(params![actor, last, limit], |row| row.get(0))?.collect()
    };
    let (mut surplus, mut room) = (Vec::new(), ROUND);
    let mut greedy = connection.prepare_cached(
        "SELECT actor, count(*) FROM audit WHERE actor <> 'operator' GROUP BY actor HAVING count(*) > ?1",
    )?;
    let mut greedy = greedy.query([bounds.tenant])?;
    while let Some(row) = greedy.next()?.filter(|_| room > 0) {
        let (actor, count): (String, i64) = (row.get(0)?, row.get(1)?);
        let limit = room.min(count - bounds.tenant);
        surplus.extend(oldest("actor = ?1", Some(&actor), limit)?);
        room -= limit;
    }
    // Counted: ids may have gaps.
    let count: i64 = connection.query_row("SELECT count(*) FROM audit", [], |row| row.get(0))?;
    let limit = room.min(count - (ROUND - room) - bounds.all);
    if limit > 0 {
        let tenants = oldest("?1 IS NULL AND actor <> 'operator'", None, limit)?;
        surplus.extend(if tenants.is_empty() { oldest("?1 IS NULL", None, limit)? } else { tenants });
    }
    Ok(surplus)
}

/// Removes what was planned.
pub fn sweep(connection: &Connection, sweep: &AuditSweep) -> Result<()> {
    if sweep.records > 0 {
        connection.prepare_cached("DELETE FROM audit WHERE id <= ?1")?.execute([sweep.up_to])?;
    }
    let mut record = connection.prepare_cached("DELETE FROM audit WHERE id = ?1")?;
    sweep.surplus.iter().try_for_each(|id| record.execute([id]).map(drop))?;
    let mut token = connection.prepare_cached("DELETE FROM revoked_tokens WHERE jti = ?1")?;
    sweep.tokens.iter().try_for_each(|jti| token.execute([jti]).map(drop))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    fn entry(id: i64, tenant: Option<&str>, at: i64) -> AuditEntry {
        let record = AuditRecord {
            at: UnixMillis(at),
            actor: tenant.unwrap_or("operator").to_owned(),
            token: Some("jti".to_owned()),
            from: Some("192.0.2.1".to_owned()),
            tenant: tenant.map(str::to_owned),
            action: "hook.put".to_owned(),
            target: "a.example".to_owned(),
            before: None,
            after: Some("{}".to_owned()),
            outcome: "done".to_owned(),
        };
        AuditEntry { id, record: Arc::new(record) }
    }

    fn ids(store: &Connection, tenant: Option<&str>, before: Option<i64>, limit: usize) -> Vec<i64> {
        let tenant = tenant.and_then(Tenant::new);
        let (page, _) = page(store, tenant.as_ref(), before, limit).expect("a page");
        page.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn the_log_is_read_from_its_newest_record_on_by_all_or_by_one_tenant() {
        let store = in_memory();
        for (id, tenant) in [(1, Some("a")), (2, None), (3, Some("b")), (4, Some("a"))] {
            for _ in 0..2 {
                add(&store, &entry(id, tenant, id)).expect("stored");
            }
        }
        assert_eq!(ids(&store, None, None, 3), [4, 3, 2]);
        assert_eq!(ids(&store, None, Some(2), 3), [1]);
        assert_eq!(ids(&store, Some("a"), None, 9), [4, 1]);
        assert_eq!(ids(&store, Some("a"), Some(4), 9), [1]);
        assert_eq!(page(&store, None, None, 1).expect("a page"), (vec![entry(4, Some("a"), 4)], true));
        assert!(!page(&store, None, None, 4).expect("a page").1);
        assert_eq!(last_id(&store).expect("an id"), 4);
    }

    #[test]
    fn old_records_go_but_for_the_newest_and_so_do_revocations_of_expired_tokens() {
        let store = in_memory();
        for (id, at) in [(1, 0), (2, 5), (3, 7)] {
            add(&store, &entry(id, None, at)).expect("stored");
        }
        let acme = Tenant::new("acme").expect("a name");
        revoke_tenant(&store, &acme, UnixMillis(3)).expect("revoked");
        for (jti, expires_at) in [("old", 6), ("young", KEPT_MS * 2)] {
            revoke_token(&store, jti, UnixMillis(expires_at), UnixMillis(1)).expect("revoked");
        }
        for (now, left) in [(5, vec![3, 2, 1]), (KEPT_MS + 5, vec![3, 2]), (KEPT_MS + 99, vec![3])] {
            let planned = plan(&store, UnixMillis(now)).expect("a plan");
            sweep(&store, &planned).expect("swept");
            assert_eq!(ids(&store, None, None, 9), left, "{now}");
            assert!(plan(&store, UnixMillis(now)).expect("a plan").is_empty());
        }
        let (found, damaged) = revocations(&store, UnixMillis(9)).expect("revocations");
        assert_eq!((damaged, found.everybody), (Vec::new(), None));
        let Revocations { tenants, tokens, .. } = found;
        assert_eq!(tenants, HashMap::from([(acme, UnixMillis(3))]));
        assert_eq!(tokens.into_keys().collect::<Vec<_>>(), ["young"]);
    }

    #[test]
    fn a_page_ends_where_it_is_large() {
        let store = in_memory();
        for id in 1..=200 {
            let AuditEntry { id, record } = entry(id, None, id);
            let record = AuditRecord { before: Some("x".repeat(8 << 10)), ..Arc::unwrap_or_clone(record) };
            add(&store, &AuditEntry { id, record: Arc::new(record) }).expect("stored");
        }
        let (first, more) = page(&store, None, None, 1000).expect("a page");
        assert_eq!((first.len(), first.last().map(|entry| entry.id), more), (128, Some(73), true));
        let (rest, more) = page(&store, None, Some(73), 1000).expect("a page");
        assert_eq!((rest.len(), more), (72, false));
    }

    #[test]
    fn a_tenant_pushes_out_its_own_oldest_records_and_nobody_elses() {
        let store = in_memory();
        let done =
            [None, Some("b"), None, Some("a"), Some("a"), Some("a"), Some("a"), None, Some("b"), Some("a")];
        for (id, tenant) in (1..).zip(done) {
            add(&store, &entry(id, tenant, id)).expect("stored");
        }
        let swept = |bounds| {
            sweep(&store, &plan_within(&store, UnixMillis(0), bounds).expect("a plan")).expect("swept");
            ids(&store, None, None, 99)
        };
        assert_eq!(swept(Bounds { all: 100, tenant: 3 }), [10, 9, 8, 7, 6, 3, 2, 1]);
        assert_eq!(swept(Bounds { all: 8, tenant: 3 }), [10, 9, 8, 7, 6, 3, 2, 1]);
        assert_eq!(swept(Bounds { all: 100, tenant: 2 }), [10, 9, 8, 7, 3, 2, 1]);
        // Tenants together have too much: theirs go first, and the operators' last.
        assert_eq!(swept(Bounds { all: 6, tenant: 3 }), [10, 9, 8, 7, 3, 1]);
        assert_eq!(swept(Bounds { all: 100, tenant: 1 }), [10, 9, 8, 3, 1]);
        assert_eq!(swept(Bounds { all: 4, tenant: 3 }), [10, 8, 3, 1]);
        assert_eq!(swept(Bounds { all: 2, tenant: 3 }), [10, 8]);
    }

    #[test]
    fn a_tenants_secret_is_renewed_beside_its_revocation() {
        let store = in_memory();
        let acme = Tenant::new("acme").expect("a name");
        revoke_tenant(&store, &acme, UnixMillis(3)).expect("revoked");
        let rotate =
            |generation, at| crate::outbox::sqlite::hooks::rotate(&store, &acme, generation, UnixMillis(at));
        // Twice, as a commit that is repeated; the clock may have stepped back between the two renewals.
        for (generation, at) in [(2, 9), (3, 5), (2, 9), (3, 5)] {
            rotate(generation, at).expect("renewed");
        }
        revoke_tenant(&store, &acme, UnixMillis(2)).expect("revoked");
        let sql = "SELECT generation, rotated_at, revoked_at FROM tenants";
        let row: (i64, i64, i64) =
            store.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("a row");
        assert_eq!(row, (3, 5, 3));
    }
}
