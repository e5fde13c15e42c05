//! `switchhook replay`: what was given up is tried again.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::Router;
use super::deliveries::Selection;
use super::{Failure, confirmed, say};

/// Sends dead letters again, to the present URL of their hook, in order.
#[derive(clap::Args)]
pub struct Flags {
    /// Events' ids
    #[arg(required_unless_present = "dead", conflicts_with = "dead")]
    ids: Vec<String>,
    /// All dead letters that the filters leave
    #[arg(long)]
    dead: bool,
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
    let wanted: Vec<Value> = if flags.dead {
        let given = flags.selection.pairs().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        vec![Value::Object(given.collect())]
    } else {
        flags.ids.iter().map(|id| json!({ "id": id })).collect()
    };
    let found = all(&flags.router, &wanted, true).await?;
    if flags.dry_run || found.matched == found.without_hook {
        found.tell(flags.json, "would be replayed");
        let nothing = found.matched == 0 && !flags.dry_run;
        return if nothing { Err(Failure::new("no dead letter is meant")) } else { Ok(()) };
    }
    confirmed(&format!("Replay {} dead letters?", found.matched - found.without_hook), flags.yes)?;
    all(&flags.router, &wanted, false).await?.tell(flags.json, "replayed");
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
    fn tell(&self, json: bool, done: &str) {
        let Self { matched, replayed, without_hook, dry_run } = self;
        if json {
            let body = json!({ "matched": matched, "replayed": replayed, "without_hook": without_hook, "dry_run": dry_run });
            return say(body);
        }
        let count = if *dry_run { matched - without_hook } else { *replayed };
        say(format_args!("{count} {} {done}", if count == 1 { "dead letter" } else { "dead letters" }));
        if *without_hook > 0 {
            say(format_args!("{without_hook} more have no hook at their host any more: add it, then replay"));
        }
    }
}
