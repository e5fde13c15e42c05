//! The immutable index of all hooks: replaced whole, read without locks. A change makes a new table that shares with
//! the old one all but the few shards it touches.

mod by_tenant;
mod shards;
#[cfg(test)]
mod tests;
mod view;

pub use self::view::View;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::by_tenant::ByTenant;
use self::shards::Shards;
use super::hook::{Entry, Hook, HostPattern, Number, Origin, Signing, Tenant};
use super::limits::{Most, TenantLimits};
use super::settings::KeyPair;
use crate::domain::Domain;
use crate::ids::HookId;

/// An entry, the id the store knows it by, and the secrets in force for it.
pub type Numbered = (Entry, HookId, Vec<Signing>);

/// Hooks by everything a call can be found by.
#[derive(Clone, Debug, Default)]
pub struct HookTable {
    exact: Shards<Domain, Arc<Hook>>,
    /// By what stands behind `*.`.
    below: Shards<Domain, Arc<Hook>>,
    any: Option<Arc<Hook>>,
    numbers: Shards<Number, Arc<Hook>>,
    trunks: Shards<String, Arc<Hook>>,
    ids: Shards<HookId, Arc<Hook>>,
    /// Every hook, by tenant and then in the file's order; those of the API follow by their ids.
    tenants: ByTenant,
    /// Hooks that were removed and still have calls.
    retired: ByTenant,
    /// Those that were removed and have only deliveries left.
    ended: ByTenant,
    /// LiveKit API keys of tenants' own.
    keys: Shards<String, Tenant>,
    /// What is stored and not in force.
    aside: Arc<SetAside>,
    limits: Arc<TenantLimits>,
}

/// What the API wrote and is not in force.
#[derive(Clone, Debug, Default)]
pub struct SetAside {
    /// Hooks whose host the hooks file has, too: they return when the file lets it go.
    pub hooks: BTreeMap<HostPattern, Arc<Hook>>,
    /// Numbers, trunks and LiveKit keys that the hooks file has, too; their hooks are in force without them.
    pub claims: Vec<ShadowedClaim>,
    /// Hooks whose stored settings cannot be read.
    pub unreadable: Vec<UnreadableHook>,
}

/// Something of a hook that a hook of the file has, too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShadowedClaim {
    /// The hook that is without it.
    pub id: HookId,
    pub host: HostPattern,
    pub tenant: Tenant,
    /// `numbers`, `trunks` or `livekit`.
    pub field: &'static str,
    pub value: String,
}

/// A stored hook whose settings cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnreadableHook {
    pub id: HookId,
    pub host: String,
    pub tenant: String,
    /// Why, without what is stored.
    pub why: String,
    /// What the operator can do.
    pub fix: &'static str,
    /// Its row in the store is damaged.
    pub is_damaged: bool,
}

impl HookTable {
    /// Builds the index. Each entry comes with the id the store knows it by and the secrets in
    /// force for it. `retired`: hooks that were removed and still have deliveries; they route
    /// nothing new. And whether they have calls: for those their tenant's URL stays open.
    pub fn build(live: Vec<Numbered>, retired: Vec<(Numbered, bool)>) -> Self {
        let hook = |(entry, id, secrets)| Arc::new(Hook::new(entry, id, secrets, Origin::default()));
        let retired = retired.into_iter().map(|(numbered, has_calls)| (hook(numbered), has_calls));
        Self::index(live.into_iter().map(hook).collect(), retired.collect(), SetAside::default())
    }

    /// The same of hooks. `aside`: what is stored and not in force; it routes nothing.
    pub fn index(live: Vec<Arc<Hook>>, retired: Vec<(Arc<Hook>, bool)>, aside: SetAside) -> Self {
        let count = live.len();
        let mut table = Self {
            exact: Shards::for_about(count),
            ids: Shards::for_about(count + retired.len()),
            aside: Arc::new(aside),
            ..Self::default()
        };
        live.iter().for_each(|hook| table.find_by_all(hook));
        table.tenants = ByTenant::new(live);
        let (mut calling, mut ended) = (Vec::new(), Vec::new());
        for (hook, has_calls) in retired {
            table.ids.insert(hook.id, Arc::clone(&hook));
            if has_calls { calling.push(hook) } else { ended.push(hook) }
        }
        (table.retired, table.ended) = (ByTenant::new(calling), ByTenant::new(ended));
        table
    }

