//! What the operator permits a tenant: `limits:` of the hooks file.

use std::collections::HashMap;
use std::time::Duration;

use super::hook::Tenant;
use super::settings::Settings;

const HOUR: Duration = Duration::from_secs(3600);

/// What each tenant may have.
#[derive(Debug)]
pub struct TenantLimits {
    /// Of every tenant that has none of its own.
    pub all: Most,
    /// Tenants' own.
    pub tenants: HashMap<Tenant, Most>,
}

/// The most one tenant may have.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Most {
    pub hooks: usize,
    /// Attempts in flight, over all its hooks.
    pub concurrency: usize,
    /// Of one attempt.
    pub timeout: Duration,
    /// Of a delivery.
    pub max_age: Duration,
    /// Deliveries that wait, over all its hooks; beyond that the oldest are given up.
    pub pending: usize,
    /// Bytes of their bodies.
    pub pending_bytes: u64,
    /// Events a second at the tenant's own URL.
    pub posts: usize,
    /// How long bodies of delivered events may be kept; zero: not at all.
    pub keep: Duration,
}

impl Default for TenantLimits {
    fn default() -> Self {
        let all = Most {
            hooks: 100,
            concurrency: 64,
            timeout: Duration::from_secs(30),
            max_age: 72 * HOUR,
            pending: 100_000,
            pending_bytes: 256 << 20,
            posts: 1000,
            keep: 72 * HOUR,
        };
        Self { all, tenants: HashMap::new() }
    }
}

impl TenantLimits {
    /// What a tenant may have; none: hooks that are in no table.
    pub fn of(&self, tenant: Option<&Tenant>) -> Most {
        tenant.and_then(|tenant| self.tenants.get(tenant)).copied().unwrap_or(self.all)
    }
}

impl Most {
    /// Whether inherited settings are within the limits.
    pub fn holds(&self, settings: &Settings) -> bool {
        settings.timeout <= self.timeout
            && settings.concurrency <= self.concurrency
            && settings.retry.max_age <= self.max_age
            && settings.keep <= self.keep
    }
}
