//! `switchhook events ID`.

use super::client::Router;
use super::words;
use crate::cli::failure::Failure;
use crate::cli::terminal::{lasted, plain, say, say_json};
use crate::wire::{AttemptStory, EventStory, PauseCause};

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
    let story: EventStory = router.get(&["v1", "events", id]).answer().await?;
    if json {
        say_json(&story);
    } else {
        arrival(id, &story);
        history(&story);
    }
    Ok(())
}

fn row(name: &str, value: Option<impl AsRef<str>>) {
    if let Some(value) = value {
        say(format_args!("{name:<12}{}", plain(value.as_ref())));
    }
}

/// What came, and where it was routed.
fn arrival(id: &str, story: &EventStory) {
    row("event", Some(format!("{id}  {}", story.event)));
    row("received", Some(&story.received_at));
    row("call", story.call.as_ref());
    row("room", story.room.as_ref());
    row("who", story.who.as_ref());
    row("domain", story.domain.as_ref());
    row("held", story.held_ms.map(|ms| format!("{}, until its call was bound", lasted(ms))));
    row("routed by", story.rule.as_ref());
    let whose = story.tenant.as_ref().zip(story.host.as_ref());
    row("tenant", whose.map(|(tenant, host)| format!("{tenant} ({host})")));
    row(if story.tries == 0 { "goes to" } else { "posted to" }, story.url.as_ref());
    row("sequence", story.sequence.map(|sequence| sequence.to_string()));
}

/// What became of it, in the order of time.
fn history(story: &EventStory) {
    let replayed_at = story.replayed_at.as_deref().and_then(time);
    let is_before = |attempt: &&AttemptStory| replayed_at.is_some() && time(&attempt.at) < replayed_at;
    let count = story.attempts.iter().take_while(is_before).count();
    let (before, after) = story.attempts.split_at(count);
    let attempt = |attempt: &AttemptStory| row("attempt", Some(attempt_line(attempt)));
    before.iter().for_each(attempt);
    if let Some(state) = story.before_state {
        let reason = story.before_reason.as_deref().unwrap_or_default();
        row("before", Some(words::kept(state, reason, story.dead_at.as_deref())));
        row("replayed", story.replayed_at.as_ref());
    }
    after.iter().for_each(attempt);
    row("state", Some(words::state(story)));
    row(
        "kept until",
        story.kept_until.as_ref().map(|until| format!("{until}: switchhook replay --delivered {}", story.id)),
    );
    match (&story.paused_since, &story.host) {
        (Some(since), Some(host)) => row("paused", Some(paused(since, host, story.paused_by))),
        _ => row("next try", story.due.as_ref()),
    }
}

fn paused(since: &str, host: &str, by: Option<PauseCause>) -> String {
    match by {
        Some(PauseCause::File) => {
            format!("since {since}, by the hooks file: take `paused: true` out of it")
        }
        Some(PauseCause::Api) => format!("since {since}, as somebody asked: switchhook hooks resume {host}"),
        Some(PauseCause::Gone) | None => {
            format!("since {since}, its receiver answered 410: switchhook hooks resume {host}")
        }
    }
}

fn time(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok()
}

fn attempt_line(attempt: &AttemptStory) -> String {
    let answer = match attempt.status {
        Some(status) => status.to_string(),
        None => attempt.error.clone().unwrap_or_default(),
    };
    format!("{}  {}  {answer}  {:.1} ms", attempt.number, attempt.at, attempt.latency_ms)
}
