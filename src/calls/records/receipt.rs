//! What became of events: receipts for the requests, deliveries for the dispatcher.

use std::sync::Arc;

use crate::delivery::Delivery;
use crate::domain::Domain;
use crate::hooks::Tenant;
use crate::ids::{Chain, DeliveryId, EventId, HookId};
use crate::route::{Reason, Rule};
use crate::time::UnixMillis;
use crate::wire::DomainChange;

/// What became of a posted event.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub event_id: EventId,
    pub event: Box<str>,
    pub room: Option<Box<str>>,
    pub call: Option<Box<str>>,
    pub identity: Option<Box<str>>,
    pub domain: Option<Domain>,
    /// The attribute the domain was read from, or that holds none.
    pub source: Option<&'static str>,
    /// The attribute's value, if it is no domain.
    pub value: Option<Box<str>>,
    /// From LiveKit's `createdAt` (whole seconds) to its arrival here.
    pub lag_ms: Option<i64>,
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
    pub event: Box<str>,
    pub call: Option<Box<str>>,
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
    /// When it is due again, if it has failed before.
    pub due: Option<UnixMillis>,
    /// The delivery itself, if it is still in memory; otherwise it is loaded when it starts.
    pub fresh: Option<Arc<Delivery>>,
}

impl Ready {
    /// A delivery that was never tried, with its body.
    pub fn fresh(delivery: &Arc<Delivery>) -> Self {
        let Delivery { id, chain, sequence, .. } = **delivery;
        let fresh = Some(Arc::clone(delivery));
        Self { id, hook: delivery.hook.id, chain, sequence, due: None, fresh }
    }
}
