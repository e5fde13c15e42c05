//! One event decided and stored: its call, its hook, and what it sets free.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::calls::Calls;
use super::decide::Decision;
use super::feed::Ready;
use super::inbox::{Post, lock};
use super::numbering::Numbering;
use super::rows::{self, NewDelivery, NewEvent, State};
use super::writer::{Memory, paused_ms};
use super::{Fate, Receipt, Released, Shared};
use crate::domain::Domain;
use crate::hooks::Hook;
use crate::ids::{BodyHash, DeliveryId};
use crate::route::{Binding, Call, Door, Placement, Reason, Rule};
use crate::time::{Moment, UnixMillis};

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
    let effects = Effects::of(shared, &decision, call);
    // A duplicate changes nothing. Without effects the index of ids finds it for free.
    if effects.is_any() && is_known(connection, &decision.key())? {
        return Ok(decision.receipt(Fate::Duplicate));
    }
    let mut released = Vec::new();
    if let Some(session) = decision.session.clone() {
        effects.apply(connection, &mut calls, &session, &decision)?;
        if effects.binding.is_some() {
            let room = decision.room_key();
            let place = Place { session: &session, room: room.as_deref(), at: post.received_at };
            released = release(shared, connection, memory, &mut calls, &place)?;
        }
    }
    drop(calls);
    let fate = store(shared, connection, memory, &mut decision)?;
    Ok(Receipt { released, shared_with: effects.shared_with, ..decision.receipt(fate) })
}

fn is_known(connection: &Connection, key: &str) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM events WHERE id = ?1")?.exists([key])
}

/// What an event does to its call.
#[derive(Default)]
struct Effects {
    begins: bool,
    placement: Option<Placement>,
    binding: Option<Binding>,
    /// The tenant whose participant joins another tenant's call.
    shared_with: Option<Box<str>>,
    finishes: bool,
}

impl Effects {
    fn of(shared: &Shared, decision: &Decision<'_>, call: Option<&Call>) -> Self {
        if decision.session.is_none() {
            return Self::default();
        }
        let placed = match &decision.route.outcome {
            Ok((hook, Rule::Domain | Rule::Number | Rule::Trunk | Rule::Url)) => Some(hook),
            _ => None,
        };
        let is_caller = decision.event.caller.is_some();
        let placement = match &decision.route.outcome {
            Ok((hook, Rule::Domain | Rule::Number | Rule::Trunk)) => Some(Placement::At(Binding::to(hook))),
            Ok((hook, Rule::Url)) if is_caller => Some(Placement::At(Binding::to(hook))),
            Err(reason) if is_caller => Some(Placement::Nowhere(*reason, decision.route.domain.clone())),
            _ => None,
        };
        let participant = decision.event.participant.as_deref();
        let known = |placement: &Placement| {
            participant.and_then(|sid| call?.placements.get(sid)).is_some_and(|known| known == placement)
        };
        let binding = call.and_then(|call| call.binding.as_ref());
        Self {
            begins: call.is_none(),
            placement: placement.filter(|placement| participant.is_some() && !known(placement)),
            binding: placed.filter(|_| binding.is_none()).map(|hook| Binding::to(hook)),
            shared_with: match (placed, call, binding) {
                (Some(hook), Some(call), Some(binding)) if !call.shared => another(shared, hook, binding),
                _ => None,
            },
            finishes: decision.event.name == "room_finished",
        }
    }

    fn is_any(&self) -> bool {
        let Self { begins, placement, binding, shared_with, finishes } = self;
        *begins || *finishes || placement.is_some() || binding.is_some() || shared_with.is_some()
    }

    fn apply(
        &self,
        connection: &Connection,
        calls: &mut Calls,
        session: &str,
        decision: &Decision<'_>,
    ) -> Result<()> {
        let (participant, at) = (decision.event.participant.as_deref(), decision.post.received_at);
        match (self.begins, self.binding.clone()) {
            (true, binding) => {
                let room = decision.room_key();
                let bound = binding.map(|binding| (binding, participant));
                calls.begin(connection, session, room.as_deref(), at, bound)?;
            }
            (false, Some(binding)) => calls.bind(connection, session, binding, participant)?,
            (false, None) => calls.see(connection, session, at)?,
        }
        // Whoever binds the call is in its row.
        if let (Some(placement), Some(sid), None) = (&self.placement, participant, &self.binding) {
            calls.place(connection, session, sid, placement.clone())?;
        }
        if self.shared_with.is_some() {
            calls.share(connection, session)?;
        }
        if self.finishes {
            calls.finish(connection, session, at)?;
        }
        Ok(())
    }
}

/// The tenant of `hook`, if the call is bound to another's.
fn another(shared: &Shared, hook: &Hook, binding: &Binding) -> Option<Box<str>> {
    let table = shared.knowledge.table.load();
    let bound = table.by_id(binding.hook)?;
    (bound.tenant != hook.tenant).then(|| hook.tenant.as_str().into())
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
        Ok((hook, _)) => Some(number(shared, connection, &memory.numbering, decision, hook)?),
    };
    let (key, room) = (decision.key(), decision.room_key());
    let new = NewEvent {
        key: &key,
        event: &decision.event.name,
        call: decision.session.as_deref(),
        room: room.as_deref(),
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

fn number(
    shared: &Shared,
    connection: &Connection,
    numbering: &Numbering,
    decision: &Decision<'_>,
    hook: &Hook,
) -> Result<NewDelivery> {
    let chain = decision.chain(hook);
    Ok(NewDelivery {
        hook: hook.id,
        chain,
        sequence: numbering.next(connection, chain)?,
        paused_before: paused_ms(shared, hook.id, decision.post.received_at),
        bound: decision.bound(hook),
    })
}

/// The call that is bound, and when.
struct Place<'a> {
    session: &'a str,
    room: Option<&'a str>,
    at: UnixMillis,
}

