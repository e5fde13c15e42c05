//! The one thread that writes. It decides and stores in one transaction, in order of arrival, and
//! tells the world only after the commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;

use super::append;
use super::bodies::Bodies;
use super::feed::{News, Ready};
use super::inbox::{Append, Batch, Standing, lock};
use super::numbering::Numbering;
use super::numbers::Numbers;
use super::registry::{Change, Pause};
use super::rows::{self, Revived};
use super::{Fate, Order, Receipt, Shared, StoreFault};
use crate::ids::HookId;
use crate::telemetry::Degradation;
use crate::time::UnixMillis;

/// A store that refused is asked again this often.
const RETRY: Duration = Duration::from_millis(250);

/// After the inbox is closed, a store that refuses is asked so often (4 s).
const LAST_TRIES: u32 = 16;

/// What the writer remembers of the store, so that it need not read it. It follows the commits.
pub struct Memory {
    pub numbering: Numbering,
    pub bodies: Bodies,
    pub numbers: Numbers,
}

impl Memory {
    /// What the last run left.
    pub fn recover(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            numbering: Numbering::recover(connection)?,
            bodies: Bodies::recover(connection)?,
            numbers: Numbers::recover(connection)?,
        })
    }

    fn commit(&mut self) {
        self.numbering.commit();
        self.bodies.commit();
        self.numbers.commit();
    }

    fn roll_back(&mut self) {
        self.numbering.roll_back();
        self.bodies.roll_back();
        self.numbers.roll_back();
    }
}

/// Starts the thread. What it returns turns true when it has ended, so nobody needs to join it.
pub fn start(
    shared: Arc<Shared>,
    connection: Connection,
    memory: Memory,
) -> Result<watch::Receiver<bool>, StoreFault> {
    let (gone, writer_gone) = watch::channel(false);
    let work = move || {
        // Dropped with the thread, also when it panics.
        let farewell = Farewell { gone, shared };
        run(&farewell.shared, &connection, memory);
    };
    std::thread::Builder::new().name("outbox-writer".into()).spawn(work)?;
    Ok(writer_gone)
}

/// Says so when it goes.
struct Farewell {
    gone: watch::Sender<bool>,
    shared: Arc<Shared>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.shared.inbox.end();
        self.gone.send_replace(true);
    }
}

/// Runs until the inbox is closed and empty.
fn run(shared: &Shared, connection: &Connection, mut memory: Memory) {
    let mut last_tries = LAST_TRIES;
    while let Some(batch) = shared.inbox.take() {
        let written = write(shared, connection, &mut memory, &batch);
        match written {
            Ok(written) => {
                memory.commit();
                lock(&shared.calls).commit();
                shared.health.clear(Degradation::Store);
                let reloads = batch.orders.iter().any(|order| matches!(order, Order::Hooks(_)));
                publish(shared, batch, written);
                if reloads {
                    // A large table touches many pages: copied back in small steps, or the next
                    // event that fills the log would wait for all of them. A step that fails is the
                    // next one's.
                    let _ = connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
                }
            }
            Err(error) => {
                memory.roll_back();
                lock(&shared.calls).roll_back();
                if shared.health.raise(Degradation::Store) {
                    tracing::error!(%error, "the store does not take events; serving from memory");
                }
                let waiting = batch.appends.len();
                if shared.inbox.put_back(batch, RETRY) {
                    last_tries -= 1;
                    if last_tries == 0 {
                        tracing::error!(%error, events = waiting, "stopped before the store came back");
                        return;
                    }
                }
            }
        }
    }
    // A last checkpoint makes the next start quick; the log alone would do as well.
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

/// What one transaction came to.
struct Written {
    /// One for each append, none where it was withdrawn.
    receipts: Vec<Option<Receipt>>,
    /// What each order brought to life.
    revived: Vec<Revived>,
}

/// Decides and stores a batch in one transaction.
fn write(
    shared: &Shared,
    connection: &Connection,
    memory: &mut Memory,
    batch: &Batch,
) -> rusqlite::Result<Written> {
    let transaction = Transaction::begin(connection)?;
    let mut receipts = Vec::with_capacity(batch.appends.len());
    for append in &batch.appends {
        // Asked before the store is: whoever gives up waiting must not wait for this lock.
        let withdrawn = matches!(*append.standing(), Standing::Withdrawn);
        receipts.push(if withdrawn {
            None
        } else {
            Some(append::append(shared, connection, memory, &append.post)?)
        });
    }
    let mut revived = Vec::with_capacity(batch.orders.len());
    for order in &batch.orders {
        revived.push(rows::obey(shared, connection, memory, order)?);
    }
    transaction.commit()?;
    Ok(Written { receipts, revived })
}

/// A transaction whose statements are prepared once; rolled back unless committed.
struct Transaction<'c>(Option<&'c Connection>);

