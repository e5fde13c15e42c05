//! Where an event would go, and why.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// An event, or what a caller's attributes hold; one of both.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "x_to_ip": "calls.acme.example", "to": "<sip:+15550102@192.0.2.7>;tag=x" }))]
pub struct ExplainRequest {
    /// An event as LiveKit posts it.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Map<String, Value>>,
    /// What the edge wrote: `sip.h.x-to-ip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_to_ip: Option<String>,
    /// `sip.h.to`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The number dialled: `sip.trunkPhoneNumber`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// The SIP trunk: `sip.trunkID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// The tenant by whose own URL it comes; absent: it comes by the platform's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// The decision; what does not apply is null.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "outcome": "unrouted", "rule": null, "source": "sip.h.x-to-ip", "value": "calls.acme-typo.example",
    "domain": "calls.acme-typo.example", "host": null, "tenant": null, "url": null, "reason": "no_hook",
    "fix": "The carrier dials a name no hook has.", "nearest": ["calls.acme.example"],
    "steps": ["sip.h.x-to-ip   calls.acme-typo.example", "hook            none of 2 matches"]
}))]
pub struct Explanation {
    /// What becomes of it.
    pub outcome: ExplainedOutcome,
    /// The rule that finds the hook.
    #[schema(example = "domain")]
    pub rule: Option<String>,
    /// The attribute the domain was read from.
    #[schema(example = "sip.h.x-to-ip")]
    pub source: Option<String>,
    /// What it holds.
    pub value: Option<String>,
    /// The domain that was dialled.
    pub domain: Option<String>,
    /// The hook's host pattern.
    pub host: Option<String>,
    /// The hook's tenant.
    pub tenant: Option<String>,
    /// Where it is delivered, without the URL's query.
    pub url: Option<String>,
    /// Why there is no hook.
    #[schema(example = "no_hook")]
    pub reason: Option<String>,
    /// What is to be done about it.
    pub fix: Option<String>,
    /// The known hosts most like the domain, if no hook has it.
    pub nearest: Option<Vec<String>>,
    /// The decision, step by step, for people.
    pub steps: Vec<String>,
}

/// What becomes of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExplainedOutcome {
    /// It has a hook.
    Routed,
    /// It waits for its call to be bound.
    Held,
    /// It has no hook.
    #[default]
    Unrouted,
}
