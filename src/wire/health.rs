//! Health, as probes ask for it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The process runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Alive {
    /// Always `ok`.
    #[schema(example = "ok")]
    pub status: String,
}

/// Whether events can be acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// In a word.
    pub status: ReadinessStatus,
    /// What is degraded.
    pub reasons: Vec<String>,
    /// Why the store does not work, or what cannot be read of it; absent if it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreTrouble>,
    /// Acknowledged events that are not stored yet.
    pub unwritten: usize,
}

/// Why the store does not work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StoreTrouble {
    /// In a word: `full`, `locked`, `read_only`, `io`, `moved`, `damaged`, `slow` or `other`.
    #[schema(example = "full")]
    pub fault: String,
    /// What cannot be read, while events are stored all the same; absent if events are not stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["deliveries"]))]
    pub unreadable: Vec<String>,
    /// What to do about it.
    pub fix: String,
}

/// Whether events can be acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessStatus {
    /// Everything works.
    Ready,
    /// Events are acknowledged; something else does not work.
    Degraded,
    /// Not yet.
    Starting,
    /// No longer: the router ends.
    Draining,
    /// There is room for events neither in the store nor in memory.
    Full,
}
