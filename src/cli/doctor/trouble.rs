//! Why LiveKit gave no list, and what to do about it.

use serde::Deserialize;

use super::clock;
use super::finding::{Finding, Severity, Subject, listed};

/// Why a list could not be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Nobody answers: refused, no such name, a broken connection.
    Away(String),
    /// No whole answer within the deadline, in seconds.
    Slow(u64),
    /// The connection is not as secure as it must be.
    Insecure(String),
    /// An answer that is no 200.
    Refused {
        status: u16,
        /// The beginning of what it says.
        text: String,
    },
    /// A 200 that is no list.
    Foreign(String),
    /// More than so many bytes.
    Long(usize),
}

/// What was asked, and how.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'q> {
    /// LiveKit's address.
    pub url: &'q str,
    /// What was to be listed, such as `inbound trunks`.
    pub list: &'static str,
    /// The API keys that were tried.
    pub keys: &'q [String],
    /// How far our clock is ahead of LiveKit's, in seconds.
    pub ahead: Option<i64>,
    /// Whether other lists could be had.
    pub others: bool,
}

impl Trouble {
    /// Whether it is no use to ask for other lists.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Slow(_) | Self::Insecure(_))
    }

    /// Whether another key may be accepted.
    pub fn is_about_the_key(&self) -> bool {
        matches!(self, Self::Refused { status: 401, text } if !text.contains(NO_RIGHT))
    }

    /// What it means.
    pub fn finding(&self, inquiry: Inquiry<'_>) -> Finding {
        let severity = if inquiry.others { Severity::Warning } else { Severity::Problem };
        let (check, [what, fix]) = match self {
            Self::Refused { status, text } => refused(*status, &said(text), inquiry),
            other => ("livekit_unreachable", other.unreachable()),
        };
        let why = if inquiry.others {
            format!("what depends on its {} was not checked", inquiry.list)
        } else {
            "its trunks and dispatch rules were not checked".to_owned()
        };
        Finding::new(severity, check, Subject::of("LiveKit", inquiry.url, ""), [what, why, fix])
    }

    fn unreachable(&self) -> [String; 2] {
        let [what, fix]: [String; 2] = match self {
            Self::Away(why) => [
                format!("does not answer: {why}"),
                "is LIVEKIT_URL its address, and does it run? It listens on port 7880 unless told otherwise".into(),
            ],
            Self::Slow(seconds) => [
                format!("has not answered within {seconds} s"),
                "is the way there open (firewall), and is LIVEKIT_URL its address?".into(),
            ],
            Self::Insecure(why) => [
                format!("cannot be trusted: {why}"),
                "its certificate must be valid for the name in LIVEKIT_URL, and its issuer known to this machine; \
                 without TLS, ws:// or http://"
                    .into(),
            ],
            Self::Foreign(beginning) => [
                format!("answers what is no list of LiveKit's: {beginning}"),
                "LIVEKIT_URL leads to something else: a proxy's page, or another program".into(),
            ],
            Self::Long(bytes) => [
                format!("answers more than {} MiB", bytes >> 20),
                "is LIVEKIT_URL its address?".into(),
            ],
            Self::Refused { .. } => Default::default(),
        };
        [what, fix]
    }
}

/// How LiveKit says that a token lacks a right.
const NO_RIGHT: &str = "permissions denied";

/// A refusal by what LiveKit's server means with it (livekit, `pkg/service/auth.go`, `errors.go`; Twirp's error codes).
fn refused(status: u16, said: &str, inquiry: Inquiry<'_>) -> (&'static str, [String; 2]) {
    let Inquiry { list, keys, ahead, .. } = inquiry;
    let keys = match keys {
        [key] => format!("the key {key}"),
        keys => format!("any of the keys {}", listed(keys.iter().map(String::as_str))),
    };
    let (check, what, fix) = match status {
        401 | 403 if status == 403 || said.contains(NO_RIGHT) => (
            "livekit_right_missing",
            format!("does not let {keys} list its {list}: {said}"),
            "what was asked with has the grant sip.admin: something between here and LiveKit, or the project, \
             withholds it",
        ),
        401 if ahead.is_some_and(clock::is_grave) => (
            "livekit_refuses_the_time",
            format!("refuses a token of {keys}, and the clocks differ: {said}"),
            "mend the clocks first: a token is valid for a time only",
        ),
        401 if said.contains("invalid API key") => (
            "livekit_key_unknown",
            format!("does not know {keys}"),
            "set LIVEKIT_API_KEY and LIVEKIT_API_SECRET to a pair that stands in its `keys`",
        ),
        401 => (
            "livekit_secret_wrong",
            format!("refuses a token of {keys}: {said}"),
            "LIVEKIT_API_SECRET is not the secret of that key, or LIVEKIT_URL is another LiveKit",
        ),
        404 => (
            "livekit_without_sip",
            "has no SIP API".to_owned(),
            "LIVEKIT_URL leads to something else, or to a LiveKit that is older than inbound trunks (2024)",
        ),
        500 | 501 if status == 501 || said.contains("sip not connected") => (
            "livekit_without_sip",
            format!("has SIP switched off: {said}"),
            "SIP needs Redis: `redis:` in livekit.yaml, the same as the SIP service has",
        ),
        300..=399 => (
            "livekit_unreachable",
            format!("answers with a redirect ({status})"),
            "set LIVEKIT_URL to where it leads: a redirected POST loses its body",
        ),
        _ => ("livekit_fails", format!("answers {status}: {said}"), "look into LiveKit's log, and ask again"),
    };
    (check, [what, fix.to_owned()])
}

/// What an answer says, without Twirp's wrapping.
fn said(text: &str) -> String {
    #[derive(Deserialize)]
    struct Said {
        msg: String,
    }
    let msg = serde_json::from_str(text).map(|Said { msg }| msg);
    let said = msg.unwrap_or_else(|_| text.trim().to_owned());
    if said.is_empty() { "no reason given".to_owned() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_which_of_key_secret_right_and_clock_it_is() {
        let twirp = |msg: &str| format!(r#"{{"code":"unauthenticated","msg":"{msg}"}}"#);
        let table = [
            (401, "invalid API key".to_owned(), None, "livekit_key_unknown"),
            (401, "invalid authorization token".to_owned(), Some(0), "livekit_secret_wrong"),
            (
                401,
                "invalid authorization token: token is expired".to_owned(),
                Some(-900),
                "livekit_refuses_the_time",
            ),
            (401, twirp("permissions denied"), Some(-900), "livekit_right_missing"),
            (403, String::new(), None, "livekit_right_missing"),
            (404, "404 page not found".to_owned(), None, "livekit_without_sip"),
            (500, twirp("sip not connected (redis required)"), None, "livekit_without_sip"),
            (501, twirp("no"), None, "livekit_without_sip"),
            (500, "oops".to_owned(), None, "livekit_fails"),
            (302, String::new(), None, "livekit_unreachable"),
            (503, String::new(), None, "livekit_fails"),
        ];
        let keys = ["APIx".to_owned()];
        for (status, text, ahead, check) in table {
            let inquiry = Inquiry {
                url: "http://127.0.0.1",
                list: "inbound trunks",
                keys: &keys,
                ahead,
                others: false,
            };
            let finding = Trouble::Refused { status, text: text.clone() }.finding(inquiry);
            assert_eq!((finding.check, finding.severity), (check, Severity::Problem), "{status} {text}");
            assert!(!finding.what.contains("\"code\""), "{}", finding.what);
            let partly = Trouble::Refused { status, text }.finding(Inquiry { others: true, ..inquiry });
            assert_eq!(partly.severity, Severity::Warning);
        }
    }
}
