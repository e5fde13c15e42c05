//! Which bodies of delivered events have been kept for long enough, or are more than there is room for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::{PARTS, Retention};
use crate::calls::Sweep;
use crate::hooks::{HookTable, HostPattern};
use crate::ids::{DeliveryId, HookId};
use crate::time::{UnixMillis, millis};

/// At most this many in one round.
const ROWS: usize = 5 * Sweep::ROWS;

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
        let mut statement = self
            .connection
            .prepare_cached("SELECT tenant, seq, size, hook, at, until FROM kept_bodies WHERE in_use = 0")?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Walked;
    use crate::calls::tests::world::{hook, table};
    use crate::outbox::sqlite::schema::in_memory;
    use crate::outbox::sqlite::sweep;

    /// What the store keeps of a tenant's hook: event, tenant, bytes, delivered at, until, in use.
    type Row = (i64, &'static str, i64, i64, i64, bool);

    fn store(rows: &[Row]) -> Connection {
        let store = in_memory();
        for (id, tenant) in [(1, "a.example"), (2, "b.example"), (3, "gone.example")] {
            let sql = "INSERT INTO hooks (id, host, tenant, url, layer, version) VALUES (?1, ?2, ?2, '', 'file', 1)";
            store.execute(sql, params![id, tenant]).expect("a hook");
        }
        for (seq, tenant, size, at, until, in_use) in rows {
            store
                .execute(
                    "INSERT INTO events (seq, id, event, received_at, outcome, size, state) \
                     VALUES (?1, ?1, 'room_started', ?2, 'domain', ?3, iif(?4, 2, 1))",
                    params![seq, at, size, in_use],
                )
                .expect("an event");
            store
                .execute(
                    "INSERT INTO kept_bodies (seq, tenant, hook, at, until, size, in_use, body) \
                     SELECT ?1, ?2, id, ?3, ?4, ?5, ?6, x'00' FROM hooks WHERE tenant = ?2",
                    params![seq, tenant, at, until, size, in_use],
                )
                .expect("a body");
        }
        store
    }

    /// Which bodies go at the time 100, when `a` keeps them for 50 ms and `b` for an hour.
    fn gone(store: &Connection, delivered_bytes: i64) -> Vec<i64> {
        let hooks = [("a.example", "50ms"), ("b.example", "1h")]
            .map(|(host, keep)| format!("{}, keep: {keep}", hook(host)));
        let retention = Retention { delivered_bytes, ..Retention::default() };
        let hooks = table(&hooks.each_ref().map(String::as_str));
        let mut gone = plan(store, &hooks, &retention, UnixMillis(100)).expect("a plan");
        gone.sort_unstable();
        gone.into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn what_is_past_its_time_goes_or_past_what_its_hook_permits_by_now() {
        let rows = [
            (1, "a.example", 1, 40, 200, false),
            (2, "a.example", 1, 60, 200, false),
            (3, "b.example", 1, 40, 100, false),
            (4, "b.example", 1, 40, 101, false),
            // Of a hook that is no more, or while it is sent again.
            (5, "gone.example", 1, 0, 101, false),
            (6, "b.example", 1, 40, 50, true),
        ];
        assert_eq!(gone(&store(&rows), 1 << 30), [1, 3]);
    }

    #[test]
    fn beyond_its_tenth_a_tenants_oldest_go_and_beyond_all_room_the_oldest_of_all() {
        let mut rows: Vec<Row> = (1..=4).map(|seq| (seq, "b.example", 30, 90, 200, false)).collect();
        // Bytes that are in use are not counted.
        rows.extend([(5, "b.example", 500, 90, 200, true), (6, "a.example", 90, 90, 200, false)]);
        assert_eq!(gone(&store(&rows), 1000), [1]);
        assert_eq!(gone(&store(&rows), 10_000), [0; 0]);
        // A tenth of 500 is 50: three of b, and a's only one, after which all are within 500.
        assert_eq!(gone(&store(&rows), 500), [1, 2, 3, 6]);
        let many: Vec<Row> = (1..=3)
            .map(|seq| {
                (seq, ["a.example", "b.example", "gone.example"][seq as usize - 1], 10, 90, 200, false)
            })
            .collect();
        assert_eq!(gone(&store(&many), 100), [0; 0]);
    }

    #[test]
    fn a_full_store_gives_up_history_then_kept_bodies_then_what_was_never_delivered() {
        let store = store(&[
            (1, "a.example", 9, 1, 200, false),
            (2, "b.example", 9, 1, 200, true),
            (3, "b.example", 9, 1, 200, false),
        ]);
        let history = "INSERT INTO events (seq, id, event, received_at, outcome, size, state) \
                       VALUES (4, 4, 'room_started', 1, 'domain', 1, 1), (5, 5, 'room_started', 1, 'domain', 1, 1)";
        store.execute_batch(history).expect("history");
        let pragma =
            |name| store.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("a number");
        let bytes = pragma("page_count") * pragma("page_size");
        // What goes where the file is so much too large; the newest row stays in any case.
        let gone = |over: i64| {
            let retention = Retention { store_bytes: bytes - over, ..Retention::default() };
            let plan = sweep::plan(&store, &retention, UnixMillis(100), Walked::default()).expect("a plan");
            let rows = |ids: Vec<DeliveryId>| ids.iter().map(|id| id.0).collect::<Vec<_>>();
            (rows(plan.events.into_iter().map(|(id, _)| id).collect()), rows(plan.kept))
        };
        assert_eq!(gone(0), (vec![], vec![]));
        assert_eq!(gone(1), (vec![4], vec![]));
        assert_eq!(gone(sweep::room::ROW_BYTES + 5), (vec![4], vec![1]));
        assert_eq!(gone(sweep::room::ROW_BYTES + 12), (vec![4], vec![1, 3]));
        assert_eq!(gone(bytes), (vec![4, 2], vec![1, 3]));
    }
}
