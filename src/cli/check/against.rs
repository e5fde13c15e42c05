//! `switchhook check --against`: past calls, decided again by the new hook table.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::calls::{Foreseen, Moved, WasDialled};
use crate::cli::failure::{Failure, root_cause};
use crate::cli::terminal::{counted, grouped, plain, say, say_json, shorten, span};
use crate::config::{Fallback, around_anything, master_secret};
use crate::hooks;
use crate::outbox::{self, EditPreview, FileEdit, FileTable, PastCalls};
use crate::signature::MasterSecret;
use crate::time::Clock;
use crate::visible::shown;

/// Lines for people; all of them are in the JSON.
const LINES: usize = 50;

/// Columns for a difference and its cause in one line; a longer cause has a line of its own.
const WIDTH: usize = 95;

/// Where the past calls are, and how they are decided.
#[derive(clap::Args)]
pub struct AgainstFlags {
    /// A router's data directory, which may be running: says which of its past calls the table would have sent
    /// elsewhere
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pub against: Option<PathBuf>,
    /// With --against: what tenants' secrets derive from [default: master.secret in the data directory]
    #[arg(long, value_name = "FILE", requires = "against")]
    master_secret_file: Option<PathBuf>,
    #[command(flatten)]
    fallback: Fallback,
}

impl AgainstFlags {
    /// Decides the calls kept in `data` again.
    pub fn preview(&self, data: &Path, table: FileTable) -> Result<EditPreview, Failure> {
        let past = PastCalls::open(data).map_err(|error| unread(data, &error))?;
        let master = master_secret(data, self.master_secret_file.as_deref()).map_err(|wrong| {
            let what = "the master secret is needed: the hooks in force are sealed with it";
            Failure::new(format!(
                "{what}\n{}\nGive --master-secret-file as for switchhook serve.",
                wrong.join("\n")
            ))
        })?;
        let before = in_force(data, &master)?;
        let edit = FileEdit { after: table, before, to_fallback: self.fallback.to_fallback };
        past.preview(edit, &master, Clock::system().unix()).map_err(|error| unread(data, &error))
    }
}

fn unread(data: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::new(format!("{}: {}", shown(data), root_cause(error)))
}

/// The file in force, as the router has kept it.
fn in_force(data: &Path, master: &MasterSecret) -> Result<Option<FileTable>, Failure> {
    let last = outbox::last_good_table(data, master)
        .map_err(|error| Failure::new(format!("{}: hooks.last: {error}", shown(data))))?;
    Ok(last.and_then(|read| {
        let around = around_anything();
        let known = around.or_else(|source| read.sources.get(&source.to_string()).cloned());
        hooks::parse_file(&read.text, &known).ok()
    }))
}

/// Prints what the table changes, for people. `file`: as it is shown.
pub fn tell(file: &str, hooks: usize, preview: &EditPreview) {
    let EditPreview { added, changed, removed, knows_before, unreadable, foreseen } = preview;
    let edit = format!("{removed} removed, {changed} changed, {added} added");
    say(format_args!("{file}: no fault, {} ({edit})", counted(hooks, "hook")));
    if !knows_before {
        say("  the table in force is not known: hooks.last is missing, or another master secret sealed it");
    }
    for hook in unreadable {
        let (host, why) = (plain(&hook.host), &hook.why);
        say(format_args!("  {host} is in force neither now nor with this table: {why}"));
    }
    let Some(since) = foreseen.since else {
        return say("\n no call with a SIP participant is kept: nothing can be compared");
    };
    let age = span(Clock::system().unix().0 - since.0);
    let calls = spell_calls(foreseen.calls);
    let (by_edit, before): (Vec<_>, Vec<_>) = foreseen.moved.iter().partition(|(moved, _)| moved.by_edit);
    say(format_args!("\n with this table, of the {calls} of the last {age}"));
    tell_moved(&by_edit);
    say(format_args!("   {}", rest(foreseen, by_edit.len())));
    if !before.is_empty() {
        say("\n elsewhere than they went, but so they would with the table in force:");
        tell_moved(&before);
    }
}

fn tell_moved(moved: &[&(Moved, usize)]) {
    for (moved, calls) in moved.iter().take(LINES) {
        say(format_args!("   {}", line(moved, *calls)));
    }
    if moved.len() > LINES {
        say(format_args!("   … and {} more lines: --json", moved.len() - LINES));
    }
}

