//! The state of an event's row, where a disk has altered it: the row's sum says which one was stored.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::bodies::Bodies;
use crate::calls::{PutRight, Shelf};
use crate::ids::{BodyHash, DeliveryId};
use crate::outbox::sqlite::schema::sums::{self, EVENTS, STATE};

/// What a row says of its state, and what its sum says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoredState {
    /// The state that it says.
    AsItSays,
    /// Only the state was altered: this one was stored.
    Another(Shelf),
    /// More than the state was altered.
    Unknown,
}

/// Compares a row, read by the list of [`EVENTS`], with its sum and its body. `is_parked`: the index of what waits has it.
/// For a row without a sum, `is_parked` decides whether it is pending.
///
/// # Errors
/// When the row has fewer columns.
pub fn compare(row: &Row<'_>, body: &BodyHash, is_parked: bool) -> Result<StoredState> {
    let more = sums::body(&body.0);
    if !EVENTS.is_intact(row, 0, more)? {
        let stored = sums::stored_state(row, more)?.and_then(shelf);
        return Ok(stored.map_or(StoredState::Unknown, StoredState::Another));
    }
    let has_sum = row.get_ref(STATE + 1)? != ValueRef::Null;
    let waits_unsaid = is_parked && !has_sum && !says(row, Shelf::Pending)?;
    Ok(if waits_unsaid { StoredState::Another(Shelf::Pending) } else { StoredState::AsItSays })
}

/// Whether a row, read by the list of [`EVENTS`], says that it has this state.
///
/// # Errors
/// When the row has fewer columns.
pub fn says(row: &Row<'_>, state: Shelf) -> Result<bool> {
    Ok(row.get_ref(STATE)? == ValueRef::Integer(state as i64))
}

/// Changes an altered state to the one that was stored. Not again after the row was changed since: its sum is another one
/// then.
///
/// # Errors
/// When the database cannot be written.
pub fn put_right(connection: &Connection, put_right: PutRight) -> Result<()> {
    let PutRight { id, stored, sum } = put_right;
    connection
        .prepare_cached(
            "UPDATE events SET state = ?2, parked = (parked AND ?2 = 0) \
             WHERE seq = ?1 AND sum IS ?3 AND state IS NOT ?2",
        )?
        .execute(params![id.0, stored as i64, sum])
        .map(drop)
}

/// Deliveries whose bodies are in the ring and that wait, though their rows say otherwise.
///
/// # Errors
/// When the database cannot be read.
pub fn hidden_in_ring(connection: &Connection) -> Result<Vec<DeliveryId>> {
    hidden(connection, IN_RING, (0, i64::MAX))
}

/// What has an end in `settled_at` was delivered or given up, so no body is read for it: only the state was altered.
const IN_RING: &str = "SELECT seq FROM ring CROSS JOIN events USING (seq) WHERE state IS NOT 0 AND settled_at IS NULL \
                       AND seq > ?1 AND seq <= ?2";

/// All deliveries behind the row `after` and up to the row `last` that wait, though their rows say otherwise. What says that
/// it is a dead letter, or without a hook, is shown as that.
///
/// # Errors
/// When the database cannot be read.
pub fn hidden_among(connection: &Connection, (after, last): (i64, i64)) -> Result<Vec<DeliveryId>> {
    // Whatever is no number is not among these.
    let sql = "SELECT seq FROM events WHERE seq > ?1 AND seq <= ?2 AND coalesce(state, 1) NOT IN (0, 2, 3, 4, 5) \
               AND settled_at IS NULL AND EXISTS (SELECT 1 FROM bodies WHERE bodies.seq = events.seq)";
    let mut found = hidden(connection, sql, (after, last))?;
    found.extend(hidden(connection, IN_RING, (after, last))?);
    Ok(found)
}

/// Those that wait among the rows behind `after` and up to `last` that `sql` selects. What cannot be read is not among them:
/// it is found when it is asked for.
fn hidden(connection: &Connection, sql: &str, (after, last): (i64, i64)) -> Result<Vec<DeliveryId>> {
    let mut selected = connection.prepare_cached(sql)?;
    let (mut selected, mut found) = (selected.query([after, last])?, Vec::new());
    while let Some(row) = read_if_whole(selected.next())?.flatten() {
        let id = DeliveryId(row.get(0)?);
        if read_if_whole(waits(connection, id))?.unwrap_or(false) {
            found.push(id);
        }
    }
    Ok(found)
}

/// None if damage keeps it from being read.
fn read_if_whole<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(error) if sums::is_damage(&error) => Ok(None),
        read => read.map(Some),
    }
}

fn waits(connection: &Connection, id: DeliveryId) -> Result<bool> {
    let Some(body) = Bodies::read(connection, id)? else { return Ok(false) };
    let sql = format!("SELECT {}, parked FROM events WHERE seq = ?1", EVENTS.list());
    let compare = |row: &Row<'_>| compare(row, &BodyHash::of(&body), row.get(STATE + 2)?);
    let found = connection.prepare_cached(&sql)?.query_row([id.0], compare).optional()?;
    Ok(found == Some(StoredState::Another(Shelf::Pending)))
}

fn shelf(state: i64) -> Option<Shelf> {
    Shelf::ALL.into_iter().find(|shelf| *shelf as i64 == state)
}
