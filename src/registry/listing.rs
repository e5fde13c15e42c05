//! The hooks a token may see, one or page by page.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::pauses::{Pause, Pauses};
use crate::access::Scope;
use crate::hooks::{Hook, HookTable, HostPattern, Layer, ShadowedClaim, Tenant};

/// A hook, and what is known of it besides.
#[derive(Clone, Debug)]
pub struct ListedHook {
    pub hook: Arc<Hook>,
    /// The hooks file has its host, too: the file's hook is in force, not this one.
    pub is_shadowed: bool,
    /// Of its numbers, trunks and LiveKit key, what the file has, too: it is in force without them.
    pub claims: Vec<ShadowedClaim>,
    pub pause: Pause,
}

/// Which hooks are listed.
#[derive(Clone, Debug, Default)]
pub struct HookFilter {
    pub tenant: Option<Tenant>,
    pub layer: Option<Layer>,
    pub is_paused: Option<bool>,
    /// A part of the host.
    pub host: Option<String>,
}

/// Where a page ends: behind the hook of this host and layer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HookCursor {
    pub host: HostPattern,
    pub layer: Layer,
}

/// A page of hooks, by host: exact ones, then wildcards, each in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct HookPage {
    pub hooks: Vec<ListedHook>,
    /// Where the next page begins, if there is more.
    pub next: Option<HookCursor>,
}

/// A hook in the order of pages.
struct Place<'t>(&'t Arc<Hook>);

impl Place<'_> {
    fn key(&self) -> (&HostPattern, Layer) {
        (&self.0.host, self.0.origin.layer)
    }
}

impl Ord for Place<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Place<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Place<'_> {}

impl ListedHook {
    /// The hook of a host: the one in force, else one of the API that is set aside. None also where it is another
    /// tenant's.
    pub fn find(table: &HookTable, pauses: &Pauses, scope: &Scope, host: &HostPattern) -> Option<Self> {
        let mut hooks = table.by_host(host).into_iter().chain(table.aside().hooks.get(host));
        let hook = hooks.find(|hook| scope.sees(hook.tenant.as_str()))?;
        Some(Self::of(table, pauses, hook))
    }

    /// Whether a hook of this host is stored that the scope covers and that cannot be read.
    pub fn is_unreadable(table: &HookTable, scope: &Scope, host: &HostPattern) -> bool {
        let host = host.to_string();
        table.aside().unreadable.iter().any(|hook| hook.host == host && scope.sees(&hook.tenant))
    }

    fn of(table: &HookTable, pauses: &Pauses, hook: &Arc<Hook>) -> Self {
        let is_shadowed = table.aside().hooks.get(&hook.host).is_some_and(|aside| aside.id == hook.id);
        let claims = table.aside().claims.iter().filter(|claim| claim.id == hook.id).cloned().collect();
        Self { hook: Arc::clone(hook), is_shadowed, claims, pause: pauses.of(hook.id) }
    }
}

impl HookPage {
    /// The hooks behind `after` that pass the filter and that the token may see, at most `limit`. Looks through all
    /// hooks of the tenant, or of the table.
    pub fn read(
        table: &HookTable,
        pauses: &Pauses,
        scope: &Scope,
        (filter, after): (&HookFilter, Option<&HookCursor>),
        limit: usize,
    ) -> Self {
        let passes = |hook: &&Arc<Hook>| {
            scope.sees(hook.tenant.as_str())
                && after.is_none_or(|after| (&hook.host, hook.origin.layer) > (&after.host, after.layer))
                && filter.tenant.as_ref().is_none_or(|tenant| hook.tenant == *tenant)
                && filter.layer.is_none_or(|layer| hook.origin.layer == layer)
                && filter.is_paused.is_none_or(|is_paused| pauses.is_paused(hook.id) == is_paused)
                && filter.host.as_ref().is_none_or(|part| hook.host.to_string().contains(part))
        };
        let aside = table.aside().hooks.values();
        let of_tenant = scope.tenant().or(filter.tenant.as_ref()).map(|tenant| table.hooks_of(tenant).iter());
        let of_all = of_tenant.is_none().then(|| table.hooks());
        let hooks = of_tenant.into_iter().flatten().chain(of_all.into_iter().flatten()).chain(aside);
        // The first ones, with one more that tells whether there is another page.
        let mut first = BinaryHeap::with_capacity(limit + 2);
        for hook in hooks.filter(passes) {
            first.push(Place(hook));
            if first.len() > limit + 1 {
                first.pop();
            }
        }
        let mut first = first.into_sorted_vec();
        let has_more = first.len() > limit;
        first.truncate(limit);
        let last = first.last().filter(|_| has_more).map(|Place(hook)| &***hook);
        let next = last.map(|hook| HookCursor { host: hook.host.clone(), layer: hook.origin.layer });
        Self { hooks: first.iter().map(|Place(hook)| ListedHook::of(table, pauses, hook)).collect(), next }
    }
}
