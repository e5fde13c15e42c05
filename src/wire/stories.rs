//! One event: when it came, how it was routed, and every attempt to deliver it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All that is known of one event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Event, example = json!({
    "id": "EV_d5xCUcBNh4oK", "event": "participant_joined", "call": "RM_vV3hMuPnBHZy", "room": "call-_+15550100_8e8z",
    "who": "sip_+15550199", "received_at": "2026-11-21T05:46:52.110Z", "domain": "calls.acme.example",
    "state": "delivered", "rule": "domain", "reason": null, "tenant": "acme", "host": "calls.acme.example",
    "url": "https://api.acme.example/hook", "sequence": 2, "tries": 1, "held_ms": null, "replayed_at": null,
    "before_state": null, "before_reason": null, "dead_at": null, "kept_until": "2026-11-22T05:46:52.144Z", "total_ms": 34, "due": null, "paused_since": null,
    "paused_by": null, "attempts": [{ "number": 1, "at": "2026-11-21T05:46:52.113Z", "status": 200, "error": null,
        "latency_ms": 30.7, "url": "https://api.acme.example/hook" }]
}))]
pub struct EventStory {
    /// The event's id, as LiveKit, the log and `webhook-id` spell it.
    #[schema(example = "EV_d5xCUcBNh4oK")]
    pub id: String,
    /// LiveKit's name of the event.
    #[schema(example = "participant_joined")]
    pub event: String,
    /// The room's sid.
    #[schema(example = "RM_vV3hMuPnBHZy")]
    pub call: Option<String>,
    /// The room's name.
    pub room: Option<String>,
    /// The participant's identity.
    pub who: Option<String>,
    /// When it came.
    #[schema(format = DateTime, example = "2026-11-21T05:46:52.110Z")]
    pub received_at: String,
    /// The SIP domain its caller dialled.
    #[schema(example = "calls.acme.example")]
    pub domain: Option<String>,
    /// What became of it.
    pub state: EventState,
    /// The rule that routed it: `url`, `participant`, `domain`, `number`, `trunk` or `call`.
    #[schema(example = "domain")]
    pub rule: Option<String>,
    /// Why it is unrouted or held, or why it was given up.
    pub reason: Option<String>,
    /// The tenant it was routed to.
    #[schema(example = "acme")]
    pub tenant: Option<String>,
    /// The host of the hook it was routed to.
    #[schema(example = "calls.acme.example")]
    pub host: Option<String>,
    /// Where it was posted to, or is to be; without its query.
    #[schema(example = "https://api.acme.example/hook")]
    pub url: Option<String>,
    /// Its number among the deliveries of its call to this hook, from 1.
    pub sequence: Option<i64>,
    /// How often it was tried.
    pub tries: u32,
    /// How long it waited for its call to be bound.
    pub held_ms: Option<i64>,
    /// When it was last sent again because somebody asked for it.
    #[schema(format = DateTime)]
    pub replayed_at: Option<String>,
    /// What it was before it was sent again: `dead`, `unrouted`, `held` or `delivered`.
    pub before_state: Option<EventState>,
    /// Why it was that.
    pub before_reason: Option<String>,
    /// When it had been given up, if it was a dead letter before.
    #[schema(format = DateTime)]
    pub dead_at: Option<String>,
    /// Until when its body is kept, so that it can be sent again; null: it is not.
    #[serde(default)]
    #[schema(format = DateTime)]
    pub kept_until: Option<String>,
    /// From its receipt until it was delivered or given up; of one that had been delivered before (`before_state`), from
    /// `replayed_at` until it was delivered or given up after that.
    pub total_ms: Option<i64>,
    /// When it is tried again.
    #[schema(format = DateTime)]
    pub due: Option<String>,
    /// Since when its hook is paused, if that is why it waits.
    #[schema(format = DateTime)]
    pub paused_since: Option<String>,
    /// What paused its hook, if that is why it waits.
    pub paused_by: Option<PauseCause>,
    /// Its attempts in order; in a call's timeline only the last one.
    pub attempts: Vec<AttemptStory>,
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventState {
    /// It waits for its first or next attempt.
    Pending,
    /// Its receiver answered 2xx.
    Delivered,
    /// It was given up: a dead letter, which can be replayed.
    Dead,
    /// No hook was found for it.
    Unrouted,
    /// It waits for the caller who decides which tenant its call belongs to.
    Held,
}

impl EventState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Unrouted => "unrouted",
            Self::Held => "held",
        }
    }
}

/// What paused a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PauseCause {
    /// Its receiver answered 410.
    Gone,
    /// `paused: true` in the hooks file.
    File,
    /// Somebody asked for it through the API.
    Api,
}

impl PauseCause {
    /// The cause of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "gone" => Some(Self::Gone),
            "file" => Some(Self::File),
            "api" => Some(Self::Api),
            _ => None,
        }
    }
}

/// One attempt to deliver an event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Attempt)]
pub struct AttemptStory {
    /// From 1.
    pub number: u32,
    /// When it began.
    #[schema(format = DateTime)]
    pub at: String,
    /// The status its receiver answered.
    #[schema(example = 200)]
    pub status: Option<u16>,
    /// Why no answer came: `timeout`, `dns`, `refused`, `reset`, `tls`, `tls: expired`, `tls: wrong name`,
    /// `tls: unknown issuer`, `cut_off`, `local`, `protocol` or `forbidden`.
    pub error: Option<String>,
    /// From its beginning to the end of the answer.
    pub latency_ms: f64,
    /// Where it was posted to, without its query.
    pub url: Option<String>,
}
