//! What survives a crash: every event LiveKit was told is safe, and what became of it.
//!
//! Deciding and storing are one step. Posts queue in order of arrival; one thread reads, routes and
//! stores a batch of them in one transaction, and only after its commit are the requests answered
//! and the deliveries handed on. So no decision can disagree with the rows, whatever crashes when.

mod acknowledge;
mod append;
pub mod bench;
mod bodies;
mod calls;
mod decide;
mod effects;
mod feed;
mod history;
mod inbox;
mod last_good;
mod letters;
mod look;
mod numbering;
mod numbers;
mod pending;
mod reader;
mod registry;
mod rehearsal;
mod reload;
mod replay;
mod reroute;
mod rows;
mod schema;
mod seal;
mod sweep;
mod timeline;
mod unrouted;
mod unwritten;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

pub use self::acknowledge::Full;
pub use self::feed::{News, Ready};
pub use self::inbox::Post;
pub use self::last_good::LastGood;
pub use self::letters::{Filter, Replay, ReplayPlan};
pub use self::numbers::Change as DomainChange;
pub use self::pending::Cursor;
pub use self::registry::{Difference, PausedBy};
pub use self::rehearsal::Rehearsal;
pub use self::reload::{Hooks, last_good_table};
pub use self::sweep::Retention;
use self::sweep::Sweep;
pub use self::timeline::Calls as CallFilter;
pub use self::unrouted::Selection;

use self::calls::Calls;
use self::decide::Knowledge;
use self::feed::Feed;
use self::inbox::{Inbox, lock};
use self::pending::Inherited;
use self::reader::Reader;
use self::registry::{Change, Pause};
use self::unwritten::Unwritten;
use self::writer::Memory;
use crate::delivery::{Attempt, DeadReason, Delivery, Fresh};
use crate::domain::Domain;
use crate::hooks::{HookTable, Tenant};
use crate::ids::{DeliveryId, EventId, HookId};
use crate::route::{Reason, Rule};
use crate::signature::MasterSecret;
use crate::telemetry::{Degradation, Health, Metrics};
use crate::time::{Clock, UnixMillis, millis};

/// How the outbox is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub directory: PathBuf,
    /// Whether `sip.h.to` may stand in for `sip.h.x-to-ip`.
    pub to_fallback: bool,
    /// An event waits at most this long for its call to be bound.
    pub hold: Duration,
    /// An append that takes longer is acknowledged from memory.
    pub append_within: Duration,
    /// Bytes of bodies the memory queue may hold.
    pub memory_room: usize,
    /// What is kept.
    pub retention: Retention,
}

const DATABASE: &str = "switchhook.db";

/// The store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the database has version {0}, made by a newer Switchhook")]
    Version(i64),
    #[error("the text of the hook table is not kept, or another master secret sealed it")]
    Sealed,
    #[error("it is closed")]
    Closed,
    #[error("it does not answer")]
    Slow,
}

/// What became of a posted event.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub event_id: EventId,
    pub event: Box<str>,
    pub room: Option<Box<str>>,
    pub call: Option<Box<str>>,
    pub identity: Option<Box<str>>,
    pub domain: Option<Domain>,
    /// The attribute the domain was read from, or that holds none.
    pub source: Option<&'static str>,
    /// What it holds, if it is no domain.
    pub value: Option<Box<str>>,
    /// From LiveKit's `createdAt` (whole seconds) to its arrival here.
    pub lag_ms: Option<i64>,
    pub fate: Fate,
    /// What waited for its call and is set free by it, in order.
    pub released: Vec<Released>,
    /// Its called number came with another domain than before.
    pub domain_changed: Option<DomainChange>,
    /// The tenant whose participant joined another tenant's call with it.
    pub shared_with: Option<Box<str>>,
    /// Whether it is stored; otherwise it lives in memory until the store is back.
    pub durable: bool,
}

/// An event that waited for its call, and goes now.
#[derive(Clone, Debug)]
pub struct Released {
    pub ready: Ready,
    pub event_id: EventId,
    pub event: Box<str>,
    pub call: Option<Box<str>>,
    pub rule: Rule,
    pub tenant: Tenant,
    pub sequence: i64,
    /// How long it waited.
    pub held_ms: i64,
}

impl Released {
    /// Counts it and says so: `released` with its call, or `replayed`.
    pub fn tell(&self, metrics: &Metrics, what: &'static str) {
        metrics.routed(self.rule);
        tracing::info!(
            event_id = self.event_id.as_str(),
            event = &*self.event,
            call = self.call.as_deref(),
            tenant = self.tenant.as_str(),
            rule = self.rule.as_str(),
            sequence = self.sequence,
            held_ms = self.held_ms,
            "{what}"
        );
    }
}

