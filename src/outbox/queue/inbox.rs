//! What waits for the writer: events, in order of arrival, and tasks that may wait longer.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::lock::lock;
use crate::calls::{Order, Outcome, Post, Receipt};
use crate::hooks::HookTable;

/// Tasks need no commit of their own (at worst an attempt is repeated after a crash): they go with the next
/// event's, or alone after this time.
const LINGER: Duration = Duration::from_millis(50);

/// At most this many go into one commit, or half of those that wait, so that no event waits long for it; as many do not
/// wait for [`LINGER`].
const TASKS: usize = 256;

/// While the store is away, attempts that wait to be recorded beyond this number are reduced to the last of each
/// delivery.
const ATTEMPTS: usize = 8192;

/// An event, and the request that waits for its receipt.
pub struct Append {
    pub post: Arc<Post>,
    /// None once it is answered.
    pub reply: Option<oneshot::Sender<Receipt>>,
}

/// What the writer does besides appending.
pub enum Task {
    /// An order, and the channel for its outcome.
    Order(Order, Option<oneshot::Sender<Outcome>>),
    /// A new table comes into force; the sender receives the old one, to drop it on another thread.
    Swap(Arc<HookTable>, oneshot::Sender<Arc<HookTable>>),
}

impl Task {
    fn is_long(&self) -> bool {
        match self {
            Self::Order(order, _) => order.is_long(),
            Self::Swap(..) => true,
        }
    }

    /// Whether it is an operator's request that is refused while the store is away.
    fn is_request(&self) -> bool {
        matches!(self, Self::Order(order, _) if order.is_request())
    }
}

/// The queue in front of the writer. Appends are bounded by [`super::room::MemoryRoom`], tasks by the deliveries they
/// settle.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    appends: VecDeque<Append>,
    tasks: VecDeque<Task>,
    /// The number of tasks at which they are reduced.
    reduce_at: usize,
    /// A request has decided something that is to be written.
    nudged: bool,
    /// The writer waits for work.
    waits: bool,
    /// The writer waits until it is woken.
    asleep: bool,
    closed: bool,
    ended: bool,
}

impl Inbox {
    /// Queues an event; false if nothing will be taken any more.
    pub fn append(&self, append: Append) -> bool {
        let mut state = lock(&self.state);
        if state.ended {
            return false;
        }
        state.appends.push_back(append);
        // The writer waits only while the queue is empty. It is woken after the lock is released, so that it
        // need not wait for the lock.
        let waits = std::mem::take(&mut state.waits);
        drop(state);
        if waits {
            self.wake.notify_one();
        }
        true
    }

    /// Queues a task. Dropped if nothing will be taken any more.
    pub fn task(&self, task: Task) {
        let mut state = lock(&self.state);
        // Nothing waits for a record of a request that was refused.
        let is_record = matches!(task, Task::Order(Order::Audit(_), None));
        if state.ended || (is_record && state.tasks.len() >= ATTEMPTS) {
            return;
        }
        state.tasks.push_back(task);
        // Only while the store is away do so many wait.
        if state.tasks.len() >= state.reduce_at.max(ATTEMPTS) {
            reduce(&mut state.tasks);
            state.reduce_at = state.tasks.len() * 2;
        }
        // A writer that waits with a timeout sees the task within [`LINGER`].
        let wakes = state.asleep || state.tasks.len() == TASKS;
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Wakes the writer: requests have decided events, which it has to write.
    pub fn nudge(&self) {
        lock(&self.state).nudged = true;
        self.wake.notify_one();
    }

    /// Takes the first events.
    pub fn take_appends(&self, limit: usize) -> Vec<Append> {
        let mut state = lock(&self.state);
        let count = state.appends.len().min(limit);
        state.appends.drain(..count).collect()
    }

    /// Takes the first tasks, up to the first long one: the next events must not wait for several of those.
    pub fn take_tasks(&self) -> Vec<Task> {
        let mut state = lock(&self.state);
        let most = TASKS.max(state.tasks.len() / 2);
        let long = state.tasks.iter().take(most).position(Task::is_long);
        let count = long.map_or(most.min(state.tasks.len()), |at| at + 1);
        state.reduce_at = 0;
        state.tasks.drain(..count).collect()
    }

    /// Returns tasks that could not be carried out, in front of all others.
    pub fn return_tasks(&self, tasks: Vec<Task>) {
        let mut state = lock(&self.state);
        for task in tasks.into_iter().rev() {
            state.tasks.push_front(task);
        }
    }

    /// Drops operators' requests: the end of the reply channel tells the caller.
    pub fn refuse_requests(&self) {
        lock(&self.state).tasks.retain(|task| !task.is_request());
    }

    /// Whether nothing waits for the writer.
    pub fn is_empty(&self) -> bool {
        let state = lock(&self.state);
        state.appends.is_empty() && state.tasks.is_empty()
    }

    /// Ends the inbox: nothing is taken any more. The end of the reply channels tells all who wait.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        let left = (std::mem::take(&mut state.appends), std::mem::take(&mut state.tasks));
        drop(state);
        drop(left);
    }

