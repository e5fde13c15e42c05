//! Hooks that are registered at runtime.

mod states;
mod trials;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

pub use self::states::{
    HookState, HookStateList, LaneState, LastAnswer, TenantState, TenantStateList, TenantStateQuery,
};
pub use self::trials::{SampleKind, TestAnswer, TestRequest, TrialEvent};

use super::limit::Limit;
use super::stories::PauseCause;

/// A hook, as hooks.yaml spells one. What is absent has the operator's default. Durations are a whole number and
/// `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "url": "https://api.acme.example/hook", "numbers": ["+1 555-0100"] }))]
pub struct HookSpec {
    /// Where its events are posted: https, and a public address. `?***` at its end, as answers show it, keeps the
    /// query that is stored of this hook, if nothing before it differs.
    #[schema(example = "https://api.acme.example/hook")]
    pub url: String,
    /// Whose it is; absent: the token's tenant, or for operators whose it is already, else the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What signs instead of the tenant's derived secret: `whsec_` and base64 of 24 to 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<HiddenText>,
    /// Several of them, at most 4, the current one first; all sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<HiddenText>>,
    /// Numbers it is also found by, at most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Vec<String>>,
    /// SIP trunks it is also found by, at most 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunks: Option<Vec<String>>,
    /// Which of LiveKit's events it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventNames>,
    /// The tenant's own LiveKit API key: verifies what is posted to the tenant's own URL. The token has to
    /// name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit: Option<KeySpec>,
    /// How deliveries are signed: `standard`, `livekit`, or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["standard"]))]
    pub sign: Option<Vec<String>>,
    /// What `sign: [livekit]` signs with; absent: `livekit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub livekit_sign: Option<KeySpec>,
    /// What the body is: `raw` (LiveKit's, byte for byte) or `cloudevents`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "raw")]
    pub format: Option<String>,
    /// Fixed extra headers, at most 32, with 8 KiB in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, HiddenText>>,
    /// One attempt takes at most this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "10s")]
    pub timeout: Option<String>,
    /// When failed deliveries are tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
    /// Attempts in flight at once, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub concurrency: Option<u32>,
    /// Attempts started per second, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// An event that keeps failing holds its call's later events at most this long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "30s")]
    pub order_wait: Option<String>,
    /// Bodies of delivered events are kept so long, sealed, to be sent again; `0s`: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "24h")]
    pub keep: Option<String>,
    /// Fields that are cut out of the body, as dotted names, at most 64, of 256 characters each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["room.turnPassword"]))]
    pub redact: Option<Vec<String>>,
    /// Nothing is sent; everything waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

impl fmt::Debug for HookSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No more than that: the query of its URL may be a secret, too.
        f.debug_struct("HookSpec").finish_non_exhaustive()
    }
}

/// Names of LiveKit's events; `include` wins over `exclude`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventNames {
    /// Only these; empty: all.
    pub include: Vec<String>,
    /// All but these.
    pub exclude: Vec<String>,
}

/// A LiveKit API key and its secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySpec {
    /// The key.
    pub key: String,
    /// Its secret.
    pub secret: HiddenText,
}

/// When failed deliveries are tried again.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySpec {
    /// The wait after the first failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "500ms")]
    pub initial: Option<String>,
    /// Each further one is this much longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// But never longer than this; 1 s at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "10m")]
    pub max: Option<String>,
    /// After a failed attempt, a delivery older than this is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "24h")]
    pub max_age: Option<String>,
}

