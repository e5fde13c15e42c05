//! The one thread that writes: gathers a batch, loads what is missing, decides, commits, publishes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use super::backlog::{Asked, Backlog};
use super::inbox::Task;
use super::shared::Queue;
use crate::calls::Change;
use crate::hooks::HookTable;
use crate::outbox::engine::{Engine, StoreFault};
use crate::telemetry::Degradation;

/// At most this many events in one batch: bounds how long the first waits for the last.
const BATCH: usize = 512;

/// A store that refused is asked again this often.
const RETRY: Duration = Duration::from_millis(250);

/// Commit attempts after closing: 16 × 250 ms.
const LAST_TRIES: u32 = 16;

/// What deciding needs is loaded in at most this many rounds: each shows what the next must load.
const ROUNDS: u32 = 64;

/// Starts the thread. The returned value becomes true when the thread has ended, so it is not joined.
///
/// # Errors
/// When the system gives no thread.
pub fn start(queue: Arc<Queue>, engine: Box<dyn Engine>) -> Result<watch::Receiver<bool>, StoreFault> {
    let (ended, writer_ended) = watch::channel(false);
    let work = move || {
        // Dropped with the thread, also when it panics.
        let end = End { ended, queue };
        let mut writer = Writer { queue: &end.queue, engine, tries: LAST_TRIES };
        writer.run();
    };
    std::thread::Builder::new().name("outbox-writer".into()).spawn(work)?;
    Ok(writer_ended)
}

/// Signals on drop that the writer has ended, also after a panic.
struct End {
    ended: watch::Sender<bool>,
    queue: Arc<Queue>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.queue.inbox.end();
        self.queue.backlog().end();
        self.ended.send_replace(true);
    }
}

struct Writer<'q> {
    queue: &'q Queue,
    engine: Box<dyn Engine>,
    /// Commit attempts left once the inbox is closed.
    tries: u32,
}

impl<'q> Writer<'q> {
    /// Runs until the inbox is closed and all is written.
    fn run(&mut self) {
        loop {
            if self.queue.is_away() {
                if !self.write_back() {
                    return;
                }
                continue;
            }
            // Requests may have decided events, or left some undecided, while nothing was in the inbox.
            if !self.queue.backlog().has_work()
                && !self.queue.inbox.wait()
                && !self.queue.backlog().has_work()
            {
                break;
            }
            if let Err(error) = self.decide().and_then(|()| self.commit()) {
                self.open_memory_mode(&error);
            }
        }
        // The first check finds what is wrong, the second puts it right.
        if let Err(error) = self.engine.check().or_else(|_| self.engine.check()) {
            tracing::error!(%error, "stopped while the store was not in order");
        }
        self.engine.tidy(true);
    }

    /// Decides the next batch: the first events, and the tasks that wait.
    fn decide(&mut self) -> Result<(), StoreFault> {
        let tasks = self.queue.inbox.take_tasks();
        let mut orders: Vec<Asked> = Vec::with_capacity(tasks.len());
        let mut swap = None;
        for task in tasks {
            match task {
                Task::Order(order, reply) => orders.push((order, reply)),
                Task::Swap(table, reply) => swap = Some((table, reply)),
            }
        }
        let table = self.queue.table.load_full();
        match self.load(&table, &orders, BATCH) {
            Ok(mut backlog) => {
                let pauses = orders.iter().any(|(order, _): &Asked| order.is_pause());
                backlog.decide_first(&self.queue.ground(&table), orders, BATCH);
                if pauses {
                    self.queue.share_pauses(&backlog);
                }
                if let Some((table, reply)) = swap {
                    // The receiver drops the old table: that takes a while for a large one.
                    let _ = reply.send(self.queue.table.swap(table));
                }
                Ok(())
            }
            Err(error) => {
                let orders = orders.into_iter().map(|(order, reply)| Task::Order(order, reply));
                let swap = swap.map(|(table, reply)| Task::Swap(table, reply));
                self.queue.inbox.return_tasks(orders.chain(swap).collect());
                Err(error)
            }
        }
    }

