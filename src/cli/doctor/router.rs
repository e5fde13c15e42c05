//! What the running router says of itself: whether it is well, which hooks are in force, and whether LiveKit reaches it.

mod posts;

use self::posts::Posts;
use super::finding::{Finding, Severity, Subject};
use super::hooks::FoundBy;
use crate::cli::failure::Failure;
use crate::cli::remote::client::Router;
use crate::cli::remote::health::{Reason, readiness};
use crate::cli::terminal::{ago, counted};
use crate::wire::{CallList, CallQuery, HookList, HookQuery, Limit, Readiness, ReadinessStatus};

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
    let finding = |reason: Reason<'_>| {
        let severity = if reason.is_known() { Severity::Problem } else { Severity::Warning };
        let told = [reason.what(), reason.why().to_owned(), reason.fix()];
        Finding::new(severity, "router_degraded", Subject::the("router"), told)
    };
    Reason::all_of(readiness).map(finding).collect()
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
