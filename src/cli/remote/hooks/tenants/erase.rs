//! `switchhook tenants erase TENANT`: begins an erasure, waits for its end and prints the report.

use std::time::Duration;

use reqwest::Method;

use crate::cli::failure::Failure;
use crate::cli::remote::client::Router;
use crate::cli::terminal::{aside, confirmed, counted, grouped, plain, say, say_json};
use crate::time::Clock;
use crate::wire::{ErasedCounts, Erasure};

/// Erases all stored data of a tenant that came before now; waits for the end and prints what was erased, what stays,
/// and why. It goes on if the command ends: `--status` shows how far it is.
#[derive(clap::Args)]
pub struct Flags {
    /// The tenant; without `tenant:` in the hook table, its host
    tenant: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Do not wait for the end
    #[arg(long)]
    no_wait: bool,
    /// Erase nothing: show how far the last erasure is, or its report
    #[arg(long, conflicts_with_all = ["yes", "no_wait"])]
    status: bool,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    router: Router,
}

/// The router is asked this often how far it is.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Begins, waits, prints.
pub async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { tenant, yes, no_wait, status, json, router } = flags;
    let path = ["v1", "tenants", &tenant, "data"];
    let erasure = if status {
        router.get(&path).answer().await?
    } else {
        begin(&tenant, yes)?;
        let begun: Erasure = router.ask(Method::DELETE, &path).answer().await?;
        if no_wait { begun } else { end(&router, begun).await? }
    };
    if json {
        say_json(&erasure);
    } else {
        tell(&erasure);
    }
    Ok(())
}

fn begin(tenant: &str, yes: bool) -> Result<(), Failure> {
    let question = format!(
        "Erase all stored data of {}? Deliveries that are still to be made are not made, and nothing brings back what \
         is erased. Its hooks stay; its derived secret is renewed.",
        plain(tenant)
    );
    confirmed(&question, yes)
}

/// Waits for the end, and says meanwhile how far it is.
async fn end(router: &Router, mut erasure: Erasure) -> Result<Erasure, Failure> {
    let (clock, mut told) = (Clock::system(), None);
    while erasure.done_at.is_none() {
        if told != Some(erasure.percent) {
            aside(format_args!("{:>3} %  {}", erasure.percent, plain(&erasure.step)));
        }
        told = Some(erasure.percent);
        clock.sleep(ASK_EVERY).await;
        let asked = router.get(&["v1", "tenants", &erasure.tenant, "data"]).answer().await;
        erasure = asked.map_err(|failure| left(&failure, &erasure.tenant))?;
    }
    Ok(erasure)
}

/// The router went away, or refuses: the erasure does not end with the command.
fn left(failure: &Failure, tenant: &str) -> Failure {
    let message = format!(
        "{}\nthe erasure goes on, also when the router is started again: {} shows how far it is",
        failure.message,
        status_of(tenant)
    );
    Failure { code: failure.code, message }
}

fn status_of(tenant: &str) -> String {
    format!("`switchhook tenants erase {} --status`", plain(tenant))
}

fn tell(erasure: &Erasure) {
    let Erasure { tenant, asked_at, done_at, step, percent, erased, stays } = erasure;
    let tenant = plain(tenant);
    match done_at {
        Some(done_at) => {
            say(format_args!("erased: all that the store had of {tenant} at {asked_at} (done {done_at})\n"));
        }
        None => {
            say(format_args!(
                "{tenant}: what came before {asked_at} is being erased ({percent} %, {step}): {} shows how far it is\n",
                status_of(&tenant)
            ));
        }
    }
    rows(erased).iter().for_each(|(what, count)| say(format_args!("  {what:<36} {count:>12}")));
    erased.backups.iter().for_each(|name| say(format_args!("  the backup {}", plain(name))));
    say("\nstays:");
    stays.iter().for_each(|stays| say(format_args!("  {}: {}", plain(&stays.what), plain(&stays.why))));
    for shared in &erased.shared {
        let (call, other) = (plain(&shared.call), plain(&shared.tenant));
        say(format_args!("  {} of {other} in {call}", counted(shared.events, "event")));
    }
}

/// What was erased, and how much of it; nothing that is 0.
fn rows(erased: &ErasedCounts) -> Vec<(&'static str, String)> {
    let ErasedCounts { delivered, pending, dead, held, unrouted, attempts, .. } = *erased;
    let ErasedCounts { kept_bodies, facts, .. } = *erased;
    let ErasedCounts { calls, bare_calls, participants, numbers, records, pages, shared_events: _, .. } =
        *erased;
    let rows = [
        ("delivered events", delivered),
        ("deliveries that were to be made", pending),
        ("dead letters", dead),
        ("events that were held", held),
        ("events without a hook", unrouted),
        ("failed attempts", attempts),
        ("bodies that hooks kept", kept_bodies),
        ("facts that routing read", facts),
        ("calls", calls),
        ("calls, of which only the id stays", bare_calls),
        ("participants", participants),
        ("called numbers", numbers),
        ("details of records of the audit log", records),
        ("pages of the file cleared of remains", pages),
    ];
    let some = rows.into_iter().filter(|(_, count)| *count > 0);
    some.map(|(what, count)| (what, grouped(usize::try_from(count).unwrap_or(usize::MAX)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_the_router_goes_away_the_command_says_how_to_ask_again() {
        let failure = left(&Failure::new("no router answers"), "acme");
        assert_eq!(failure.code, 1);
        assert!(failure.message.starts_with("no router answers\nthe erasure goes on"), "{}", failure.message);
        assert!(failure.message.contains("`switchhook tenants erase acme --status`"), "{}", failure.message);
    }
}