    /// Takes the next events and loads what is missing to decide them and these orders.
    fn load(
        &mut self,
        table: &HookTable,
        orders: &[Asked],
        limit: usize,
    ) -> Result<MutexGuard<'q, Backlog>, StoreFault> {
        let mut backlog = self.queue.backlog();
        backlog.take(&self.queue.inbox, limit);
        for _ in 0..ROUNDS {
            let ground = self.queue.ground(table);
            let keys = backlog.missing(&ground, orders.iter().map(|(order, _)| order), limit);
            if keys.is_empty() {
                return Ok(backlog);
            }
            let (state, is_last) = (backlog.state(), !keys.shows_more());
            backlog.begin_io(self.queue.clock.now());
            drop(backlog);
            let loaded = self.engine.load(&keys);
            backlog = self.queue.backlog();
            backlog.end_io();
            let loaded = loaded?;
            self.queue.health.damaged(&loaded.damaged);
            backlog.known.learn(loaded);
            // Else asked again: what was loaded shows more keys, or a request has taken more events meanwhile, or
            // decided some.
            if is_last && backlog.state() == state {
                return Ok(backlog);
            }
        }
        Err(StoreFault::Slow)
    }

    /// Writes all that is decided. If there is nothing, checks whether it could be written.
    fn commit(&mut self) -> Result<(), StoreFault> {
        loop {
            let changes = {
                let mut backlog = self.queue.backlog();
                let changes = backlog.to_write();
                if changes.is_empty() {
                    drop(backlog);
                    self.engine.rest();
                    return self.engine.check().map(drop);
                }
                backlog.begin_io(self.queue.clock.now());
                changes
            };
            let slices: Vec<&[Change]> = changes.iter().map(|changes| &changes[..]).collect();
            let committed = self.engine.commit(&slices);
            drop(slices);
            let count = changes.len();
            drop(changes);
            let mut backlog = self.queue.backlog();
            if let Err(error) = committed {
                backlog.end_io();
                return Err(error);
            }
            self.queue.written(&mut backlog, count);
            let is_done = backlog.is_empty();
            drop(backlog);
            self.engine.tidy(false);
            // Not before: a disk that is silent here keeps the next events waiting.
            self.queue.backlog().end_io();
            if is_done {
                return Ok(());
            }
        }
    }

    /// The store does not take a batch: all that wait are answered from memory, and the store is asked again.
    fn open_memory_mode(&mut self, error: &StoreFault) {
        self.queue.store_fails(error);
        self.queue.open_memory_mode(&mut self.queue.backlog());
        self.decide_in_memory();
    }

    /// Decides what can be read for, and acknowledges the rest undecided.
    fn decide_in_memory(&mut self) {
        let table = self.queue.table.load_full();
        // What waits in the inbox is decided here if it can be; its requests must not wait any longer.
        let queue = self.queue;
        let mut backlog = match self.load(&table, &[], usize::MAX) {
            Ok(backlog) => backlog,
            Err(_) => queue.backlog(),
        };
        backlog.decide_what_can_be(&queue.ground(&table));
        queue.publish_early(&mut backlog, None);
        queue.acknowledge_undecided(&mut backlog, None);
    }

    /// Tries to write what memory holds; false once the queue is closed and the store did not come back.
    fn write_back(&mut self) -> bool {
        let is_closed = self.queue.inbox.pause(RETRY);
        if is_closed && !self.queue.would_lose() {
            return false;
        }
        let table = self.queue.table.load_full();
        let written = self.engine.check().and_then(|is_mended| {
            self.commit()?;
            self.load(&table, &[], BATCH).map(|_| is_mended)
        });
        if let Err(error) = &written {
            self.queue.store_fails(error);
            // A request that could not read in time has left its event undecided, and may be the last one for long.
            if !self.queue.backlog().undecided.is_empty() {
                self.decide_in_memory();
            }
        }
        self.engine.rest();
        match written {
            Ok(is_mended) => {
                // Also if nothing was left to write: the next batch then finds out whether the store works
                // again.
                self.queue.away.store(false, Ordering::Release);
                self.tries = LAST_TRIES;
                if is_mended && self.queue.unwritten() == 0 {
                    self.queue.health.clear(Degradation::Store);
                }
            }
            Err(error) if is_closed => {
                self.tries -= 1;
                if self.tries == 0 {
                    let (events, deliveries) = (self.queue.unwritten(), self.queue.unwritten.len());
                    tracing::error!(
                        %error,
                        events,
                        deliveries,
                        "stopped before the store came back: these events are lost, and of them these deliveries that were \
                         still to be made. The log's lines with `durable` false name the events"
                    );
                    return false;
                }
            }
            Err(_) => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::queue::inbox::Append;
    use crate::outbox::queue::tests::{joined, post, queue_in};
    use crate::outbox::sqlite::Sqlite;

    #[test]
    fn so_many_events_are_decided_at_once_and_the_others_wait_for_the_next_batch() {
        let folder = tempfile::tempdir().expect("a folder");
        let queue = queue_in(folder.path());
        for n in 0..=BATCH {
            let post = Arc::new(post(&joined(&format!("EV_{n}"), "c")));
            assert!(queue.inbox.append(Append { post, reply: None }));
        }
        let engine = Box::new(Sqlite::open(folder.path()).expect("a store"));
        let mut writer = Writer { queue: &queue, engine, tries: LAST_TRIES };
        let events = |changes: &[Change]| {
            changes.iter().filter(|change| matches!(change, Change::EventAdded(_))).count()
        };
        for of_batch in [BATCH, 1] {
            writer.decide().expect("decided");
            let decided = queue.backlog().to_write();
            assert_eq!(decided.last().map(|changes| events(changes)), Some(of_batch));
        }
    }
}
