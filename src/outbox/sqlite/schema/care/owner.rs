//! Files and folders that root makes belong to the one who runs the router: the owner of the folder they are made in.
//!
//! Only what was made here is given away, by its descriptor: a name may lead to another file at any time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

/// `open` fails for a link, and does not wait for the other end of a pipe.
pub const NO_LINK: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits().cast_signed();

/// Makes a file for its owner only, to be read and written, which must not be there: a link of its name is not followed.
///
/// # Errors
/// When there is one, or it cannot be made.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).custom_flags(NO_LINK).open(path)
}

/// Gives what was just made in a folder to the owner of that folder.
///
/// # Errors
/// When only another user could.
pub fn give_to_owner(made: &File, folder: &Path) -> io::Result<()> {
    let owner = fs::metadata(folder)?;
    if made.metadata()?.uid() == owner.uid() {
        return Ok(());
    }
    fchown(made, Some(owner.uid()), Some(owner.gid()))
}

/// Makes a directory, and those it is in, for the owner of the first that is there.
///
/// # Errors
/// When one cannot be made.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let folder = folder_of(directory);
    make_directory(folder)?;
    DirBuilder::new().mode(0o700).create(directory)?;
    let made = OpenOptions::new().read(true).custom_flags(NO_LINK).open(directory)?;
    give_to_owner(&made, folder)
}

/// The folder that a file is in.
pub fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
