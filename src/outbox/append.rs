//! One event decided and stored: its call, its hook, and what it sets free.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result};

use super::calls::Calls;
use super::decide::Decision;
use super::effects::Effects;
use super::inbox::{Post, lock};
use super::numbers::Change;
use super::reroute::{self, Freeing, Waiters};
use super::rows::{self, NewDelivery, NewEvent};
use super::writer::{Memory, paused_ms};
use super::{Fate, Receipt, Shared};
use crate::domain::Domain;
use crate::hooks::Hook;
use crate::ids::DeliveryId;
use crate::route::{Door, Reason};
use crate::time::UnixMillis;

/// Decides and stores an event, within the writer's transaction.
pub fn append(shared: &Shared, connection: &Connection, memory: &mut Memory, post: &Post) -> Result<Receipt> {
    let mut decision = Decision::new(post);
    let mut calls = lock(&shared.calls);
    decision.session = Calls::session(connection, &decision)?;
    let call = match &decision.session {
        Some(session) => calls.find(connection, session)?,
        None => None,
    };
    decision.route(&shared.knowledge, call);
    let effects = Effects::of(&shared.knowledge, &decision, call);
    // A duplicate changes nothing. Without effects the index of ids finds it for free.
    if effects.is_any() && is_known(connection, &decision.key())? {
        return Ok(decision.receipt(Fate::Duplicate));
    }
    let mut released = Vec::new();
    if let Some(session) = decision.session.clone() {
        effects.apply(connection, &mut calls, &session, &decision)?;
        if effects.binding.is_some() {
            let room = decision.room_key();
            let waiters = Waiters::of(connection, &session, room.as_deref())?;
            let freeing = Freeing {
                shared,
                connection,
                memory,
                calls: &mut calls,
                at: post.received_at,
                is_replay: false,
            };
            released = reroute::set_free(freeing, &session, &waiters)?;
        }
    }
    drop(calls);
    let domain_changed = effects.places().then(|| note_number(connection, memory, &decision));
    let fate = store(shared, connection, memory, &mut decision)?;
    Ok(Receipt {
        released,
        domain_changed: domain_changed.transpose()?.flatten(),
        shared_with: effects.shared_with,
        ..decision.receipt(fate)
    })
}

fn is_known(connection: &Connection, key: &str) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM events WHERE id = ?1")?.exists([key])
}

/// Remembers with which domain a number was called; of the platform's LiveKit only.
fn note_number(
    connection: &Connection,
    memory: &mut Memory,
    decision: &Decision<'_>,
) -> Result<Option<Change>> {
    let number = decision.event.caller.as_ref().and_then(|caller| caller.number.as_deref());
    let (Some(number), Some(domain)) = (number, &decision.route.domain) else { return Ok(None) };
    // The dialled user part may be anything.
    const BYTES: usize = 64;
    if matches!(decision.post.door, Door::Tenant { own_key: true, .. }) || number.len() > BYTES {
        return Ok(None);
    }
    let tenant = decision.route.outcome.as_ref().ok().map(|(hook, _)| hook.tenant.as_str());
    memory.numbers.note(
        connection,
        number,
        (domain.as_str(), tenant),
        decision.session.as_deref(),
        decision.post.received_at,
    )
}

/// Stores an event as it was decided.
fn store(
    shared: &Shared,
    connection: &Connection,
    memory: &mut Memory,
    decision: &mut Decision<'_>,
) -> Result<Fate> {
    decision.finish();
    let received_at = decision.post.received_at;
    let delivery = match &decision.route.outcome {
        Err(_) => None,
        Ok((hook, _)) => Some(number(shared, connection, memory, decision, hook, received_at)?),
    };
    let (key, room) = (decision.key(), decision.room_key());
    let new = NewEvent {
        key: &key,
        event: &decision.event.name,
        call: decision.session.as_deref(),
        room: room.as_deref(),
        who: decision.event.identity.as_deref(),
        created_at: decision.event.created_at,
        received_at,
        domain: decision.route.domain.as_ref().map(Domain::as_str),
        outcome: decision.outcome(),
        issuer: &decision.post.issuer,
        // What a hook does not want is not kept for it.
        body: (decision.route.outcome.as_ref().err() != Some(&Reason::Filtered))
            .then_some(&*decision.post.body),
        delivery: delivery.clone(),
    };
    let Some(id) = rows::append(connection, &mut memory.bodies, &new)? else { return Ok(Fate::Duplicate) };
    Ok(match (&decision.route.outcome, delivery) {
        (Ok((hook, rule)), Some(NewDelivery { chain, sequence, paused_before, .. })) => {
            memory.numbering.count(chain, sequence, id, received_at);
            let counted = shared.fresh.count(decision.post.body.len());
            let delivery = decision.delivery((hook, *rule), id, Some(sequence), paused_before, counted);
            Fate::Routed(Arc::new(delivery))
        }
        (Err(reason), _) => Fate::Unrouted(*reason),
        // A hook always comes with a number.
        (Ok(_), None) => Fate::Unrouted(Reason::Held),
    })
}

/// The delivery an event becomes at `hook`, with its number. `at`: from when it counts.
pub fn number(
    shared: &Shared,
    connection: &Connection,
    memory: &Memory,
    decision: &Decision<'_>,
    hook: &Hook,
    at: UnixMillis,
) -> Result<NewDelivery> {
    let chain = decision.chain(hook);
    Ok(NewDelivery {
        hook: hook.id,
        chain,
        sequence: memory.numbering.next(connection, chain)?,
        paused_before: paused_ms(shared, hook.id, at),
        bound: decision.bound(hook),
    })
}

/// What has waited longer than it may, in order; at most `limit`.
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

/// Ends the wait of those that still do: unrouted, but a binding that comes later finds them.
pub fn expire(connection: &Connection, overdue: &[DeliveryId]) -> Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE events SET outcome = 'no_call', state = \
         CASE WHEN (SELECT sip FROM calls WHERE calls.call = events.call) THEN 3 ELSE 5 END \
         WHERE seq = ?1 AND state = 4",
    )?;
    overdue.iter().try_for_each(|id| update.execute([id.0]).map(drop))
}

/// How many events are held, and how many calls are live.
pub fn counts(connection: &Connection) -> Result<(usize, usize)> {
    let count = |sql: &str| -> Result<usize> {
        let count: Option<i64> =
            connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
        Ok(usize::try_from(count.unwrap_or(0)).unwrap_or(0))
    };
    Ok((
        count("SELECT count(*) FROM events WHERE state = 4 AND state >= 2")?,
        count("SELECT count(*) FROM calls WHERE hook IS NOT NULL AND finished_at IS NULL")?,
    ))
}
