//! What had nowhere to go, and where an event would go.

mod explained;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use self::explained::{ExplainRequest, ExplainedOutcome, Explanation};

use super::calls::DomainChange;
use super::limit::Limit;

/// What is unrouted for one reason, with one domain, and what is to be done about it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = UnroutedGroup, example = json!({
    "reason": "no_hook", "domain": "calls.acme-typo.example", "events": 31, "calls": 3,
    "last_seen": "2026-11-21T05:46:52.110Z", "nearest": ["calls.acme.example"],
    "fix": "The carrier dials a name no hook has."
}))]
pub struct GroupStory {
    /// Why no hook was found.
    #[schema(example = "no_hook")]
    pub reason: String,
    /// The domain that was dialled.
    #[schema(example = "calls.acme-typo.example")]
    pub domain: Option<String>,
    /// How many events.
    pub events: usize,
    /// Of how many calls.
    pub calls: usize,
    /// When the last of them came.
    #[schema(format = DateTime)]
    pub last_seen: String,
    /// The known hosts most like the domain.
    pub nearest: Vec<String>,
    /// What is to be done about it.
    pub fix: String,
}

/// A page of what is unrouted; what can be mended comes first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UnroutedList {
    /// The page.
    pub unrouted: Vec<GroupStory>,
    /// When the groups were counted, where they are too many to be counted for each request; null: just now.
    #[schema(format = DateTime)]
    pub counted_at: Option<String>,
    /// Called numbers that within the last 24 h came with a domain that no hook has, and went to a tenant before;
    /// the newest first, at most 100.
    pub domain_changes: Vec<DomainChange>,
    /// Where the next page begins; null: this was the last one.
    pub next: Option<String>,
}

/// Which part of the list.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UnroutedQuery {
    /// At most so many groups; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<1000>>,
    /// What the page before gave as `next`.
    #[param(pattern = "^[0-9]{1,15}$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}
