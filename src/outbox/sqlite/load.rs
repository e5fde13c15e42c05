//! What deciding asks of the store.

use std::sync::{Arc, LazyLock};

use rusqlite::{Connection, OptionalExtension, Result, Row};

use super::events::{facts, kept};
use super::schema::sums::{self, EVENTS};
use super::sessions;
use crate::calls::{
    DamagedRow, Keys, LastCalled, LastNumber, Loaded, Place, Post, Shelf, StoredPost, Waiting,
};
use crate::hooks::Number;
use crate::ids::{BodyHash, Chain, DeliveryId};
use crate::registry::QuerySealer;
use crate::route::Reason;
use crate::time::UnixMillis;

/// Reads what is stored of these keys.
pub fn load(connection: &Connection, keys: &Keys, queries: &QuerySealer) -> Result<Loaded> {
    read(connection, keys, Some(queries), (&OF_SESSION, &OF_ROOM))
}

/// The same without bodies and queries of URLs, for a rehearsal: nothing is delivered.
pub fn load_without_bodies(connection: &Connection, keys: &Keys) -> Result<Loaded> {
    read(connection, keys, None, (&BARE_OF_SESSION, &BARE_OF_ROOM))
}

/// `waiting`: the queries for events that wait, by session and by room.
fn read(
    connection: &Connection,
    keys: &Keys,
    queries: Option<&QuerySealer>,
    waiting: (&str, &str),
) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    for key in &keys.events {
        let stored = connection.prepare_cached("SELECT 1 FROM events WHERE id = ?1")?.exists([&**key])?;
        if stored {
            loaded.answers.stored.insert(Arc::clone(key));
        }
        loaded.answers.asked.insert(Arc::clone(key));
    }
    for key in &keys.sessions {
        match sessions::load(connection, queries, key, &mut loaded.damaged)? {
            Some(session) => loaded.sessions.push((Arc::clone(key), session)),
            None => drop(loaded.answers.absent.insert(Arc::clone(key))),
        }
    }
    for room in &keys.rooms {
        loaded.answers.rooms.insert(Arc::clone(room), sessions::of_room(connection, room)?);
    }
    for place in &keys.waiting {
        let waiting = waiting_at(connection, place, waiting, &mut loaded.damaged)?;
        loaded.answers.waiting.insert(place.clone(), waiting);
    }
    for chain in &keys.chains {
        loaded.chains.push(last_number(connection, *chain)?);
    }
    for number in &keys.numbers {
        loaded.numbers.extend(last_called(connection, number)?.map(|last| (number.clone(), last)));
        loaded.answers.numbers.insert(number.clone());
    }
    for id in &keys.letters {
        loaded.answers.letters.insert(*id, replayable(connection, *id)?);
    }
    Ok(loaded)
}

