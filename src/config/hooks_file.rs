//! The hooks file: read, checked, and at the start replaced by the last good one if it is faulty.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::environment::variable;
use super::flags::Flags;
use crate::hooks::{self, Around, Looked, Source};
use crate::network::Network;
use crate::outbox::{self, Hooks, LastGood};
use crate::signature::MasterSecret;
use crate::visible;

/// Where the hook table comes from.
#[derive(Debug)]
pub(crate) struct HooksSource {
    pub(crate) path: PathBuf,
    /// What is in force at the start.
    pub(crate) hooks: Hooks,
    /// What is wrong with the file, if the last good table is used instead.
    pub(crate) wrong: Option<String>,
}

/// What the hooks file at `path` is read against: `${NAME}` is a variable of the environment,
/// `{file: path}` a file, relative to the hooks file's folder.
pub(crate) fn around(path: &Path, network: Network) -> Around<'static> {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    Around::new(network, move |source| look_up(&folder, source))
}

/// What a table that is in force elsewhere is read against: any target, and nothing of this environment.
pub(crate) fn around_anything() -> Around<'static> {
    let mut network = Network { allow_http: true, ..Network::default() };
    network.allowed.extend(["0.0.0.0/0", "::/0"].iter().filter_map(|all| all.parse::<ipnet::IpNet>().ok()));
    Around::new(network, |_| Err("it is not stored".to_owned()))
}

fn look_up(folder: &Path, source: Source<'_>) -> Looked {
    match source {
        Source::Variable(name) => {
            variable(name).ok_or_else(|| "the variable is not set, or empty".to_owned())
        }
        Source::File(path) => {
            fs::read_to_string(folder.join(path)).map(Zeroizing::new).map_err(|error| error.to_string())
        }
    }
}

/// The hook table at the start: the file's, or the last good one if the file is faulty or absent.
pub(super) fn at_start(
    flags: &Flags,
    around: &Around<'_>,
    master: Option<&MasterSecret>,
    faults: &mut Vec<String>,
) -> Option<HooksSource> {
    let path = flags.hooks.clone();
    let wrong = match read_hooks(&path, around) {
        Ok(hooks) => return Some(HooksSource { path, hooks, wrong: None }),
        Err(wrong) => wrong,
    };
    let last = master.and_then(|master| outbox::last_good_table(&flags.data, master).ok().flatten());
    let last = last.and_then(|read| {
        // A variable or file it was read with may be missing, too; its last value is stored.
        let known = around.or_else(|source| read.sources.get(&source.to_string()).cloned());
        let (entries, terms) = hooks::parse_file(&read.text, &known).ok()?;
        drop(known);
        Some(Hooks { entries, terms, read })
    });
    if last.is_none() {
        faults.push(wrong.clone());
    }
    last.map(|hooks| HooksSource { path, hooks, wrong: Some(wrong) })
}

/// Reads and checks a hooks file.
///
/// # Errors
/// What is wrong with it: every fault.
pub(crate) fn read_hooks(path: &Path, around: &Around<'_>) -> Result<Hooks, String> {
    let shown = visible::shown(path);
    let text = fs::read_to_string(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::InvalidData {
            return format!("{shown}: it is not UTF-8 text");
        }
        let advice = "Name the hook table with --hooks FILE; a whole one is\n    \
            hooks:\n      - host: calls.example.com\n        url: https://example.com/webhook";
        format!("{shown}: {error}. {advice}")
    })?;
    check_hooks(&shown, text, around)
}

/// Checks the text of a hooks file.
///
/// # Errors
/// What is wrong with it: every fault.
pub(crate) fn check_hooks(shown: &str, text: String, around: &Around<'_>) -> Result<Hooks, String> {
    let sources = Mutex::new(BTreeMap::new());
    let noting = around.noting(|source, text| {
        sources.lock().unwrap_or_else(PoisonError::into_inner).insert(source.to_string(), text.clone());
    });
    let (entries, terms) = hooks::parse_file(&text, &noting).map_err(|found| list(shown, &found))?;
    drop(noting);
    let sources = sources.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Hooks { entries, terms, read: LastGood { text: text.into(), sources } })
}

/// Faults as people read them.
pub(super) fn list(file: &str, faults: &[crate::yaml::TextFault]) -> String {
    let count = if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) };
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    format!("{file}: {count}, nothing loaded\n{}", lines.join("\n"))
}