/// Text that may be a secret: never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub struct HiddenText(pub Zeroizing<String>);

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// A hook in force, with its effective settings. Secrets are never in it, except once: in the answer to what made
/// them.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Hook, example = json!({
    "host": "calls.acme.example", "tenant": "acme", "layer": "api", "version": 3,
    "url": "https://api.acme.example/hook", "secret": "derived", "numbers": ["15550100"], "trunks": [],
    "events": { "include": [], "exclude": [] }, "livekit": null, "sign": ["standard"], "livekit_sign": null,
    "format": "raw", "headers": [], "timeout": "10s",
    "retry": { "initial": "500ms", "factor": 2.0, "max": "10m", "max_age": "1d" }, "concurrency": 32, "rate": null,
    "order_wait": "30s", "keep": "1d", "redact": [], "paused_by": null, "paused_since": null, "shadowed": false, "without": [],
    "created_at": "2026-11-21T05:46:52.110Z", "changed_at": "2026-11-21T05:46:52.110Z"
}))]
pub struct HookAnswer {
    /// Its host pattern.
    #[schema(example = "calls.acme.example")]
    pub host: String,
    /// Whose it is.
    #[schema(example = "acme")]
    pub tenant: String,
    /// Who wrote it.
    pub layer: HookLayer,
    /// Rises with every change.
    pub version: i64,
    /// Where its events are posted. `?***` stands for its query, which may hold a credential and is not shown.
    #[schema(example = "https://api.acme.example/hook")]
    pub url: String,
    /// Where the secret comes from.
    pub secret: SecretSource,
    /// Numbers it is also found by.
    pub numbers: Vec<String>,
    /// SIP trunks it is also found by.
    pub trunks: Vec<String>,
    /// Which of LiveKit's events it wants.
    pub events: EventNames,
    /// The tenant's own LiveKit API key, without its secret.
    pub livekit: Option<String>,
    /// How deliveries are signed.
    pub sign: Vec<String>,
    /// The key that `sign: [livekit]` signs with, without its secret.
    pub livekit_sign: Option<String>,
    /// What the body is: `raw` or `cloudevents`.
    pub format: String,
    /// Names of the fixed extra headers; their values may be credentials and are not shown.
    pub headers: Vec<String>,
    /// One attempt takes at most this long.
    #[schema(example = "10s")]
    pub timeout: String,
    /// When failed deliveries are tried again.
    pub retry: RetrySpec,
    /// Attempts in flight at once, at most.
    pub concurrency: u32,
    /// Attempts started per second, at most.
    pub rate: Option<f64>,
    /// An event that keeps failing holds its call's later events at most this long.
    #[schema(example = "30s")]
    pub order_wait: String,
    /// Bodies of delivered events are kept so long, sealed, to be sent again; null: not at all.
    #[serde(default)]
    #[schema(example = "1d")]
    pub keep: Option<String>,
    /// Fields that are cut out of the body.
    pub redact: Vec<String>,
    /// What paused it; null: it is not paused.
    pub paused_by: Option<PauseCause>,
    /// Since when it is paused.
    #[schema(format = DateTime)]
    pub paused_since: Option<String>,
    /// The hooks file has a hook of the same host, which wins: this one is not in force.
    pub shadowed: bool,
    /// What of its numbers, trunks and LiveKit key the hooks file has, too: it is in force without them.
    #[serde(default)]
    pub without: Vec<String>,
    /// When it was registered; null: the file has it.
    #[schema(format = DateTime)]
    pub created_at: Option<String>,
    /// When it was last changed; null: the file has it.
    #[schema(format = DateTime)]
    pub changed_at: Option<String>,
    /// What signs, the current one first. Shown once: when the hook is created, and when its secret is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<HiddenText>>,
}

/// Who wrote a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HookLayer {
    /// The operator, in the hooks file.
    File,
    /// Somebody with a token, through the API.
    Api,
}

/// Where a hook's secret comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// It was given with the hook.
    Given,
    /// It is the tenant's own, derived from the master secret.
    Derived,
}

/// A page of hooks, by host.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HookList {
    /// The page.
    pub hooks: Vec<HookAnswer>,
    /// Where the next page begins; null: this was the last one.
    pub next: Option<String>,
}

/// Which hooks a list holds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HookQuery {
    /// Only this tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only those of this layer.
    #[param(inline)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<HookLayer>,
    /// What the page before gave as `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many; 100 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit<1000>>,
}

/// How an edit of a hook is carried out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HookEdit {
    /// Calls in progress move to the new URL, too, or are cut off when the hook is deleted.
    #[param(required = false)]
    pub now: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_prints_no_secret_and_refuses_the_servers_own_files() {
        let spec = r#"{"url":"https://a.example/?token=hush","secret":"whsec_hush","headers":{"x-api-key":"hush"},
            "livekit":{"key":"APIx","secret":"hush"}}"#;
        let spec: HookSpec = serde_json::from_str(spec).expect("a spec");
        assert!(!format!("{spec:?}").contains("hush"), "{spec:?}");
        for secret in [r#"{"file":"/etc/passwd"}"#, "3", "[]"] {
            let text = format!(r#"{{"url":"https://a.example","secret":{secret}}}"#);
            assert!(serde_json::from_str::<HookSpec>(&text).is_err(), "{secret}");
        }
    }
}
