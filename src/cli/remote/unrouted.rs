//! `switchhook unrouted`: what had nowhere to go, and what is to be done about it.

use serde::Serialize;

use super::client::ListFlags;
use crate::cli::failure::Failure;
use crate::cli::terminal::{ago, paragraph, plain, say, say_json, shorten};
use crate::wire::{DomainChange, GroupStory, UnroutedList, UnroutedQuery};

/// Lists what is unrouted, by reason and domain, with what is to be done about it; what can be mended first.
#[derive(clap::Args)]
pub struct Flags {
    #[command(flatten)]
    list: ListFlags,
}

/// Prints the list.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { list } = flags;
    let query = UnroutedQuery { limit: Some(list.limit()), after: list.after.clone() };
    let page: UnroutedList = list.router.get(&["v1", "unrouted"]).query(&query).answer().await?;
    let UnroutedList { unrouted, counted_at, domain_changes, next } = &page;
    if list.json {
        unrouted.iter().for_each(say_json);
        Rest { domain_changes, next: next.as_deref(), counted_at: Some(counted_at.as_deref()) }.tell();
        return Ok(());
    }
    if unrouted.is_empty() {
        say("nothing is unrouted");
    } else {
        say(format_args!(
            "{:<30} {:<11} {:>7} {:>6}  {:<10} {}",
            "domain", "reason", "events", "calls", "last seen", "nearest"
        ));
    }
    for group in unrouted {
        say(line(group));
        paragraph("    → ", &group.fix).iter().for_each(say);
    }
    if let Some(counted_at) = counted_at {
        say(format_args!("counted {}", ago(counted_at)));
    }
    if let Some(next) = next {
        let (count, next) = (unrouted.len(), plain(next));
        say(format_args!("… these are the first {count}; there are more: --limit, or --after {next}"));
    }
    tell_changes(domain_changes);
    Ok(())
}

fn line(group: &GroupStory) -> String {
    format!(
        "{:<30} {:<11} {:>7} {:>6}  {:<10} {}",
        shorten(group.domain.as_deref().unwrap_or("(none)"), 30),
        plain(&group.reason),
        group.events,
        group.calls,
        ago(&group.last_seen),
        if group.nearest.is_empty() { "-".to_owned() } else { shorten(&group.nearest.join(", "), 28) }
    )
}

/// Numbers that came with another domain than before: how most misrouting begins.
pub fn tell_changes(changes: &[DomainChange]) {
    if changes.is_empty() {
        return;
    }
    say("\nCalled numbers that came with another domain than before:");
    let tenant = |tenant: &Option<String>| plain(tenant.as_deref().unwrap_or("nobody"));
    for change in changes.iter().take(20) {
        say(format_args!(
            "  {:<18} {} ({}) → {} ({})  {}",
            shorten(&change.number, 18),
            plain(&change.before_domain),
            tenant(&change.before_tenant),
            plain(&change.domain),
            tenant(&change.tenant),
            ago(&change.at)
        ));
    }
    if changes.len() > 20 {
        say(format_args!("  … and {} more", changes.len() - 20));
    }
}

/// What belongs to a list beside its things: the last line of its JSON.
#[derive(Serialize)]
struct Rest<'r> {
    domain_changes: &'r [DomainChange],
    next: Option<&'r str>,
    /// When what is listed was counted, null: just now; absent from a list that is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted_at: Option<Option<&'r str>>,
}

impl Rest<'_> {
    /// Prints it, if there is any of it.
    fn tell(&self) {
        if !self.domain_changes.is_empty() || self.next.is_some() || self.counted_at.flatten().is_some() {
            say_json(self);
        }
    }
}

/// Prints as JSON what belongs to a list beside its things, if there is any of it.
pub fn tell_rest(domain_changes: &[DomainChange], next: Option<&str>) {
    Rest { domain_changes, next, counted_at: None }.tell();
}
