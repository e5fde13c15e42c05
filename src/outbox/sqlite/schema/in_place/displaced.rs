//! Whether the database's files are still those that are open. A file that is removed or replaced stays usable for
//! who has it open, and is gone when the process ends. One that is overwritten in place is lost.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags};

use super::super::connection::{connect, open_reader, version_of};
use super::super::files;
use super::super::makeshift::ReadStore;
use super::mark::Mark;
use crate::outbox::engine::{FaultKind, StoreFault};

/// The log is copied so often at most before the writer copies the rest: what comes meanwhile gets less each time, unless the
/// disk is slow.
const ROUNDS: u32 = 4;

/// It is not copied again for so many new pages.
const LITTLE: i32 = 64;

/// The open database is not where the next start will look for it.
#[derive(Debug, thiserror::Error)]
pub enum Displaced {
    #[error(
        "{} was removed or renamed while it is in use. The database is written back there from the open file. Do not \
         stop the router before `switchhook health` says ready: what is only in the open file is lost with the process",
        .0.display()
    )]
    Gone(PathBuf),
    #[error(
        "{} was replaced by another file while it is in use. The database in use is written back there; the other file \
         is set aside beside it. To use a backup, stop the router and run `switchhook store restore FILE`",
        .0.display()
    )]
    Replaced(PathBuf),
    #[error(
        "{} was cut off while it is in use: {bytes} of {before} bytes are left. It is written back if all of it can \
         still be read; if not, events are acknowledged from memory until the router stops. Then run \
         `switchhook store restore FILE` with the newest backup, or `switchhook store recover`",
        .path.display()
    )]
    CutOff { path: PathBuf, bytes: u64, before: u64 },
    #[error(
        "{} was overwritten while it is in use: the bytes of another database are in the open file, and those of this \
         one are lost. Nothing is written to it or read from it any more. Events are acknowledged from memory, and what is \
         not delivered when the router stops is lost with it. Then run `switchhook store restore FILE` with the newest \
         backup: a start without that takes the other database as it is",
        .0.display()
    )]
    Overwritten(PathBuf),
    #[error(
        "{} was removed or replaced before this router could write it, and what it has read is not there: put the file \
         back, and the router goes on by itself. To use what is there now, or a backup (`switchhook store restore FILE`), \
         stop the router: what is not delivered then is lost with it",
        .0.display()
    )]
    NotTheRead(PathBuf),
    #[error("{} cannot be looked at: {error}", .path.display())]
    Hidden { path: PathBuf, error: io::Error },
    #[error("{displaced}. Writing it back fails: {error}")]
    NotWrittenBack { displaced: Box<Displaced>, error: Box<StoreFault> },
}

impl Displaced {
    /// Whether nothing can be written back.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Overwritten(_))
    }
}

impl From<Displaced> for StoreFault {
    fn from(displaced: Displaced) -> Self {
        Self::Engine(FaultKind::Moved, Box::new(displaced))
    }
}

/// A file that is open, by what no other file has.
#[derive(Debug)]
pub struct OpenFile {
    pub path: PathBuf,
    device: u64,
    inode: u64,
}

