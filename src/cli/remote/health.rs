//! `switchhook health`: asks a router's `/readyz`, for the health check of a container, whose image has no curl.

mod reasons;

pub use self::reasons::Reason;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::client::Router;
use crate::cli::failure::Failure;
use crate::cli::terminal::{counted, paragraph, plain, say, say_json};
use crate::wire::{Readiness, ReadinessStatus, StoreTrouble};

/// Longer than a router takes that is busy; shorter than the timeouts of container engines (5 s and more).
const ANSWER: Duration = Duration::from_secs(3);

/// Asks `/readyz`. Exit code 0 as long as events are acknowledged, also if something is degraded; 1 if they are not,
/// or if no router answers within 3 s.
#[derive(clap::Args)]
pub struct Flags {
    /// Either listener of the router, such as `http://127.0.0.1:7890`; without: the API's of the data directory
    #[arg(long, env = "SWITCHHOOK_URL", value_name = "URL")]
    url: Option<Url>,
    /// The router's data directory
    #[arg(long, env = "SWITCHHOOK_DATA", value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// What the router answers, as one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks, prints the answer and its reasons.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { url, data, json } = flags;
    let readiness = readiness(&Router::of(url, data)).await?;
    if json {
        say_json(&readiness);
    } else {
        say(words(&readiness));
    }
    match readiness.status {
        ReadinessStatus::Ready | ReadinessStatus::Degraded => Ok(()),
        ReadinessStatus::Starting | ReadinessStatus::Draining | ReadinessStatus::Full => {
            Err(Failure::silent())
        }
    }
}

/// What `/readyz` answers, whatever its status is. No token is shown.
///
/// # Errors
/// When no answer comes within 3 s, or the answer is not that of a router.
pub async fn readiness(router: &Router) -> Result<Readiness, Failure> {
    let mut url = router.address()?;
    let client = router.client(&url, ANSWER)?;
    url.set_path(&format!("{}/readyz", url.path().trim_end_matches('/')));
    let failed = |error: reqwest::Error| {
        Failure::new(if error.is_timeout() {
            format!("{url} has not answered within {} s", ANSWER.as_secs())
        } else if error.is_decode() {
            format!("what answers at {url} is no router: {}", plain(&error.to_string()))
        } else {
            format!("no router answers at {url}")
        })
    };
    let answer = client.get(url.clone()).send().await.map_err(failed)?;
    answer.json().await.map_err(failed)
}

fn words(readiness: &Readiness) -> String {
    let mut lines = vec![status(readiness.status).to_owned()];
    lines.extend(Reason::all_of(readiness).flat_map(|reason| reason.lines()));
    // At a start, the store's fault is no reason of its own.
    let is_told = readiness.reasons.iter().any(|reason| reason == "store" || reason == "unreadable");
    if let Some(StoreTrouble { fault, fix, .. }) = readiness.store.as_ref().filter(|_| !is_told) {
        lines.push(format!("  the store fails ({})", plain(fault)));
        lines.extend(paragraph("  → ", fix));
    }
    if readiness.unwritten > 0 {
        lines.push(format!("  {} acknowledged, not stored yet", counted(readiness.unwritten, "event")));
    }
    lines.join("\n")
}

fn status(status: ReadinessStatus) -> &'static str {
    match status {
        ReadinessStatus::Ready => "ready",
        ReadinessStatus::Degraded => "degraded: events are acknowledged, something else does not work",
        ReadinessStatus::Starting => "not ready: starting",
        ReadinessStatus::Draining => "not ready: draining",
        ReadinessStatus::Full => "not ready: there is room for events neither in the store nor in memory",
    }
}