    /// Closes the inbox: [`Self::wait`] returns false once the queue is empty.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.wake.notify_all();
    }

    /// Waits for work; false once closed and empty.
    pub fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        let mut dozed = false;
        loop {
            // A long task that is left over does not wait again.
            let long = state.tasks.front().is_some_and(Task::is_long);
            let enough = dozed || state.tasks.len() >= TASKS;
            let tasks_ready = !state.tasks.is_empty() && (enough || long || state.closed);
            if !state.appends.is_empty() || tasks_ready || std::mem::take(&mut state.nudged) {
                // Events come in bursts: a request that is about to queue one gets the processor first, and one
                // commit serves both. On an idle machine this returns at once.
                drop(state);
                std::thread::yield_now();
                return true;
            }
            if state.closed {
                return false;
            }
            // While there is traffic it waits with a timeout, so that tasks need not wake it; without traffic
            // it waits to be woken.
            if dozed && state.tasks.is_empty() {
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

    /// Waits for `pause`, less if the queue is closed meanwhile. Whether it is closed.
    pub fn pause(&self, pause: Duration) -> bool {
        let state = lock(&self.state);
        let was_closed = state.closed;
        let waited = self.wake.wait_timeout_while(state, pause, |state| state.closed == was_closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }
}

/// Keeps of each delivery the last attempt only: its number says how many there were.
fn reduce(tasks: &mut VecDeque<Task>) {
    let mut seen = HashSet::new();
    let mut kept: VecDeque<Task> = VecDeque::with_capacity(tasks.len());
    while let Some(task) = tasks.pop_back() {
        let is_last = match &task {
            Task::Order(Order::Settle(settlement), _) => seen.insert(settlement.delivery),
            Task::Order(..) | Task::Swap(..) => true,
        };
        if is_last {
            kept.push_front(task);
        }
    }
    *tasks = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{Next, Settlement};
    use crate::delivery::{Answer, Attempt};
    use crate::ids::DeliveryId;
    use crate::time::UnixMillis;

    fn attempt(delivery: usize, number: u32) -> Task {
        let outcome = Ok(Answer { status: 500, retry_after: None });
        let (at, latency) = (UnixMillis(0), Duration::ZERO);
        let attempt = Attempt { number, at, url: "https://a.example/".into(), latency, outcome };
        let delivery = DeliveryId(i64::try_from(delivery).expect("an id"));
        let next = Next::Retry { due: UnixMillis(0) };
        Task::Order(Order::Settle(Settlement { delivery, attempt, next, kept: None }), None)
    }

    #[test]
    fn beyond_so_many_attempts_of_each_delivery_the_last_is_kept() {
        let inbox = Inbox::default();
        for number in 1..=4 {
            for delivery in 0..ATTEMPTS / 4 {
                inbox.task(attempt(delivery, number));
            }
        }
        let tasks = std::mem::take(&mut lock(&inbox.state).tasks);
        let numbers = tasks.iter().map(|task| match task {
            Task::Order(Order::Settle(settlement), _) => settlement.attempt.number,
            _ => 0,
        });
        assert_eq!(numbers.collect::<Vec<_>>(), vec![4; ATTEMPTS / 4]);
    }
}
