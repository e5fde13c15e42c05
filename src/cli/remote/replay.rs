//! `switchhook replay`: what was given up is tried again, what was delivered is sent once more, what had nowhere to go is
//! routed again.

use serde::Serialize;

use super::client::Router;
use super::deliveries::Filters;
use super::words;
use crate::cli::failure::Failure;
use crate::cli::terminal::{aside, confirmed, counted, plain, say, say_json};
use crate::wire::{EventState, EventStory, ReplayAnswer, ReplayRequest, ResendQuery};

/// Sends dead letters again, to the present URL of their hook, in order; with --delivered, delivered events whose hook
/// keeps their bodies; with --unrouted, the whole calls that had nowhere to go through routing.
#[derive(clap::Args)]
pub struct Flags {
    /// Events' ids
    #[arg(required_unless_present_any = ["dead", "unrouted", "delivered"], conflicts_with_all = ["dead", "unrouted", "call", "tenant", "host", "since", "until"])]
    ids: Vec<String>,
    /// All dead letters that the filters leave
    #[arg(long, conflicts_with_all = ["unrouted", "delivered"])]
    dead: bool,
    /// Delivered events whose hook keeps their bodies (`keep`): those of these ids, or all that the filters leave
    #[arg(long, group = "of_calls")]
    delivered: bool,
    /// All calls with unrouted events that the filters leave, whole
    #[arg(long, group = "of_calls", conflicts_with_all = ["tenant", "host"])]
    unrouted: bool,
    /// Only calls that dialled this domain
    #[arg(long, requires = "unrouted")]
    domain: Option<String>,
    /// Only what is unrouted for this reason
    #[arg(long, requires = "unrouted")]
    reason: Option<String>,
    /// Only this call's: the room's sid
    #[arg(long, requires = "of_calls", value_name = "SID")]
    call: Option<String>,
    #[command(flatten)]
    selection: Filters,
    /// Only say how many there are
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object instead; of events' ids, one for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// Says what would be done, asks, and does it.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    fitting(&flags)?;
    let (kind, wanted, by_id) = (Kind::of(&flags), wanted(&flags), !flags.ids.is_empty());
    let mut found = all(&flags.router, &wanted, true).await?;
    explain(&flags.router, kind, &mut found.each).await?;
    let possible = possible(&found.sum);
    let nothing_matches = found.sum.matched == 0;
    if flags.dry_run || possible == 0 {
        // Of ids, it is said already what cannot be sent.
        let is_told = nothing_matches && (by_id || !flags.dry_run);
        if !is_told || (by_id && flags.json) {
            tell(&found, flags.json, kind);
        }
        return match possible {
            0 if nothing_matches && !by_id && !flags.dry_run => Err(Failure::new(nothing(&flags))),
            0 if !flags.dry_run => Err(Failure::silent()),
            _ => none_refused(&found),
        };
    }
    confirmed(&format!("{} {}?", kind.verb(), counted(possible, kind.noun())), flags.yes)?;
    let done = all(&flags.router, &wanted, false).await?;
    let refused = found.each.into_iter().map(|event| event.refused);
    let each = done.each.into_iter().zip(refused).map(|(event, refused)| OneEvent { refused, ..event });
    let done = Outcome { sum: done.sum, each: each.collect() };
    tell(&done, flags.json, kind);
    none_refused(&done)
}

/// Refuses filters that belong to what is not asked for.
fn fitting(flags: &Flags) -> Result<(), Failure> {
    let Flags { unrouted, delivered, domain, reason, call, .. } = flags;
    let misplaced = [
        ("--domain", "--unrouted", domain.is_some() && !unrouted),
        ("--reason", "--unrouted", reason.is_some() && !unrouted),
        ("--call", "--unrouted or --delivered", call.is_some() && !unrouted && !delivered),
    ];
    match misplaced.into_iter().find(|(_, _, is_misplaced)| *is_misplaced) {
        Some((flag, owner, _)) => Err(Failure::usage(format!("{flag} belongs to {owner}"))),
        None => Ok(()),
    }
}

/// Fails if one of the events is refused, which is said already.
fn none_refused(outcome: &Outcome) -> Result<(), Failure> {
    let is_refused = outcome.each.iter().any(|event| event.refused.is_some());
    if is_refused { Err(Failure::silent()) } else { Ok(()) }
}

/// Finds out and says why events cannot be sent again.
async fn explain(router: &Router, kind: Kind, each: &mut [OneEvent]) -> Result<(), Failure> {
    for event in each {
        let OneEvent { id, answer, refused } = event;
        if answer.matched == 0 {
            let why = match kind {
                Kind::Delivered => not_kept(router, id).await?,
                Kind::Dead | Kind::Unrouted => no_dead_letter(router, id).await?,
            };
            // On standard error: with --json, what is printed is read by programs.
            aside(&why);
            *refused = Some(why.replace("\n  ", " "));
        } else if answer.damaged > 0 {
            *refused = Some(DAMAGED.to_owned());
        } else if answer.without_hook > 0 {
            *refused = Some("its tenant has no hook at its host any more".to_owned());
        }
    }
    Ok(())
}