/// Where an event goes.
#[derive(Clone, Debug)]
pub enum Fate {
    Routed(Arc<Delivery>),
    Unrouted(Reason),
    /// Its id is stored already: acknowledged, changes nothing.
    Duplicate,
}

/// What an attempt changed.
#[derive(Clone, Debug)]
pub struct Settlement {
    pub delivery: DeliveryId,
    pub attempt: Attempt,
    pub next: Next,
}

impl Settlement {
    fn is_final(&self) -> bool {
        !matches!(self.next, Next::Retry { .. })
    }
}

/// What comes after an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    Delivered,
    Retry { due: UnixMillis },
    Dead(DeadReason),
}

/// What the writer is to do besides appending.
#[derive(Debug)]
enum Order {
    Settle(Settlement),
    Pause {
        hook: HookId,
        at: UnixMillis,
        by: PausedBy,
    },
    Resume {
        hook: HookId,
        at: UnixMillis,
    },
    Sweep(Sweep),
    /// Changes of the hook table.
    Hooks(Vec<Change>),
    /// A new table comes into force; whoever asked gets the old one.
    Swap(Arc<HookTable>, oneshot::Sender<Arc<HookTable>>),
    /// Events that have waited for their call long enough.
    Expire(Vec<DeliveryId>),
    /// A tenant's derived secret is renewed.
    Rotate(Tenant, UnixMillis, oneshot::Sender<()>),
    /// Dead letters become pending again; whoever asked learns how many.
    Replay(Vec<Replay>, UnixMillis, oneshot::Sender<usize>),
    /// The unrouted events of these calls (by key) go through routing again; whoever asked learns which
    /// have a hook now.
    Reroute(Vec<String>, UnixMillis, oneshot::Sender<Vec<Released>>),
}

impl Order {
    /// Whether it keeps the writer busy for a while.
    fn is_long(&self) -> bool {
        matches!(self, Self::Hooks(_) | Self::Sweep(_) | Self::Replay(..) | Self::Reroute(..))
    }
}

/// What the writer's thread and everybody else share.
struct Shared {
    inbox: Inbox,
    feed: Feed,
    fresh: Fresh,
    knowledge: Knowledge,
    calls: Mutex<Calls>,
    unwritten: Unwritten,
    pauses: Mutex<HashMap<HookId, Pause>>,
    /// A round of sweeping is on its way to the writer.
    sweeping: AtomicBool,
    health: Arc<Health>,
}

/// The store of events and deliveries.
pub struct Outbox {
    shared: Arc<Shared>,
    reader: Reader,
    clock: Clock,
    config: Config,
    master: MasterSecret,
    /// The rows of the time before this start.
    inherited: Inherited,
    /// How far the sweeper's walk has come.
    walked_to: AtomicI64,
    /// Whether the text of the table in force could be kept.
    kept: Arc<AtomicBool>,
    /// See [`Self::taken_over`].
    taken_over: tokio::sync::watch::Sender<bool>,
    writer_gone: tokio::sync::watch::Receiver<bool>,
    /// How many long looks go on at once.
    looks: Arc<Semaphore>,
}

/// Long looks through the store at once; others wait.
const LOOKS: usize = 2;

impl Outbox {
    /// Opens the store, makes the hooks known to it and starts its threads.
    ///
    /// # Errors
    /// [`StoreFault`] when the database cannot be used.
    pub fn open(
        config: Config,
        hooks: Hooks,
        master: MasterSecret,
        clock: Clock,
        health: Arc<Health>,
    ) -> Result<Self, StoreFault> {
        let path = config.directory.join(DATABASE);
        let mut connection = schema::open_writer(&path)?;
        let (table, kept) =
            reload::introduce(&config.directory, &mut connection, hooks, &master, clock.unix())?;
        let kept = Arc::new(AtomicBool::new(kept));
        let inherited = pending::inherited(&connection)?;
        let memory = Memory::recover(&connection)?;
        let reader = Reader::start(schema::open_reader(&path)?)?;
        let pauses = Mutex::new(registry::pauses(&connection)?);
        let knowledge = Knowledge { table: ArcSwap::from_pointee(table), to_fallback: config.to_fallback };
        let shared = Arc::new(Shared {
            inbox: Inbox::default(),
            feed: Feed::default(),
            fresh: Fresh::default(),
            knowledge,
            calls: Mutex::default(),
            unwritten: Unwritten::new(config.memory_room),
            pauses,
            sweeping: AtomicBool::new(false),
            health,
        });
        let writer_gone = writer::start(Arc::clone(&shared), connection, memory)?;
        let walked_to = AtomicI64::new(0);
        let taken_over = tokio::sync::watch::Sender::new(false);
        Ok(Self {
            shared,
            reader,
            clock,
            config,
            master,
            inherited,
            walked_to,
            kept,
            taken_over,
            writer_gone,
            looks: Arc::new(Semaphore::new(LOOKS)),
        })
    }

