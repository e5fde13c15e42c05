//! Looks for damage in a database, which a router may be using: reads only.

mod altered;
mod finding;
mod rows;
mod structure;
mod sums;

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

pub use self::altered::{AlteredRow, named, written_again};
pub use self::finding::DatabaseFinding;
use self::finding::{NAMED, of_anothers_log, of_empty_file, of_file, of_log};
pub use self::sums::{count_altered, each_altered};
use super::super::files;
use super::contents::{Contents, open_known};
use super::fault::{CareFault, absent};
use super::log;
use super::owner::folder_of;
use super::progress::Progress;
use crate::signature::MasterSecret;

/// What a check came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CheckReport {
    pub findings: Vec<DatabaseFinding>,
    /// Findings besides.
    pub more: usize,
    /// None: it cannot be counted.
    pub contents: Option<Contents>,
    /// Whether what is sealed was opened: not without a master secret.
    pub opened_sealed: bool,
}

/// Looks through all tables and indexes and opens what is sealed, each in a reading of its own, so that a router beside can
/// empty its write-ahead log in between.
///
/// # Errors
/// When the file is none of ours or cannot be opened. Damage is no error, but a finding.
pub fn check(
    database: &Path,
    master: Option<&MasterSecret>,
    progress: Progress<'_>,
) -> Result<CheckReport, CareFault> {
    let is_routers = database.file_name() == Some(files::NAME.as_ref());
    if is_routers && !database.exists() && files::size(&log_of(database)) == 0 {
        return Err(absent(folder_of(database)));
    }
    let mut report = CheckReport { opened_sealed: master.is_some(), ..CheckReport::default() };
    // Before SQLite opens it: closing a file ends all locks that this process has on it.
    report.add(log_damage(database));
    if log::is_anothers(database).unwrap_or(false) {
        report.add(vec![of_anothers_log(&log_of(database))]);
        return Ok(report);
    }
    let store = match open_known(database) {
        Ok(store) => store,
        Err(CareFault::Damaged { found, .. }) => {
            report.add(vec![of_file(found)]);
            return Ok(report);
        }
        Err(CareFault::Foreign(_)) if is_ours_by_name(database) => {
            let is_empty = [database, &log_of(database)].map(files::size) == [0, 0];
            let no_database = || of_file("its first page is no database's".to_owned());
            report.add(vec![if is_empty { of_empty_file() } else { no_database() }]);
            return Ok(report);
        }
        Err(_) if is_routers && !database.exists() => {
            report.add(vec![of_file("it is missing, and its write-ahead log is there".to_owned())]);
            return Ok(report);
        }
        Err(fault) => return Err(fault),
    };
    look(&store, master, progress, &mut report);
    Ok(report)
}

fn look(store: &Connection, master: Option<&MasterSecret>, progress: Progress<'_>, report: &mut CheckReport) {
    let bytes = |pragma| store.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0)).unwrap_or(0);
    let all = u64::from(bytes("page_count")) * u64::from(bytes("page_size"));
    let tables = structure::tables(store);
    for (done, table) in (1..).zip(&tables) {
        report.add(structure::of_table(store, table));
        progress(all * done / tables.len().max(1) as u64, all);
    }
    report.add(structure::missing(store));
    let foreign = structure::foreign(store);
    let is_endless = !foreign.is_empty() || report.findings.iter().any(leads_in_circles);
    report.add(foreign);
    if is_endless {
        return;
    }
    type Look<'l> = &'l dyn Fn(&Connection) -> rusqlite::Result<Vec<DatabaseFinding>>;
    let looks: [Look<'_>; 4] = [
        &rows::without_body,
        &sums::altered,
        &|store| master.map_or(Ok(Vec::new()), |master| rows::sealed_hooks(store, master)),
        &|store| master.map_or(Ok(Vec::new()), |master| rows::sealed_bodies(store, master)),
    ];
    for look in looks {
        report.add(look(store).unwrap_or_else(|error| vec![of_file(error.to_string())]));
    }
    report.contents = Contents::of(store).ok();
}

/// Whether a page is reached in several ways. There may be more ways than can be gone; and a view in the place of a table may
/// never come to its end.
fn leads_in_circles(finding: &DatabaseFinding) -> bool {
    finding.found.contains("2nd reference to page")
}

impl CheckReport {
    fn add(&mut self, mut found: Vec<DatabaseFinding>) {
        self.more += found.len().saturating_sub(NAMED);
        found.truncate(NAMED);
        // What one table's damage makes of the others' is said once.
        found.retain(|finding| !self.findings.contains(finding));
        self.findings.append(&mut found);
    }

    /// How much is wrong.
    pub fn count(&self) -> usize {
        self.findings.len() + self.more
    }
}

fn log_damage(database: &Path) -> Vec<DatabaseFinding> {
    match log::damage(database) {
        Ok(found) => found.as_ref().map(of_log).into_iter().collect(),
        Err(error) => vec![of_file(format!("its write-ahead log cannot be read: {error}"))],
    }
}

fn log_of(database: &Path) -> PathBuf {
    files::beside(database, "-wal")
}

fn is_ours_by_name(database: &Path) -> bool {
    database.file_name().is_some_and(|name| name.to_string_lossy().starts_with(files::NAME))
}
