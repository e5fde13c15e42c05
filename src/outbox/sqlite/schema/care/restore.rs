//! A backup becomes the database of a data directory again.

mod revocations;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

pub use self::revocations::RestoredRevocations;
use super::super::makeshift::ReadStore;
use super::super::{files, ours, sums, take_over};
use super::check::count_altered;
use super::contents::{Contents, is_whole, open_known, recognise};
use super::draft::Draft;
use super::fault::{CareFault, at};
use super::log;
use super::owner::create_private;
use super::place::{self, Aside, Reached, fold, put_in_place};
use super::progress::Progress;
use crate::outbox::sqlite::hooks;
use crate::registry::Vault;
use crate::signature::MasterSecret;
use crate::time::UnixMillis;

/// The write-ahead log, and the journal of a transaction that was interrupted, which is undone.
const LOGS: [&str; 2] = ["-wal", "-journal"];

/// What the write-ahead log and the indexes of a start may need besides the copy, in bytes.
const ROOM: u64 = 16 << 20;

/// A copy of a backup in the data directory, checked, that only has to be put in place. Dropped, it is removed.
pub struct PreparedRestore {
    directory: PathBuf,
    draft: Draft,
    pub plan: RestorePlan,
}

/// What a restore brings, and what it takes the place of.
#[derive(Clone, Debug)]
pub struct RestorePlan {
    /// What the backup holds.
    pub contents: Contents,
    /// What the directory's database holds; none: there is none, or not all of it can be read.
    pub present: Option<Contents>,
    /// Erasures that the directory's database knows and the backup does not; none: not all of it can be read.
    pub erasures: Option<Vec<Erased>>,
    /// What becomes of what was revoked since.
    pub revocations: RestoredRevocations,
    /// Hosts of hooks that the master secret does not open.
    pub unreadable: Vec<String>,
    /// Rows of the backup whose sums are wrong: the router does not use them.
    pub damaged: usize,
    /// The name under which the log in the directory is set aside; none: it is not another database's.
    pub anothers_log: Option<String>,
}

/// A tenant whose data was erased, and when that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Erased {
    pub tenant: String,
    pub asked_at: UnixMillis,
}

/// Copies a backup into a data directory that no router uses, and checks the copy. Nothing else is changed. A
/// log beside the backup is part of it. A database that only waits to be put in place is put there first.
///
/// # Errors
/// When the backup is damaged, foreign or a newer release's, or there is no room.
pub fn prepare_restore(
    directory: &Path,
    from: &Path,
    master: Option<&MasterSecret>,
    now: UnixMillis,
    progress: Progress<'_>,
) -> Result<PreparedRestore, CareFault> {
    take_over::finish(directory)?;
    let database = files::path(directory);
    let canonical = from.canonicalize().map_err(at(from))?;
    if database.canonicalize().is_ok_and(|database| database == canonical) {
        return Err(CareFault::Itself(from.to_owned()));
    }
    if !canonical.is_file() {
        return Err(CareFault::Foreign(from.to_owned()));
    }
    log::refuse_unusable(from)?;
    let draft = place::draft(directory)?;
    copy_whole(directory, &canonical, &draft, progress)?;
    let copied = open_copy(from, &draft)?;
    let contents = Contents::of(&copied)?;
    let unreadable = master.map_or(Ok(Vec::new()), |master| unreadable_hooks(&copied, master))?;
    let damaged = count_altered(&copied)?;
    let anothers_log = log::name_aside(directory).map_err(at(&database))?;
    let before = open_before(&database)?;
    let is_new = !files::parts(&database).any(|part| part.exists());
    let (present, erasures) = match &before {
        Some(before) => present_of(before, &copied)?,
        None => (None, is_new.then(Vec::new)),
    };
    let revocations = match is_new {
        true => RestoredRevocations::NotKnown,
        false => revocations::keep(before.as_deref(), &copied, now)?,
    };
    drop(before);
    copied.close().map_err(|(_, error)| error)?;
    let plan = RestorePlan { contents, present, erasures, revocations, unreadable, damaged, anothers_log };
    Ok(PreparedRestore { directory: directory.to_owned(), draft, plan })
}

