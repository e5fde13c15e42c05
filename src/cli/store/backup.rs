//! `switchhook store backup FILE`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::data::DataFlags;
use super::progress::ReportProgress;
use super::words::{damaged_rows, failed, held};
use crate::cli::failure::Failure;
use crate::cli::terminal::{confirmed, lasted, say, say_json};
use crate::outbox::care::{self, CareFault, Contents};
use crate::visible::shown;

/// Copies the database into a file: as it is at one moment, while the router goes on. The copy is checked.
#[derive(clap::Args)]
pub struct Flags {
    /// The file, in another folder than the database; better on another disk
    file: PathBuf,
    /// Replace the file if it is there, without asking
    #[arg(long, visible_alias = "force")]
    yes: bool,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

/// What a backup does not hold, and a restored router needs.
const BESIDE: [(&str, &str); 4] = [
    ("master.secret", "opens what is sealed in the backup; tenants' signing secrets derive from it"),
    ("api.secret", "API tokens that were handed out are signed with it"),
    ("hooks.yaml", "the hook table, and the files that it names"),
    ("keys.yaml", "LiveKit's API keys, with which its events are verified"),
];

const HISTORY: &str =
    "history of the release before that is not copied yet: switchhook.db.v1 or .v2 holds it";

/// What `--json` prints.
#[derive(Serialize)]
struct Made<'m> {
    file: &'m Path,
    #[serde(flatten)]
    contents: &'m Contents,
    took_ms: i64,
    /// Rows that are not as they were stored.
    damaged: usize,
    /// What is needed to restore and is not in the file.
    lacks: Vec<&'static str>,
}

/// Makes the backup and says what it holds.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    let Flags { file, yes, json, data } = flags;
    let replaces = file.symlink_metadata().is_ok_and(|there| there.is_file());
    if replaces {
        confirmed(&format!("{} exists. Replace it?", shown(file)), *yes)?;
    }
    let progress = ReportProgress::begin();
    let made = care::back_up(&data.data, file, replaces, &|done, all| progress.tell(done, all));
    let made = made.map_err(|fault| match fault {
        CareFault::Damaged { .. } => {
            Failure::new(format!("{fault}\n`switchhook store check` says what is damaged"))
        }
        fault => failed(&fault),
    })?;
    let history = made.lacks_history.then_some(("history", HISTORY));
    let lacks: Vec<_> = BESIDE.into_iter().chain(history).collect();
    let (contents, took_ms) = (&made.contents, progress.lasted());
    if *json {
        let lacks = lacks.iter().map(|(what, _)| *what).collect();
        say_json(&Made { file, contents, took_ms, damaged: made.damaged, lacks });
        return Ok(());
    }
    say(format_args!(
        "backed up in {} and checked: {}\n  {}\n",
        lasted(took_ms),
        shown(file),
        held(contents)
    ));
    if let Some(damaged) = damaged_rows(made.damaged, "") {
        say(format_args!("{damaged}\n"));
    }
    say("not in it, and needed to restore:");
    lacks.iter().for_each(|(what, why)| say(format_args!("  {what:<14} {why}")));
    say(
        "\nIt holds events' bodies as they are, and later erasures of tenants do not reach it: keep it where only you\n\
         read it, and no longer than you must.",
    );
    Ok(())
}
