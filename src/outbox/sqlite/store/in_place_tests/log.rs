//! A router was killed, and its log is still there: beside its own database, or beside one that was copied over it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use rusqlite::Connection;

use super::{Data, another, commit, copy_file, copy_log, count};
use crate::outbox::engine::FaultKind;
use crate::outbox::sqlite::Sqlite;
use crate::outbox::sqlite::schema::care::log::is_anothers;

/// What a process that is killed now leaves behind.
pub fn killed(data: &Data) -> Data {
    let left = Data::new();
    for end in ["", "-wal"] {
        copy_file(&data.file(end), &left.file(end));
    }
    left
}

#[test]
fn the_log_of_a_router_that_was_killed_is_not_copied_into_a_database_that_was_put_in_the_place_of_its_own() {
    // Of another router, or a backup; smaller, as large, larger.
    for (events, is_backup) in [(1, false), (20, false), (2000, false), (20, true)] {
        let what = format!("{events} events, a backup: {is_backup}");
        let data = Data::new();
        let mut engine = data.open();
        commit(&mut engine, &(1..=20).collect::<Vec<_>>()).expect("committed");
        let left = killed(&data);
        let (other, open) = another(events);
        if is_backup {
            let backup = "PRAGMA application_id = 0; PRAGMA wal_checkpoint(TRUNCATE)";
            open.connection().execute_batch(backup).expect("a backup");
        }
        copy_file(&other.file(""), &left.file(""));
        assert_eq!(count(&left.open()), events, "{what}");
        assert_eq!(left.backups(), ["switchhook.db.overwritten-wal"], "{what}");
        assert_eq!(count(&left.open()), events, "{what}");
    }
}

#[test]
fn the_log_of_a_router_that_was_killed_at_any_time_belongs_to_its_own_database() {
    let mut data = Data::new();
    let mut events = 0;
    for kill in 0..6 {
        // Who reads keeps pages of the log from being copied into the database, also while the router starts.
        let reader = (kill % 3 == 1).then(|| Connection::open(data.file("")).expect("a reader"));
        let read = "BEGIN; SELECT count(*) FROM sqlite_schema";
        reader.iter().for_each(|reader| reader.execute_batch(read).expect("a snapshot"));
        let mut engine = data.open();
        assert_eq!(count(&engine), events);
        for _ in 0..3 {
            events += 1;
            commit(&mut engine, &[events]).expect("committed");
            let left = killed(&data);
            assert!(!is_anothers(&left.file("")).expect("readable"), "kill {kill}, event {events}");
            assert_eq!(count(&left.open()), events);
            if kill % 2 == 0 {
                copy_log(&engine);
            }
        }
        data = killed(&data);
    }
}

/// What a router with so many events leaves, whose log has page 1.
fn left_with_events(events: i64) -> Data {
    let data = Data::new();
    let mut engine = data.open();
    (1..=events).for_each(|event| commit(&mut engine, &[event]).expect("committed"));
    killed(&data)
}

#[test]
fn a_log_belongs_to_its_database_also_when_the_first_page_of_the_file_was_altered() {
    let altered: [(u64, &[u8]); 5] =
        [(68, &[0xff]), (69, &[0xff]), (70, &[0xff]), (71, &[0xff]), (0, &[0; 512])];
    for (at, bytes) in altered {
        let left = left_with_events(20);
        let file = OpenOptions::new().write(true).open(left.file("")).expect("a file");
        file.write_all_at(bytes, at).expect("altered");
        assert_eq!(count(&left.open()), 20, "{} bytes at {at}", bytes.len());
        assert!(left.backups().is_empty(), "{} bytes at {at}", bytes.len());
    }
}

#[test]
fn a_damaged_log_is_left_for_a_recovery_also_when_its_copy_of_the_databases_mark_is_what_is_damaged() {
    let data = Data::new();
    drop(data.open());
    // Since somebody reads, the file keeps its mark, which the log has beside the new one.
    let reader = Connection::open(data.file("")).expect("a reader");
    reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").expect("a snapshot");
    let mut engine = data.open();
    commit(&mut engine, &[1]).expect("committed");
    let left = killed(&data);
    let file = fs::read(left.file("")).expect("a file");
    let mut log = fs::read(left.file("-wal")).expect("a log");
    let heads = log.windows(72).enumerate().filter(|(_, head)| head[..16] == file[..16]);
    let (same, others): (Vec<_>, Vec<_>) =
        heads.map(|(at, head)| (at, head[68..] == file[68..72])).partition(|(_, same)| *same);
    assert!(!same.is_empty() && !others.is_empty());
    same.iter().for_each(|(at, _)| log[at + 200] ^= 0x40);
    fs::write(left.file("-wal"), &log).expect("altered");
    let refused = Sqlite::open(&left.path()).err().expect("refused");
    assert_eq!(refused.kind(), Some(FaultKind::Damaged), "{refused}");
    assert!(left.backups().is_empty() && fs::read(left.file("-wal")).expect("a log") == log);
}

#[test]
fn a_database_that_is_a_link_is_refused_since_its_log_is_elsewhere() {
    let (data, elsewhere) = (Data::new(), Data::new());
    drop(elsewhere.open());
    std::os::unix::fs::symlink(elsewhere.file(""), data.file("")).expect("a link");
    let refused = Sqlite::open(&data.path()).err().expect("refused");
    assert!(!refused.may_end() && refused.to_string().contains("--data"), "{refused}");
}