impl PreparedRestore {
    /// Sets the directory's database aside and puts the backup in its place; the name of the one before, if there was one.
    ///
    /// # Errors
    /// When another process has the database open, or a file cannot be written.
    pub fn put(self, reached: Reached<'_>) -> Result<Option<String>, CareFault> {
        put_in_place(&self.directory, self.draft, Aside::Replaced, reached)
    }
}

/// Opens the directory's database; none: it cannot be read, or not all that was committed. A revocation or an erasure may be
/// what is missing.
fn open_before(database: &Path) -> Result<Option<ReadStore>, CareFault> {
    let is_whole = log::is_usable(database).map_err(at(database))?;
    Ok(is_whole.then(|| open_known(database).ok()).flatten())
}

fn copy_whole(directory: &Path, from: &Path, draft: &Draft, progress: Progress<'_>) -> Result<(), CareFault> {
    let all_bytes: u64 =
        std::iter::once("").chain(LOGS).map(|end| files::size(&files::beside(from, end))).sum();
    let (needed, free) = (all_bytes + ROOM, files::free_bytes(directory).map_err(at(directory))?);
    if free < needed {
        return Err(CareFault::NoRoom { path: directory.to_owned(), needed, free });
    }
    draft.fill(from, &|done| progress(done, all_bytes))?;
    LOGS.iter().try_for_each(|end| copy_log(&files::beside(from, end), &files::beside(&draft.path, end)))
}

fn copy_log(log: &Path, path: &Path) -> Result<(), CareFault> {
    if !log.exists() {
        return Ok(());
    }
    let copy = create_private(path).map_err(at(path))?;
    io::copy(&mut File::open(log).map_err(at(log))?, &mut &copy).map(drop).map_err(at(path))
}

/// Opens the copy of a backup: whole, and without a log. What is wrong with it is wrong with the backup.
fn open_copy(from: &Path, draft: &Draft) -> Result<Connection, CareFault> {
    let copied = Connection::open(&draft.path)?;
    sums::distrust(&copied)?;
    recognise(from, &copied)?;
    fold(&copied)?;
    is_whole(from, &copied)?;
    if let Some(found) = ours::foreign(&copied)? {
        return Err(CareFault::Damaged { path: from.to_owned(), found });
    }
    Ok(copied)
}

/// Hosts of hooks in force whose settings another master secret sealed, or that were altered.
fn unreadable_hooks(store: &Connection, master: &MasterSecret) -> rusqlite::Result<Vec<String>> {
    let vault = Vault::new(master, HashMap::new());
    let in_force = hooks::sealed(store)?.into_iter();
    let unreadable = in_force.filter(|(id, _, sealed)| vault.open(*id, Some(sealed)).is_err());
    Ok(unreadable.map(|(_, host, _)| host).collect())
}

type Present = (Option<Contents>, Option<Vec<Erased>>);

/// What the present database holds, and which of its erasures the copy does not know.
fn present_of(present: &Connection, copied: &Connection) -> Result<Present, CareFault> {
    let contents = Contents::of(present).ok();
    let known = erasures(copied)?;
    let since = erasures(present).ok().map(|mut all| {
        all.retain(|erased| !known.contains(erased));
        all
    });
    Ok((contents, since))
}

/// All erasures that a database knows; releases before had none.
fn erasures(store: &Connection) -> rusqlite::Result<Vec<Erased>> {
    let has = "SELECT 1 FROM sqlite_schema WHERE name = 'erasures'";
    if !store.prepare(has)?.exists([])? {
        return Ok(Vec::new());
    }
    store
        .prepare("SELECT tenant, asked_at FROM erasures ORDER BY asked_at")?
        .query_map([], |row| Ok(Erased { tenant: row.get(0)?, asked_at: UnixMillis(row.get(1)?) }))?
        .collect()
}
