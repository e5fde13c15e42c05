//! The sessions that a name may mean: its own, or those of a room of that name.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result};

use super::walk::Walk;
use crate::access::Scope;
use crate::hooks::Tenant;
use crate::outbox::sqlite::digest::index::EventKey;
use crate::route::Door;

/// Of a room's name, at most so many sessions are meant: the latest.
const SESSIONS: usize = 20;

/// How LiveKit's sids of rooms begin.
const SID: &str = "RM_";

/// The keys of sessions with this sid, or of a room with this name; and what events that know no session have instead.
pub fn keys_of(connection: &Connection, scope: &Scope, name: &str) -> Result<Vec<String>> {
    let names = spellings(scope, name);
    let mut keys: BTreeSet<String> = names.iter().cloned().collect();
    let mut known = connection
        .prepare_cached("SELECT call FROM calls WHERE room = ?1 ORDER BY began_at DESC LIMIT ?2")?;
    for name in &names {
        let sessions = known.query_map((name, SESSIONS as i64), |row| row.get(0))?;
        keys.extend(sessions.collect::<Result<Vec<String>>>()?);
    }
    if !name.starts_with(SID) {
        keys.extend(ended_sessions(connection, &names)?);
    }
    Ok(keys.into_iter().collect())
}

/// A name as events have it: the platform's, as it is (`name@tenant`), and the scope's tenant's own.
fn spellings(scope: &Scope, name: &str) -> Vec<String> {
    let own = scope.tenant().map(Tenant::as_str).map(|tenant| format!("{name}@{tenant}"));
    let names = BTreeSet::from([Door::Platform.key(name).into_owned(), name.to_owned()]);
    names.into_iter().chain(own).collect()
}

/// The latest sessions of a room, by the events that began or ended them: a session itself is not kept for long.
fn ended_sessions(connection: &Connection, rooms: &[String]) -> Result<Vec<String>> {
    let keys = rooms.iter().map(|room| EventKey::room(room)).collect();
    let mut walk = Walk::new(connection, Some(keys), (0, i64::MAX))?.untiring();
    let mut event = connection.prepare_cached(
        "SELECT DISTINCT call FROM events WHERE seq BETWEEN ?1 AND ?2 AND call IS NOT NULL AND room = ?3",
    )?;
    let mut sessions = BTreeSet::new();
    while let Some((first, last)) = walk.next()?.filter(|_| sessions.len() < SESSIONS) {
        for room in rooms {
            let found = event.query_map((first, last, room), |row| row.get(0))?;
            sessions.extend(found.collect::<Result<Vec<String>>>()?);
        }
    }
    Ok(sessions.into_iter().collect())
}