/// What was asked for, as the API spells it: one request for each id, or one for all that pass the filters.
fn wanted(flags: &Flags) -> Vec<ReplayRequest> {
    let delivered = flags.delivered;
    if !flags.ids.is_empty() {
        let one = |id: &String| ReplayRequest { id: Some(id.clone()), delivered, ..ReplayRequest::default() };
        return flags.ids.iter().map(one).collect();
    }
    let Filters { tenant, host, since, until } = &flags.selection;
    vec![ReplayRequest {
        tenant: tenant.clone(),
        host: host.clone(),
        since: *since,
        until: *until,
        delivered,
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
        (EventState::Delivered, _) if story.kept_until.is_some() => {
            format!("{what}.\n  Its body is kept, and sent again by: switchhook replay --delivered {shown}")
        }
        (EventState::Unrouted, None) => format!("{what}. It belongs to no call that could be routed again."),
        _ => format!("{what}. `switchhook events {shown}` says what became of it."),
    })
}

/// Why a delivered event cannot be sent again.
async fn not_kept(router: &Router, id: &str) -> Result<String, Failure> {
    let query = ResendQuery { dry_run: true };
    let asked =
        router.post(&["v1", "events", id, "resend"]).query(&query).try_answer::<ReplayAnswer>().await?;
    let why = asked.err().and_then(|(_, problem)| problem?.detail);
    let why = why.map(|why| format!(": {}", plain(&why))).unwrap_or_default();
    Ok(format!("{} cannot be sent again{why}", plain(id)))
}

/// Why nothing is replayed where no id was given.
fn nothing(flags: &Flags) -> &'static str {
    if flags.delivered {
        return "no delivered event whose body is kept passes the filters: `switchhook events EV_…` says whether one is";
    }
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
struct Outcome {
    sum: ReplayAnswer,
    /// The same of each id that was given.
    each: Vec<OneEvent>,
}

#[derive(Serialize)]
struct OneEvent {
    id: String,
    #[serde(flatten)]
    answer: ReplayAnswer,
    /// Why it cannot be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

const DAMAGED: &str = "what is stored was altered, or another master secret sealed it";

/// Replays all that is wanted, page by page.
async fn all(router: &Router, wanted: &[ReplayRequest], dry_run: bool) -> Result<Outcome, Failure> {
    let mut outcome = Outcome { sum: ReplayAnswer { dry_run, ..ReplayAnswer::default() }, each: Vec::new() };
    let sum = &mut outcome.sum;
    for selection in wanted {
        let mut selection = ReplayRequest { dry_run, ..selection.clone() };
        loop {
            let part: ReplayAnswer = router.post(&["v1", "replays"]).json(&selection).answer().await?;
            sum.matched += part.matched;
            sum.replayed += part.replayed;
            sum.without_hook += part.without_hook;
            sum.damaged += part.damaged;
            if let Some(calls) = part.calls {
                *sum.calls.get_or_insert_default() += calls;
            }
            selection.after = part.next;
            if let Some(id) = &selection.id {
                outcome.each.push(OneEvent { id: id.clone(), answer: part, refused: None });
                break;
            }
            if selection.after.is_none() {
                break;
            }
        }
    }
    Ok(outcome)
}

/// How many are or would be sent.
fn possible(answer: &ReplayAnswer) -> usize {
    answer.matched.saturating_sub(answer.without_hook + answer.damaged)
}

/// What is replayed, in words.
#[derive(Clone, Copy)]
enum Kind {
    Dead,
    Delivered,
    Unrouted,
}

impl Kind {
    fn of(flags: &Flags) -> Self {
        match (flags.unrouted, flags.delivered) {
            (true, _) => Self::Unrouted,
            (false, true) => Self::Delivered,
            (false, false) => Self::Dead,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Dead => "dead letter",
            Self::Delivered => "delivered event",
            Self::Unrouted => "unrouted event",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Dead | Self::Unrouted => "Replay",
            Self::Delivered => "Send again",
        }
    }

    fn done(self, dry_run: bool) -> &'static str {
        match (self, dry_run) {
            (Self::Dead | Self::Unrouted, true) => "would be replayed",
            (Self::Dead | Self::Unrouted, false) => "replayed",
            (Self::Delivered, true) => "would be sent again",
            (Self::Delivered, false) => "sent again",
        }
    }
}

fn tell(outcome: &Outcome, json: bool, kind: Kind) {
    let Outcome { sum: answer, each } = outcome;
    match (json, each.is_empty()) {
        (true, true) => return say_json(answer),
        (true, false) => return each.iter().for_each(say_json),
        (false, _) => {}
    }
    let ReplayAnswer { replayed, without_hook, damaged, dry_run, .. } = answer;
    let count = if *dry_run { possible(answer) } else { *replayed };
    say(format_args!("{} {}", counted(count, kind.noun()), kind.done(*dry_run)));
    let more = if count > 0 { " more" } else { "" };
    if *without_hook > 0 {
        let why = if matches!(kind, Kind::Unrouted) { "yet" } else { "at the host any more" };
        let verb = if *without_hook == 1 { "has" } else { "have" };
        say(format_args!("{without_hook}{more} {verb} no hook {why}: add the hook, then replay"));
    }
    if *damaged > 0 {
        say(format_args!("{damaged}{more} cannot be sent: {DAMAGED}"));
    }
}
