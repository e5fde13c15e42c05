//! `switchhook calls`: which calls there are, and what happened in one.

use super::client::{ListFlags, Router};
use super::unrouted::{tell_changes, tell_rest};
use super::words;
use crate::cli::failure::Failure;
use crate::cli::terminal::{ago, counted, lasted, plain, say, say_json, shorten};
use crate::wire::{CallList, CallQuery, CallStory, EventState, EventStory, Limit, Timeline};

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
    /// Every call, however many, as JSON
    #[arg(long, requires = "json", conflicts_with_all = ["limit", "room"])]
    export: bool,
    #[command(flatten)]
    list: ListFlags,
}

/// Prints the list or the call.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { room, tenant, all, export, list } = flags;
    if let Some(room) = room {
        return one(&list.router, &room, list.json).await;
    }
    let most = if export { usize::MAX } else { usize::from(list.limit) };
    let mut query = CallQuery { limit: None, after: list.after, tenant, all };
    let (mut printed, mut changes) = (0, Vec::new());
    // A page may be short, though more follows.
    let next = loop {
        query.limit = Some(Limit::at_most(u32::try_from(most - printed).unwrap_or(u32::MAX)));
        let page: CallList = list.router.page(&["v1", "calls"], &query).await?;
        if printed == 0 {
            changes = page.domain_changes;
        }
        tell_page(&page.calls, printed == 0, list.json);
        printed += page.calls.len();
        query.after = page.next;
        if query.after.is_none() || printed >= most {
            break query.after;
        }
    };
    if list.json {
        tell_rest(&changes, next.as_deref());
        return Ok(());
    }
    if printed == 0 {
        say("no calls");
    }
    if let Some(next) = next {
        let next = plain(&next);
        say(format_args!("… these are the newest {printed}; there are more: --limit, or --after {next}"));
    }
    tell_changes(&changes);
    Ok(())
}

async fn one(router: &Router, room: &str, json: bool) -> Result<(), Failure> {
    let found: Timeline = router.get(&["v1", "calls", room]).answer().await?;
    if json {
        say_json(&found);
    } else {
        tell(room, &found);
    }
    Ok(())
}

fn tell_page(calls: &[CallStory], is_first: bool, json: bool) {
    if json {
        return calls.iter().for_each(say_json);
    }
    if is_first && !calls.is_empty() {
        say(format_args!("{:<16} {:<30} {:<32} {:<11} {}", "call", "room", "tenant (host)", "began", ""));
    }
    calls.iter().for_each(|call| say(row(call)));
}

/// A call in one line.
fn row(call: &CallStory) -> String {
    let whose = match (&call.tenant, &call.host) {
        (Some(tenant), Some(host)) => format!("{tenant} ({host})"),
        _ => "nobody's".to_owned(),
    };
    let notes = [
        call.finished_at.is_none().then(|| "live".to_owned()),
        call.shared.then(|| "shared".to_owned()),
        (call.strangers > 0).then(|| counted(call.strangers, "unrouted caller")),
    ];
    let notes: Vec<_> = notes.into_iter().flatten().collect();
    format!(
        "{:<16} {:<30} {:<32} {:<11} {}",
        shorten(&call.call, 16),
        shorten(call.room.as_deref().unwrap_or("-"), 30),
        shorten(&whose, 32),
        ago(&call.began_at),
        notes.join(", ")
    )
}

fn tell(room: &str, found: &Timeline) {
    let (call, events) = (found.call.as_ref(), &found.events);
    let whose = match call.and_then(|call| call.tenant.as_ref().zip(call.host.as_ref())) {
        Some((tenant, host)) => format!("tenant {} ({})", plain(tenant), plain(host)),
        None => "nobody's".to_owned(),
    };
    let delivered = events.iter().filter(|event| event.state == EventState::Delivered).count();
    say(format_args!(
        "call {}   room {}   {whose}{}   {}, {delivered} delivered\n",
        plain(call.map_or(room, |call| &call.call)),
        plain(call.and_then(|call| call.room.as_deref()).unwrap_or("-")),
        if call.is_some_and(|call| call.shared) { ", shared with another tenant" } else { "" },
        counted(events.len(), "event")
    ));
    say(format_args!(
        "{:>3} {:>10}  {:<20} {:<18} {:<20} {:>3} {:>8}",
        "#", "at", "event", "who", "state", "try", "total"
    ));
    let began = events.first().and_then(|event| time(&event.received_at));
    let whom = call.and_then(|call| call.tenant.as_deref());
    for (number, event) in (1..).zip(events) {
        say(line(number, event, began, whom));
    }
    if found.truncated {
        say("… there may be more events of this call than are listed");
    }
    if !found.others.is_empty() {
        let others = counted(found.others.len(), "other session");
        say(format_args!(
            "\nThis is the latest session of this room. There {}, told by its sid:",
            are(&others)
        ));
        found.others.iter().for_each(|call| say(format_args!("  {}", row(call))));
    }
    tell_changes(&found.domain_changes);
}

/// "is 1 thing", "are 2 things".
fn are(counted: &str) -> String {
    let verb = if counted.starts_with("1 ") { "is" } else { "are" };
    format!("{verb} {counted}")
}

/// An event in one line; `whom`: the call's tenant, which need not be named again.
fn line(number: usize, event: &EventStory, began: Option<jiff::Timestamp>, whom: Option<&str>) -> String {
    let at = time(&event.received_at).zip(began).map(|(at, began)| at.duration_since(began).as_secs_f64());
    let total = event.total_ms.map_or_else(|| "-".to_owned(), lasted);
    let held = event.held_ms.map(|ms| format!("  held {}", lasted(ms)));
    let before = words::before(event).map(|before| format!("  {before}"));
    let other = event.tenant.as_deref().filter(|tenant| whom != Some(tenant));
    let other = other.map(|tenant| format!("  of {}", plain(tenant)));
    let notes: String = other.into_iter().chain(held).chain(before).collect();
    format!(
        "{number:>3} {:>8.3} s  {:<20} {:<18} {:<20} {:>3} {total:>8}{notes}",
        at.unwrap_or_default(),
        shorten(&event.event, 20),
        shorten(event.who.as_deref().unwrap_or("-"), 18),
        shorten(&words::brief(event), 20),
        event.tries,
    )
}

fn time(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}
