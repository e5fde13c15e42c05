//! Why a work on the database was refused, or failed.

use std::io;
use std::path::{Path, PathBuf};

use super::super::files;
use crate::outbox::engine::StoreFault;
use crate::visible::shown;

/// Why a database was not backed up, checked or put in place. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum CareFault {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error("{}: {error}", shown(path))]
    File { path: PathBuf, error: io::Error },
    #[error("{} is no database of Switchhook", shown(.0))]
    Foreign(PathBuf),
    #[error("{} is damaged: {found}", shown(path))]
    Damaged { path: PathBuf, found: String },
    #[error(
        "the log {} is another database's, over which this one was copied: move the log away, or the two are mixed",
        shown(.0)
    )]
    AnothersLog(PathBuf),
    #[error("of {} no row can be read: restore a backup", shown(.0))]
    Unreadable(PathBuf),
    #[error("the database has version {0}, of an older release, whose rows this one cannot tell apart")]
    Older(i64),
    #[error(
        "the pages of {} have {bytes} bytes, and those of Switchhook's databases 4096: restore a backup, or rewrite it, \
         as far as it can be read: sqlite3 FILE 'PRAGMA journal_mode = DELETE; PRAGMA page_size = 4096; VACUUM'",
        shown(path)
    )]
    PageSize { path: PathBuf, bytes: u32 },
    #[error("there is no database in {}", shown(.0))]
    Nothing(PathBuf),
    #[error(
        "{} is complete and waits to be put in place: the next start of the router does that, and so do `switchhook store \
         recover` and `restore`",
        shown(.0)
    )]
    Waiting(PathBuf),
    #[error("{} exists", shown(.0))]
    Exists(PathBuf),
    #[error("{} is a link, a device or a folder, and would be replaced: name another file", shown(.0))]
    NoFile(PathBuf),
    #[error("another command is writing {}", shown(.0))]
    BeingWritten(PathBuf),
    #[error("{} was exchanged for another file while it was written", shown(.0))]
    Exchanged(PathBuf),
    #[error("{} is the database itself", shown(.0))]
    Itself(PathBuf),
    #[error("a file beside the database is lost with it, and erasures do not reach it: name another folder")]
    BesideTheDatabase,
    #[error("the name of {} is no UTF-8", shown(.0))]
    Unnameable(PathBuf),
    #[error("there is no room: {needed} bytes are needed, {free} are free in {}", shown(path))]
    NoRoom { path: PathBuf, needed: u64, free: u64 },
}

impl From<rusqlite::Error> for CareFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// There is no database in a directory.
pub fn absent(directory: &Path) -> CareFault {
    let new = files::new_path(directory);
    if new.exists() { CareFault::Waiting(new) } else { CareFault::Nothing(directory.to_owned()) }
}

/// A file system has less room than is needed, in bytes.
pub fn no_room(folder: &Path, needed: u64) -> CareFault {
    let free = files::free_bytes(folder).unwrap_or(0);
    CareFault::NoRoom { path: folder.to_owned(), needed, free }
}

/// Names the file that a fault of the system is about.
pub fn at(path: &Path) -> impl Fn(io::Error) -> CareFault {
    move |error| CareFault::File { path: path.to_owned(), error }
}
