//! Room sessions: which hook each is bound to, and what became of its SIP participants.

pub mod numbers;

use std::sync::{Arc, LazyLock};

use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, params, params_from_iter};

use super::events::urls;
use super::schema::sums::{self, CALLS, PARTICIPANTS};
use crate::calls::{DamagedRow, Owned, Session};
use crate::domain::Domain;
use crate::hooks::Tenant;
use crate::ids::{DeliveryId, HookId};
use crate::registry::QuerySealer;
use crate::route::{Binding, Call, Placement, Reason};
use crate::time::UnixMillis;

/// Where a call goes, and the sid of the participant that bound it.
type BoundBy = (Owned, Option<Box<str>>);

/// Stores a session; not twice.
pub fn begin(
    connection: &Connection,
    queries: &QuerySealer,
    session: &str,
    room: Option<&str>,
    (sip, at): (bool, UnixMillis),
    (space, bound): (Option<&Tenant>, Option<&BoundBy>),
) -> Result<()> {
    let binding = bound.map(|(bound, _)| &bound.binding);
    let covered: [&dyn ToSql; 9] = [
        &session,
        &room,
        &binding.map(|binding| binding.hook.0),
        &binding.map(|binding| queries.seal(&binding.url)),
        &binding.map(|binding| binding.format.as_str()),
        &bound.and_then(|(_, participant)| participant.as_deref()),
        &at.0,
        &bound.and_then(|(bound, _)| bound.tenant.as_ref()).map(Tenant::as_str),
        &space.map(Tenant::as_str),
    ];
    let more: [&dyn ToSql; 2] = [&CALLS.sum(&covered)?, &sip];
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO calls \
             (call, room, hook, url, format, participant, began_at, seen_at, tenant, space, sum, sip) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params_from_iter(covered.into_iter().chain(more)))
        .map(drop)
}

pub fn see(connection: &Connection, session: &str, at: UnixMillis) -> Result<()> {
    connection
        .prepare_cached("UPDATE calls SET seen_at = max(seen_at, ?2) WHERE call = ?1")?
        .execute(params![session, at.0])
        .map(drop)
}

pub fn bind(
    connection: &Connection,
    queries: &QuerySealer,
    session: &str,
    bound: &Owned,
    participant: Option<&str>,
) -> Result<()> {
    let Owned { binding, tenant } = bound;
    connection
        .prepare_cached(
            "UPDATE calls SET hook = ?2, url = ?3, format = ?4, participant = ?5, tenant = ?6, \
             sum = resum(sum, 'hook', hook, ?2, 'url', url, ?3, 'format', format, ?4, \
             'participant', participant, ?5, 'tenant', tenant, ?6) WHERE call = ?1",
        )?
        .execute(params![
            session,
            binding.hook.0,
            queries.seal(&binding.url),
            binding.format.as_str(),
            participant,
            tenant.as_ref().map(Tenant::as_str),
        ])?;
    // The participant may have a row that says that it has no hook.
    connection
        .prepare_cached("DELETE FROM participants WHERE call = ?1 AND participant = ?2")?
        .execute(params![session, participant])
        .map(drop)
}

/// Stores where a participant belongs; not in a session that was removed.
pub fn place(
    connection: &Connection,
    queries: &QuerySealer,
    session: &str,
    participant: &str,
    placement: &Placement,
    (tenant, space): (Option<&Tenant>, Option<&Tenant>),
) -> Result<()> {
    let (binding, reason, domain) = match placement {
        Placement::At(binding) => (Some(binding), None, None),
        Placement::Nowhere(reason, domain) => (None, Some(reason.as_str()), domain.as_ref()),
    };
    let covered: [&dyn ToSql; 9] = [
        &session,
        &participant,
        &binding.map(|binding| binding.hook.0),
        &binding.map(|binding| queries.seal(&binding.url)),
        &binding.map(|binding| binding.format.as_str()),
        &reason,
        &domain.map(Domain::as_str),
        &tenant.map(Tenant::as_str),
        &space.map(Tenant::as_str),
    ];
    let sum: &dyn ToSql = &PARTICIPANTS.sum(&covered)?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO participants \
             (call, participant, hook, url, format, reason, domain, tenant, space, sum) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 WHERE EXISTS (SELECT 1 FROM calls WHERE call = ?1)",
        )?
        .execute(params_from_iter(covered.into_iter().chain([sum])))
        .map(drop)
}

/// An event of a call, or of a participant, that was cut off: it is the data of the tenant that it was cut off from.
pub fn give_to_former(connection: &Connection, event: DeliveryId) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE events SET tenant = former, sum = resum(sum, 'tenant', events.tenant, former) \
             FROM (SELECT coalesce((SELECT tenant FROM participants WHERE participants.call = of.call \
             AND participants.participant = of.participant AND hook = ?2), \
             (SELECT tenant FROM calls WHERE calls.call = of.call AND hook = ?2)) AS former \
             FROM events AS of WHERE seq = ?1) WHERE seq = ?1 AND tenant IS NULL",
        )?
        .execute([event.0, HookId::NOBODY.0])
        .map(drop)
}

pub fn has_sip(connection: &Connection, session: &str) -> Result<()> {
    connection.prepare_cached("UPDATE calls SET sip = 1 WHERE call = ?1")?.execute([session])?;
    connection
        .prepare_cached(
            "UPDATE events SET state = 3, sum = resum(sum, 'state', state, 3) \
             WHERE state >= 3 AND call = ?1 AND state = 5",
        )?
        .execute([session])
        .map(drop)
}

