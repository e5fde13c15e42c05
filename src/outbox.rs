//! What survives a crash: every acknowledged event, and what became of it.
//!
//! Deciding and storing are one step, in order of arrival: [`queue`] decides batches with [`crate::calls`], an
//! [`engine`] stores the changes, and only then are the requests answered and the deliveries handed on. So no
//! decision can disagree with the rows, whatever crashes when.

pub mod bench;
mod engine;
mod keep;
mod last_good;
mod preview;
mod queue;
mod sqlite;
mod start;
mod table;
#[cfg(test)]
mod take_over_tests;
mod upkeep;
mod views;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use self::engine::{FaultKind, StoreFault};
pub use self::keep::Keeping;
pub use self::last_good::LastGood;
pub use self::preview::{EditPreview, FileEdit, FileTable, PastCalls};
pub use self::queue::Full;
pub use self::sqlite::care;
pub use self::sqlite::views::{
    CallFilter, ChangeFilter, DeliveryFilter, KeptFilter, LetterFilter, ReplayPlan, UnroutedFilter,
    UsageFilter,
};
pub use self::sqlite::{Complete, InheritedPage, PendingDelivery, Retention};
pub use self::start::{Hooks, OpenedStore};
pub use self::table::{AuditOf, Carried, last_good_table};
pub use self::views::{CountedGroups, ScopedView, Views, registered_hooks};
pub use crate::calls::{
    AuditEntry, AuditRecord, Fate, GivenUp, KeptBody, Next, Post, Ready, Receipt, Received, Released,
    Settlement,
};
pub use crate::registry::{ChangedHook, Difference, PausedBy};

use self::queue::{Queue, QueueConfig, Task};
use self::sqlite::{Reader, Snapshot};
use self::start::Introduced;
use self::views::{Looks, UnroutedCounts};
use crate::calls::{DamagedRow, Order, Outcome, SealedRoom, Walked};
use crate::hooks::HookTable;
use crate::ids::{DeliveryId, HookId};
use crate::registry::{Pause, QuerySealer, Registry, Seals};
use crate::signature::MasterSecret;
use crate::telemetry::{Health, Metrics, TenantTraffic};
use crate::time::{Clock, UnixMillis};
use crate::wire::LiveKind;

/// How the outbox is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub directory: PathBuf,
    /// Whether `sip.h.to` may stand in for `sip.h.x-to-ip`.
    pub to_fallback: bool,
    /// An event waits at most this long for its call to be bound.
    pub hold: Duration,
    /// A request waits at most this long for its event to be stored.
    pub patience: Duration,
    /// Bytes of events that may wait for the store.
    pub memory_room: usize,
    /// What is kept.
    pub retention: Retention,
}

/// The store of events and deliveries.
pub struct Outbox {
    queue: Arc<Queue>,
    reader: Reader,
    /// For what deciding needs while the writer is busy: no list may keep it waiting.
    lookups: Reader,
    clock: Clock,
    config: Config,
    master: MasterSecret,
    seals: Arc<Seals>,
    /// Bytes of sealed bodies that wait for the store.
    sealed: SealedRoom,
    /// What was pending at the start, until the dispatcher takes it over.
    inherited: Mutex<Option<Snapshot>>,
    /// How far the sweeper's walks have come.
    walked: Mutex<Walked>,
    /// What edits of the hook table are planned from; locked until each is in force.
    registry: tokio::sync::Mutex<Registry>,
    /// See [`Self::taken_over`].
    taken_over: watch::Sender<bool>,
    writer_ended: watch::Receiver<bool>,
    looks: Looks,
    counts: UnroutedCounts,
}

/// Deliveries in one page of what is taken over at the start, and pages that may wait: fresh events wait for one page
/// at most.
const PAGE: usize = 2048;
const PAGES: usize = 2;

/// A disk that is silent must not end the looking after its files.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

impl Outbox {
    /// Opens the store and begins with it.
    #[cfg(test)]
    pub fn open(
        config: Config,
        hooks: Hooks,
        master: MasterSecret,
        clock: Clock,
        health: Arc<Health>,
        traffic: Arc<TenantTraffic>,
    ) -> Result<Self, StoreFault> {
        let store = OpenedStore::open(&config.directory, clock.unix())?;
        Self::begin(store, config, hooks, (master, clock), health, traffic)
    }

