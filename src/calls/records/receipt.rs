//! What became of events: receipts for the requests, deliveries for the dispatcher.

use std::borrow::Cow;
use std::sync::Arc;

use super::post::Post;
use crate::delivery::Delivery;
use crate::domain::Domain;
use crate::hooks::Tenant;
use crate::ids::{Chain, DeliveryId, EventId, HookId};
use crate::route::{self, Reason, Rule};
use crate::time::UnixMillis;
use crate::wire::DomainChange;

/// What became of a posted event.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The event. Shared, not copied: most of what the log says of an event stands in it.
    pub post: Arc<Post>,
    /// The key of the session it belongs to.
    pub session: Option<Arc<str>>,
    pub domain: Option<Domain>,
    /// The attribute the domain was read from, or that holds none.
    pub source: Option<&'static str>,
    pub fate: Fate,
    /// Events that waited and are released by this one, in order.
    pub released: Vec<Released>,
    /// Its called number came with another domain than before.
    pub domain_changed: Option<DomainChange>,
    /// The tenant whose participant joined another tenant's call with it.
    pub shared_with: Option<Box<str>>,
    /// Whether it is stored; otherwise it is in memory until the store is back.
    pub durable: bool,
}

impl Receipt {
    /// LiveKit's event name.
    pub fn event(&self) -> &str {
        &self.post.event.name
    }

    /// The room's name, cut for the log.
    pub fn room(&self) -> Option<Cow<'_, str>> {
        self.post.event.room_name.as_deref().map(clipped)
    }

    /// The call it belongs to, cut for the log: its session, else the room's name.
    pub fn call(&self) -> Option<Cow<'_, str>> {
        let session = self.session.as_deref().map(route::name);
        session.or(self.post.event.room_name.as_deref()).map(clipped)
    }

    /// The participant's identity, cut for the log.
    pub fn identity(&self) -> Option<Cow<'_, str>> {
        self.post.event.identity.as_deref().map(clipped)
    }

    /// The value of the attribute that holds no domain, cut for the log, where that is the reason.
    pub fn value(&self) -> Option<Cow<'_, str>> {
        let is_reason = matches!(self.fate, Fate::Unrouted(Reason::BadDomain));
        let caller = self.post.event.caller.as_ref().filter(|_| is_reason)?;
        caller.x_to_ip.as_deref().or(caller.to.as_deref()).map(clipped)
    }

    /// From LiveKit's `createdAt`, which has whole seconds, to its arrival here, in milliseconds.
    pub fn lag_ms(&self) -> Option<i64> {
        // An event of the same second is not late.
        let lag = |seconds: i64| self.post.received_at.0.saturating_sub(seconds.saturating_mul(1000)).max(0);
        self.post.event.created_at.map(lag)
    }
}

/// A name cut for the log: participants choose theirs, of any length.
fn clipped(name: &str) -> Cow<'_, str> {
    const CHARS: usize = 256;
    match name.char_indices().nth(CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

/// Where an event goes.
#[derive(Clone, Debug)]
pub enum Fate {
    Routed(Arc<Delivery>),
    Unrouted(Reason),
    /// Its id is stored already: acknowledged, changes nothing.
    Duplicate,
    /// What deciding needs cannot be read: it is decided once the store is back.
    Undecided,
}

/// An event that waited, and goes now.
#[derive(Clone, Debug)]
pub struct Released {
    pub ready: Ready,
    pub event_id: EventId,
    pub event: Cow<'static, str>,
    pub call: Option<Arc<str>>,
    pub rule: Rule,
    pub tenant: Tenant,
    pub sequence: i64,
    /// How long it waited.
    pub held_ms: i64,
}

/// A delivery that is to be made.
#[derive(Clone, Debug)]
pub struct Ready {
    pub id: DeliveryId,
    pub hook: HookId,
    pub chain: Chain,
    /// Its place in its chain.
    pub sequence: i64,
    /// Bytes of its body.
    pub bytes: u32,
    /// When it is due again, if it has failed before.
    pub due: Option<UnixMillis>,
    /// Since when it ages, by a clock that stands still while its hook is paused; none: it came just now.
    pub ages_from: Option<UnixMillis>,
    /// The delivery itself, if it is still in memory; otherwise it is loaded when it starts.
    pub fresh: Option<Arc<Delivery>>,
}

impl Ready {
    /// A delivery that was never tried, with its body.
    pub fn fresh(delivery: &Arc<Delivery>) -> Self {
        let Delivery { id, chain, sequence, .. } = **delivery;
        let fresh = Some(Arc::clone(delivery));
        let bytes = u32::try_from(delivery.body.len()).unwrap_or(u32::MAX);
        Self { id, hook: delivery.hook.id, chain, sequence, bytes, due: None, ages_from: None, fresh }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_for_the_log() {
        let name = "ä".repeat(256);
        assert_eq!(clipped(&name), name);
        assert_eq!(clipped(&format!("{name}x")), format!("{name}…"));
    }
}