/// An event that waited for its call.
struct Waiter {
    id: DeliveryId,
    post: Post,
}

/// Sends what waited for a call through the rules again, in order of arrival.
fn release(
    shared: &Shared,
    connection: &Connection,
    memory: &mut Memory,
    calls: &mut Calls,
    place: &Place<'_>,
) -> Result<Vec<Released>> {
    let Place { session, room, at } = *place;
    let mut released = Vec::new();
    for waiter in waiters(connection, session, room)? {
        let mut decision = Decision::new(&waiter.post);
        decision.session = Some(session.into());
        decision.route(&shared.knowledge, calls.find(connection, session)?);
        decision.finish();
        let Ok((hook, rule)) = &decision.route.outcome else {
            settle_again(connection, waiter.id, session, decision.outcome())?;
            continue;
        };
        let delivery = number(shared, connection, &memory.numbering, &decision, hook)?;
        set_free(connection, waiter.id, session, rule.as_str(), &delivery)?;
        let (chain, sequence) = (delivery.chain, delivery.sequence);
        memory.numbering.count(chain, sequence, waiter.id, waiter.post.received_at);
        released.push(Released {
            ready: Ready { id: waiter.id, hook: hook.id, chain, due: None, fresh: None },
            event_id: decision.id.clone(),
            event: decision.event.name.as_ref().into(),
            rule: *rule,
            tenant: hook.tenant.clone(),
            sequence,
            held_ms: at.0 - waiter.post.received_at.0,
        });
    }
    Ok(released)
}

/// An event that knows only a room's name comes at most this long before its session begins.
const EARLY_MS: i64 = 60_000;

fn waiters(connection: &Connection, session: &str, room: Option<&str>) -> Result<Vec<Waiter>> {
    let read = |row: &Row<'_>| {
        let body: Vec<u8> = row.get(3)?;
        let hash = BodyHash::of(&body);
        let issuer: Option<String> = row.get(2)?;
        Ok(Waiter {
            id: DeliveryId(row.get(0)?),
            post: Post {
                body: body.into(),
                hash,
                issuer: issuer.unwrap_or_default().into(),
                received_at: UnixMillis(row.get(1)?),
                came: Moment::default(),
                // Only what came by the platform's ever waits.
                door: Door::Platform,
            },
        })
    };
    let mut waiters: Vec<Waiter> = connection
        .prepare_cached(
            "SELECT seq, received_at, issuer, body FROM events JOIN bodies USING (seq) \
             WHERE state >= 3 AND call = ?1 AND outcome IN ('held', 'no_call') ORDER BY seq",
        )?
        .query_map([session], read)?
        .collect::<Result<_>>()?;
    // And what knows only the room's name, unless it may be a late one of an earlier session: that could
    // be another tenant's.
    if let Some(room) = room {
        let mut named = connection.prepare_cached(
            "SELECT seq, received_at, issuer, body FROM events JOIN bodies USING (seq) \
             WHERE state >= 3 AND call IS NULL AND room = ?1 AND outcome IN ('held', 'no_call') \
             AND received_at >= (SELECT began_at FROM calls WHERE call = ?2) - ?3 \
             AND NOT EXISTS (SELECT 1 FROM calls WHERE room = ?1 AND call <> ?2) ORDER BY seq",
        )?;
        waiters.extend(named.query_map(params![room, session, EARLY_MS], read)?.collect::<Result<Vec<_>>>()?);
        waiters.sort_by_key(|waiter| waiter.id);
    }
    Ok(waiters)
}

/// It stays unrouted, for this reason now.
fn settle_again(connection: &Connection, id: DeliveryId, session: &str, reason: &str) -> Result<()> {
    connection
        .prepare_cached("UPDATE events SET state = ?2, outcome = ?3, call = ?4 WHERE seq = ?1")?
        .execute(params![id.0, State::Unrouted as i64, reason, session])
        .map(drop)
}

/// Makes it pending. Parked at once: what is older than `progress` is found by that alone.
pub fn set_free(
    connection: &Connection,
    id: DeliveryId,
    session: &str,
    rule: &str,
    delivery: &NewDelivery,
) -> Result<()> {
    let bound = delivery.bound.as_ref();
    connection
        .prepare_cached(
            "UPDATE events SET state = 0, parked = 1, outcome = ?2, call = ?3, hook = ?4, chain = ?5, \
             sequence = ?6, paused_before = ?7, bound_url = ?8, bound_format = ?9 WHERE seq = ?1",
        )?
        .execute(params![
            id.0,
            rule,
            session,
            delivery.hook.0,
            delivery.chain.0,
            delivery.sequence,
            delivery.paused_before,
            bound.map(|bound| &*bound.url),
            bound.map(|bound| bound.format.as_str()),
        ])
        .map(drop)
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
    let mut update = connection
        .prepare_cached("UPDATE events SET state = 3, outcome = 'no_call' WHERE seq = ?1 AND state = 4")?;
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
