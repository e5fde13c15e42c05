//! How a hook's events are delivered: everything that has a default.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The optional part of a hook. It is stored as it is spelled here: a new field needs a default for what is stored
/// already, or a new version in `registry/kept.rs`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Which of LiveKit's events it wants.
    pub events: Events,
    /// How deliveries are signed.
    pub sign: Sign,
    /// What the body is.
    pub format: Format,
    /// Fixed extra headers, in lower case; a value may be a credential.
    pub headers: Vec<(String, Masked)>,
    /// One attempt takes at most this long.
    pub timeout: Duration,
    /// When failed deliveries are tried again.
    pub retry: Retry,
    /// Attempts in flight at once, at most.
    pub concurrency: usize,
    /// Attempts started per second, at most.
    pub rate: Option<f64>,
    /// An event that keeps failing holds its call's later events at most this long.
    pub order_wait: Duration,
    /// Bodies of delivered events are kept so long, sealed, to be sent again. Zero is not spelled: releases that know no
    /// such key can read what is stored of most hooks.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub keep: Duration,
    /// Fields that are cut out of the body, as dotted names.
    pub redact: Vec<String>,
    /// Nothing is sent; everything waits.
    pub paused: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            events: Events::default(),
            sign: Sign::default(),
            format: Format::Raw,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            retry: Retry::default(),
            concurrency: 32,
            rate: None,
            order_wait: Duration::from_secs(30),
            keep: Duration::ZERO,
            redact: Vec::new(),
            paused: false,
        }
    }
}

/// Event names; as in LiveKit's own `filter_params`, `include` wins over `exclude`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    pub include: Vec<String>,
    pub exclude: Vec<String>,
}

impl Events {
    /// Whether events of this name are wanted.
    pub fn wants(&self, name: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|other| other == name);
        if self.include.is_empty() { !has(&self.exclude) } else { has(&self.include) }
    }
}

/// How deliveries are signed; more than one way at once is possible.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// Standard Webhooks 1.0, HMAC-SHA256.
    pub standard: bool,
    /// As LiveKit signs: `Authorization` holds a JWT with the body's hash.
    pub livekit: Option<KeyPair>,
}

impl Default for Sign {
    fn default() -> Self {
        Self { standard: true, livekit: None }
    }
}

/// A LiveKit API key and its secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    pub key: String,
    pub secret: Masked,
}

/// What the body of a delivery is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// LiveKit's, byte for byte.
    Raw,
    /// A CloudEvents 1.0 structured JSON with LiveKit's as `data`.
    CloudEvents,
}

impl Format {
    /// The name it has in hook tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::CloudEvents => "cloudevents",
        }
    }

    /// The format of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Raw, Self::CloudEvents].into_iter().find(|format| format.as_str() == name)
    }
}

/// When failed deliveries are tried again.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The wait after the first failure.
    pub initial: Duration,
    /// Each further one is this much longer.
    pub factor: f32,
    /// But never longer than this; 1 s at least.
    pub max: Duration,
    /// After a failed attempt, a delivery older than this is given up.
    pub max_age: Duration,
}

impl Retry {
    /// What keeps failing is not tried more often than this, whatever a hook sets.
    pub const SHORTEST_MAX: Duration = Duration::from_secs(1);
}

impl Default for Retry {
    /// A call is over in minutes: the first retries come within seconds.
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            factor: 2.0,
            max: Duration::from_secs(600),
            max_age: Duration::from_secs(24 * 3600),
        }
    }
}

/// Text that may be a secret: redacted wherever it is printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Masked(pub zeroize::Zeroizing<String>);

impl std::fmt::Debug for Masked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn include_wins_over_exclude() {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let events = Events { include: list(&["a", "b"]), exclude: list(&["b", "c"]) };
        assert_eq!(["a", "b", "c", "d"].map(|name| events.wants(name)), [true, true, false, false]);
        let events = Events { include: Vec::new(), exclude: list(&["b"]) };
        assert_eq!(["a", "b"].map(|name| events.wants(name)), [true, false]);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let pair = KeyPair { key: "APIx".into(), secret: Masked("hush".to_owned().into()) };
        let settings = Settings {
            sign: Sign { standard: true, livekit: Some(pair.clone()) },
            headers: vec![("x-api-key".into(), pair.secret)],
            ..Settings::default()
        };
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
