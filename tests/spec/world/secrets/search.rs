//! The search for secrets: nothing that a router or a command writes may hold one that a test uses.
//!
//! Tests need not ask for it. The world registers each secret where it is used, and searches every answer, log line,
//! command's output and file. A secret that was found fails the test, with its kind and place, but is not printed.

mod forms;
mod index;
mod sources;
mod worlds;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError, RwLock};

use self::index::Index;
pub use self::index::{Kind, Leak};
pub use self::sources::{
    register_body, register_hooks, register_keys, register_private_key, register_settings, register_spec,
    register_token, shown,
};

/// What a data directory may hold. A body is stored as LiveKit sent it: what a hook redacts is cut out when it is sent.
pub const STORED: &[Kind] = &[Kind::BodyField];

/// The secrets of all worlds of this process.
static KNOWN: LazyLock<RwLock<Index>> = LazyLock::new(RwLock::default);

/// What was found where nobody could be failed at once.
static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Shorter texts are not searched for: chance would find them.
const SHORTEST: usize = 12;

/// What the test of the search writes into its own leaks.
pub const DELIBERATE: &str = "deliberate leak";

/// Bytes of a file that are searched.
const FILE_BYTES: u64 = 32 << 20;

/// From here on this secret is searched for, in each form in which it could be written.
pub fn register(kind: Kind, secret: &[u8]) {
    if secret.len() < SHORTEST || KNOWN.read().unwrap_or_else(PoisonError::into_inner).has(kind, secret) {
        return;
    }
    let forms = forms::of(secret);
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).add(kind, secret, forms);
}

/// The first secret in a text, but for these kinds.
pub fn find(text: &[u8], but: &[Kind]) -> Option<Leak> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).find(text, but)
}

/// Fails the test if this text, which was written at `place`, holds a secret of another kind than these.
pub fn search(place: &str, text: impl AsRef<[u8]>, but: &[Kind]) {
    if let Some(leak) = find(text.as_ref(), but) {
        panic!("{place} holds {leak}");
    }
}

/// Notes a text with a secret that was written by a task which must go on: the next world that ends fails.
pub fn note(place: &str, text: &str) {
    if let Some(leak) = find(text.as_bytes(), &[]) {
        LEAKS.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{place} holds {leak}"));
    }
}

/// Takes those of what was noted that are `meant`.
pub fn noted(meant: impl Fn(&str) -> bool) -> Vec<String> {
    let mut leaks = LEAKS.lock().unwrap_or_else(PoisonError::into_inner);
    leaks.extract_if(.., |leak| meant(leak)).collect()
}

/// Fails the test if this file holds a secret of another kind than these; one that is gone holds nothing.
pub fn search_file(path: &Path, but: &[Kind]) {
    let mut bytes = Vec::new();
    if File::open(path).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes)).is_ok() {
        search(&path.display().to_string(), bytes, but);
    }
}

/// Does so for all files below a data directory but those that are there to hold a secret.
pub fn search_data(folder: &Path, but: &[Kind]) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let holds_secrets =
            ["master.secret", "api.secret", "operator.token"].iter().any(|file| name.starts_with(file));
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => search_data(&path, but),
            Ok(kind) if kind.is_file() && !holds_secrets => search_file(&path, but),
            _ => {}
        }
    }
}
