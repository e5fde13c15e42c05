//! What routing sees of a table.

use std::sync::Arc;

use super::HookTable;
use crate::domain::Domain;
use crate::hooks::hook::{Hook, HostPattern, Tenant};
use crate::ids::HookId;

impl HookTable {
    /// All hooks, for routing.
    pub fn all(&self) -> View<'_> {
        View { table: self, tenant: None }
    }

    /// A tenant's hooks and nothing else, for routing.
    pub fn of<'t>(&'t self, tenant: &'t Tenant) -> View<'t> {
        View { table: self, tenant: Some(tenant) }
    }
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

    /// How many hooks these are.
    pub fn len(&self) -> usize {
        self.tenant.map_or_else(|| self.table.len(), |tenant| self.table.hooks_of(tenant).len())
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
            let distance = distance_within(name, host.as_str(), most)?;
            Some((distance, host.to_string()))
        };
        let exact = |hook: &'t Arc<Hook>| match &hook.host {
            HostPattern::Exact(host) => Some(host),
            HostPattern::Below(_) | HostPattern::Any => None,
        };
        let mut nearest: Vec<_> = match self.tenant {
            Some(tenant) => self.table.hooks_of(tenant).iter().filter_map(exact).filter_map(alike).collect(),
            None => self.table.hooks().filter_map(exact).filter_map(alike).collect(),
        };
        nearest.sort_unstable();
        nearest.truncate(3);
        nearest.into_iter().map(|(_, host)| host).collect()
    }
}

/// How many characters differ between two host names, if at most `most`: swapped neighbours count once. Most tables have
/// many hosts with the same ending, so what both begin and end with is left out: it changes nothing.
fn distance_within(a: &str, b: &str, most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let same = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let head = same(a.as_bytes(), b.as_bytes());
    let (a, b) = (a.get(head..)?, b.get(head..)?);
    let tail = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(..a.len() - tail)?, b.get(..b.len() - tail)?);
    Some(strsim::osa_distance(a, b)).filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_distance_is_that_of_the_whole_names(a in "[ab.]{0,12}", b in "[ab.]{0,12}", most in 0_usize..13) {
            let whole = strsim::osa_distance(&a, &b);
            prop_assert_eq!(distance_within(&a, &b, most), Some(whole).filter(|whole| *whole <= most));
        }
    }
}
