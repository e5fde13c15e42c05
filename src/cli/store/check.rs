//! `switchhook store check`.

use std::path::PathBuf;

use super::data::DataFlags;
use super::progress::ReportProgress;
use super::words::{failed, held};
use crate::cli::failure::Failure;
use crate::cli::terminal::{counted, lasted, plain, say, say_json};
use crate::outbox::care::{self, CheckReport, DatabaseFinding};
use crate::visible::shown;

/// Looks for damage in the database, also while a router uses it, and says what to do. Changes nothing.
#[derive(clap::Args)]
pub struct Flags {
    /// A backup, or another database [default: the one in the data directory]
    file: Option<PathBuf>,
    /// What opens the hooks and bodies that are sealed [default: master.secret in the data directory]
    #[arg(long, value_name = "FILE")]
    master_secret_file: Option<PathBuf>,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

/// Checks; exit code 1 with findings.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    let Flags { file, json, data, .. } = flags;
    let master = data.master(flags.master_secret_file.as_deref())?;
    let database = file.clone().unwrap_or_else(|| data.database());
    let progress = ReportProgress::begin();
    let report = care::check(&database, master.as_ref(), &|done, all| progress.tell(done, all));
    let report = report.map_err(|fault| failed(&fault))?;
    if *json {
        say_json(&report);
    } else {
        tell(&shown(&database), &lasted(progress.lasted()), &report);
    }
    if report.count() == 0 { Ok(()) } else { Err(Failure::silent()) }
}

fn tell(database: &str, took: &str, report: &CheckReport) {
    let CheckReport { findings, more, contents, opened_sealed } = report;
    let found = if findings.is_empty() { "no damage".to_owned() } else { counted(report.count(), "finding") };
    say(format_args!("{database}: {found} (checked in {took})"));
    if let Some(contents) = contents {
        say(format_args!("  {}", held(contents)));
    }
    if !opened_sealed {
        say(
            "  what is sealed was not opened: there is no master secret here; name it with --master-secret-file",
        );
    }
    for DatabaseFinding { table, row, found, means, fix, .. } in findings {
        let place = table.as_deref().unwrap_or("the file");
        let row = row.map_or(String::new(), |row| format!(" {row}"));
        say(format_args!("\n  {place}{row}: {}\n    {}\n    → {}", plain(found), plain(means), plain(fix)));
    }
    if *more > 0 {
        say(format_args!("\n  … and {more} more"));
    }
}