    /// Makes the hooks known to an open store and starts its threads. If it cannot be written, the router starts in memory
    /// mode.
    ///
    /// # Errors
    /// [`StoreFault`] when the store does not take the hooks for a reason that does not end by itself, or the system gives
    /// no thread.
    pub fn begin(
        store: OpenedStore,
        config: Config,
        hooks: Hooks,
        (master, clock): (MasterSecret, Clock),
        health: Arc<Health>,
        traffic: Arc<TenantTraffic>,
    ) -> Result<Self, StoreFault> {
        let OpenedStore { mut engine, fault, lost, hooks: stored, known, busiest, damaged, revocations: _ } =
            store;
        start::tell_lost(lost, &health);
        start::tell_damaged(&damaged, &health);
        traffic.name(&busiest);
        engine.show_usage(traffic);
        let seals = Arc::new(Seals::new(&master));
        engine.seal_queries(QuerySealer::new(&master).into());
        let introduced = start::introduce(&config.directory, stored, hooks, &master, clock.unix());
        let Introduced { table, registry, orders } = introduced;
        start::tell_unreadable(&table, &health);
        let reader = Reader::start(&config.directory)?;
        let lookups = Reader::start(&config.directory)?;
        let limits = QueueConfig {
            patience: config.patience,
            memory_room: config.memory_room,
            database: sqlite::database(&config.directory),
        };
        let queue = Queue::new(limits, (table, config.to_fallback), known, health, clock.clone());
        queue.begin(orders, &mut engine, fault)?;
        // The snapshot is opened before an event is written: later deliveries go to the dispatcher by the feed. What
        // cannot be read now is read again later.
        let inherited = Mutex::new(Snapshot::open(&config.directory).ok());
        let queue = Arc::new(queue);
        let writer_ended = queue::start(Arc::clone(&queue), Box::new(engine))?;
        Ok(Self {
            queue,
            reader,
            lookups,
            clock,
            config,
            seals,
            sealed: SealedRoom::default(),
            master,
            inherited,
            walked: Mutex::default(),
            registry: tokio::sync::Mutex::new(registry),
            taken_over: watch::Sender::new(false),
            writer_ended,
            looks: Looks::default(),
            counts: UnroutedCounts::default(),
        })
    }

    /// The hooks in force.
    pub fn table(&self) -> Arc<HookTable> {
        self.queue.table.load_full()
    }

    /// Whether events cannot be acknowledged: the memory queue has no room left, or the store is at
    /// its limit.
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Whether the store takes nothing at the moment: events are acknowledged from memory.
    pub fn is_away(&self) -> bool {
        self.queue.is_away()
    }

    /// How many acknowledged events are not stored yet.
    pub fn unwritten(&self) -> usize {
        self.queue.unwritten()
    }

    /// Decides and stores an event; returns once it is durable, or in memory if the store does not take it in
    /// time.
    ///
    /// # Errors
    /// [`Full`] when there is room nowhere.
    pub async fn append(&self, post: Post) -> Result<Receipt, Full> {
        let read = |keys| {
            let seals = Arc::clone(&self.seals);
            self.lookups.call(move |store| sqlite::load(store, &keys, &seals.queries))
        };
        self.queue.append(post, read).await
    }

    /// Records what an attempt came to. Durable soon, not at once: at worst it is repeated.
    pub fn settle(&self, settlement: Settlement) {
        self.queue.settle(settlement);
    }

    /// Makes a pending delivery a dead letter without another attempt.
    pub fn give_up(&self, given_up: GivenUp) {
        self.queue.inbox.task(Task::Order(Order::GiveUp(given_up), None));
    }

    /// Stops deliveries to a hook until it is resumed.
    pub fn pause(&self, hook: HookId, at: UnixMillis, by: PausedBy) {
        self.queue.inbox.task(Task::Order(Order::Pause { hook, at, by }, None));
    }

    /// Ends a pause.
    pub fn resume(&self, hook: HookId, at: UnixMillis) {
        self.queue.inbox.task(Task::Order(Order::Resume { hook, at }, None));
    }

    /// Milliseconds a hook has been paused in all, until `now`.
    pub fn paused_ms(&self, hook: HookId, now: UnixMillis) -> i64 {
        self.queue.paused_ms(hook, now)
    }

    /// A hook's pause.
    pub fn pause_of(&self, hook: HookId) -> Pause {
        self.queue.pauses().of(hook)
    }

    /// The hooks that are paused.
    pub fn paused(&self) -> Vec<HookId> {
        self.queue.paused()
    }

    /// Waits for deliveries to make.
    pub async fn news(&self) -> Vec<Ready> {
        self.queue.feed.next().await
    }

    /// Deliveries to make that wait, if there are some.
    pub fn waiting_news(&self) -> Vec<Ready> {
        self.queue.feed.take()
    }

