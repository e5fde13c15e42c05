//! What tenants use, day by day. Each event's row has its own counts, and the table `usage` has the sums of those that
//! were digested or removed. So the sums are exact at every moment: the table, and the rows behind the mark.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Result, Row, params};

use super::mark::digested;
use crate::calls::Shelf;
use crate::ids::DeliveryId;
use crate::telemetry::TenantTraffic;
use crate::time::{UnixDay, UnixMillis};
use crate::wire::UsageCounts;

/// Counts by day and tenant; the tenant `""` is nobody.
pub type Tally = BTreeMap<(UnixDay, String), UsageCounts>;

/// Keeps the table `usage` while rows change. Changes are final after [`Self::commit`].
#[derive(Default)]
pub struct Usage {
    /// Up to this row events are digested, as the present transaction sees it; none: not read yet.
    digested: Option<i64>,
    /// What the present transaction adds.
    added: Tally,
    /// The counters that show the same.
    traffic: Option<Arc<TenantTraffic>>,
}

impl Usage {
    /// Also counts in these counters.
    pub fn showing(traffic: Arc<TenantTraffic>) -> Self {
        Self { traffic: Some(traffic), ..Self::default() }
    }

    /// Counts the events of a part that is digested.
    pub fn digest(&mut self, connection: &Connection, after: i64, up_to: i64) -> Result<()> {
        let counted = tally(connection, after, up_to, i64::MAX)?;
        self.digested = Some(up_to);
        self.add(counted.tally, 1);
        Ok(())
    }

    /// Makes a change to an event. If the event was counted, what it counts for is corrected; else it is counted later,
    /// as it is then.
    pub fn recount(
        &mut self,
        connection: &Connection,
        id: DeliveryId,
        change: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if !self.has_counted(connection, id)? {
            return change();
        }
        self.add(of_row(connection, id)?, -1);
        change()?;
        self.add(of_row(connection, id)?, 1);
        Ok(())
    }

    /// Removes an event's row, if `remove` says so. If the event was not counted yet, it is counted now.
    pub fn count_out(
        &mut self,
        connection: &Connection,
        id: DeliveryId,
        remove: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        let left = if self.has_counted(connection, id)? { Tally::new() } else { of_row(connection, id)? };
        let is_removed = remove()?;
        if is_removed {
            self.add(left, 1);
        }
        Ok(is_removed)
    }

    fn has_counted(&mut self, connection: &Connection, id: DeliveryId) -> Result<bool> {
        let digested = self.digested.map_or_else(|| digested(connection), Ok)?;
        self.digested = Some(digested);
        Ok(id.0 <= digested)
    }

    fn add(&mut self, tally: Tally, sign: i64) {
        for (key, UsageCounts { events, deliveries, attempts, bytes }) in tally {
            *self.added.entry(key).or_default() += UsageCounts {
                events: sign * events,
                deliveries: sign * deliveries,
                attempts: sign * attempts,
                bytes: sign * bytes,
            };
        }
    }

    /// Writes what the transaction adds.
    pub fn write(&mut self, connection: &Connection) -> Result<()> {
        self.added.retain(|_, counts| !counts.is_zero());
        if self.added.is_empty() {
            return Ok(());
        }
        let mut add = connection.prepare_cached(
            "INSERT INTO usage (day, tenant, events, deliveries, attempts, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (day, tenant) DO UPDATE SET events = events + ?3, deliveries = deliveries + ?4, \
             attempts = attempts + ?5, bytes = bytes + ?6",
        )?;
        for ((day, tenant), counts) in &self.added {
            let UsageCounts { events, deliveries, attempts, bytes } = counts;
            add.execute(params![day.0, tenant, events, deliveries, attempts, bytes])?;
        }
        Ok(())
    }

    /// The transaction is committed.
    pub fn commit(&mut self) {
        let added = std::mem::take(&mut self.added);
        let Some(traffic) = &self.traffic else { return };
        for ((_, tenant), counts) in added.iter().filter(|((_, tenant), _)| !tenant.is_empty()) {
            traffic.add(tenant, *counts);
        }
    }

    /// The transaction is rolled back.
    pub fn roll_back(&mut self) {
        self.digested = None;
        self.added.clear();
    }
}

/// What rows count for.
#[derive(Debug, Default)]
pub struct CountedRows {
    pub tally: Tally,
    /// When the first event was received that is not counted, because there are too many.
    pub until: Option<UnixMillis>,
}

/// What the first `limit` rows behind `after` count for, up to the row `up_to`.
pub fn tally(connection: &Connection, after: i64, up_to: i64, limit: i64) -> Result<CountedRows> {
    let mut rows = connection.prepare_cached(
        "SELECT seq, tenant, received_at, coalesce(bytes, size), state, attempts, attempted_at, settled_at \
         FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
    )?;
    let mut rows = rows.query([after, up_to])?;
    let (mut counted, mut count) = (CountedRows::default(), 0);
    while let Some(row) = rows.next()? {
        if count == limit {
            counted.until = Some(UnixMillis(row.get(2)?));
            break;
        }
        count += 1;
        add_row(connection, row, &mut counted.tally)?;
    }
    Ok(counted)
}

