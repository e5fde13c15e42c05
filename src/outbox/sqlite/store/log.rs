//! The write-ahead log is copied into the database by a thread of its own, so that no request waits for that.
//!
//! The log is used again from its beginning once all of it is copied. Under events that never rest that takes the writer: it
//! copies what was committed while the thread was at work, mostly a few pages.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;

use crate::outbox::engine::{FaultKind, StoreFault};
use crate::outbox::sqlite::schema;

/// A log of so many pages is copied: while the disk takes what is copied, commits wait for it, too, so this should be rare. A
/// start reads the whole log.
const PAGES: i32 = 8000;

/// By so many pages the log gets longer while it is copied; then the writer waits for the thread.
const GROWTH: i32 = 4000;

/// Somebody who reads an old state of the database keeps the log from being used again. It is copied again after so many
/// pages more.
const AGAIN: i32 = 500;

/// Looks after the log of a database that is written.
pub struct LogKeeper {
    /// Pages of it, as the last commit left it.
    pages: Arc<AtomicI32>,
    /// Pages of it at the last look.
    before: i32,
    /// It is copied from so many pages on.
    due: i32,
    copier: Option<Copier>,
}

/// The thread that copies.
struct Copier {
    orders: SyncSender<()>,
    /// How long the log was when the thread was asked; none if it has nothing to do.
    asked_at: Option<i32>,
    /// What came of each order.
    done: Receiver<Result<(), StoreFault>>,
    thread: JoinHandle<()>,
}

impl LogKeeper {
    /// The log of a connection that writes. If the system gives no thread, the writer copies.
    pub fn of(directory: &Path, connection: &mut Connection) -> rusqlite::Result<Self> {
        let pages = Arc::default();
        watch(&pages, connection)?;
        Ok(Self { pages, before: 0, due: PAGES, copier: Copier::start(directory) })
    }

    /// The log of another connection, which replaces the one before.
    pub fn follow(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        watch(&self.pages, connection)
    }

    /// Looks after the log behind a commit.
    pub fn tend(&mut self, connection: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.before {
            self.due = PAGES;
        }
        self.before = pages;
        let is_due = pages >= self.due;
        let is_copied = match &mut self.copier {
            Some(copier) => match copier.asked_at {
                Some(asked_at) => copier.is_done(pages - asked_at >= GROWTH),
                None => is_due && !copier.ask(pages),
            },
            None => is_due,
        };
        if !is_copied {
            return;
        }
        self.due = pages.saturating_add(AGAIN);
        // What fails is tried again.
        let _ = connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE);
    }

    /// Ends the thread and waits for its end: after that only the writer copies the log.
    pub fn end(&mut self) {
        if let Some(Copier { orders, thread, .. }) = self.copier.take() {
            drop(orders);
            let _ = thread.join();
        }
    }
}

impl Drop for LogKeeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// Has a connection tell how long its log is after each commit, instead of copying it in the commit that makes it long.
fn watch(pages: &Arc<AtomicI32>, connection: &mut Connection) -> rusqlite::Result<()> {
    pages.store(0, Ordering::Relaxed);
    let pages = Arc::clone(pages);
    connection.wal_hook(Some(move |_: &mut Wal, in_log| {
        pages.store(in_log, Ordering::Relaxed);
        Ok(())
    }))
}

impl Copier {
    fn start(directory: &Path) -> Option<Self> {
        let ((orders, asked), (tell, done)) = (sync_channel(1), sync_channel(1));
        let directory = directory.to_owned();
        let copying = move || {
            while asked.recv().is_ok() {
                if tell.send(schema::copy_log(&directory)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("outbox-log".into()).spawn(copying).ok()?;
        Some(Self { orders, asked_at: None, done, thread })
    }

    /// Asks the thread to copy a log of so many pages; false if it has ended.
    fn ask(&mut self, pages: i32) -> bool {
        let is_asked = self.orders.try_send(()).is_ok();
        self.asked_at = is_asked.then_some(pages);
        is_asked
    }

    /// Whether the thread is done, so that the rest can be copied. `waits`: until it is.
    fn is_done(&mut self, waits: bool) -> bool {
        let told = if waits { self.done.recv().map_err(Into::into) } else { self.done.try_recv() };
        if matches!(told, Err(TryRecvError::Empty)) {
            return false;
        }
        self.asked_at = None;
        // If another database is at the path, the writer copies nothing, either: its next check reports that. Every other fault
        // of the thread comes up again when the writer copies.
        !matches!(told, Ok(Err(fault)) if fault.kind() == Some(FaultKind::Moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::engine::Engine;
    use crate::outbox::sqlite::Sqlite;

    /// A store that does not sync, so that the tests are quick.
    fn store(folder: &Path) -> Sqlite {
        let store = Sqlite::open(folder).expect("a store");
        let prepare = "PRAGMA synchronous = OFF; CREATE TABLE large (body BLOB)";
        store.connection().execute_batch(prepare).expect("a table");
        store
    }

    /// Stores so many megabytes, one a commit. The longest log meanwhile, and the log at the end, in pages.
    fn fill(store: &mut Sqlite, megabytes: usize) -> (i32, i32) {
        let mut longest = 0;
        for _ in 0..megabytes {
            store.connection().execute("INSERT INTO large VALUES (zeroblob(1048576))", []).expect("stored");
            store.tidy(false);
            longest = longest.max(store.log.before);
        }
        (longest, store.log.before)
    }

    #[test]
    fn the_write_ahead_log_is_used_again_while_commits_go_on_and_does_not_grow() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = store(folder.path());
        let (longest, _) = fill(&mut store, 256);
        // The commit that passes the limit is whole.
        assert!((PAGES..PAGES + GROWTH + 300).contains(&longest), "{longest}");
    }

    #[test]
    fn without_a_thread_the_writer_copies() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = store(folder.path());
        store.log.end();
        let (longest, _) = fill(&mut store, 64);
        assert!((PAGES..PAGES + 300).contains(&longest), "{longest}");
    }

    #[test]
    fn a_log_that_somebody_reads_from_is_used_again_once_the_reader_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = store(folder.path());
        let reader = Connection::open(schema::path(folder.path())).expect("a reader");
        reader.execute_batch("BEGIN; SELECT count(*) FROM large").expect("a snapshot");
        let (longest, last) = fill(&mut store, 64);
        assert_eq!(longest, last, "it is not used again");
        drop(reader);
        let (_, last) = fill(&mut store, 64);
        assert!(last < longest, "{last}");
    }
}
