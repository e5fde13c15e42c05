//! Checks the files of this machine: the hooks file and the data directory.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::finding::{Finding, Severity, Subject};
use super::hooks::FoundBy;
use crate::cli::terminal::counted;
use crate::hooks::{self, Around, Entry};
use crate::outbox;
use crate::visible::shown;

/// The hooks file, read as `switchhook check` does.
#[derive(Debug)]
pub struct HooksFile {
    /// Its hooks; none, if it cannot be used.
    pub hooks: Vec<FoundBy>,
    pub finding: Option<Finding>,
    /// In a few words.
    pub summary: String,
}

impl HooksFile {
    /// Reads and checks it.
    pub fn read(path: &Path, around: &Around<'_>) -> Self {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return Self::unusable(
                    path,
                    format!("cannot be read: {error}"),
                    "name the hook table with --hooks",
                );
            }
        };
        match hooks::parse(&text, around) {
            Ok(entries) => {
                let summary = format!("{}, no fault", counted(entries.len(), "hook"));
                Self { hooks: entries.into_iter().map(found_by).collect(), finding: None, summary }
            }
            Err(faults) => {
                let fix = format!("`switchhook check {}` says every fault with its place", shown(path));
                Self::unusable(path, told(&faults), &fix)
            }
        }
    }

    fn unusable(path: &Path, what: String, fix: &str) -> Self {
        let why = "a router with these flags does not start".to_owned();
        let subject = Subject::of("hooks file", &shown(path), "");
        let finding = Finding::new(Severity::Problem, "hooks_file", subject, [what, why, fix.to_owned()]);
        Self { hooks: Vec::new(), summary: "cannot be used".to_owned(), finding: Some(finding) }
    }
}

/// How many faults there are, and the first.
fn told(faults: &[crate::yaml::TextFault]) -> String {
    let first = faults.first().map(|fault| one_line(&fault.to_string())).unwrap_or_default();
    format!("has {}, such as {first}", counted(faults.len(), "fault"))
}

/// A text without the line ends and columns of a list.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn found_by(entry: Entry) -> FoundBy {
    FoundBy {
        host: entry.host.to_string(),
        tenant: entry.tenant.to_string(),
        numbers: entry.numbers.iter().map(|number| number.as_str().to_owned()).collect(),
        trunks: entry.trunks,
    }
}

/// Who may read the data directory.
pub fn permissions(data: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(data).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let text = [
            format!("can be opened by other users of this machine (mode {mode:03o})"),
            "it holds the secret that tenants' secrets derive from, and the operator's token".to_owned(),
            "let its owner alone open it".to_owned(),
        ];
        let subject = Subject::of("data directory", &shown(data), "");
        Finding::new(Severity::Warning, "data_open_to_others", subject, text)
    })
}

/// Whether this user may not look into the data directory: a router may run in it.
pub fn is_closed(data: &Path) -> bool {
    std::fs::read_dir(data).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// The store, beside which no router runs: whether it can be read, and how many hooks of the API are in it.
///
/// # Errors
/// What is wrong with it.
pub fn store(data: &Path) -> Result<usize, Box<Finding>> {
    outbox::registered_hooks(data).map(|hooks| hooks.len()).map_err(|error| {
        let text = [
            format!("has a database that cannot be read: {error}"),
            "a router does not start with it".to_owned(),
            "is --data the router's, and are you its owner? Else bring back the backup beside it".to_owned(),
        ];
        let subject = Subject::of("data directory", &shown(data), "");
        Box::new(Finding::new(Severity::Problem, "store_unreadable", subject, text))
    })
}
