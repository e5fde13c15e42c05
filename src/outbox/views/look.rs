//! What the API asks the store, within a scope.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ScopedView;
use crate::background;
use crate::calls::Ground;
use crate::delivery::Fresh;
use crate::hooks::{Signing, Tenant};
use crate::outbox::sqlite::views::{
    self, CallFilter, ChangeFilter, DeliveryFilter, LetterFilter, ReplayPlan, Reroute, UnroutedCount,
    UnroutedFilter, UsageFilter,
};
use crate::outbox::sqlite::{self, Store};
use crate::outbox::{Outbox, StoreFault};
use crate::registry;
use crate::time::UnixMillis;
use crate::wire::{CallStory, DeliveryList, DomainChange, EventStory, GroupStory, Timeline, UsageList};

/// Host and tenant of each hook that is registered over the API, from a data directory, beside a router that may run.
///
/// # Errors
/// When there is no database, it cannot be read, or a newer release made it.
pub fn registered_hooks(directory: &Path) -> Result<Vec<(String, String)>, StoreFault> {
    // Older releases took hooks from the file alone.
    Ok(sqlite::read_foreign(directory, sqlite::registered)?.unwrap_or_default())
}

impl ScopedView<'_> {
    /// All that is known of an event.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn story(&self, id: String) -> Result<Option<EventStory>, StoreFault> {
        let scope = self.scope.clone();
        self.outbox.ask("events", move |store| views::story(store, &scope, &id)).await
    }

    /// What signs for a tenant that has no hook: derived, the current secret first. None if the scope does not cover
    /// the tenant.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn derived_secrets(&self, tenant: Tenant) -> Result<Option<Vec<Signing>>, StoreFault> {
        if !self.scope.sees(tenant.as_str()) {
            return Ok(None);
        }
        let (asked, outbox) = (tenant.clone(), self.outbox);
        let generation =
            outbox.ask("renewed secrets", move |store| sqlite::generation(store, &asked)).await?;
        Ok(Some(registry::derived(&outbox.master, &tenant, generation, outbox.clock.unix())))
    }

    /// A page of deliveries, the newest first, with all that is known of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn deliveries(&self, filter: DeliveryFilter, limit: usize) -> Result<DeliveryList, StoreFault> {
        let scope = self.scope.clone();
        self.look("deliveries", move |store| views::deliveries(store, &scope, &filter, limit)).await
    }

    /// What a replay of the dead letters that pass `filter` would do: at most `limit` at a time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn plan_replay(&self, filter: LetterFilter, limit: usize) -> Result<ReplayPlan, StoreFault> {
        let (table, scope, seals) = (self.outbox.table(), self.scope.clone(), Arc::clone(&self.outbox.seals));
        let planned =
            move |store: &Store| views::plan_replay(store, &scope, (&table, &seals.bodies), &filter, limit);
        let plan = self.look("dead letters", planned).await?;
        Ok(self.with_pauses(plan))
    }

    /// What is unrouted, by reason and domain, and what is to be done about each; the groups from `skip` on, at most
    /// `limit`. Few events are counted now; of many, the last count is answered at once.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn unrouted(&self, skip: usize, limit: usize) -> Result<CountedGroups, StoreFault> {
        let counts = &self.outbox.counts;
        let told = match self.counted((skip, limit), counts.last()).await? {
            Some(told) => told,
            None => {
                let first = counts.first().await?;
                self.counted((skip, limit), Some(first)).await?.ok_or(StoreFault::Closed)?
            }
        };
        if told.counted_at.is_some() {
            counts.ask();
        }
        Ok(told)
    }

    /// A page of what is unrouted; none: it is too much to be counted now, and was not counted before.
    async fn counted(
        &self,
        page: (usize, usize),
        last: Option<Arc<UnroutedCount>>,
    ) -> Result<Option<CountedGroups>, StoreFault> {
        let (scope, table, now) = (self.scope.clone(), self.outbox.table(), self.outbox.clock.unix());
        let telling = move |store: &Store| {
            let (counted, counted_at) = match (views::is_much(store)?, last) {
                (false, _) => (Arc::new(views::count_at_once(store, now)?), None),
                (true, Some(last)) => (Arc::clone(&last), Some(last.at)),
                (true, None) => return Ok(None),
            };
            let (groups, has_more) = views::group_stories(store, (&scope, &table), &counted, page)?;
            Ok(Some(CountedGroups { groups, has_more, counted_at }))
        };
        self.look("unrouted events", telling).await
    }

    /// Which calls a replay of what is unrouted would take, and what would become of their events: those
    /// of about `limit` events at a time. None within a tenant's scope: what is unrouted has no owner yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn plan_reroute(&self, selection: UnroutedFilter, limit: usize) -> Result<Reroute, StoreFault> {
        if !self.scope.is_operator() {
            return Ok(Reroute::default());
        }
        let (table, to_fallback) = (self.outbox.table(), self.outbox.config.to_fallback);
        let planned = move |store: &Store| {
            let ground = Ground { table: &table, to_fallback, fresh: &Fresh::default() };
            views::plan_reroute(store, ground, &selection, limit)
        };
        self.look("unrouted events", planned).await
    }

    /// A page of calls, the newest first; and where the next page begins, if there is one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn calls(
        &self,
        filter: CallFilter,
        limit: usize,
    ) -> Result<(Vec<CallStory>, Option<String>), StoreFault> {
        let scope = self.scope.clone();
        self.look("calls", move |store| views::calls(store, &scope, &filter, limit)).await
    }

    /// What happened in a call, by its room's sid or name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn timeline(&self, name: String) -> Result<Option<Timeline>, StoreFault> {
        let scope = self.scope.clone();
        self.look("timelines", move |store| views::timeline(store, &scope, &name)).await
    }

    /// Called numbers that came with another domain, the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn domain_changes(
        &self,
        filter: ChangeFilter,
        limit: usize,
    ) -> Result<Vec<DomainChange>, StoreFault> {
        let scope = self.scope.clone();
        self.outbox
            .ask("called numbers", move |store| sqlite::domain_changes(store, &scope, &filter, limit))
            .await
    }

    /// A page of what tenants used, by day and tenant.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn usage(&self, filter: UsageFilter, limit: usize) -> Result<UsageList, StoreFault> {
        let scope = self.scope.clone();
        self.look("usage", move |store| views::usage(store, &scope, &filter, limit)).await
    }

    /// Runs a query that may take long.
    async fn look<T: Send + 'static>(
        &self,
        what: &'static str,
        look: impl FnOnce(&Store) -> sqlite::Found<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.outbox.look(what, self.scope.tenant(), look).await
    }
}

