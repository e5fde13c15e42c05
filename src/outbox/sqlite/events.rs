//! The rows of events: added, released, settled, replayed.

mod bodies;
pub mod facts;
pub mod kept;
pub mod state;
pub mod urls;

use std::borrow::Cow;
use std::sync::LazyLock;

use rusqlite::{Connection, Result, ToSql, params, params_from_iter};

pub use self::bodies::Bodies;

use self::facts::FactColumns;
use super::schema::sums::{self, BOUND, EVENTS};
use super::{digest, sessions};
use crate::calls::{Destination, FreedEvent, GivenUp, LastNumber, NewEvent, Next, Replay, Settlement, Shelf};
use crate::delivery::Attempt;
use crate::domain::Domain;
use crate::hooks::Tenant;
use crate::ids::DeliveryId;
use crate::registry::QuerySealer;
use crate::route::{Binding, Reason};
use crate::time::UnixMillis;

/// Made once: one for each event.
static ADD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT OR IGNORE INTO events ({}, created_at, size, paused_before, bound_url, bound_format, \
         bound_sum, who, bytes) VALUES (?{})",
        EVENTS.names(),
        ", ?".repeat(30)
    )
});

/// Stores an event, unless one of its key is stored.
pub fn add(
    connection: &Connection,
    bodies: &mut Bodies,
    queries: &QuerySealer,
    event: &NewEvent,
) -> Result<()> {
    let NewEvent { id, post, fate, .. } = event;
    let (shelf, outcome) = kept_as(fate);
    // The body of an event that its hook does not want is not kept.
    let body = if matches!(fate, Err(Reason::Filtered)) { &[][..] } else { &post.body[..] };
    if !insert(connection, queries, event, (shelf, outcome, body.len()))? {
        return Ok(());
    }
    if matches!(fate, Err(Reason::HookRemoved)) {
        sessions::give_to_former(connection, *id)?;
    }
    if body.is_empty() { Ok(()) } else { store_body(connection, bodies, *id, shelf, body) }
}

/// Inserts the row of an event with so many bytes of body; false if one of its key is stored.
fn insert(
    connection: &Connection,
    queries: &QuerySealer,
    event: &NewEvent,
    (shelf, outcome, size): (Shelf, &str, usize),
) -> Result<bool> {
    let NewEvent { id, post, session, domain, tenant, fate } = event;
    let facts = FactColumns::of(&post.event);
    let destination = fate.as_ref().ok();
    let bound = destination.and_then(|destination| destination.bound.as_ref());
    let bound = bound.map(|bound| StoredBinding::new(bound, queries));
    let domain = domain.as_ref().map(Domain::as_str);
    let hook = destination.map(|destination| destination.hook.0);
    let chain = destination.map(|destination| destination.chain.0);
    let sequence = destination.map(|destination| destination.sequence);
    let (tenant, space) = (tenant.as_ref().map(Tenant::as_str), post.space().map(Tenant::as_str));
    let by_url = post.door.tenant().map(|_| true);
    let covered: [&dyn ToSql; 22] = [
        &id.0,
        &post.key,
        &post.event.name,
        session,
        &post.room,
        &post.received_at.0,
        &domain,
        &outcome,
        &post.issuer,
        &hook,
        &chain,
        &sequence,
        &tenant,
        &space,
        &by_url,
        &facts.participant,
        &facts.sip,
        &facts.x_to_ip,
        &facts.to_header,
        &facts.number,
        &facts.trunk,
        &(shelf as i64),
    ];
    let sum = EVENTS.sum(&covered)? ^ sums::body(&post.hash.0);
    let bound_sum = bound.as_ref().map(|bound| bound.sum(*id)).transpose()?;
    let more: [&dyn ToSql; 9] = [
        &sum,
        &post.event.created_at,
        &bytes(size),
        &destination.map(|destination| destination.paused_before_ms),
        &bound.as_ref().map(|bound| &*bound.url),
        &bound.as_ref().map(|bound| bound.format),
        &bound_sum,
        &post.event.identity,
        &(size != post.size).then(|| bytes(post.size)),
    ];
    let added =
        connection.prepare_cached(&ADD)?.execute(params_from_iter(covered.into_iter().chain(more)))?;
    Ok(added > 0)
}

fn kept_as(fate: &std::result::Result<Destination, Reason>) -> (Shelf, &'static str) {
    match fate {
        Ok(destination) => (Shelf::Pending, destination.rule.as_str()),
        Err(reason) => (shelf_of(*reason), reason.as_str()),
    }
}

fn store_body(
    connection: &Connection,
    bodies: &mut Bodies,
    id: DeliveryId,
    shelf: Shelf,
    body: &[u8],
) -> Result<()> {
    match shelf {
        Shelf::Pending => bodies.lend(connection, id, body),
        Shelf::Delivered | Shelf::Dead | Shelf::Unrouted | Shelf::Held | Shelf::WithoutSip => {
            Bodies::keep(connection, id, body)
        }
    }
}

