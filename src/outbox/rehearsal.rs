//! What the router would know of calls after some events, without a store: for `switchhook explain`.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::decide::{Decision, Knowledge};
use super::effects::Effects;
use super::inbox::Post;
use crate::event::Event;
use crate::hooks::HookTable;
use crate::ids::BodyHash;
use crate::route::{self, Call, Door, Route};
use crate::time::{Moment, UnixMillis};

/// A hook table, and the calls it has seen so far.
pub struct Rehearsal {
    knowledge: Knowledge,
    door: Door,
    calls: HashMap<Box<str>, Call>,
    /// The session that has a room's name now.
    names: HashMap<String, Box<str>>,
}

impl Rehearsal {
    /// No calls yet. `door`: the URL all events come by.
    pub fn new(table: HookTable, to_fallback: bool, door: Door) -> Self {
        let knowledge = Knowledge { table: ArcSwap::from_pointee(table), to_fallback };
        Self { knowledge, door, calls: HashMap::new(), names: HashMap::new() }
    }

    /// An event came.
    pub fn hear(&mut self, body: &[u8]) {
        let body = Bytes::copy_from_slice(body);
        let hash = BodyHash::of(&body);
        let (received_at, came) = (UnixMillis(0), Moment::default());
        let post = Post { body, hash, issuer: "".into(), received_at, came, door: self.door.clone() };
        let mut decision = Decision::new(&post);
        decision.session = self.session(&decision.event).map(Into::into);
        let call = decision.session.as_deref().and_then(|session| self.calls.get(session));
        decision.route(&self.knowledge, call);
        let effects = Effects::of(&self.knowledge, &decision, call);
        if let Some(session) = decision.session.clone() {
            let is_new = call.is_none();
            let call = self.calls.entry(session.clone()).or_default();
            effects.imagine(call, decision.event.participant.as_deref());
            if let Some(room) = decision.event.room_name.as_deref() {
                // The session of that name that was first seen last, until it is finished.
                let finished = decision.event.name == "room_finished";
                if finished && self.names.get(room) == Some(&session) {
                    self.names.remove(room);
                } else if is_new && !finished {
                    self.names.insert(room.to_owned(), session);
                }
            }
        }
    }

    /// Where an event would go now.
    pub fn route(&self, event: &Event<'_>) -> Route {
        let table = self.knowledge.table.load();
        let hooks = self.door.tenant().map_or_else(|| table.all(), |tenant| table.of(tenant));
        route::route(event, hooks, self.knowledge.to_fallback, self.call(event))
            .named(&self.door)
            .filtered(&event.name)
    }

    /// What is known of the call an event belongs to.
    pub fn call(&self, event: &Event<'_>) -> Option<&Call> {
        self.calls.get(self.session(event)?)
    }

    fn session<'e>(&'e self, event: &'e Event<'_>) -> Option<&'e str> {
        let by_name = || self.names.get(event.room_name.as_deref()?).map(|session| &**session);
        event.room_sid.as_deref().or_else(by_name)
    }

    /// The hook table.
    pub fn table(&self) -> std::sync::Arc<HookTable> {
        self.knowledge.table.load_full()
    }
}
