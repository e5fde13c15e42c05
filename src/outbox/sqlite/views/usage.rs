//! What tenants used: the table's sums, and what is not in them yet.

use rusqlite::{Connection, Result, Row, params};

use crate::access::Scope;
use crate::hooks::Tenant;
use crate::outbox::sqlite::digest;
use crate::outbox::sqlite::digest::usage::{CountedRows, Tally, tally};
use crate::time::UnixDay;
use crate::wire::{UsageCounts, UsageLine, UsageList};

/// Which usage is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UsageFilter {
    /// The first day.
    pub from: UnixDay,
    /// The last day.
    pub to: UnixDay,
    /// The tenant's name; none: of all, and of nobody.
    pub tenant: Option<String>,
    /// Only what is behind this day and tenant.
    pub after: Option<(UnixDay, String)>,
}

/// So many events that are not in the table are added to an answer: more than come until they are digested.
const TAIL: i64 = 100_000;

/// A page, by day and tenant, with the sum of all pages.
pub fn page(connection: &Connection, scope: &Scope, filter: &UsageFilter, limit: usize) -> Result<UsageList> {
    if filter.tenant.as_deref().is_some_and(|tenant| !scope.sees(tenant)) {
        return Ok(UsageList { complete: true, ..UsageList::default() });
    }
    let tenant = filter.tenant.as_deref().or(scope.tenant().map(Tenant::as_str));
    // One snapshot: an event that is digested meanwhile would be counted twice.
    let snapshot = connection.unchecked_transaction()?;
    let (young, complete) = young(&snapshot, filter, tenant)?;
    let mut totals = sum(&snapshot, filter, tenant)?;
    young.values().for_each(|counts| totals += *counts);
    // One more than the page has room for shows that another one follows.
    let mut page = stored(&snapshot, filter, tenant, limit + 1)?;
    for (key, counts) in young.into_iter().filter(|(key, _)| filter.after.as_ref() < Some(key)) {
        *page.entry(key).or_default() += counts;
    }
    let has_more = page.len() > limit;
    let line = |((day, tenant), counts): ((UnixDay, String), _)| UsageLine::of(day.date(), tenant, counts);
    let usage: Vec<_> = page.into_iter().take(limit).map(line).collect();
    let next = usage.last().filter(|_| has_more).map(|last| format!("{}.{}", last.day, last.tenant));
    Ok(UsageList { usage, totals, complete, next })
}

/// What the events count for that are not in the table yet, and whether these are all.
fn young(connection: &Connection, filter: &UsageFilter, tenant: Option<&str>) -> Result<(Tally, bool)> {
    let CountedRows { mut tally, until } = tally(connection, digest::digested(connection)?, i64::MAX, TAIL)?;
    tally.retain(|(day, name), _| {
        (filter.from..=filter.to).contains(day) && tenant.is_none_or(|tenant| tenant == name)
    });
    let is_before = |at| filter.to < UnixDay::of(at);
    Ok((tally, until.is_none_or(is_before) && !digest::is_copying(connection)?))
}

/// The rows of a range of days, from `?1` to `?2`: of all tenants, or of the tenant `?3`, which are sought day by day.
fn rows(tenant: Option<&str>) -> &'static str {
    match tenant {
        None => "(SELECT * FROM usage WHERE day BETWEEN ?1 AND ?2 AND ?3 IS NULL)",
        Some(_) => {
            "(WITH RECURSIVE days (day) AS (SELECT max(?1, (SELECT min(day) FROM usage)) UNION ALL \
             SELECT day + 1 FROM days WHERE day < min(?2, (SELECT max(day) FROM usage))) \
             SELECT usage.* FROM days CROSS JOIN usage USING (day) WHERE tenant = ?3 AND day <= ?2)"
        }
    }
}

fn sum(connection: &Connection, filter: &UsageFilter, tenant: Option<&str>) -> Result<UsageCounts> {
    let sql = format!(
        "SELECT coalesce(sum(events), 0), coalesce(sum(deliveries), 0), coalesce(sum(attempts), 0), \
         coalesce(sum(bytes), 0) FROM {}",
        rows(tenant)
    );
    let values = params![filter.from.0, filter.to.0, tenant];
    connection.prepare_cached(&sql)?.query_row(values, |row| counts(row, 0))
}

/// The first rows behind the filter's `after`.
fn stored(
    connection: &Connection,
    filter: &UsageFilter,
    tenant: Option<&str>,
    limit: usize,
) -> Result<Tally> {
    let sql = format!(
        "SELECT day, tenant, events, deliveries, attempts, bytes FROM {} WHERE (day, tenant) > (?4, ?5) \
         AND (events <> 0 OR deliveries <> 0 OR attempts <> 0 OR bytes <> 0) ORDER BY day, tenant LIMIT ?6",
        rows(tenant)
    );
    let (day, name) = filter.after.as_ref().map_or((i64::MIN, ""), |(day, name)| (day.0, name));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&sql)?
        .query_map(params![filter.from.0, filter.to.0, tenant, day, name, limit], |row| {
            Ok(((UnixDay(row.get(0)?), row.get(1)?), counts(row, 2)?))
        })?
        .collect()
}

/// The counts in four columns, the first of which is `first`.
fn counts(row: &Row<'_>, first: usize) -> Result<UsageCounts> {
    Ok(UsageCounts {
        events: row.get(first)?,
        deliveries: row.get(first + 1)?,
        attempts: row.get(first + 2)?,
        bytes: row.get(first + 3)?,
    })
}
