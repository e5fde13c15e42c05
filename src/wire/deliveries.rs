//! Dead letters, and replays.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::limit::Limit;
use super::stories::EventStory;

/// A page of dead letters, the oldest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DeliveryList)]
pub struct LetterList {
    /// The page, each with its attempts.
    pub deliveries: Vec<EventStory>,
    /// Where the next page begins; null: this was the last one.
    pub next: Option<i64>,
}

/// Which dead letters a list holds; what is absent restricts nothing.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LetterQuery {
    /// Only the event with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Only this tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only those of the hook with this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Only events received then or later.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<jiff::Timestamp>,
    /// Only events received before.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
    /// What the page before gave as `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// At most so many; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<1000>>,
}

/// What is to be replayed; what is absent restricts nothing.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "tenant": "acme", "since": "2026-11-21T05:00:00Z", "dry_run": true }))]
pub struct ReplayRequest {
    /// Only the dead letter with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Only this tenant's dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only dead letters of the hook with this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Not dead letters, but whole calls with unrouted events; needs an operator's token.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unrouted: bool,
    /// With `unrouted`: only calls in which this domain was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// With `unrouted`: only what is unrouted for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `unrouted`: only this call, by its room's sid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Only events received then or later.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<jiff::Timestamp>,
    /// Only events received before.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
    /// What the replay before gave as `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    /// At most so many events; 10 000 if absent.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<10_000>>,
    /// Says what would be done, and does nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What a replay came to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "matched": 4, "replayed": 4, "without_hook": 0, "dry_run": false, "next": null }))]
pub struct ReplayAnswer {
    /// Events that pass the filter.
    pub matched: usize,
    /// Of how many calls; only with `unrouted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<usize>,
    /// Events that are sent again.
    pub replayed: usize,
    /// Events that have no hook to be sent to.
    pub without_hook: usize,
    /// Nothing was done.
    pub dry_run: bool,
    /// Where the rest begins; null: there is no rest.
    pub next: Option<i64>,
}
