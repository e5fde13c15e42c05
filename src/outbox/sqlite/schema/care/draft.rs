//! A file that is made beside the one it is to become, by one process at a time.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::files;
use super::fault::{CareFault, at};

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
    /// Begins a file that is to become `to`. What a process that was killed has left of it is overwritten.
    ///
    /// # Errors
    /// [`CareFault::BeingWritten`], or when it cannot be written there.
    pub fn begin(to: &Path) -> Result<Self, CareFault> {
        let path = files::beside(to, ".new");
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let file = options.open(&path).map_err(at(&path))?;
        // The one who had it locked may have published it between the two calls: then it must stay as it is.
        if file.try_lock().is_err() || !is_at(&file, &path) {
            return Err(CareFault::BeingWritten(to.to_owned()));
        }
        let draft = Self { path, to: to.to_owned(), file, is_published: false };
        let emptied = draft.file.set_len(0);
        emptied
            .and_then(|()| draft.file.set_permissions(Permissions::from_mode(0o600)))
            .map_err(at(&draft.path))?;
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
        let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        self.file.sync_all().map_err(at(&self.path))?;
        files::rename(folder, &self.path, &self.to).map_err(at(&self.to))?;
        self.is_published = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            // What stays is overwritten by the next one.
            let _ = files::remove(&self.path);
        }
    }
}

/// Whether the file that is open is the one of this name.
fn is_at(file: &File, path: &Path) -> bool {
    let ids = |found: fs::Metadata| (found.dev(), found.ino());
    file.metadata().map(ids).ok() == fs::metadata(path).map(ids).ok()
}
