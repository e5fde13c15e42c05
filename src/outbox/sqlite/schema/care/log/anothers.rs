//! Whether a write-ahead log belongs to the database beside it. A router that is killed leaves its log; whoever copies
//! another database over the file and leaves the log has SQLite copy pages of the one into the other.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::path::Path;

use super::super::super::files;
use super::super::super::in_place::{MARK_AT, is_same_mark};
use super::frames::{LogFrames, filled};

const MAGIC: &[u8] = b"SQLite format 3\0";
const HEAD: usize = MARK_AT as usize + 4;

/// Whether the log beside a database has marks, and none of them is the file's.
///
/// # Errors
/// When a file cannot be read.
pub fn differ(database: &Path) -> Result<bool> {
    let found = opened(database)?.map(|file| mark_in(&file, 0)).transpose()?.flatten();
    let log = opened(&files::beside(database, "-wal"))?;
    let (Some(found), Some(log)) = (found, log) else { return Ok(false) };
    let marks = marks(&log)?;
    Ok(!marks.is_empty() && !marks.iter().any(|mark| is_same_mark(mark, &found)))
}

/// The marks in the copies of page 1 that a log has, one after the other, each once.
fn marks(log: &File) -> Result<Vec<[u8; 4]>> {
    let mut marks = Vec::new();
    let Some(mut frames) = LogFrames::of(log)? else { return Ok(marks) };
    while let Some(frame) = frames.next()? {
        if frame.is_right && frame.page == 1 {
            marks.extend(mark_in(log, frame.at)?);
            marks.dedup();
        }
    }
    Ok(marks)
}

/// The mark in the page 1 that begins there; none: that is no page 1.
fn mark_in(file: &File, at: u64) -> Result<Option<[u8; 4]>> {
    let mut head = [0; HEAD];
    let is_first = filled(file, &mut head, at)? && head.starts_with(MAGIC);
    Ok(head.last_chunk().copied().filter(|_| is_first))
}

fn opened(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}
