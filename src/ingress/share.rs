//! How much of the room for bodies each tenant's own LiveKit holds, so that none takes all of it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::hooks::Tenant;

/// What tenants hold, in KiB.
pub struct Shares {
    /// Of one tenant at most.
    most: u32,
    /// Only of those who hold something.
    held: Mutex<HashMap<Tenant, u32>>,
    given_back: Notify,
}

impl Shares {
    /// So many KiB for each tenant.
    pub fn new(most: u32) -> Self {
        Self { most, held: Mutex::default(), given_back: Notify::new() }
    }

    /// Whether a tenant may hold `kib` more. The platform, which is no tenant, always may.
    pub fn has(&self, tenant: Option<&Tenant>, kib: u32) -> bool {
        tenant.is_none_or(|tenant| self.with_more(tenant, kib, &self.held()).is_some())
    }

    /// Books `kib` more for a tenant. False: that is more than its share.
    pub fn book(&self, tenant: Option<&Tenant>, kib: u32) -> bool {
        let Some(tenant) = tenant else { return true };
        let mut held = self.held();
        let Some(more) = self.with_more(tenant, kib, &held) else { return false };
        held.insert(tenant.clone(), more);
        true
    }

    /// A tenant holds `kib` less.
    pub fn give_back(&self, tenant: &Tenant, kib: u32) {
        let mut held = self.held();
        match held.get_mut(tenant) {
            Some(own) if *own > kib => *own -= kib,
            _ => drop(held.remove(tenant)),
        }
        self.given_back.notify_waiters();
    }

    /// Ends when a tenant holds less than now.
    pub fn given_back(&self) -> Notified<'_> {
        self.given_back.notified()
    }

    fn with_more(&self, tenant: &Tenant, kib: u32, held: &HashMap<Tenant, u32>) -> Option<u32> {
        let own = held.get(tenant).copied().unwrap_or(0);
        own.checked_add(kib).filter(|more| *more <= self.most)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Tenant, u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenant_has_its_share_and_nothing_is_kept_of_who_holds_nothing() {
        let (acme, globex) = (Tenant::new("acme").expect("a name"), Tenant::new("globex").expect("a name"));
        let shares = Shares::new(10);
        assert!(shares.book(Some(&acme), 4) && shares.book(Some(&acme), 6));
        assert!(!shares.has(Some(&acme), 1) && !shares.book(Some(&acme), 1));
        assert!(shares.book(Some(&globex), 10) && shares.book(None, u32::MAX));
        shares.give_back(&acme, 4);
        assert!(shares.has(Some(&acme), 4) && !shares.has(Some(&acme), u32::MAX));
        shares.give_back(&acme, 6);
        shares.give_back(&globex, 10);
        assert!(shares.held().is_empty());
    }
}
