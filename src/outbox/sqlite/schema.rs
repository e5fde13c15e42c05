//! Opening the database, and its versions.

mod copy;
mod files;
mod history;
mod take_over;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use self::files::path;
pub use self::history::{HistoryPlan, Predecessor, plan_history};
use self::take_over::System;
use crate::outbox::engine::StoreFault;

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

const SCHEMA: &str = include_str!("schema.sql");

/// `PRAGMA user_version` of this release. Those from 1 on are taken over.
const VERSION: i64 = 3;

/// Inline checkpoints at this many pages. Moving them to another thread halves the rate and lets
/// the log grow without bound under a writer that never rests.
const CHECKPOINT_PAGES: i64 = 4000;

/// Opens the writer's connection; the database is made, or taken over from an older release, if need be.
///
/// # Errors
/// [`StoreFault`] when the file cannot be used, belongs to a newer version, or another process
/// has it.
pub fn open_writer(directory: &Path) -> Result<Connection, StoreFault> {
    open_with(directory, &System::real())
}

fn open_with(directory: &Path, system: &System<'_>) -> Result<Connection, StoreFault> {
    take_over::finish(directory)?;
    let connection = connect(directory)?;
    match version_of(&connection)? {
        0 => {
            write_durably(&connection)?;
            let transaction = connection.unchecked_transaction()?;
            create(&transaction)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
            Ok(connection)
        }
        VERSION => write_durably(&connection).map(|()| connection),
        found if found > VERSION => Err(StoreFault::Version { found, known: VERSION }),
        older => {
            take_over::take_over(directory, connection, older, system)?;
            let connection = connect(directory)?;
            write_durably(&connection).map(|()| connection)
        }
    }
}

fn connect(directory: &Path) -> Result<Connection, StoreFault> {
    // One thread uses this connection: no mutex is needed.
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path(directory), flags)?;
    // Another process that has locked the file delays an acknowledgement by at most this time.
    connection.busy_timeout(Duration::from_millis(250))?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn write_durably(connection: &Connection) -> Result<(), StoreFault> {
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

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)
}

fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests;
