//! A tenant's data is erased: a reader walks through each table in the order of its rows and plans a part, the writer
//! removes it, with how far it came. So an erasure goes on where it was, whatever ended the process.

mod domains;
mod pages;
mod plan;
mod remove;
mod stored;
mod tables;

use rusqlite::{Connection, OptionalExtension, Result, params};

pub use self::domains::OwnDomains;
pub use self::plan::plan;
pub use self::stored::{StoredErasure, begin, has_old_remains, is_known, next, of_tenant};

use super::Bodies;
use crate::calls::{ErasePart, EraseStep};

/// Carries out a part; not twice.
pub fn run(connection: &Connection, bodies: &mut Bodies, part: &ErasePart) -> Result<()> {
    let ErasePart { id, from, to, at, .. } = part;
    let report: Option<String> = connection
        .prepare_cached(
            "SELECT report FROM erasures WHERE id = ?1 AND step = ?2 AND cursor = ?3 AND done_at IS NULL",
        )?
        .query_row(params![id, from.step as i64, from.cursor], |row| row.get(0))
        .optional()?;
    let Some(report) = report else { return Ok(()) };
    let mut erased = stored::counts(&report);
    remove::rows(connection, bodies, part, &mut erased)?;
    let report = serde_json::to_string(&erased).unwrap_or_default();
    let done_at = (to.step == EraseStep::Done).then_some(at.0);
    connection
        .prepare_cached(
            "UPDATE erasures SET step = ?2, cursor = ?3, report = ?4, done_at = ?5 WHERE id = ?1",
        )?
        .execute(params![id, to.step as i64, to.cursor, report, done_at])
        .map(drop)
}