    /// The hooks in force.
    pub fn table(&self) -> Arc<HookTable> {
        self.shared.knowledge.table.load_full()
    }

    /// Whether events cannot be acknowledged: the memory queue has no room left, or the store is at
    /// its limit.
    pub fn is_full(&self) -> bool {
        self.shared.unwritten.is_full() || self.shared.health.is_on(Degradation::Full)
    }

    /// How many acknowledged events are not stored yet.
    pub fn unwritten(&self) -> usize {
        self.shared.unwritten.len()
    }

    /// A delivery that was in memory only goes by its row from here on.
    pub fn renamed(&self, id: DeliveryId) {
        self.shared.unwritten.forget(id);
    }

    /// Records what an attempt came to. Durable soon, not at once: at worst it is repeated.
    pub fn settle(&self, settlement: Settlement) {
        self.shared.unwritten.settle(&self.shared.inbox, settlement);
    }

    /// Stops deliveries to a hook until it is resumed.
    pub fn pause(&self, hook: HookId, at: UnixMillis, by: PausedBy) {
        self.shared.inbox.order(Order::Pause { hook, at, by });
    }

    /// Ends a pause.
    pub fn resume(&self, hook: HookId, at: UnixMillis) {
        self.shared.inbox.order(Order::Resume { hook, at });
    }

    /// Milliseconds a hook has been paused in all, until `now`.
    pub fn paused_ms(&self, hook: HookId, now: UnixMillis) -> i64 {
        writer::paused_ms(&self.shared, hook, now)
    }

    /// The hooks that are paused.
    pub fn paused(&self) -> Vec<HookId> {
        let pauses = lock(&self.shared.pauses);
        pauses.iter().filter(|(_, pause)| pause.since.is_some()).map(|(hook, _)| *hook).collect()
    }

    /// Waits for deliveries to make.
    pub async fn news(&self) -> Vec<News> {
        self.shared.feed.next().await
    }

    /// A page of what was pending at the start, and where the next one begins.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn inherited(&self, cursor: Cursor) -> Result<(Vec<Ready>, Cursor), StoreFault> {
        const PAGE: usize = 8192;
        let inherited = self.inherited;
        self.reader.call(move |connection| pending::page(connection, cursor, inherited, PAGE)).await
    }

    /// A pending delivery with its body; none if it is no longer pending.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreFault> {
        let Some(row) = self.shared.unwritten.row(id) else { return Ok(None) };
        let table = self.table();
        let read = move |connection: &Connection| history::delivery(connection, &table, row);
        let found = self.reader.call(read).await?;
        // It keeps the id the dispatcher knows it by.
        Ok(found.map(|delivery| Delivery { id, ..delivery }))
    }

    /// Ends the wait of events that were held for the whole of `hold`; how many.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn expire_held(&self) -> Result<usize, StoreFault> {
        const ROUND: usize = 2000;
        let before = UnixMillis(self.clock.unix().0.saturating_sub(millis(self.config.hold)));
        let overdue = self.reader.call(move |connection| append::overdue(connection, before, ROUND)).await?;
        let count = overdue.len();
        if count > 0 {
            self.shared.inbox.order(Order::Expire(overdue));
        }
        Ok(count)
    }

    /// Removes what is past its time; true if there is likely more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn sweep(&self) -> Result<bool, StoreFault> {
        // One round at a time, and none that could not be carried out.
        let away = self.shared.health.is_on(Degradation::Store);
        if away || self.shared.sweeping.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let (retention, now) = (self.config.retention, self.clock.unix());
        let from = self.walked_to.load(Ordering::Relaxed);
        let plan = self.reader.call(move |connection| Sweep::plan(connection, &retention, now, from)).await?;
        self.walked_to.store(plan.walked_to(), Ordering::Relaxed);
        let more = plan.is_full();
        if plan.is_exhausted() {
            if self.shared.health.raise(Degradation::Full) {
                tracing::error!(
                    "the store is at its limit and all of it is pending: events are refused with 503"
                );
            }
        } else {
            self.shared.health.clear(Degradation::Full);
        }
        if !plan.is_empty() {
            self.shared.sweeping.store(true, Ordering::Relaxed);
            self.shared.inbox.order(Order::Sweep(plan));
        }
        Ok(more)
    }

    /// Ends when the writer has ended, for whatever reason.
    pub async fn writer_ended(&self) {
        let _ = self.writer_gone.clone().wait_for(|gone| *gone).await;
    }

    /// Writes what is left and ends the writer.
    pub fn close(&self) {
        self.shared.inbox.close();
    }
}
