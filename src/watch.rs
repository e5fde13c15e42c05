//! Reports changed content of a file that people and orchestrators edit.
//!
//! Watches the folder, not the file: editors rename over it, and Kubernetes swaps a symlink beside
//! it. A poll stands behind the watcher, for file systems that report nothing. In a folder with an open database
//! there is the poll alone: every commit would be reported.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::time::Clock;

/// Looks at the content at least this often.
const POLL: Duration = Duration::from_secs(10);

/// The same where nothing is reported because the folder has a database.
const POLL_BESIDE_DATABASE: Duration = Duration::from_secs(1);

/// Writers often make several changes in a row: look when they are through.
const SETTLE: Duration = Duration::from_millis(100);

type Stat = (u64, u64, i64, i64, u64);

/// A watched file.
pub struct Watch {
    path: PathBuf,
    clock: Clock,
    known: [u8; 32],
    /// The file's stat before it was last read.
    seen: Option<Stat>,
    /// The log says already that the file cannot be read.
    is_unreadable: bool,
    stirred: mpsc::Receiver<()>,
    again: mpsc::Sender<()>,
    poll: Duration,
    /// Reports as long as it lives; none where the system has no watcher, or the folder has a database.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches `path`, whose content is known to be `text`.
    pub fn new(path: &Path, text: &str, clock: Clock) -> Self {
        let (sender, stirred) = mpsc::channel(1);
        let again = sender.clone();
        let told = move |event: notify::Result<notify::Event>| {
            // Reading is reported, too: our own reading must not trigger the next one.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            // A full channel already says that something happened.
            let _ = sender.try_send(());
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let watch = || {
            let mut watcher = notify::recommended_watcher(told)?;
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
            Ok::<_, notify::Error>(watcher)
        };
        let (poll, watcher) = if has_open_database(folder) {
            (POLL_BESIDE_DATABASE, None)
        } else {
            let told = watch().inspect_err(|error| {
                tracing::warn!(%error, "changes of files are seen only every 10 s");
            });
            (POLL, told.ok())
        };
        // It may have changed between its reading and this.
        let _ = again.try_send(());
        let known = Sha256::digest(text).into();
        let (path, seen, is_unreadable) = (path.to_owned(), None, false);
        Self { path, clock, known, seen, is_unreadable, stirred, again, poll, _watcher: watcher }
    }

    /// Waits until the content has changed, and returns it. A file that is missing, or may not be read, has not
    /// changed; if it stays so until the next poll, the log says it.
    #[expect(clippy::disallowed_methods, reason = "whoever writes the file does so in real time")]
    pub async fn changed(&mut self) -> String {
        loop {
            let stirred = self.clock.timeout(self.poll, self.stirred.recv()).await;
            if stirred.is_ok() {
                tokio::time::sleep(SETTLE).await;
            }
            // Changes of other files in the folder are reported, too: they cost one stat each. The poll always
            // reads the file.
            let stat = self.stat().await;
            if stirred.is_ok() && stat.is_some() && stat == self.seen {
                continue;
            }
            self.seen = stat;
            // A half-written file has another text a moment later.
            let first = match self.read().await {
                Ok((_, first)) => first,
                // After a report the file may be missing for the moment in which it is replaced.
                Err(error) if stirred.is_err() => {
                    self.warn_of(&error);
                    continue;
                }
                Err(_) => continue,
            };
            self.is_unreadable = false;
            if first == self.known {
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            let Ok((text, second)) = self.read().await else { continue };
            if second == first {
                self.known = second;
                return text;
            }
            // The file is still being written: read it again at once.
            self.seen = None;
            let _ = self.again.try_send(());
        }
    }

    /// Says once that the file cannot be read, until it can be.
    fn warn_of(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.is_unreadable, true) {
            let file = self.path.display();
            tracing::warn!(%file, %error, "the file cannot be read: what it held before stays in force");
        }
    }

    /// What changes with the file: where it is, when it was written, how long it is.
    async fn stat(&self) -> Option<Stat> {
        let path = self.path.clone();
        let stat = tokio::task::spawn_blocking(move || {
            let data = std::fs::metadata(path)?;
            Ok::<_, std::io::Error>((data.dev(), data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
        });
        stat.await.ok()?.ok()
    }

    async fn read(&self) -> std::io::Result<(String, [u8; 32])> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let text = std::fs::read_to_string(path)?;
            let hash: [u8; 32] = Sha256::digest(&text).into();
            Ok((text, hash))
        });
        read.await.map_err(std::io::Error::other)?
    }
}

/// Whether a SQLite database in this folder is in use: its write-ahead log lies beside it.
fn has_open_database(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().as_encoded_bytes().ends_with(b"-wal"))
}
