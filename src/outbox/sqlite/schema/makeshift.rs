//! Reading a database that cannot be written, and beside which SQLite cannot make the files it needs otherwise: a full
//! disk has no room for them, a read-only one takes none.
//!
//! What SQLite knows of a file is shared by all connections of a process: a connection that was opened in this way keeps
//! all others from writing, and sees nothing of what is written. So they are counted for the whole process, too, and are
//! closed before the file is opened for writing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::ops::{Deref, DerefMut};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::files;
use super::sums;
use crate::outbox::engine::StoreFault;

/// A query that is under way may take so long before the next attempt to open the file for writing is put off.
const ENDS_WITHIN: Duration = Duration::from_millis(50);

/// How long a connection waits for an attempt to open the file for writing; that one gives up sooner.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(2);

/// Another process that has locked the file delays an attempt by this time.
const BUSY_FOR: Duration = Duration::from_millis(250);

/// The files that are read in this way now. A router has one, for as long as it cannot write.
static FILES: Mutex<BTreeMap<PathBuf, Use>> = Mutex::new(BTreeMap::new());
static CHANGED: Condvar = Condvar::new();

/// How a file is used.
struct Use {
    way: Way,
    /// Connections that are open.
    open: usize,
    /// Somebody is about to open it for writing.
    is_closing: bool,
}

/// How a file is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// With locks, and with an index of the write-ahead log in the connection's own memory: the file of that index is
    /// only looked at. It has to be there, and may be empty.
    OwnIndex,
    /// Without locks, as a file that nobody changes. What a write-ahead log holds would be missing.
    Immutable,
}

impl Way {
    fn open(self, path: &Path) -> rusqlite::Result<Connection> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let option = match self {
            Self::OwnIndex => "readonly_shm=1",
            Self::Immutable => "immutable=1",
        };
        let connection = Connection::open_with_flags(uri(path, option), flags)?;
        connection.busy_timeout(BUSY_FOR)?;
        sums::distrust(&connection)?;
        Ok(connection)
    }
}

/// The name of a file as SQLite's URI (<https://sqlite.org/uri.html>).
fn uri(path: &Path, option: &str) -> PathBuf {
    let mut name = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => name.extend(format!("%{byte:02x}").bytes()),
            _ => name.push(*byte),
        }
    }
    name.extend(format!("?{option}").bytes());
    OsString::from_vec(name).into()
}

/// Counts one connection of a file until it is dropped.
struct Pass(PathBuf);

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(used) = files().get_mut(&self.0) {
            used.open = used.open.saturating_sub(1);
        }
        CHANGED.notify_all();
    }
}

/// A connection that reads, in whatever way the file can be read now.
pub struct ReadStore {
    connection: Connection,
    /// Dropped after the connection, whose field comes first.
    pass: Option<Pass>,
}

impl ReadStore {
    /// An ordinary connection.
    pub fn ordinary(connection: Connection) -> Self {
        Self { connection, pass: None }
    }

    /// Whether it must be closed soon, and a new one be opened for the next query: the file cannot be written before.
    pub fn is_makeshift(&self) -> bool {
        self.pass.is_some()
    }
}

