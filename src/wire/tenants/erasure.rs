//! The erasure of a tenant's data, and what came of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How an erasure goes, or what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Erasure {
    /// Whose data is erased.
    #[schema(example = "acme")]
    pub tenant: String,
    /// What came before this time is erased.
    #[schema(format = DateTime)]
    pub asked_at: String,
    /// When all of it was done; null: it is under way.
    #[schema(format = DateTime)]
    pub done_at: Option<String>,
    /// What it is at: `waiting`, `events`, `facts`, `calls`, `participants`, `numbers`, `audit`, `pages`, `files` or `done`.
    pub step: String,
    /// How much of it is done, about.
    #[schema(example = 100)]
    pub percent: u8,
    /// What is erased so far.
    pub erased: ErasedCounts,
    /// What stays, and why.
    pub stays: Vec<Stays>,
}

/// What was erased.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ErasedCounts {
    /// Delivered events.
    pub delivered: u64,
    /// Deliveries that were still to be made: they are not made.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
    /// Events that waited for their call.
    pub held: u64,
    /// Events without a hook, in its calls or for its domains.
    pub unrouted: u64,
    /// Failed attempts.
    pub attempts: u64,
    /// Bodies of delivered events that its hooks kept.
    pub kept_bodies: u64,
    /// What routing read of its calls, for the preview of an edit.
    pub facts: u64,
    /// Calls.
    pub calls: u64,
    /// Calls of which the session's id and its hook stay: they are live, or another tenant's, too.
    pub bare_calls: u64,
    /// SIP participants of calls.
    pub participants: u64,
    /// Called numbers.
    pub numbers: u64,
    /// Records of the audit log: who, what and when stay.
    pub records: u64,
    /// Pages of the database in whose unused parts remains were cleared.
    pub pages: u64,
    /// Backups of older releases' databases that were removed.
    pub backups: Vec<String>,
    /// Events of other tenants in its calls: they stay.
    pub shared_events: u64,
    /// The calls they are of, at most 100.
    pub shared: Vec<SharedCall>,
}

/// A call in which another tenant's events stay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SharedCall {
    /// The room's sid.
    #[schema(example = "RM_vV3")]
    pub call: String,
    /// Whose events stay.
    #[schema(example = "globex")]
    pub tenant: String,
    /// How many.
    pub events: u64,
}

/// Something that an erasure leaves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Stays {
    /// What.
    #[schema(example = "log lines")]
    pub what: String,
    /// Why, and what removes it.
    pub why: String,
}
