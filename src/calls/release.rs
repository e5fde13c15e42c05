//! Events without a hook go through the rules again: what waited for its call, once that is bound; what its
//! participant sent before it had a hook; what is unrouted, when it is replayed. A call at a time, in order.

use std::sync::Arc;

use super::decider::Decider;
use super::decision::{Decision, delivery};
use super::effects;
use super::ground::Ground;
use super::known::Known;
use super::records::{
    Change, Destination, Effects, FreedEvent, Place, Post, Ready, Released, Session, Waiting,
};
use crate::delivery::Delivery;
use crate::route::{Reason, Rule};
use crate::time::UnixMillis;

/// An event that knows only a room's name comes at most this long before its session begins.
const EARLY_MS: i64 = 60_000;

/// Releases what waited for the call of `post`, or what its participant sent while it had no hook.
pub fn release(
    decider: &mut Decider<'_>,
    session: &Arc<str>,
    post: &Post,
    effects: &Effects,
) -> Vec<Released> {
    let participant = post.event.participant.as_deref();
    let is_its_own = |waiting: &Waiting| {
        effects.adopts && participant.is_some() && waiting.post.event.participant.as_deref() == participant
    };
    let waits_for_call = |waiting: &Waiting| effects.binding.is_some() && waiting.reason.waits_for_call();
    let mut waiting = waiting_of(decider.known, session);
    waiting.retain(|(_, waiting)| waits_for_call(waiting) || is_its_own(waiting));
    free(decider, session, &waiting, post.received_at, false)
}

/// Sends all of a session's events without a hook through the rules again, because an operator asks for it:
/// they go where their hook leads now.
pub fn replay(decider: &mut Decider<'_>, session: &Arc<str>, at: UnixMillis) -> Vec<Released> {
    let waiting = waiting_of(decider.known, session);
    free(decider, session, &waiting, at, true)
}

/// How many of a session's events without a hook would have one now.
pub fn would_free(known: &Known, ground: Ground<'_>, session: &Arc<str>) -> (usize, usize) {
    let waiting = waiting_of(known, session);
    let steps = again(&ground, session, known.session(session), &waiting);
    let freed = steps.iter().filter(|step| step.decision.route.outcome.is_ok()).count();
    (freed, waiting.len())
}

/// A session's events without a hook, in order of arrival, with where they wait.
fn waiting_of(known: &Known, session: &Arc<str>) -> Vec<(Place, Waiting)> {
    let with = |place: Place| {
        let waiting = known.waiting(&place);
        waiting.into_iter().map(move |waiting| (place.clone(), waiting))
    };
    let mut waiting: Vec<_> = with(Place::Session(Arc::clone(session))).collect();
    let found = known.session(session);
    if let Some((found, room)) = found.and_then(|found| Some((found, found.room.as_ref()?)))
        && !known.has_other_session(room, session)
    {
        waiting.extend(with(Place::Room(Arc::clone(room))).filter(|(_, waiting)| may_mean(found, waiting)));
        waiting.sort_by_key(|(_, waiting)| waiting.id);
    }
    waiting
}

/// Whether an event that has only the room's name may belong to the session: not if it may be a late event of
/// an earlier session, which could be another tenant's.
fn may_mean(session: &Session, waiting: &Waiting) -> bool {
    let at = waiting.post.received_at;
    waiting.reason.waits_for_call()
        && at.0 >= session.began_at.0 - EARLY_MS
        && session.finished_at.is_none_or(|finished| at <= finished)
}

/// An event decided again.
struct Step<'w> {
    place: &'w Place,
    waiting: &'w Waiting,
    decision: Decision<'w>,
    effects: Effects,
}

/// Decides a session's events again, on a copy of the session.
fn again<'w>(
    ground: &Ground<'_>,
    key: &Arc<str>,
    session: Option<&Session>,
    waiting: &'w [(Place, Waiting)],
) -> Vec<Step<'w>> {
    let mut session = session.cloned();
    let mut steps = Vec::with_capacity(waiting.len());
    for (place, waiting) in waiting {
        let mut decision = Decision::new(&waiting.post, Some(Arc::clone(key)));
        let call = session.as_ref().map(|session| &session.call);
        decision.route(ground, call);
        let effects = effects::of(ground, &decision, call);
        let post = &waiting.post;
        let participant = post.event.participant.as_deref();
        session.get_or_insert_default().apply(&effects, participant, post.received_at);
        steps.push(Step { place, waiting, decision, effects });
    }
    let call = session.as_ref().map(|session| &session.call);
    for step in &mut steps {
        // Events that came before the one that binds the call or places their participant are routed once more.
        if step.decision.route.outcome.is_err() {
            step.decision.route(ground, call);
        }
        step.decision.finish();
    }
    steps
}

/// Frees those that have a hook now.
fn free(
    decider: &mut Decider<'_>,
    session: &Arc<str>,
    waiting: &[(Place, Waiting)],
    at: UnixMillis,
    is_replay: bool,
) -> Vec<Released> {
    let ground = decider.ground;
    let steps = again(&ground, session, decider.known.session(session), waiting);
    let mut released = Vec::new();
    for Step { place, waiting, decision, mut effects } in steps {
        decider.apply(session, &waiting.post, &mut effects);
        let (hook, rule) = match &decision.route.outcome {
            Ok(found) => found,
            Err(reason) => {
                stay(decider, session, (place, waiting), &decision, *reason);
                continue;
            }
        };
        let destination = decider.destination(&decision, hook, *rule, at);
        // A replay goes where its hook leads now.
        let bound = destination.bound.filter(|_| !is_replay);
        let destination = Destination { bound, ..destination };
        let sequence = destination.sequence;
        decider.known.sequences.count(destination.chain, sequence, waiting.id, at);
        let delivery = delivery(&ground, &decision, waiting.id, hook, &destination);
        let replayed_at = is_replay.then_some(at);
        let freed = Arc::new(Delivery { freed_at: Some(at), replayed_at, came: None, ..delivery });
        released.push(told(&freed, *rule, at));
        decider.push(Change::EventFreed(Box::new(FreedEvent {
            id: waiting.id,
            place: place.clone(),
            session: Arc::clone(session),
            tenant: hook.tenant.clone(),
            destination,
            at,
            is_replay,
        })));
    }
    released
}

fn told(delivery: &Arc<Delivery>, rule: Rule, at: UnixMillis) -> Released {
    Released {
        ready: Ready::fresh(delivery),
        event_id: delivery.event_id.clone(),
        event: delivery.event.clone(),
        call: delivery.call.clone(),
        rule,
        tenant: delivery.hook.tenant.clone(),
        sequence: delivery.sequence,
        held_ms: at.0 - delivery.received_at.0,
    }
}

/// Leaves an event unrouted, and stores the reason if it is another one now.
fn stay(
    decider: &mut Decider<'_>,
    session: &Arc<str>,
    (place, waiting): (&Place, &Waiting),
    decision: &Decision<'_>,
    reason: Reason,
) {
    if reason != Reason::Held && reason != waiting.reason {
        let (id, place, session) = (waiting.id, place.clone(), Arc::clone(session));
        let tenant = decision.tenant.clone();
        decider.push(Change::EventStays { id, place, session, reason, tenant });
    }
}
