//! The live stream: what happens, as it happens.

mod now;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use self::now::{Now, NowHour, NowQuery, NowRouter, NowSeries, NowTenant};

use super::stories::AttemptStory;

/// What a stream holds; what is absent restricts nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LiveQuery {
    /// Only what belongs to this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only LiveKit's events of this name.
    #[param(example = "participant_joined")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only this call, by its room's sid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Only events whose caller dialled this domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// With each event that goes to a hook also the request as its tenant gets it, signed and redacted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bodies: bool,
}

/// Something that happened to an event. It is the `data` of a server-sent event, whose `event` is `what`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "what": "attempt", "at": "2026-11-21T05:46:52.144Z", "id": "EV_d5xCUcBNh4oK", "event": "participant_joined",
    "call": "RM_vV3hMuPnBHZy", "room": null, "who": null, "domain": "calls.acme.example", "tenant": "acme",
    "host": "calls.acme.example", "rule": "domain", "reason": null, "nearest": [], "sequence": 2, "lag_ms": null,
    "held_ms": null, "attempt": { "outcome": "delivered", "number": 1, "at": "2026-11-21T05:46:52.113Z", "status": 200,
        "error": null, "latency_ms": 30.7, "url": "https://api.acme.example/hook", "next_in_ms": null, "total_ms": 34 },
    "request": null
}))]
pub struct LiveEvent {
    /// What happened.
    pub what: LiveKind,
    /// When it happened.
    #[schema(format = DateTime)]
    pub at: String,
    /// The event's id, as LiveKit, the log and `webhook-id` spell it.
    pub id: String,
    /// LiveKit's name of the event.
    pub event: String,
    /// The room's sid, else its name.
    pub call: Option<String>,
    /// The room's name; only when the event comes.
    pub room: Option<String>,
    /// The participant's identity; only when the event comes.
    pub who: Option<String>,
    /// The SIP domain its caller dialled.
    pub domain: Option<String>,
    /// The tenant it was routed to.
    pub tenant: Option<String>,
    /// The host of the hook it was routed to.
    pub host: Option<String>,
    /// The rule that routed it.
    pub rule: Option<String>,
    /// Why it is unrouted, or why it was given up.
    pub reason: Option<String>,
    /// Of an unrouted event, the known hosts most like the domain that was dialled.
    pub nearest: Vec<String>,
    /// Its number among the deliveries of its call to this hook, from 1.
    pub sequence: Option<i64>,
    /// From LiveKit's `createdAt`, which has whole seconds, to its arrival here.
    pub lag_ms: Option<i64>,
    /// How long it waited for its call to be bound.
    pub held_ms: Option<i64>,
    /// What an attempt to deliver it came to.
    pub attempt: Option<LiveAttempt>,
    /// With `bodies`, when it is routed to a hook: what its tenant gets.
    pub request: Option<LiveRequest>,
}

/// What happens to events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LiveKind {
    /// It came, and a hook has it.
    Received,
    /// It came, and waits for the caller who decides which tenant its call belongs to.
    Held,
    /// It came, and no hook has it.
    Unrouted,
    /// It came once more.
    Duplicate,
    /// It was held, and a hook has it now.
    Released,
    /// It was unrouted, and a hook has it now, since somebody asked for it.
    Replayed,
    /// An attempt to deliver it has ended.
    Attempt,
}

impl LiveKind {
    /// Its name, as the stream's `event`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Held => "held",
            Self::Unrouted => "unrouted",
            Self::Duplicate => "duplicate",
            Self::Released => "released",
            Self::Replayed => "replayed",
            Self::Attempt => "attempt",
        }
    }
}

/// An attempt that has ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LiveAttempt {
    /// What it came to.
    pub outcome: LiveOutcome,
    /// The attempt.
    #[serde(flatten)]
    pub attempt: AttemptStory,
    /// Until it is tried again; null: not before its hook is resumed, or not at all.
    pub next_in_ms: Option<i64>,
    /// From the event's receipt, or from when it was last sent again because somebody asked for it; only if it is
    /// delivered or given up.
    pub total_ms: Option<i64>,
}

/// What an attempt came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LiveOutcome {
    /// The receiver answered 2xx.
    Delivered,
    /// It is tried again.
    Failed,
    /// It is given up.
    Dead,
}

/// A request as a tenant gets it, signed when it was written to the stream. The extra headers of its hook are left out:
/// they may be credentials.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "headers": { "content-type": "application/webhook+json", "webhook-id": "EV_d5xCUcBNh4oK",
        "webhook-timestamp": "1795240012", "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=" },
    "body": "{\"event\":\"participant_joined\"}", "is_base64": false
}))]
pub struct LiveRequest {
    /// Its headers, in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body: text, or base64 if it is no UTF-8.
    pub body: String,
    /// Whether the body is written in base64 (RFC 4648 §4).
    pub is_base64: bool,
}

/// The `data` of `event: lost`: the reader was too slow, or its connection was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveLoss {
    /// How many events are left out here.
    pub count: u64,
}

/// The `data` of `event: end`, the last event of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveEnd {
    /// `stopping`: the router stops. Else why the token is not accepted any more, such as `expired` or `revoked`.
    pub reason: String,
}
