//! The data directory is kept while the router runs: if it is removed, its lock and the small files that the router
//! knows are written again. The database is written back by the writer of the store.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::background;
use crate::config::{API_CERT, write_private};
use crate::time::Clock;

/// The directory is looked after this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is written again. Without `master.secret` the next start would sign with other secrets.
const KEPT: [&str; 5] = ["master.secret", "api.secret", "operator.token", "api.address", API_CERT];

/// A file of at most so many bytes is remembered.
const MOST: u64 = 64 << 10;

/// Keeps other routers off the data directory; replaced when the directory is.
pub type DirectoryLock = Arc<Mutex<File>>;

/// A small file as it was last read.
struct Remembered {
    /// Inode, bytes, and when it was written: seconds and nanoseconds.
    stat: (u64, u64, i64, i64),
    text: Zeroizing<String>,
}

/// The data directory.
pub struct DataDirectory {
    path: PathBuf,
    lock: DirectoryLock,
    files: BTreeMap<&'static str, Remembered>,
    /// The log says that the directory cannot be made again.
    has_failed: bool,
}

impl DataDirectory {
    /// The directory at `path`, which `lock` locks; the secrets in it are remembered from now on.
    pub fn new(path: PathBuf, lock: DirectoryLock) -> Self {
        let mut directory = Self { path, lock, files: BTreeMap::new(), has_failed: false };
        directory.remember();
        directory
    }

    /// Keeps it until `stop`.
    pub async fn keep(mut self, clock: Clock, stop: CancellationToken) {
        loop {
            let look = move || {
                self.look();
                self
            };
            // A look that panicked ends this task, which ends the service.
            let Some(Some(looked)) = stop.run_until_cancelled(background::run(look)).await else { return };
            self = looked;
            if stop.run_until_cancelled(clock.sleep(LOOK_EVERY)).await.is_none() {
                return;
            }
        }
    }

    fn look(&mut self) {
        match self.is_ours() {
            Ok(true) => self.remember(),
            Ok(false) => {
                let made = self.make_again();
                if let Err(error) = &made
                    && !self.has_failed
                {
                    tracing::error!(
                        %error, directory = %self.path.display(),
                        "the data directory was removed or replaced, and cannot be made again: this is tried again and \
                         again. Do not stop the router: its secrets would be lost"
                    );
                }
                self.has_failed = made.is_err();
            }
            // It cannot be looked at: the store has the same trouble, and says so.
            Err(_) => {}
        }
    }

    /// Whether the lock in the directory is the one that this process holds.
    fn is_ours(&self) -> io::Result<bool> {
        let held = self.lock.lock().unwrap_or_else(PoisonError::into_inner).metadata()?;
        match fs::metadata(self.path.join("lock")) {
            Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what has changed.
    fn remember(&mut self) {
        for name in KEPT {
            let path = self.path.join(name);
            let Ok(found) = fs::metadata(&path) else { continue };
            let stat = (found.ino(), found.len(), found.mtime(), found.mtime_nsec());
            if found.len() > MOST || self.files.get(name).is_some_and(|file| file.stat == stat) {
                continue;
            }
            if let Ok(text) = fs::read_to_string(path).map(Zeroizing::new) {
                self.files.insert(name, Remembered { stat, text });
            }
        }
    }

    /// Makes the directory, locks it, and writes what is missing in it.
    fn make_again(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let path = self.path.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        lock.try_lock().map_err(|_| io::Error::other("another process has locked it"))?;
        let (mut written, mut differ) = (Vec::new(), Vec::new());
        for (name, file) in &self.files {
            let path = self.path.join(name);
            match fs::read_to_string(&path).map(Zeroizing::new) {
                Ok(text) if text == file.text => {}
                Ok(_) => differ.push(*name),
                Err(_) => {
                    write_private(&path, &file.text)?;
                    written.push(*name);
                }
            }
        }
        File::open(&self.path)?.sync_all()?;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = lock;
        tracing::error!(
            directory = %self.path.display(), written = written.join(", "), differ = differ.join(", "),
            "the data directory was removed or replaced while it is in use: its lock is made again, and what was missing \
             of the router's secrets is written there. What differs is left as it is: the next start would use it"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(path: &std::path::Path) -> DirectoryLock {
        fs::create_dir(path).expect("a directory");
        let lock = File::create(path.join("lock")).expect("a lock");
        lock.try_lock().expect("locked");
        Arc::new(Mutex::new(lock))
    }

    #[test]
    fn a_directory_that_is_removed_has_its_secrets_and_its_lock_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        let mut directory = DataDirectory::new(path.clone(), locked(&path));
        fs::write(path.join("master.secret"), "first").expect("written");
        directory.look();
        fs::write(path.join("master.secret"), "second, after a rotation").expect("written");
        fs::write(path.join("operator.token"), "token").expect("written");
        directory.look();
        fs::remove_dir_all(&path).expect("removed");
        directory.look();
        let read = |name| fs::read_to_string(path.join(name)).expect("written again");
        assert_eq!(
            (read("master.secret"), read("operator.token")),
            ("second, after a rotation".into(), "token".into())
        );
        let mode = |path: PathBuf| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(path.clone()), mode(path.join("master.secret"))), (0o700, 0o600));
        let lock = File::open(path.join("lock")).expect("a lock");
        assert!(lock.try_lock().is_err(), "another router is kept off");
    }

    #[test]
    fn what_somebody_put_in_a_replaced_directory_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        let mut directory = DataDirectory::new(path.clone(), locked(&path));
        fs::write(path.join("master.secret"), "ours").expect("written");
        fs::write(path.join("api.secret"), "ours").expect("written");
        directory.look();
        fs::rename(&path, folder.path().join("old")).expect("renamed");
        fs::create_dir(&path).expect("a directory");
        fs::write(path.join("master.secret"), "theirs").expect("written");
        directory.look();
        let read = |name| fs::read_to_string(path.join(name)).expect("a file");
        assert_eq!((read("master.secret"), read("api.secret")), ("theirs".into(), "ours".into()));
        assert!(directory.is_ours().expect("readable"));
    }

    #[test]
    fn a_large_file_is_not_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        let mut directory = DataDirectory::new(path.clone(), locked(&path));
        let most = usize::try_from(MOST).expect("small");
        fs::write(path.join("master.secret"), "s".repeat(most)).expect("written");
        fs::write(path.join("api.secret"), "s".repeat(most + 1)).expect("written");
        directory.look();
        assert_eq!(directory.files.keys().collect::<Vec<_>>(), [&"master.secret"]);
    }
}
