//! A number in the database's own header, drawn at each start. `cp other.db switchhook.db` changes the bytes of the open
//! file, not which file it is: then the header has another number.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;

use crate::outbox::engine::StoreFault;

/// Where the header has the application id (<https://sqlite.org/fileformat.html#application_id>), which SQLite leaves to
/// its users and writes only when it is told to.
pub const AT: u64 = 68;

/// The mark of a database that is open, and its file.
///
/// When any file descriptor of a file is closed, the system drops the locks that the process has on it, and with them
/// SQLite's (<https://sqlite.org/howtocorrupt.html>, 2.2). So the file stays open as long as a connection of the writer
/// is, or of one who reads with it.
#[derive(Debug)]
pub struct Mark {
    file: File,
    /// The new number, and what the file had when it was opened: a reader may keep page 1 from being copied into it.
    numbers: [[u8; 4]; 2],
}

impl Mark {
    /// Gives the database a new mark.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set(path: &Path, connection: &Connection) -> Result<Self, StoreFault> {
        let number: i32 = connection.query_row("SELECT 1 + (random() & 0x3fffffff)", [], |row| row.get(0))?;
        let before: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let checkpoint = || connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
        // Each writes page 1 into the log. So a log has the mark that is in the file until a checkpoint, and the one that is
        // there from then on: see `care::log::is_anothers`. No checkpoint comes between the two.
        let _ = checkpoint();
        connection.pragma_update(None, "application_id", before)?;
        connection.pragma_update(None, "application_id", number)?;
        // If the page cannot be copied now, the database has its old mark until it is. If it can, the log begins anew with
        // the next commit, this one.
        let _ = checkpoint();
        connection.pragma_update(None, "application_id", number)?;
        let (file, number) = (File::open(path)?, number.to_be_bytes());
        let before = read(&file)?.unwrap_or(number);
        Ok(Self { file, numbers: [number, before] })
    }

    /// Whether the file still has it. What is too short to have one was cut off: its length says so.
    pub fn is_there(&self) -> io::Result<bool> {
        let found = read(&self.file)?;
        Ok(found.is_none_or(|found| self.numbers.iter().any(|number| is_same(number, &found))))
    }

    /// Waits until the disk has what was written into the file, by whichever connection.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

/// Whether two marks are one: a disk that alters a byte of a mark makes no other database of it.
pub fn is_same(one: &[u8; 4], other: &[u8; 4]) -> bool {
    one.iter().zip(other).filter(|(one, other)| one != other).count() <= 1
}

/// The mark of a file; none: it is too short to have one.
///
/// # Errors
/// When the file cannot be read.
pub fn read(file: &File) -> io::Result<Option<[u8; 4]>> {
    let mut found = [0; 4];
    match file.read_exact_at(&mut found, AT) {
        Ok(()) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