/// Where an event's call was bound to go, as it is stored.
struct StoredBinding<'b> {
    url: Cow<'b, str>,
    format: &'static str,
}

impl<'b> StoredBinding<'b> {
    fn new(bound: &'b Binding, queries: &QuerySealer) -> Self {
        Self { url: queries.seal(&bound.url), format: bound.format.as_str() }
    }

    fn sum(&self, id: DeliveryId) -> Result<i64> {
        BOUND.sum(&[&id.0, &&*self.url, &self.format])
    }
}

fn bytes(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// What an event without a hook is kept as.
fn shelf_of(reason: Reason) -> Shelf {
    match reason {
        Reason::Held => Shelf::Held,
        Reason::NoCall => Shelf::WithoutSip,
        Reason::Unreadable
        | Reason::NoHook
        | Reason::BadDomain
        | Reason::NoDomain
        | Reason::Filtered
        | Reason::HookRemoved
        | Reason::Damaged => Shelf::Unrouted,
    }
}

/// Makes an event that had no hook pending. Parked at once: rows up to `progress` are found by that index only.
pub fn free(connection: &Connection, queries: &QuerySealer, freed: &FreedEvent) -> Result<()> {
    let FreedEvent { id, session, tenant, destination, at, is_replay, place: _ } = freed;
    let Destination { rule, hook, bound, chain, sequence, paused_before_ms } = destination;
    let bound = bound.as_ref().map(|bound| StoredBinding::new(bound, queries));
    connection
        .prepare_cached(
            "UPDATE events SET state = 0, parked = 1, outcome = ?2, call = ?3, hook = ?4, chain = ?5, \
             sequence = ?6, paused_before = ?7, bound_url = ?8, bound_format = ?9, freed_at = ?10, \
             replayed_at = ?11, before_reason = iif(?11 IS NULL, NULL, outcome), tenant = ?12, bound_sum = ?13, \
             sum = resum(sum, 'outcome', outcome, ?2, 'call', call, ?3, 'hook', hook, ?4, 'chain', chain, ?5, \
             'sequence', sequence, ?6, 'tenant', tenant, ?12, 'state', state, 0) WHERE seq = ?1 AND state >= 3",
        )?
        .execute(params![
            id.0,
            rule.as_str(),
            session,
            hook.0,
            chain.0,
            sequence,
            paused_before_ms,
            bound.as_ref().map(|bound| &*bound.url),
            bound.as_ref().map(|bound| bound.format),
            at.0,
            is_replay.then_some(at.0),
            tenant.as_str(),
            bound.as_ref().map(|bound| bound.sum(*id)).transpose()?,
        ])?;
    digest::enter_again(connection, *id)?;
    // Stored at once: a start counts only rows behind `numbered`, and this row may be far before it.
    set_last_number(connection, &LastNumber { chain: *chain, sequence: *sequence, seen_at: *at })
}

/// Stores a chain's last number, unless a higher one is stored.
pub fn set_last_number(connection: &Connection, last: &LastNumber) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO chains (chain, sequence, seen_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (chain) DO UPDATE SET sequence = max(sequence, ?2), seen_at = max(seen_at, ?3)",
        )?
        .execute(params![last.chain.0, last.sequence, last.seen_at.0])
        .map(drop)
}

/// An event stays without a hook, for another reason.
pub fn stay(
    connection: &Connection,
    id: DeliveryId,
    session: &str,
    reason: Reason,
    tenant: Option<&Tenant>,
) -> Result<()> {
    let update = "UPDATE events SET state = ?2, outcome = ?3, call = ?4, tenant = ?5, \
                  sum = resum(sum, 'outcome', outcome, ?3, 'call', call, ?4, 'tenant', tenant, ?5, 'state', state, ?2) \
                  WHERE seq = ?1 AND state >= 3";
    connection.prepare_cached(update)?.execute(params![
        id.0,
        Shelf::Unrouted as i64,
        reason.as_str(),
        session,
        tenant.map(Tenant::as_str),
    ])?;
    if reason == Reason::HookRemoved {
        sessions::give_to_former(connection, id)?;
    }
    digest::enter_again(connection, id)?;
    if reason != Reason::Filtered {
        return Ok(());
    }
    // The body of an event that its hook does not want is not kept.
    let update = "UPDATE events SET bytes = coalesce(bytes, size), size = 0 WHERE seq = ?1";
    connection.prepare_cached(update)?.execute([id.0])?;
    connection.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?.execute([id.0]).map(drop)
}

/// Makes these events unrouted if they are still held.
pub fn end_hold(connection: &Connection, ids: &[DeliveryId]) -> Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE events SET outcome = 'no_call', state = ended.state, \
         sum = resum(sum, 'outcome', outcome, 'no_call', 'state', events.state, ended.state) \
         FROM (SELECT iif((SELECT sip FROM calls WHERE calls.call = of.call), 3, 5) AS state \
         FROM events AS of WHERE seq = ?1) AS ended WHERE seq = ?1 AND events.state = 4",
    )?;
    ids.iter().try_for_each(|id| update.execute([id.0]).map(drop))?;
    digest::correct_facts(connection, ids)
}

