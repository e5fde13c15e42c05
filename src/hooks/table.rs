//! The immutable index of all hooks. Built once, replaced whole, read without locks.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::hook::{Entry, Hook, HostPattern, Number, Signing, Tenant};
use super::settings::KeyPair;
use crate::domain::Domain;
use crate::ids::HookId;

/// An entry, the id the store knows it by, and the secrets in force for it.
pub type Numbered = (Entry, HookId, Vec<Signing>);

/// Hooks by everything a call can be found by.
#[derive(Debug, Default)]
pub struct HookTable {
    // The hash is seeded anew with every build, and callers of look-ups do not choose the keys: a fast hash is
    // safe.
    exact: HashMap<Domain, Arc<Hook>, RandomState>,
    /// By what stands behind `*.`.
    below: HashMap<Domain, Arc<Hook>, RandomState>,
    any: Option<Arc<Hook>>,
    numbers: HashMap<Number, Arc<Hook>>,
    trunks: HashMap<String, Arc<Hook>>,
    ids: HashMap<HookId, Arc<Hook>, RandomState>,
    /// Every hook, by tenant and then in the file's order: eight bytes a hook.
    tenants: Vec<Arc<Hook>>,
    /// The same of hooks that were removed and still have calls.
    retired: Vec<Arc<Hook>>,
    /// LiveKit API keys of tenants' own.
    keys: HashMap<String, Tenant>,
}

impl HookTable {
    /// Builds the index. Each entry comes with the id the store knows it by and the secrets in
    /// force for it. `retired`: hooks that were removed and still have deliveries; they route
    /// nothing new. And whether they have calls: for those their tenant's URL stays open.
    pub fn build(live: Vec<Numbered>, retired: Vec<(Numbered, bool)>) -> Self {
        let mut table = Self::default();
        for (entry, id, secrets) in live {
            let (hook, numbers, trunks) = hook(entry, id, secrets);
            let host = hook.host.clone();
            table.numbers.extend(numbers.into_iter().map(|number| (number, Arc::clone(&hook))));
            table.trunks.extend(trunks.into_iter().map(|trunk| (trunk, Arc::clone(&hook))));
            table.ids.insert(id, Arc::clone(&hook));
            table.tenants.push(Arc::clone(&hook));
            if let Some(pair) = &hook.livekit {
                table.keys.insert(pair.key.clone(), hook.tenant.clone());
            }
            match host {
                HostPattern::Exact(domain) => drop(table.exact.insert(domain, hook)),
                HostPattern::Below(domain) => drop(table.below.insert(domain, hook)),
                HostPattern::Any => table.any = Some(hook),
            }
        }
        for ((entry, id, secrets), has_calls) in retired {
            let (hook, ..) = hook(entry, id, secrets);
            table.ids.insert(id, Arc::clone(&hook));
            if has_calls {
                table.retired.push(hook);
            }
        }
        // Stable: a tenant's hooks stay in the file's order.
        table.tenants.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        table.retired.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        table
    }

    /// All hooks, for routing.
    pub fn all(&self) -> View<'_> {
        View { table: self, tenant: None }
    }

    /// A tenant's hooks and nothing else, for routing.
    pub fn of<'t>(&'t self, tenant: &'t Tenant) -> View<'t> {
        View { table: self, tenant: Some(tenant) }
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
        among(&self.tenants, tenant)
    }

    /// Whether a tenant has a hook, or had one that still has calls.
    pub fn knows(&self, tenant: &Tenant) -> bool {
        !self.hooks_of(tenant).is_empty() || !among(&self.retired, tenant).is_empty()
    }

    /// The LiveKit API keys of a tenant's own; also those of removed hooks that still have calls.
    pub fn keys_of(&self, tenant: &Tenant) -> impl Iterator<Item = &KeyPair> {
        // Hooks in force come last, so that their secret replaces a removed hook's for the same key.
        let hooks = among(&self.retired, tenant).iter().chain(self.hooks_of(tenant));
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

/// A tenant's hooks among those sorted by tenant.
fn among<'h>(hooks: &'h [Arc<Hook>], tenant: &Tenant) -> &'h [Arc<Hook>] {
    let first = hooks.partition_point(|hook| hook.tenant < *tenant);
    let count = hooks[first..].partition_point(|hook| hook.tenant == *tenant);
    &hooks[first..first + count]
}

/// What routing sees of a table: all of it, or one tenant's hooks.
#[derive(Clone, Copy, Debug)]
pub struct View<'t> {
    table: &'t HookTable,
    tenant: Option<&'t Tenant>,
}