/// A page of what is unrouted.
pub struct CountedGroups {
    pub groups: Vec<GroupStory>,
    /// More groups follow.
    pub has_more: bool,
    /// When it was counted; none: now.
    pub counted_at: Option<UnixMillis>,
}

impl Outbox {
    /// Runs a query that may take long, on a connection and a thread of its own, for a tenant or for operators. `what` as in
    /// [`Outbox::ask`].
    pub(in crate::outbox) async fn look<T: Send + 'static>(
        &self,
        what: &'static str,
        tenant: Option<&Tenant>,
        look: impl FnOnce(&Store) -> sqlite::Found<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        // Released by the thread, also if the caller stops waiting.
        let place = self.looks.place(tenant).await.ok_or(StoreFault::Closed)?;
        let directory = self.config.directory.clone();
        let looking = move || {
            let looked = sqlite::read(&directory, look);
            drop(place);
            looked
        };
        self.looked(what, background::run(looking).await.ok_or(StoreFault::Closed)?)
    }
}

/// How many long looks through the store go on at once; others wait. A tenant has one at a time, also in the queue of
/// those that wait, and one place is kept for operators.
pub struct Looks {
    /// For everybody.
    shared: Arc<Semaphore>,
    operators: Arc<Semaphore>,
    /// Of tenants whose looks go on or wait.
    tenants: Mutex<HashMap<Tenant, Arc<Semaphore>>>,
}

/// Looks at once, beside that of an operator.
const LOOKS: usize = 1;

/// Tenants whose looks are told apart: as many as can ask at once, since each that waits is a request of the API.
const TENANTS: usize = 256;

/// The place of a look, until it is dropped.
struct LookPlace {
    _place: OwnedSemaphorePermit,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Default for Looks {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { shared: places(LOOKS), operators: places(1), tenants: Mutex::default() }
    }
}

impl Looks {
    /// Waits for a place; none: the store is closed.
    async fn place(&self, tenant: Option<&Tenant>) -> Option<LookPlace> {
        let shared = || Arc::clone(&self.shared).acquire_owned();
        let Some(tenant) = tenant else {
            let place = tokio::select! {
                biased;
                place = Arc::clone(&self.operators).acquire_owned() => place,
                place = shared() => place,
            };
            return Some(LookPlace { _place: place.ok()?, _turn: None });
        };
        let turn = self.turns(tenant).acquire_owned().await.ok()?;
        Some(LookPlace { _place: shared().await.ok()?, _turn: Some(turn) })
    }

    /// Where the looks of a tenant wait for each other.
    fn turns(&self, tenant: &Tenant) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS {
            // Who holds or awaits a turn has a share of its semaphore.
            tenants.retain(|_, turns| Arc::strong_count(turns) > 1);
        }
        if tenants.len() >= TENANTS && !tenants.contains_key(tenant) {
            return Arc::new(Semaphore::new(1));
        }
        Arc::clone(tenants.entry(tenant.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_tenant_has_one_look_at_a_time_and_operators_always_have_a_place() {
        let (looks, context) = (Looks::default(), &mut Context::from_waker(Waker::noop()));
        let [acme, globex] = ["acme", "globex"].map(|name| Tenant::new(name).expect("a name"));
        let mut first = pin!(looks.place(Some(&acme)));
        let Poll::Ready(first) = first.as_mut().poll(context) else { panic!("a place is free") };
        let (mut second, mut other) = (pin!(looks.place(Some(&acme))), pin!(looks.place(Some(&globex))));
        assert!(second.as_mut().poll(context).is_pending() && other.as_mut().poll(context).is_pending());
        let Poll::Ready(operators) = pin!(looks.place(None)).poll(context) else { panic!("one is kept") };
        assert!(pin!(looks.place(None)).poll(context).is_pending());
        drop(first);
        // The other tenant waits behind one look of the first, not behind all.
        let Poll::Ready(other) = other.as_mut().poll(context) else { panic!("it is next") };
        assert!(second.as_mut().poll(context).is_pending());
        drop((other, operators));
        assert!(second.as_mut().poll(context).is_ready() && pin!(looks.place(None)).poll(context).is_ready());
    }

    #[test]
    fn tenants_that_do_not_look_are_forgotten() {
        let looks = Looks::default();
        let held = looks.turns(&Tenant::new("held").expect("a name"));
        for n in 0..TENANTS * 3 {
            drop(looks.turns(&Tenant::new(&format!("t{n}")).expect("a name")));
        }
        let again = looks.turns(&Tenant::new("held").expect("a name"));
        assert!(Arc::ptr_eq(&held, &again));
        assert!(looks.tenants.lock().expect("unlocked").len() <= TENANTS);
    }
}
