//! `switchhook audit`: who changed what.

use super::client::ListFlags;
use crate::cli::failure::Failure;
use crate::cli::terminal::{columns, say, say_json, shorten};
use crate::wire::{AuditLine, AuditList, AuditQuery};

/// Lists changes and refused attempts, the newest first; what was before and after is in `--json`.
#[derive(clap::Args)]
pub struct Flags {
    /// Only what concerns this tenant's things
    #[arg(long)]
    tenant: Option<String>,
    #[command(flatten)]
    list: ListFlags,
}

/// Prints the list.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { tenant, list } = flags;
    let is_filtered = tenant.is_some();
    let after = list.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|_| Failure::usage("--after takes the `next` of the list before"))?;
    let query = AuditQuery { tenant, after, limit: Some(list.limit()) };
    let page: AuditList = list.router.get(&["v1", "audit"]).query(&query).answer().await?;
    if list.json {
        page.entries.iter().for_each(say_json);
    } else if page.entries.is_empty() {
        say(if is_filtered { "nothing of this tenant was changed" } else { "nothing was changed" });
    } else {
        let heading = ["at", "who", "from", "action", "target", "outcome"];
        columns(heading, page.entries.iter().map(row), &[]).iter().for_each(say);
    }
    list.tell_next(page.entries.len(), page.next.map(|next| next.to_string()).as_deref());
    Ok(())
}

fn row(entry: &AuditLine) -> [String; 6] {
    let text = |text: &Option<String>, width| shorten(text.as_deref().unwrap_or("-"), width);
    let at: String = entry.at.chars().take(19).chain(['Z']).collect();
    [
        shorten(&at, 20),
        shorten(&entry.actor, 24),
        text(&entry.from, 45),
        shorten(&entry.action, 20),
        text(&entry.target, 40),
        shorten(&entry.outcome, 60),
    ]
}