    /// The same table with what the operator permits each tenant.
    #[must_use]
    pub fn within(self, limits: Arc<TenantLimits>) -> Self {
        Self { limits, ..self }
    }

    /// The most a tenant may have; none: hooks that are in no table.
    pub fn limits_of(&self, tenant: Option<&Tenant>) -> Most {
        self.limits.of(tenant)
    }

    /// Puts a hook in force, in the place of the one with its id.
    pub fn put(&mut self, hook: Arc<Hook>) {
        let same_id = self.ids.get(&hook.id).cloned();
        if let Some(before) = same_id {
            self.lose(&before);
        }
        self.find_by_all(&hook);
        self.tenants.insert(hook);
    }

    /// Takes a hook out of force. What was routed to it still finds it by its id. `has_calls`: its tenant's URL
    /// stays open for them.
    pub fn retire(&mut self, id: HookId, has_calls: bool) {
        let Some(hook) = self.ids.get(&id).cloned() else { return };
        self.lose(&hook);
        self.tenants.remove(&hook);
        self.ids.insert(id, Arc::clone(&hook));
        if has_calls { self.retired.insert(hook) } else { self.ended.insert(hook) }
    }

    /// Replaces a hook that differs from the one of its id in nothing that it is found by.
    pub fn renew(&mut self, hook: &Arc<Hook>) {
        let Some(before) = self.ids.insert(hook.id, Arc::clone(hook)) else { return };
        let is_before = |other: Option<&Arc<Hook>>| other.is_some_and(|other| Arc::ptr_eq(other, &before));
        match &hook.host {
            HostPattern::Exact(domain) if is_before(self.exact.get(domain)) => {
                self.exact.insert(domain.clone(), Arc::clone(hook));
            }
            HostPattern::Below(domain) if is_before(self.below.get(domain)) => {
                self.below.insert(domain.clone(), Arc::clone(hook));
            }
            HostPattern::Any if is_before(self.any.as_ref()) => self.any = Some(Arc::clone(hook)),
            HostPattern::Exact(_) | HostPattern::Below(_) | HostPattern::Any => {}
        }
        for number in hook
            .numbers
            .iter()
            .filter(|number| is_before(self.numbers.get(*number)))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.numbers.insert(number, Arc::clone(hook));
        }
        for trunk in
            hook.trunks.iter().filter(|trunk| is_before(self.trunks.get(*trunk))).cloned().collect::<Vec<_>>()
        {
            self.trunks.insert(trunk, Arc::clone(hook));
        }
        for list in [&mut self.tenants, &mut self.retired, &mut self.ended] {
            list.replace(hook);
        }
        if self.aside.hooks.get(&hook.host).is_some_and(|other| Arc::ptr_eq(other, &before)) {
            Arc::make_mut(&mut self.aside).hooks.insert(hook.host.clone(), Arc::clone(hook));
        }
    }

    /// Changes what is set aside.
    pub fn set_aside(&mut self) -> &mut SetAside {
        Arc::make_mut(&mut self.aside)
    }

    /// What is stored and not in force.
    pub fn aside(&self) -> &SetAside {
        &self.aside
    }

    /// Adds a hook to every index but the one by tenant.
    fn find_by_all(&mut self, hook: &Arc<Hook>) {
        for number in &hook.numbers {
            self.numbers.insert(number.clone(), Arc::clone(hook));
        }
        for trunk in &hook.trunks {
            self.trunks.insert(trunk.clone(), Arc::clone(hook));
        }
        if let Some(pair) = &hook.livekit {
            self.keys.insert(pair.key.clone(), hook.tenant.clone());
        }
        match &hook.host {
            HostPattern::Exact(domain) => drop(self.exact.insert(domain.clone(), Arc::clone(hook))),
            HostPattern::Below(domain) => drop(self.below.insert(domain.clone(), Arc::clone(hook))),
            HostPattern::Any => self.any = Some(Arc::clone(hook)),
        }
        self.ids.insert(hook.id, Arc::clone(hook));
    }

    /// Removes a hook from every index but the one by tenant.
    fn lose(&mut self, hook: &Arc<Hook>) {
        let is_it = |other: &Arc<Hook>| other.id == hook.id;
        for number in &hook.numbers {
            self.numbers.remove_if(number, is_it);
        }
        for trunk in &hook.trunks {
            self.trunks.remove_if(trunk, is_it);
        }
        if let Some(pair) = &hook.livekit {
            let others = self.hooks_of(&hook.tenant).iter().filter(|other| other.id != hook.id);
            let is_shared =
                others.filter_map(|other| other.livekit.as_ref()).any(|other| other.key == pair.key);
            if !is_shared {
                self.keys.remove_if(&pair.key, |owner| *owner == hook.tenant);
            }
        }
        match &hook.host {
            HostPattern::Exact(domain) => self.exact.remove_if(domain, is_it),
            HostPattern::Below(domain) => self.below.remove_if(domain, is_it),
            HostPattern::Any => self.any = self.any.take().filter(|other| !is_it(other)),
        }
        self.ids.remove_if(&hook.id, |_| true);
    }

    /// A hook by its id, also a removed one that still has deliveries.
    pub fn by_id(&self, id: HookId) -> Option<&Arc<Hook>> {
        self.ids.get(&id)
    }

    /// The hook of a domain: the exact one, else the longest wildcard's. [`Self::any`] comes last of
    /// all, after numbers and trunks, which it would hide.
    pub fn by_domain(&self, domain: &Domain) -> Option<&Arc<Hook>> {
        let name = domain.as_str();
        let wildcard = || {
            // Most tables have no wildcards: no look-up then.
            let parents = if self.below.is_empty() { "" } else { name };
            parents.match_indices('.').find_map(|(dot, _)| self.below.get(&parents[dot + 1..]))
        };
        self.exact.get(name).or_else(wildcard)
    }

    /// The hook of every domain that nothing else has.
    pub fn any(&self) -> Option<&Arc<Hook>> {
        self.any.as_ref()
    }

    /// The hook with exactly this pattern.
    pub fn by_host(&self, host: &HostPattern) -> Option<&Arc<Hook>> {
        match host {
            HostPattern::Exact(domain) => self.exact.get(domain),
            HostPattern::Below(domain) => self.below.get(domain),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    /// The hook that has a dialled number, in whatever spelling.
    pub fn by_number(&self, number: &str) -> Option<&Arc<Hook>> {
        // Most tables have no numbers: no copy then.
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
        self.exact.values().chain(self.below.values()).chain(&self.any)
    }

    /// A tenant's hooks, in the file's order.
    pub fn hooks_of(&self, tenant: &Tenant) -> &[Arc<Hook>] {
        self.tenants.of(tenant)
    }

    /// A tenant's hooks, also those that were removed or set aside and still have calls or deliveries.
    pub fn all_of<'t>(&'t self, tenant: &'t Tenant) -> impl Iterator<Item = &'t Arc<Hook>> {
        [&self.tenants, &self.retired, &self.ended].into_iter().flat_map(|list| list.of(tenant))
    }

    /// Whether a tenant has a hook, or had one that still has calls.
    pub fn knows(&self, tenant: &Tenant) -> bool {
        !self.hooks_of(tenant).is_empty() || !self.retired.of(tenant).is_empty()
    }

    /// The LiveKit API keys of a tenant's own; also those of removed hooks that still have calls.
    pub fn keys_of(&self, tenant: &Tenant) -> impl Iterator<Item = &KeyPair> {
        // Hooks in force come last, so that their secret replaces a removed hook's for the same key.
        let hooks = self.retired.of(tenant).iter().chain(self.hooks_of(tenant));
        hooks.filter_map(|hook| hook.livekit.as_deref())
    }

    /// The tenant whose own LiveKit API key this is.
    pub fn owner_of_key(&self, key: &str) -> Option<&Tenant> {
        self.keys.get(key)
    }

    /// See [`View::nearest`].
    pub fn nearest(&self, domain: &Domain) -> Vec<String> {
        self.all().nearest(domain)
    }

    /// How many hooks there are.
    pub fn len(&self) -> usize {
        self.exact.len() + self.below.len() + usize::from(self.any.is_some())
    }
}
