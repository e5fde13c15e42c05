//! Carries out what is to be done besides deciding events.

use std::sync::Arc;

use super::decider::Decider;
use super::records::{AuditEntry, Change, Order, Ready, Released, Replay, Sequences};
use super::release;
use crate::hooks::Tenant;
use crate::ids::DeliveryId;
use crate::registry::HookChange;
use crate::time::UnixMillis;

/// What came of an order.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Deliveries that are pending again.
    pub revived: Vec<Ready>,
    /// Events that had no hook and have one now.
    pub released: Vec<Released>,
    /// Calls' last numbers may be left, for another [`Order::Sweep`] to write.
    pub has_more: bool,
    /// A tenant's data up to this event is to be erased.
    pub erased: Option<DeliveryId>,
}

/// Carries out an order.
pub fn carry_out(decider: &mut Decider<'_>, order: &Order) -> Outcome {
    let mut outcome = Outcome::default();
    match order {
        Order::Settle(settlement) => decider.push(Change::Attempted(settlement.clone())),
        Order::GiveUp(given_up) => decider.push(Change::GivenUp(*given_up)),
        Order::PutRight(put_right) => decider.push(Change::PutRight(*put_right)),
        Order::Pause { hook, at, by } => {
            decider.known.pauses.pause(*hook, *at, *by);
            decider.push(Change::HookPaused { hook: *hook, at: *at, by: *by });
        }
        Order::Resume { hook, at } => {
            decider.known.pauses.resume(*hook, *at);
            let paused_ms = decider.known.pauses.of(*hook).before_ms;
            decider.push(Change::HookResumed { hook: *hook, paused_ms });
        }
        Order::Edit(changes) => changes.iter().for_each(|change| edit(decider, change)),
        Order::EndHold(events) => decider.push(Change::HoldEnded(events.clone())),
        Order::Sweep(sweep) => {
            let (numbers, complete) = decider.known.sequences.write(decider.known.last_id().0);
            outcome.has_more = numbers.len() >= Sequences::ROUND;
            decider.push(Change::Swept { sweep: Arc::clone(sweep), numbers, complete });
        }
        Order::Rotate { tenant, generation, at } => {
            decider.push(Change::SecretRotated { tenant: tenant.clone(), generation: *generation, at: *at });
        }
        Order::RevokeTenant { tenant, at } => {
            decider.push(Change::TenantRevoked { tenant: tenant.clone(), at: *at });
        }
        Order::RevokeToken { jti, expires_at, at } => {
            decider.push(Change::TokenRevoked { jti: jti.clone(), expires_at: *expires_at, at: *at });
        }
        Order::Audit(record) => {
            let entry = AuditEntry { id: decider.known.next_audit_id(), record: Arc::clone(record) };
            decider.push(Change::Audited(entry));
        }
        Order::Together(orders) => {
            for Outcome { revived, released, has_more: _, erased } in
                orders.iter().map(|order| carry_out(decider, order))
            {
                outcome.revived.extend(revived);
                outcome.released.extend(released);
                outcome.erased = outcome.erased.max(erased);
            }
        }
        Order::CopyHistory(part) => decider.push(Change::HistoryCopied(*part)),
        Order::Digest(part) => decider.push(Change::Digested(*part)),
        Order::BeginErasure { tenant, at } => outcome.erased = Some(begin_erasure(decider, tenant, *at)),
        Order::Erase(part) => decider.push(Change::Erased(Arc::clone(part))),
        Order::Revive { replays, at } => {
            let letters = &decider.known.loaded.letters;
            let is_there = |replay: &&Replay| letters.get(&replay.id) == Some(&Some(replay.from));
            let there: Vec<_> = replays.iter().filter(is_there).copied().collect();
            outcome.revived = there.iter().map(|replay| revive(decider, *replay, *at)).collect();
        }
        Order::Reroute { sessions, at } => {
            let replayed = sessions.iter().flat_map(|session| release::replay(decider, session, *at));
            outcome.released = replayed.collect();
        }
    }
    outcome
}

/// Up to which event a tenant's data is to be erased: all that were decided before.
fn begin_erasure(decider: &mut Decider<'_>, tenant: &Tenant, at: UnixMillis) -> DeliveryId {
    let (event, record) = (decider.known.last_id(), decider.known.last_audit_id());
    decider.push(Change::ErasureBegun { tenant: tenant.clone(), at, event, record });
    event
}

fn edit(decider: &mut Decider<'_>, change: &HookChange) {
    decider.known.edit(change);
    decider.push(Change::Hook(change.clone()));
}

fn revive(decider: &mut Decider<'_>, replay: Replay, at: UnixMillis) -> Ready {
    decider.push(Change::LetterRevived { replay, at });
    let Replay { id, hook, chain, sequence, bytes, .. } = replay;
    Ready { id, hook, chain, sequence, bytes, due: None, ages_from: None, fresh: None }
}
