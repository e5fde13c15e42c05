//! Calls, and what happened in one.

use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::Serialize;

use super::event::{self, EventStory};
use crate::route::{self, Door};
use crate::time::UnixMillis;

/// Rows are looked through at most so far.
const ROWS: i64 = 2_000_000;

/// At most this many events of one call are listed.
const EVENTS: usize = 5000;

/// Events may come a little before their session's first.
const EARLY_MS: i64 = 60_000;

/// A call as its row tells it.
#[derive(Debug, Serialize)]
pub struct CallStory {
    /// The room's sid.
    pub call: String,
    pub room: Option<String>,
    /// The tenant it is bound to.
    pub tenant: Option<String>,
    pub host: Option<String>,
    /// Without its query.
    pub url: Option<String>,
    /// Participants of several tenants met in it.
    pub shared: bool,
    /// A SIP participant was seen in it.
    pub sip: bool,
    /// Callers whose domain has no hook.
    pub strangers: i64,
    /// RFC 3339, as all times here.
    pub began_at: String,
    pub finished_at: Option<String>,
    /// Where a list goes on.
    #[serde(skip)]
    pub cursor: (i64, String),
}

/// A call and its events.
#[derive(Debug, Serialize)]
pub struct Timeline {
    /// Absent: its row is gone, its events are not.
    pub call: Option<CallStory>,
    pub events: Vec<EventStory>,
    /// There may be more than these.
    pub truncated: bool,
}

const CALL: &str = "SELECT call, room, hooks.tenant, hooks.host, calls.url, shared, sip, began_at, finished_at, \
     (SELECT count(*) FROM participants WHERE participants.call = calls.call AND participants.hook IS NULL) \
     FROM calls LEFT JOIN hooks ON hooks.id = calls.hook";

fn read(row: &Row<'_>) -> Result<CallStory> {
    let key: String = row.get(0)?;
    let url: Option<String> = row.get(4)?;
    let began_at: i64 = row.get(7)?;
    Ok(CallStory {
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
        cursor: (began_at, key),
    })
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

/// A page of calls, the newest first.
pub fn page(connection: &Connection, calls: &CallFilter, limit: usize) -> Result<Vec<CallStory>> {
    let (at, key) = calls.after.clone().unwrap_or((i64::MAX, String::new()));
    connection
        .prepare(&format!(
            "{CALL} WHERE (began_at, call) < (?1, ?2) AND (?3 IS NULL OR hooks.tenant = ?3) \
             AND (?4 OR sip OR calls.hook IS NOT NULL) ORDER BY began_at DESC, call DESC LIMIT ?5"
        ))?
        .query_map(params![at, key, calls.tenant, calls.all, i64::try_from(limit).unwrap_or(i64::MAX)], read)?
        .collect()
}

/// What happened in a call: by its sid, or by its room's name, of which the latest is meant.
pub fn of_call(connection: &Connection, name: &str) -> Result<Option<Timeline>> {
    let call = find(connection, name)?;
    let newest: i64 =
        connection.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    let oldest: i64 =
        connection.query_row("SELECT coalesce(min(seq), 0) FROM events", [], |row| row.get(0))?;
    // Rows stand in order of arrival: those of a call begin where it does.
    let from = match &call {
        Some(call) => first_since(connection, (oldest, newest), call.cursor.0 - EARLY_MS)?,
        None => oldest.max(newest - ROWS),
    };
    let to = newest.min(from + ROWS);
    let key = call.as_ref().map_or(name, |call| &call.cursor.1);
    let events = event::of_call(connection, key, (from, to), EVENTS)?;
    let truncated = events.len() == EVENTS || to < newest || (call.is_none() && from > oldest);
    Ok((call.is_some() || !events.is_empty()).then_some(Timeline { call, events, truncated }))
}

fn find(connection: &Connection, name: &str) -> Result<Option<CallStory>> {
    // The platform's session first, then the one with exactly this key (`name@tenant`), then any tenant's of
    // this name.
    let platform = Door::Platform.key(name);
    let (sid, room) = ("call", "room");
    for (column, key) in [(sid, &*platform), (room, &*platform), (sid, name), (room, name)] {
        let sql = format!("{CALL} WHERE {column} = ?1 ORDER BY began_at DESC LIMIT 1");
        let found = connection.prepare(&sql)?.query_row([key], read).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    for column in [sid, room] {
        let sql = format!(
            "{CALL} WHERE {column} > ?1 || '@' AND {column} < ?1 || 'A' ORDER BY began_at DESC LIMIT 1"
        );
        let found = connection.prepare(&sql)?.query_row([name], read).optional()?;
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
