//! What an event does to its call: it begins it, binds it, places a participant, ends it.

use rusqlite::{Connection, Result};

use super::calls::Calls;
use super::decide::{Decision, Knowledge};
use crate::hooks::Hook;
use crate::route::{Binding, Call, Placement, Reason, Rule};

/// What an event does to its call.
#[derive(Default)]
pub struct Effects {
    begins: bool,
    /// The first SIP participant is seen.
    sip: bool,
    placement: Option<Placement>,
    /// Whose the call is from here on.
    pub binding: Option<Binding>,
    /// The tenant whose participant joins another tenant's call.
    pub shared_with: Option<Box<str>>,
    finishes: bool,
}

impl Effects {
    /// What a routed event does to the call it belongs to.
    pub fn of(knowledge: &Knowledge, decision: &Decision<'_>, call: Option<&Call>) -> Self {
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
            // What was cut off stays where it was.
            Err(Reason::HookRemoved) => None,
            Err(reason) if is_caller => Some(Placement::Nowhere(*reason, decision.route.domain.clone())),
            _ => None,
        };
        let participant = decision.event.participant.as_deref();
        let known = |placement: &Placement| {
            participant.and_then(|sid| call?.placement(sid)).is_some_and(|known| known == *placement)
        };
        let binding = call.and_then(|call| call.binding.as_ref());
        let is_sip = is_caller || decision.event.outbound_trunk.is_some();
        Self {
            begins: call.is_none(),
            sip: is_sip && call.is_none_or(|call| !call.sip),
            placement: placement.filter(|placement| participant.is_some() && !known(placement)),
            binding: placed.filter(|_| binding.is_none()).map(|hook| Binding::to(hook)),
            shared_with: match (placed, call, binding) {
                (Some(hook), Some(call), Some(binding)) if !call.shared => another(knowledge, hook, binding),
                _ => None,
            },
            finishes: decision.event.name == "room_finished",
        }
    }

    /// Whether it does anything at all.
    pub fn is_any(&self) -> bool {
        let Self { begins, sip, placement, binding, shared_with, finishes } = self;
        *begins || *sip || *finishes || placement.is_some() || binding.is_some() || shared_with.is_some()
    }

    /// Whether the rules have looked at a participant anew.
    pub fn places(&self) -> bool {
        self.placement.is_some()
    }

    /// The same in memory alone, for what is only thought through.
    pub fn imagine(&self, call: &mut Call, participant: Option<&str>) {
        call.sip |= self.sip;
        match (&self.binding, &self.placement, participant) {
            (Some(binding), _, participant) => call.bind(binding.clone(), participant),
            (None, Some(placement), Some(sid)) => call.place(sid, placement.clone()),
            (None, ..) => {}
        }
    }

    /// Writes it down.
    pub fn apply(
        &self,
        connection: &Connection,
        calls: &mut Calls,
        session: &str,
        decision: &Decision<'_>,
    ) -> Result<()> {
        let (participant, at) = (decision.event.participant.as_deref(), decision.post.received_at);
        match (self.begins, &self.binding) {
            (true, binding) => {
                let room = decision.room_key();
                let bound = binding.as_ref().map(|binding| (binding, participant));
                calls.begin(connection, session, (room.as_deref(), self.sip), at, bound)?;
            }
            (false, Some(binding)) => calls.bind(connection, session, binding, participant)?,
            (false, None) => calls.see(connection, session, at)?,
        }
        if self.sip && !self.begins {
            calls.see_sip(connection, session)?;
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
fn another(knowledge: &Knowledge, hook: &Hook, binding: &Binding) -> Option<Box<str>> {
    let table = knowledge.table.load();
    let bound = table.by_id(binding.hook)?;
    (bound.tenant != hook.tenant).then(|| hook.tenant.as_str().into())
}