pub fn share(connection: &Connection, session: &str) -> Result<()> {
    connection.prepare_cached("UPDATE calls SET shared = 1 WHERE call = ?1")?.execute([session]).map(drop)
}

pub fn finish(connection: &Connection, session: &str, at: UnixMillis) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE calls SET finished_at = ?2, seen_at = ?2 WHERE call = ?1 AND finished_at IS NULL",
        )?
        .execute(params![session, at.0])?;
    forget_name(connection, session)
}

/// Forgets the name of a call whose tenant was erased, once it is over: until then events find it by its name. Not of a
/// call in which another tenant has a participant.
pub fn forget_name(connection: &Connection, session: &str) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE calls SET room = NULL, sum = resum(sum, 'room', room, NULL) WHERE call = ?1 AND erased = 1 AND finished_at IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM participants WHERE participants.call = calls.call \
             AND participants.tenant <> coalesce(calls.tenant, ''))",
        )?
        .execute([session])
        .map(drop)
}

/// The sessions of a room's name, the one that began last first; at most two.
pub fn of_room(connection: &Connection, room: &str) -> Result<Vec<Arc<str>>> {
    connection
        .prepare_cached("SELECT call FROM calls WHERE room = ?1 ORDER BY began_at DESC LIMIT 2")?
        .query_map([room], |row| Ok(row.get::<_, String>(0)?.into()))?
        .collect()
}

/// A session as its rows say. If one of them is damaged, whose call it is counts as not known: its participants that are
/// placed stay where they are.
pub fn load(
    connection: &Connection,
    queries: Option<&QuerySealer>,
    key: &str,
    damaged: &mut Vec<DamagedRow>,
) -> Result<Option<Session>> {
    let found = connection.prepare_cached(&CALL)?.query_row([key], |row| read(row, queries)).optional();
    let mut session = match found {
        Ok(None) => return Ok(None),
        Ok(Some(Some(session))) => session,
        Ok(Some(None)) => lost(DamagedRow::new(CALLS.table, key), damaged),
        Err(error) if sums::is_damaged_row(&error) => lost(DamagedRow::new(CALLS.table, key), damaged),
        Err(error) => return Err(error),
    };
    let mut statement = connection.prepare_cached(&PLACED)?;
    let mut rows = statement.query([key])?;
    while let Some(row) = rows.next()? {
        match read_participant(row, queries) {
            Ok(Some((participant, placement))) => session.call.place(&participant, placement),
            Err(error) if !sums::is_damaged_row(&error) => return Err(error),
            Ok(None) | Err(_) => {
                session.call.lose();
                damaged.push(DamagedRow::new(PARTICIPANTS.table, key));
            }
        }
    }
    Ok(Some(session))
}

/// Made once: one for each session that is loaded.
static CALL: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {}, shared, seen_at, finished_at, sip FROM calls WHERE call = ?1", CALLS.list())
});
static PLACED: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM participants WHERE call = ?1", PARTICIPANTS.list()));

/// None: the row is damaged.
fn read(row: &Row<'_>, queries: Option<&QuerySealer>) -> Result<Option<Session>> {
    if !CALLS.is_intact(row, 0, 0)? {
        return Ok(None);
    }
    let mut call = Call::new(row.get(13)?, row.get(10)?);
    let participant: Option<String> = row.get(5)?;
    if let Some(binding) = binding(row, queries)? {
        call.bind(binding, participant.as_deref());
    }
    Ok(Some(Session {
        call,
        room: row.get::<_, Option<String>>(1)?.map(Into::into),
        began_at: UnixMillis(row.get(6)?),
        seen_at: UnixMillis(row.get(11)?),
        finished_at: row.get::<_, Option<i64>>(12)?.map(UnixMillis),
    }))
}

/// A session of which nothing is known any more.
fn lost(row: DamagedRow, damaged: &mut Vec<DamagedRow>) -> Session {
    damaged.push(row);
    let mut session = Session::default();
    session.call.lose();
    session
}

/// None: the row is damaged.
fn read_participant(row: &Row<'_>, queries: Option<&QuerySealer>) -> Result<Option<(String, Placement)>> {
    let is_intact = PARTICIPANTS.is_intact(row, 0, 0)?;
    is_intact.then(|| Ok((row.get(1)?, placement(row, queries)?))).transpose()
}

fn placement(row: &Row<'_>, queries: Option<&QuerySealer>) -> Result<Placement> {
    if let Some(binding) = binding(row, queries)? {
        return Ok(Placement::At(binding));
    }
    let (reason, domain): (Option<String>, Option<String>) = (row.get(5)?, row.get(6)?);
    let reason = reason.and_then(|name| Reason::named(&name)).unwrap_or(Reason::NoHook);
    Ok(Placement::Nowhere(reason, domain.map(|domain| Domain::stored(&domain))))
}

/// From the columns `hook, url, format`, which are the third and the two behind it in both tables.
fn binding(row: &Row<'_>, queries: Option<&QuerySealer>) -> Result<Option<Binding>> {
    let hook = row.get::<_, Option<i64>>(2)?;
    hook.map(|hook| urls::binding(row, 3, HookId(hook), queries)).transpose()
}
