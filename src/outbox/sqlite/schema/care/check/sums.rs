//! Rows whose sums are wrong: a disk has changed them, or the body that belongs to them.

use rusqlite::{Connection, Result, Row};

use super::super::super::super::events::Bodies;
use super::super::super::super::events::state::{self, StoredState};
use super::super::super::connection::{VERSION, version_of};
use super::super::super::sums::{
    self, BOUND, CALLS, Covered, EVENTS, HOOKS, PARTICIPANTS, REVOKED_TOKENS, STATE, TENANTS,
};
use super::altered::AlteredRow;
use super::finding::{DatabaseFinding, NAMED};
use crate::calls::Shelf;
use crate::hooks::Layer;
use crate::ids::{BodyHash, DeliveryId};

/// Where the columns of [`BOUND`] begin in a row of an event.
const BOUND_AT: usize = STATE + 2;

/// Rows that are read in one reading: a router beside can empty its write-ahead log in between.
const PART: usize = 1024;

/// Called with each altered row.
pub type Found<'f> = &'f mut dyn FnMut(AlteredRow) -> Result<()>;

/// Findings of the rows whose sums are wrong, at most one more than are named. Databases of releases before have no sums, or
/// not all.
pub fn altered(store: &Connection) -> Result<Vec<DatabaseFinding>> {
    let mut found = Vec::new();
    if version_of(store)? != VERSION {
        return Ok(found);
    }
    each_altered(store, &mut |row| {
        if found.len() <= NAMED {
            found.push(row.finding());
        }
        Ok(())
    })?;
    Ok(found)
}

/// How many rows have wrong sums; none in databases of releases before.
pub fn count_altered(store: &Connection) -> Result<usize> {
    let mut count = 0;
    if version_of(store)? != VERSION {
        return Ok(count);
    }
    each_altered(store, &mut |_| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// Finds all rows whose sums are wrong, in one pass over each table that has sums. Dead letters that are known to be
/// damaged are left out: nothing is left to be done with them. The database has the tables of this release, whatever
/// version it says that it has.
pub fn each_altered(store: &Connection, found: Found<'_>) -> Result<()> {
    events(store, found)?;
    let hook = |row: &Row<'_>| {
        let layer = Layer::named(&sums::shown(row, 4)).unwrap_or(Layer::Api);
        let (host, tenant, is_removed) = (sums::shown(row, 1), sums::shown(row, 2), row.get(8)?);
        let was_removed = !sums::was_in_force(row)?;
        Ok(AlteredRow::Hook { id: row.get(0)?, host, tenant, layer, is_removed, was_removed })
    };
    keyed(store, &HOOKS, ", removed_at IS NOT NULL", &hook, found)?;
    let call = |row: &Row<'_>| Ok(AlteredRow::Call { table: CALLS.table, call: sums::shown(row, 0) });
    keyed(store, &CALLS, "", &call, found)?;
    let participant =
        |row: &Row<'_>| Ok(AlteredRow::Call { table: PARTICIPANTS.table, call: sums::shown(row, 0) });
    keyed(store, &PARTICIPANTS, "", &participant, found)?;
    let tenant = |row: &Row<'_>| Ok(AlteredRow::Tenant { tenant: sums::shown(row, 0) });
    keyed(store, &TENANTS, "", &tenant, found)?;
    let token = |row: &Row<'_>| Ok(AlteredRow::Token { jti: sums::shown(row, 0) });
    keyed(store, &REVOKED_TOKENS, "", &token, found)
}

/// A number; -1: a disk has made something else of it.
fn number(row: &Row<'_>, column: usize) -> Result<i64> {
    Ok(row.get_ref(column)?.as_i64().unwrap_or(-1))
}

/// Events that wait and dead letters, each with its body; and what says that it is delivered, as long as a body of it is
/// stored. Of the rest of what was delivered, nothing is used any more.
const LOOKED_THROUGH: [&str; 3] = [
    "events WHERE state IS NOT 1 AND NOT (state IS 2 AND dead_reason IS 'damaged')",
    "ring CROSS JOIN events USING (seq) WHERE state IS 1",
    "bodies CROSS JOIN events USING (seq) WHERE state IS 1",
];

fn events(store: &Connection, found: Found<'_>) -> Result<()> {
    LOOKED_THROUGH.iter().try_for_each(|rows| events_among(store, rows, found))
}

fn events_among(store: &Connection, among: &str, found: Found<'_>) -> Result<()> {
    let sql = format!(
        "SELECT {}, {}, attempts FROM {among} AND seq > ?1 ORDER BY seq LIMIT {PART}",
        EVENTS.list(),
        BOUND.list(),
    );
    let (mut statement, mut after) = (store.prepare(&sql)?, 0);
    loop {
        let mut rows = statement.query([after])?;
        let before = after;
        while let Some(row) = rows.next()? {
            after = row.get(0)?;
            let stored = match compared(store, row)? {
                StoredState::AsItSays => continue,
                StoredState::Another(stored) => Some(stored),
                StoredState::Unknown => None,
            };
            let (id, state) = (sums::shown(row, 1), number(row, STATE)?);
            found(AlteredRow::Event { seq: after, id, state, stored })?;
        }
        if after == before {
            return Ok(());
        }
    }
}

/// Of an event whose body is gone, or sealed, nothing can be said: its sum covers the body. Where it is bound to go
/// counts until its first attempt. The table of bodies has none of a delivered event: of one whose row has no sum, the body
/// says that it waits.
fn compared(store: &Connection, row: &Row<'_>) -> Result<StoredState> {
    let is_untried = state::says(row, Shelf::Pending)? && number(row, BOUND_AT + 4)? == 0;
    if is_untried && !BOUND.is_intact(row, BOUND_AT, 0)? {
        return Ok(StoredState::Unknown);
    }
    let id = DeliveryId(row.get(0)?);
    let body = match Bodies::read(store, id) {
        Err(error) if sums::is_damaged_row(&error) => return Ok(StoredState::Unknown),
        body => body?,
    };
    let Some(body) = body else { return Ok(StoredState::AsItSays) };
    let waits = state::says(row, Shelf::Delivered)? && Bodies::is_kept(store, id)?;
    state::compare(row, &BodyHash::of(&body), waits)
}

type Read<'r> = &'r dyn Fn(&Row<'_>) -> Result<AlteredRow>;

/// Tables whose rows have all that their sums cover. `more`: further columns for `read`, behind the sum.
fn keyed<const N: usize>(
    store: &Connection,
    covered: &Covered<N>,
    more: &str,
    read: Read<'_>,
    found: Found<'_>,
) -> Result<()> {
    let mut rows = store.prepare(&format!("SELECT {}{more} FROM {}", covered.list(), covered.table))?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        if !covered.is_intact(row, 0, 0)? {
            found(read(row)?)?;
        }
    }
    Ok(())
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
        assert_eq!(altered(&store).expect("findings").len(), 0, "a release before");
        store.pragma_update(None, "user_version", VERSION).expect("this release");
        assert_eq!(altered(&store).expect("findings").len(), NAMED + 1);
    }
}
