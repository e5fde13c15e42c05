//! Which dead letters are more than their tenant's part of the room.

use std::collections::HashMap;

use rusqlite::{Connection, Result};

use super::{PARTS, Retention, number};
use crate::calls::{Shelf, Sweep};
use crate::ids::DeliveryId;

/// At most this many in one round.
const ROWS: usize = 5 * Sweep::ROWS;

/// At most so many letters are looked at in one round, the newest first.
const LOOKED_AT: i64 = 500_000;

/// Plans which dead letters go: the oldest of each tenant whose bodies are beyond its part. The newest stay.
///
/// Reads the row of each letter if there are more than one tenant's part: not for a thread that deliveries wait for.
pub fn plan(connection: &Connection, retention: &Retention) -> Result<Vec<(DeliveryId, Shelf)>> {
    plan_among(connection, retention, LOOKED_AT)
}

fn plan_among(
    connection: &Connection,
    retention: &Retention,
    looked_at: i64,
) -> Result<Vec<(DeliveryId, Shelf)>> {
    let room = retention.kept_bytes / PARTS;
    let all = "SELECT coalesce(sum(CAST(size AS INTEGER)), 0) FROM events WHERE state = 2 AND state >= 2";
    if connection.prepare_cached(all)?.query_row([], |row| row.get::<_, i64>(0))? <= room {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(
        "SELECT tenant, seq, size FROM events WHERE state = 2 AND state >= 2 ORDER BY seq DESC LIMIT ?1",
    )?;
    let mut rows = statement.query([looked_at])?;
    let (mut used, mut beyond) = (HashMap::<String, i64>::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let tenant = row.get_ref(0)?.as_str().unwrap_or_default();
        let size = number(row, 2)?.unwrap_or(0);
        let bytes = match used.get_mut(tenant) {
            Some(bytes) => bytes,
            None => used.entry(tenant.to_owned()).or_default(),
        };
        *bytes += size;
        if *bytes > room {
            beyond.push((DeliveryId(row.get(1)?), Shelf::Dead));
        }
    }
    Ok(beyond.into_iter().rev().take(ROWS).collect())
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::outbox::sqlite::events::Bodies;
    use crate::outbox::sqlite::schema::in_memory;
    use crate::outbox::sqlite::sweep;

    /// A store with dead letters of 10 bytes each, of these tenants, the oldest first.
    fn store(tenants: &[&str]) -> Connection {
        let store = in_memory();
        for tenant in tenants {
            let sql = "INSERT INTO events (id, event, received_at, settled_at, outcome, size, state, tenant) \
                       SELECT coalesce(max(seq), 0), 'room_started', 1, 1, 'domain', 10, 2, ?1 FROM events";
            store.execute(sql, [tenant]).expect("a letter");
            store
                .execute("INSERT INTO bodies VALUES (?1, x'00')", params![store.last_insert_rowid()])
                .expect("a body");
        }
        store
    }

    fn gone(store: &Connection, kept_bytes: i64) -> Vec<i64> {
        let retention = Retention { kept_bytes, ..Retention::default() };
        plan(store, &retention).expect("a plan").into_iter().map(|(id, _)| id.0).collect()
    }

    #[test]
    fn beyond_its_tenth_a_tenants_oldest_dead_letters_go_and_no_others() {
        let letters = store(&["b", "a", "a", "b", "a", "a"]);
        assert_eq!(gone(&letters, 600), [0; 0]);
        assert_eq!(gone(&letters, 400), [0; 0]);
        assert_eq!(gone(&letters, 399), [2]);
        assert_eq!(gone(&letters, 200), [2, 3]);
        assert_eq!(gone(&letters, 100), [1, 2, 3, 5]);
        let events = plan(&letters, &Retention { kept_bytes: 200, ..Retention::default() }).expect("a plan");
        let round = Sweep { events, ..Sweep::default() };
        sweep::run(&letters, (&mut Bodies::default(), &mut sweep::Usage::default()), &round, &[], 0)
            .expect("swept");
        assert_eq!(gone(&letters, 200), [0; 0]);
    }

    #[test]
    fn the_newest_dead_letters_are_looked_at_and_older_ones_are_once_newer_ones_are_gone() {
        let letters = store(&["a"; 6]);
        let retention = Retention { kept_bytes: 200, ..Retention::default() };
        let among = |newest| {
            plan_among(&letters, &retention, newest).expect("a plan").into_iter().map(|(id, _)| id.0)
        };
        assert_eq!(among(3).collect::<Vec<_>>(), [4]);
        assert_eq!(among(LOOKED_AT).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn of_very_many_dead_letters_beyond_their_part_the_oldest_go_first() {
        let letters = store(&[]);
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                    INSERT INTO events (id, event, received_at, outcome, size, state, tenant) \
                    SELECT i, 'room_started', 1, 'domain', 10, 2, 'a' FROM n";
        let count = ROWS as i64 + 10;
        letters.execute(fill, [count]).expect("letters");
        assert_eq!(gone(&letters, 200), (1..=ROWS as i64).collect::<Vec<_>>());
    }
}