fn line(moved: &Moved, calls: usize) -> String {
    let after = match (&moved.after, moved.reason) {
        (Some(tenant), _) => tenant.clone(),
        (None, Some(reason)) => format!("nobody ({reason})"),
        (None, None) => "nobody".to_owned(),
    };
    let way = format!("{} → {after}", moved.before.as_deref().unwrap_or("nobody"));
    let (calls, what) = (spell_calls(calls), shorten(&dialled(&moved.dialled), 40));
    let (head, why) = (format!("{calls:>13}  {what:<28}  {:<34}", plain(&way)), plain(&moved.why));
    if head.chars().count() + why.chars().count() <= WIDTH {
        format!("{head}  {why}").trim_end().to_owned()
    } else {
        format!("{}\n{:18}{why}", head.trim_end(), "")
    }
}

fn dialled(dialled: &WasDialled) -> String {
    match dialled {
        WasDialled::Domain(text) | WasDialled::Number(text) | WasDialled::Trunk(text) => text.clone(),
        WasDialled::Url(tenant) => format!("URL of {tenant}"),
        WasDialled::Other => "(others)".to_owned(),
    }
}

fn rest(foreseen: &Foreseen, moved: usize) -> String {
    let nothing = if moved == 0 { "nothing" } else { "nothing else" };
    let live = match foreseen.live {
        0 => String::new(),
        1 => "; 1 call is live now and keeps its destination".to_owned(),
        calls => format!("; {} calls are live now and keep their destination", grouped(calls)),
    };
    format!("{nothing} would have gone elsewhere{live}")
}

fn spell_calls(calls: usize) -> String {
    counted(grouped(calls), "call")
}

/// Calls that would go elsewhere, as `--json` prints them.
#[derive(Serialize)]
struct MovedLine<'m> {
    calls: usize,
    domain: Option<&'m str>,
    number: Option<&'m str>,
    trunk: Option<&'m str>,
    /// The tenant by whose URL they came.
    url_of: Option<&'m str>,
    /// The tenant they went to; null: nobody.
    before: Option<&'m str>,
    /// The tenant they would go to; null: nobody.
    after: Option<&'m str>,
    reason: Option<&'static str>,
    why: &'m str,
    /// False: the table in force would do the same.
    by_edit: bool,
}

/// The last line.
#[derive(Serialize)]
struct Summary {
    hooks: usize,
    added: usize,
    changed: usize,
    removed: usize,
    /// Whether the table in force is known; if not, `by_edit` is true of all.
    knows_in_force: bool,
    /// Calls that were compared.
    calls: usize,
    /// When the first of them came.
    since: Option<String>,
    /// Calls in progress that would go elsewhere, but keep their destination.
    live: usize,
}

/// Prints the same as JSON.
pub fn tell_json(hooks: usize, preview: &EditPreview) {
    let EditPreview { added, changed, removed, knows_before, unreadable: _, foreseen } = preview;
    for (moved, calls) in &foreseen.moved {
        say_json(&MovedLine::of(moved, *calls));
    }
    let since = foreseen.since.map(|since| since.to_string());
    say_json(&Summary {
        hooks,
        added: *added,
        changed: *changed,
        removed: *removed,
        knows_in_force: *knows_before,
        calls: foreseen.calls,
        since,
        live: foreseen.live,
    });
}

impl<'m> MovedLine<'m> {
    fn of(moved: &'m Moved, calls: usize) -> Self {
        let line = Self {
            calls,
            domain: None,
            number: None,
            trunk: None,
            url_of: None,
            before: moved.before.as_deref(),
            after: moved.after.as_deref(),
            reason: moved.reason.map(crate::route::Reason::as_str),
            why: &moved.why,
            by_edit: moved.by_edit,
        };
        match &moved.dialled {
            WasDialled::Domain(domain) => Self { domain: Some(domain), ..line },
            WasDialled::Number(number) => Self { number: Some(number), ..line },
            WasDialled::Trunk(trunk) => Self { trunk: Some(trunk), ..line },
            WasDialled::Url(tenant) => Self { url_of: Some(tenant), ..line },
            WasDialled::Other => line,
        }
    }
}
