//! Why a work on the database was refused, or failed.

use std::io;
use std::path::{Path, PathBuf};

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
    #[error("of {} no row can be read: restore a backup", shown(.0))]
    Unreadable(PathBuf),
    #[error("the database has version {0}, of an older release, whose rows this one cannot tell apart")]
    Older(i64),
    #[error("there is no database in {}", shown(.0))]
    Nothing(PathBuf),
    #[error("{} exists", shown(.0))]
    Exists(PathBuf),
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

/// Names the file that a fault of the system is about.
pub fn at(path: &Path) -> impl Fn(io::Error) -> CareFault {
    move |error| CareFault::File { path: path.to_owned(), error }
}
