//! The database of an older release is taken over: what is live is copied into a new file at once, its history
//! in the background (see [`super::history`]). The old file stays as the backup.
//!
//! Whenever the process is killed, the next start finds the old file in its place, and begins anew, or the new
//! one complete, and goes on.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::connection::{VERSION, create, version_of};
use super::copy::{self, Bounds};
use super::files;
use super::sums;
use crate::outbox::engine::{FaultKind, StoreFault};

/// Where a take-over may be interrupted; tests do that after each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The old file is whole by itself: nothing of it is in a write-ahead log.
    Emptied,
    /// The new file has all that is live; it may not be on disk.
    Copied,
    /// It is on disk, and says that it is complete.
    Completed,
    /// The old file has its new name; there is no database.
    PutAside,
    /// The new file is the database.
    PutInPlace,
}

/// Why an older release's database is not taken over; it stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverFault {
    #[error(
        "there is no room to take over the database of the release before: {needed} bytes are needed, {free} are \
         free in the data directory"
    )]
    NoRoom { needed: u64, free: u64 },
    #[error("another process has the database open: end it, then start again")]
    InUse,
    #[error("the database has version {0}, of an older release: it is taken over once it can be written")]
    Older(i64),
}

impl From<TakeOverFault> for StoreFault {
    fn from(fault: TakeOverFault) -> Self {
        Self::Engine(FaultKind::Other, Box::new(fault))
    }
}

/// What a take-over asks of the system.
pub struct System<'a> {
    /// Bytes that are free on a directory's file system.
    pub free_bytes: &'a dyn Fn(&Path) -> std::io::Result<u64>,
    /// Called after each step; a fault ends the take-over there.
    pub reached: &'a dyn Fn(Step) -> Result<(), StoreFault>,
}

impl System<'static> {
    /// The machine's.
    pub fn real() -> Self {
        Self { free_bytes: &files::free_bytes, reached: &|_| Ok(()) }
    }
}

/// Finishes a take-over, a write-back or a restore that was interrupted after the old file was put aside; removes what
/// others left.
///
/// # Errors
/// When the new database cannot be put in place.
pub fn finish(directory: &Path) -> Result<(), StoreFault> {
    let (database, new) = (files::path(directory), files::new_path(directory));
    // What is left over only takes room: a start on a disk that is mounted read-only goes on beside it.
    let _ = files::remove(&files::beside(&new, ".new"));
    if !new.exists() {
        return Ok(());
    }
    // What somebody has emptied is no database: a write-back was about to take its place.
    if files::size(&database) > 0 {
        let _ = files::remove(&new);
        return Ok(());
    }
    let version = Connection::open(&new).and_then(|new| version_of(&new)).map_err(StoreFault::from);
    match version {
        // A backup of an older release that was being restored is as complete.
        Ok(1..=VERSION) => files::put_in_place(directory)?,
        Ok(..=0) => drop(files::remove(&new)),
        Err(fault) if fault.kind() != Some(FaultKind::Damaged) => return Err(fault),
        Ok(_) | Err(_) => set_aside(directory, &new)?,
    }
    Ok(())
}

/// Keeps a file that is no database of this release, in a directory that has none: the start goes on without it.
fn set_aside(directory: &Path, new: &Path) -> Result<(), StoreFault> {
    let aside = files::aside(directory, "unfinished");
    files::rename(directory, new, &directory.join(&aside))?;
    tracing::error!(
        file = %new.display(),
        aside,
        "a database that was to be put in place cannot be used: it is set aside"
    );
    Ok(())
}

/// Puts a new database in the place of `old`, the database in `directory`, whose version is `version`.
///
/// # Errors
/// [`TakeOverFault`], and when a file cannot be read or written.
pub fn take_over(
    directory: &Path,
    old: Connection,
    version: i64,
    system: &System<'_>,
) -> Result<(), StoreFault> {
    let (database, new) = (files::path(directory), files::new_path(directory));
    room(&old, directory, system)?;
    empty_log(&old)?;
    (system.reached)(Step::Emptied)?;
    let backup = files::aside(directory, &format!("v{version}"));
    files::remove(&new)?;
    copy_live(&old, &new, &backup, version)?;
    drop(old);
    (system.reached)(Step::Copied)?;
    files::sync(&new)?;
    // The version is written last: a file that has it is complete.
    Connection::open(&new)?.pragma_update(None, "user_version", VERSION)?;
    files::sync(&new)?;
    (system.reached)(Step::Completed)?;
    files::rename(directory, &database, &directory.join(&backup))?;
    (system.reached)(Step::PutAside)?;
    files::rename(directory, &new, &database)?;
    (system.reached)(Step::PutInPlace)?;
    let bytes = files::size(&directory.join(&backup));
    tracing::warn!(
        version,
        backup,
        bytes,
        "the database of an older release is taken over; the backup is needed until its history is copied, \
         which the log tells"
    );
    Ok(())
}

/// Puts what is in the write-ahead log into the database, which only one who has it alone can. Whoever has it open
/// may be about to end.
///
/// # Errors
/// [`TakeOverFault::InUse`], and when the database cannot be read or written.
pub fn empty_log(old: &Connection) -> Result<(), StoreFault> {
    const TRIES: u32 = 40;
    const BETWEEN: Duration = Duration::from_millis(50);
    for _ in 0..TRIES {
        let mode = old.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode == "delete" => return Ok(()),
            Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => {
                return Err(error.into());
            }
            Ok(_) | Err(_) => std::thread::sleep(BETWEEN),
        }
    }
    Err(TakeOverFault::InUse.into())
}

/// Whether there is room for the new file beside the old one.
fn room(old: &Connection, directory: &Path, system: &System<'_>) -> Result<(), StoreFault> {
    let pragma = |name| old.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (page, pages, unused) = (pragma("page_size")?, pragma("page_count")?, pragma("freelist_count")?);
    let [used, whole] = [pages - unused, pages].map(|pages| u64::try_from(pages * page).unwrap_or(0));
    // The old file grows by what is only in its log; rows of the new one are longer, and its log needs room, too.
    const LOG: u64 = 16 << 20;
    let needed = used + used / 4 + LOG + whole.saturating_sub(files::size(&files::path(directory)));
    let free = (system.free_bytes)(directory)?;
    if free < needed { Err(TakeOverFault::NoRoom { needed, free }.into()) } else { Ok(()) }
}

fn copy_live(old: &Connection, new: &Path, backup: &str, version: i64) -> Result<(), StoreFault> {
    let new = Connection::open(new)?;
    sums::teach(&new)?;
    // If it is interrupted, the file is removed: it needs no journal.
    new.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    new.pragma_update(None, "synchronous", "OFF")?;
    new.pragma_update(None, "cache_size", -65_536)?;
    new.execute_batch("BEGIN")?;
    create(&new)?;
    let Bounds { young_from, kept_from } = copy::live(old, &new, version)?;
    new.execute(
        "INSERT INTO predecessor (id, file, version, young_from, kept_from, copied) VALUES (1, ?1, ?2, ?3, ?4, 0)",
        (backup, version, young_from, kept_from),
    )?;
    new.execute_batch("COMMIT")?;
    new.close().map_err(|(_, error)| error.into())
}
