//! The one thread that writes. It decides and stores in one transaction, in order of arrival, and
//! tells the world only after the commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::Connection;

use super::decide::Decision;
use super::feed::{News, Ready};
use super::inbox::{Append, Batch, Standing, lock};
use super::numbering::Numbering;
use super::registry::Pause;
use super::rows::{self, NewDelivery, NewEvent};
use super::{Fate, Order, Receipt, Shared};
use crate::domain::Domain;
use crate::ids::HookId;
use crate::route::Reason;
use crate::telemetry::Degradation;
use crate::time::UnixMillis;

/// A store that refused is asked again this often.
const RETRY: Duration = Duration::from_millis(250);

/// After the inbox is closed, a store that refuses is asked so often (4 s).
const LAST_TRIES: u32 = 16;

/// Runs until the inbox is closed and empty.
pub fn run(shared: &Shared, connection: &Connection, mut numbering: Numbering) {
    let mut last_tries = LAST_TRIES;
    while let Some(batch) = shared.inbox.take() {
        let written = write(shared, connection, &mut numbering, &batch);
        match written {
            Ok(written) => {
                numbering.commit();
                shared.health.clear(Degradation::Store);
                publish(shared, batch, written);
            }
            Err(error) => {
                numbering.roll_back();
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
    /// What each order made pending again.
    revived: Vec<Vec<Ready>>,
}

/// Decides and stores a batch in one transaction.
fn write(
    shared: &Shared,
    connection: &Connection,
    numbering: &mut Numbering,
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
            Some(append_one(shared, connection, numbering, append)?)
        });
    }
    let mut revived = Vec::with_capacity(batch.orders.len());
    for order in &batch.orders {
        revived.push(rows::obey(connection, numbering, order)?);
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

fn append_one(
    shared: &Shared,
    connection: &Connection,
    numbering: &mut Numbering,
    append: &Append,
) -> rusqlite::Result<Receipt> {
    let decision = Decision::new(&append.post, &shared.knowledge);
    let received_at = append.post.received_at;
    let placed = match &decision.route.outcome {
        Err(reason) => Err(*reason),
        Ok(found) => {
            let (hook, chain) = (found.0.id, decision.chain(&found.0));
            let sequence = numbering.next(connection, chain)?;
            let paused_before = paused_ms(shared, hook, received_at);
            Ok((found, NewDelivery { hook, chain, sequence, paused_before }))
        }
    };
    let new = NewEvent {
        id: &decision.id,
        event: &decision.event.name,
        call: decision.event.call(),
        room: decision.event.room_name.as_deref(),
        created_at: decision.event.created_at,
        received_at,
        domain: decision.route.domain.as_ref().map(Domain::as_str),
        outcome: decision.outcome(),
        issuer: &append.post.issuer,
        body: (decision.route.outcome.as_ref().err() != Some(&Reason::Filtered))
            .then_some(&*append.post.body),
        delivery: placed.as_ref().ok().map(|(_, delivery)| *delivery),
    };
    let Some(id) = rows::append(connection, &new)? else {
        return Ok(decision.receipt(Fate::Duplicate));
    };
    Ok(decision.receipt(match placed {
        Err(reason) => Fate::Unrouted(reason),
        Ok(((hook, rule), NewDelivery { chain, sequence, paused_before, .. })) => {
            numbering.count(chain, sequence, id, received_at);
            let counted = shared.fresh.count(append.post.body.len());
            let delivery = decision.delivery((hook, *rule), id, Some(sequence), paused_before, counted);
            Fate::Routed(Arc::new(delivery))
        }
    }))
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
            news.extend(announce(shared, append, receipt));
        }
    }
    if !news.is_empty() {
        shared.feed.push(news);
    }
    for (order, revived) in batch.orders.into_iter().zip(revived) {
        match order {
            Order::Replay(_, _, done) => {
                // Whoever asked may have gone; the deliveries are made all the same.
                let _ = done.send(revived.len());
                shared.feed.push(revived.into_iter().map(News::Ready));
            }
            Order::Rotate(_, _, done) => drop(done.send(())),
            Order::Swap(table, done) => {
                // Whoever reloads drops the old table, not this thread.
                let _ = done.send(shared.knowledge.table.swap(table));
            }
            Order::Sweep(_) => shared.sweeping.store(false, Ordering::Relaxed),
            order => remember(&mut lock(&shared.pauses), &order),
        }
    }
}

/// Answers one request; gives what the dispatcher must know of it.
fn announce(shared: &Shared, append: &Append, receipt: Receipt) -> Option<News> {
    let delivery = match &receipt.fate {
        Fate::Routed(delivery) => Some(Arc::clone(delivery)),
        Fate::Unrouted(_) | Fate::Duplicate => None,
    };
    match std::mem::replace(&mut *append.standing(), Standing::Answered) {
        Standing::Overdue(local) => {
            // It is on its way from memory already; from here on the row stands for it.
            let row = delivery.as_ref().map(|delivery| delivery.id);
            shared.unwritten.written(&shared.inbox, local, row);
            return delivery.map(|delivery| {
                let (row, hook, chain) = (delivery.id, delivery.hook.id, delivery.chain);
                News::Written { id: local, row, hook, chain }
            });
        }
        Standing::Waiting(reply) => {
            // The request gave up in this very moment: the event is stored all the same.
            let _ = reply.send(receipt);
        }
        Standing::Withdrawn | Standing::Answered => {}
    }
    let delivery = delivery?;
    let fresh = shared.fresh.has_room().then(|| Arc::clone(&delivery));
    let (id, hook, chain) = (delivery.id, delivery.hook.id, delivery.chain);
    Some(News::Ready(Ready { id, hook, chain, due: None, fresh }))
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
