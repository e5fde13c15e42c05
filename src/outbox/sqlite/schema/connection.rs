//! Connections to the database, and which version it has.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::files::path;
use super::makeshift::{self, ReadStore};
use super::sums;
use crate::outbox::engine::StoreFault;

const SCHEMA: &str = include_str!("../schema.sql");

/// What was added to the schema since: run at every start.
const ADDITIONS: &str = include_str!("../additions.sql");

/// `PRAGMA user_version` of this release. Version 3 is amended in place, those before are taken over.
pub const VERSION: i64 = 4;

/// The first version that is amended in place.
pub const AMENDED: i64 = 3;

/// Commits copy a log of so many pages, until [`super::super::store::Sqlite`] looks after it.
const CHECKPOINT_PAGES: i64 = 4000;

/// A database of at most so many bytes is rewritten at a start.
const REWRITTEN: i64 = 64 << 20;

pub fn connect(directory: &Path) -> Result<Connection, StoreFault> {
    // One thread uses this connection: no mutex is needed.
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path(directory), flags)?;
    // Another process that has locked the file delays an acknowledgement by at most this time.
    connection.busy_timeout(Duration::from_millis(250))?;
    sums::distrust(&connection)?;
    keep_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(128);
    sums::teach(&connection)?;
    Ok(connection)
}

/// A statement is compiled once, whatever values it is given. Without this, SQLite compiles it again for each new value
/// that might lead to another plan (<https://sqlite.org/queryplanner-ng.html#qpstab>).
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

/// Says so if the binary has an SQLite that was compiled without what erasures need.
pub fn check_build(connection: &Connection) -> rusqlite::Result<()> {
    let has_it = "SELECT 1 FROM pragma_module_list WHERE name = 'sqlite_dbpage'";
    if !connection.prepare(has_it)?.exists([])? {
        tracing::error!(
            "this program was built without SQLITE_ENABLE_DBPAGE_VTAB: erasures of tenants' data will not end; build \
             it in its folder, with .cargo/config.toml and no LIBSQLITE3_FLAGS of your own"
        );
    }
    Ok(())
}

pub fn write_durably(connection: &Connection) -> Result<(), StoreFault> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged event survives power loss: every commit is synced.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // What is deleted is overwritten with zeros, so that an erased tenant's rows are not found in the file.
    connection.pragma_update(None, "secure_delete", "ON")?;
    Ok(connection.pragma_update(None, "cache_size", -8192)?)
}

/// Opens a connection that only reads.
///
/// # Errors
/// [`StoreFault`] when the file cannot be read.
pub fn open_reader(path: &Path) -> Result<ReadStore, StoreFault> {
    if let Some(makeshift) = makeshift::open(path)? {
        return Ok(makeshift);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    sums::distrust(&connection)?;
    keep_plans(&connection)?;
    Ok(ReadStore::ordinary(connection))
}

/// Writes one page, which changes nothing: shows whether the database can be written.
pub fn try_to_write(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE; UPDATE progress SET seq = seq; COMMIT")
}

pub fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    connection.execute_batch(ADDITIONS)?;
    connection.execute_batch("INSERT INTO overwritten (id, since) VALUES (1, 0)")
}

/// An empty database.
#[cfg(test)]
pub fn in_memory() -> Connection {
    let connection = Connection::open_in_memory().expect("a database");
    sums::teach(&connection).expect("a function");
    create(&connection).expect("the schema");
    connection
}

/// Columns that tables of version 3 did not have, or not at first; absent in the rows of before.
const ADDED: [(&str, &str); 9] = [
    ("events", "bytes"),
    ("calls", "erased"),
    ("events", "sum"),
    ("events", "bound_sum"),
    ("calls", "sum"),
    ("participants", "sum"),
    ("hooks", "sum"),
    ("tenants", "sum"),
    ("revoked_tokens", "sum"),
];

/// Adds what databases of version 3, or of this one, did not have at first. A database of version 3 has this one then: an
/// older binary would post to sealed URLs, and change rows without their sums.
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
    if !has("progress", "unsummed")? {
        transaction.execute_batch("ALTER TABLE progress ADD COLUMN unsummed INTEGER NOT NULL DEFAULT 0")?;
    }
    for (table, column) in ADDED {
        if !has(table, column)? {
            transaction.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} INTEGER"))?;
        }
    }
    transaction.execute_batch(ADDITIONS)?;
    if version_of(&transaction)? < VERSION {
        sums::begin(&transaction)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

/// Overwrites what was deleted before this release did so at once; a large database would take too long for a start.
pub fn overwrite_remains(connection: &Connection) -> rusqlite::Result<()> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let is_clean = connection.prepare("SELECT 1 FROM overwritten")?.exists([])?;
    if is_clean || pragma("page_count")? * pragma("page_size")? > REWRITTEN {
        return Ok(());
    }
    // The checkpoint makes the file as short as it gets: from then on it only grows.
    connection.execute_batch(
        "VACUUM; INSERT INTO overwritten (id, since) VALUES (1, 0); PRAGMA wal_checkpoint(TRUNCATE)",
    )
}

pub fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
