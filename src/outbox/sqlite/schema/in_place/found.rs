//! The database that a start reads and cannot write: only the same one is opened for writing later. Calls, numbers and
//! hooks were read from it, and what is pending in it is being delivered.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::super::files;
use super::displaced::{Displaced, OpenFile};
use super::mark;
use crate::outbox::engine::StoreFault;

/// A database's file, as it was found.
#[derive(Debug)]
pub struct FoundDatabase {
    file: OpenFile,
    mark: Option<[u8; 4]>,
}

impl FoundDatabase {
    /// The database in a directory. No connection of this process may have it open: its locks would be gone.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn at(directory: &Path) -> Result<Self, StoreFault> {
        let path = files::path(directory);
        let file = OpenFile::at(path.clone())?.ok_or(ErrorKind::NotFound).map_err(io::Error::from)?;
        Ok(Self { mark: mark_at(&path)?, file })
    }

    /// Why an attempt to open it for writing has failed: it is not there any more, or what the attempt met. The attempt may
    /// have given it another mark before.
    pub fn explain(&mut self, met: StoreFault) -> StoreFault {
        let path = &self.file.path;
        match self.file.look() {
            Err(Displaced::Gone(_) | Displaced::Replaced(_)) => Displaced::NotTheRead(path.clone()).into(),
            Ok(_) | Err(_) => {
                self.mark = mark_at(path).unwrap_or(self.mark);
                met
            }
        }
    }

    /// Whether it is still there. No connection of this process may have it open.
    ///
    /// # Errors
    /// [`Displaced::NotTheRead`] when it is not.
    pub fn look(&self) -> Result<(), StoreFault> {
        let path = self.file.path.clone();
        match self.file.look() {
            Err(hidden @ Displaced::Hidden { .. }) => Err(hidden.into()),
            Ok(_) if self.has_mark(mark_at(&path)?) => Ok(()),
            Ok(_) | Err(_) => Err(Displaced::NotTheRead(path).into()),
        }
    }

    fn has_mark(&self, found: Option<[u8; 4]>) -> bool {
        match (&self.mark, &found) {
            (Some(mark), Some(found)) => mark::is_same(mark, found),
            (mark, found) => mark == found,
        }
    }
}

fn mark_at(path: &Path) -> io::Result<Option<[u8; 4]>> {
    mark::read(&File::open(path)?)
}