impl OpenFile {
    /// The file at a path, if there is one.
    pub fn at(path: PathBuf) -> io::Result<Option<Self>> {
        match fs::metadata(&path) {
            Ok(found) => Ok(Some(Self { path, device: found.dev(), inode: found.ino() })),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file at the path, which must be this one.
    pub fn look(&self) -> Result<Metadata, Displaced> {
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(found),
            Ok(_) => Err(Displaced::Replaced(self.path.clone())),
            Err(error) if is_absence(&error) => Err(Displaced::Gone(self.path.clone())),
            Err(error) => Err(Displaced::Hidden { path: self.path.clone(), error }),
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The files of a database that is open.
#[derive(Debug)]
pub struct OpenFiles {
    pub database: OpenFile,
    /// The write-ahead log, which has what was committed last.
    log: Option<OpenFile>,
    /// What connections share of the log.
    index: Option<OpenFile>,
    mark: Mark,
    /// The database was overwritten. That stays so, whatever is written into the file afterwards.
    is_overwritten: AtomicBool,
}

impl OpenFiles {
    /// The files that are in a directory now, and that the writer's connection has open. From here on, connections of
    /// this process that read use only these.
    ///
    /// # Errors
    /// When they cannot be looked at, or not be marked.
    pub fn in_directory(directory: &Path, writer: &Connection) -> Result<Arc<Self>, StoreFault> {
        let path = files::path(directory);
        let [log, index] = ["-wal", "-shm"].map(|end| OpenFile::at(files::beside(&path, end)));
        let database = OpenFile::at(path.clone())?.ok_or_else(|| Displaced::Gone(path.clone()))?;
        let mark = Mark::set(&path, writer)?;
        database.look()?;
        let is_overwritten = AtomicBool::new(false);
        let found = Arc::new(Self { database, log: log?, index: index?, mark, is_overwritten });
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|_, files| files.strong_count() > 0);
        in_use.insert(directory.to_owned(), Arc::downgrade(&found));
        Ok(found)
    }

    /// Whether the file at a path is one of these.
    pub fn has(&self, path: &Path) -> bool {
        let mut all = std::iter::once(&self.database).chain(&self.log).chain(&self.index);
        all.any(|file| file.path == path && file.look().is_ok())
    }

    /// Whether each is still at its path, and the database is still this one; its bytes.
    ///
    /// # Errors
    /// [`Displaced`] when one is not.
    pub fn look(&self) -> Result<u64, Displaced> {
        self.database.look()?;
        let bytes = self.look_inside()?;
        self.log.iter().chain(&self.index).try_for_each(|file| file.look().map(drop))?;
        Ok(bytes)
    }

    /// Whether the files that hold rows are still at their paths; the bytes of the database. Two system calls.
    ///
    /// # Errors
    /// [`Displaced`] when one is not.
    pub fn look_at_rows(&self) -> Result<u64, Displaced> {
        let bytes = self.database.look()?.len();
        self.log.iter().try_for_each(|file| file.look().map(drop))?;
        Ok(bytes)
    }

    /// Whether the open database is still this one, wherever it is; its bytes. Two system calls.
    ///
    /// # Errors
    /// [`Displaced::Overwritten`] when it is not.
    pub fn look_inside(&self) -> Result<u64, Displaced> {
        let hidden = |error| Displaced::Hidden { path: self.database.path.clone(), error };
        if !self.mark.is_there().map_err(hidden)? {
            return Err(self.overwritten());
        }
        match self.is_overwritten.load(Ordering::Acquire) {
            true => Err(self.overwritten()),
            false => self.mark.bytes().map_err(hidden),
        }
    }

    /// The database was overwritten: nobody uses it from here on.
    pub fn overwritten(&self) -> Displaced {
        self.is_overwritten.store(true, Ordering::Release);
        Displaced::Overwritten(self.database.path.clone())
    }

    /// Gives the log of a database that was overwritten another name: the next start would write its pages into the other
    /// database. The new name; none if the log is not there any more.
    pub fn set_log_aside(&self, directory: &Path) -> io::Result<Option<String>> {
        let Some(log) = self.log.as_ref().filter(|log| log.look().is_ok()) else { return Ok(None) };
        let name = format!("{}-wal", files::aside(directory, "overwritten"));
        files::rename(directory, &log.path, &directory.join(&name))?;
        if let Some(index) = self.index.as_ref().filter(|index| index.look().is_ok()) {
            fs::remove_file(&index.path)?;
        }
        Ok(Some(name))
    }
}

/// The files that a connection of this process writes to, by data directory. SQLite has such a list of its own: a
/// process's locks on a file belong to all of its connections.
static IN_USE: Mutex<BTreeMap<PathBuf, Weak<OpenFiles>>> = Mutex::new(BTreeMap::new());

/// The files that this process writes to; none if it does not.
pub fn in_use(directory: &Path) -> Option<Arc<OpenFiles>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner).get(directory).and_then(Weak::upgrade)
}

/// A connection that reads what this process writes, whatever somebody else puts in the files' place; and the files it
/// reads.
///
/// # Errors
/// [`Displaced`], and when the database cannot be read.
pub fn open_in_use(directory: &Path) -> Result<(ReadStore, Option<Arc<OpenFiles>>), StoreFault> {
    let files = in_use(directory);
    let look = || files.iter().try_for_each(|files| files.look().map(drop));
    look()?;
    let connection = open_reader(&files::path(directory))?;
    // The first read opens the log and its index: only then is it sure which files those are.
    version_of(&connection)?;
    look()?;
    Ok((connection, files))
}

/// Copies the write-ahead log into the database while the writer goes on, and again what it wrote meanwhile, until that is
/// little. What is copied is on the disk then: SQLite waits for that only when all of the log is copied, which would be left
/// to the writer.
///
/// # Errors
/// When the files are not those that the writer uses, or cannot be used.
pub fn copy_log(directory: &Path) -> Result<(), StoreFault> {
    let Some(files) = in_use(directory) else { return Ok(()) };
    files.look()?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&files.database.path, flags)?;
    // If the writer has closed its own meanwhile: the log at the path may be another database's by now.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Opens the log.
    version_of(&connection)?;
    let mut before = 0;
    for _ in 0..ROUNDS {
        // Another database's pages must not be mixed with this one's.
        files.look()?;
        // Pages as the checkpoint found them when it began.
        let (pages, _) = connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE)?;
        files.mark.sync()?;
        if pages - before <= LITTLE {
            break;
        }
        before = pages;
    }
    Ok(())
}

/// Empties the write-ahead log; false if somebody still reads from it. The writer waits meanwhile: what it wrote last is
/// copied before.
///
/// # Errors
/// When the file cannot be used.
pub fn empty_log(directory: &Path) -> Result<bool, StoreFault> {
    // Another file's log must not be copied into the database, nor this one's into another file.
    let open = in_use(directory);
    open.iter().try_for_each(|files| files.look().map(drop))?;
    let connection = connect(directory)?;
    connection.busy_timeout(Duration::from_millis(20))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let checkpoint = |how: &str| {
        connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get::<_, i64>(0))
    };
    checkpoint("PASSIVE")?;
    Ok(checkpoint("TRUNCATE")? == 0)
}
