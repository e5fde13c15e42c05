//! What happened in a call.

use std::collections::VecDeque;

use rusqlite::{Connection, Result, params};

use super::calls::{find, others};
use super::event::{ListedStory, Stories};
use super::sessions::keys_of;
use super::walk::{Walk, first_since};
use crate::access::Scope;
use crate::hooks::Tenant;
use crate::outbox::sqlite::digest::index::EventKey;
use crate::wire::Timeline;

/// At most this many events of one call are listed.
const EVENTS: usize = 5000;

/// Events may come a little before their session's first.
const EARLY_MS: i64 = 60_000;

/// What happened in a call: by its sid, or by its room's name, of which the latest is meant.
pub fn of_call(connection: &Connection, scope: &Scope, name: &str) -> Result<Option<Timeline>> {
    let call = find(connection, scope, name)?;
    let (keys, from) = match &call {
        // Rows stand in order of arrival: those of a call begin where it does.
        Some(call) => (vec![call.key.clone()], first_since(connection, call.began_at - EARLY_MS)?),
        None => (keys_of(connection, scope, name)?, 0),
    };
    let events = events(connection, scope, &keys, from)?;
    let truncated = events.len() > EVENTS;
    let events = events.into_iter().take(EVENTS).map(ListedStory::with_last).collect::<Vec<_>>();
    let others = match &call {
        Some(call) if call.story.call != name => others(connection, scope, &call.key)?,
        _ => Vec::new(),
    };
    let found = call.is_some() || !events.is_empty();
    let call = call.map(|call| call.story);
    Ok(found.then_some(Timeline { call, events, domain_changes: Vec::new(), truncated, others }))
}

/// The first events of a session, in order of arrival; one more than are listed, if there are so many. Of several
/// sessions, the latest. Within a tenant's scope, its own events.
fn events(connection: &Connection, scope: &Scope, keys: &[String], from: i64) -> Result<Vec<ListedStory>> {
    let mut stories = Stories::new(connection, "TRUE", &[])?;
    let mut events = Vec::new();
    for seq in rows(connection, scope, keys, from)?.into_iter().rev() {
        events.extend(stories.read((seq, seq), 1)?);
    }
    Ok(events)
}

/// The first rows of the latest of these sessions, one more than are listed; the newest first.
fn rows(connection: &Connection, scope: &Scope, keys: &[String], from: i64) -> Result<VecDeque<i64>> {
    let indexed = keys.iter().map(|key| EventKey::call(key)).collect();
    let mut walk = Walk::new(connection, Some(indexed), (from, i64::MAX))?.untiring();
    let mut statement = connection.prepare_cached(
        "SELECT seq, coalesce(events.call, events.room) FROM events LEFT JOIN hooks ON hooks.id = hook \
         WHERE seq BETWEEN ?1 AND ?2 AND (?3 IS NULL OR +hooks.tenant = ?3) ORDER BY seq DESC",
    )?;
    let tenant = scope.tenant().map(Tenant::as_str);
    let (mut latest, mut found) = (None, VecDeque::new());
    while let Some((first, last)) = walk.next()? {
        let mut rows = statement.query(params![first, last, tenant])?;
        while let Some(row) = rows.next()? {
            let key = row.get_ref(1)?.as_str_or_null()?;
            let place = keys.iter().position(|known| key == Some(known));
            latest = latest.or(place);
            if place.is_some() && place == latest {
                found.push_back(row.get(0)?);
            }
            // The walk goes backwards: a newer row gives way to an older one.
            if found.len() > EVENTS + 1 {
                found.pop_front();
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    #[test]
    fn of_a_call_with_very_many_events_the_first_five_thousand_are_listed() {
        let store = in_memory();
        let fill = |more: usize| {
            let sql = format!(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {more}) \
                 INSERT INTO events (id, event, received_at, outcome, size, state, call) \
                 SELECT 'EV_' || (i + (SELECT count(*) FROM events)), 'track_published', 1, 'call', 1, 1, 'RM_1' FROM n"
            );
            store.execute_batch(&sql).expect("rows");
        };
        store
            .execute("INSERT INTO calls (call, began_at, seen_at) VALUES ('RM_1', 1, 1)", [])
            .expect("a call");
        for (more, truncated) in [(EVENTS, false), (1, true)] {
            fill(more);
            let told = of_call(&store, &Scope::for_tests(), "RM_1").expect("read").expect("a call");
            assert_eq!((told.events.len(), told.truncated, &*told.events[0].id), (EVENTS, truncated, "EV_1"));
        }
    }
}