    /// What was pending when the store was opened, page by page: one snapshot. After a fault it can be called again:
    /// then it reads a new snapshot, which has later deliveries, too.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn inherited(&self) -> Result<mpsc::Receiver<Result<InheritedPage, StoreFault>>, StoreFault> {
        let opened = self.inherited.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut snapshot = opened.map_or_else(|| Snapshot::open(&self.config.directory), Ok)?;
        let (pages, received) = mpsc::channel(PAGES);
        let health = Arc::clone(&self.queue.health);
        let read = move || {
            while let Some(page) = snapshot.page(PAGE).transpose() {
                let is_fault = page.is_err();
                note(&health, "deliveries that wait", &page);
                page.iter().for_each(|page| health.damaged(&page.damaged));
                if pages.blocking_send(page).is_err() || is_fault {
                    return;
                }
            }
        };
        // The thread ends with the snapshot, or when the receiver is dropped, so it is not joined.
        std::thread::Builder::new().name("outbox-inherited".into()).spawn(read)?;
        Ok(received)
    }

    /// Waits for decisions, and sends each to the request that waits for it in [`Self::append`]. Returns those without one:
    /// their requests were answered before, or cancelled. One task calls this in a loop: without it `append` does not
    /// return.
    pub async fn answer(&self) -> Vec<Receipt> {
        self.queue.answer().await
    }

    /// A delivery that is to be tried, with its body.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(&self, id: DeliveryId) -> Result<PendingDelivery, StoreFault> {
        if let Some(delivery) = self.queue.unwritten_delivery(id) {
            return Ok(PendingDelivery::Whole(delivery));
        }
        let (table, seals) = (self.table(), Arc::clone(&self.seals));
        let (found, put_right) = self
            .ask("deliveries that are due", move |store| sqlite::pending_delivery(store, &table, &seals, id))
            .await?;
        if put_right.is_some() || matches!(found, PendingDelivery::Damaged(_)) {
            self.queue.health.damaged(&[DamagedRow::new("events", &id.0)]);
        }
        // Queued before the attempt's result, which changes the row's sum from this state.
        put_right
            .into_iter()
            .for_each(|put_right| self.queue.inbox.task(Task::Order(Order::PutRight(put_right), None)));
        Ok(found)
    }

    /// What a query finds, `what` in words for operators. That it cannot be read is said in `/readyz`, while events are
    /// stored.
    async fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        query: impl FnOnce(&sqlite::Store) -> sqlite::Found<T> + Send + 'static,
    ) -> Result<T, StoreFault> {
        self.looked(what, self.reader.call(query).await)
    }

    /// Notes whether something could be read.
    fn looked<T>(&self, what: &'static str, found: Result<T, StoreFault>) -> Result<T, StoreFault> {
        note(&self.queue.health, what, &found);
        found
    }

    /// Has the writer carry out an order; returns when it is stored.
    async fn order(&self, order: Order) -> Result<Outcome, StoreFault> {
        let (reply, outcome) = oneshot::channel();
        self.queue.inbox.task(Task::Order(order, Some(reply)));
        outcome.await.map_err(|_| if self.is_away() { StoreFault::Away } else { StoreFault::Closed })
    }

    /// The same for what an operator asks for: refused while the store is away.
    async fn request(&self, order: Order) -> Result<Outcome, StoreFault> {
        if self.is_away() {
            return Err(StoreFault::Away);
        }
        self.order(order).await
    }

    /// Ends when the writer has ended, for whatever reason.
    pub async fn writer_ended(&self) {
        let _ = self.writer_ended.clone().wait_for(|ended| *ended).await;
    }

    /// Has the writer look whether the database's files are still in their place, as after each commit, and the
    /// look-ups open what it writes to.
    pub async fn look_after_files(&self) {
        self.queue.inbox.nudge();
        // Seldom asked: without this, it could not read what is removed before it is asked.
        let _ = self.clock.timeout(LOOK_WITHIN, self.lookups.call(|_| Ok(()))).await;
    }

    /// Writes what is left and ends the writer.
    pub fn close(&self) {
        self.queue.inbox.close();
    }
}

/// Notes whether something of the store could be read; not while a fault says nothing about that.
fn note<T>(health: &Health, what: &'static str, found: &Result<T, StoreFault>) {
    match found {
        Ok(_) => health.looked(what, None),
        Err(fault) => {
            let kind = fault.kind().map(|kind| (kind, fault as &dyn std::fmt::Display));
            kind.into_iter().for_each(|kind| health.looked(what, Some(kind)));
        }
    }
}

/// Logs and counts a released event, and sends it to those who watch: [`LiveKind::Released`] with its call, or
/// [`LiveKind::Replayed`].
pub fn report_released(released: &Released, metrics: &Metrics, what: LiveKind) {
    // A replayed event did not wait for its call.
    let held_ms = (what == LiveKind::Released).then_some(released.held_ms);
    metrics.routed(released.rule);
    metrics.live.released(released, what);
    if let Some(at) = released.ready.fresh.as_ref().and_then(|delivery| delivery.freed_at) {
        metrics.hour.released(at, &released.tenant);
    }
    tracing::info!(
        event_id = released.event_id.as_str(),
        event = &*released.event,
        call = released.call.as_deref(),
        tenant = released.tenant.as_str(),
        rule = released.rule.as_str(),
        sequence = released.sequence,
        held_ms,
        "{}",
        what.as_str()
    );
}
