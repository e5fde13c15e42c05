//! One event and where it goes.

use std::sync::Arc;

use super::ground::Ground;
use super::records::{Destination, Fate, Post, Receipt, Released};
use crate::delivery::Delivery;
use crate::hooks::{Hook, Tenant};
use crate::ids::{Chain, DeliveryId};
use crate::route::{self, Call, Reason, Route};

/// An event, its session, and where it goes.
pub struct Decision<'a> {
    pub post: &'a Arc<Post>,
    /// The key of the room session it belongs to: see [`route::Door::key`].
    pub session: Option<Arc<str>>,
    pub route: Route,
    /// Whose it is, once that is decided; none: nobody's.
    pub tenant: Option<Tenant>,
}

impl<'a> Decision<'a> {
    /// Where it goes is not decided yet.
    pub fn new(post: &'a Arc<Post>, session: Option<Arc<str>>) -> Self {
        let reason = if post.is_readable { Reason::Held } else { Reason::Unreadable };
        Self { post, session, route: Route::unrouted(reason), tenant: None }
    }

    /// Decides where it goes, by the table and what is known of its call.
    pub fn route(&mut self, ground: &Ground<'_>, call: Option<&Call>) {
        if self.post.is_readable {
            let hooks = ground.hooks(&self.post.door);
            self.route = route::route(&self.post.event, hooks, ground.to_fallback, call);
        }
    }

    /// Names the rule as it is named outside, and filters the event out if its hook does not want it. Called
    /// after the event's effects on its call are known.
    pub fn finish(&mut self) {
        let route = std::mem::replace(&mut self.route, Route::unrouted(Reason::Held));
        // Also of an event that its hook does not want, and of one that comes by its tenant's URL for no hook.
        let of_hook = route.outcome.as_ref().ok().map(|(hook, _)| &hook.tenant);
        self.tenant = of_hook.or(self.post.door.tenant()).cloned();
        self.route = route.named(&self.post.door).filtered(&self.post.event.name);
    }

    /// The call it belongs to: its session, else the room's name.
    pub fn call(&self) -> Option<&str> {
        self.session.as_deref().map(route::name).or(self.post.event.room_name.as_deref())
    }

    /// The order it keeps at `hook`: its call's, or its own where it has none.
    pub fn chain(&self, hook: &Hook) -> Chain {
        let call = self.session.as_ref().or(self.post.room.as_ref()).unwrap_or(&self.post.key);
        Chain::new(hook.id, call)
    }

    /// The same, to be kept: shared where the session's key is the name.
    pub fn shared_call(&self) -> Option<Arc<str>> {
        let call = self.call()?;
        let key = self.session.as_ref().or(self.post.room.as_ref());
        Some(key.filter(|key| ***key == *call).map_or_else(|| call.into(), Arc::clone))
    }

    /// The receipt for the request that posted it.
    pub fn receipt(&self, fate: Fate) -> Receipt {
        Receipt {
            post: Arc::clone(self.post),
            session: self.session.clone(),
            domain: self.route.domain.clone(),
            source: self.route.source,
            fate,
            released: Vec::<Released>::new(),
            domain_changed: None,
            shared_with: None,
            durable: true,
        }
    }
}

/// The delivery an event becomes.
pub fn delivery(
    ground: &Ground<'_>,
    decision: &Decision<'_>,
    id: DeliveryId,
    hook: &Arc<Hook>,
    destination: &Destination,
) -> Delivery {
    let post = decision.post;
    Delivery {
        id,
        event_id: post.id.clone(),
        event: post.event.name.clone(),
        body: post.body.clone(),
        issuer: Some(Arc::clone(&post.issuer)),
        hook: Arc::clone(hook),
        rule: destination.rule,
        domain: decision.route.domain.clone(),
        call: decision.shared_call(),
        bound: destination.bound.clone(),
        chain: destination.chain,
        sequence: destination.sequence,
        received_at: post.received_at,
        came: post.came,
        paused_before_ms: destination.paused_before_ms,
        freed_at: None,
        replayed_at: None,
        attempts: 0,
        is_kept: false,
        _counted: Some(ground.fresh.count(post.body.len())),
    }
}
