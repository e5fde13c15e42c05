//! Pending deliveries: parked rows are found by their index, younger ones by reading the end of the table.

#[cfg(test)]
mod damaged;
mod snapshot;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Result, Row};

use super::events::state::{self, StoredState, hidden_among};
use super::events::{Bodies, kept, urls};
use super::schema::sums::{self, BOUND, EVENTS, STATE};
use super::{load, schema};
use crate::calls::{PutRight, Sequences, Shelf};
use crate::delivery::Delivery;
use crate::domain::Domain;
use crate::hooks::HookTable;
use crate::ids::{BodyHash, Chain, DeliveryId, EventId, HookId};
use crate::registry::{BodySealer, QuerySealer, Seals};
use crate::route::{self, Binding, Rule};
use crate::time::UnixMillis;

pub use self::snapshot::{Complete, InheritedPage, Snapshot};

/// The id of the last event, also if it was erased.
pub fn last_id(connection: &Connection) -> Result<i64> {
    let sql = "SELECT max(coalesce((SELECT max(seq) FROM events), 0), \
               coalesce((SELECT max(event) FROM erasures), 0))";
    connection.query_row(sql, [], |row| row.get(0))
}

/// The numbers of calls that were not written when the last run ended, counted from its events.
pub fn recover(connection: &Connection) -> Result<Sequences> {
    let mut sequences = Sequences::default();
    let mut rows = connection.prepare(
        "SELECT chain, sequence, seq, received_at FROM events WHERE seq > ?1 AND sequence IS NOT NULL \
         ORDER BY seq",
    )?;
    let numbered: i64 = connection.query_row("SELECT numbered FROM progress", [], |row| row.get(0))?;
    let mut rows = rows.query([numbered])?;
    while let Some(row) = rows.next()? {
        let chain = Chain(row.get(0)?);
        if !sequences.knows(chain) {
            sequences.learn(load::last_number(connection, chain)?);
        }
        // A replayed event may have a higher number than rows behind it.
        let sequence = row.get::<_, i64>(1)?.max(sequences.next(chain) - 1);
        sequences.count(chain, sequence, DeliveryId(row.get(2)?), UnixMillis(row.get(3)?));
    }
    Ok(sequences)
}

/// Events that have waited for their call since before `before`, in order; at most `limit`.
pub fn overdue(connection: &Connection, before: UnixMillis, limit: usize) -> Result<Vec<DeliveryId>> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, received_at FROM events WHERE state = 4 AND state >= 2 ORDER BY seq LIMIT ?1",
    )?;
    let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut overdue = Vec::new();
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? > before.0 {
            break;
        }
        overdue.push(DeliveryId(row.get(0)?));
    }
    Ok(overdue)
}

/// How many events are held, and how many calls are live.
pub fn counts(connection: &Connection) -> Result<(usize, usize)> {
    let count = |sql: &str| -> Result<usize> {
        let count: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    };
    Ok((
        count("SELECT count(*) FROM events WHERE state = 4 AND state >= 2")?,
        count("SELECT count(*) FROM calls WHERE hook IS NOT NULL AND finished_at IS NULL")?,
    ))
}

/// What is stored of a delivery that is to be tried.
#[derive(Debug)]
pub enum PendingDelivery {
    /// With its body.
    Whole(Arc<Delivery>),
    /// It is no longer pending.
    Gone,
    /// Its hook is not in the table: what is stored of the hook cannot be read at present.
    WithoutHook,
    /// Its row or its body is not as it was stored, or another master secret sealed its kept body. With its event's id,
    /// if that can be read; it may be what was altered.
    Damaged(Option<EventId>),
}

/// A pending delivery with its body; and what is to be put right of its row, whose state was altered: what waits is
/// delivered, and what was delivered is not.
///
/// # Errors
/// When the store cannot be read. If only the rows of this delivery cannot, it is [`PendingDelivery::Damaged`].
pub fn pending_delivery(
    connection: &Connection,
    table: &HookTable,
    seals: &Seals,
    id: DeliveryId,
) -> Result<(PendingDelivery, Option<PutRight>)> {
    let found = connection
        .prepare_cached(&PENDING)?
        .query_row([id.0], |row| read(connection, row, table, seals))
        .optional()
        .map(|found| found.unwrap_or((PendingDelivery::Gone, None)));
    match found {
        // Nothing is given up while nothing can be read.
        Err(error) if sums::is_damage(&error) => {
            progress(connection).map(|_| (PendingDelivery::Damaged(event_id(connection, id)), None))
        }
        Ok((PendingDelivery::Damaged(_), _)) => {
            Ok((PendingDelivery::Damaged(event_id(connection, id)), None))
        }
        found => found,
    }
}

