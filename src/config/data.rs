//! The data directory and the secrets that are kept in it.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::environment::variable;
use super::flags::Flags;
use crate::access::{Claims, Tokens, check_secret};
use crate::outbox::care;
use crate::signature::{MasterSecret, random_secret};
use crate::time::UnixMillis;
use crate::visible::shown;

/// What the data directory keeps from one start to the next.
pub(super) struct Secrets {
    pub(super) master: MasterSecret,
    pub(super) api_secret: ApiSecret,
    /// Keeps other routers off the directory for as long as it lives.
    pub(super) lock: fs::File,
}

/// Makes the data directory and what belongs into it.
pub(super) fn data_directory(flags: &Flags, faults: &mut Vec<String>) -> Option<Secrets> {
    let data = &flags.data;
    let shown = data.display();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    let path = data.join("lock");
    let opened = made
        .map_err(|error| error.to_string())
        .and_then(|()| open_lock(&path).map_err(|error| format!("{}: {error}", path.display())));
    let lock = match opened {
        Ok(lock) => lock,
        Err(why) => {
            faults.push(format!(
                "the data directory {shown} cannot be written: {why}. Choose one with --data."
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
    let api_secret = api_secret_at_start(flags, faults);
    let master = master_at_start(flags, faults);
    Some(Secrets { master: master?, api_secret: api_secret?, lock })
}

/// Opens the lock's file, which is made at the first start. Where nothing can be written, it can be locked as well.
fn open_lock(path: &Path) -> std::io::Result<fs::File> {
    let opened = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    opened.or_else(|error| fs::File::open(path).map_err(|_| error))
}

/// Takes a data directory for a command that changes it: no router may use it meanwhile.
///
/// # Errors
/// That it is in use, or cannot be written.
pub(crate) fn lock_data(data: &Path) -> Result<fs::File, String> {
    let path = data.join("lock");
    let lock = make_lock(data, &path).map_err(|error| format!("{}: {error}", shown(&path)))?;
    if locked(&lock) {
        return Ok(lock);
    }
    Err(format!("a router uses {}: stop it first", shown(data)))
}

/// Keeps routers off a directory that a command reads files of; none if there is no lock.
///
/// # Errors
/// That a router uses it.
pub(crate) fn lock_to_read(data: &Path) -> Result<Option<fs::File>, String> {
    match fs::File::open(data.join("lock")) {
        Ok(lock) if locked(&lock) => Ok(Some(lock)),
        Ok(_) => Err(format!(
            "a router uses {0}, and writes while it is copied: take a backup of it with `switchhook store backup FILE --data {0}`, \
             and restore that",
            shown(data)
        )),
        Err(_) => Ok(None),
    }
}

/// The lock's file; if it is made, for the owner of the directory: the command may be root's.
fn make_lock(data: &Path, path: &Path) -> std::io::Result<fs::File> {
    match care::create_private(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::OpenOptions::new().write(true).custom_flags(care::NO_LINK).open(path)
        }
        made => made.and_then(|lock| care::give_to_owner(&lock, data).map(|()| lock)),
    }
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

/// The API secret: one a line, the current one first.
pub(crate) struct ApiSecret {
    pub(crate) text: Zeroizing<String>,
    /// The file that holds it; none: the environment does.
    pub(crate) file: Option<PathBuf>,
}

/// The API secret that a running router uses, for what is made beside it.
///
/// # Errors
/// Why there is none: every fault.
pub(crate) fn api_secret(data: &Path, file: Option<&Path>) -> Result<ApiSecret, Vec<String>> {
    let mut faults = Vec::new();
    let given = given_secret(file, "SWITCHHOOK_API_SECRET", &mut faults);
    let given = given.or_else(|| {
        let path = data.join("api.secret");
        Some((Some(path.clone()), read_secret(&path, &mut faults)?))
    });
    let strong = given.and_then(|given| strong(given, &mut faults));
    strong.filter(|_| faults.is_empty()).ok_or(faults)
}

/// The same at the start: made and kept if none is given.
fn api_secret_at_start(flags: &Flags, faults: &mut Vec<String>) -> Option<ApiSecret> {
    let before = faults.len();
    let given = given_secret(flags.api_secret_file.as_deref(), "SWITCHHOOK_API_SECRET", faults);
    if given.is_none() && faults.len() == before {
        let path = flags.data.join("api.secret");
        let kept = kept_secret(&path, faults)?;
        return strong((Some(path), kept), faults);
    }
    strong(given?, faults)
}

/// The master secret that a router of this data directory uses, for what is read beside it.
///
/// # Errors
/// Why there is none: every fault.
pub(crate) fn master_secret(data: &Path, file: Option<&Path>) -> Result<MasterSecret, Vec<String>> {
    let mut faults = Vec::new();
    let given = given_secret(file, "SWITCHHOOK_MASTER_SECRET", &mut faults);
    let given = given.or_else(|| {
        let path = data.join("master.secret");
        Some((Some(path.clone()), read_secret(&path, &mut faults)?))
    });
    let master = given.and_then(|given| master_of(given, &mut faults));
    master.filter(|_| faults.is_empty()).ok_or(faults)
}

fn strong((file, text): Given, faults: &mut Vec<String>) -> Option<ApiSecret> {
    let origin = file.as_ref().map_or("SWITCHHOOK_API_SECRET".to_owned(), |path| path.display().to_string());
    let checked = check_secret(&text).map_err(|weak| faults.push(format!("{origin} {weak}.")));
    checked.ok().map(|()| ApiSecret { text, file })
}

fn master_at_start(flags: &Flags, faults: &mut Vec<String>) -> Option<MasterSecret> {
    let before = faults.len();
    let given = given_secret(flags.master_secret_file.as_deref(), "SWITCHHOOK_MASTER_SECRET", faults);
    let given = match given {
        Some(given) => given,
        None if faults.len() > before => return None,
        None => {
            let path = flags.data.join("master.secret");
            let kept = kept_secret(&path, faults)?;
            (Some(path), kept)
        }
    };
    master_of(given, faults)
}

fn master_of((file, text): Given, faults: &mut Vec<String>) -> Option<MasterSecret> {
    let origin = file.map_or("SWITCHHOOK_MASTER_SECRET".to_owned(), |path| path.display().to_string());
    let master = MasterSecret::parse(&text);
    if let Err(weak) = &master {
        faults.push(format!("{origin}: {weak}."));
    }
    master.ok()
}

/// A secret and the file it was read from, if it was.
type Given = (Option<PathBuf>, Zeroizing<String>);

/// The secret that a flag's file or a variable gives; none, with a fault, if that file cannot be read.
fn given_secret(file: Option<&Path>, name: &str, faults: &mut Vec<String>) -> Option<Given> {
    match (file, variable(name)) {
        (Some(path), _) => Some((Some(path.to_path_buf()), read_secret(path, faults)?)),
        // The variable may hold the secret itself, as LiveKit's own do, or a path. A text that looks like a
        // path is one: the name of a missing file must not become the secret.
        (None, Some(value)) if value.starts_with(['/', '.']) || Path::new(value.as_str()).is_file() => {
            let path = PathBuf::from(value.as_str());
            let text = read_secret(&path, faults)?;
            Some((Some(path), text))
        }
        (None, Some(value)) => Some((None, value)),
        (None, None) => None,
    }
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
    read_secret(path, faults)
}

/// Where a router whose API speaks TLS leaves the certificate it serves: commands trust that one.
pub(crate) const API_CERT: &str = "api.cert";

/// How long the operator's token of the data directory is valid; each start makes a new one.
const OPERATOR_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// Leaves behind the token with which commands speak to this router.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn leave_operator_token(data: &Path, tokens: &Tokens, now: UnixMillis) -> std::io::Result<()> {
    let claims = Claims::operator(now, now.after(OPERATOR_VALIDITY));
    write_private(&data.join("operator.token"), &tokens.sign(&claims).unwrap_or_default())
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
