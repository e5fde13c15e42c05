//! `switchhook store recover`.

use serde::Serialize;

use super::data::DataFlags;
use super::progress::ReportProgress;
use super::words::{failed, held};
use crate::cli::failure::Failure;
use crate::cli::terminal::{columns, confirmed, counted, grouped, lasted, plain, say, say_json};
use crate::outbox::care::{self, DatabaseFinding, LostEvent, RecoveryReport, SavedTable};
use crate::time::Clock;
use crate::visible::shown;

/// Makes a new database of all that can be read of a damaged one, which stays beside it under another name. The router
/// must be stopped.
#[derive(clap::Args)]
pub struct Flags {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

/// Events that are named to people; the JSON has up to 10 000.
const NAMED: usize = 20;

/// What `--json` prints.
#[derive(Serialize)]
struct Done<'d> {
    #[serde(flatten)]
    report: &'d RecoveryReport,
    /// The name of the damaged database in the data directory.
    set_aside: Option<String>,
    took_ms: i64,
}

/// Reads what can be read, says what that is, asks, and puts the new database in place.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    let Flags { yes, json, data } = flags;
    let _lock = data.lock()?;
    let progress = ReportProgress::begin();
    let tell_progress = |done, all| progress.tell(done, all);
    let prepared = care::prepare_recovery(&data.data, Clock::system().unix(), &tell_progress);
    let prepared = prepared.map_err(|fault| failed(&fault))?;
    let (report, took_ms) = (prepared.report.clone(), progress.lasted());
    if !json {
        tell(&report, &lasted(took_ms));
    }
    let directory = shown(&data.data);
    confirmed(
        &format!("Put this in the place of the database in {directory}, which stays beside it?"),
        *yes,
    )?;
    let set_aside = prepared.put(&|_| Ok(())).map_err(|fault| failed(&fault))?;
    if *json {
        say_json(&Done { report: &report, set_aside, took_ms });
        return Ok(());
    }
    if let Some(name) = set_aside {
        let name = shown(&data.data.join(name));
        say(format_args!("\nset aside: {name}. Delete it once it is not needed"));
    }
    say("Start the router. Some events may be delivered again, with the same webhook-id.");
    Ok(())
}

fn tell(report: &RecoveryReport, took: &str) {
    let RecoveryReport { contents, tables, unreadable_rows, unreadable_pages, lost, without_body, altered } =
        report;
    say(format_args!("read in {took}: {}\n", held(contents)));
    let rows = tables.iter().filter(|table| table.saved > 0 || table.had != Some(0)).map(row);
    columns(["table", "saved", "lost"], rows, &[1, 2]).iter().for_each(|line| say(format_args!("  {line}")));
    say(format_args!(
        "\n{} and {} cannot be read",
        counted(grouped(*unreadable_rows), "row"),
        counted(grouped(*unreadable_pages), "page"),
    ));
    for DatabaseFinding { table, found, means, .. } in altered.iter().take(NAMED) {
        say(format_args!("{}: {}: {}", table.as_deref().unwrap_or("-"), plain(found), plain(means)));
    }
    name("events whose row is lost", lost);
    name("events whose body is lost: those to be delivered are dead letters now", without_body);
}

fn row(table: &SavedTable) -> [String; 3] {
    let SavedTable { table, saved, had } = table;
    // A count that the damaged index is behind says nothing.
    let lost = had.map_or("not known".to_owned(), |had| grouped(had.saturating_sub(*saved)));
    [table.clone(), grouped(*saved), lost]
}

fn name(what: &str, events: &[LostEvent]) {
    if events.is_empty() {
        return;
    }
    let ids: Vec<_> = events.iter().take(NAMED).map(|event| plain(&event.id)).collect();
    let more = if events.len() > NAMED { ", … (--json names more)" } else { "" };
    say(format_args!("{} {what}: {}{more}", grouped(events.len()), ids.join(", ")));
}
