//! `switchhook unrouted`: what had nowhere to go, and what is to be done about it.

use reqwest::Method;
use serde_json::Value;

use super::client::Router;
use crate::cli::failure::Failure;
use crate::cli::terminal::{ago, plain, say, shorten};

/// Lists what is unrouted, by reason and domain, with what is to be done about it.
#[derive(clap::Args)]
pub struct Flags {
    /// At most so many lines, what can be mended first
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// One JSON object per line instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Prints the list.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let query = [("limit", flags.limit.to_string())];
    let page = flags.router.ask_with(Method::GET, &["v1", "unrouted"], &query, None).await?;
    let groups = page["unrouted"].as_array().cloned().unwrap_or_default();
    if flags.json {
        groups.iter().for_each(say);
        return Ok(());
    }
    if groups.is_empty() {
        say("nothing is unrouted");
    } else {
        say(format_args!(
            "{:<30} {:<12} {:>7} {:>6}  {:<11} {}",
            "domain", "reason", "events", "calls", "last seen", "nearest"
        ));
    }
    for group in &groups {
        say(line(group));
        say(format_args!("    → {}", plain(group["fix"].as_str().unwrap_or_default())));
    }
    if !page["next"].is_null() {
        say(format_args!("… these are the first {}; there are more: --limit", flags.limit));
    }
    tell_changes(&page["domain_changes"]);
    Ok(())
}

fn line(group: &Value) -> String {
    let nearest: Vec<_> =
        group["nearest"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let count = |key: &str| group[key].as_u64().unwrap_or_default();
    let domain = group["domain"].as_str().map_or("(none)".to_owned(), plain);
    format!(
        "{:<30} {:<12} {:>7} {:>6}  {:<11} {}",
        shorten(&domain, 30),
        group["reason"].as_str().unwrap_or_default(),
        count("events"),
        count("calls"),
        ago(group["last_seen"].as_str().unwrap_or_default()),
        if nearest.is_empty() { "-".to_owned() } else { plain(&nearest.join(", ")) }
    )
}

/// Numbers that came with another domain than before: how most misrouting begins.
pub fn tell_changes(changes: &Value) {
    let changes = changes.as_array().map_or(&[][..], Vec::as_slice);
    if changes.is_empty() {
        return;
    }
    say("\nCalled numbers that came with another domain than before:");
    for change in changes.iter().take(20) {
        let text = |key: &str| plain(change[key].as_str().unwrap_or("nobody"));
        say(format_args!(
            "  {:<18} {} ({}) → {} ({})  {}",
            shorten(&text("number"), 18),
            text("before_domain"),
            text("before_tenant"),
            text("domain"),
            text("tenant"),
            ago(change["at"].as_str().unwrap_or_default())
        ));
    }
    if changes.len() > 20 {
        say(format_args!("  … and {} more", changes.len() - 20));
    }
}
