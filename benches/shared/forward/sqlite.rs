//! A durable forwarder, as a prototype: what it acknowledges is in SQLite before, by a plain group commit with a large
//! log. It knows no duplicates, no order, no retry, and reads nothing back: what durability must cost at least here.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::routing::post;
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::{Forward, Forwarder, serving};
use crate::shared::process::Process;

/// Events of one commit at most.
const BATCH: usize = 256;

/// Events that wait for the writer at most; one more is refused.
const INBOX: usize = 4096;

/// Rows of delivered events are deleted with the next commit, or after this time.
const DELETED_AFTER: Duration = Duration::from_millis(50);

/// The log is written back once no event has come for this time: not during a run.
const WRITTEN_BACK_AFTER: Duration = Duration::from_secs(1);

/// The prototype's process.
pub struct Prototype {
    pub process: Process,
    /// Where events are posted.
    pub address: String,
    _folder: tempfile::TempDir,
}

impl Prototype {
    /// Starts it with this hooks file.
    pub fn start(hooks: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("hooks.yaml"), hooks).expect("hooks");
        let (process, address) = Process::in_role(&format!("sqlite {}", folder.path().display()));
        Self { process, address, _folder: folder }
    }
}

/// What the prototype's process does, with the folder it was started for.
pub async fn serve(folder: &Path) {
    let hooks = std::fs::read_to_string(folder.join("hooks.yaml")).expect("hooks");
    let (inbox, stored) = sync_channel(INBOX);
    let delivered = Arc::default();
    let writer = Writer::open(folder, stored, Arc::clone(&delivered));
    std::thread::spawn(move || writer.run());
    let store = Arc::new(Store { forwarder: Forwarder::new(&hooks), inbox, delivered });
    serving::serve(axum::Router::new().route("/webhook", post(receive)).with_state(store)).await;
}

struct Store {
    forwarder: Forwarder,
    inbox: SyncSender<NewRow>,
    /// Rows that may go.
    delivered: Arc<Mutex<Vec<i64>>>,
}

/// A row to be stored; its number is sent back after the commit.
struct NewRow {
    id: String,
    url: String,
    body: Bytes,
    stored: oneshot::Sender<i64>,
}

async fn receive(State(store): State<Arc<Store>>, request: Request) -> StatusCode {
    let event = match store.forwarder.admit(request).await {
        Ok(event) => event,
        Err(refusal) => return refusal,
    };
    let Some(row) = store.store(&event).await else { return StatusCode::SERVICE_UNAVAILABLE };
    tokio::spawn(async move {
        store.forwarder.send(event).await;
        store.delivered.lock().expect("rows").push(row);
    });
    StatusCode::OK
}

impl Store {
    /// The number of the event's row, once it is durable.
    async fn store(&self, event: &Forward) -> Option<i64> {
        let (stored, receipt) = oneshot::channel();
        let (id, url) = (event.id().to_owned(), event.url().to_owned());
        self.inbox.try_send(NewRow { id, url, body: event.body.clone(), stored }).ok()?;
        receipt.await.ok()
    }
}

/// The one thread that writes.
struct Writer {
    connection: Connection,
    inbox: Receiver<NewRow>,
    delivered: Arc<Mutex<Vec<i64>>>,
    last: i64,
    /// Rows that are not deleted yet.
    left: usize,
    is_log_empty: bool,
}

impl Writer {
    fn open(folder: &Path, inbox: Receiver<NewRow>, delivered: Arc<Mutex<Vec<i64>>>) -> Self {
        let connection = Connection::open(folder.join("prototype.db")).expect("a database");
        let schema = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; \
                      CREATE TABLE events (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, url TEXT NOT NULL, \
                      body BLOB NOT NULL)";
        connection.execute_batch(schema).expect("the schema");
        Self { connection, inbox, delivered, last: 0, left: 0, is_log_empty: true }
    }

    fn run(mut self) {
        while let Some(rows) = self.gather() {
            let delivered = std::mem::take(&mut *self.delivered.lock().expect("rows"));
            if !rows.is_empty() || !delivered.is_empty() {
                self.commit(rows, &delivered);
            } else if self.left == 0 && !self.is_log_empty {
                self.write_back();
            }
        }
    }

    /// What has come; nothing after a while. None: nothing will.
    fn gather(&self) -> Option<Vec<NewRow>> {
        let wait = if self.left > 0 { DELETED_AFTER } else { WRITTEN_BACK_AFTER };
        match self.inbox.recv_timeout(wait) {
            Ok(first) => Some(std::iter::once(first).chain(self.inbox.try_iter()).take(BATCH).collect()),
            Err(RecvTimeoutError::Timeout) => Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn commit(&mut self, rows: Vec<NewRow>, delivered: &[i64]) {
        let first = self.last + 1;
        self.write(first, &rows, delivered).expect("stored");
        self.last += rows.len() as i64;
        self.left = self.left + rows.len() - delivered.len();
        self.is_log_empty = false;
        for (seq, row) in (first..).zip(rows) {
            // The connection may be gone.
            let _ = row.stored.send(seq);
        }
    }

    fn write(&self, first: i64, rows: &[NewRow], delivered: &[i64]) -> rusqlite::Result<()> {
        let execute = |sql| self.connection.prepare_cached(sql)?.execute([]);
        execute("BEGIN IMMEDIATE")?;
        let mut insert = self.connection.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4)")?;
        for (seq, row) in (first..).zip(rows) {
            insert.execute(params![seq, row.id, row.url, &row.body[..]])?;
        }
        let mut delete = self.connection.prepare_cached("DELETE FROM events WHERE seq = ?1")?;
        for seq in delivered {
            delete.execute([seq])?;
        }
        execute("COMMIT").map(drop)
    }

    fn write_back(&mut self) {
        // The log keeps its length: as long as it need not grow, a sync waits for its data only.
        self.connection.execute_batch("PRAGMA wal_checkpoint(RESTART)").expect("written back");
        self.is_log_empty = true;
    }
}
