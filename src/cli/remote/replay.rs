//! `switchhook replay`: what was given up is tried again, what had nowhere to go is routed again.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::Router;
use super::deliveries::Selection;
use crate::cli::failure::Failure;
use crate::cli::terminal::{confirmed, say};

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
    selection: Selection,
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
    let wanted: Vec<Value> = if flags.dead || flags.unrouted {
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
    } else {
        flags.ids.iter().map(|id| json!({ "id": id })).collect()
    };
    let found = all(&flags.router, &wanted, true).await?;
    if flags.dry_run || found.matched == found.without_hook {
        found.tell(flags.json, noun, "would be replayed");
        return match (flags.dry_run, found.matched) {
            (true, _) => Ok(()),
            (false, 0) => Err(Failure::new(format!("no {noun} is meant"))),
            // Said already: nothing could be done.
            (false, _) => Err(Failure::silent()),
        };
    }
    confirmed(&format!("Replay {} {noun}s?", found.matched - found.without_hook), flags.yes)?;
    all(&flags.router, &wanted, false).await?.tell(flags.json, noun, "replayed");
    Ok(())
}

/// What one or more replays came to.
#[derive(Default)]
struct Outcome {
    matched: u64,
    replayed: u64,
    without_hook: u64,
    dry_run: bool,
}

/// Replays all that is wanted, page by page.
async fn all(router: &Router, wanted: &[Value], dry_run: bool) -> Result<Outcome, Failure> {
    let mut sum = Outcome { dry_run, ..Outcome::default() };
    for selection in wanted {
        let mut selection = selection.clone();
        selection["dry_run"] = dry_run.into();
        loop {
            let part = router.ask_with(Method::POST, &["v1", "replays"], &[], Some(&selection)).await?;
            let count = |key: &str| part[key].as_u64().unwrap_or_default();
            sum.matched += count("matched");
            sum.replayed += count("replayed");
            sum.without_hook += count("without_hook");
            if part["next"].is_null() {
                break;
            }
            selection["after"] = part["next"].clone();
        }
    }
    Ok(sum)
}

impl Outcome {
    fn tell(&self, json: bool, noun: &str, done: &str) {
        let Self { matched, replayed, without_hook, dry_run } = self;
        if json {
            let body = json!({ "matched": matched, "replayed": replayed, "without_hook": without_hook, "dry_run": dry_run });
            return say(body);
        }
        let count = if *dry_run { matched - without_hook } else { *replayed };
        say(format_args!("{count} {noun}{} {done}", if count == 1 { "" } else { "s" }));
        if *without_hook > 0 {
            let why = if noun == "dead letter" { "at their host any more" } else { "yet" };
            say(format_args!("{without_hook} more have no hook {why}: add it, then replay"));
        }
    }
}
