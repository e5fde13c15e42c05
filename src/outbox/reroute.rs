//! What had nowhere to go goes through the rules again: what waited for its call, once that is bound;
//! what was unrouted, when it is replayed. A call at a time, in order of arrival.

use rusqlite::{Connection, Result, Row, params};

use super::Released;
use super::Shared;
use super::append::number;
use super::calls::{self, Calls};
use super::decide::{Decision, Knowledge};
use super::effects::Effects;
use super::feed::Ready;
use super::inbox::Post;
use super::numbering::Numbering;
use super::rows::{NewDelivery, State};
use super::writer::Memory;
use crate::ids::{BodyHash, DeliveryId, EventId};
use crate::route::{Call, Door, Reason};
use crate::time::{Moment, UnixMillis};

/// An event without a hook, and its row.
struct Waiter {
    id: DeliveryId,
    /// Of the event; see [`Door::key`].
    key: String,
    outcome: String,
    post: Post,
}

/// A call's events that have no hook, in order of arrival.
///
/// Only those for whose reason the rules may find a hook, and these all came by the platform's URLs: what
/// came by a tenant's own has that tenant's hook or none, and what was cut off is nobody's for good.
pub struct Waiters(Vec<Waiter>);

/// The reasons for which a hook may still be found.
pub const MENDABLE: &str = "('held', 'no_call', 'no_hook', 'bad_domain', 'no_domain')";

/// An event that knows only a room's name comes at most this long before its session begins.
const EARLY_MS: i64 = 60_000;

impl Waiters {
    /// What waits for `session` to be bound, or has waited in vain.
    pub fn of(connection: &Connection, session: &str, room: Option<&str>) -> Result<Self> {
        let mut waiters: Vec<Waiter> = connection
            .prepare_cached(
                "SELECT seq, received_at, issuer, body, outcome, id FROM events JOIN bodies USING (seq) \
                 WHERE state >= 3 AND call = ?1 AND outcome IN ('held', 'no_call') ORDER BY seq",
            )?
            .query_map([session], waiter)?
            .collect::<Result<_>>()?;
        if let Some(room) = room {
            waiters.extend(named(connection, session, room)?);
            waiters.sort_by_key(|waiter| waiter.id);
        }
        Ok(Self(waiters))
    }

    /// The same, and whatever else of the session is unrouted.
    pub fn all(connection: &Connection, session: &str) -> Result<Self> {
        let mut waiters: Vec<Waiter> = connection
            .prepare_cached(&format!(
                "SELECT seq, received_at, issuer, body, outcome, id FROM events JOIN bodies USING (seq) \
                 WHERE state >= 3 AND call = ?1 AND outcome IN {MENDABLE} ORDER BY seq"
            ))?
            .query_map([session], waiter)?
            .collect::<Result<_>>()?;
        let room = "SELECT room FROM calls WHERE call = ?1 AND room IS NOT NULL";
        let mut rooms = connection.prepare_cached(room)?;
        let mut rooms = rooms.query([session])?;
        if let Some(row) = rooms.next()? {
            waiters.extend(named(connection, session, &row.get::<_, String>(0)?)?);
            waiters.sort_by_key(|waiter| waiter.id);
        }
        Ok(Self(waiters))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn waiter(row: &Row<'_>) -> Result<Waiter> {
    let body: Vec<u8> = row.get(3)?;
    let issuer: Option<String> = row.get(2)?;
    Ok(Waiter {
        id: DeliveryId(row.get(0)?),
        outcome: row.get(4)?,
        key: row.get(5)?,
        post: Post {
            body: body.into(),
            // Its key stands in its row.
            hash: BodyHash([0; 32]),
            issuer: issuer.unwrap_or_default().into(),
            received_at: UnixMillis(row.get(1)?),
            came: Moment::default(),
            door: Door::Platform,
        },
    })
}

/// What knows only the room's name, unless it may be a late one of an earlier session: that could be
/// another tenant's.
fn named(connection: &Connection, session: &str, room: &str) -> Result<Vec<Waiter>> {
    connection
        .prepare_cached(
            "SELECT seq, received_at, issuer, body, outcome, id FROM events JOIN bodies USING (seq) \
             WHERE state >= 3 AND call IS NULL AND room = ?1 AND outcome IN ('held', 'no_call') \
             AND received_at >= (SELECT began_at FROM calls WHERE call = ?2) - ?3 \
             AND received_at <= coalesce((SELECT finished_at FROM calls WHERE call = ?2), ?4) \
             AND NOT EXISTS (SELECT 1 FROM calls WHERE room = ?1 AND call <> ?2) ORDER BY seq",
        )?
        .query_map(params![room, session, EARLY_MS, i64::MAX], waiter)?
        .collect()
}

/// An event decided again.
struct Step<'w> {
    waiter: &'w Waiter,
    decision: Decision<'w>,
    effects: Effects,
}

/// Decides a call's events again. Pure: what they do to the call is only imagined.
fn decide<'w>(
    knowledge: &Knowledge,
    session: &str,
    mut call: Option<Call>,
    waiters: &'w Waiters,
) -> Vec<Step<'w>> {
    let mut steps = Vec::with_capacity(waiters.0.len());
    for waiter in &waiters.0 {
        let mut decision = Decision::new(&waiter.post);
        decision.session = Some(session.into());
        decision.route(knowledge, call.as_ref());
        let effects = Effects::of(knowledge, &decision, call.as_ref());
        effects.imagine(call.get_or_insert_default(), decision.event.participant.as_deref());
        steps.push(Step { waiter, decision, effects });
    }
    for step in &mut steps {
        // What came before the one that says whose the call is, or where its participant belongs.
        if step.decision.route.outcome.is_err() {
            step.decision.route(knowledge, call.as_ref());
        }
        step.decision.finish();
    }
    steps
}

