//! The database that a start reads and cannot write: only the same one is opened for writing later. Calls, numbers and
//! hooks were read from it, and what is pending in it is being delivered.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use rusqlite::Connection;

use super::super::files;
use super::displaced::{Displaced, OpenFile};
use super::mark;
use crate::outbox::engine::StoreFault;

type Number = Option<[u8; 4]>;

/// A database's file, as it was found.
#[derive(Debug)]
pub struct FoundDatabase {
    file: OpenFile,
    /// The mark of the file, and the one that its log brings into it: any process that commits may copy the log's pages.
    marks: [Number; 2],
}

impl FoundDatabase {
    /// The database in a directory. No connection of this process may have it open: its locks would be gone.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn at(directory: &Path) -> Result<Self, StoreFault> {
        let path = files::path(directory);
        let file = OpenFile::at(path.clone())?.ok_or(ErrorKind::NotFound).map_err(io::Error::from)?;
        Ok(Self { marks: [mark_at(&path)?; 2], file })
    }

    /// The database is read through this connection, with what its log has.
    pub fn is_read_through(&mut self, store: &Connection) {
        let read = store.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0));
        self.marks[1] = read.map_or(self.marks[1], |number| Some(number.to_be_bytes()));
    }

    /// Why an attempt to open it for writing has failed: it is not there any more, or what the attempt met. The attempt may
    /// have given it another mark before.
    pub fn explain(&mut self, met: StoreFault) -> StoreFault {
        let path = &self.file.path;
        match self.file.look() {
            Err(Displaced::Gone(_) | Displaced::Replaced(_)) => Displaced::NotTheRead(path.clone()).into(),
            Ok(_) | Err(_) => {
                self.marks = mark_at(path).map_or(self.marks, |mark| [mark; 2]);
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

    fn has_mark(&self, found: Number) -> bool {
        self.marks.iter().any(|mark| match (mark, &found) {
            (Some(mark), Some(found)) => mark::is_same(mark, found),
            (mark, found) => mark == found,
        })
    }
}

fn mark_at(path: &Path) -> io::Result<Number> {
    mark::read(&File::open(path)?)
}
