//! What the handlers share: keys, limits, and the room for bodies that are coming in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::keys::{DoorKeys, KeyRing};
use super::refusals::Refusals;
use super::room::Room;
use crate::hooks::Tenant;
use crate::http::{Allowance, Meter};
use crate::outbox::Outbox;
use crate::route::Door;
use crate::telemetry::Metrics;
use crate::time::{Clock, Moment};

/// Tenants whose posts are counted apart; those beyond that number share one count.
const TENANTS: usize = 100_000;

/// How much the door takes.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes of one body.
    pub body: usize,
    /// Bytes of all bodies that are being read or stored.
    pub bodies: usize,
    /// A body must have arrived within this time.
    pub read_within: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { body: 1 << 20, bodies: 64 << 20, read_within: Duration::from_secs(10) }
    }
}

/// What the handlers share.
pub struct Ingress {
    pub keys: Arc<KeyRing>,
    pub outbox: Arc<Outbox>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub limits: BodyLimits,
    /// Where bodies come in.
    pub room: Arc<Room>,
    /// The same for posts of tenants' own LiveKits, so that they cannot use up the platform's room. One tenant has a
    /// quarter of it.
    pub tenants_room: Arc<Room>,
    pub refusals: Refusals,
    /// How often tenants' own URLs are posted to.
    posted: Mutex<Meter<Tenant>>,
    /// When the table was last searched for similar hosts.
    pub searched: Mutex<Option<Moment>>,
}

impl Ingress {
    /// The door, closed until its routes are served.
    pub fn new(
        keys: Arc<KeyRing>,
        outbox: Arc<Outbox>,
        metrics: Arc<Metrics>,
        clock: Clock,
        limits: BodyLimits,
    ) -> Self {
        let room = Room::new(limits.bodies, limits.bodies, clock.clone());
        let tenants_room = Room::new(limits.bodies / 4, limits.bodies / 16, clock.clone());
        let refusals = Refusals::new(clock.clone());
        Self {
            keys,
            outbox,
            metrics,
            clock,
            limits,
            room,
            tenants_room,
            refusals,
            posted: Mutex::new(Meter::new(TENANTS)),
            searched: Mutex::default(),
        }
    }

    /// Counts a post that came by a tenant's own URL.
    ///
    /// # Errors
    /// How long to wait, if more come in a second than the tenant may have.
    pub fn admit(&self, door: &Door) -> Result<(), Duration> {
        let Some(tenant) = door.tenant() else { return Ok(()) };
        let posts = self.outbox.table().limits_of(Some(tenant)).posts;
        let burst = u32::try_from(posts).unwrap_or(u32::MAX);
        let allowance = Allowance { burst, interval: Duration::from_secs(1) / burst.max(1) };
        let mut posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.take(tenant, allowance, self.clock.now())
    }

    /// The door of a path, and the keys that verify there; none if the tenant is unknown.
    pub fn door(&self, path: &str) -> Option<(Door, DoorKeys<'_>)> {
        let platforms = DoorKeys::Platform(&self.keys);
        let name = path.strip_prefix("/webhook/livekit/").map(|name| name.trim_end_matches('/'));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Some((Door::Platform, platforms));
        };
        let (tenant, table) = (Tenant::new(name)?, self.outbox.table());
        if !table.knows(&tenant) {
            return None;
        }
        let own_key = table.keys_of(&tenant).next().is_some();
        let keys = if own_key { DoorKeys::Own { table, tenant: tenant.clone() } } else { platforms };
        Some((Door::Tenant { tenant, own_key }, keys))
    }
}
