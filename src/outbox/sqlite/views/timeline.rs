//! Calls, and what happened in one.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::event;
use crate::access::Scope;
use crate::hooks::Tenant;
use crate::route::{self, Door};
use crate::time::UnixMillis;
use crate::wire::{CallStory, Timeline};

/// Rows are looked through at most so far.
const ROWS: i64 = 2_000_000;

/// At most this many events of one call are listed.
const EVENTS: usize = 5000;

/// Events may come a little before their session's first.
const EARLY_MS: i64 = 60_000;

/// Other sessions of a room's name are listed, at most this many.
const OTHERS: usize = 20;

/// What [`read`] reads; `?1`: the scope's tenant, or null. A tenant sees the calls that it, or a participant in them,
/// is bound to; of a shared one only its own hook, and nothing of callers who belong to nobody.
const CALL: &str = "SELECT call, room, hooks.tenant, hooks.host, \
     CASE WHEN hooks.id = calls.hook THEN calls.url ELSE (SELECT url FROM participants \
     WHERE participants.call = calls.call AND participants.hook = hooks.id LIMIT 1) END, \
     shared, sip, began_at, finished_at, CASE WHEN ?1 IS NULL THEN (SELECT count(*) FROM participants \
     WHERE participants.call = calls.call AND participants.hook IS NULL) ELSE 0 END \
     FROM calls LEFT JOIN hooks ON hooks.id = CASE WHEN ?1 IS NULL THEN calls.hook ELSE \
     (SELECT own.id FROM hooks AS own WHERE own.tenant = ?1 AND (own.id = calls.hook OR own.id IN \
     (SELECT hook FROM participants WHERE participants.call = calls.call)) LIMIT 1) END \
     WHERE (?1 IS NULL OR hooks.id IS NOT NULL)";

/// A call, and the key of its session.
struct Found {
    story: CallStory,
    key: String,
    began_at: i64,
}

fn read(row: &Row<'_>) -> Result<Found> {
    let key: String = row.get(0)?;
    let url: Option<String> = row.get(4)?;
    let began_at: i64 = row.get(7)?;
    let story = CallStory {
        call: route::name(&key).to_owned(),
        room: row.get::<_, Option<String>>(1)?.map(|room| route::name(&room).to_owned()),
        tenant: row.get(2)?,
        host: row.get(3)?,
        url: url.map(|url| url.split(['?', '#']).next().unwrap_or_default().to_owned()),
        shared: row.get(5)?,
        sip: row.get(6)?,
        strangers: row.get(9)?,
        began_at: UnixMillis(began_at).to_string(),
        finished_at: row.get::<_, Option<i64>>(8)?.map(|at| UnixMillis(at).to_string()),
    };
    Ok(Found { story, key, began_at })
}

/// Which calls a list holds.
#[derive(Clone, Debug, Default)]
pub struct CallFilter {
    /// Only one tenant's.
    pub tenant: Option<String>,
    /// Also rooms without a tenant in which no SIP participant was seen.
    pub all: bool,
    /// Behind this one.
    pub after: Option<(i64, String)>,
}

/// A page of calls, the newest first; and where the next page begins, if there is one.
pub fn page(
    connection: &Connection,
    scope: &Scope,
    calls: &CallFilter,
    limit: usize,
) -> Result<(Vec<CallStory>, Option<String>)> {
    let (at, key) = calls.after.clone().unwrap_or((i64::MAX, String::new()));
    let own = scope.tenant().map(Tenant::as_str);
    let rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let found: Vec<Found> = connection
        .prepare(&format!(
            "{CALL} AND (began_at, call) < (?2, ?3) AND (?4 IS NULL OR hooks.tenant = ?4) \
             AND (?5 OR sip OR calls.hook IS NOT NULL) ORDER BY began_at DESC, call DESC LIMIT ?6"
        ))?
        .query_map(params![own, at, key, calls.tenant, calls.all, rows], read)?
        .collect::<Result<_>>()?;
    let last = found.last().filter(|_| found.len() == limit);
    let next = last.map(|last| format!("{}/{}", last.began_at, last.key));
    Ok((found.into_iter().map(|found| found.story).collect(), next))
}

/// What happened in a call: by its sid, or by its room's name, of which the latest is meant.
pub fn of_call(connection: &Connection, scope: &Scope, name: &str) -> Result<Option<Timeline>> {
    let call = find(connection, scope, name)?;
    let newest: i64 =
        connection.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    let oldest: i64 =
        connection.query_row("SELECT coalesce(min(seq), 0) FROM events", [], |row| row.get(0))?;
    // Rows stand in order of arrival: those of a call begin where it does.
    let from = match &call {
        Some(call) => first_since(connection, (oldest, newest), call.began_at - EARLY_MS)?,
        None => oldest.max(newest - ROWS),
    };
    let to = newest.min(from + ROWS);
    let key = call.as_ref().map_or(name, |call| &call.key);
    let events = event::of_call(connection, scope, key, (from, to), EVENTS)?;
    let truncated = events.len() == EVENTS || to < newest || (call.is_none() && from > oldest);
    let others = match &call {
        Some(call) if call.story.call != name => others(connection, scope, &call.key)?,
        _ => Vec::new(),
    };
    let found = call.is_some() || !events.is_empty();
    let call = call.map(|call| call.story);
    Ok(found.then_some(Timeline { call, events, domain_changes: Vec::new(), truncated, others }))
}

/// Other sessions of the same room's name, the newest first.
fn others(connection: &Connection, scope: &Scope, key: &str) -> Result<Vec<CallStory>> {
    let own = scope.tenant().map(Tenant::as_str);
    let limit = i64::try_from(OTHERS).unwrap_or(i64::MAX);
    connection
        .prepare(&format!(
            "{CALL} AND room = (SELECT room FROM calls WHERE call = ?2) AND call <> ?2 \
             ORDER BY began_at DESC LIMIT ?3"
        ))?
        .query_map(params![own, key, limit], |row| Ok(read(row)?.story))?
        .collect()
}

fn find(connection: &Connection, scope: &Scope, name: &str) -> Result<Option<Found>> {
    let own = scope.tenant().map(Tenant::as_str);
    // The platform's session first, then the one with exactly this key (`name@tenant`), then any tenant's of
    // this name.
    let platform = Door::Platform.key(name);
    let (sid, room) = ("call", "room");
    for (column, key) in [(sid, &*platform), (room, &*platform), (sid, name), (room, name)] {
        let sql = format!("{CALL} AND {column} = ?2 ORDER BY began_at DESC LIMIT 1");
        let found = connection.prepare(&sql)?.query_row(params![own, key], read).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    for column in [sid, room] {
        let sql = format!(
            "{CALL} AND {column} > ?2 || '@' AND {column} < ?2 || 'A' ORDER BY began_at DESC LIMIT 1"
        );
        let found = connection.prepare(&sql)?.query_row(params![own, name], read).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The first row that came at `since` or later.
fn first_since(connection: &Connection, (oldest, newest): (i64, i64), since: i64) -> Result<i64> {
    let mut next =
        connection.prepare("SELECT seq, received_at FROM events WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    let (mut low, mut high) = (oldest, newest + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        // Row numbers have gaps: the next row is taken for the middle.
        let found: Option<(i64, i64)> =
            next.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((seq, at)) if at < since => low = seq + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}
