//! What a recovery came to.

use serde::Serialize;

use super::super::check::DatabaseFinding;
use super::super::contents::Contents;

/// What was saved of a damaged database, and what was not.
#[derive(Clone, Debug, Serialize)]
pub struct RecoveryReport {
    #[serde(flatten)]
    pub contents: Contents,
    pub tables: Vec<SavedTable>,
    /// Rows that cannot be read, in pages that can.
    pub unreadable_rows: usize,
    /// Pages that the disk does not give, and those in the log whose checksum is wrong.
    pub unreadable_pages: usize,
    /// Events whose row is lost, as far as an index still names them.
    pub lost: Vec<LostEvent>,
    /// Events whose body is lost: those that were to be delivered are dead letters now, the others are removed.
    pub without_body: Vec<LostEvent>,
    /// Rows that a disk has changed. None of them is used: such calls are bound anew, such hooks must be written again, and
    /// such events are dead letters when their turn comes.
    pub altered: Vec<DatabaseFinding>,
}

/// A table and its rows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SavedTable {
    pub table: String,
    pub saved: usize,
    /// How many the damaged database says it has; none: it does not say.
    pub had: Option<usize>,
}

/// An event that is lost whole or in part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LostEvent {
    /// Its row.
    pub row: i64,
    /// LiveKit's id, which was its `webhook-id`.
    pub id: String,
}
