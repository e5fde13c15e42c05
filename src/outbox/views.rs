//! The store as the bearer of a token sees it. The API holds nothing else of the store, and nothing that belongs
//! to tenants can be asked for or changed without a [`Scope`].

use std::sync::Arc;

use super::{Outbox, StoreFault, sqlite};
use crate::access::Scope;
use crate::hooks::{Hook, HostPattern, Tenant};
use crate::ids::DeliveryId;
use crate::registry::{HookCursor, HookFilter, HookPage, ListedHook};
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
/// use switchhook::scoped::{LetterFilter, Scope, Views};
/// async fn replay(views: &Views, scope: &Scope) {
///     let view = views.of(scope);
///     let Ok(plan) = view.plan_replay(LetterFilter::default(), 1).await else { return };
///     let _ = view.replay(plan).await;
/// }
/// ```
///
/// ```compile_fail
/// use switchhook::scoped::{LetterFilter, Scope, Views};
/// async fn replay(views: &Views, scope: &Scope) {
///     let view = views.of(scope);
///     let Ok(plan) = view.plan_replay(LetterFilter::default(), 1).await else { return };
///     let _ = views.replay(plan).await;
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
        self.0.reader.call(sqlite::counts).await
    }

    /// When each of these events came, one that is not stored yet left out: for the metrics.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn received(
        &self,
        ids: Vec<DeliveryId>,
    ) -> Result<Vec<(DeliveryId, UnixMillis)>, StoreFault> {
        self.0.reader.call(move |store| sqlite::received(store, &ids)).await
    }
}

/// The store as a scope permits: everything, or one tenant's.
pub struct ScopedView<'o> {
    pub(super) outbox: &'o Outbox,
    pub(super) scope: Scope,
}

impl ScopedView<'_> {
    /// The hook with exactly this pattern, if the scope covers it.
    pub(crate) fn hook(&self, host: &HostPattern) -> Option<Arc<Hook>> {
        let hook = self.outbox.table().by_host(host).cloned();
        hook.filter(|hook| self.scope.sees(hook.tenant.as_str()))
    }

    /// A hook and what is known of it besides: the one of this host that is in force, else one of the API that the
    /// hooks file keeps out of force.
    pub(crate) fn listed_hook(&self, host: &HostPattern) -> Option<ListedHook> {
        self.outbox.hook(&self.scope, host)
    }

    /// A page of hooks, behind `after`, at most `limit`.
    pub(crate) async fn list_hooks(
        &self,
        filter: HookFilter,
        after: Option<HookCursor>,
        limit: usize,
    ) -> HookPage {
        self.outbox.hooks(&self.scope, filter, after, limit).await
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
