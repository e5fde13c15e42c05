//! `switchhook store restore FILE`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::data::DataFlags;
use super::progress::ReportProgress;
use super::words::{damaged_rows, failed, held, tell_anothers_log, tell_aside};
use crate::cli::failure::Failure;
use crate::cli::terminal::{aside, confirmed, counted, lasted, plain, say, say_json};
use crate::outbox::care::{self, Contents, Erased, RestorePlan, RestoredRevocations};
use crate::time::Clock;
use crate::visible::shown;

/// Puts a backup in the place of the database, which stays beside it under another name. The router must be stopped.
#[derive(clap::Args)]
pub struct Flags {
    /// A file that `switchhook store backup` made, or a database that was set aside
    file: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// What opens the hooks in the backup [default: master.secret in the data directory]
    #[arg(long, value_name = "FILE")]
    master_secret_file: Option<PathBuf>,
    /// One JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

/// Names in a line for people; the JSON has all.
const NAMED: usize = 10;

/// An erasure as `--json` prints it.
#[derive(Serialize)]
struct ErasedLine<'e> {
    tenant: &'e str,
    asked_at: String,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Done<'d> {
    file: &'d Path,
    #[serde(flatten)]
    contents: &'d Contents,
    /// The name of the database before in the data directory; null: there was none.
    set_aside: Option<String>,
    /// To be asked for again; null: not all of the database before can be read.
    erasures: Option<Vec<ErasedLine<'d>>>,
    /// `kept`: what was revoked since the backup stays so.
    revocations: RestoredRevocations,
    /// Hosts of hooks that the master secret does not open.
    unreadable_hooks: &'d [String],
    /// Rows of the backup that are not as they were stored.
    damaged: usize,
    /// The new name of another database's log, which was beside the database before; null: there was none.
    anothers_log: Option<&'d str>,
    took_ms: i64,
}

/// Checks the backup, asks, and puts it in place.
pub fn run(flags: &Flags) -> Result<(), Failure> {
    let Flags { file, yes, json, data, .. } = flags;
    // On a new machine there is none yet.
    care::make_directory(&data.data)
        .map_err(|error| Failure::new(format!("{}: {error}", shown(&data.data))))?;
    let _locks = (data.lock()?, data.lock_other(file)?);
    let master = data.master(flags.master_secret_file.as_deref())?;
    let progress = ReportProgress::begin();
    let tell_progress = |done, all| progress.tell(done, all);
    let prepared =
        care::prepare_restore(&data.data, file, master.as_ref(), Clock::system().unix(), &tell_progress);
    let prepared = prepared.map_err(|fault| failed(&fault))?;
    let plan = prepared.plan.clone();
    warn(&plan.unreadable, master.is_some());
    if let Some(damaged) = damaged_rows(plan.damaged, " of the backup") {
        aside(damaged);
    }
    confirmed(&question(file, &data.data, &plan), *yes)?;
    let set_aside = prepared.put(&|_| Ok(())).map_err(|fault| failed(&fault))?;
    if *json {
        say_json(&Done::of(file, &plan, set_aside, progress.lasted()));
        return Ok(());
    }
    say(format_args!(
        "restored in {}: {}\n  {}",
        lasted(progress.lasted()),
        shown(file),
        held(&plan.contents)
    ));
    tell_anothers_log(data, plan.anothers_log.as_deref());
    tell_aside(data, set_aside.as_deref());
    tell_erasures(plan.erasures.as_deref());
    tell_revocations(plan.revocations);
    say(
        "\nStart the router. What was pending at the time of the backup is delivered again, with the same webhook-id and\n\
         number; what came later is not in it.",
    );
    Ok(())
}

impl<'d> Done<'d> {
    fn of(file: &'d Path, plan: &'d RestorePlan, set_aside: Option<String>, took_ms: i64) -> Self {
        let erasures = plan.erasures.as_ref().map(|all| all.iter().map(ErasedLine::of).collect());
        let unreadable_hooks = plan.unreadable.as_slice();
        Self {
            file,
            contents: &plan.contents,
            set_aside,
            erasures,
            revocations: plan.revocations,
            unreadable_hooks,
            damaged: plan.damaged,
            anothers_log: plan.anothers_log.as_deref(),
            took_ms,
        }
    }
}

fn warn(unreadable: &[String], has_master: bool) {
    if !has_master {
        aside(
            "There is no master.secret in the data directory: put the one of the backup's router there before the router\n\
             starts, or it makes a new one, which opens none of the hooks and bodies that are sealed.",
        );
    } else if !unreadable.is_empty() {
        let names: Vec<_> = unreadable.iter().take(NAMED).map(|host| plain(host)).collect();
        aside(format_args!(
            "The master secret of this directory does not open {} of the backup: {}{}. They will not be in force: give the \
             one that sealed them as a second line of master.secret.",
            counted(unreadable.len(), "hook"),
            names.join(", "),
            if unreadable.len() > NAMED { " …" } else { "" },
        ));
    }
}

fn question(file: &Path, data: &Path, plan: &RestorePlan) -> String {
    let (file, data, backup) = (shown(file), shown(data), held(&plan.contents));
    let present = match (&plan.present, &plan.erasures) {
        (Some(present), _) => format!("{data} has this, which stays beside it\n  {}", held(present)),
        (None, Some(_)) => format!("{data} has no database"),
        (None, None) => {
            format!("{data} has a database that cannot be read, or not all of it; it stays beside it")
        }
    };
    format!("{file}\n  {backup}\n{present}\nPut the backup in its place?")
}

fn tell_erasures(erasures: Option<&[Erased]>) {
    let Some(erasures) = erasures else {
        return say(
            "\nWhich tenants were erased since the backup is not known: the database before cannot be read, or not \
             all of it.",
        );
    };
    if erasures.is_empty() {
        return;
    }
    say("\nerased since the backup, which has their data again. Once the router runs:");
    for Erased { tenant, asked_at } in erasures {
        say(format_args!("  switchhook tenants erase {}     asked for {asked_at}", plain(tenant)));
    }
}

/// What is left to do about tokens and secrets.
fn tell_revocations(revocations: RestoredRevocations) {
    match revocations {
        RestoredRevocations::Kept => {}
        RestoredRevocations::AllTokens => say(
            "\nWhich API tokens were revoked since the backup is not known: all tokens of before are refused. Make new \
             ones:\n  switchhook token",
        ),
        RestoredRevocations::NotKnown => say(
            "\nAPI tokens that were revoked since the backup are valid again, if there were any. Once the router runs:\n  \
             switchhook token revoke JTI",
        ),
    }
}

impl<'e> ErasedLine<'e> {
    fn of(erased: &'e Erased) -> Self {
        Self { tenant: &erased.tenant, asked_at: erased.asked_at.to_string() }
    }
}
