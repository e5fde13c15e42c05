//! Bodies of delivered events that stay, sealed, so that they can be sent again.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::Bodies;
use crate::calls::KeptBody;
use crate::ids::DeliveryId;

/// Keeps the body of an event that is delivered. One that is kept already stays as it is, for as long as it would have.
pub fn keep(connection: &Connection, id: DeliveryId, kept: &KeptBody) -> Result<()> {
    let KeptBody { hook, tenant, at, until, sealed, _counted } = kept;
    let size = i64::try_from(sealed.len()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT INTO kept_bodies (seq, tenant, hook, call, at, until, size, body) \
             SELECT seq, ?2, ?3, coalesce(call, room), ?4, ?5, ?6, ?7 FROM events WHERE seq = ?1 \
             ON CONFLICT (seq) DO UPDATE SET in_use = 0",
        )?
        .execute(params![id.0, tenant.as_str(), hook.0, at.0, until.0, size, sealed])
        .map(drop)
}

/// An event that was sent again is delivered: its body stays for as long as it would have.
pub fn rest(connection: &Connection, id: DeliveryId) -> Result<()> {
    connection.prepare_cached("UPDATE kept_bodies SET in_use = 0 WHERE seq = ?1")?.execute([id.0]).map(drop)
}

/// Holds the body of a delivered event that is to be sent again, and makes a row of its last attempt, which the event's
/// row had alone; whether there was a body.
pub fn take_up(connection: &Connection, id: DeliveryId) -> Result<bool> {
    let held = connection
        .prepare_cached(
            "UPDATE kept_bodies SET in_use = 1 \
             WHERE seq = ?1 AND EXISTS (SELECT 1 FROM events WHERE events.seq = ?1 AND state = 1)",
        )?
        .execute([id.0])?;
    if held > 0 {
        // The sealed one is its only body from here on.
        Bodies::wipe_one(connection, id)?;
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO attempts (seq, number, at, status, fault, latency_us, url) \
                 SELECT seq, attempts, attempted_at, status, fault, latency_us, bound_url FROM events WHERE seq = ?1",
            )?
            .execute([id.0])?;
    }
    Ok(held > 0)
}

/// The body of an event, as it was sealed.
pub fn read(connection: &Connection, id: DeliveryId) -> Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT body FROM kept_bodies WHERE seq = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()
}

/// Whether the body of a delivered event is kept.
pub fn is_kept(connection: &Connection, id: DeliveryId) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM kept_bodies WHERE seq = ?1")?.exists([id.0])
}

/// Removes bodies, unless their events are being sent again.
pub fn remove(connection: &Connection, ids: &[DeliveryId]) -> Result<()> {
    let mut body = connection.prepare_cached("DELETE FROM kept_bodies WHERE seq = ?1 AND in_use = 0")?;
    ids.iter().try_for_each(|id| body.execute([id.0]).map(drop))
}
