//! What an event is and where it goes: the pure part of the one step that decides and stores.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::inbox::Post;
use super::{Fate, Receipt};
use crate::delivery::{Counted, Delivery};
use crate::event::Event;
use crate::hooks::{Hook, HookTable};
use crate::ids::{Chain, DeliveryId, EventId};
use crate::route::{self, Binding, Call, Reason, Route, Rule};

/// What routing needs to know besides the event.
pub struct Knowledge {
    /// Read without locks, replaced whole.
    pub table: ArcSwap<HookTable>,
    pub to_fallback: bool,
}

/// An event read, named and routed, before anything is stored.
pub struct Decision<'a> {
    pub post: &'a Post,
    pub event: Event<'a>,
    pub id: EventId,
    /// The key of the room's session it belongs to: see [`route::Door::key`].
    pub session: Option<Box<str>>,
    pub route: Route,
}

impl<'a> Decision<'a> {
    /// Reads an event; where it goes is not decided yet.
    pub fn new(post: &'a Post) -> Self {
        let event = Event::parse(&post.body);
        let reason = if event.is_ok() { Reason::Held } else { Reason::Unreadable };
        let event = event.unwrap_or_default();
        let id = EventId::new(event.id.as_deref(), &post.hash);
        let session = event.room_sid.as_deref().map(|sid| post.door.key(sid).into());
        Self { post, event, id, session, route: Route::unrouted(reason) }
    }

    /// Decides where it goes, by the table and what is known of its call.
    pub fn route(&mut self, knowledge: &Knowledge, call: Option<&Call>) {
        if !matches!(self.route.outcome, Err(Reason::Unreadable)) {
            let table = knowledge.table.load();
            let hooks = self.post.door.tenant().map_or_else(|| table.all(), |tenant| table.of(tenant));
            self.route = route::route(&self.event, hooks, knowledge.to_fallback, call);
        }
    }

    /// Names the rule as it is told outside, and leaves the event out if its hook does not want it. After
    /// what it does to its call.
    pub fn finish(&mut self) {
        let route = std::mem::replace(&mut self.route, Route::unrouted(Reason::Held));
        self.route = route.named(&self.post.door).filtered(&self.event.name);
    }

    /// What it is known by in the store.
    pub fn key(&self) -> Cow<'_, str> {
        self.post.door.key(self.id.as_str())
    }

    /// What its room's name is known by in the store.
    pub fn room_key(&self) -> Option<Cow<'_, str>> {
        self.event.room_name.as_deref().map(|room| self.post.door.key(room))
    }

    /// The rule or the reason.
    pub fn outcome(&self) -> &'static str {
        match &self.route.outcome {
            Ok((_, rule)) => rule.as_str(),
            Err(reason) => reason.as_str(),
        }
    }

    /// The call it belongs to: its session, else the room's name.
    pub fn call(&self) -> Option<&str> {
        self.session.as_deref().map(route::name).or(self.event.room_name.as_deref())
    }

    /// The order it keeps at `hook`: its call's, or its own where it has none.
    pub fn chain(&self, hook: &Hook) -> Chain {
        let own = || self.room_key().unwrap_or_else(|| self.key());
        match self.session.as_deref() {
            Some(session) => Chain::new(hook.id, session),
            None => Chain::new(hook.id, &own()),
        }
    }

    /// Where its call was bound to go, if its hook has another URL or format by now.
    pub fn bound(&self, hook: &Hook) -> Option<Binding> {
        self.route.bound.as_ref().filter(|bound| !bound.leads_to(hook)).cloned()
    }

    /// The delivery this becomes.
    pub fn delivery(
        &self,
        (hook, rule): (&Arc<Hook>, Rule),
        id: DeliveryId,
        sequence: Option<i64>,
        paused_before_ms: i64,
        counted: Counted,
    ) -> Delivery {
        Delivery {
            id,
            event_id: self.id.clone(),
            event: self.event.name.as_ref().into(),
            body: self.post.body.clone(),
            issuer: Some(Arc::clone(&self.post.issuer)),
            hook: Arc::clone(hook),
            rule,
            domain: self.route.domain.clone(),
            call: self.call().map(Into::into),
            bound: self.bound(hook),
            chain: self.chain(hook),
            sequence,
            received_at: self.post.received_at,
            came: Some(self.post.came),
            paused_before_ms,
            freed_at: None,
            attempts: 0,
            _counted: Some(counted),
        }
    }

    /// The header that holds no domain, where that is the reason.
    fn unreadable_header(&self) -> Option<&str> {
        let caller = self
            .event
            .caller
            .as_ref()
            .filter(|_| self.route.outcome.as_ref().err() == Some(&Reason::BadDomain))?;
        caller.x_to_ip.as_deref().or(caller.to.as_deref())
    }

    /// What the request that brought it is told.
    pub fn receipt(&self, fate: Fate) -> Receipt {
        let lag_ms = self.event.created_at.map(|seconds| {
            // createdAt has whole seconds; an event of the same second is not late.
            self.post.received_at.0.saturating_sub(seconds.saturating_mul(1000)).max(0)
        });
        Receipt {
            event_id: self.id.clone(),
            event: self.event.name.as_ref().into(),
            room: self.event.room_name.as_deref().map(clipped),
            call: self.call().map(clipped),
            identity: self.event.identity.as_deref().map(clipped),
            domain: self.route.domain.clone(),
            source: self.route.source,
            value: self.unreadable_header().map(clipped),
            lag_ms,
            fate,
            released: Vec::new(),
            domain_changed: None,
            shared_with: None,
            durable: true,
        }
    }
}

/// A name as a log line can hold it: whoever joins a room chooses its own, of whatever length.
fn clipped(name: &str) -> Box<str> {
    const CHARS: usize = 256;
    match name.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}
