//! A file that is made beside the one it is to become, by one process at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::files;
use super::fault::{CareFault, at};
use super::owner::{NO_LINK, create_private, folder_of};

/// Bytes that are written between two syncs.
const PART: u64 = 16 << 20;

/// A file in the making, for the owner only. Dropped before it is published, it is removed.
pub struct Draft {
    pub path: PathBuf,
    to: PathBuf,
    /// Locked as long as it is in the making.
    pub file: File,
    is_published: bool,
}

impl Draft {
    /// Begins a file that is to become `to`. What a process that was killed has left of it is removed, and so is whatever
    /// else has its name: links are not followed, and no file is written that another user made.
    ///
    /// # Errors
    /// [`CareFault::BeingWritten`], or when it cannot be written there.
    pub fn begin(to: &Path) -> Result<Self, CareFault> {
        let path = files::beside(to, ".new");
        let being_written = || CareFault::BeingWritten(to.to_owned());
        if !removes_left_over(&path).map_err(at(&path))? {
            return Err(being_written());
        }
        let file = create_private(&path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => being_written(),
            _ => at(&path)(error),
        })?;
        // Another command may have taken it for left over between the two calls.
        if file.try_lock().is_err() || !is_at(&file, &path) {
            return Err(being_written());
        }
        let draft = Self { path, to: to.to_owned(), file, is_published: false };
        // A log that was left over would be taken for this file's.
        remove_beside(&draft.path).map_err(at(&draft.path))?;
        Ok(draft)
    }

    /// Copies a file into it, and tells how many bytes are copied each time they are on disk.
    ///
    /// # Errors
    /// When one cannot be read, or the other not written.
    pub fn fill(&self, from: &Path, copied: &dyn Fn(u64)) -> Result<(), CareFault> {
        let mut source = File::open(from).map_err(at(from))?;
        let mut bytes = 0;
        loop {
            let part = io::copy(&mut source.by_ref().take(PART), &mut &self.file);
            let part = part.map_err(at(&self.path))?;
            self.file.sync_data().map_err(at(&self.path))?;
            bytes += part;
            copied(bytes);
            if part < PART {
                return Ok(());
            }
        }
    }

    /// Writes it to disk and gives it its name, in place of a file that has it.
    ///
    /// # Errors
    /// When the system refuses that.
    pub fn publish(mut self) -> Result<(), CareFault> {
        self.file.sync_all().map_err(at(&self.path))?;
        if !is_at(&self.file, &self.path) {
            return Err(CareFault::Exchanged(self.path.clone()));
        }
        files::rename(folder_of(&self.to), &self.path, &self.to).map_err(at(&self.to))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published && is_at(&self.file, &self.path) {
            // What stays is overwritten by the next one.
            let _ = files::remove(&self.path);
        }
    }
}

/// Removes what has this name; false if another command is writing it.
fn removes_left_over(path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        found => found?,
    };
    // A link or a pipe is nobody's work. The lock is kept until the file is removed.
    let _lock = if found.is_file() {
        let file = OpenOptions::new().read(true).custom_flags(NO_LINK).open(path)?;
        if file.try_lock().is_err() || !is_at(&file, path) {
            return Ok(false);
        }
        Some(file)
    } else {
        None
    };
    fs::remove_file(path).map(|()| true)
}

/// Removes what SQLite keeps beside a database, links among it.
fn remove_beside(database: &Path) -> io::Result<()> {
    files::parts(database).skip(1).try_for_each(|part| match fs::remove_file(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    })
}

/// Whether the file that is open is the one of this name.
fn is_at(file: &File, path: &Path) -> bool {
    let ids = |found: fs::Metadata| (found.dev(), found.ino());
    file.metadata().map(ids).ok() == fs::symlink_metadata(path).map(ids).ok()
}
