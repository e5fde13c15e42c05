//! What a recovery came to.

use serde::Serialize;

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
    /// Pages that belong to the database and are behind the end of its file: it was cut off.
    pub missing_pages: u32,
    /// Events whose row is lost, as far as an index still names them; at most 10 000.
    pub lost: Vec<LostEvent>,
    /// How many such events there were in all.
    pub lost_events: usize,
    /// Events whose body is lost: those that were to be delivered are dead letters now, the others are removed. At most
    /// 10 000.
    pub without_body: Vec<LostEvent>,
    /// How many such events there were in all.
    pub without_body_events: usize,
    /// Rows that a disk has changed, and what became of each; at most 10 000.
    pub altered: Vec<SettledRow>,
    /// How many such rows there were in all.
    pub altered_rows: usize,
    /// It is not known which API tokens were revoked: all tokens of before are refused.
    pub refuses_tokens: bool,
    /// The name under which the log in the directory is set aside; none: it is not another database's.
    pub anothers_log: Option<String>,
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

/// Events that are lost whole or in part: the first ones, and how many there are.
pub struct LostEvents {
    pub named: Vec<LostEvent>,
    pub count: usize,
}

/// A row that a disk has changed, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SettledRow {
    pub table: &'static str,
    /// Its number, or its call, tenant or token.
    pub row: Option<i64>,
    pub key: Option<String>,
    pub became: String,
    /// What is left to do.
    pub fix: Option<String>,
}
