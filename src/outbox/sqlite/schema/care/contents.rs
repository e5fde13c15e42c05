//! What a database holds, in numbers, once it is known to be a whole one.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use serde::Serialize;

use super::super::connection::{VERSION, open_reader, version_of};
use super::super::makeshift::{self, ReadStore};
use super::fault::{CareFault, at};
use crate::outbox::engine::{FaultKind, StoreFault};
use crate::time::UnixMillis;

/// A process that folds the write-ahead log into the file may have it alone for this long.
const BUSY: Duration = Duration::from_secs(5);

/// What a database holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Contents {
    /// Of its pages, those that are only in its write-ahead log included.
    pub bytes: u64,
    pub events: usize,
    /// Events that are still to be delivered.
    pub pending: usize,
    /// When the newest event came (RFC 3339); none: there is no event.
    pub newest: Option<String>,
    pub calls: usize,
    pub hooks: usize,
}

impl Contents {
    /// Counts what a database holds; reads through its events.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(store: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name| store.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let count = |sql| count(store, sql);
        let newest = "SELECT max(received_at) FROM events";
        let newest: Option<i64> = store.query_row(newest, [], |row| row.get(0))?;
        Ok(Self {
            bytes: u64::try_from(pragma("page_count")? * pragma("page_size")?).unwrap_or(0),
            events: count("SELECT count(*) FROM events")?,
            pending: count("SELECT count(*) FROM events WHERE state = 0")?,
            newest: newest.map(|at| UnixMillis(at).to_string()),
            calls: count("SELECT count(*) FROM calls")?,
            hooks: count("SELECT count(*) FROM hooks WHERE removed_at IS NULL")?,
        })
    }
}

/// The number that a query finds.
///
/// # Errors
/// When the database cannot be read.
pub fn count(store: &Connection, sql: &str) -> rusqlite::Result<usize> {
    let count: i64 = store.query_row(sql, [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Opens a database of this release or of an older one, to read it.
///
/// # Errors
/// [`CareFault::Foreign`], and when a newer Switchhook made it, or it cannot be read.
pub fn open_known(path: &Path) -> Result<ReadStore, CareFault> {
    // SQLite would take an empty file for a new database, and remove the log beside it.
    if std::fs::metadata(path).map_err(at(path))?.len() == 0 {
        return Err(CareFault::Foreign(path.to_owned()));
    }
    let store = open_reader(path)?;
    store.busy_timeout(BUSY)?;
    match recognise(path, &store) {
        // Where nothing can be written, SQLite cannot make the files beside a database that it reads otherwise.
        Err(CareFault::Store(fault)) if fault.kind() == Some(FaultKind::Io) => {
            drop(store);
            let store = makeshift::begin(path)?;
            recognise(path, &store)?;
            Ok(store)
        }
        recognised => recognised.map(|()| store),
    }
}

/// Whether a file is a database of Switchhook that this release can use.
///
/// # Errors
/// As [`open_known`].
pub fn recognise(path: &Path, store: &Connection) -> Result<(), CareFault> {
    let version = version_of(store).map_err(|error| not_read(path, error))?;
    let tables =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('events', 'hooks', 'calls')";
    let tables: i64 = store.query_row(tables, [], |row| row.get(0)).map_err(|error| not_read(path, error))?;
    match version {
        found if found > VERSION && tables > 0 => Err(StoreFault::Version { found, known: VERSION }.into()),
        1..=VERSION if tables == 3 => Ok(()),
        _ => Err(CareFault::Foreign(path.to_owned())),
    }
}

/// Whether every page, row and constraint of a database is in order, but for the contents of its indexes.
///
/// # Errors
/// [`CareFault::Damaged`] with the first thing that is not.
pub fn is_whole(path: &Path, store: &Connection) -> Result<(), CareFault> {
    let found: String = store
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| not_read(path, error))?;
    if found == "ok" {
        return Ok(());
    }
    let found = found.lines().last().unwrap_or_default().to_owned();
    Err(CareFault::Damaged { path: path.to_owned(), found })
}

/// What SQLite's fault says of a file.
pub fn not_read(path: &Path, error: rusqlite::Error) -> CareFault {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => CareFault::Foreign(path.to_owned()),
        Some(ErrorCode::DatabaseCorrupt) => {
            CareFault::Damaged { path: path.to_owned(), found: error.to_string() }
        }
        _ => error.into(),
    }
}
