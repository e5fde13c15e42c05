//! `switchhook deliveries`: what was given up.

use super::client::ListFlags;
use crate::cli::failure::Failure;
use crate::cli::terminal::{aside, plain, say, say_json, shorten};
use crate::wire::{EventStory, LetterList, LetterQuery};

/// Lists dead letters, the oldest first, or tells the story of one delivery.
#[derive(clap::Args)]
pub struct Flags {
    /// The event's id; without: all dead letters
    id: Option<String>,
    #[command(flatten)]
    selection: Filters,
    #[command(flatten)]
    list: ListFlags,
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
    /// Whether any was given.
    pub fn any(&self) -> bool {
        self.tenant.is_some() || self.host.is_some() || self.since.is_some() || self.until.is_some()
    }
}

/// Prints the list or the story.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { id, selection, list } = flags;
    if let Some(id) = id {
        return super::events::tell(&list.router, &id, list.json).await;
    }
    let filtered = selection.any();
    let after = list.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|_| Failure::usage("--after takes the `next` of the list before"))?;
    let Filters { tenant, host, since, until } = selection;
    let limit = Some(list.limit());
    let query = LetterQuery { id: None, tenant, host, since, until, after, limit };
    let page: LetterList = list.router.get(&["v1", "deliveries"]).query(&query).answer().await?;
    let more = page.next.map(|next| {
        let count = page.deliveries.len();
        format!("… these are the oldest {count}; there are more: --limit, or --after {next}")
    });
    if list.json {
        page.deliveries.iter().for_each(say_json);
        // On standard error: every line that is printed is a dead letter.
        more.iter().for_each(aside);
        return Ok(());
    }
    if page.deliveries.is_empty() {
        say(if filtered { "no dead letter passes the filters" } else { "no dead letters" });
        return Ok(());
    }
    say(format_args!(
        "{:<20} {:<22} {:<24} {:<28} {:>5}  {:<10} {}",
        "received", "event id", "event", "tenant (host)", "tries", "last", "reason"
    ));
    page.deliveries.iter().for_each(|delivery| say(line(delivery)));
    more.iter().for_each(say);
    say("\nReplay them: switchhook replay ID, or switchhook replay --dead [--tenant T] --dry-run");
    Ok(())
}

fn line(delivery: &EventStory) -> String {
    let text = |text: &Option<String>| plain(text.as_deref().unwrap_or("-"));
    let last = delivery.attempts.last().map(|attempt| match attempt.status {
        Some(status) => status.to_string(),
        None => text(&attempt.error),
    });
    // The number of the last attempt: of many, the first may no longer be listed.
    let tries = delivery.attempts.last().map_or(0, |attempt| attempt.number);
    let hook = shorten(&format!("{} ({})", text(&delivery.tenant), text(&delivery.host)), 28);
    let received: String = delivery.received_at.chars().take(19).chain(['Z']).collect();
    format!(
        "{received:<20} {:<22} {:<24} {hook:<28} {tries:>5}  {:<10} {}",
        shorten(&delivery.id, 22),
        shorten(&delivery.event, 24),
        last.unwrap_or_default(),
        text(&delivery.reason)
    )
}
