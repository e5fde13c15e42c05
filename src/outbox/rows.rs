//! The SQL of the writer: one function per thing that is written.

use rusqlite::{Connection, Result, params};

use super::append;
use super::bodies::Bodies;
use super::feed::Ready;
use super::inbox::lock;
use super::letters;
use super::registry::{self, PausedBy};
use super::reroute::{self, Freeing, Waiters};
use super::writer::Memory;
use super::{Next, Order, Released, Settlement, Shared};
use crate::delivery::Attempt;
use crate::ids::{Chain, DeliveryId, HookId};
use crate::route::{Binding, Reason};
use crate::time::UnixMillis;

/// `events.state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Pending = 0,
    Delivered = 1,
    Dead = 2,
    Unrouted = 3,
    /// Waits for its call to be bound.
    Held = 4,
    /// Unrouted, in a room where no SIP participant was seen: its body goes early.
    WithoutSip = 5,
}

/// A new row of `events`.
pub struct NewEvent<'a> {
    /// Its id's [`crate::route::Door::key`], as `call`'s and `room`'s.
    pub key: &'a str,
    pub event: &'a str,
    pub call: Option<&'a str>,
    pub room: Option<&'a str>,
    /// The participant's identity.
    pub who: Option<&'a str>,
    pub created_at: Option<i64>,
    pub received_at: UnixMillis,
    pub domain: Option<&'a str>,
    pub outcome: &'static str,
    pub issuer: &'a str,
    /// None: it is not kept.
    pub body: Option<&'a [u8]>,
    /// Where it goes; none: unrouted.
    pub delivery: Option<NewDelivery>,
}

/// The delivery part of a new row.
#[derive(Clone)]
pub struct NewDelivery {
    pub hook: HookId,
    pub chain: Chain,
    pub sequence: i64,
    pub paused_before: i64,
    /// See [`crate::delivery::Delivery::bound`].
    pub bound: Option<Binding>,
}

/// Stores an event; none if its id is stored already.
pub fn append(
    connection: &Connection,
    bodies: &mut Bodies,
    new: &NewEvent<'_>,
) -> Result<Option<DeliveryId>> {
    let delivery = new.delivery.as_ref();
    let bound = delivery.and_then(|delivery| delivery.bound.as_ref());
    let state = match delivery {
        Some(_) => State::Pending,
        None if new.outcome == Reason::Held.as_str() => State::Held,
        None if new.outcome == Reason::NoCall.as_str() => State::WithoutSip,
        None => State::Unrouted,
    };
    // One statement finds the duplicate and stores the event.
    let stored = connection
        .prepare_cached(
            "INSERT INTO events (id, event, call, room, created_at, received_at, domain, outcome, \
             issuer, size, state, hook, chain, sequence, paused_before, bound_url, bound_format, who) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) \
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            new.key,
            new.event,
            new.call,
            new.room,
            new.created_at,
            new.received_at.0,
            new.domain,
            new.outcome,
            new.issuer,
            i64::try_from(new.body.map_or(0, <[u8]>::len)).unwrap_or(i64::MAX),
            state as i64,
            delivery.map(|delivery| delivery.hook.0),
            delivery.map(|delivery| delivery.chain.0),
            delivery.map(|delivery| delivery.sequence),
            delivery.map(|delivery| delivery.paused_before),
            bound.map(|bound| &*bound.url),
            bound.map(|bound| bound.format.as_str()),
            new.who,
        ])?;
    if stored == 0 {
        return Ok(None);
    }
    let id = DeliveryId(connection.last_insert_rowid());
    match (new.body, state) {
        (Some(body), State::Pending) => bodies.lend(connection, id, body)?,
        (Some(body), _) => Bodies::keep(connection, id, body)?,
        (None, _) => {}
    }
    Ok(Some(id))
}

/// What an order brought to life.
#[derive(Default)]
pub struct Revived {
    /// Deliveries that are pending again.
    pub ready: Vec<Ready>,
    /// Events that had no hook and have one now; their deliveries.
    pub released: Vec<Released>,
}

