//! What an event is and where it goes: the pure part of the one step that decides and stores.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::inbox::Post;
use super::{Fate, Receipt};
use crate::delivery::{Counted, Delivery};
use crate::event::Event;
use crate::hooks::{Hook, HookTable};
use crate::ids::{Chain, DeliveryId, EventId};
use crate::route::{self, Reason, Route, Rule};

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
    pub route: Route,
}

impl<'a> Decision<'a> {
    pub fn new(post: &'a Post, knowledge: &Knowledge) -> Self {
        let (event, route) = match Event::parse(&post.body) {
            Ok(event) => {
                let route = route::route(&event, &knowledge.table.load(), knowledge.to_fallback);
                let route = route.filtered(&event.name);
                (event, route)
            }
            Err(_) => (Event::default(), Route::unrouted(Reason::Unreadable)),
        };
        let id = EventId::new(event.id.as_deref(), &post.hash);
        Self { post, event, id, route }
    }

    /// The rule or the reason.
    pub fn outcome(&self) -> &'static str {
        match &self.route.outcome {
            Ok((_, rule)) => rule.as_str(),
            Err(reason) => reason.as_str(),
        }
    }

    /// The order it keeps at `hook`: its call's, or its own where it has none.
    pub fn chain(&self, hook: &Hook) -> Chain {
        Chain::new(hook.id, self.event.call().unwrap_or(self.id.as_str()))
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
            call: self.event.call().map(Into::into),
            chain: self.chain(hook),
            sequence,
            received_at: self.post.received_at,
            came: Some(self.post.came),
            paused_before_ms,
            replayed_at: None,
            attempts: 0,
            _counted: Some(counted),
        }
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
            call: self.event.call().map(clipped),
            identity: self.event.identity.as_deref().map(clipped),
            domain: self.route.domain.clone(),
            lag_ms,
            fate,
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