impl<'c> Transaction<'c> {
    fn begin(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(Some(connection)))
    }

    fn commit(mut self) -> rusqlite::Result<()> {
        let Some(connection) = self.0 else { return Ok(()) };
        connection.prepare_cached("COMMIT")?.execute([])?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            // Some faults have rolled back already.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
}

pub fn paused_ms(shared: &Shared, hook: HookId, now: UnixMillis) -> i64 {
    lock(&shared.pauses).get(&hook).map_or(0, |pause| pause.total(now))
}

/// After the commit: answers the requests, feeds the dispatcher, keeps memory in step.
fn publish(shared: &Shared, batch: Batch, written: Written) {
    let Written { receipts, revived } = written;
    let mut news = Vec::with_capacity(receipts.len());
    for (append, receipt) in batch.appends.iter().zip(receipts) {
        if let Some(receipt) = receipt {
            announce(shared, append, receipt, &mut news);
        }
    }
    if !news.is_empty() {
        shared.feed.push(news);
    }
    for (order, revived) in batch.orders.into_iter().zip(revived) {
        match order {
            Order::Replay(_, _, done) => {
                // Whoever asked may have gone; the deliveries are made all the same.
                let _ = done.send(revived.ready.len());
                shared.feed.push(revived.ready.into_iter().map(News::Ready));
            }
            Order::Reroute(_, _, done) => {
                shared.feed.push(revived.released.iter().map(|released| News::Ready(released.ready.clone())));
                let _ = done.send(revived.released);
            }
            Order::Rotate(_, _, done) => drop(done.send(())),
            Order::Swap(table, done) => {
                // Whoever reloads drops the old table, not this thread.
                let _ = done.send(shared.knowledge.table.swap(table));
            }
            Order::Sweep(sweep) => {
                lock(&shared.calls).forget_those(sweep.ended_calls());
                shared.sweeping.store(false, Ordering::Relaxed);
            }
            Order::Hooks(changes) => {
                if changes.iter().any(Change::moves_calls) {
                    lock(&shared.calls).forget();
                }
            }
            order => remember(&mut lock(&shared.pauses), &order),
        }
    }
}

/// Answers one request and notes what the dispatcher must know of it, in order.
fn announce(shared: &Shared, append: &Append, receipt: Receipt, news: &mut Vec<News>) {
    news.extend(receipt.released.iter().map(|released| News::Ready(released.ready.clone())));
    let delivery = match &receipt.fate {
        Fate::Routed(delivery) => Some(Arc::clone(delivery)),
        Fate::Unrouted(_) | Fate::Duplicate => None,
    };
    // The lock is let go before anybody is woken, or whoever wakes would wait for it.
    let before = std::mem::replace(&mut *append.standing(), Standing::Answered);
    match before {
        Standing::Overdue { id: local, sent: true } => {
            // It is on its way from memory already; from here on the row stands for it.
            let row = delivery.as_ref().map(|delivery| delivery.id);
            shared.unwritten.written(&shared.inbox, local, row);
            news.extend(delivery.map(|delivery| {
                let (row, hook, chain) = (delivery.id, delivery.hook.id, delivery.chain);
                News::Written { id: local, row, hook, chain }
            }));
            return;
        }
        Standing::Overdue { id: local, sent: false } => shared.unwritten.written(&shared.inbox, local, None),
        Standing::Waiting(reply) => {
            // The request gave up in this very moment: the event is stored all the same.
            let _ = reply.send(receipt);
        }
        Standing::Withdrawn | Standing::Answered => {}
    }
    let Some(delivery) = delivery else { return };
    let fresh = shared.fresh.has_room().then(|| Arc::clone(&delivery));
    let (id, hook, chain) = (delivery.id, delivery.hook.id, delivery.chain);
    news.push(News::Ready(Ready { id, hook, chain, due: None, fresh }));
}

/// Pauses, as the store has them now.
fn remember(pauses: &mut HashMap<HookId, Pause>, order: &Order) {
    match order {
        Order::Pause { hook, at, .. } => {
            pauses.entry(*hook).or_default().since.get_or_insert(*at);
        }
        Order::Resume { hook, at } => {
            if let Some(pause) = pauses.get_mut(hook) {
                *pause = Pause { since: None, before_ms: pause.total(*at) };
            }
        }
        _ => {}
    }
}
