//! The data directory and the secrets that are kept in it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use super::environment::variable;
use super::flags::Flags;
use crate::signature::{MasterSecret, random_secret};

/// What the data directory keeps from one start to the next.
pub(super) struct Secrets {
    pub(super) master: MasterSecret,
    pub(super) api_secret: Zeroizing<String>,
    /// Keeps other routers off the directory for as long as it lives.
    pub(super) lock: fs::File,
}

/// Makes the data directory and what belongs into it.
pub(super) fn data_directory(flags: &Flags, faults: &mut Vec<String>) -> Option<Secrets> {
    let data = &flags.data;
    let shown = data.display();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    let lock = made.and_then(|()| {
        fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(data.join("lock"))
    });
    let lock = match lock {
        Ok(lock) => lock,
        Err(error) => {
            faults.push(format!(
                "the data directory {shown} cannot be written: {error}. Choose one with --data."
            ));
            return None;
        }
    };
    if !locked(&lock) {
        faults.push(format!(
            "the data directory {shown} is in use by another switchhook. Choose one with --data."
        ));
        return None;
    }
    let api_secret = kept_secret(&data.join("api.secret"), faults);
    if api_secret.as_ref().is_some_and(|secret| secret.len() < 32) {
        faults.push(format!("{shown}/api.secret holds less than 32 characters. Remove it to have one made."));
    }
    let master = master_secret(flags, faults);
    Some(Secrets { master: master?, api_secret: api_secret?, lock })
}

/// Whether the lock is ours. A router that is ending may still have it for a moment, and so may a process it
/// was about to start.
fn locked(lock: &fs::File) -> bool {
    const TRIES: u32 = 50;
    const BETWEEN: Duration = Duration::from_millis(20);
    (0..TRIES).any(|tried| {
        if tried > 0 {
            std::thread::sleep(BETWEEN);
        }
        lock.try_lock().is_ok()
    })
}

fn master_secret(flags: &Flags, faults: &mut Vec<String>) -> Option<MasterSecret> {
    let (origin, text) = match (&flags.master_secret_file, variable("SWITCHHOOK_MASTER_SECRET")) {
        (Some(path), _) => (path.display().to_string(), read_secret(path, faults)?),
        // The variable may hold the secret itself, as LiveKit's own do, or a path. A text that looks like a
        // path is one: the name of a missing file must not become the secret.
        (None, Some(value)) if value.starts_with(['/', '.']) || Path::new(value.as_str()).is_file() => {
            (value.to_string(), read_secret(Path::new(value.as_str()), faults)?)
        }
        (None, Some(value)) => ("SWITCHHOOK_MASTER_SECRET".to_owned(), value),
        (None, None) => {
            let path = flags.data.join("master.secret");
            (path.display().to_string(), kept_secret(&path, faults)?)
        }
    };
    let master = MasterSecret::parse(&text);
    if let Err(weak) = &master {
        faults.push(format!("{origin}: {weak}."));
    }
    master.ok()
}

fn read_secret(path: &Path, faults: &mut Vec<String>) -> Option<Zeroizing<String>> {
    let read = fs::read_to_string(path).map(Zeroizing::new);
    read.map_err(|error| faults.push(format!("{}: {error}.", path.display()))).ok()
}

/// A secret that is made on first start and kept.
fn kept_secret(path: &Path, faults: &mut Vec<String>) -> Option<Zeroizing<String>> {
    if !path.exists() {
        let secret = random_secret();
        if let Err(error) = write_private(path, &secret) {
            faults.push(format!("{} cannot be written: {error}.", path.display()));
            return None;
        }
    }
    read_secret(path, faults).map(|text| Zeroizing::new(text.trim().to_owned()))
}

/// Writes a file for the owner only, whole or not at all.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, path)
}
