//! What tenants used, day by day.

use std::ops::AddAssign;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::limit::Limit;

/// What was used. Each is counted once, whatever is sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct UsageCounts {
    /// Events that LiveKit sent, on the day they were received.
    pub events: i64,
    /// Events that were answered 2xx, on the day of the first such answer.
    pub deliveries: i64,
    /// Attempts that ended, whatever they came to, on the day they began.
    pub attempts: i64,
    /// Bytes of the events' bodies as LiveKit sent them.
    pub bytes: i64,
}

impl UsageCounts {
    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for UsageCounts {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.deliveries += more.deliveries;
        self.attempts += more.attempts;
        self.bytes += more.bytes;
    }
}

/// What one tenant used on one day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "day": "2026-11-21", "tenant": "acme", "events": 4810, "deliveries": 4802, "attempts": 4815, "bytes": 3982140
}))]
pub struct UsageLine {
    /// In UTC.
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    /// The tenant; empty: events that were nobody's, which only operators see.
    #[schema(example = "acme")]
    pub tenant: String,
    /// Events that LiveKit sent, on the day they were received.
    pub events: i64,
    /// Events that were answered 2xx, on the day of the first such answer.
    pub deliveries: i64,
    /// Attempts that ended, whatever they came to, on the day they began.
    pub attempts: i64,
    /// Bytes of the events' bodies as LiveKit sent them.
    pub bytes: i64,
}

impl UsageLine {
    /// The line of these counts.
    pub fn of(day: Date, tenant: String, counts: UsageCounts) -> Self {
        let UsageCounts { events, deliveries, attempts, bytes } = counts;
        Self { day, tenant, events, deliveries, attempts, bytes }
    }

    /// What was used.
    pub fn counts(&self) -> UsageCounts {
        let Self { day: _, tenant: _, events, deliveries, attempts, bytes } = *self;
        UsageCounts { events, deliveries, attempts, bytes }
    }
}

/// A page of usage, by day and tenant.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct UsageList {
    /// The page.
    pub usage: Vec<UsageLine>,
    /// All that was asked for, of all pages.
    pub totals: UsageCounts,
    /// False: events of this time are still to be counted, such as those of an older release after an upgrade.
    pub complete: bool,
    /// Where the next page begins; null: this was the last one.
    #[schema(example = "2026-11-21.acme")]
    pub next: Option<String>,
}

/// Which usage a list holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// The first day, in UTC; the first of the month of `to` if absent.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-01")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Date>,
    /// The last day; today if absent.
    #[param(value_type = Option<String>, format = Date, example = "2026-11-30")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Date>,
    /// Only this tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `csv`: all of it as CSV, as with `Accept: text/csv`.
    #[param(inline, example = "json")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<UsageFormat>,
    /// What the page before gave as `next`. Not for CSV.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many; 100 if absent. Not for CSV.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<1000>>,
}

/// How usage is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UsageFormat {
    /// A page of JSON.
    Json,
    /// All of it as CSV.
    Csv,
}
