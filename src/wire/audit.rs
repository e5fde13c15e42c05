//! Who changed what.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::deliveries::spelled::after;
use super::limit::Limit;

/// One change, or one attempt at a change that was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditEntry, example = json!({
    "id": 17, "at": "2026-11-21T05:46:52.110Z", "actor": "acme", "token": "Yq3c8uPd1k", "from": "192.0.2.7:51022",
    "tenant": "acme", "action": "hook.put", "target": "calls.acme.example", "before": null,
    "after": { "url": "https://api.acme.example/hook" }, "outcome": "done"
}))]
pub struct AuditLine {
    /// Rises with each entry.
    pub id: i64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who: `operator`, or the tenant's name.
    #[schema(example = "acme")]
    pub actor: String,
    /// The `jti` of the token.
    pub token: Option<String>,
    /// The address the request came from.
    #[schema(example = "192.0.2.7:51022")]
    pub from: Option<String>,
    /// The tenant whose thing it is.
    pub tenant: Option<String>,
    /// What was done.
    #[schema(example = "hook.put")]
    pub action: String,
    /// What it was done to: a host, an event's id, a tenant.
    pub target: Option<String>,
    /// What it was before, secrets redacted. Where it is larger than 8 KiB: `cut`, and how many `bytes` it has.
    #[schema(value_type = Option<Object>)]
    pub before: Option<serde_json::Value>,
    /// What it is now; so is it with this.
    #[schema(value_type = Option<Object>)]
    pub after: Option<serde_json::Value>,
    /// `done`, or `refused: ` and why.
    #[schema(example = "done")]
    pub outcome: String,
}

/// A page of the audit log, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// The page.
    pub entries: Vec<AuditLine>,
    /// Where the next page begins; null: this was the last one.
    pub next: Option<i64>,
}

/// Which entries a list holds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only what concerns this tenant's things.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What the page before gave as `next`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "after")]
    pub after: Option<i64>,
    /// At most so many; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<1000>>,
}
