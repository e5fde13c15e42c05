//! A new database takes the place of the one in a data directory, which stays under another name.
//!
//! Whenever the process is killed, the directory has the old database or the new one, whole: see
//! [`super::super::take_over::finish`] for the moment without either.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::super::connection::connect;
use super::super::files;
use super::super::take_over::{TakeOverFault, empty_log};
use super::contents::open_known;
use super::draft::Draft;
use super::fault::{CareFault, at};
use super::log;
use super::owner::{folder_of, give_to_owner};
use crate::outbox::engine::StoreFault;

/// Why a database is set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aside {
    /// A backup takes its place.
    Replaced,
    /// It is damaged; what can be read of it is in the one that takes its place.
    Damaged,
}

impl Aside {
    fn as_str(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Damaged => "damaged",
        }
    }
}

/// Where putting a database in place may be interrupted; tests do that after each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placing {
    /// The new database is whole, on disk, and has the name under which a start finds it.
    Published,
    /// The old database has a second name.
    SetAside,
    /// The old database has left a log that cannot be part of it: both have lost their first name.
    Cleared,
    /// The new database is the directory's.
    Placed,
}

/// Called after each step; a fault ends the work there.
pub type Reached<'r> = &'r dyn Fn(Placing) -> Result<(), StoreFault>;

/// The draft of a directory's next database. Nobody else may use the directory meanwhile.
///
/// # Errors
/// When it cannot be written.
pub fn draft(directory: &Path) -> Result<Draft, CareFault> {
    Draft::begin(&files::new_path(directory))
}

/// Makes a draft the directory's database; the name under which the old one stays, if there was one.
///
/// # Errors
/// When another process has the database open, or a file cannot be written.
pub fn put_in_place(
    directory: &Path,
    draft: Draft,
    kind: Aside,
    reached: Reached<'_>,
) -> Result<Option<String>, CareFault> {
    let database = files::path(directory);
    give_to_owner(&draft.file, directory).map_err(at(&draft.path))?;
    if kind == Aside::Replaced {
        fold_log(directory)?;
    }
    draft.publish()?;
    reached(Placing::Published)?;
    let name = set_aside(directory, kind)?;
    reached(Placing::SetAside)?;
    if files::parts(&database).skip(1).any(|part| part.exists()) {
        // SQLite would take the old log for the new database's.
        files::remove(&database).map_err(at(&database))?;
    }
    reached(Placing::Cleared)?;
    files::rename(directory, &files::new_path(directory), &database).map_err(at(&database))?;
    reached(Placing::Placed)?;
    Ok(name)
}

/// Puts what is in the write-ahead log into the database. One that cannot be read keeps its log beside it.
fn fold_log(directory: &Path) -> Result<(), CareFault> {
    let database = files::path(directory);
    if !log::is_usable(&database).map_err(at(&database))? || open_known(&database).is_err() {
        return Ok(());
    }
    match connect(directory).and_then(|connection| fold(&connection)) {
        Err(StoreFault::Engine(_, fault)) if !fault.is::<TakeOverFault>() => Ok(()),
        folded => Ok(folded?),
    }
}

/// Puts what is in the write-ahead log of a database into it, and removes the log.
///
/// # Errors
/// When another process has it open, or it cannot be read or written.
pub fn fold(store: &Connection) -> Result<(), StoreFault> {
    store.pragma_update(None, "synchronous", "FULL")?;
    empty_log(store)
}

fn set_aside(directory: &Path, kind: Aside) -> Result<Option<String>, CareFault> {
    let database = files::path(directory);
    // The log's index is made anew whenever it is missing.
    let _ = fs::remove_file(files::beside(&database, "-shm"));
    let name = files::aside(directory, kind.as_str());
    let (log, anothers) =
        (files::beside(&database, "-wal"), log::name_aside(directory).map_err(at(&database))?);
    let new = directory.join(&name);
    let present: Vec<_> =
        files::parts(&database).zip(files::parts(&new)).filter(|(part, _)| part.exists()).collect();
    for (part, name) in &present {
        // A database and another's log must not have names that belong together.
        let anothers = anothers.as_ref().filter(|_| *part == log).map(|log| directory.join(log));
        name_also(part, anothers.as_ref().unwrap_or(name))?;
    }
    files::sync_directory(directory).map_err(at(directory))?;
    Ok((!present.is_empty()).then_some(name))
}

/// Gives a file a second name; where the file system has no such thing, a copy has it.
fn name_also(file: &Path, name: &Path) -> Result<(), CareFault> {
    if fs::hard_link(file, name).is_ok() {
        return Ok(());
    }
    let copy = Draft::begin(name)?;
    copy.fill(file, &|_| {})?;
    give_to_owner(&copy.file, folder_of(name)).map_err(at(name))?;
    copy.publish()
}
