//! The immutable index of all hooks. Built once, replaced whole, read without locks.

use std::collections::HashMap;
use std::sync::Arc;

use super::hook::{Entry, Hook, Number, Tenant};
use crate::domain::Domain;
use crate::ids::HookId;
use crate::signature::Secret;

/// An entry, the id the store knows it by, and the secrets in force for it.
pub type Numbered = (Entry, HookId, Vec<Secret>);

/// Hooks by everything a call can be found by.
#[derive(Debug, Default)]
pub struct HookTable {
    domains: HashMap<Domain, Arc<Hook>>,
    numbers: HashMap<Number, Arc<Hook>>,
    trunks: HashMap<String, Arc<Hook>>,
    ids: HashMap<HookId, Arc<Hook>>,
}

impl HookTable {
    /// Builds the index. Each entry comes with the id the store knows it by and the secrets in
    /// force for it. `retired`: hooks that were removed and still have deliveries; they route
    /// nothing new.
    pub fn build(live: Vec<Numbered>, retired: Vec<Numbered>) -> Self {
        let mut table = Self::default();
        for (entry, id, secrets) in live {
            let Entry { host, tenant, url, numbers, trunks, .. } = entry;
            let hook = Arc::new(Hook { id, host: host.clone(), tenant, url, secrets });
            table.numbers.extend(numbers.into_iter().map(|number| (number, Arc::clone(&hook))));
            table.trunks.extend(trunks.into_iter().map(|trunk| (trunk, Arc::clone(&hook))));
            table.ids.insert(id, Arc::clone(&hook));
            table.domains.insert(host, hook);
        }
        table.ids.extend(retired.into_iter().map(|(Entry { host, tenant, url, .. }, id, secrets)| {
            (id, Arc::new(Hook { id, host, tenant, url, secrets }))
        }));
        table
    }

    /// A hook by its id, also a removed one that still has deliveries.
    pub fn by_id(&self, id: HookId) -> Option<&Arc<Hook>> {
        self.ids.get(&id)
    }

    /// The hook of a domain.
    pub fn by_domain(&self, domain: &Domain) -> Option<&Arc<Hook>> {
        self.domains.get(domain)
    }

    /// The hook that has a dialled number, in whatever spelling.
    pub fn by_number(&self, number: &str) -> Option<&Arc<Hook>> {
        // Most tables have none: spare them the copy.
        if self.numbers.is_empty() {
            return None;
        }
        self.numbers.get(&Number::new(number)?)
    }

    /// The hook that has a SIP trunk.
    pub fn by_trunk(&self, trunk: &str) -> Option<&Arc<Hook>> {
        self.trunks.get(trunk)
    }

    /// Every hook, in no order.
    pub fn hooks(&self) -> impl Iterator<Item = &Arc<Hook>> {
        self.domains.values()
    }

    /// Any hook of a tenant.
    pub fn by_tenant(&self, tenant: &Tenant) -> Option<&Arc<Hook>> {
        self.hooks().find(|hook| hook.tenant == *tenant)
    }

    /// How many hooks there are.
    pub fn len(&self) -> usize {
        self.domains.len()
    }
}
