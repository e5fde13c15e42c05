//! `switchhook replay`: what was given up is tried again, what had nowhere to go is routed again.

use super::client::Router;
use super::deliveries::Filters;
use super::words;
use crate::cli::failure::Failure;
use crate::cli::terminal::{aside, confirmed, counted, plain, say, say_json};
use crate::wire::{EventState, EventStory, ReplayAnswer, ReplayRequest};

/// Sends dead letters again, to the present URL of their hook, in order; or, with --unrouted, the whole
/// calls that had nowhere to go through routing.
#[derive(clap::Args)]
pub struct Flags {
    /// Events' ids
    #[arg(required_unless_present_any = ["dead", "unrouted"], conflicts_with_all = ["dead", "unrouted"])]
    ids: Vec<String>,
    /// All dead letters that the filters leave
    #[arg(long, conflicts_with = "unrouted")]
    dead: bool,
    /// All calls with unrouted events that the filters leave, whole
    #[arg(long, conflicts_with_all = ["tenant", "host"])]
    unrouted: bool,
    /// Only calls that dialled this domain
    #[arg(long, requires = "unrouted")]
    domain: Option<String>,
    /// Only what is unrouted for this reason
    #[arg(long, requires = "unrouted")]
    reason: Option<String>,
    /// Only this call's: the room's sid
    #[arg(long, requires = "unrouted", value_name = "SID")]
    call: Option<String>,
    #[command(flatten)]
    selection: Filters,
    /// Only say how many there are
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Says what would be done, asks, and does it.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let noun = if flags.unrouted { "unrouted event" } else { "dead letter" };
    let wanted = wanted(&flags);
    let found = all(&flags.router, &wanted, true).await?;
    for id in &found.not_dead {
        // On standard error: with --json, what is printed is read by programs.
        aside(no_dead_letter(&flags.router, id).await?);
    }
    let possible = found.sum.matched - found.sum.without_hook;
    let (dry_run, nothing_matches) = (flags.dry_run, found.sum.matched == 0);
    // What is no dead letter is told above.
    let is_told = nothing_matches && !found.not_dead.is_empty() && !flags.json;
    if dry_run || possible == 0 {
        if (dry_run && !is_told) || !nothing_matches {
            tell(&found.sum, flags.json, noun, "would be replayed");
        }
        return match (dry_run, nothing_matches) {
            (true, _) => Ok(()),
            (false, true) if found.not_dead.is_empty() => Err(Failure::new(nothing(&flags))),
            // Said already: nothing could be done.
            (false, _) => Err(Failure::silent()),
        };
    }
    confirmed(&format!("Replay {}?", counted(possible, noun)), flags.yes)?;
    tell(&all(&flags.router, &wanted, false).await?.sum, flags.json, noun, "replayed");
    Ok(())
}

/// What was asked for, as the API spells it: one request for each id, or one for all that pass the filters.
fn wanted(flags: &Flags) -> Vec<ReplayRequest> {
    if !flags.dead && !flags.unrouted {
        let one = |id: &String| ReplayRequest { id: Some(id.clone()), ..ReplayRequest::default() };
        return flags.ids.iter().map(one).collect();
    }
    let Filters { tenant, host, since, until } = &flags.selection;
    vec![ReplayRequest {
        tenant: tenant.clone(),
        host: host.clone(),
        since: *since,
        until: *until,
        unrouted: flags.unrouted,
        domain: flags.domain.clone(),
        reason: flags.reason.clone(),
        call: flags.call.clone(),
        ..ReplayRequest::default()
    }]
}

/// What can be done about an event that is no dead letter.
async fn no_dead_letter(router: &Router, id: &str) -> Result<String, Failure> {
    let shown = plain(id);
    let found = router.get(&["v1", "events", id]).try_answer::<EventStory>().await?;
    let Ok(story) = found else { return Ok(format!("{shown} is no event that is stored")) };
    let what = format!("{shown} is not a dead letter, but {}", words::state(&story));
    Ok(match (story.state, &story.call) {
        (EventState::Unrouted, Some(call)) => {
            let call = plain(call);
            format!(
                "{what}.\n  Its whole call is routed again by: switchhook replay --unrouted --call {call}"
            )
        }
        (EventState::Unrouted, None) => format!("{what}. It belongs to no call that could be routed again."),
        _ => format!("{what}. `switchhook events {shown}` says what became of it."),
    })
}

/// Why nothing is replayed where no id was given.
fn nothing(flags: &Flags) -> &'static str {
    let call_filters = [&flags.domain, &flags.reason, &flags.call].iter().any(|filter| filter.is_some());
    match (flags.unrouted, call_filters || flags.selection.any()) {
        (true, true) => {
            "no unrouted event that could have a hook passes the filters: `switchhook unrouted` lists all"
        }
        (true, false) => "there is no unrouted event that could have a hook: `switchhook unrouted` says why",
        (false, true) => "no dead letter passes the filters: `switchhook deliveries --state dead` lists all",
        (false, false) => "there are no dead letters",
    }
}

/// What one or more replays came to.
#[derive(Default)]
struct Outcome {
    sum: ReplayAnswer,
    /// Ids that were given and are no dead letters.
    not_dead: Vec<String>,
}

/// Replays all that is wanted, page by page.
async fn all(router: &Router, wanted: &[ReplayRequest], dry_run: bool) -> Result<Outcome, Failure> {
    let mut outcome =
        Outcome { sum: ReplayAnswer { dry_run, ..ReplayAnswer::default() }, not_dead: Vec::new() };
    let sum = &mut outcome.sum;
    for selection in wanted {
        let mut selection = ReplayRequest { dry_run, ..selection.clone() };
        loop {
            let part: ReplayAnswer = router.post(&["v1", "replays"]).json(&selection).answer().await?;
            sum.matched += part.matched;
            sum.replayed += part.replayed;
            sum.without_hook += part.without_hook;
            if let Some(calls) = part.calls {
                *sum.calls.get_or_insert_default() += calls;
            }
            outcome.not_dead.extend(selection.id.iter().filter(|_| part.matched == 0).cloned());
            if part.next.is_none() {
                break;
            }
            selection.after = part.next;
        }
    }
    Ok(outcome)
}

fn tell(answer: &ReplayAnswer, json: bool, noun: &str, done: &str) {
    if json {
        return say_json(answer);
    }
    let ReplayAnswer { matched, replayed, without_hook, dry_run, .. } = answer;
    let count = if *dry_run { matched - without_hook } else { *replayed };
    say(format_args!("{} {done}", counted(count, noun)));
    if *without_hook > 0 {
        let why = if noun == "dead letter" { "at the host any more" } else { "yet" };
        let more = if count > 0 { " more" } else { "" };
        let verb = if *without_hook == 1 { "has" } else { "have" };
        say(format_args!("{without_hook}{more} {verb} no hook {why}: add the hook, then replay"));
    }
}
