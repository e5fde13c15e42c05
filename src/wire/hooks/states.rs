//! How hooks and tenants are doing.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::HookLayer;
use crate::wire::limit::Limit;
use crate::wire::stories::PauseCause;

/// How a hook is doing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "host": "voice.globex.example", "tenant": "globex", "layer": "api", "state": "failing",
    "since": "2026-11-21T05:42:10.004Z", "paused_by": null, "shadowed": false, "waiting": 1204, "oldest_ms": 282106,
    "last": { "status": null, "error": "refused", "at": "2026-11-21T05:46:50.020Z" },
    "next_probe": "2026-11-21T05:46:58.000Z", "breaker_open": true, "window": 32, "in_flight": 0, "slow": 0
}))]
pub struct HookState {
    /// Its host pattern.
    #[schema(example = "calls.acme.example")]
    pub host: String,
    /// Whose it is.
    #[schema(example = "acme")]
    pub tenant: String,
    /// Who wrote it.
    pub layer: HookLayer,
    /// In a word.
    pub state: LaneState,
    /// Since when it fails or is paused.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// What paused it.
    pub paused_by: Option<PauseCause>,
    /// The hooks file has a hook of the same host, which wins: this one is not in force.
    pub shadowed: bool,
    /// Deliveries that wait.
    pub waiting: usize,
    /// How long the oldest of them has waited.
    pub oldest_ms: Option<i64>,
    /// What its receiver answered last.
    pub last: Option<LastAnswer>,
    /// When it is tried next; null: at once, or not before it is resumed.
    #[schema(format = DateTime)]
    pub next_probe: Option<String>,
    /// Its receiver has failed five times in a row or more. Unless all of that was one event, one delivery at a time
    /// is tried from then on, until one is answered.
    pub breaker_open: bool,
    /// Attempts that may be in flight at once, at present; null: nothing was to be delivered lately.
    pub window: Option<usize>,
    /// Attempts in flight.
    pub in_flight: usize,
    /// Of these, so many have lasted for over a second.
    pub slow: usize,
}

/// How deliveries fare.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LaneState {
    /// The last attempt succeeded, or none was made yet.
    Delivering,
    /// The last attempts failed.
    Failing,
    /// Nothing is sent.
    Paused,
}

/// What a receiver answered last.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LastAnswer {
    /// The status.
    #[schema(example = 200)]
    pub status: Option<u16>,
    /// Why no answer came: `timeout`, `dns`, `refused`, `reset`, `tls`, `tls: expired`, `tls: wrong name`,
    /// `tls: unknown issuer`, `cut_off`, `local`, `protocol` or `forbidden`.
    pub error: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

/// How the hooks are doing, by host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HookStateList {
    /// The page.
    pub hooks: Vec<HookState>,
    /// Where the next page begins; null: this was the last one.
    pub next: Option<String>,
}

/// How a tenant is doing: its hooks together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TenantState {
    /// The tenant.
    #[schema(example = "acme")]
    pub tenant: String,
    /// How many hooks it has.
    pub hooks: usize,
    /// The worst of its hooks: paused, else failing, else delivering.
    pub state: LaneState,
    /// Since when.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// What paused the worst of its hooks.
    pub paused_by: Option<PauseCause>,
    /// Deliveries that wait.
    pub waiting: usize,
    /// How long the oldest of them has waited.
    pub oldest_ms: Option<i64>,
    /// What its receivers answered last.
    pub last: Option<LastAnswer>,
}

/// Which tenants a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TenantStateQuery {
    /// What the page before gave as `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<1000>>,
}

/// How the tenants are doing, by name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TenantStateList {
    /// The page.
    pub tenants: Vec<TenantState>,
    /// Where the next page begins; null: this was the last one.
    pub next: Option<String>,
}
