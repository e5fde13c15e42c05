//! Removes what a part of an erasure names, and counts it.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::pages;
use super::tables::BY_EVENT;
use crate::calls::{ErasePart, ErasedRows, LastNumber, Shelf};
use crate::ids::{Chain, DeliveryId};
use crate::outbox::sqlite::events::{self, Bodies};
use crate::outbox::sqlite::sessions;
use crate::route;
use crate::time::UnixMillis;
use crate::wire::{ErasedCounts, SharedCall};

/// At most this many calls of several tenants are named.
const NAMED: usize = 100;

/// Removes the rows of a part.
pub fn rows(
    connection: &Connection,
    bodies: &mut Bodies,
    part: &ErasePart,
    erased: &mut ErasedCounts,
) -> Result<()> {
    part.shared.iter().for_each(|(call, tenant)| note_shared(erased, route::name(call), tenant));
    let tenant = part.tenant.as_str();
    match &part.rows {
        ErasedRows::None => {}
        ErasedRows::Events(ids) => {
            ids.iter().try_for_each(|id| event(connection, bodies, tenant, *id, erased))?;
        }
        ErasedRows::Facts(numbers) => {
            // If all are removed, numbers begin at 1 again: those of later events are not meant.
            let mut remove = connection.prepare_cached(
                "DELETE FROM facts WHERE n = ?1 AND seq <= (SELECT event FROM erasures WHERE id = ?2)",
            )?;
            for number in numbers {
                erased.facts += remove.execute([*number, part.id])? as u64;
            }
        }
        ErasedRows::Calls { gone, bare } => calls(connection, (gone, bare), erased)?,
        ErasedRows::Participants { gone, bare } => {
            let mut remove =
                connection.prepare_cached("DELETE FROM participants WHERE call = ?1 AND participant = ?2")?;
            for (call, participant) in gone {
                erased.participants += remove.execute([call, participant])? as u64;
                sessions::forget_name(connection, call)?;
            }
            let mut strip = connection.prepare_cached(
                "UPDATE participants SET domain = NULL, sum = resum(sum, 'domain', domain, NULL) \
                 WHERE call = ?1 AND participant = ?2",
            )?;
            bare.iter().try_for_each(|(call, participant)| strip.execute([call, participant]).map(drop))?;
        }
        ErasedRows::Numbers { gone, moved } => {
            let mut remove = connection.prepare_cached("DELETE FROM numbers WHERE number = ?1")?;
            for number in gone {
                erased.numbers += remove.execute([number])? as u64;
            }
            let mut strip = connection.prepare_cached(
                "UPDATE numbers SET before_domain = NULL, before_tenant = NULL, changed_at = NULL, call = NULL \
                 WHERE number = ?1",
            )?;
            moved.iter().try_for_each(|number| strip.execute([number]).map(drop))?;
        }
        ErasedRows::Records(ids) => erased.records += records(connection, ids)?,
        ErasedRows::Pages(numbers) => erased.pages += pages::clear(connection, numbers)?,
        ErasedRows::Files(names) => erased.backups.extend_from_slice(names),
    }
    Ok(())
}

fn note_shared(erased: &mut ErasedCounts, call: &str, tenant: &str) {
    erased.shared_events += 1;
    let shared = &mut erased.shared;
    if let Some(known) = shared.iter_mut().find(|known| known.call == call && known.tenant == tenant) {
        known.events += 1;
    } else if shared.len() < NAMED {
        shared.push(SharedCall { call: call.to_owned(), tenant: tenant.to_owned(), events: 1 });
    }
}

/// Removes an event, unless it has become another tenant's, with all that is found by its number.
fn event(
    connection: &Connection,
    bodies: &mut Bodies,
    tenant: &str,
    id: DeliveryId,
    erased: &mut ErasedCounts,
) -> Result<()> {
    let removed: Option<(i64, Option<i64>, Option<i64>, i64)> = connection
        .prepare_cached(
            "DELETE FROM events WHERE seq = ?1 AND (tenant IS NULL OR tenant = ?2 OR space = ?2) \
             RETURNING state, chain, sequence, received_at",
        )?
        .query_row(params![id.0, tenant], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((state, chain, sequence, received_at)) = removed else { return Ok(()) };
    bodies.erase(connection, id)?;
    for (table, sql) in BY_EVENT {
        let count = connection.prepare_cached(sql)?.execute([id.0])? as u64;
        match table {
            "attempts" => erased.attempts += count,
            "facts" => erased.facts += count,
            _ => erased.kept_bodies += count,
        }
    }
    let counted = match state {
        state if state == Shelf::Delivered as i64 => &mut erased.delivered,
        state if state == Shelf::Pending as i64 => &mut erased.pending,
        state if state == Shelf::Dead as i64 => &mut erased.dead,
        state if state == Shelf::Held as i64 => &mut erased.held,
        _ => &mut erased.unrouted,
    };
    *counted += 1;
    // A start counts a live call's numbers from its rows, where they are not stored yet.
    let numbered: i64 =
        connection.prepare_cached("SELECT numbered FROM progress")?.query_row([], |row| row.get(0))?;
    match (chain, sequence) {
        (Some(chain), Some(sequence)) if id.0 > numbered => {
            let last = LastNumber { chain: Chain(chain), sequence, seen_at: UnixMillis(received_at) };
            events::set_last_number(connection, &last)
        }
        _ => Ok(()),
    }
}

/// Removes calls with their participants; of those that stay, all that routing does not need.
fn calls(
    connection: &Connection,
    (gone, bare): (&[String], &[String]),
    erased: &mut ErasedCounts,
) -> Result<()> {
    let mut remove = connection.prepare_cached("DELETE FROM calls WHERE call = ?1")?;
    let mut participants = connection.prepare_cached("DELETE FROM participants WHERE call = ?1")?;
    for call in gone {
        erased.calls += remove.execute([call])? as u64;
        erased.participants += participants.execute([call])? as u64;
    }
    let mut strip = connection.prepare_cached(
        "UPDATE calls SET erased = 1, participant = iif(finished_at IS NULL, participant, NULL), sum = resum(sum, \
         'participant', participant, iif(finished_at IS NULL, participant, NULL)) WHERE call = ?1",
    )?;
    for call in bare {
        erased.bare_calls += strip.execute([call])? as u64;
        sessions::forget_name(connection, call)?;
    }
    Ok(())
}

/// Who did what and when stays: what it was done to only where that is a hook, a tenant or a token.
fn records(connection: &Connection, ids: &[i64]) -> Result<u64> {
    let mut strip = connection.prepare_cached(
        "UPDATE audit SET before = NULL, after = NULL, target = CASE substr(action, 1, instr(action, '.')) \
         WHEN 'hook.' THEN target WHEN 'secret.' THEN target WHEN 'tenant.' THEN target \
         WHEN 'token.' THEN target WHEN 'tokens.' THEN target ELSE 'erased' END WHERE id = ?1",
    )?;
    let mut count = 0;
    for id in ids {
        count += strip.execute([id])? as u64;
    }
    Ok(count)
}
