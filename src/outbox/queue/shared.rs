//! What the writer's thread and the requests share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::backlog::Backlog;
use super::feed::{AwaitedReceipt, Feed};
use super::inbox::{Inbox, Task};
use super::lock::lock;
use super::room::{MemoryRoom, UnwrittenDeliveries};
use super::waits::Waits;
use crate::calls::{Change, Ground, Known, Next, Order, Ready, Settlement};
use crate::delivery::{Delivery, Fresh};
use crate::hooks::HookTable;
use crate::ids::{DeliveryId, HookId};
use crate::outbox::engine::{Engine, StoreFault};
use crate::registry::Pauses;
use crate::telemetry::{Degradation, Health};
use crate::time::{Clock, UnixMillis};

/// How the queue is set up.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// A request waits at most this long for a commit.
    pub patience: Duration,
    /// Bytes that may wait for the store.
    pub memory_room: usize,
    /// The store's file, for the log.
    pub database: PathBuf,
}

/// What the writer's thread and the requests share.
pub struct Queue {
    pub inbox: Inbox,
    /// Locked before the inbox, never during IO.
    pub(super) backlog: Mutex<Backlog>,
    /// To the dispatcher.
    pub feed: Feed<Ready>,
    /// To the task that answers: see [`Self::answer`].
    pub(super) answers: Feed<AwaitedReceipt>,
    pub(super) fresh: Fresh,
    /// Read without locks, replaced whole.
    pub table: ArcSwap<HookTable>,
    pub to_fallback: bool,
    pub(super) pauses: ArcSwap<Pauses>,
    pub(super) unwritten: UnwrittenDeliveries,
    pub(super) room: MemoryRoom,
    /// The store takes nothing: events are acknowledged from memory.
    pub(super) away: AtomicBool,
    pub(super) waits: Waits,
    /// Held by the request that decides for all that wait.
    pub(super) turn: tokio::sync::Mutex<()>,
    pub(super) patience: Duration,
    /// The store's file, for the log.
    pub(super) database: PathBuf,
    pub health: Arc<Health>,
    pub(super) clock: Clock,
}

impl Queue {
    /// An empty queue. `known`: what deciding knows at the start.
    pub fn new(
        config: QueueConfig,
        (table, to_fallback): (HookTable, bool),
        known: Known,
        health: Arc<Health>,
        clock: Clock,
    ) -> Self {
        let pauses = ArcSwap::from_pointee(known.pauses.clone());
        Self {
            inbox: Inbox::default(),
            backlog: Mutex::new(Backlog::new(known)),
            feed: Feed::default(),
            answers: Feed::default(),
            fresh: Fresh::default(),
            table: ArcSwap::from_pointee(table),
            to_fallback,
            pauses,
            unwritten: UnwrittenDeliveries::default(),
            room: MemoryRoom::new(config.memory_room),
            away: AtomicBool::new(false),
            waits: Waits::default(),
            turn: tokio::sync::Mutex::new(()),
            patience: config.patience,
            database: config.database,
            health,
            clock,
        }
    }

    /// Decides what a start orders, as the first batch, and stores it. If the store takes nothing now, or is known by
    /// `fault` to take nothing, the batch waits and memory mode begins.
    ///
    /// # Errors
    /// [`StoreFault`] when the store takes nothing for a reason that does not end by itself.
    pub fn begin(
        &self,
        orders: Vec<Order>,
        engine: &mut dyn Engine,
        fault: Option<StoreFault>,
    ) -> Result<(), StoreFault> {
        let table = self.table.load_full();
        let mut backlog = self.backlog();
        let orders = orders.into_iter().map(|order| (order, None)).collect();
        backlog.decide_first(&self.ground(&table), orders, 0);
        self.share_pauses(&backlog);
        let changes = backlog.to_write();
        drop(backlog);
        let slices: Vec<&[Change]> = changes.iter().map(|changes| &changes[..]).collect();
        let fault = fault.or_else(|| engine.commit(&slices).err());
        let mut backlog = self.backlog();
        match fault {
            None => self.written(&mut backlog, changes.len()),
            Some(fault) if fault.may_end() => {
                self.store_fails(&fault);
                self.open_memory_mode(&mut backlog);
            }
            Some(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Whether the store takes nothing at the moment.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    /// Whether the next event is likely to be refused.
    pub fn is_full(&self) -> bool {
        self.room.is_full() || self.health.is_on(Degradation::Full)
    }

    /// How many acknowledged events are not stored yet.
    pub fn unwritten(&self) -> usize {
        self.backlog().acknowledged
    }

    /// Whether something would be lost if nothing were written any more.
    pub(super) fn would_lose(&self) -> bool {
        self.backlog().would_lose() || !self.inbox.is_empty()
    }

    /// A delivery that is not written yet.
    pub fn unwritten_delivery(&self, id: DeliveryId) -> Option<Arc<Delivery>> {
        self.unwritten.find(id)
    }

    /// Milliseconds a hook has been paused in all, until `now`.
    pub fn paused_ms(&self, hook: HookId, now: UnixMillis) -> i64 {
        self.pauses.load().total_ms(hook, now)
    }

    /// The hooks that are or were paused.
    pub fn pauses(&self) -> Arc<Pauses> {
        self.pauses.load_full()
    }

    /// The hooks that are paused.
    pub fn paused(&self) -> Vec<HookId> {
        self.pauses.load().paused()
    }

    /// Queues what an attempt came to.
    pub fn settle(&self, settlement: Settlement) {
        // Delivered before it is written: both are written at once, and the body is needed no more.
        if settlement.next == Next::Delivered
            && self.unwritten.find(settlement.delivery).is_some()
            && let Some(freed) = self.backlog().settle(&settlement)
        {
            self.unwritten.remove(settlement.delivery);
            self.room.release(freed);
            return;
        }
        self.inbox.task(Task::Order(Order::Settle(settlement), None));
    }

    pub(super) fn backlog(&self) -> MutexGuard<'_, Backlog> {
        lock(&self.backlog)
    }

    /// Decides by the table in force.
    pub(super) fn ground<'a>(&'a self, table: &'a HookTable) -> Ground<'a> {
        Ground { table, to_fallback: self.to_fallback, fresh: &self.fresh }
    }
}
