//! Connections to the database, and which version it has.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::files::path;
use crate::outbox::engine::StoreFault;

impl From<rusqlite::Error> for StoreFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(Box::new(error))
    }
}

const SCHEMA: &str = include_str!("../schema.sql");

/// What was added to the schema since: run at every start.
const ADDITIONS: &str = include_str!("../additions.sql");

/// `PRAGMA user_version` of this release. Those from 1 on are taken over.
pub const VERSION: i64 = 3;

/// Inline checkpoints at this many pages. Moving them to another thread halves the rate and lets
/// the log grow without bound under a writer that never rests.
const CHECKPOINT_PAGES: i64 = 4000;

pub fn connect(directory: &Path) -> Result<Connection, StoreFault> {
    // One thread uses this connection: no mutex is needed.
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path(directory), flags)?;
    // Another process that has locked the file delays an acknowledgement by at most this time.
    connection.busy_timeout(Duration::from_millis(250))?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

pub fn write_durably(connection: &Connection) -> Result<(), StoreFault> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged event survives power loss: every commit is synced.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(connection.pragma_update(None, "cache_size", -8192)?)
}

/// Opens a connection that only reads.
///
/// # Errors
/// [`StoreFault`] when the file cannot be read.
pub fn open_reader(path: &Path) -> Result<Connection, StoreFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

pub fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    connection.execute_batch(ADDITIONS)
}

/// An empty database.
#[cfg(test)]
pub fn in_memory() -> Connection {
    let connection = Connection::open_in_memory().expect("a database");
    create(&connection).expect("the schema");
    connection
}

/// Adds what databases of this version did not have at first.
pub fn amend(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let has = |table: &str, column: &str| -> rusqlite::Result<bool> {
        let named = "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2";
        transaction.prepare(named)?.exists([table, column])
    };
    if !has("progress", "numbered")? {
        transaction.execute_batch(
            "ALTER TABLE progress ADD COLUMN numbered INTEGER NOT NULL DEFAULT 0; UPDATE progress SET numbered = seq",
        )?;
    }
    if !has("progress", "digested")? {
        transaction.execute_batch("ALTER TABLE progress ADD COLUMN digested INTEGER NOT NULL DEFAULT 0")?;
    }
    if !has("events", "bytes")? {
        transaction.execute_batch("ALTER TABLE events ADD COLUMN bytes INTEGER")?;
    }
    transaction.execute_batch(ADDITIONS)?;
    transaction.commit()
}

pub fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
