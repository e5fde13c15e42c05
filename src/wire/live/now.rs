//! The last hour by ten seconds, for charts.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::wire::limit::Limit;

/// Whose series are asked for; what is absent restricts nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NowQuery {
    /// Only this tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// At most so many tenants, those with the most events and attempts; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<100>>,
}

/// The last hour: 360 slots of ten seconds that have ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Now {
    /// When the first slot begins.
    #[schema(format = DateTime)]
    pub from: String,
    /// Length of one slot.
    #[schema(example = 10_000)]
    pub step_ms: i64,
    /// The whole router; null in a tenant's scope, and if one tenant is asked for.
    pub router: Option<NowRouter>,
    /// Tenants, those with the most events and attempts first.
    pub tenants: Vec<NowTenant>,
    /// How many tenants had something and are not listed.
    pub unlisted: usize,
    /// Tenants beyond the 500 that have series of their own, together; null in a tenant's scope, if one tenant is asked
    /// for, and if there are none.
    pub others: Option<NowSeries>,
    /// Whether each tenant has series of its own. If not, a tenant that is absent may be counted
    /// among the others.
    pub is_complete: bool,
}

/// Series of the whole router.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NowRouter {
    /// Its series.
    #[serde(flatten)]
    pub series: NowSeries,
    /// Events that no hook has.
    pub unrouted: Vec<u32>,
    /// From an event's arrival until LiveKit was answered: the median; null: there was none.
    pub ack_p50_ms: Vec<Option<f64>>,
    /// The same, of 99 in 100.
    pub ack_p99_ms: Vec<Option<f64>>,
    /// The median of the hour.
    pub hour_ack_p50_ms: Option<f64>,
    /// The same, of 99 in 100.
    pub hour_ack_p99_ms: Option<f64>,
}

/// Series of one tenant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NowTenant {
    /// Its name.
    pub tenant: String,
    /// Its series.
    #[serde(flatten)]
    pub series: NowSeries,
}

/// One value for each slot, the oldest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NowSeries {
    /// Events that came; of a tenant, those that a hook of it has, when it has them.
    pub received: Vec<u32>,
    /// Deliveries that were accepted.
    pub delivered: Vec<u32>,
    /// Attempts that failed.
    pub failing: Vec<u32>,
    /// Deliveries that waited or were in flight at the slot's end; null: not known.
    pub waiting: Vec<Option<u32>>,
    /// From an event's arrival until it was delivered: the median; null: nothing was delivered. Such values are
    /// accurate to within a factor of two.
    pub p50_ms: Vec<Option<f64>>,
    /// The same, of 99 in 100.
    pub p99_ms: Vec<Option<f64>>,
    /// The hour as a whole.
    pub hour: NowHour,
}

/// An hour.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NowHour {
    /// Events that came.
    pub received: u64,
    /// Deliveries that were accepted.
    pub delivered: u64,
    /// Attempts that failed.
    pub failing: u64,
    /// The median from an event's arrival until it was delivered.
    pub p50_ms: Option<f64>,
    /// The same, of 99 in 100.
    pub p99_ms: Option<f64>,
}
