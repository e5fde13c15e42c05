//! `switchhook store recover`.

use serde::Serialize;

use super::data::DataFlags;
use super::progress::ReportProgress;
use super::words::{failed, held, tell_anothers_log, tell_aside};
use crate::cli::failure::Failure;
use crate::cli::terminal::{columns, confirmed, counted, grouped, lasted, paragraph, say, say_json};
use crate::outbox::care::{self, LostEvent, RecoveryReport, SavedTable, SettledRow};
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
    say("");
    tell_anothers_log(data, report.anothers_log.as_deref());
    tell_aside(data, set_aside.as_deref());
    say("Start the router. Some events may be delivered again, with the same webhook-id.");
    Ok(())
}

fn tell(report: &RecoveryReport, took: &str) {
    let RecoveryReport { contents, tables, altered, altered_rows, refuses_tokens, .. } = report;
    let RecoveryReport { lost, lost_events, without_body, without_body_events, .. } = report;
    say(format_args!("read in {took}: {}\n", held(contents)));
    // Beside another's log, no table's rows were counted.
    let may_lack = |table: &SavedTable| table.had != Some(0) && report.anothers_log.is_none();
    let rows = tables.iter().filter(|table| table.saved > 0 || may_lack(table)).map(row);
    columns(["table", "saved", "lost"], rows, &[1, 2]).iter().for_each(|line| say(format_args!("  {line}")));
    tell_unread(report);
    if !altered.is_empty() {
        let rows = counted(grouped(*altered_rows), "row");
        say(format_args!("\n{rows} of those saved are not as they were stored:"));
        altered.iter().take(NAMED).for_each(tell_settled);
        tell_more(*altered_rows);
    }
    if *refuses_tokens {
        say(
            "\nWhich API tokens were revoked is not known for sure: all tokens of before are refused. Make new ones:\n  \
             switchhook token",
        );
    }
    name("events whose row is lost", lost, *lost_events);
    let without = "events whose body is lost: those to be delivered are dead letters now";
    name(without, without_body, *without_body_events);
}

/// What could not be read, as far as there is any.
fn tell_unread(report: &RecoveryReport) {
    let missing = usize::try_from(report.missing_pages).unwrap_or(usize::MAX);
    let counts = [
        (report.unreadable_rows, "row", "cannot be read"),
        (report.unreadable_pages, "page", "the disk does not give"),
        (missing, "page", "behind the end of the file: it was cut off"),
    ];
    let there = counts.into_iter().filter(|(count, ..)| *count > 0);
    let lines: Vec<_> =
        there.map(|(count, noun, what)| format!("{} {what}", counted(grouped(count), noun))).collect();
    if !lines.is_empty() {
        say(format_args!("\n{}", lines.join("\n")));
    }
}

fn tell_settled(settled: &SettledRow) {
    let SettledRow { table, row, became, fix, .. } = settled;
    let row = row.map_or(String::new(), |row| format!(" {row}"));
    paragraph(&format!("  {table}{row}: "), became).iter().for_each(say);
    if let Some(fix) = fix {
        paragraph("    → ", fix).iter().for_each(say);
    }
}

fn tell_more(count: usize) {
    if count > NAMED {
        say(format_args!("  … and {} more (--json names up to 10 000)", grouped(count - NAMED)));
    }
}

fn row(table: &SavedTable) -> [String; 3] {
    let SavedTable { table, saved, had } = table;
    // A count that the damaged index is behind says nothing.
    let lost = had.map_or("not known".to_owned(), |had| grouped(had.saturating_sub(*saved)));
    [table.clone(), grouped(*saved), lost]
}

fn name(what: &str, events: &[LostEvent], count: usize) {
    if events.is_empty() {
        return;
    }
    let ids: Vec<_> = events.iter().take(NAMED).map(|event| event.id.as_str()).collect();
    say(format_args!("\n{} {what}:", grouped(count)));
    paragraph("  ", &ids.join(" ")).iter().for_each(say);
    tell_more(count);
}
