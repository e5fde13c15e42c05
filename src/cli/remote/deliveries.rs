//! `switchhook deliveries`: what was given up.

use reqwest::Method;
use serde_json::Value;

use super::client::Router;
use crate::cli::failure::Failure;
use crate::cli::terminal::{plain, say, shorten};

/// Lists dead letters, or tells the story of one delivery.
#[derive(clap::Args)]
pub struct Flags {
    /// The event's id; without: all dead letters
    id: Option<String>,
    #[command(flatten)]
    selection: Filters,
    /// At most so many, the oldest first
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// One JSON object per line instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Which dead letters are meant.
#[derive(clap::Args)]
pub struct Filters {
    /// Only this tenant's
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only this hook's
    #[arg(long)]
    pub host: Option<String>,
    /// Only events received since then, as 2026-11-21T05:46:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<jiff::Timestamp>,
    /// Only events received before
    #[arg(long, value_name = "TIME")]
    pub until: Option<jiff::Timestamp>,
}

impl Filters {
    /// What was given, as the API spells it.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("tenant", self.tenant.clone()),
            ("host", self.host.clone()),
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Prints the list or the story.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    if let Some(id) = flags.id {
        return super::events::tell(&flags.router, &id, flags.json).await;
    }
    let mut query = flags.selection.pairs();
    query.push(("limit", flags.limit.to_string()));
    let page = flags.router.ask_with(Method::GET, &["v1", "deliveries"], &query, None).await?;
    let deliveries = page["deliveries"].as_array().cloned().unwrap_or_default();
    if flags.json {
        deliveries.iter().for_each(say);
        return Ok(());
    }
    if deliveries.is_empty() {
        say(if query.len() > 1 { "no dead letter passes the filters" } else { "no dead letters" });
        return Ok(());
    }
    say(format_args!(
        "{:<20} {:<22} {:<24} {:<28} {:>5}  {:<10} {}",
        "received", "event id", "event", "tenant (host)", "tries", "last", "reason"
    ));
    deliveries.iter().for_each(|delivery| say(line(delivery)));
    if !page["next"].is_null() {
        say(format_args!("… these are the oldest {}; there are more: --limit", flags.limit));
    }
    say("\nReplay them: switchhook replay ID, or switchhook replay --dead [--tenant T] --dry-run");
    Ok(())
}

fn line(delivery: &Value) -> String {
    let text = |key: &str| plain(delivery[key].as_str().unwrap_or("-"));
    let attempts = delivery["attempts"].as_array().map_or(&[][..], Vec::as_slice);
    let last = attempts.last().map(|attempt| match attempt["status"].as_u64() {
        Some(status) => status.to_string(),
        None => attempt["error"].as_str().unwrap_or("-").to_owned(),
    });
    // The number of the last attempt: of many, the first may no longer be listed.
    let tries = attempts.last().map_or(0, |attempt| attempt["number"].as_u64().unwrap_or_default());
    let hook = shorten(&format!("{} ({})", text("tenant"), text("host")), 28);
    let received: String = text("received_at").chars().take(19).chain(['Z']).collect();
    format!(
        "{received:<20} {:<22} {:<24} {hook:<28} {tries:>5}  {:<10} {}",
        shorten(&text("id"), 22),
        shorten(&text("event"), 24),
        last.unwrap_or_default(),
        text("reason")
    )
}
