//! Whether LiveKit's events arrive: what the router's metrics count since it started.

use std::collections::BTreeMap;

use crate::cli::doctor::finding::{Finding, Severity, Subject};
use crate::cli::terminal::{ago, counted};

/// What has been posted to the router since it started.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Posts {
    received: u64,
    /// By reason.
    rejected: BTreeMap<String, u64>,
}

impl Posts {
    /// Reads the text of `/metrics`.
    pub fn read(text: &str) -> Self {
        let mut posts = Self::default();
        for line in text.lines() {
            let Some((name, count)) = line.rsplit_once(' ') else { continue };
            let count = count.parse().unwrap_or(0);
            if name.starts_with("switchhook_events_received_total{") {
                posts.received += count;
            } else if let Some(label) = name.strip_prefix("switchhook_events_rejected_total{reason=\"") {
                posts.rejected.insert(label.trim_end_matches("\"}").to_owned(), count);
            }
        }
        posts
    }

    /// Whether LiveKit's events arrive. `last`: when the newest call began.
    pub fn finding(&self, last: Option<&str>) -> Option<Finding> {
        let count = |reason: &&(&str, _)| self.rejected.get(reason.0).copied().unwrap_or(0);
        if let Some(refusal) = REFUSALS.iter().find(|refusal| count(refusal) > 0) {
            let (reason, [why, fix]) = *refusal;
            let what = format!("has refused {} since it started: {reason}", counted(count(&refusal), "post"));
            let severity = if self.received == 0 { Severity::Problem } else { Severity::Warning };
            return Some(self.about(severity, "events_refused", [&what, why, fix]));
        }
        let fix = "in livekit.yaml, `webhook.urls` holds this router's URL (…:7890/webhook), as LiveKit reaches it, and \
                   `webhook.api_key` names a key the router has; then make a call";
        match (self.received, last) {
            (0, None) => {
                let what = "has never received an event";
                let why = "nothing shows that LiveKit posts to it; LiveKit's API does not say where it posts";
                Some(self.about(Severity::Warning, "no_event_yet", [what, why, fix]))
            }
            (0, Some(at)) => {
                let what = format!("has received no event since it started; the last call began {}", ago(at));
                let why = "if there were calls since, LiveKit does not reach it";
                Some(self.about(Severity::Note, "no_event_yet", [&what, why, fix]))
            }
            _ => None,
        }
    }

    fn about(&self, severity: Severity, check: &'static str, text: [&str; 3]) -> Finding {
        Finding::new(severity, check, Subject::the("router"), text.map(str::to_owned))
    }
}

/// Refusals that LiveKit's own posts come to, the plainest first. LiveKit does not post a refused event again.
const REFUSALS: [(&str, [&str; 2]); 5] = [
    (
        "unknown_key",
        [
            "if they are LiveKit's, `webhook.api_key` in livekit.yaml names a key the router does not have: those events \
             are lost",
            "give the router that key and its secret: LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or --keys-file",
        ],
    ),
    (
        "bad_signature",
        [
            "if they are LiveKit's, its secret of that key is another one: those events are lost",
            "give both the same pair of key and secret",
        ],
    ),
    (
        "not_yet_valid",
        [
            "the clock of this machine is more than 60 s behind LiveKit's: those events are lost",
            "let both machines keep their time by NTP",
        ],
    ),
    (
        "expired",
        [
            "the clock of this machine is ahead of LiveKit's, or something on the way holds posts for minutes: those \
             events are lost",
            "let both machines keep their time by NTP",
        ],
    ),
    (
        "body_mismatch",
        [
            "something between LiveKit and the router changes bodies: those events are lost",
            "let LiveKit post to the router directly, or through a proxy that passes bodies on unchanged",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn posts(received: u64, rejected: &[(&str, u64)]) -> Posts {
        let rejected = rejected.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect();
        Posts { received, rejected }
    }

    #[test]
    fn the_metrics_are_read_and_nothing_else_in_them() {
        let text = "# HELP x\nswitchhook_events_received_total{event=\"room_started\"} 3\n\
                    switchhook_events_received_total{event=\"other\"} 2\n\
                    switchhook_events_rejected_total{reason=\"unknown_key\"} 7\nswitchhook_hooks 9\n\n";
        assert_eq!(Posts::read(text), posts(5, &[("unknown_key", 7)]));
    }

    #[test]
    fn a_router_that_hears_nothing_says_what_to_look_at() {
        let check = |posts: Posts, last| posts.finding(last).map(|found| (found.check, found.severity));
        let long_ago = Some("2026-11-21T05:46:52.110Z");
        assert_eq!(check(posts(0, &[]), None), Some(("no_event_yet", Severity::Warning)));
        assert_eq!(check(posts(0, &[]), long_ago), Some(("no_event_yet", Severity::Note)));
        assert_eq!(check(posts(9, &[("missing_authorization", 4)]), long_ago), None);
        assert_eq!(check(posts(0, &[("unknown_key", 1)]), None), Some(("events_refused", Severity::Problem)));
        assert_eq!(
            check(posts(9, &[("not_yet_valid", 1)]), None),
            Some(("events_refused", Severity::Warning))
        );
    }
}
