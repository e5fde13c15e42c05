//! `switchhook replay`: what was given up is tried again, what had nowhere to go is routed again.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::Router;
use super::deliveries::Filters;
use crate::cli::failure::Failure;
use crate::cli::terminal::{confirmed, counted, plain, say};

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
        eprintln!("{}", no_dead_letter(id));
    }
    let possible = found.matched - found.without_hook;
    if flags.dry_run || possible == 0 {
        if flags.dry_run || found.matched > 0 {
            found.tell(flags.json, noun, "would be replayed");
        }
        return match (flags.dry_run, found.matched) {
            (true, _) => Ok(()),
            (false, 0) if found.not_dead.is_empty() => Err(Failure::new(nothing(&flags))),
            // Said already: nothing could be done.
            (false, _) => Err(Failure::silent()),
        };
    }
    confirmed(&format!("Replay {}?", counted(possible, noun)), flags.yes)?;
    all(&flags.router, &wanted, false).await?.tell(flags.json, noun, "replayed");
    Ok(())
}

/// What was asked for, as the API spells it: one request for each id, or one for all that pass the filters.
fn wanted(flags: &Flags) -> Vec<Value> {
    if !flags.dead && !flags.unrouted {
        return flags.ids.iter().map(|id| json!({ "id": id })).collect();
    }
    let given = flags.selection.pairs().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    let mut wanted = Value::Object(given.collect());
    if flags.unrouted {
        wanted["unrouted"] = true.into();
    }
    for (name, value) in [("domain", &flags.domain), ("reason", &flags.reason), ("call", &flags.call)] {
        if let Some(value) = value {
            wanted[name] = value.clone().into();
        }
    }
    vec![wanted]
}

fn no_dead_letter(id: &str) -> String {
    format!("{} is not a dead letter: `switchhook events {}` says what became of it", plain(id), plain(id))
}

/// Why nothing is replayed where no id was given.
fn nothing(flags: &Flags) -> &'static str {
    let call_filters = [&flags.domain, &flags.reason, &flags.call].iter().any(|filter| filter.is_some());
    match (flags.unrouted, call_filters || !flags.selection.pairs().is_empty()) {
        (true, true) => {
            "no unrouted event that could have a hook passes the filters: `switchhook unrouted` lists all"
        }
        (true, false) => "there is no unrouted event that could have a hook: `switchhook unrouted` says why",
        (false, true) => "no dead letter passes the filters: `switchhook deliveries` lists all",
        (false, false) => "there are no dead letters",
    }
}

/// What one or more replays came to.
#[derive(Default)]
struct ReplayOutcome {
    matched: u64,
    replayed: u64,
    without_hook: u64,
    dry_run: bool,
    /// Ids that were given and are no dead letters.
    not_dead: Vec<String>,
}

/// Replays all that is wanted, page by page.
async fn all(router: &Router, wanted: &[Value], dry_run: bool) -> Result<ReplayOutcome, Failure> {
    let mut sum = ReplayOutcome { dry_run, ..ReplayOutcome::default() };
    for selection in wanted {
        let mut selection = selection.clone();
        selection["dry_run"] = dry_run.into();
        loop {
            let part = router.ask_with(Method::POST, &["v1", "replays"], &[], Some(&selection)).await?;
            let count = |key: &str| part[key].as_u64().unwrap_or_default();
            sum.matched += count("matched");
            sum.replayed += count("replayed");
            sum.without_hook += count("without_hook");
            sum.not_dead
                .extend(selection["id"].as_str().filter(|_| count("matched") == 0).map(str::to_owned));
            if part["next"].is_null() {
                break;
            }
            selection["after"] = part["next"].clone();
        }
    }
    Ok(sum)
}

impl ReplayOutcome {
    fn tell(&self, json: bool, noun: &str, done: &str) {
        let Self { matched, replayed, without_hook, dry_run, not_dead: _ } = self;
        if json {
            let body = json!({ "matched": matched, "replayed": replayed, "without_hook": without_hook, "dry_run": dry_run });
            return say(body);
        }
        let count = if *dry_run { matched - without_hook } else { *replayed };
        say(format_args!("{} {done}", counted(count, noun)));
        if *without_hook > 0 {
            let why = if noun == "dead letter" { "at the host any more" } else { "yet" };
            let more = if count > 0 { " more" } else { "" };
            let verb = if *without_hook == 1 { "has" } else { "have" };
            say(format_args!("{without_hook}{more} {verb} no hook {why}: add the hook, then replay"));
        }
    }
}