/// Carries out one order.
pub fn obey(shared: &Shared, connection: &Connection, memory: &mut Memory, order: &Order) -> Result<Revived> {
    match order {
        Order::Replay(replays, at, _) => {
            let ready = letters::revive(connection, replays, *at)?;
            return Ok(Revived { ready, released: Vec::new() });
        }
        Order::Reroute(sessions, at, _) => {
            let released = reroute(shared, connection, memory, sessions, *at)?;
            return Ok(Revived { ready: Vec::new(), released });
        }
        Order::Settle(settlement) => settle(connection, &mut memory.bodies, settlement),
        Order::Pause { hook, at, by } => pause(connection, *hook, *at, *by),
        Order::Resume { hook, at } => resume(connection, *hook, *at),
        Order::Sweep(sweep) => sweep.run(connection, memory),
        Order::Hooks(changes) => changes.iter().try_for_each(|change| registry::apply(connection, change)),
        // Memory's part: after the commit.
        Order::Swap(..) => Ok(()),
        Order::Expire(overdue) => append::expire(connection, overdue),
        Order::Rotate(tenant, at, _) => registry::rotate(connection, tenant, *at),
    }
    .map(|()| Revived::default())
}

fn reroute(
    shared: &Shared,
    connection: &Connection,
    memory: &mut Memory,
    sessions: &[String],
    at: UnixMillis,
) -> Result<Vec<Released>> {
    let mut calls = lock(&shared.calls);
    let mut released = Vec::new();
    for session in sessions {
        let waiters = Waiters::all(connection, session)?;
        let freeing = Freeing { shared, connection, memory, calls: &mut calls, at, is_replay: true };
        released.extend(reroute::set_free(freeing, session, &waiters)?);
    }
    Ok(released)
}

/// Begins a pause, unless there is one.
pub fn pause(connection: &Connection, hook: HookId, at: UnixMillis, by: PausedBy) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE hooks SET paused_at = ?2, paused_by = ?3 WHERE id = ?1 AND paused_at IS NULL",
        )?
        .execute(params![hook.0, at.0, by.as_str()])
        .map(drop)
}

/// Ends a pause and keeps how long it was.
pub fn resume(connection: &Connection, hook: HookId, at: UnixMillis) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE hooks SET paused_ms = paused_ms + max(0, ?2 - paused_at), paused_at = NULL, paused_by = NULL \
             WHERE id = ?1 AND paused_at IS NOT NULL",
        )?
        .execute(params![hook.0, at.0])
        .map(drop)
}

fn settle(connection: &Connection, bodies: &mut Bodies, settlement: &Settlement) -> Result<()> {
    let Settlement { delivery, attempt, next } = settlement;
    match next {
        Next::Delivered => {
            finish(connection, *delivery, attempt, State::Delivered, None)?;
            bodies.discard(connection, *delivery)
        }
        Next::Dead(reason) => {
            record_failure(connection, *delivery, attempt)?;
            bodies.move_out(connection, *delivery)?;
            finish(connection, *delivery, attempt, State::Dead, Some(reason.as_str()))
        }
        Next::Retry { due } => {
            record_failure(connection, *delivery, attempt)?;
            connection
                .prepare_cached(
                    "UPDATE events SET attempts = ?2, due = ?3, attempted_at = ?4, status = ?5, \
                     fault = ?6, latency_us = ?7 WHERE seq = ?1",
                )?
                .execute(params![
                    delivery.0,
                    attempt.number,
                    due.0,
                    attempt.at.0,
                    attempt.status(),
                    attempt.fault(),
                    latency_us(attempt),
                ])
                .map(drop)
        }
    }
}

fn finish(
    connection: &Connection,
    delivery: DeliveryId,
    attempt: &Attempt,
    state: State,
    dead_reason: Option<&str>,
) -> Result<()> {
    let settled_at = attempt.at.after(attempt.latency);
    connection
        .prepare_cached(
            "UPDATE events SET state = ?2, parked = 0, attempts = ?3, due = NULL, attempted_at = ?4, \
             status = ?5, fault = ?6, latency_us = ?7, settled_at = ?8, dead_reason = ?9 \
             WHERE seq = ?1",
        )?
        .execute(params![
            delivery.0,
            state as i64,
            attempt.number,
            attempt.at.0,
            attempt.status(),
            attempt.fault(),
            latency_us(attempt),
            settled_at.0,
            dead_reason,
        ])
        .map(drop)
}

fn record_failure(connection: &Connection, delivery: DeliveryId, attempt: &Attempt) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO attempts (seq, number, at, status, fault, latency_us) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            delivery.0,
            attempt.number,
            attempt.at.0,
            attempt.status(),
            attempt.fault(),
            latency_us(attempt),
        ])
        .map(drop)
}

fn latency_us(attempt: &Attempt) -> i64 {
    i64::try_from(attempt.latency.as_micros()).unwrap_or(i64::MAX)
}
