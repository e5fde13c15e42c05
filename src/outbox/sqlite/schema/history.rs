//! The history of the database before is copied in small parts, each in a transaction with how far it came.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::connection::{open_reader, version_of};
use super::copy::{Bounds, EventRows};
use super::files;
use super::in_place::open_in_use;
use super::makeshift::ReadStore;
use crate::calls::HistoryPart;
use crate::outbox::engine::StoreFault;
use crate::time::UnixMillis;

/// A part has at most this many rows, and about so many bytes of bodies: the writer is busy with it for a
/// millisecond or two.
const ROWS: i64 = 64;
const BYTES: i64 = 256 << 10;

/// Parts that are planned at once.
const PARTS: usize = 50;

/// The database before, while its history is copied.
pub struct Predecessor {
    old: ReadStore,
    version: i64,
    bounds: Bounds,
}

/// How far the copying of history is.
struct Progress {
    file: PathBuf,
    copied: i64,
    bounds: Bounds,
}

/// What is to be copied next.
#[derive(Debug, Default)]
pub struct HistoryPlan {
    pub parts: Vec<HistoryPart>,
    /// The old file and its size: the backup.
    pub backup: PathBuf,
    pub bytes: u64,
}

impl Predecessor {
    /// The database that `new` took over from, if there is history to copy and its file is there.
    pub fn open(directory: &Path, new: &Connection) -> std::result::Result<Option<Self>, StoreFault> {
        let Some(Progress { file, bounds, .. }) = progress(directory, new)? else { return Ok(None) };
        if !file.exists() {
            tracing::error!(file = %file.display(), "the backup is gone: the rest of its history is not copied");
            new.execute("UPDATE predecessor SET done_at = 0", [])?;
            return Ok(None);
        }
        let old = open_reader(&file)?;
        let version = version_of(&old)?;
        Ok(Some(Self { old, version, bounds }))
    }

    /// Copies a part, which goes into the present transaction.
    pub fn copy(&self, new: &Connection, part: HistoryPart) -> Result<()> {
        let rows = EventRows::new(&self.old, new, self.version);
        let Bounds { young_from, kept_from } = self.bounds;
        let mut history = self.old.prepare_cached(
            "SELECT seq FROM events WHERE seq > ?1 AND seq <= ?2 \
             AND iif(state = 1, seq < ?3, state >= 2 AND state <> 4 AND seq < ?4) ORDER BY seq",
        )?;
        let mut history = history.query(params![part.after, part.up_to, young_from, kept_from])?;
        while let Some(row) = history.next()? {
            rows.copy(row.get(0)?)?;
        }
        let done_at = part.is_last.then_some(part.at.0);
        new.prepare_cached(
            "UPDATE predecessor SET copied = max(copied, ?1), done_at = coalesce(done_at, ?2)",
        )?
        .execute(params![part.up_to, done_at])
        .map(drop)
    }
}

fn progress(directory: &Path, new: &Connection) -> Result<Option<Progress>> {
    new.query_row(
        "SELECT file, copied, young_from, kept_from FROM predecessor WHERE done_at IS NULL",
        [],
        |row| {
            let bounds = Bounds { young_from: row.get(2)?, kept_from: row.get(3)? };
            // A backup that was restored may name another folder: nothing is read there.
            let name: String = row.get(0)?;
            let file = Path::new(&name).file_name().map(|name| directory.join(name)).unwrap_or_default();
            Ok(Progress { file, copied: row.get(1)?, bounds })
        },
    )
    .optional()
}

/// What is to be copied next; none if there is nothing. Reads the rows, so that the writer need not wait for the
/// disk when it copies them.
///
/// # Errors
/// When one of the databases cannot be read.
pub fn plan_history(
    directory: &Path,
    now: UnixMillis,
) -> std::result::Result<Option<HistoryPlan>, StoreFault> {
    let (new, _) = open_in_use(directory)?;
    let Some(Progress { file, copied, bounds }) = progress(directory, &new)? else { return Ok(None) };
    if !file.exists() {
        return Ok(None);
    }
    let old = open_reader(&file)?;
    let end = bounds.young_from.max(bounds.kept_from);
    let bytes = files::size(&file);
    let mut plan = HistoryPlan { parts: Vec::new(), backup: file, bytes };
    // Of delivered rows no body is left, whatever their size.
    let mut rows = old.prepare(
        "SELECT seq, iif(state >= 2, size, 0) FROM events WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = rows.query(params![copied, end, ROWS * PARTS as i64])?;
    let (mut after, mut last, mut count, mut size) = (copied, copied, 0, 0);
    while let Some(row) = rows.next()? {
        (last, count, size) = (row.get(0)?, count + 1, size + row.get::<_, i64>(1)?);
        if count >= ROWS || size >= BYTES {
            plan.parts.push(HistoryPart { after, up_to: last, is_last: false, at: now });
            (after, count, size) = (last, 0, 0);
        }
    }
    if plan.parts.len() < PARTS {
        // The rest, or nothing: either way it is the end.
        plan.parts.push(HistoryPart { after, up_to: last, is_last: true, at: now });
    }
    Ok(Some(plan))
}
