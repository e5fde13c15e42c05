//! Past calls, decided again by a new hook table: what an edit of the table would change.
//!
//! Per participant and per call a few words are kept in memory, no text: about 100 bytes for each participant.

mod fact;
mod groups;
mod why;

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

pub use self::fact::{KeptFact, Went};
pub use self::groups::{Moved, WasDialled};

use self::groups::{Groups, MovedGroup};
use crate::event::Event;
use crate::hooks::{HookTable, HostPattern};
use crate::ids::HookId;
use crate::route::{self, Binding, Call, Reason, Route, Rule};
use crate::time::UnixMillis;

/// What past calls are decided again by.
pub struct PreviewGround<'t> {
    /// The new table.
    pub table: &'t HookTable,
    /// The table in force, if it is known: what it changes by itself is no effect of the edit.
    pub in_force: Option<&'t HookTable>,
    /// Every hook that is or was, by its host.
    pub hosts: &'t HashMap<HookId, HostPattern>,
    /// Hooks whose calls in progress the new table would cut off.
    pub cut: &'t HashSet<HookId>,
    /// Whether `sip.h.to` may stand in for `sip.h.x-to-ip`.
    pub to_fallback: bool,
}

/// What an edit of the hook table would have changed.
#[derive(Debug)]
pub struct Foreseen {
    /// Calls that were decided again.
    pub calls: usize,
    /// Calls that would have gone elsewhere: by what they have in common, the most first.
    pub moved: Vec<(Moved, usize)>,
    /// Calls in progress that would have: they keep their destination.
    pub live: usize,
    /// When the first of all calls came.
    pub since: Option<UnixMillis>,
}

/// Past calls, decided again one after the other.
pub struct Preview<'t> {
    ground: PreviewGround<'t>,
    /// The hook the new table binds each call to. Keys are hashes, so that no text is kept.
    calls: HashMap<u64, Option<HookId>, RandomState>,
    participants: HashMap<u64, Judged, RandomState>,
    groups: Groups,
    since: Option<UnixMillis>,
    state: RandomState,
}

/// What was found for a participant.
#[derive(Clone, Copy)]
struct Judged {
    call: u64,
    group: Option<MovedGroup>,
}

impl<'t> Preview<'t> {
    /// No calls yet.
    pub fn new(ground: PreviewGround<'t>) -> Self {
        let state = RandomState::default();
        let (calls, participants) = (HashMap::default(), HashMap::default());
        Self { ground, calls, participants, groups: Groups::default(), since: None, state }
    }

    /// Decides an event again, in order of arrival. `is_live`: whether its call is in progress; only asked of events
    /// that would go elsewhere.
    ///
    /// # Errors
    /// Those of `is_live`.
    pub fn take<E>(
        &mut self,
        fact: &KeptFact,
        is_live: impl FnOnce(&str) -> Result<bool, E>,
    ) -> Result<(), E> {
        // An operator has cut its call off: nothing is known of where it belongs.
        if fact.went == Went::CutOff {
            return Ok(());
        }
        self.since.get_or_insert(fact.received_at);
        let event = event_of(fact);
        let call = self.state.hash_one(fact.call.as_deref().ok_or(fact.seq));
        let route = self.route(fact, &event, call);
        let moved = self.ground.moved(fact, &event, &route);
        let group = match (moved, fact.call.as_deref()) {
            (Some(moved), Some(key)) if moved.before.is_some() && is_live(key)? => {
                let is_cut = fact.went.hook().is_some_and(|hook| self.ground.cut.contains(&hook));
                Some(if is_cut { self.groups.of(moved.cut_off()) } else { MovedGroup::LIVE })
            }
            (moved, _) => moved.map(|moved| self.group_of(fact, call, moved)),
        };
        let participant = self.participant(fact, call);
        self.participants.insert(participant, Judged { call, group });
        Ok(())
    }

