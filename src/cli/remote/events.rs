//! `switchhook events ID`.

use reqwest::Method;
use serde_json::Value;

use super::client::Router;
use crate::cli::failure::Failure;
use crate::cli::terminal::{plain, say};

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
    let text = |key: &str| story[key].as_str().map(plain);
    let row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            say(format_args!("{name:<12}{value}"));
        }
    };
    row("event", Some(format!("{}  {}", plain(id), text("event").unwrap_or_default())));
    row("received", text("received_at"));
    row("call", text("call"));
    row("room", text("room"));
    row("who", text("who"));
    row("domain", text("domain"));
    row("routed by", text("rule"));
    row("tenant", text("tenant").zip(text("host")).map(|(tenant, host)| format!("{tenant} ({host})")));
    row("goes to", text("url"));
    row("held", story["held_ms"].as_i64().map(|ms| format!("{ms} ms")));
    row("sequence", story["sequence"].as_i64().map(|sequence| sequence.to_string()));
    row(
        "state",
        text("state").map(|state| match text("reason") {
            Some(reason) => format!("{state}: {reason}"),
            None => state,
        }),
    );
    for attempt in story["attempts"].as_array().into_iter().flatten() {
        row("attempt", Some(attempt_line(attempt)));
    }
    let paused = text("paused_since");
    if let (Some(since), Some(host)) = (&paused, text("host")) {
        row(
            "paused",
            Some(format!("since {since}, its receiver answered 410: switchhook hooks resume {host}")),
        );
    }
    row("next try", text("due").filter(|_| paused.is_none()));
    Ok(())
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
