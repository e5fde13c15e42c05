//! Whether a write-ahead log belongs to the database beside it. A router that is killed leaves its log; whoever copies
//! another database over the file and leaves the log has SQLite copy pages of the one into the other.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::super::files;
use super::super::super::in_place::{MARK_AT, mark_of};
use super::frames::LogFrames;

/// Whether the log beside a database was written for another one. A log with page 1 in it has the mark of its own database:
/// see `in_place::mark`. The first log of each start has page 1, a later one when a page was added or set free: before that,
/// whose it is cannot be seen.
///
/// # Errors
/// When a file cannot be read.
pub fn is_anothers(database: &Path) -> Result<bool> {
    let found = opened(database)?.map(|file| mark_of(&file)).transpose()?.flatten();
    let log = opened(&files::beside(database, "-wal"))?;
    let (Some(found), Some(log)) = (found, log) else { return Ok(false) };
    let marks = marks(&log)?;
    Ok(!marks.is_empty() && !marks.contains(&found))
}

/// The marks in the copies of page 1 that a log has.
fn marks(log: &File) -> Result<BTreeSet<[u8; 4]>> {
    let mut marks = BTreeSet::new();
    let Some(mut frames) = LogFrames::of(log)? else { return Ok(marks) };
    while let Some(frame) = frames.next()? {
        if frame.is_right && frame.page == 1 {
            let mut mark = [0; 4];
            log.read_exact_at(&mut mark, frame.at + MARK_AT)?;
            marks.insert(mark);
        }
    }
    Ok(marks)
}

fn opened(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}