    /// A participant's later event is decided like its first, which says best why; but it may have gone elsewhere,
    /// once its hook was there.
    fn group_of(&mut self, fact: &KeptFact, call: u64, moved: Moved) -> MovedGroup {
        let first = self.participants.get(&self.participant(fact, call)).and_then(|first| first.group);
        let alike = first.filter(|first| self.groups.is_alike(*first, &moved));
        alike.unwrap_or_else(|| self.groups.of(moved))
    }

    fn participant(&self, fact: &KeptFact, call: u64) -> u64 {
        self.state.hash_one((call, fact.facts.participant.as_deref().ok_or(fact.seq)))
    }

    /// Where the new table sends an event; binds its call.
    fn route(&mut self, fact: &KeptFact, event: &Event<'_>, call: u64) -> Route {
        let table = self.ground.table;
        let bound = self.calls.entry(call).or_default();
        let binding = bound.and_then(|hook| table.by_id(hook));
        let known = binding.map(|hook| {
            let mut call = Call::new(true, false);
            call.bind(Binding::to(hook), None);
            call
        });
        let route = self.ground.route(table, fact, event, known.as_ref());
        if let (None, Ok((hook, rule))) = (&bound, &route.outcome)
            && rule.decides_by_event()
        {
            *bound = Some(hook.id);
        }
        route
    }

    /// What was found, once all events were decided.
    pub fn finish(self) -> Foreseen {
        let (calls, since) = (self.calls.len(), self.since);
        let judged = self.participants.into_values();
        let mut found: Vec<_> = judged.filter_map(|judged| Some((judged.group?, judged.call))).collect();
        found.sort_unstable();
        found.dedup();
        let (moved, live) = self.groups.counted(found.into_iter().map(|(group, _)| group));
        Foreseen { calls, moved, live, since }
    }
}

impl PreviewGround<'_> {
    fn route(&self, table: &HookTable, fact: &KeptFact, event: &Event<'_>, call: Option<&Call>) -> Route {
        let hooks = fact.door.tenant().map_or_else(|| table.all(), |tenant| table.of(tenant));
        route::route(event, hooks, self.to_fallback, call)
    }

    /// What an event that goes elsewhere has in common with others; none: it goes where it went, or only follows
    /// its call.
    fn moved(&self, fact: &KeptFact, event: &Event<'_>, route: &Route) -> Option<Moved> {
        // Without a hook that its trunk names, an outbound participant goes wherever its room does.
        let followed = match fact.went.rule() {
            Some(rule) => rule == Rule::Call,
            None => event.caller.is_none(),
        };
        let follows = match &route.outcome {
            Ok((_, rule)) => !rule.decides_by_event(),
            Err(_) => event.caller.is_none(),
        };
        let before = fact.went.tenant();
        let after = route.outcome.as_ref().ok().map(|(hook, _)| hook.tenant.as_str());
        if before == after || (followed && follows) {
            return None;
        }
        let in_force = self.in_force.map(|table| self.route(table, fact, event, None).outcome);
        let as_in_force = in_force
            .is_some_and(|outcome| outcome.ok().map(|(hook, _)| hook.tenant.to_string()).as_deref() == after);
        Some(Moved {
            dialled: WasDialled::of(fact, route),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
            reason: route.outcome.as_ref().err().copied().map(once_held),
            why: self.why(fact, route),
            by_edit: !as_in_force,
        })
    }
}

/// The event as routing reads it: which of a participant's events it is changes nothing.
fn event_of(fact: &KeptFact) -> Event<'_> {
    let borrowed = |text: &'_ Option<String>| text.clone().map(Into::into);
    Event {
        name: "participant_joined".into(),
        room_sid: fact.call.as_deref().map(|call| route::name(call).into()),
        participant: borrowed(&fact.facts.participant),
        caller: fact.facts.caller.clone(),
        outbound_trunk: borrowed(&fact.facts.outbound_trunk),
        ..Event::default()
    }
}

/// A reason once the hold is over: a past event waits no longer.
fn once_held(reason: Reason) -> Reason {
    if reason == Reason::Held { Reason::NoCall } else { reason }
}
