//! Deliveries, and replays of those that were given up.

pub(super) mod spelled;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use self::spelled::parse_time;

use super::limit::Limit;
use super::stories::{EventState, EventStory};

/// A page of deliveries, the newest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryList {
    /// The page, each with its attempts. It may be short, even empty, though more follow: a page looks at so many
    /// events at most.
    pub deliveries: Vec<EventStory>,
    /// Where the next page begins; null: this was the last one.
    pub next: Option<i64>,
}

/// Which deliveries a list holds; what is absent restricts nothing.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryQuery {
    /// Only the event with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Only this tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only those of the hook with this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Only events of this name, as LiveKit spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only those in this state.
    #[param(inline)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DeliveryState>,
    /// Only those whose last attempt was answered so: a status as `503`, or a class as `5xx`. A state's name means the
    /// state.
    #[param(value_type = Option<String>, pattern = "^([1-5][0-9][0-9]|[1-5]xx|pending|delivered|dead)$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusFilter>,
    /// Only this call's: the room's sid, or its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Only events received then or later; a date alone is the start of that day in UTC.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "spelled::time")]
    pub since: Option<jiff::Timestamp>,
    /// Only events received before.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "spelled::time")]
    pub until: Option<jiff::Timestamp>,
    /// What the page before gave as `next`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "spelled::after")]
    pub after: Option<i64>,
    /// At most so many; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<1000>>,
}

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It waits for its first or next attempt.
    Pending,
    /// Its receiver answered 2xx.
    Delivered,
    /// It was given up: a dead letter, which can be replayed.
    Dead,
}

impl DeliveryState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => EventState::Pending.as_str(),
            Self::Delivered => EventState::Delivered.as_str(),
            Self::Dead => EventState::Dead.as_str(),
        }
    }
}

/// What the last attempt was answered, or a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StatusFilter {
    /// From the first to the second status.
    Answered(u16, u16),
    /// In this state, whatever was answered.
    State(DeliveryState),
}

impl FromStr for DeliveryState {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut states = [Self::Pending, Self::Delivered, Self::Dead].into_iter();
        states.find(|state| state.as_str() == text).ok_or("a state is pending, delivered or dead")
    }
}

impl FromStr for StatusFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(state) = text.parse() {
            return Ok(Self::State(state));
        }
        let (lowest, highest) = (text.replace("xx", "00"), text.replace("xx", "99"));
        match (text.len(), lowest.parse(), highest.parse()) {
            (3, Ok(lowest @ 100..600), Ok(highest)) => Ok(Self::Answered(lowest, highest)),
            _ => Err(
                "it is what the last attempt was answered (503, or 5xx) or a state (pending, delivered or dead)",
            ),
        }
    }
}
impl TryFrom<String> for StatusFilter {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for StatusFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => f.write_str(state.as_str()),
            Self::Answered(lowest, highest) if lowest == highest => write!(f, "{lowest}"),
            Self::Answered(lowest, _) => write!(f, "{}xx", lowest / 100),
        }
    }
}

impl From<StatusFilter> for String {
    fn from(filter: StatusFilter) -> Self {
        filter.to_string()
    }
}

/// What is to be replayed; what is absent restricts nothing.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "tenant": "acme", "since": "2026-11-21T05:00:00Z", "dry_run": true }))]
pub struct ReplayRequest {
    /// Only the event with this id; not with `unrouted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Only this tenant's; not with `unrouted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only those of the hook with this host; not with `unrouted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Not dead letters, but delivered events whose hook keeps their bodies (`keep`), once more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub delivered: bool,
    /// Not dead letters, but whole calls with unrouted events; needs an operator's token.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unrouted: bool,
    /// With `unrouted`: only calls in which this domain was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// With `unrouted`: only what is unrouted for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `unrouted` or `delivered`: only this call, by its room's sid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Only events received then or later; a date alone is the start of that day in UTC.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "spelled::time")]
    pub since: Option<jiff::Timestamp>,
    /// Only events received before.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "spelled::time")]
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
    /// Events whose stored rows or bodies were altered, or sealed by another master secret: they are not sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub damaged: usize,
    /// Nothing was done.
    pub dry_run: bool,
    /// Where the rest begins; null: there is no rest.
    pub next: Option<i64>,
}

/// How an event or a call is sent again.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ResendQuery {
    /// Says what would be done, and does nothing.
    #[param(required = false)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_a_number_a_class_or_a_state() {
        let read = |text: &str| text.parse::<StatusFilter>().ok();
        assert_eq!(read("503"), Some(StatusFilter::Answered(503, 503)));
        assert_eq!(read("5xx"), Some(StatusFilter::Answered(500, 599)));
        assert_eq!(read("dead"), Some(StatusFilter::State(DeliveryState::Dead)));
        for text in ["503", "4xx", "pending", "delivered"] {
            assert_eq!(read(text).map(String::from).as_deref(), Some(text));
        }
        for text in ["", "held", "99", "600", "5x", "xx5", "x", "5xxx", "+50", "0xx", "5003"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
