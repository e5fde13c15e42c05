//! What a store must be able to do: answer what is stored, and store changes.

use std::error::Error;
use std::io;

use crate::calls::{Change, Keys, Loaded};
pub use crate::telemetry::FaultKind;

/// Stores changes. An engine knows nothing of the queue, nor of requests.
pub trait Engine: Send {
    /// What is stored of these keys: all that was committed, nothing of what was not.
    ///
    /// # Errors
    /// [`StoreFault`] when the store cannot be read.
    fn load(&mut self, keys: &Keys) -> Result<Loaded, StoreFault>;

    /// Stores changes in order: durable, all of them, when it returns; none of them if it fails. Storing the
    /// same changes again changes nothing more.
    ///
    /// # Errors
    /// [`StoreFault`] when the store does not take them.
    fn commit(&mut self, changes: &[&[Change]]) -> Result<(), StoreFault>;

    /// Whether what is committed now will be found by the next start: an error the first time it will not, then tries to
    /// put that right. True if it has just been put right.
    ///
    /// # Errors
    /// [`StoreFault`] when nothing can be stored durably.
    fn check(&mut self) -> Result<bool, StoreFault>;

    /// No commit follows what was loaded: ends what [`Self::load`] began.
    fn rest(&mut self);

    /// Maintenance behind each commit, once its requests are answered, and at the end. What fails is tried again the next
    /// time.
    fn tidy(&mut self, closing: bool);
}

/// The store cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// The engine's own words.
    #[error("{1}")]
    Engine(FaultKind, #[source] Box<dyn Error + Send + Sync>),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "the database has version {found}, made by a newer Switchhook; this one knows versions up to {known}: \
         start the newer one, or name another --data"
    )]
    Version { found: i64, known: i64 },
    /// Says what is damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it can neither be written ({written}) nor read ({read})")]
    Unreadable { written: Box<StoreFault>, read: Box<StoreFault> },
    #[error("it takes nothing at the moment: replays and renewed secrets are refused until it does")]
    Away,
    #[error("it is closed")]
    Closed,
    #[error("it does not answer")]
    Slow,
}

impl StoreFault {
    /// Why the store does not work; none if this says nothing about it.
    pub fn kind(&self) -> Option<FaultKind> {
        match self {
            Self::Engine(kind, _) => Some(*kind),
            Self::Io(error) => Some(kind_of(error)),
            Self::Version { .. } => Some(FaultKind::Other),
            Self::Damaged(_) => Some(FaultKind::Damaged),
            // What cannot be written may lack what this release adds to a database before it reads it.
            Self::Unreadable { written, .. } => written.kind(),
            Self::Slow => Some(FaultKind::Slow),
            Self::Away | Self::Closed => None,
        }
    }

    /// Whether it may end by itself, or by something an operator does outside the database.
    pub fn may_end(&self) -> bool {
        self.kind().is_none_or(FaultKind::may_end)
    }
}

/// Why a file cannot be read or written.
fn kind_of(error: &io::Error) -> FaultKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FaultKind::Full,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FaultKind::ReadOnly,
        _ => FaultKind::Io,
    }
}

#[cfg(test)]
pub mod contract;
#[cfg(test)]
pub mod memory;
