//! A new database from every row of a damaged one that can be read.

mod altered;
mod pages;
mod record;
mod report;
mod salvage;
mod settle;
mod shapes;

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use self::altered::Altered;
use self::pages::Pages;
pub use self::report::{LostEvent, RecoveryReport, SavedTable, SettledRow};
use self::salvage::Salvage;
use super::super::connection::{AMENDED, VERSION, create, open_reader};
use super::super::files;
use super::super::{ours, sums, take_over};
use super::contents::{Contents, count, is_whole};
use super::draft::Draft;
use super::fault::{CareFault, at, no_room};
use super::log::{self, bytes::PAGE};
use super::place::{self, Aside, Reached, put_in_place};
use super::progress::Progress;
use crate::outbox::engine::{FaultKind, StoreFault};
use crate::time::UnixMillis;

/// A new database in the data directory that only has to be put in place. Dropped, it is removed.
pub struct PreparedRecovery {
    directory: PathBuf,
    draft: Draft,
    pub report: RecoveryReport,
}

/// Reads every row that can be read of the database in a directory that no router uses, and makes a new database of
/// them. The damaged one is not changed. A database that only waits to be put in place is put there first.
///
/// # Errors
/// When nothing can be read of it, another release made it, or the new one cannot be written.
pub fn prepare_recovery(
    directory: &Path,
    now: UnixMillis,
    progress: Progress<'_>,
) -> Result<PreparedRecovery, CareFault> {
    take_over::finish(directory)?;
    let database = files::path(directory);
    if !files::parts(&database).any(|part| part.exists()) {
        return Err(CareFault::Nothing(directory.to_owned()));
    }
    let anothers_log = log::name_aside(directory).map_err(at(&database))?;
    let pages = match anothers_log {
        Some(_) => Pages::without_log(&database),
        None => Pages::open(&database),
    };
    let pages = pages.map_err(at(&database))?;
    refuse_other_version(&pages)?;
    if let Some(bytes) = pages.other_size() {
        return Err(CareFault::PageSize { path: database, bytes });
    }
    let draft = place::draft(directory)?;
    let mut report = match fill(&draft, &database, &pages, now, progress) {
        Err(CareFault::Store(fault)) if fault.kind() == Some(FaultKind::Full) => {
            // What was written of it leaves its room again.
            drop(draft);
            return Err(no_room(directory, pages.bytes()));
        }
        filled => filled?,
    };
    report.anothers_log = anothers_log;
    Ok(PreparedRecovery { directory: directory.to_owned(), draft, report })
}

/// Makes the new database.
fn fill(
    draft: &Draft,
    database: &Path,
    pages: &Pages,
    now: UnixMillis,
    progress: Progress<'_>,
) -> Result<RecoveryReport, CareFault> {
    let store = begin(draft)?;
    sums::teach(&store)?;
    let mut salvage = Salvage::new(&store)?;
    salvage.read(pages, progress)?;
    let (unreadable_rows, unreadable_pages) = (salvage.unreadable_rows, salvage.unreadable_pages);
    let tables = salvage.saved(&counts(database, pages))?;
    drop(salvage);
    if tables.iter().all(|table| table.saved == 0) {
        return Err(CareFault::Unreadable(database.to_owned()));
    }
    if pages.version() == Some(AMENDED) || !sums::has_any(&store)? {
        sums::begin(&store)?;
    }
    let Altered { named: altered, count: altered_rows, has_revocations } = altered::settle(&store, now)?;
    let without_body = settle::settle(&store, now)?;
    let refuses_tokens = has_revocations || may_lack_revocations(pages, &tables);
    if refuses_tokens {
        settle::refuse_tokens(&store, now)?;
    }
    settle::begin_again(&store)?;
    let lost = settle::lost(&store)?;
    store.execute_batch("COMMIT; DROP TABLE named")?;
    store.pragma_update(None, "user_version", VERSION)?;
    is_whole(&draft.path, &store)?;
    let contents = Contents::of(&store)?;
    store.close().map_err(|(_, error)| error)?;
    let missing_pages = pages.missing();
    Ok(RecoveryReport {
        contents,
        tables,
        unreadable_rows,
        unreadable_pages,
        missing_pages,
        lost: lost.named,
        lost_events: lost.count,
        without_body: without_body.named,
        without_body_events: without_body.count,
        altered,
        altered_rows,
        refuses_tokens,
        anothers_log: None,
    })
}

/// A revocation that was lost must not make its tokens valid again. What SQLite counts of a damaged log ends before the
/// damage, and what is damaged may be a revocation.
fn may_lack_revocations(pages: &Pages, tables: &[SavedTable]) -> bool {
    let is_lost = |table: &SavedTable| {
        ["tenants", "revoked_tokens"].contains(&table.table.as_str()) && table.had != Some(table.saved)
    };
    pages.unusable_frames() > 0 || tables.iter().any(is_lost)
}

impl PreparedRecovery {
    /// Sets the damaged database aside and puts the new one in its place; the name of the damaged one.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn put(self, reached: Reached<'_>) -> Result<Option<String>, CareFault> {
        put_in_place(&self.directory, self.draft, Aside::Damaged, reached)
    }
}

/// Other releases have other tables: their rows would not be found. A version that no release may have is damage.
fn refuse_other_version(pages: &Pages) -> Result<(), CareFault> {
    const MAY_BE: std::ops::Range<i64> = 1..100;
    match pages.version() {
        Some(found) if MAY_BE.contains(&found) && found > VERSION => {
            Err(StoreFault::Version { found, known: VERSION }.into())
        }
        Some(found) if MAY_BE.contains(&found) && found < AMENDED => Err(CareFault::Older(found)),
        _ => Ok(()),
    }
}

/// Begins a new database. If it is interrupted, its file is removed: it needs no journal.
fn begin(draft: &Draft) -> Result<Connection, CareFault> {
    let store = Connection::open(&draft.path)?;
    sums::distrust(&store)?;
    store.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    store.pragma_update(None, "synchronous", "OFF")?;
    store.pragma_update(None, "cache_size", -65_536)?;
    store.execute_batch("BEGIN")?;
    create(&store)?;
    Ok(store)
}

/// How many rows the damaged database says a table has; none: it does not say, or more than its pages have room for, since
/// they lead in circles.
fn counts(database: &Path, pages: &Pages) -> impl Fn(&str) -> Option<usize> {
    /// Bytes of the shortest row, and of what leads to it.
    const SHORTEST: usize = 4 + 2;
    let most = pages.count as usize * PAGE / SHORTEST;
    // SQLite removes the log of an empty file, and reads another's as the database's own.
    let store =
        (files::size(database) > 0 && pages.has_own_log).then(|| open_reader(database).ok()).flatten();
    // A view in the place of a table may never come to its end.
    let store = store.filter(|store| matches!(ours::foreign(store), Ok(None)));
    move |table| {
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM \"{table}\" LIMIT {})", most + 1);
        count(store.as_ref()?, &sql).ok().filter(|count| *count <= most)
    }
}

#[cfg(test)]
mod tests;
