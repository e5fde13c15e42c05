//! `switchhook deliveries`: what became of each event that has a hook.

use super::client::ListFlags;
use super::words;
use crate::cli::failure::Failure;
use crate::cli::terminal::{plain, say, say_json, shorten};
use crate::wire::{
    DeliveryList, DeliveryQuery, DeliveryState, EventState, EventStory, Limit, StatusFilter, parse_time,
};

/// Lists deliveries, the newest first, or prints the story of one.
#[derive(clap::Args)]
pub struct Flags {
    /// The event's id; without: the list
    id: Option<String>,
    #[command(flatten)]
    selection: Filters,
    /// Only events of this name, as `participant_joined`
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only what is `pending`, `delivered` or `dead` (given up: what can be replayed)
    #[arg(long)]
    state: Option<DeliveryState>,
    /// Only those whose last attempt was answered so (503, or 5xx), or in this state (pending, delivered or dead)
    #[arg(long)]
    status: Option<StatusFilter>,
    /// Only this call's: the room's sid, or its name
    #[arg(long, value_name = "ROOM")]
    call: Option<String>,
    /// All of them, however many, as JSON
    #[arg(long, requires = "json", conflicts_with = "limit")]
    export: bool,
    #[command(flatten)]
    list: ListFlags,
}

/// What events that have a hook are chosen by.
#[derive(clap::Args)]
pub struct Filters {
    /// Only this tenant's
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only this hook's
    #[arg(long)]
    pub host: Option<String>,
    /// Only events received since then, as 2026-11-21T05:46:00Z, or 2026-11-21 for that day's start in UTC
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<jiff::Timestamp>,
    /// Only events received before
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
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
    if let Some(id) = &flags.id {
        return super::events::tell(&flags.list.router, id, flags.list.json).await;
    }
    let mut query = query(&flags)?;
    let is_filtered = query != DeliveryQuery { after: query.after, ..DeliveryQuery::default() };
    let (list, export) = (&flags.list, flags.export);
    let most = if export { usize::MAX } else { usize::from(list.limit) };
    let (mut printed, mut dead) = (0, 0);
    // A page may be short, though more follows.
    let next = loop {
        query.limit = Some(Limit::at_most(u32::try_from(most - printed).unwrap_or(u32::MAX)));
        let page: DeliveryList = list.router.page(&["v1", "deliveries"], &query).await?;
        if printed == 0 && !page.deliveries.is_empty() && !list.json {
            head();
        }
        for delivery in &page.deliveries {
            if list.json { say_json(delivery) } else { say(line(delivery)) }
        }
        printed += page.deliveries.len();
        dead += page.deliveries.iter().filter(|delivery| delivery.state == EventState::Dead).count();
        query.after = page.next;
        if page.next.is_none() || printed >= most {
            break page.next;
        }
    };
    if printed == 0 && !list.json {
        say(if is_filtered { "no delivery passes the filters" } else { "no deliveries" });
    }
    list.tell_next(printed, next.map(|next| next.to_string()).as_deref());
    if dead > 0 && !list.json {
        say(
            "\nReplay what is dead: switchhook replay ID, or switchhook replay --dead [--tenant T] --dry-run",
        );
    }
    Ok(())
}

/// What is asked for, but for the limit.
fn query(flags: &Flags) -> Result<DeliveryQuery, Failure> {
    let Flags { selection, event, state, status, call, list, .. } = flags;
    let after = list.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|_| Failure::usage("--after takes the `next` of the list before"))?;
    let Filters { tenant, host, since, until } = selection;
    Ok(DeliveryQuery {
        tenant: tenant.clone(),
        host: host.clone(),
        event: event.clone(),
        state: *state,
        status: *status,
        call: call.clone(),
        since: *since,
        until: *until,
        after,
        ..DeliveryQuery::default()
    })
}

fn head() {
    say(format_args!(
        "{:<14} {:<15} {:<18} {:<15} {:<20} {:>3}  {}",
        "received (UTC)", "event id", "event", "tenant", "state", "try", "last"
    ));
}

fn line(delivery: &EventStory) -> String {
    let last = delivery.attempts.last().map(|attempt| match attempt.status {
        Some(status) => status.to_string(),
        None => plain(attempt.error.as_deref().unwrap_or("-")),
    });
    // The number of the last attempt: of many, the first may no longer be listed.
    let tries = delivery.attempts.last().map_or(0, |attempt| attempt.number);
    format!(
        "{:<14} {:<15} {:<18} {:<15} {:<20} {tries:>3}  {}",
        shorten(&day_and_time(&delivery.received_at), 14),
        shorten(&delivery.id, 15),
        shorten(&delivery.event, 18),
        shorten(delivery.tenant.as_deref().unwrap_or("-"), 15),
        shorten(&words::brief(delivery), 20),
        last.unwrap_or_else(|| "-".to_owned())
    )
}

/// A time without its year, which is known of what is days old: `11-27 17:22:48`.
fn day_and_time(time: &str) -> String {
    time.chars().skip(5).take(14).map(|letter| if letter == 'T' { ' ' } else { letter }).collect()
}
