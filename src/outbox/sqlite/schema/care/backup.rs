//! A backup: a copy of the database as it is at one moment, made while the router goes on.

mod slices;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use self::slices::Slices;
use super::super::connection::open_reader;
use super::super::files;
use super::super::in_place::MARK_AT;
use super::super::makeshift::ReadStore;
use super::check::count_altered;
use super::contents::{Contents, is_whole, not_read, open_known};
use super::draft::Draft;
use super::fault::{CareFault, absent, at, no_room};
use super::log;
use super::owner::folder_of;
use super::progress::Progress;

/// Bytes that are written between two syncs. All at once would delay the router's commits. So do many syncs: for each, a file
/// system like ext4 commits its journal, and the router's own sync waits for that.
const PART: u64 = 4 << 20;

/// How often is reported what is written.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// A backup that was made and verified.
#[derive(Debug)]
pub struct BackedUp {
    pub contents: Contents,
    /// History of an older release's database is still being copied: what is not yet, is not in the backup.
    pub lacks_history: bool,
    /// Rows whose sums are wrong: they were copied as they are.
    pub damaged: usize,
}

/// Copies the database in `directory` to the file `to`: what was committed when it began, without the free pages and what
/// they may hold. A running router goes on writing, and is left most of the processor and the disk. The copy is checked
/// before it has its name.
///
/// # Errors
/// [`CareFault::Exists`] unless `replaces`, and when something cannot be read or written.
pub fn back_up(
    directory: &Path,
    to: &Path,
    replaces: bool,
    progress: Progress<'_>,
) -> Result<BackedUp, CareFault> {
    let database = files::path(directory);
    if !database.exists() {
        return Err(absent(directory));
    }
    refuse_target(directory, to, replaces)?;
    log::refuse_unusable(&database)?;
    let store = open_known(&database)?;
    let draft = Draft::begin(to)?;
    copy(&database, store, &draft, progress)?;
    let mut copied = open_reader(&draft.path)?;
    Slices::beside(&database).slow(&mut copied, || ())?;
    is_whole(to, &copied)?;
    let contents = Contents::of(&copied)?;
    let lacks_history = is_taking_over(&copied)?;
    let damaged = count_altered(&copied)?;
    drop(copied);
    draft.publish()?;
    Ok(BackedUp { contents, lacks_history, damaged })
}

fn refuse_target(directory: &Path, to: &Path, replaces: bool) -> Result<(), CareFault> {
    let folder = folder_of(to);
    let (folder, directory) = (folder.canonicalize().map_err(at(folder))?, directory.canonicalize());
    if directory.is_ok_and(|directory| directory == folder) {
        return Err(CareFault::BesideTheDatabase);
    }
    match std::fs::symlink_metadata(to) {
        Ok(found) if !found.is_file() => Err(CareFault::NoFile(to.to_owned())),
        Ok(_) if !replaces => Err(CareFault::Exists(to.to_owned())),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn copy(
    database: &Path,
    mut store: ReadStore,
    draft: &Draft,
    progress: Progress<'_>,
) -> Result<(), CareFault> {
    let name = draft.path.to_str().ok_or_else(|| CareFault::Unnameable(draft.path.clone()))?;
    let (bytes, is_done) = (bytes_in_use(&store)?, AtomicBool::new(false));
    Slices::beside(database).slow(&mut store, sync_parts(draft)?)?;
    let copied = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(draft, bytes, &is_done, progress));
        let copied = store.execute("VACUUM INTO ?1", [name]);
        is_done.store(true, Ordering::Release);
        watcher.thread().unpark();
        copied
    });
    copied.map_err(|error| match error.sqlite_error_code() {
        // What is written is the copy.
        Some(ErrorCode::DiskFull) => no_room(folder_of(&draft.path), bytes),
        _ => not_read(database, error),
    })?;
    // A router sees by its mark if somebody copies the backup over its database.
    draft.file.write_all_at(&[0; 4], MARK_AT).map_err(at(&draft.path))?;
    draft.file.sync_all().map_err(at(&draft.path))
}

/// Syncs what is written of a draft, each [`PART`] by itself, if it is called often enough.
fn sync_parts(draft: &Draft) -> Result<impl FnMut() + Send + use<>, CareFault> {
    let (file, mut parts) = (draft.file.try_clone().map_err(at(&draft.path))?, Parts::default());
    Ok(move || {
        if parts.next(file.metadata().map_or(0, |file| file.len())) {
            // A fault comes again when the whole file is synced.
            let _ = file.sync_data();
        }
    })
}

/// Bytes of a draft up to which it is synced.
#[derive(Default)]
struct Parts(u64);

impl Parts {
    /// Whether a part is to be synced now that so many bytes are written.
    fn next(&mut self, written: u64) -> bool {
        let is_due = written >= self.0 + PART;
        if is_due {
            self.0 = written;
        }
        is_due
    }
}

/// Reports what is written, until all of it is.
fn watch(draft: &Draft, bytes: u64, is_done: &AtomicBool, progress: Progress<'_>) {
    while !is_done.load(Ordering::Acquire) {
        thread::park_timeout(REPORT_EVERY);
        progress(files::size(&draft.path).min(bytes), bytes);
    }
}

/// Bytes of the pages that a copy has, too.
fn bytes_in_use(store: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| store.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let bytes = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

fn is_taking_over(store: &Connection) -> rusqlite::Result<bool> {
    let has = "SELECT 1 FROM sqlite_schema WHERE name = 'predecessor'";
    Ok(store.prepare(has)?.exists([])?
        && store.prepare("SELECT 1 FROM predecessor WHERE done_at IS NULL")?.exists([])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_synced_when_four_megabytes_more_are_written() {
        let mut parts = Parts::default();
        let written = [0, PART - 1, PART, PART + 1, 2 * PART - 1, 3 * PART, 3 * PART, 4 * PART];
        assert_eq!(
            written.map(|bytes| parts.next(bytes)),
            [false, false, true, false, false, true, false, true]
        );
    }
}
