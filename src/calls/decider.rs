//! A batch while it is decided: `known` is updated with each event, and the changes are collected.

use std::sync::Arc;

use super::decision::Decision;
use super::effects;
use super::ground::Ground;
use super::known::Known;
use super::records::{Change, Destination, Effects, Post, Sweep};
use crate::hooks::Hook;
use crate::route::{Binding, Rule};
use crate::time::UnixMillis;

/// A batch while it is decided.
pub struct Decider<'a> {
    pub known: &'a mut Known,
    pub ground: Ground<'a>,
    pub changes: Vec<Change>,
}

impl Decider<'_> {
    /// Writes and remembers what an event does to its session.
    pub fn apply(&mut self, session: &Arc<str>, post: &Post, effects: &mut Effects) {
        if let Some(binding) = effects.binding.take() {
            effects.binding = Some(self.known.sharing(&binding));
        }
        let known = self.known.session_or_new(session, post);
        // Only the first end of a session counts.
        effects.finishes &= known.finished_at.is_none();
        let is_stale = known.apply(effects, post.event.participant.as_deref(), post.received_at);
        for change in effects::changes(&self.ground, session, post, effects, is_stale) {
            self.push(change);
        }
    }

    /// Adds a change, and remembers what later decisions must find before it is written.
    pub fn push(&mut self, change: Change) {
        self.known.note(&change);
        self.changes.push(change);
    }

    /// Has last numbers written that memory has no room for.
    pub fn write_surplus(&mut self) {
        let (numbers, complete) = self.known.sequences.surplus(self.known.last_id().0);
        if !numbers.is_empty() {
            self.push(Change::Swept { sweep: Arc::new(Sweep::default()), numbers, complete });
        }
    }

    /// Where an event goes, with its number. `at`: from when it counts.
    pub fn destination(
        &self,
        decision: &Decision<'_>,
        hook: &Hook,
        rule: Rule,
        at: UnixMillis,
    ) -> Destination {
        // Deliveries of a paused hook go to the URL it has when it is resumed.
        let is_paused = self.known.pauses.is_paused(hook.id);
        let bound = decision.route.bound.clone().unwrap_or_else(|| Binding::to(hook));
        let bound = (!is_paused).then_some(bound);
        let chain = decision.chain(hook);
        let sequence = self.known.sequences.next(chain);
        let paused_before_ms = self.known.pauses.total_ms(hook.id, at);
        Destination { rule, hook: hook.id, bound, chain, sequence, paused_before_ms }
    }
}
