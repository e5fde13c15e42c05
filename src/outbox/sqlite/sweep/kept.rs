//! Which bodies of delivered events have been kept for long enough, or are more than there is room for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::Retention;
use crate::calls::Sweep;
use crate::hooks::{HookTable, HostPattern};
use crate::ids::{DeliveryId, HookId};
use crate::time::{UnixMillis, millis};

/// At most this many in one round.
const ROWS: usize = 5 * Sweep::ROWS;

/// Of all that are kept, a tenant's are at most this part.
const PARTS: i64 = 10;

/// Plans which bodies go: first those past their time, then a tenant's oldest beyond its part, then the oldest of all.
/// What is being sent again, or was given up then, is not counted.
///
/// Looks through an index of all that are kept: not for a thread that deliveries wait for.
pub fn plan(
    connection: &Connection,
    table: &HookTable,
    retention: &Retention,
    now: UnixMillis,
) -> Result<Vec<DeliveryId>> {
    let mut planner = Planner { connection, table, now, keeps: HashMap::new(), gone: HashSet::new() };
    let room = retention.delivered_bytes;
    let used = planner.expire()?;
    let mut all: i64 = used.values().sum();
    for (tenant, used) in &used {
        all -= planner.oldest(Some(tenant), used - room / PARTS)?;
    }
    planner.oldest(None, all - room)?;
    Ok(planner.gone.into_iter().collect())
}

/// The most that a hook's `keep` permits now; none: what was kept stays for its time.
type Keep = Option<Duration>;

struct Planner<'c> {
    connection: &'c Connection,
    table: &'c HookTable,
    now: UnixMillis,
    keeps: HashMap<HookId, Keep>,
    gone: HashSet<DeliveryId>,
}

impl Planner<'_> {
    /// Takes those past their time; the bytes of the others by tenant.
    fn expire(&mut self) -> Result<HashMap<String, i64>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT tenant, seq, size, hook, at, until FROM kept_bodies WHERE in_use = 0 \
             ORDER BY tenant, in_use, seq",
        )?;
        let mut rows = statement.query([])?;
        let mut used: HashMap<String, i64> = HashMap::new();
        while let Some(row) = rows.next()? {
            let (at, until): (i64, i64) = (row.get(4)?, row.get(5)?);
            let longest = self.keep(HookId(row.get(3)?))?.map(|keep| at.saturating_add(millis(keep)));
            if longest.map_or(until, |longest| longest.min(until)) <= self.now.0 {
                if self.gone.len() < ROWS {
                    self.gone.insert(DeliveryId(row.get(1)?));
                }
                continue;
            }
            let tenant = row.get_ref(0)?.as_str()?;
            match used.get_mut(tenant) {
                Some(bytes) => *bytes += row.get::<_, i64>(2)?,
                None => drop(used.insert(tenant.to_owned(), row.get(2)?)),
            }
        }
        Ok(used)
    }

    /// What the hook that its tenant has at its host now permits.
    fn keep(&mut self, hook: HookId) -> Result<Keep> {
        if let Some(known) = self.keeps.get(&hook) {
            return Ok(*known);
        }
        let keep = present_keep(self.connection, self.table, hook)?;
        self.keeps.insert(hook, keep);
        Ok(keep)
    }

    /// Takes the oldest, of one tenant or of all, that are `over` bytes or a little more; how many bytes.
    fn oldest(&mut self, tenant: Option<&str>, over: i64) -> Result<i64> {
        let mut taken = 0;
        if over <= 0 {
            return Ok(taken);
        }
        let of_tenant = "SELECT seq, size FROM kept_bodies WHERE tenant = ?1 AND in_use = 0 ORDER BY seq";
        let of_all = "SELECT seq, size FROM kept_bodies WHERE ?1 IS NULL AND in_use = 0 ORDER BY seq";
        let mut statement =
            self.connection.prepare_cached(if tenant.is_some() { of_tenant } else { of_all })?;
        let mut rows = statement.query(params![tenant])?;
        while let Some(row) = rows.next()? {
            if taken >= over || self.gone.len() >= ROWS {
                break;
            }
            if self.gone.insert(DeliveryId(row.get(0)?)) {
                taken += row.get::<_, i64>(1)?;
            }
        }
        Ok(taken)
    }
}

/// How long the hook that is in force for a hook's tenant and host keeps bodies; none if there is none.
fn present_keep(connection: &Connection, table: &HookTable, hook: HookId) -> Result<Keep> {
    let found: Option<(String, String)> = connection
        .prepare_cached("SELECT host, tenant FROM hooks WHERE id = ?1")?
        .query_row([hook.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((host, tenant)) = found else { return Ok(None) };
    let present = HostPattern::parse(&host).ok().and_then(|host| table.by_host(&host).cloned());
    let present = present.filter(|hook| hook.tenant.as_str() == tenant);
    Ok(present.map(|hook| hook.settings.keep))
}
