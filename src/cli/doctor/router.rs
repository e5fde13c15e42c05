//! What the running router says of itself: whether it is well, which hooks are in force, and whether LiveKit reaches it.

mod posts;

use self::posts::Posts;
use super::finding::{Finding, Severity, Subject};
use super::hooks::FoundBy;
use crate::cli::failure::Failure;
use crate::cli::remote::client::Router;
use crate::cli::remote::health::readiness;
use crate::cli::terminal::{ago, counted, plain};
use crate::wire::{
    CallList, CallQuery, HookList, HookQuery, Limit, Readiness, ReadinessStatus, StoreTrouble,
};

/// Pages of a thousand hooks that are looked at.
const PAGES: usize = 20;

/// A router that answers.
#[derive(Debug)]
pub struct Running {
    /// What its hooks are found by; none, if it does not say.
    pub hooks: Vec<FoundBy>,
    pub findings: Vec<Finding>,
    /// In a few words.
    pub summary: String,
}

/// Asks the router: how it is without a token, the rest with one.
///
/// # Errors
/// When none answers.
pub async fn ask(router: &Router) -> Result<Running, Failure> {
    let readiness = readiness(router).await?;
    let (status, mut findings) = (word(readiness.status), unwell(&readiness));
    let hooks = match hooks(router).await {
        Ok(hooks) => hooks,
        Err(failure) => {
            findings.push(silent(failure.message));
            return Ok(Running { hooks: Vec::new(), findings, summary: status.to_owned() });
        }
    };
    let (last, posts) = (last_call(router).await, posts(router).await);
    findings.extend(posts.and_then(|posts| posts.finding(last.as_deref())));
    let last = last.map_or_else(|| "no call yet".to_owned(), |at| format!("last call {}", ago(&at)));
    let summary = format!("{status}; {}; {last}", counted(hooks.len(), "hook"));
    Ok(Running { hooks, findings, summary })
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
        let (what, fix) = match &readiness.store {
            Some(StoreTrouble { fault, fix }) if reason == "store" => {
                (format!("{what} ({})", plain(fault)), plain(fix))
            }
            _ => (what, fix.to_owned()),
        };
        Finding::new(severity, "router_degraded", Subject::the("router"), [what, why.to_owned(), fix])
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
        "new_database" => (
            Severity::Problem,
            [
                "began with a new database: the one of the data directory was missing or empty",
                "pending deliveries, calls in progress, hooks of the API and history are lost",
                "stop the router and run `switchhook store restore FILE`; or restart it to go on without them",
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
        "damaged" => (
            Severity::Problem,
            [
                "has met damaged rows in its store",
                "events that they belong to are dead letters or unrouted: nobody gets anything by a damaged row",
                "the log names the rows; `switchhook store check` finds all of them, then `switchhook store recover`",
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
