//! Test events, and what their receiver answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is sent to a hook to try it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TestRequest {
    /// A whole recorded call of this kind, in order; absent: one event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<SampleKind>,
}

/// A kind of recorded call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SampleCall)]
pub enum SampleKind {
    /// The caller was answered and hung up.
    Answered,
    /// Nobody answered.
    Unanswered,
    /// An agent joined the call.
    WithAgent,
    /// The call was recorded (egress events).
    Recorded,
    /// The caller was transferred.
    Transferred,
}

/// What came of a test.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "host": "calls.acme.example", "delivered": true, "events": [{
    "id": "EV_testYq3c8uPd1k", "event": "participant_joined", "status": 200, "error": null, "latency_ms": 34.2,
    "answer": "ok"
}] }))]
pub struct TestAnswer {
    /// The hook's host.
    #[schema(example = "calls.acme.example")]
    pub host: String,
    /// Every event was answered 2xx.
    pub delivered: bool,
    /// Each event in the order it was sent.
    pub events: Vec<TrialEvent>,
}

/// A test event, and its receiver's answer. Without status and error: it was not sent, because the receiver had not
/// answered the one before.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = TestedEvent)]
pub struct TrialEvent {
    /// Its `webhook-id`.
    pub id: String,
    /// LiveKit's name of the event.
    #[schema(example = "participant_joined")]
    pub event: String,
    /// The status that was answered.
    #[schema(example = 200)]
    pub status: Option<u16>,
    /// Why no answer came: `timeout`, `dns`, `refused`, `reset`, `tls`, `tls: expired`, `tls: wrong name`,
    /// `tls: unknown issuer`, `protocol` or `forbidden`.
    pub error: Option<String>,
    /// From the beginning of the attempt to the end of the answer.
    pub latency_ms: f64,
    /// The beginning of the answer's body, at most 1 KiB; what is no UTF-8 is replaced.
    pub answer: Option<String>,
}
