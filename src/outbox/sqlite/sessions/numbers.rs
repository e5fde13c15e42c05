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
    let tenant = filter.tenant.as_deref().or(own);
    let changes: Vec<DomainChange> = connection
        .prepare_cached(&query(tenant.is_some(), filter.nowhere))?
        .query_map(params![filter.since.0, tenant, own, limit], read)?
        .collect::<Result<_>>()?;
    let covers = |tenant: &Option<String>, domain: &str| tenant.is_some() || scope.covers_domain(domain);
    let is_covered = |change: &DomainChange| {
        covers(&change.tenant, &change.domain) && covers(&change.before_tenant, &change.before_domain)
    };
    Ok(changes.into_iter().filter(is_covered).collect())
}

/// Reads the changes since ?1, of the tenant ?2 if there is one, that concern nobody but ?3: at most ?4. Which they are is
/// found in an index alone, however many there are of others.
fn query(of_tenant: bool, nowhere: bool) -> String {
    let mut is_meant = "changed_at >= ?1 AND (?3 IS NULL OR (coalesce(tenant, ?3) = ?3 \
                        AND coalesce(before_tenant, ?3) = ?3 AND coalesce(tenant, before_tenant) IS NOT NULL))"
        .to_owned();
    if nowhere {
        is_meant.push_str(" AND tenant IS NULL");
    }
    let whose: &[_] =
        if of_tenant { &["tenant = ?2", "before_tenant = ?2 AND tenant IS NOT ?2"] } else { &["?2 IS NULL"] };
    let found = whose
        .iter()
        .map(|whose| format!("SELECT number, changed_at FROM numbers WHERE {whose} AND {is_meant}"));
    let found = found.collect::<Vec<_>>().join(" UNION ALL ");
    format!(
        "SELECT numbers.number, domain, tenant, before_domain, before_tenant, call, numbers.changed_at \
         FROM ({found} ORDER BY changed_at DESC LIMIT ?4) AS found \
         CROSS JOIN numbers ON numbers.number = found.number ORDER BY found.changed_at DESC"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Grant;
    use crate::outbox::sqlite::schema::in_memory;

    /// A number for each two of these, by the one that it goes to and the one before, changed in this order.
    const TENANTS: [Option<&str>; 3] = [None, Some("acme"), Some("globex")];

    fn store() -> Connection {
        let store = in_memory();
        let pairs = TENANTS.into_iter().flat_map(|now| TENANTS.map(|before| (now, before)));
        for (at, (now, before)) in (1_i64..).zip(pairs) {
            let sql = "INSERT INTO numbers VALUES (?1, 'new', ?2, ?3, 'old', ?4, ?3, 'RM_1')";
            let number = format!("{}<{}", now.unwrap_or("none"), before.unwrap_or("none"));
            store.execute(sql, params![number, now, at, before]).expect("a number");
        }
        store
            .execute("INSERT INTO numbers VALUES ('unchanged', 'new', 'acme', 9, NULL, NULL, NULL, NULL)", [])
            .expect("a number");
        store
    }

    fn list(
        store: &Connection,
        scope: &Scope,
        (since, tenant, nowhere): (i64, Option<&str>, bool),
        limit: usize,
    ) -> Vec<String> {
        let filter = ChangeFilter { since: UnixMillis(since), tenant: tenant.map(str::to_owned), nowhere };
        let found = changes(store, scope, &filter, limit).expect("changes");
        found.into_iter().map(|change| change.number).collect()
    }

    #[test]
    fn changes_of_a_tenant_or_to_nowhere_are_listed_the_newest_first() {
        let (store, all) = (store(), Scope::for_tests());
        assert_eq!(list(&store, &all, (8, None, false), 9), ["globex<globex", "globex<acme"]);
        let of_acme = ["globex<acme", "acme<globex", "acme<acme", "acme<none", "none<acme"];
        assert_eq!(list(&store, &all, (1, Some("acme"), false), 9), of_acme);
        assert_eq!(list(&store, &all, (1, Some("acme"), false), 2), of_acme[..2]);
        assert_eq!(list(&store, &all, (1, Some("acme"), true), 9), ["none<acme"]);
        assert_eq!(list(&store, &all, (1, None, true), 9), ["none<globex", "none<acme", "none<none"]);
        let own = Scope::of_tenant_for_tests(Grant::for_tests("acme", &["new", "old"]));
        let of_acme_alone = ["acme<acme", "acme<none", "none<acme"];
        for tenant in [None, Some("acme")] {
            assert_eq!(list(&store, &own, (1, tenant, false), 9), of_acme_alone);
        }
        assert_eq!(list(&store, &own, (1, Some("globex"), false), 9), [""; 0]);
        assert_eq!(list(&store, &own, (1, None, true), 9), ["none<acme"]);
    }

    #[test]
    fn which_changes_are_a_tenants_or_go_nowhere_is_found_in_an_index_alone() {
        let store = in_memory();
        for (of_tenant, nowhere) in [(true, false), (true, true), (false, true)] {
            let sql = format!("EXPLAIN QUERY PLAN {}", query(of_tenant, nowhere));
            let mut statement = store.prepare(&sql).expect("a statement");
            let steps = statement.query_map(params![1, "acme", "acme", 100], |row| row.get::<_, String>(3));
            let steps = steps.expect("a plan").collect::<Result<Vec<_>>>().expect("steps");
            let searches = steps
                .iter()
                .filter(|step| step.starts_with("SEARCH numbers") && !step.contains("PRIMARY KEY"));
            let by = [
                "numbers_tenant (tenant=? AND changed_at>?)",
                "numbers_before (before_tenant=? AND changed_at>?)",
            ];
            let by = by.map(|by| format!("SEARCH numbers USING COVERING INDEX {by}"));
            assert!(searches.eq(&by[..1 + usize::from(of_tenant)]), "{steps:?}");
        }
    }

    #[test]
    fn of_too_many_numbers_those_called_longest_ago_go() {
        let store = in_memory();
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {STORED}) \
             INSERT INTO numbers (number, domain, seen_at) SELECT i, 'a.example', {STORED} - i FROM n"
        );
        store.execute_batch(&fill).expect("as many as may be");
        assert_eq!(beyond(&store).expect("a plan"), [""; 0]);
        let more = "INSERT INTO numbers (number, domain, seen_at) VALUES ('more', 'a.example', -1)";
        store.execute(more, []).expect("one more");
        let gone = beyond(&store).expect("a plan");
        let (first, last) = (STORED.to_string(), (STORED - ROUND + 2).to_string());
        assert_eq!(
            (gone.len() as i64, &*gone[0], &gone[1], gone.last()),
            (ROUND, "more", &first, Some(&last))
        );
    }
}