/// As what an event can be sent again, if it can be.
fn replayable(connection: &Connection, id: DeliveryId) -> Result<Option<Shelf>> {
    let state: Option<i64> = connection
        .prepare_cached("SELECT state FROM events WHERE seq = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()?;
    Ok(match state {
        Some(state) if state == Shelf::Dead as i64 => Some(Shelf::Dead),
        Some(state) if state == Shelf::Delivered as i64 && kept::is_kept(connection, id)? => {
            Some(Shelf::Delivered)
        }
        _ => None,
    })
}

fn last_called(connection: &Connection, number: &Number) -> Result<Option<LastCalled>> {
    connection
        .prepare_cached("SELECT domain, tenant, seen_at FROM numbers WHERE number = ?1")?
        .query_row([number.as_str()], |row| {
            let seen_at = UnixMillis(row.get(2)?);
            Ok(LastCalled { domain: row.get(0)?, tenant: row.get(1)?, seen_at })
        })
        .optional()
}

/// The last number of a chain; 0 if it has none.
pub fn last_number(connection: &Connection, chain: Chain) -> Result<LastNumber> {
    let found: Option<(i64, i64)> = connection
        .prepare_cached("SELECT sequence, seen_at FROM chains WHERE chain = ?1")?
        .query_row([chain.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (sequence, seen_at) = found.unwrap_or_default();
    Ok(LastNumber { chain, sequence, seen_at: UnixMillis(seen_at) })
}

/// The events of a place that have no hook and may have one later, in order of arrival; those whose body is
/// still kept. Those that are damaged are named, and stay where they are.
fn waiting_at(
    connection: &Connection,
    place: &Place,
    (of_session, of_room): (&str, &str),
    damaged: &mut Vec<DamagedRow>,
) -> Result<Vec<Waiting>> {
    let (sql, key) = match place {
        Place::Session(session) => (of_session, session),
        Place::Room(room) => (of_room, room),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([&**key])?;
    let mut waiting = Vec::new();
    while let Some(row) = rows.next()? {
        match read_waiting(row) {
            Ok(Some(found)) => waiting.push(found),
            Ok(None) => damaged.push(DamagedRow::new(EVENTS.table, &row.get::<_, i64>(0)?)),
            Err(error) if sums::is_damage(&error) => {
                damaged.push(DamagedRow::new(EVENTS.table, &row.get::<_, i64>(0)?));
            }
            Err(error) => return Err(error),
        }
    }
    // SQLite would build an index for each call to sort by.
    waiting.sort_unstable_by_key(|event| event.id);
    Ok(waiting)
}

/// Made once: one for each call that is bound.
static OF_SESSION: LazyLock<String> = LazyLock::new(|| of_session("body"));
static OF_ROOM: LazyLock<String> = LazyLock::new(|| of_room("body"));
static BARE_OF_SESSION: LazyLock<String> = LazyLock::new(|| of_session("NULL"));
static BARE_OF_ROOM: LazyLock<String> = LazyLock::new(|| of_room("NULL"));

fn of_session(body: &str) -> String {
    waiting_sql(body, "events.call = ?1", Reason::is_mendable)
}

fn of_room(body: &str) -> String {
    waiting_sql(body, "events.call IS NULL AND room = ?1", Reason::waits_for_call)
}

fn waiting_sql(body: &str, condition: &str, wanted: fn(Reason) -> bool) -> String {
    format!(
        "SELECT {}, {body}, created_at, who FROM events JOIN bodies USING (seq) \
         WHERE state >= 3 AND {condition} AND outcome IN ({})",
        EVENTS.list(),
        named(wanted)
    )
}

/// The names of the reasons that are `wanted`, as SQL lists them.
pub fn named(wanted: fn(Reason) -> bool) -> String {
    let wanted = Reason::ALL.iter().filter(|reason| wanted(**reason));
    wanted.map(|reason| format!("'{reason}'")).collect::<Vec<_>>().join(", ")
}

/// An event that waits; none if it is damaged. A rehearsal has no bodies: what it reads is not checked, and nobody gets
/// it.
fn read_waiting(row: &Row<'_>) -> Result<Option<Waiting>> {
    let body = row.get::<_, Option<Vec<u8>>>(23)?;
    let hash = body.as_deref().map(BodyHash::of);
    if let Some(BodyHash(hash)) = &hash
        && !EVENTS.is_intact(row, 0, sums::body(hash))?
    {
        return Ok(None);
    }
    let outcome: String = row.get(7)?;
    let key = |column: usize| row.get::<_, Option<String>>(column).map(|key| key.map(Into::into));
    let post = Post::stored(StoredPost {
        key: row.get::<_, String>(1)?.into(),
        session: key(3)?,
        room: key(4)?,
        name: row.get(2)?,
        created_at: row.get(24)?,
        identity: row.get(25)?,
        facts: facts::read(row, 15)?,
        door: facts::door(row, 12)?,
        body: body.unwrap_or_default().into(),
        hash: hash.unwrap_or(BodyHash([0; 32])),
        issuer: key(8)?.unwrap_or_default(),
        received_at: UnixMillis(row.get(5)?),
    });
    Ok(Some(Waiting {
        id: DeliveryId(row.get(0)?),
        // Only these were asked for.
        reason: Reason::named(&outcome).unwrap_or(Reason::NoCall),
        post: Arc::new(post),
    }))
}