/// The id of a delivery's event, as far as it can be read.
fn event_id(connection: &Connection, id: DeliveryId) -> Option<EventId> {
    let mut statement = connection.prepare_cached("SELECT id FROM events WHERE seq = ?1").ok()?;
    let read: Option<String> = statement.query_row([id.0], |row| row.get(0)).ok();
    read.map(|key| EventId::stored(route::name(&key)))
}

/// Made once: one for each delivery that is read back.
static PENDING: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {}, paused_before, attempts, freed_at, replayed_at, {}, size, parked FROM events WHERE seq = ?1",
        EVENTS.list(),
        BOUND.list()
    )
});

/// Whether a dead letter can be sent: its body is stored, and row and body are as they were written.
///
/// # Errors
/// When the store cannot be read.
pub fn is_whole(connection: &Connection, sealer: &BodySealer, id: DeliveryId) -> Result<bool> {
    static EVENT: LazyLock<String> =
        LazyLock::new(|| format!("SELECT {} FROM events WHERE seq = ?1", EVENTS.list()));
    let check = |row: &Row<'_>| {
        let event_id = EventId::stored(route::name(&row.get::<_, String>(1)?));
        match stored_body(connection, sealer, id, &event_id)? {
            StoredBody::Found { body, .. } => EVENTS.is_intact(row, 0, sums::body(&BodyHash::of(&body).0)),
            StoredBody::None | StoredBody::Damaged => Ok(false),
        }
    };
    match connection.prepare_cached(&EVENT)?.query_row([id.0], check).optional() {
        Err(error) if sums::is_damage(&error) => progress(connection).map(|_| false),
        checked => checked.map(|is_whole| is_whole.unwrap_or(false)),
    }
}

fn read(
    connection: &Connection,
    row: &Row<'_>,
    table: &HookTable,
    seals: &Seals,
) -> Result<(PendingDelivery, Option<PutRight>)> {
    let id = DeliveryId(row.get(0)?);
    let event_id = EventId::stored(route::name(&row.get::<_, String>(1)?));
    // What is parked waits, whatever its state says.
    let is_parked = row.get(32)?;
    let waits = is_parked || state::says(row, Shelf::Pending)?;
    let damaged = || if waits { PendingDelivery::Damaged(None) } else { PendingDelivery::Gone };
    let (body, is_kept) = match stored_body(connection, &seals.bodies, id, &event_id)? {
        StoredBody::Found { body, is_kept } => (body, is_kept),
        // What was delivered before it could be stored has no body.
        StoredBody::None if row.get::<_, i64>(31)? == 0 => return Ok((PendingDelivery::Gone, None)),
        StoredBody::None | StoredBody::Damaged => return Ok((damaged(), None)),
    };
    match state::compare(row, &BodyHash::of(&body), is_parked)? {
        StoredState::AsItSays if waits => Ok((delivery(row, table, seals, (event_id, body, is_kept))?, None)),
        StoredState::AsItSays => Ok((PendingDelivery::Gone, None)),
        StoredState::Another(stored) => {
            let put_right = Some(PutRight { id, stored, sum: row.get(STATE + 1)? });
            if stored != Shelf::Pending {
                return Ok((PendingDelivery::Gone, put_right));
            }
            Ok((delivery(row, table, seals, (event_id, body, is_kept))?, put_right))
        }
        StoredState::Unknown => Ok((damaged(), None)),
    }
}