/// Makes a dead letter, or a delivered event whose body is kept, pending. Why and when a letter was given up stays in
/// its row.
pub fn revive(connection: &Connection, replay: Replay, at: UnixMillis) -> Result<()> {
    let Replay { id, from, hook, chain, sequence: _, bytes: _, paused_before } = replay;
    if from == Shelf::Delivered && !kept::take_up(connection, id)? {
        return Ok(());
    }
    connection
        .prepare_cached(
            "UPDATE events SET state = 0, parked = 1, hook = ?2, chain = ?3, paused_before = ?4, \
             freed_at = ?5, replayed_at = ?5, before_reason = iif(?6 = 1, 'delivered', dead_reason), \
             dead_at = iif(?6 = 1, NULL, settled_at), due = NULL, settled_at = NULL, dead_reason = NULL, \
             bound_url = NULL, bound_sum = NULL, sum = resum(sum, 'hook', hook, ?2, 'chain', chain, ?3, \
             'state', state, 0) WHERE seq = ?1 AND state = ?6",
        )?
        .execute(params![id.0, hook.0, chain.0, paused_before, at.0, from as i64])?;
    digest::enter_again(connection, id)
}

/// Makes a pending delivery a dead letter without another attempt. What is parked is pending, whatever its state says: that
/// may be what was altered.
pub fn give_up(connection: &Connection, bodies: &mut Bodies, given_up: GivenUp) -> Result<()> {
    let GivenUp { delivery, reason, at } = given_up;
    let given_up = connection
        .prepare_cached(
            "UPDATE events SET state = 2, parked = 0, due = NULL, settled_at = ?2, dead_reason = ?3, \
             sum = resum(sum, 'state', state, 2) WHERE seq = ?1 AND (state = 0 OR parked = 1)",
        )?
        .execute(params![delivery.0, at.0, reason.as_str()])?;
    if given_up > 0 { bodies.move_out(connection, delivery) } else { Ok(()) }
}

/// Stores what an attempt came to.
pub fn settle(connection: &Connection, bodies: &mut Bodies, settlement: &Settlement) -> Result<()> {
    let Settlement { delivery, attempt, next, kept: body } = settlement;
    match next {
        Next::Delivered => {
            finish(connection, *delivery, attempt, Shelf::Delivered, None)?;
            let had_one = bodies.discard(connection, *delivery)?;
            match body {
                Some(body) => kept::keep(connection, *delivery, body),
                // Its body may have been kept before: it was sent again.
                None if !had_one => kept::rest(connection, *delivery),
                None => Ok(()),
            }
        }
        Next::Dead(reason) => {
            record_failure(connection, *delivery, attempt)?;
            bodies.move_out(connection, *delivery)?;
            finish(connection, *delivery, attempt, Shelf::Dead, Some(reason.as_str()))
        }
        Next::Retry { due } => {
            record_failure(connection, *delivery, attempt)?;
            connection
                .prepare_cached(
                    "UPDATE events SET attempts = ?2, due = ?3, attempted_at = ?4, status = ?5, \
                     fault = ?6, latency_us = ?7, bound_url = ?8 WHERE seq = ?1 AND state = 0",
                )?
                .execute(params![
                    delivery.0,
                    attempt.number,
                    due.0,
                    attempt.at.0,
                    attempt.status(),
                    attempt.fault(),
                    latency_us(attempt),
                    attempt.url,
                ])
                .map(drop)
        }
    }
}

fn finish(
    connection: &Connection,
    delivery: DeliveryId,
    attempt: &Attempt,
    state: Shelf,
    dead_reason: Option<&str>,
) -> Result<()> {
    let settled_at = attempt.at.after(attempt.latency);
    connection
        .prepare_cached(
            "UPDATE events SET state = ?2, parked = 0, attempts = ?3, due = NULL, attempted_at = ?4, \
             status = ?5, fault = ?6, latency_us = ?7, settled_at = ?8, dead_reason = ?9, \
             bound_url = ?10, sum = resum(sum, 'state', state, ?2) WHERE seq = ?1",
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
            attempt.url,
        ])
        .map(drop)
}

/// Not of an event that was erased meanwhile.
fn record_failure(connection: &Connection, delivery: DeliveryId, attempt: &Attempt) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO attempts (seq, number, at, status, fault, latency_us, url) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (SELECT 1 FROM events WHERE seq = ?1)",
        )?
        .execute(params![
            delivery.0,
            attempt.number,
            attempt.at.0,
            attempt.status(),
            attempt.fault(),
            latency_us(attempt),
            attempt.url,
        ])
        .map(drop)
}

fn latency_us(attempt: &Attempt) -> i64 {
    i64::try_from(attempt.latency.as_micros()).unwrap_or(i64::MAX)
}
