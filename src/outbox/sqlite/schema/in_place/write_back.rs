//! The database is written back to its path from the connection that still has it open.
//!
//! Whenever the process is killed, the next start finds the new file complete under its working name, and puts it in
//! place (see `take_over::finish`), or in its place.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::super::connection::{VERSION, connect, open_reader, version_of, write_durably};
use super::super::files;
use super::displaced::{Displaced, OpenFile, OpenFiles};
use crate::outbox::engine::StoreFault;

/// What the new file may need besides the rows: its schema, and a log.
const MARGIN: u64 = 1 << 20;

/// After so many commits, all files are looked at, also if the writer never rests.
const LOOK_AT_ALL: u32 = 64;

/// With so many files set aside, what is in the database's place stays there: somebody puts one there again and again.
pub const SET_ASIDE: usize = 16;

/// Keeps the database where the next start will look for it.
#[derive(Debug)]
pub struct InPlace {
    directory: PathBuf,
    files: Arc<OpenFiles>,
    /// Bytes of the database at the last look. It only grows: vacuuming is done before.
    bytes: u64,
    commits: u32,
    is_displaced: bool,
    /// A look found it shorter. If it is as long again, somebody else has written into it.
    is_cut_off: bool,
    /// A copy that is in place, and not open yet.
    copy: Option<OpenFile>,
    /// The log says that writing back fails, or setting the log aside.
    has_failed: bool,
}

impl InPlace {
    /// Takes the files that this connection has just opened for the right ones.
    ///
    /// # Errors
    /// When they cannot be looked at.
    pub fn new(directory: &Path, connection: &Connection) -> Result<Self, StoreFault> {
        // Opens the log and its index, if nothing else did.
        version_of(connection)?;
        let files = OpenFiles::in_directory(directory, connection)?;
        let bytes = files.look()?;
        Ok(Self {
            directory: directory.to_owned(),
            files,
            bytes,
            commits: 0,
            is_displaced: false,
            is_cut_off: false,
            copy: None,
            has_failed: false,
        })
    }

    /// Whether the last look found the files in their place.
    pub fn is_displaced(&self) -> bool {
        self.is_displaced
    }

    /// Whether the files are in their place.
    ///
    /// # Errors
    /// [`Displaced`] when one is not.
    pub fn look(&mut self) -> Result<(), Displaced> {
        self.note(self.files.look())
    }

    /// Whether what has just been committed is where the next start will look for it. That it is the same database was
    /// seen before the commit: one that is overwritten later is lost with all of it, whenever that happens.
    ///
    /// # Errors
    /// [`Displaced`] when it is not.
    pub fn look_after_commit(&mut self) -> Result<(), Displaced> {
        self.commits = self.commits.wrapping_add(1);
        let all = self.commits.is_multiple_of(LOOK_AT_ALL);
        self.note(if all { self.files.look() } else { self.files.look_at_rows() })
    }

    /// Whether what has just been read is of this database, wherever that is.
    ///
    /// # Errors
    /// [`Displaced::Overwritten`] when it may not be.
    pub fn look_after_read(&mut self) -> Result<(), Displaced> {
        let bytes = self.files.look_inside()?;
        self.is_cut_off |= bytes < self.bytes;
        Ok(())
    }

    /// Whether the open database can be written to, wherever it is: what a commit writes must not be mixed with what
    /// somebody else has written into the file. `has_read`: the transaction has read, so it was just looked at.
    ///
    /// # Errors
    /// [`Displaced`] when it was overwritten, or cut off.
    pub fn look_before_commit(&mut self, has_read: bool) -> Result<(), Displaced> {
        if has_read && !self.is_cut_off {
            return Ok(());
        }
        match self.files.look_inside() {
            Ok(bytes) if bytes >= self.bytes && !self.is_cut_off => Ok(()),
            looked => self.note(looked),
        }
    }

    /// The database is lost: its log is given another name, so that no start takes it for the other database's.
    pub fn give_up(&mut self) {
        match self.files.set_log_aside(&self.directory) {
            Ok(None) => {}
            Ok(Some(log)) => {
                let database = self.files.database.path.display();
                tracing::error!(%database, log, "the database was overwritten: its log is set aside");
            }
            Err(error) if !std::mem::replace(&mut self.has_failed, true) => {
                tracing::error!(%error, "the log of the overwritten database cannot be set aside: remove it before a start");
            }
            Err(_) => {}
        }
    }

    fn note(&mut self, looked: Result<u64, Displaced>) -> Result<(), Displaced> {
        let before = self.bytes;
        let looked = looked.and_then(|bytes| {
            let path = self.files.database.path.clone();
            match bytes < before {
                true => Err(Displaced::CutOff { path, bytes, before }),
                false if self.is_cut_off => Err(self.files.overwritten()),
                false => Ok(bytes),
            }
        });
        self.is_cut_off |= matches!(looked, Err(Displaced::CutOff { .. }));
        self.is_displaced = looked.is_err();
        self.bytes = looked?;
        self.has_failed = false;
        Ok(())
    }