/// How many of a call's events without a hook would have one now.
pub fn would_free(
    connection: &Connection,
    knowledge: &Knowledge,
    session: &str,
    waiters: &Waiters,
) -> Result<usize> {
    let steps = decide(knowledge, session, calls::read(connection, session)?, waiters);
    Ok(steps.iter().filter(|step| step.decision.route.outcome.is_ok()).count())
}

/// What setting free needs of the writer.
pub struct Freeing<'a> {
    pub shared: &'a Shared,
    pub connection: &'a Connection,
    pub memory: &'a mut Memory,
    pub calls: &'a mut Calls,
    /// When it happens: what is set free is as old as that.
    pub at: UnixMillis,
    /// Asked for by an operator: it goes where its hook leads now.
    pub is_replay: bool,
}

/// Sends a call's events without a hook through the rules again. Gives those that have one now.
pub fn set_free(freeing: Freeing<'_>, session: &str, waiters: &Waiters) -> Result<Vec<Released>> {
    let Freeing { shared, connection, memory, calls, at, is_replay } = freeing;
    if waiters.0.is_empty() {
        return Ok(Vec::new());
    }
    let call = calls.find(connection, session)?.cloned();
    let mut released = Vec::new();
    for Step { waiter, decision, effects } in decide(&shared.knowledge, session, call, waiters) {
        if effects.is_any() {
            effects.apply(connection, calls, session, &decision)?;
        }
        let Ok((hook, rule)) = &decision.route.outcome else {
            stay(connection, waiter, session, &decision)?;
            continue;
        };
        let mut delivery = number(shared, connection, memory, &decision, hook, at)?;
        if is_replay {
            delivery.bound = None;
        }
        make_pending(connection, waiter.id, session, rule.as_str(), &delivery, at)?;
        let (chain, sequence) = (delivery.chain, delivery.sequence);
        // Written down at once: a start reads on from `progress`, and this may be far behind it.
        memory.numbering.count(chain, sequence, waiter.id, at);
        Numbering::write(connection, chain, sequence, at)?;
        released.push(Released {
            ready: Ready { id: waiter.id, hook: hook.id, chain, due: None, fresh: None },
            event_id: EventId::stored(&waiter.key),
            event: decision.event.name.as_ref().into(),
            call: decision.call().map(Into::into),
            rule: *rule,
            tenant: hook.tenant.clone(),
            sequence,
            held_ms: at.0 - waiter.post.received_at.0,
        });
    }
    Ok(released)
}

/// It stays unrouted; the reason may be another one now.
fn stay(connection: &Connection, waiter: &Waiter, session: &str, decision: &Decision<'_>) -> Result<()> {
    let reason = decision.outcome();
    if decision.route.outcome.as_ref().err() == Some(&Reason::Held) || reason == waiter.outcome {
        return Ok(());
    }
    connection
        .prepare_cached("UPDATE events SET state = ?2, outcome = ?3, call = ?4 WHERE seq = ?1")?
        .execute(params![waiter.id.0, State::Unrouted as i64, reason, session])?;
    if decision.route.outcome.as_ref().err() != Some(&Reason::Filtered) {
        return Ok(());
    }
    // What a hook does not want is not kept for it.
    connection.prepare_cached("UPDATE events SET size = 0 WHERE seq = ?1")?.execute([waiter.id.0])?;
    connection.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?.execute([waiter.id.0]).map(drop)
}

/// Makes it pending. Parked at once: what is older than `progress` is found by that alone.
fn make_pending(
    connection: &Connection,
    id: DeliveryId,
    session: &str,
    rule: &str,
    delivery: &NewDelivery,
    at: UnixMillis,
) -> Result<()> {
    let bound = delivery.bound.as_ref();
    connection
        .prepare_cached(
            "UPDATE events SET state = 0, parked = 1, outcome = ?2, call = ?3, hook = ?4, chain = ?5, \
             sequence = ?6, paused_before = ?7, bound_url = ?8, bound_format = ?9, freed_at = ?10 \
             WHERE seq = ?1",
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
            at.0,
        ])
        .map(drop)
}