/// What an intact row of a delivery says.
fn delivery(
    row: &Row<'_>,
    table: &HookTable,
    seals: &Seals,
    (event_id, body, is_kept): (EventId, Vec<u8>, bool),
) -> Result<PendingDelivery> {
    let Some(hook) = table.by_id(HookId(row.get(9)?)) else { return Ok(PendingDelivery::WithoutHook) };
    let Some(rule) = Rule::named(&row.get::<_, String>(7)?) else {
        return Ok(PendingDelivery::Damaged(None));
    };
    let attempts = row.get(24)?;
    // What was tried goes where its hook leads now.
    if attempts == 0 && !BOUND.is_intact(row, 27, 0)? {
        return Ok(PendingDelivery::Damaged(None));
    }
    let bound = if attempts == 0 { bound(row, hook.id, &seals.queries)? } else { None };
    Ok(PendingDelivery::Whole(Arc::new(Delivery {
        id: DeliveryId(row.get(0)?),
        event_id,
        event: row.get::<_, String>(2)?.into(),
        hook: Arc::clone(hook),
        rule,
        domain: row.get::<_, Option<String>>(6)?.map(|domain| Domain::stored(&domain)),
        call: row.get::<_, Option<String>>(3)?.map(|call| route::name(&call).into()),
        chain: Chain(row.get(10)?),
        bound,
        sequence: row.get::<_, Option<i64>>(11)?.unwrap_or_default(),
        received_at: UnixMillis(row.get(5)?),
        came: None,
        paused_before_ms: row.get(23)?,
        attempts,
        issuer: row.get::<_, Option<String>>(8)?.map(Into::into),
        freed_at: row.get::<_, Option<i64>>(25)?.map(UnixMillis),
        replayed_at: row.get::<_, Option<i64>>(26)?.map(UnixMillis),
        body: Bytes::from(body),
        is_kept,
        _counted: None,
    })))
}

enum StoredBody {
    /// `is_kept`: it was delivered once, and is sent again.
    Found {
        body: Vec<u8>,
        is_kept: bool,
    },
    None,
    Damaged,
}

fn stored_body(
    connection: &Connection,
    sealer: &BodySealer,
    id: DeliveryId,
    event_id: &EventId,
) -> Result<StoredBody> {
    if let Some(body) = Bodies::read(connection, id)? {
        return Ok(StoredBody::Found { body, is_kept: false });
    }
    let Some(sealed) = kept::read(connection, id)? else { return Ok(StoredBody::None) };
    let opened = sealer.open(id, event_id.as_str(), &sealed);
    Ok(opened.map_or(StoredBody::Damaged, |body| StoredBody::Found { body, is_kept: true }))
}

fn bound(row: &Row<'_>, hook: HookId, queries: &QuerySealer) -> Result<Option<Binding>> {
    let is_bound = row.get::<_, Option<String>>(28)?.is_some();
    is_bound.then(|| urls::binding(row, 28, hook, Some(queries))).transpose()
}

/// Up to this row all pending deliveries are parked.
pub fn progress(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("SELECT seq FROM progress")?.query_row([], |row| row.get(0))
}

/// The hooks that have pending deliveries or live calls.
pub fn busy(connection: &Connection) -> Result<HashSet<HookId>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT hook FROM events WHERE parked = 1 UNION \
             SELECT DISTINCT hook FROM events WHERE seq > (SELECT seq FROM progress) AND state = 0 UNION \
             SELECT DISTINCT hook FROM calls WHERE hook IS NOT NULL UNION \
             SELECT DISTINCT hook FROM participants WHERE hook IS NOT NULL",
        )?
        .query_map([], |row| row.get(0).map(HookId))?
        .collect()
}

/// The hooks that have calls which are live or ended after `since`.
pub fn calling(connection: &Connection, since: i64) -> Result<HashSet<HookId>> {
    connection
        .prepare_cached(
            "SELECT hook FROM calls WHERE hook IS NOT NULL AND coalesce(finished_at, ?2) > ?1 UNION \
             SELECT participants.hook FROM participants JOIN calls USING (call) \
             WHERE participants.hook IS NOT NULL AND coalesce(finished_at, ?2) > ?1",
        )?
        .query_map([since, i64::MAX], |row| row.get(0).map(HookId))?
        .collect()
}

/// Whether a hook has calls which are live or ended after `since`.
pub fn is_calling(connection: &Connection, hook: HookId, since: i64) -> Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM calls WHERE hook = ?1 AND coalesce(finished_at, ?3) > ?2) OR \
             EXISTS (SELECT 1 FROM participants JOIN calls USING (call) \
             WHERE participants.hook = ?1 AND coalesce(finished_at, ?3) > ?2)",
        )?
        .query_row([hook.0, since, i64::MAX], |row| row.get(0))
}

/// When each of these events came; one that is not stored yet is left out.
pub fn received(connection: &Connection, ids: &[DeliveryId]) -> Result<Vec<(DeliveryId, UnixMillis)>> {
    let mut statement = connection.prepare_cached("SELECT received_at FROM events WHERE seq = ?1")?;
    let mut received = Vec::with_capacity(ids.len());
    for id in ids {
        let at = statement.query_row([id.0], |row| row.get(0)).optional()?;
        received.extend(at.map(|at| (*id, UnixMillis(at))));
    }
    Ok(received)
}