    /// Writes the database of `old` back to its path, and opens it there. `old` has no transaction, and is closed without
    /// a checkpoint: else the last connection to the old file would remove the log of the new one, which has its name.
    ///
    /// # Errors
    /// When it cannot be written or opened. Then `old` is still the database, and this can be tried again.
    pub fn write_back(&mut self, old: &Connection, displaced: Displaced) -> Result<Connection, Displaced> {
        self.try_to_write_back(old).map_err(|error| {
            if !std::mem::replace(&mut self.has_failed, true) {
                tracing::error!(%error, "the database cannot be written back to its path: this is tried again and again");
            }
            Displaced::NotWrittenBack { displaced: Box::new(displaced), error: Box::new(error) }
        })
    }

    fn try_to_write_back(&mut self, old: &Connection) -> Result<Connection, StoreFault> {
        if self.copy.as_ref().is_none_or(|copy| copy.look().is_err()) {
            self.copy = Some(copy(&self.directory, &self.files, old)?);
        }
        let new = connect(&self.directory)?;
        write_durably(&new)?;
        *self = Self::new(&self.directory, &new)?;
        Ok(new)
    }
}

/// Writes a copy of the database into a file of its own, and puts that file in the database's place.
fn copy(directory: &Path, open: &OpenFiles, old: &Connection) -> Result<OpenFile, StoreFault> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let (database, new) = (files::path(directory), files::new_path(directory));
    // Before anything is written: this is tried again and again.
    foreign(directory, open)?;
    // A file with the name that a start looks for is complete: another one is written first.
    let draft = files::beside(&new, ".new");
    [&draft, &new].into_iter().try_for_each(|file| files::remove(file))?;
    has_room(directory, old)?;
    // What was written into the open file meanwhile is in the copy, too.
    if let Err(error) = fill(&draft, old).and_then(|()| Ok(open.look_inside().map(drop)?)) {
        // What is half written must not take the room that others need.
        let _ = files::remove(&draft);
        return Err(error);
    }
    files::rename(directory, &draft, &new)?;
    let aside = make_way(directory, open)?;
    files::put_in_place(directory)?;
    let (file, bytes) = (database.display(), files::size(&database));
    match aside {
        Some(aside) => tracing::error!(
            %file,
            bytes,
            aside,
            "the database is written back to its path, where another file was: that one is set aside. To use it, stop \
             the router and run `switchhook store restore` with it"
        ),
        None => tracing::warn!(%file, bytes, "the database is written back to its path"),
    }
    Ok(OpenFile::at(database.clone())?.ok_or(Displaced::Gone(database))?)
}

/// Whether the file system has room for a copy.
fn has_room(directory: &Path, old: &Connection) -> Result<(), StoreFault> {
    let pragma = |name| old.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
    let needed = u64::try_from(used).unwrap_or_default() + MARGIN;
    let free = files::free_bytes(directory)?;
    if free >= needed {
        return Ok(());
    }
    let short = format!("{needed} bytes are needed to write the database back, {free} are free");
    Err(io::Error::new(ErrorKind::StorageFull, short).into())
}

fn fill(new: &Path, old: &Connection) -> Result<(), StoreFault> {
    let name =
        new.to_str().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "its path is not UTF-8"))?;
    old.execute("VACUUM INTO ?1", [name])?;
    // A file that was cut to nothing is an empty database to SQLite: that must not take the place of what is left.
    let copy = open_reader(new)?;
    if version_of(&copy)? != VERSION {
        return Err(io::Error::new(ErrorKind::InvalidData, "nothing is left in the open file").into());
    }
    Ok(files::sync(new)?)
}

/// Sets aside what somebody else put in the database's place; its name there.
fn make_way(directory: &Path, open: &OpenFiles) -> Result<Option<String>, StoreFault> {
    let foreign = foreign(directory, open)?;
    let aside = (!foreign.is_empty()).then(|| files::aside(directory, "replaced"));
    for (end, path) in foreign {
        if let Some(name) = &aside {
            fs::rename(&path, files::beside(&directory.join(name), end))?;
        }
    }
    Ok(aside)
}

/// What somebody else put in the place of the database and its log.
///
/// # Errors
/// When another process uses that: two routers would set aside each other's database, in turn. When too much is set aside.
fn foreign(directory: &Path, open: &OpenFiles) -> io::Result<Vec<(&'static str, PathBuf)>> {
    let database = files::path(directory);
    let found = ["", "-wal"].map(|end| (end, files::beside(&database, end)));
    let is_foreign = |path: &Path| files::size(path) > 0 && !open.has(path);
    let foreign: Vec<_> = found.into_iter().filter(|(_, path)| is_foreign(path)).collect();
    for (_, path) in &foreign {
        // Locks of this process on the file would end with this descriptor: it has none, the file is not its own.
        let user = fcntl_getlk(File::open(path)?, &Flock::from(FlockType::WriteLock))?;
        if let Some(user) = user {
            // A process of another container has no id here.
            let who = user.pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            let busy = format!("{who} uses the file that is there now: end it, or stop this router");
            return Err(io::Error::new(ErrorKind::ResourceBusy, busy));
        }
    }
    if !foreign.is_empty() && files::backups(directory)?.len() >= SET_ASIDE {
        let many = format!(
            "{SET_ASIDE} files are set aside already: find out who replaces the database, and delete them"
        );
        return Err(io::Error::new(ErrorKind::QuotaExceeded, many));
    }
    Ok(foreign)
}
