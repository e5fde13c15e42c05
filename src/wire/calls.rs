//! Calls, and what happened in one.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::limit::Limit;
use super::stories::EventStory;

/// One room session, and the hook it is bound to.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Call, example = json!({
    "call": "RM_vV3hMuPnBHZy", "room": "call-_+15550100_8e8z", "tenant": "acme", "host": "calls.acme.example",
    "url": "https://api.acme.example/hook", "shared": false, "sip": true, "strangers": 0,
    "began_at": "2026-11-21T05:46:52.100Z", "finished_at": null
}))]
pub struct CallStory {
    /// The room's sid.
    #[schema(example = "RM_vV3hMuPnBHZy")]
    pub call: String,
    /// The room's name.
    pub room: Option<String>,
    /// The tenant it is bound to.
    #[schema(example = "acme")]
    pub tenant: Option<String>,
    /// The host of the hook it is bound to.
    #[schema(example = "calls.acme.example")]
    pub host: Option<String>,
    /// Where its events go; without its query.
    pub url: Option<String>,
    /// Participants of several tenants met in it.
    pub shared: bool,
    /// A SIP participant was seen in it.
    pub sip: bool,
    /// Callers in it whose domain has no hook.
    pub strangers: i64,
    /// When its first event came.
    #[schema(format = DateTime)]
    pub began_at: String,
    /// When its room was finished.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
}

/// A page of calls, the newest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallList {
    /// The page.
    pub calls: Vec<CallStory>,
    /// Called numbers that came with another domain within the last 24 h, the newest first, at most 100.
    pub domain_changes: Vec<DomainChange>,
    /// Where the next page begins; null: this was the last one.
    pub next: Option<String>,
}

/// Which calls a list holds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallQuery {
    /// At most so many; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<1000>>,
    /// What the page before gave as `next`.
    #[param(pattern = "^[0-9]{1,15}(/.*)?$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only this tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Also rooms without SIP.
    #[param(required = false)]
    pub all: bool,
}

/// A call and its events.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Timeline {
    /// Null: only its events are still kept.
    pub call: Option<CallStory>,
    /// In order of arrival, each with its last attempt.
    pub events: Vec<EventStory>,
    /// Called numbers that came with another domain in this call.
    pub domain_changes: Vec<DomainChange>,
    /// There may be more events than these.
    pub truncated: bool,
    /// Asked for by a room's name: other sessions of that name, the newest first, at most 20.
    #[serde(default)]
    pub others: Vec<CallStory>,
}

/// A called number came with another domain, or went to another tenant: how most misrouting begins.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DomainChange {
    /// Without separators and a leading `+`.
    #[schema(example = "15550100")]
    pub number: String,
    /// The domain it came with.
    pub domain: String,
    /// The tenant it went to.
    pub tenant: Option<String>,
    /// The domain it had come with before.
    pub before_domain: String,
    /// The tenant it had gone to before.
    pub before_tenant: Option<String>,
    /// The sid of the call it changed with.
    pub call: Option<String>,
    /// When that call came.
    #[schema(format = DateTime)]
    pub at: String,
}