impl<'t> View<'t> {
    /// The tenant whose hooks these are.
    pub fn tenant(&self) -> Option<&'t Tenant> {
        self.tenant
    }

    fn sees(&self, hook: &Arc<Hook>) -> bool {
        self.tenant.is_none_or(|tenant| hook.tenant == *tenant)
    }

    /// The tenant's first hook.
    pub fn first(&self) -> Option<&'t Arc<Hook>> {
        self.table.hooks_of(self.tenant?).first()
    }

    /// See [`HookTable::by_id`].
    pub fn by_id(&self, id: HookId) -> Option<&'t Arc<Hook>> {
        self.table.by_id(id).filter(|hook| self.sees(hook))
    }

    /// See [`HookTable::by_domain`].
    pub fn by_domain(&self, domain: &Domain) -> Option<&'t Arc<Hook>> {
        let Some(tenant) = self.tenant else { return self.table.by_domain(domain) };
        // The most specific of a tenant's few, which need not be the most specific of all.
        let fitting = |hook: &&Arc<Hook>| match &hook.host {
            HostPattern::Exact(host) => host == domain,
            HostPattern::Below(parent) => domain.is_below(parent),
            HostPattern::Any => false,
        };
        let length = |host: &HostPattern| match host {
            HostPattern::Exact(_) => usize::MAX,
            HostPattern::Below(parent) => parent.as_str().len(),
            HostPattern::Any => 0,
        };
        self.table.hooks_of(tenant).iter().filter(fitting).max_by_key(|hook| length(&hook.host))
    }

    /// See [`HookTable::any`].
    pub fn any(&self) -> Option<&'t Arc<Hook>> {
        self.table.any().filter(|hook| self.sees(hook))
    }

    /// See [`HookTable::by_number`].
    pub fn by_number(&self, number: &str) -> Option<&'t Arc<Hook>> {
        self.table.by_number(number).filter(|hook| self.sees(hook))
    }

    /// See [`HookTable::by_trunk`].
    pub fn by_trunk(&self, trunk: &str) -> Option<&'t Arc<Hook>> {
        self.table.by_trunk(trunk).filter(|hook| self.sees(hook))
    }

    /// The exact hosts most like a domain that has none, the likest first: for typing errors.
    pub fn nearest(&self, domain: &Domain) -> Vec<String> {
        let name = domain.as_str();
        let alike = |host: &Domain| {
            // A host that differs in more than a third of its characters is not similar.
            let most = name.len().max(host.as_str().len()) / 3;
            let distance = strsim::osa_distance(name, host.as_str());
            (distance <= most).then(|| (distance, host.to_string()))
        };
        let exact = |hook: &'t Arc<Hook>| match &hook.host {
            HostPattern::Exact(host) => Some(host),
            HostPattern::Below(_) | HostPattern::Any => None,
        };
        let mut nearest: Vec<_> = match self.tenant {
            Some(tenant) => self.table.hooks_of(tenant).iter().filter_map(exact).filter_map(alike).collect(),
            None => self.table.exact.keys().filter_map(alike).collect(),
        };
        nearest.sort_unstable();
        nearest.truncate(3);
        nearest.into_iter().map(|(_, host)| host).collect()
    }
}

/// A hook in force, and what else it is found by.
fn hook(entry: Entry, id: HookId, signing: Vec<Signing>) -> (Arc<Hook>, Vec<Number>, Vec<String>) {
    let Entry { host, tenant, url, secrets, numbers, trunks, livekit, settings, now: _, line: _ } = entry;
    let has_given_secret = !secrets.is_empty();
    let hook = Hook { id, host, tenant, url, secrets: signing, has_given_secret, livekit, settings };
    (Arc::new(hook), numbers, trunks)
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Around, parse};
    use super::*;
    use crate::network::Network;

    #[test]
    fn the_most_specific_pattern_wins_at_any_depth() {
        let text = "hooks:
  - {host: calls.acme.com, url: 'https://exact.example', tenant: exact}
  - {host: '*.acme.com', url: 'https://acme.example', tenant: acme}
  - {host: '*.eu.acme.com', url: 'https://eu.example', tenant: eu}
  - {host: '*', url: 'https://any.example', tenant: any}
";
        let entries = parse(text, &Around::new(Network::default(), |_| Err(String::new()))).expect("a table");
        let numbered = (1..).zip(entries).map(|(id, entry)| (entry, HookId(id), Vec::new()));
        let table = HookTable::build(numbered.collect(), Vec::new());
        let expected = [
            ("calls.acme.com", Some("exact")),
            ("sip.acme.com", Some("acme")),
            ("a.b.acme.com", Some("acme")),
            ("eu.acme.com", Some("acme")),
            ("a.eu.acme.com", Some("eu")),
            ("a.calls.acme.com", Some("acme")),
            ("acme.com", None),
            ("evilacme.com", None),
            ("192.0.2.1", None),
            ("[2001:db8::1]", None),
        ];
        for (host, tenant) in expected {
            let domain = Domain::from_host(host).expect(host);
            assert_eq!(table.by_domain(&domain).map(|hook| hook.tenant.as_str()), tenant, "{host}");
        }
        assert_eq!(table.any().map(|hook| hook.tenant.as_str()), Some("any"));
        assert_eq!(table.len(), 4);
    }
}
