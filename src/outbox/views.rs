//! The store as the bearer of a token sees it. The API holds nothing else of the store, and nothing that belongs
//! to tenants can be asked for or changed without a [`Scope`].

mod audit;
mod counts;
mod erasure;
mod explain;
mod look;
mod replay;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use self::counts::UnroutedCounts;
pub use self::look::{CountedGroups, Looks, registered_hooks};

use super::{Outbox, StoreFault, sqlite};
use crate::access::Scope;
use crate::background;
use crate::domain::Domain;
use crate::hooks::{Hook, HostPattern, Tenant};
use crate::ids::{DeliveryId, HookId};
use crate::registry::{HookCursor, HookFilter, HookPage, ListedHook, Pause};
use crate::time::UnixMillis;

/// The store behind the API.
///
/// A view needs a scope, and only the verification of a token makes one:
///
/// ```no_run
/// use switchhook::scoped::{Tokens, Views};
/// async fn story(views: &Views, tokens: &Tokens, token: &str, now: switchhook::UnixMillis) {
///     let Ok(bearer) = tokens.verify(token, now) else { return };
///     let _ = views.of(&bearer.scope).story("EV_1".into()).await;
/// }
/// ```
///
/// Without one, it does not compile:
///
/// ```compile_fail
/// use switchhook::scoped::{Tokens, Views};
/// async fn story(views: &Views, tokens: &Tokens, token: &str, now: switchhook::UnixMillis) {
///     let Ok(bearer) = tokens.verify(token, now) else { return };
///     let _ = views.story("EV_1".into()).await;
/// }
/// ```
///
/// ```compile_fail
/// use switchhook::scoped::{Tokens, Views};
/// async fn story(views: &Views, tokens: &Tokens, token: &str, now: switchhook::UnixMillis) {
///     let Ok(bearer) = tokens.verify(token, now) else { return };
///     let _ = views.of().story("EV_1".into()).await;
/// }
/// ```
///
/// The same with a replay:
///
/// ```no_run
/// use switchhook::scoped::{AuditRecord, LetterFilter, Scope, Views};
/// async fn replay(views: &Views, scope: &Scope, record: AuditRecord) {
///     let view = views.of(scope);
///     let Ok(plan) = view.plan_replay(LetterFilter::default(), 1).await else { return };
///     let _ = view.replay(plan, record).await;
/// }
/// ```
///
/// ```compile_fail
/// use switchhook::scoped::{AuditRecord, LetterFilter, Scope, Views};
/// async fn replay(views: &Views, scope: &Scope, record: AuditRecord) {
///     let view = views.of(scope);
///     let Ok(plan) = view.plan_replay(LetterFilter::default(), 1).await else { return };
///     let _ = views.replay(plan, record).await;
/// }
/// ```
#[derive(Clone)]
pub struct Views(Arc<Outbox>);

impl Views {
    /// The store behind the API.
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        Self(outbox)
    }

    /// What `scope` covers.
    pub fn of(&self, scope: &Scope) -> ScopedView<'_> {
        ScopedView { outbox: &self.0, scope: scope.clone() }
    }

    /// Whether the store takes nothing at the moment.
    pub fn is_away(&self) -> bool {
        self.0.is_away()
    }

    /// How many events are held, and how many calls are live, in all: for the metrics.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn counts(&self) -> Result<(usize, usize), StoreFault> {
        self.0.ask("held events and calls", sqlite::counts).await
    }

    /// When each of these events came, one that is not stored yet left out: for the metrics.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn received(
        &self,
        ids: Vec<DeliveryId>,
    ) -> Result<Vec<(DeliveryId, UnixMillis)>, StoreFault> {
        self.0.ask("deliveries that are due", move |store| sqlite::received(store, &ids)).await
    }
}

/// Hooks that are searched for hosts like a domain.
const SEARCHED: usize = 1000;

/// The store as a scope permits: everything, or one tenant's.
pub struct ScopedView<'o> {
    pub(super) outbox: &'o Outbox,
    pub(super) scope: Scope,
}

impl Views {
    /// Whether and why a hook is paused.
    pub(crate) fn pause(&self, hook: HookId) -> Pause {
        self.0.queue.pauses().of(hook)
    }
}

impl ScopedView<'_> {
    /// The hook of a host, also one that is not in force, if the scope covers it.
    pub(crate) fn listed_hook(&self, host: &HostPattern) -> Option<ListedHook> {
        self.outbox.hook(&self.scope, host)
    }

    /// Whether a hook of this host is stored that the scope covers and that cannot be read.
    pub(crate) fn is_unreadable(&self, host: &HostPattern) -> bool {
        ListedHook::is_unreadable(&self.outbox.table(), &self.scope, host)
    }

    /// A page of the hooks that the scope covers, behind `after`, at most `limit`.
    pub(crate) async fn hooks(
        &self,
        filter: HookFilter,
        after: Option<HookCursor>,
        limit: usize,
    ) -> HookPage {
        self.outbox.hooks(&self.scope, filter, after, limit).await
    }

    /// The tenants that have hooks and that the scope covers, by name behind `after`, at most `limit`; and where the
    /// next page begins.
    pub(crate) async fn tenants(&self, after: Option<String>, limit: usize) -> (Vec<Tenant>, Option<String>) {
        let (table, scope) = (self.outbox.table(), self.scope.clone());
        let reading = move || {
            let hooks = table.hooks().chain(table.aside().hooks.values());
            let is_meant = |tenant: &&Tenant| {
                scope.sees(tenant.as_str()) && after.as_deref().is_none_or(|after| tenant.as_str() > after)
            };
            let names: BTreeSet<_> = hooks.map(|hook| &hook.tenant).filter(is_meant).collect();
            let has_more = names.len() > limit;
            let page: Vec<Tenant> = names.into_iter().take(limit).cloned().collect();
            let next = page.last().filter(|_| has_more).map(ToString::to_string);
            (page, next)
        };
        background::run(reading).await.unwrap_or_default()
    }

    /// The hosts most like a domain, among those that the scope covers. A large table is not searched: this is asked for
    /// each unrouted event.
    pub(crate) fn nearest(&self, domain: &Domain) -> Vec<String> {
        let table = self.outbox.table();
        match self.scope.tenant() {
            Some(tenant) if table.hooks_of(tenant).len() <= SEARCHED => table.of(tenant).nearest(domain),
            None if table.len() <= SEARCHED => table.nearest(domain),
            _ => Vec::new(),
        }
    }

    /// The hook with exactly this pattern, if the scope covers it.
    pub(crate) fn hook(&self, host: &HostPattern) -> Option<Arc<Hook>> {
        let hook = self.outbox.table().by_host(host).cloned();
        hook.filter(|hook| self.scope.sees(hook.tenant.as_str()))
    }

    /// A tenant's hooks in the order of the table; none if the scope does not cover the tenant.
    pub(crate) fn hooks_of(&self, tenant: &Tenant) -> Vec<Arc<Hook>> {
        if self.scope.sees(tenant.as_str()) {
            self.outbox.table().hooks_of(tenant).to_vec()
        } else {
            Vec::new()
        }
    }
}