fn of_row(connection: &Connection, id: DeliveryId) -> Result<Tally> {
    Ok(tally(connection, id.0 - 1, id.0, 1)?.tally)
}

fn add_row(connection: &Connection, row: &Row<'_>, tally: &mut Tally) -> Result<()> {
    let tenant: String = row.get::<_, Option<String>>(1)?.unwrap_or_default();
    let received_at = UnixMillis(row.get(2)?);
    let is_delivered = row.get::<_, i64>(4)? == Shelf::Delivered as i64;
    let attempts: i64 = row.get(5)?;
    let mut add = |at: i64, counts| {
        let key = (UnixDay::of(UnixMillis(at)), tenant.clone());
        *tally.entry(key).or_default() += counts;
    };
    add(received_at.0, UsageCounts { events: 1, bytes: row.get(3)?, ..UsageCounts::default() });
    let (one_attempt, one_delivery) = (
        UsageCounts { attempts: 1, ..UsageCounts::default() },
        UsageCounts { deliveries: 1, ..UsageCounts::default() },
    );
    let mut delivered_at = None;
    // The attempt that delivered it is in the row itself.
    if attempts > i64::from(is_delivered) {
        let in_row = if is_delivered { attempts } else { i64::MAX };
        for (at, latency_us, is_taken) in tried_before(connection, row.get(0)?, in_row)? {
            add(at, one_attempt);
            if is_taken {
                delivered_at = delivered_at.or(Some(at + latency_us / 1000));
            }
        }
    }
    if is_delivered {
        let settled_at = row.get::<_, Option<i64>>(7)?.unwrap_or(received_at.0);
        add(row.get::<_, Option<i64>>(6)?.unwrap_or(settled_at), one_attempt);
        delivered_at = delivered_at.or(Some(settled_at));
    }
    delivered_at.into_iter().for_each(|at| add(at, one_delivery));
    Ok(())
}

/// The attempts at an event before the attempt `number`, in order: when each began, how long it took in microseconds,
/// and whether it was answered 2xx: one that delivered the event before it was sent again.
fn tried_before(connection: &Connection, seq: i64, number: i64) -> Result<Vec<(i64, i64, bool)>> {
    connection
        .prepare_cached(
            "SELECT at, latency_us, coalesce(status BETWEEN 200 AND 299, 0) FROM attempts \
             WHERE seq = ?1 AND number < ?2 ORDER BY number",
        )?
        .query_map([seq, number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// The tenants with most events in the last seven days, at most `count`.
pub fn busiest(connection: &Connection, now: UnixMillis, count: usize) -> Result<Vec<String>> {
    let since = UnixDay::of(now).0 - 7;
    connection
        .prepare(
            "SELECT tenant FROM usage WHERE day >= ?1 AND tenant <> '' GROUP BY tenant \
             ORDER BY sum(events) DESC, tenant LIMIT ?2",
        )?
        .query_map(params![since, i64::try_from(count).unwrap_or(i64::MAX)], |row| row.get(0))?
        .collect()
}

/// Usage is kept for so many days.
const KEPT_DAYS: i64 = 400;

/// So many rows of it at most.
const KEPT_ROWS: i64 = 1_000_000;

/// At most this many are removed in one round.
const ROUND: i64 = 2000;

/// Rows that are past their time or too many, the oldest first.
pub fn surplus(connection: &Connection, now: UnixMillis) -> Result<Vec<(i64, String)>> {
    surplus_of(connection, now, KEPT_ROWS)
}

fn surplus_of(connection: &Connection, now: UnixMillis, rows: i64) -> Result<Vec<(i64, String)>> {
    let too_old = UnixDay::of(now).0 - KEPT_DAYS;
    let count: i64 =
        connection.prepare_cached("SELECT count(*) FROM usage")?.query_row([], |row| row.get(0))?;
    let too_many = (count - rows).clamp(0, ROUND);
    let mut oldest =
        connection.prepare_cached("SELECT day, tenant FROM usage ORDER BY day, tenant LIMIT ?1")?;
    let oldest = oldest.query_map([ROUND], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let is_surplus = |(place, row): &(i64, Result<(i64, String)>)| {
        *place < too_many || row.as_ref().map_or(true, |(day, _)| *day < too_old)
    };
    (0..).zip(oldest).take_while(is_surplus).map(|(_, row)| row).collect()
}

/// Removes what was planned.
pub fn sweep(connection: &Connection, surplus: &[(i64, String)]) -> Result<()> {
    let mut remove = connection.prepare_cached("DELETE FROM usage WHERE day = ?1 AND tenant = ?2")?;
    surplus.iter().try_for_each(|(day, tenant)| remove.execute(params![day, tenant]).map(drop))
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod tests;