impl Deref for ReadStore {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for ReadStore {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// Finds how the database can be read; from here on this process reads it in that way.
///
/// # Errors
/// When it cannot be read, also not in this way.
pub fn begin(path: &Path) -> Result<ReadStore, StoreFault> {
    let way = find(path)?;
    files().insert(path.to_owned(), Use { way, open: 0, is_closing: false });
    open(path)?.ok_or(StoreFault::Away)
}

fn find(path: &Path) -> Result<Way, StoreFault> {
    if path.is_file() {
        // If it cannot be made, opening says so.
        let _ = OpenOptions::new().append(true).create(true).mode(0o600).open(files::beside(path, "-shm"));
    }
    match reads(Way::OwnIndex, path) {
        Ok(()) => Ok(Way::OwnIndex),
        Err(error) if lacks_files(&error) && !has_log(path) => {
            reads(Way::Immutable, path)?;
            Ok(Way::Immutable)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether SQLite could not make the files beside the database.
fn lacks_files(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::CannotOpen || error.extended_code == ffi::SQLITE_READONLY_DIRECTORY
    })
}

fn has_log(path: &Path) -> bool {
    files::size(&files::beside(path, "-wal")) > 0
}

fn reads(way: Way, path: &Path) -> rusqlite::Result<()> {
    // The first page, and the log.
    way.open(path)?.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
}

/// A connection, if the file is read in this way now.
///
/// # Errors
/// When the file cannot be opened, or is about to be opened for writing for too long.
pub fn open(path: &Path) -> Result<Option<ReadStore>, StoreFault> {
    let is_closing = |files: &mut BTreeMap<PathBuf, Use>| files.get(path).is_some_and(|used| used.is_closing);
    let waited = CHANGED.wait_timeout_while(files(), ATTEMPT_WITHIN, is_closing);
    let (mut files, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
    if timeout.timed_out() {
        return Err(StoreFault::Slow);
    }
    let Some(used) = files.get_mut(path) else { return Ok(None) };
    used.open += 1;
    let (way, pass) = (used.way, Pass(path.to_owned()));
    drop(files);
    Ok(Some(ReadStore { connection: way.open(path)?, pass: Some(pass) }))
}

/// An attempt to open a file for writing: meanwhile nobody opens it for reading. Dropped: it has failed.
pub struct Opening(PathBuf);

impl Opening {
    /// Begins an attempt; none while connections are open that only read.
    pub fn begin(path: &Path) -> Option<Self> {
        let mut files = files();
        files.get_mut(path)?.is_closing = true;
        let opening = Self(path.to_owned());
        let is_used = |files: &mut BTreeMap<PathBuf, Use>| files.get(path).is_some_and(|used| used.open > 0);
        let waited = CHANGED.wait_timeout_while(files, ENDS_WITHIN, is_used);
        let (files, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(files);
        (!timeout.timed_out()).then_some(opening)
    }

    /// The file is open for writing: from here on it is read as usual.
    pub fn succeed(self) {
        files().remove(&self.0);
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(used) = files().get_mut(&self.0) {
            used.is_closing = false;
        }
        CHANGED.notify_all();
    }
}

/// Ends the reading in this way without an attempt: the router ends.
pub fn end(path: &Path) {
    files().remove(path);
    CHANGED.notify_all();
}

fn files() -> MutexGuard<'static, BTreeMap<PathBuf, Use>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::open_writer;
    use super::*;

    /// A database of this release that no process has open.
    fn database(folder: &Path) -> PathBuf {
        drop(open_writer(folder).expect("a database"));
        files::path(folder)
    }

    fn progress(store: &Connection) -> i64 {
        store.query_row("SELECT seq FROM progress", [], |row| row.get(0)).expect("a row")
    }

    #[test]
    fn nobody_opens_the_file_for_writing_while_it_is_read_nor_for_reading_while_it_is_opened_for_writing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = database(folder.path());
        assert!(open(&path).expect("nothing").is_none());
        let first = begin(&path).expect("readable");
        assert_eq!(progress(&first), 0);
        let second = open(&path).expect("opened").expect("in this way");
        drop(first);
        assert!(Opening::begin(&path).is_none());
        drop(second);
        let opening = Opening::begin(&path).expect("nobody reads");
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| open(&path).expect("opened").is_none());
            let writer = open_writer(folder.path()).expect("writable");
            writer.execute("UPDATE progress SET seq = 7", []).expect("written");
            opening.succeed();
            assert!(reader.join().expect("its end"));
        });
        assert!(open(&path).expect("nothing").is_none());
    }

    #[test]
    fn what_only_the_write_ahead_log_has_is_read() {
        let (folder, copy) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let writer = open_writer(folder.path()).expect("a database");
        writer.execute("UPDATE progress SET seq = 7", []).expect("written");
        // A copy of what a process that is killed leaves behind.
        for name in ["switchhook.db", "switchhook.db-wal"] {
            std::fs::copy(folder.path().join(name), copy.path().join(name)).expect("copied");
        }
        drop(writer);
        let path = files::path(copy.path());
        let store = begin(&path).expect("readable");
        assert_eq!(progress(&store), 7);
        drop(store);
        end(&path);
    }

    #[test]
    fn names_with_the_signs_of_a_uri_are_spelled_so() {
        assert_eq!(uri(Path::new("/a?b#c%d"), "x=1"), PathBuf::from("file:/a%3fb%23c%25d?x=1"));
    }
}
