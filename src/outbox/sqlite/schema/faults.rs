//! SQLite's result codes (<https://sqlite.org/rescode.html>) as kinds of fault.

use std::path::Path;

use rusqlite::{Error, ErrorCode, ffi};
use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use super::sums;
use crate::outbox::engine::{FaultKind, StoreFault};

impl From<Error> for StoreFault {
    fn from(error: Error) -> Self {
        Self::Engine(kind_of(&error), Box::new(error))
    }
}

fn kind_of(error: &Error) -> FaultKind {
    if sums::is_damaged_row(error) {
        return FaultKind::Damaged;
    }
    let Some(failure) = error.sqlite_error() else { return FaultKind::Other };
    match failure.extended_code {
        ffi::SQLITE_READONLY_DBMOVED => return FaultKind::Moved,
        ffi::SQLITE_IOERR_DATA | ffi::SQLITE_IOERR_CORRUPTFS => return FaultKind::Damaged,
        // No room for the index of the write-ahead log.
        ffi::SQLITE_IOERR_SHMSIZE => return FaultKind::Full,
        _ => {}
    }
    match failure.code {
        ErrorCode::DiskFull => FaultKind::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            FaultKind::Locked
        }
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => FaultKind::ReadOnly,
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen => FaultKind::Io,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => FaultKind::Damaged,
        _ => FaultKind::Other,
    }
}

/// SQLite says "I/O error" and "unable to open" where the system knows why: the file system says it.
#[must_use]
pub fn explained(fault: StoreFault, directory: &Path) -> StoreFault {
    match fault {
        StoreFault::Engine(FaultKind::Io, error) => StoreFault::Engine(why(directory), error),
        other => other,
    }
}

fn why(directory: &Path) -> FaultKind {
    let disk = statvfs(directory).ok();
    let is_mounted_read_only =
        disk.as_ref().is_some_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY));
    if is_mounted_read_only || access(directory, Access::WRITE_OK).is_err() {
        FaultKind::ReadOnly
    } else if disk.is_some_and(|disk| disk.f_bavail == 0) {
        FaultKind::Full
    } else {
        FaultKind::Io
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_code_that_an_operator_can_act_on_has_its_kind() {
        for (code, kind) in [
            (ffi::SQLITE_FULL, FaultKind::Full),
            (ffi::SQLITE_IOERR_SHMSIZE, FaultKind::Full),
            (ffi::SQLITE_BUSY, FaultKind::Locked),
            (ffi::SQLITE_BUSY_SNAPSHOT, FaultKind::Locked),
            (ffi::SQLITE_READONLY, FaultKind::ReadOnly),
            (ffi::SQLITE_READONLY_DBMOVED, FaultKind::Moved),
            (ffi::SQLITE_IOERR_FSYNC, FaultKind::Io),
            (ffi::SQLITE_CANTOPEN, FaultKind::Io),
            (ffi::SQLITE_CORRUPT, FaultKind::Damaged),
            (ffi::SQLITE_NOTADB, FaultKind::Damaged),
            (ffi::SQLITE_NOMEM, FaultKind::Other),
        ] {
            let error = Error::SqliteFailure(ffi::Error::new(code), None);
            assert_eq!(StoreFault::from(error).kind(), Some(kind), "{code}");
        }
        let altered = Error::InvalidColumnType(1, "host".to_owned(), rusqlite::types::Type::Blob);
        assert_eq!(StoreFault::from(altered).kind(), Some(FaultKind::Damaged));
    }
}
