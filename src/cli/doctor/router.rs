//! What the running router says of itself: whether it is well, which hooks are in force, and whether LiveKit reaches it.

use std::collections::BTreeMap;

use super::finding::{Finding, Severity, Subject};
use super::hooks::FoundBy;
use crate::cli::failure::Failure;
use crate::cli::remote::client::Router;
use crate::cli::terminal::{ago, counted};
use crate::wire::{CallList, CallQuery, HookList, HookQuery, Limit, Readiness, ReadinessStatus};

/// Pages of a thousand hooks that are looked at.
const PAGES: usize = 20;

/// A router that answers.
#[derive(Debug)]
pub struct Running {
    /// What its hooks are found by; None: it does not say.
    pub hooks: Option<Vec<FoundBy>>,
    pub findings: Vec<Finding>,
    /// In a few words.
    pub summary: String,
}

/// Asks the router.
///
/// # Errors
/// When none answers.
pub async fn ask(router: &Router) -> Result<Running, Failure> {
    let (_, text) = router.get(&["readyz"]).text().await?;
    let mut findings = Vec::new();
    let readiness = serde_json::from_str::<Readiness>(&text).ok();
    let status = match &readiness {
        Some(readiness) => {
            findings.extend(unwell(readiness));
            word(readiness.status)
        }
        None => "answers what is not a router's",
    };
    let mut summary = vec![status.to_owned()];
    let hooks = match hooks(router).await {
        Ok(hooks) => {
            summary.push(counted(hooks.len(), "hook"));
            Some(hooks)
        }
        Err(failure) => {
            findings.push(silent(failure.message));
            None
        }
    };
    if hooks.is_some() {
        let (last, posts) = (last_call(router).await, posts(router).await);
        summary.push(
            last.as_ref().map_or_else(|| "no call yet".to_owned(), |at| format!("last call {}", ago(at))),
        );
        findings.extend(posts.and_then(|posts| posts.finding(last.as_deref())));
    }
    Ok(Running { hooks, findings, summary: summary.join("; ") })
}

fn word(status: ReadinessStatus) -> &'static str {
    match status {
        ReadinessStatus::Ready => "ready",
        ReadinessStatus::Degraded => "degraded",
        ReadinessStatus::Starting => "starting",
        ReadinessStatus::Draining => "ending",
        ReadinessStatus::Full => "full",
    }
}

/// The router answers, but not to us.
fn silent(message: String) -> Finding {
    let why = "its hooks and whether LiveKit reaches it were not looked at".to_owned();
    let fix = "ask with the operator's token: --data, or --url and --token".to_owned();
    Finding::new(Severity::Warning, "router_says_nothing", Subject::the("router"), [message, why, fix])
}

/// What is degraded, each with what to do about it.
fn unwell(readiness: &Readiness) -> Vec<Finding> {
    let mut reasons: Vec<&str> = readiness.reasons.iter().map(String::as_str).collect();
    if readiness.status == ReadinessStatus::Full && !reasons.contains(&"full") {
        reasons.push("full");
    }
    let finding = |reason: &str| {
        let (severity, [what, why, fix]) = meaning(reason);
        let what = if what.is_empty() { format!("is degraded: {reason}") } else { what.to_owned() };
        Finding::new(
            severity,
            "router_degraded",
            Subject::the("router"),
            [what, why.to_owned(), fix.to_owned()],
        )
    };
    reasons.into_iter().map(finding).collect()
}

/// The reasons of `/readyz`: what is so, why it matters, what to do.
fn meaning(reason: &str) -> (Severity, [&'static str; 3]) {
    match reason {
        "store" => (
            Severity::Problem,
            [
                "cannot write to its store; it acknowledges events from memory",
                "events that are not stored are lost if it ends now",
                "is the disk full or broken? The log says why each commit fails",
            ],
        ),
        "full" => (
            Severity::Problem,
            [
                "refuses events: its store is at its limit, and all of it is still to be delivered",
                "LiveKit tries for 15 s, then each event is lost",
                "see which tenants are down (`switchhook tenants`), or raise --store-limit",
            ],
        ),
        "hooks" => (
            Severity::Problem,
            [
                "runs with an older hook table: the hooks file is faulty or gone",
                "changes to it are not in force",
                "`switchhook check` says every fault with its place",
            ],
        ),
        "unreadable_hooks" => (
            Severity::Problem,
            [
                "has hooks whose stored settings it cannot read: they are not in force",
                "calls of these hosts go to nobody",
                "was the master secret replaced? The log names the hooks and what to do",
            ],
        ),
        "certificate" | "api_certificate" => (
            Severity::Problem,
            [
                "serves an old certificate: the files of the new one cannot be used",
                "when the old one expires, nobody connects any more",
                "the log says what is wrong with the files",
            ],
        ),
        _ => (Severity::Warning, ["", "it serves, but worse than it should", "the log says why"]),
    }
}

/// All hooks in force.
async fn hooks(router: &Router) -> Result<Vec<FoundBy>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    for _ in 0..PAGES {
        let query = HookQuery { limit: Some(Limit::at_most(1000)), after, ..HookQuery::default() };
        let page: HookList = router.get(&["v1", "hooks"]).query(&query).answer().await?;
        let in_force = page.hooks.into_iter().filter(|hook| !hook.shadowed);
        all.extend(in_force.map(|hook| FoundBy {
            host: hook.host,
            tenant: hook.tenant,
            numbers: hook.numbers,
            trunks: hook.trunks,
        }));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(all)
}

/// When the newest call began.
async fn last_call(router: &Router) -> Option<String> {
    let query = CallQuery { limit: Some(Limit::at_most(1)), all: true, ..CallQuery::default() };
    let page: CallList = router.get(&["v1", "calls"]).query(&query).answer().await.ok()?;
    page.calls.into_iter().next().map(|call| call.began_at)
}

/// What the metrics count since the router started.
async fn posts(router: &Router) -> Option<Posts> {
    let (status, text) = router.get(&["metrics"]).text().await.ok()?;
    status.is_success().then(|| Posts::read(&text))
}

/// What has been posted to the router since it started.
#[derive(Debug, Default, PartialEq, Eq)]
struct Posts {
    received: u64,
    /// By reason.
    rejected: BTreeMap<String, u64>,
}

impl Posts {
    /// Reads the text of `/metrics`.
    fn read(text: &str) -> Self {
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
    fn finding(&self, last: Option<&str>) -> Option<Finding> {
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
