//! `switchhook events ID`.

use reqwest::Method;
use serde_json::Value;

use super::client::Router;
use super::words;
use crate::cli::failure::Failure;
use crate::cli::terminal::{lasted, plain, say};

/// Tells when an event came, how it was routed, and every attempt to deliver it.
#[derive(clap::Args)]
pub struct Flags {
    /// The event's id, as LiveKit, the log and `webhook-id` spell it
    id: String,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Prints the story.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    tell(&flags.router, &flags.id, flags.json).await
}

/// Prints the story of one event.
pub async fn tell(router: &Router, id: &str, json: bool) -> Result<(), Failure> {
    let story = router.ask(Method::GET, &["v1", "events", id]).await?;
    if json {
        say(story);
        return Ok(());
    }
    arrival(id, &story);
    history(&story);
    Ok(())
}

fn row(name: &str, value: Option<String>) {
    if let Some(value) = value {
        say(format_args!("{name:<12}{value}"));
    }
}

/// What came, and where it was routed.
fn arrival(id: &str, story: &Value) {
    let text = |key: &str| story[key].as_str().map(plain);
    row("event", Some(format!("{}  {}", plain(id), text("event").unwrap_or_default())));
    row("received", text("received_at"));
    row("call", text("call"));
    row("room", text("room"));
    row("who", text("who"));
    row("domain", text("domain"));
    row("held", story["held_ms"].as_i64().map(|ms| format!("{}, until its call was bound", lasted(ms))));
    row("routed by", text("rule"));
    row("tenant", text("tenant").zip(text("host")).map(|(tenant, host)| format!("{tenant} ({host})")));
    row(if story["tries"] == 0 { "goes to" } else { "posted to" }, text("url"));
    row("sequence", story["sequence"].as_i64().map(|sequence| sequence.to_string()));
}

/// What became of it, in the order of time.
fn history(story: &Value) {
    let text = |key: &str| story[key].as_str().map(plain);
    let replayed_at = time(&story["replayed_at"]);
    let attempts = story["attempts"].as_array().map_or(&[][..], Vec::as_slice);
    let is_before = |attempt: &&Value| replayed_at.is_some() && time(&attempt["at"]) < replayed_at;
    let count = attempts.iter().take_while(is_before).count();
    let (before, after) = attempts.split_at(count);
    let attempt = |attempt: &Value| row("attempt", Some(attempt_line(attempt)));
    before.iter().for_each(attempt);
    if let Some(state) = text("before_state") {
        let reason = text("before_reason").unwrap_or_default();
        row("before", Some(words::kept(&state, &reason, text("dead_at").as_deref())));
        row("replayed", text("replayed_at"));
    }
    after.iter().for_each(attempt);
    row("state", Some(words::state(story)));
    match (text("paused_since"), text("host")) {
        (Some(since), Some(host)) => row("paused", Some(paused(&since, &host, &story["paused_by"]))),
        _ => row("next try", text("due")),
    }
}

fn paused(since: &str, host: &str, by: &Value) -> String {
    if by == "file" {
        format!("since {since}, by the hooks file: take `paused: true` out of it")
    } else {
        format!("since {since}, its receiver answered 410: switchhook hooks resume {host}")
    }
}

fn time(value: &Value) -> Option<jiff::Timestamp> {
    value.as_str()?.parse().ok()
}

fn attempt_line(attempt: &Value) -> String {
    let answer = match attempt["status"].as_u64() {
        Some(status) => status.to_string(),
        None => attempt["error"].as_str().unwrap_or_default().to_owned(),
    };
    let latency = attempt["latency_ms"].as_f64().unwrap_or_default();
    let at = attempt["at"].as_str().unwrap_or_default();
    format!("{}  {at}  {answer}  {latency:.1} ms", attempt["number"])
}
