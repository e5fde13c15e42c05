//! A start could only read the database: only the same one is opened for writing later.

use rusqlite::Connection;

use super::log::killed;
use super::{Data, another, copy_file};
use crate::outbox::sqlite::{FoundDatabase, begin_to_read, database, end_to_read};

/// What a router leaves that was killed while somebody kept its new mark in the log, out of the file.
fn with_its_mark_in_the_log() -> Data {
    let data = Data::new();
    drop(data.open());
    let reader = Connection::open(data.file("")).expect("a reader");
    reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").expect("a snapshot");
    let _engine = data.open();
    killed(&data)
}

/// The database as a start finds it that can only read.
fn found(data: &Data) -> FoundDatabase {
    let mut found = FoundDatabase::at(&data.path()).expect("a database");
    let store = begin_to_read(&data.path()).expect("readable");
    found.is_read_through(&store);
    drop(store);
    end_to_read(&database(&data.path()));
    found
}

#[test]
fn a_database_that_was_read_is_still_the_same_when_somebody_has_copied_its_log_into_it() {
    let data = with_its_mark_in_the_log();
    let found = found(&data);
    let mark = || std::fs::read(data.file("")).expect("a file")[68..72].to_vec();
    let before = mark();
    let shell = Connection::open(data.file("")).expect("a shell");
    shell.execute_batch("UPDATE progress SET seq = seq; PRAGMA wal_checkpoint").expect("copied");
    drop(shell);
    assert_ne!(mark(), before);
    assert!(found.look().is_ok());
}

#[test]
fn a_database_that_was_copied_over_the_one_that_was_read_is_another_one() {
    let data = with_its_mark_in_the_log();
    let found = found(&data);
    let (other, _open) = another(3);
    copy_file(&other.file(""), &data.file(""));
    assert!(found.look().is_err());
}
