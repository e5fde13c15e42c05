//! Rows whose sums are wrong: a disk has changed them, or the body that belongs to them.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result, Row};

use super::super::super::super::events::Bodies;
use super::super::super::connection::{VERSION, version_of};
use super::super::super::sums::{self, CALLS, Covered, EVENTS, HOOKS, PARTICIPANTS, REVOKED_TOKENS, TENANTS};
use super::finding::{DatabaseFinding, NAMED, RECOVER};
use crate::ids::{BodyHash, DeliveryId};

/// Rows that are read in one reading: a router beside can empty its write-ahead log in between.
const PART: usize = 1024;

const TOKENS: &str = "API tokens that were issued before the router's last start are refused";

/// All rows whose sums are wrong, in a database of this release: those before have none, or not all.
pub fn altered_rows(store: &Connection) -> Result<Vec<DatabaseFinding>> {
    if version_of(store)? == VERSION { altered(store) } else { Ok(Vec::new()) }
}

/// The same, whatever version the database says that it has.
pub fn altered(store: &Connection) -> Result<Vec<DatabaseFinding>> {
    let mut found = events(store)?;
    let hook = |row: &Row<'_>| Ok(format!("the hook of {} is not in force", sums::shown(row, 1)));
    found.extend(keyed(store, &HOOKS, "id, NULL", &hook)?);
    let call = |row: &Row<'_>| Ok(format!("later events of {} have no tenant", sums::shown(row, 0)));
    found.extend(keyed(store, &CALLS, "NULL, call", &call)?);
    found.extend(keyed(store, &PARTICIPANTS, "NULL, call", &call)?);
    let tenant = |row: &Row<'_>| {
        let tenant = sums::shown(row, 0);
        Ok(format!("{TOKENS}, and the derived secret of {tenant} may be another one"))
    };
    found.extend(keyed(store, &TENANTS, "NULL, tenant", &tenant)?);
    let token = |_: &Row<'_>| Ok(TOKENS.to_owned());
    found.extend(keyed(store, &REVOKED_TOKENS, "NULL, jti", &token)?);
    Ok(found)
}

/// Events, each with its body as long as that is stored unsealed.
fn events(store: &Connection) -> Result<Vec<DatabaseFinding>> {
    let sql = format!("SELECT {}, state FROM events WHERE seq > ?1 ORDER BY seq LIMIT {PART}", EVENTS.list());
    let (mut statement, mut after, mut found) = (store.prepare(&sql)?, 0, Vec::new());
    loop {
        let mut rows = statement.query([after])?;
        let before = after;
        while let Some(row) = rows.next()? {
            after = row.get(0)?;
            if found.len() <= NAMED && !is_intact(store, row)? {
                found.push(finding(
                    "events",
                    (Some(after), None),
                    format!("{} goes to nobody", sums::shown(row, 1)),
                ));
            }
        }
        if after == before {
            return Ok(found);
        }
    }
}

/// Of an event whose body is gone, or sealed, nothing can be said: its sum covers the body.
fn is_intact(store: &Connection, row: &Row<'_>) -> Result<bool> {
    let Some(body) = Bodies::read(store, DeliveryId(row.get(0)?))? else { return Ok(true) };
    EVENTS.is_intact(row, 0, sums::body(&BodyHash::of(&body).0))
}

type Means<'m> = &'m dyn Fn(&Row<'_>) -> Result<String>;

fn keyed<const N: usize>(
    store: &Connection,
    covered: &Covered<N>,
    number: &str,
    means: Means<'_>,
) -> Result<Vec<DatabaseFinding>> {
    let sql = format!("SELECT {}, {number} FROM {}", covered.list(), covered.table);
    let mut rows = store.prepare(&sql)?;
    let (mut rows, mut found) = (rows.query([])?, Vec::new());
    while let Some(row) = rows.next()? {
        if found.len() <= NAMED && !covered.is_intact(row, 0, 0)? {
            let key = (row.get_ref(N + 2)? != ValueRef::Null).then(|| sums::shown(row, N + 2));
            found.push(finding(covered.table, (row.get(N + 1)?, key), means(row)?));
        }
    }
    Ok(found)
}

fn finding(table: &str, (row, key): (Option<i64>, Option<String>), means: String) -> DatabaseFinding {
    let found = "its sum is wrong: it is not as it was stored".to_owned();
    DatabaseFinding { table: Some(table.to_owned()), row, key, found, means, fix: RECOVER }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    #[test]
    fn of_very_many_altered_events_a_hundred_are_named_and_one_more_says_that_there_are_more() {
        let store = in_memory();
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                    INSERT INTO events (id, event, received_at, outcome, size, state, sum) \
                    SELECT 'EV_' || i, 'room_started', 1, 'no_hook', 1, 3, 1 FROM n";
        store.execute(fill, [2 * PART as i64]).expect("rows");
        store.execute("INSERT INTO bodies SELECT seq, x'00' FROM events", []).expect("bodies");
        assert_eq!(altered(&store).expect("findings").len(), NAMED + 1);
    }
}
