//! What an event does to its call: it begins it, binds it, places a participant, ends it.

use std::sync::Arc;

use super::decision::Decision;
use super::ground::Ground;
use super::records::{Change, Effects, Owned, Post};
use crate::hooks::Hook;
use crate::ids::HookId;
use crate::route::{Binding, Call, Placement, Reason, Rule};

/// What a routed event does to the call it belongs to.
pub fn of(ground: &Ground<'_>, decision: &Decision<'_>, call: Option<&Call>) -> Effects {
    if decision.session.is_none() {
        return Effects::default();
    }
    let event = &decision.post.event;
    let is_caller = event.caller.is_some();
    let by_event = decision.route.outcome.as_ref().ok().filter(|(_, rule)| rule.decides_by_event());
    let by_event = by_event.map(|(hook, _)| hook);
    let participant = event.participant.as_deref();
    let placed = participant.and_then(|sid| call?.placement(sid));
    let placement =
        placement(decision, is_caller).filter(|new| participant.is_some() && placed.as_ref() != Some(new));
    let bound = call.and_then(|call| call.binding.as_ref());
    let was_nobody = matches!(placed, Some(Placement::Nowhere(..)));
    let is_sip = is_caller || event.outbound_trunk.is_some();
    Effects {
        begins: call.is_none(),
        first_sip: is_sip && call.is_none_or(|call| !call.sip),
        adopts: was_nobody && matches!(placement, Some(Placement::At(_))),
        placement,
        binding: by_event.filter(|_| bound.is_none()).map(|hook| Binding::to(hook)),
        shared_with: match (by_event, call, bound) {
            (Some(hook), Some(call), Some(bound)) if !call.shared => other_tenant(ground, hook, bound),
            _ => None,
        },
        finishes: event.name == "room_finished",
    }
}

/// Where the rules have placed the event's participant.
fn placement(decision: &Decision<'_>, is_caller: bool) -> Option<Placement> {
    match &decision.route.outcome {
        Ok((hook, rule)) => match rule {
            Rule::Domain | Rule::Number | Rule::Trunk => Some(Placement::At(Binding::to(hook))),
            Rule::Url => is_caller.then(|| Placement::At(Binding::to(hook))),
            // The participant was placed before.
            Rule::Participant | Rule::Call => None,
        },
        Err(reason) => match reason {
            // The participant had a hook. If that was removed, or what is stored of the call is damaged, no other hook
            // gets the participant's events.
            Reason::HookRemoved | Reason::Damaged => None,
            Reason::Unreadable
            | Reason::NoHook
            | Reason::BadDomain
            | Reason::NoDomain
            | Reason::Filtered
            | Reason::Held
            | Reason::NoCall => is_caller.then(|| Placement::Nowhere(*reason, decision.route.domain.clone())),
        },
    }
}

/// The tenant of `hook`, if the call is bound to another's.
fn other_tenant(ground: &Ground<'_>, hook: &Hook, bound: &Binding) -> Option<Box<str>> {
    let bound = ground.table.by_id(bound.hook)?;
    (bound.tenant != hook.tenant).then(|| hook.tenant.as_str().into())
}

/// The same as changes to write. `is_stale`: the time the session was seen is written, too.
pub fn changes(
    ground: &Ground<'_>,
    session: &Arc<str>,
    post: &Post,
    effects: &Effects,
    is_stale: bool,
) -> Vec<Change> {
    let (session, at) = (|| Arc::clone(session), post.received_at);
    let participant: Option<Box<str>> = post.event.participant.as_deref().map(Into::into);
    let mut changes = Vec::new();
    let tenant = |hook: HookId| ground.table.by_id(hook).map(|hook| hook.tenant.clone());
    let bound = effects.binding.clone().map(|binding| Owned { tenant: tenant(binding.hook), binding });
    let space = || post.space().cloned();
    match (effects.begins, bound) {
        (true, bound) => {
            let bound = bound.map(|bound| (bound, participant.clone()));
            let (room, sip, space) = (post.room.clone(), effects.first_sip, space());
            changes.push(Change::CallBegun { session: session(), room, sip, at, space, bound });
        }
        (false, Some(bound)) => {
            changes.push(Change::CallBound { session: session(), bound, participant: participant.clone() });
        }
        (false, None) if is_stale => changes.push(Change::CallSeen { session: session(), at }),
        (false, None) => {}
    }
    if effects.first_sip && !effects.begins {
        changes.push(Change::CallHasSip { session: session() });
    }
    // The participant that binds the call is in the call's row.
    if let (Some(placement), Some(participant), None) = (&effects.placement, participant, &effects.binding) {
        let tenant = match placement {
            Placement::At(binding) => tenant(binding.hook),
            Placement::Nowhere(..) => None,
        };
        let (placement, space) = (placement.clone(), space());
        changes.push(Change::ParticipantPlaced { session: session(), participant, placement, tenant, space });
    }
    if effects.shared_with.is_some() {
        changes.push(Change::CallShared { session: session() });
    }
    if effects.finishes {
        changes.push(Change::CallFinished { session: session(), at });
    }
    changes
}
