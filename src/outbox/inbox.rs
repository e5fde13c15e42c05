//! What waits for the writer: events to append, in order of arrival, and orders that may linger.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Order, Receipt};
use crate::ids::{BodyHash, DeliveryId};
use crate::route::Door;
use crate::time::{Moment, UnixMillis};

/// At most this many events in one transaction: bounds how long the first waits for the last.
const MAX_BATCH: usize = 512;

/// Orders need no commit of their own (at worst an attempt is repeated after a crash): they go with
/// the next event's, or alone after this time.
const LINGER: Duration = Duration::from_millis(50);

/// A verified event on its way into the store.
#[derive(Clone, Debug)]
pub struct Post {
    /// LiveKit's body, byte for byte.
    pub body: Bytes,
    /// Its SHA-256, checked against the token.
    pub hash: BodyHash,
    /// The API key its token is signed with.
    pub issuer: Arc<str>,
    /// When it came.
    pub received_at: UnixMillis,
    /// The same, for measuring.
    pub came: Moment,
    /// The URL it came by.
    pub door: Door,
}

/// A post and who waits for it.
pub struct Append {
    pub post: Post,
    standing: Mutex<Standing>,
}

/// Who waits for an append.
pub enum Standing {
    /// The request that brought it.
    Waiting(oneshot::Sender<Receipt>),
    /// Nobody: acknowledged from memory, where it has this id.
    Overdue {
        id: DeliveryId,
        /// Whether it is on its way from there.
        sent: bool,
    },
    /// Nobody: refused with 503; LiveKit brings it again.
    Withdrawn,
    /// Nobody: answered.
    Answered,
}

impl Append {
    pub fn new(post: Post, reply: oneshot::Sender<Receipt>) -> Self {
        Self { post, standing: Mutex::new(Standing::Waiting(reply)) }
    }

    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        lock(&self.standing)
    }
}

/// One transaction's worth of work.
#[derive(Default)]
pub struct Batch {
    pub appends: Vec<Arc<Append>>,
    pub orders: Vec<Order>,
}

/// The queue in front of the writer. Appends are bounded by who waits for them (bodies in flight and
/// the memory queue are), orders by the deliveries they settle.
///
/// Its lock is the innermost: an append's standing, then the memory queue, then this; never another
/// one while this is held.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    appends: VecDeque<Arc<Append>>,
    orders: VecDeque<Order>,
    /// The writer waits for work.
    waits: bool,
    /// The writer waits until it is woken.
    asleep: bool,
    closed: bool,
    ended: bool,
}

impl Inbox {
    /// Queues an event; false if nothing will be taken any more.
    pub fn append(&self, append: Arc<Append>) -> bool {
        let mut state = lock(&self.state);
        if state.ended {
            return false;
        }
        state.appends.push_back(append);
        // The writer only sleeps on an empty queue. It is woken after the lock is gone, or it would
        // wake only to wait for it.
        let waits = std::mem::take(&mut state.waits);
        drop(state);
        if waits {
            self.wake.notify_one();
        }
        true
    }

    /// Whether nothing will be taken any more.
    pub fn has_ended(&self) -> bool {
        lock(&self.state).ended
    }

    pub fn order(&self, order: Order) {
        let mut state = lock(&self.state);
        if state.ended {
            return;
        }
        state.orders.push_back(order);
        let asleep = state.asleep;
        drop(state);
        // A writer that only dozes looks by itself soon.
        if asleep {
            self.wake.notify_one();
        }
    }

    /// Takes back an append nobody waits for any more, unless the writer already has it.
    pub fn withdraw(&self, append: &Arc<Append>) {
        lock(&self.state).appends.retain(|other| !Arc::ptr_eq(other, append));
    }

    /// Nothing will be taken any more: whoever waits is told by the end of its channel.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        state.orders.clear();
        let appends = std::mem::take(&mut state.appends);
        drop(state);
        for append in appends {
            let mut standing = append.standing();
            if matches!(*standing, Standing::Waiting(_)) {
                *standing = Standing::Withdrawn;
            }
        }
    }

    /// No more waiting: [`Self::take`] empties the queue and ends.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.wake.notify_all();
    }

    /// Waits for work; none once closed and empty.
    pub fn take(&self) -> Option<Batch> {
        let mut state = lock(&self.state);
        let mut dozed = false;
        loop {
            // What is left of long orders does not linger once more.
            let long = state.orders.front().is_some_and(Order::is_long);
            let orders_ready = !state.orders.is_empty() && (dozed || long || state.closed);
            if !state.appends.is_empty() || orders_ready {
                // Events come in bursts: whoever is about to queue one gets the processor first, and
                // one commit serves both. On an idle machine this returns at once.
                drop(state);
                std::thread::yield_now();
                state = lock(&self.state);
                let count = state.appends.len().min(MAX_BATCH);
                let appends = state.appends.drain(..count).collect();
                // One long order at a time: the next events must not wait for all of them.
                let long = state.orders.iter().position(Order::is_long);
                let orders = long.map_or(state.orders.len(), |at| at + 1);
                return Some(Batch { appends, orders: state.orders.drain(..orders).collect() });
            }
            if state.closed {
                return None;
            }
            // While there is traffic it dozes, so that orders need not wake it; without, it sleeps.
            if dozed && state.orders.is_empty() {
                state.asleep = true;
                state.waits = true;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep = false;
                state.waits = false;
                dozed = false;
            } else {
                state.waits = true;
                let waited = self.wake.wait_timeout(state, LINGER);
                let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                state = guard;
                state.waits = false;
                dozed = timeout.timed_out();
            }
        }
    }

    /// Returns work the store did not take, in front of everything newer, and waits a moment.
    /// Whether the queue is closed: soon nothing more will be tried.
    pub fn put_back(&self, batch: Batch, pause: Duration) -> bool {
        // Nobody waits for what was withdrawn meanwhile; LiveKit brings it again.
        let wanted = |append: &Arc<Append>| !matches!(*append.standing(), Standing::Withdrawn);
        let appends: Vec<_> = batch.appends.into_iter().filter(wanted).collect();
        let mut state = lock(&self.state);
        for append in appends.into_iter().rev() {
            state.appends.push_front(append);
        }
        for order in batch.orders.into_iter().rev() {
            state.orders.push_front(order);
        }
        let was_closed = state.closed;
        let waited = self.wake.wait_timeout_while(state, pause, |state| state.closed == was_closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}

/// Locks even after a panic elsewhere: every guarded change here is complete in itself.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
