//! Opening the database, and its versions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::outbox::engine::StoreFault;

const DATABASE: &str = "switchhook.db";

impl From<rusqlite::Error> for StoreFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(Box::new(error))
    }
}

/// A connection that reads.
pub type Store = Connection;

/// The result of a query.
pub type Found<T> = rusqlite::Result<T>;

/// Runs a query on a connection of its own.
///
/// # Errors
/// When the store cannot be read.
pub fn read<T>(directory: &Path, look: impl FnOnce(&Store) -> Found<T>) -> Result<T, StoreFault> {
    Ok(look(&open_reader(&path(directory))?)?)
}

/// The database's file in the data directory.
pub fn path(directory: &Path) -> PathBuf {
    directory.join(DATABASE)
}

const SCHEMA: &str = include_str!("schema.sql");

/// What each version adds to the one before, from [`SCHEMA`], which is version 1, on.
const MIGRATIONS: [&str; 1] = [
    // When an operator last had an event sent again, why it was a dead letter or had no hook before, and when it
    // was given up, if it was a dead letter; where each failed attempt was posted to. Version 1 noted a replay as
    // it noted a release: what had failed before was a dead letter.
    "ALTER TABLE events ADD COLUMN replayed_at INTEGER; ALTER TABLE events ADD COLUMN before_reason TEXT; \
     ALTER TABLE events ADD COLUMN dead_at INTEGER; ALTER TABLE attempts ADD COLUMN url TEXT; \
     UPDATE events SET replayed_at = freed_at, before_reason = 'expired', dead_at = \
     (SELECT max(at) FROM attempts WHERE attempts.seq = events.seq AND at < freed_at) \
     WHERE seq IN (SELECT seq FROM attempts) \
     AND freed_at > (SELECT min(at) FROM attempts WHERE attempts.seq = events.seq)",
];

/// `PRAGMA user_version` of this release.
const VERSION: i64 = 1 + MIGRATIONS.len() as i64;

/// Inline checkpoints at this many pages. Moving them to another thread halves the rate and lets
/// the log grow without bound under a writer that never rests.
const CHECKPOINT_PAGES: i64 = 4000;

/// Opens the writer's connection and brings the schema up to date.
///
/// # Errors
/// [`StoreFault`] when the file cannot be used, belongs to a newer version, or another process
/// has it.
pub fn open_writer(path: &Path) -> Result<Connection, StoreFault> {
    // One thread uses this connection: no mutex is needed.
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged event survives power loss: every commit is synced.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -8192)?;
    // Another process that has locked the file delays an acknowledgement by at most this time.
    connection.busy_timeout(Duration::from_millis(250))?;
    connection.set_prepared_statement_cache_capacity(128);
    migrate(&mut connection)?;
    Ok(connection)
}

/// Opens a connection that only reads.
///
/// # Errors
/// [`StoreFault`] when the file cannot be read.
pub fn open_reader(path: &Path) -> Result<Connection, StoreFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

fn migrate(connection: &mut Connection) -> Result<(), StoreFault> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > VERSION {
        return Err(StoreFault::Version { found, known: VERSION });
    }
    if found == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    if found == 0 {
        transaction.execute_batch(SCHEMA)?;
    }
    let done = usize::try_from((found - 1).max(0)).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}
