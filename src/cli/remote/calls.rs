//! `switchhook calls`: which calls there are, and what happened in one.

use reqwest::Method;
use serde_json::Value;

use super::client::Router;
use super::unrouted::tell_changes;
use super::words;
use crate::cli::failure::Failure;
use crate::cli::terminal::{ago, counted, lasted, plain, say, shorten};

/// Lists calls, the newest first, or tells one event by event.
#[derive(clap::Args)]
pub struct Flags {
    /// The room's sid, or its name; without: the list
    room: Option<String>,
    /// Only this tenant's
    #[arg(long, conflicts_with = "room")]
    tenant: Option<String>,
    /// Also rooms without SIP
    #[arg(long, conflicts_with = "room")]
    all: bool,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// One JSON object per line instead; of one call, one object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Prints the list or the call.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    match &flags.room {
        Some(room) => {
            let found = flags.router.ask(Method::GET, &["v1", "calls", room]).await?;
            if flags.json {
                say(&found);
            } else {
                tell(room, &found);
            }
        }
        None => list(&flags).await?,
    }
    Ok(())
}

async fn list(flags: &Flags) -> Result<(), Failure> {
    let mut query = vec![("limit", flags.limit.to_string()), ("all", flags.all.to_string())];
    query.extend(flags.tenant.clone().map(|tenant| ("tenant", tenant)));
    let page = flags.router.ask_with(Method::GET, &["v1", "calls"], &query, None).await?;
    let calls = page["calls"].as_array().cloned().unwrap_or_default();
    if flags.json {
        calls.iter().for_each(say);
        return Ok(());
    }
    if calls.is_empty() {
        say("no calls");
    } else {
        say(format_args!("{:<16} {:<30} {:<32} {:<11} {}", "call", "room", "tenant (host)", "began", ""));
    }
    for call in &calls {
        let text = |key: &str| plain(call[key].as_str().unwrap_or("-"));
        let whose = match call["tenant"].as_str() {
            Some(_) => format!("{} ({})", text("tenant"), text("host")),
            None => "nobody's".to_owned(),
        };
        let strangers = call["strangers"].as_u64().unwrap_or_default();
        let notes = [
            call["finished_at"].is_null().then(|| "live".to_owned()),
            (call["shared"] == true).then(|| "shared".to_owned()),
            (strangers > 0).then(|| counted(strangers, "unrouted caller")),
        ];
        let notes: Vec<_> = notes.into_iter().flatten().collect();
        say(format_args!(
            "{:<16} {:<30} {:<32} {:<11} {}",
            shorten(&text("call"), 16),
            shorten(&text("room"), 30),
            shorten(&whose, 32),
            ago(call["began_at"].as_str().unwrap_or_default()),
            notes.join(", ")
        ));
    }
    tell_changes(&page["domain_changes"]);
    Ok(())
}

fn tell(room: &str, found: &Value) {
    let (call, events) = (&found["call"], found["events"].as_array().cloned().unwrap_or_default());
    let text = |key: &str| call[key].as_str().map(plain);
    let whose = match (text("tenant"), text("host")) {
        (Some(tenant), Some(host)) => format!("tenant {tenant} ({host})"),
        _ => "nobody's".to_owned(),
    };
    let delivered = events.iter().filter(|event| event["state"] == "delivered").count();
    say(format_args!(
        "call {}   room {}   {whose}{}   {}, {delivered} delivered\n",
        text("call").unwrap_or_else(|| plain(room)),
        text("room").unwrap_or_else(|| "-".to_owned()),
        if call["shared"] == true { ", shared with another tenant" } else { "" },
        counted(events.len(), "event")
    ));
    say(format_args!(
        "{:>4} {:>10}  {:<24} {:<20} {:<22} {:<20} {:>3} {:>10}",
        "#", "at", "event", "who", "state", "tenant", "try", "total"
    ));
    let began = events.first().and_then(|event| time(&event["received_at"]));
    for (number, event) in (1..).zip(&events) {
        say(line(number, event, began));
    }
    if found["truncated"] == true {
        say("… there may be more events of this call than are listed");
    }
    tell_changes(&found["domain_changes"]);
}

fn line(number: usize, event: &Value, began: Option<jiff::Timestamp>) -> String {
    let text = |key: &str| plain(event[key].as_str().unwrap_or("-"));
    let at = time(&event["received_at"]).zip(began).map(|(at, began)| at.duration_since(began).as_secs_f64());
    let total = event["total_ms"].as_i64().map_or_else(|| "-".to_owned(), lasted);
    let held = event["held_ms"].as_i64().map(|ms| format!("  held {}", lasted(ms)));
    let before = words::before(event).map(|before| format!("  {before}"));
    let notes: String = held.into_iter().chain(before).collect();
    format!(
        "{number:>4} {:>8.3} s  {:<24} {:<20} {:<22} {:<20} {:>3} {total:>10}{notes}",
        at.unwrap_or_default(),
        shorten(&text("event"), 24),
        shorten(&text("who"), 20),
        shorten(&words::brief(event), 22),
        shorten(&text("tenant"), 20),
        event["tries"].as_u64().unwrap_or_default(),
    )
}

fn time(value: &Value) -> Option<jiff::Timestamp> {
    value.as_str()?.parse().ok()
}
