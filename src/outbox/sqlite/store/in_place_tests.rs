//! The database's files are removed or replaced while they are open.

mod commands;
mod containers;
mod found;
mod log;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Sqlite;
use super::tests::{one, routed};
use crate::calls::Keys;
use crate::outbox::engine::{Engine, FaultKind, StoreFault};
use crate::outbox::sqlite::schema::{SET_ASIDE, copy_log as copy_log_of};
use crate::outbox::sqlite::{Reader, backups, read};

/// A data directory in a folder of its own, so that it can be removed.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("data")).expect("a directory");
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn file(&self, end: &str) -> PathBuf {
        self.path().join(format!("switchhook.db{end}"))
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(&self.path()).expect("a database")
    }

    fn remove(&self, ends: &[&str]) {
        ends.iter().for_each(|end| fs::remove_file(self.file(end)).expect("removed"));
    }

    /// What a start would find if this process were killed now.
    fn after_a_kill(&self) -> (Self, Sqlite) {
        let copy = Self::new();
        for end in ["", "-wal", ".new", ".new-journal"] {
            if self.file(end).exists() {
                copy_file(&self.file(end), &copy.file(end));
            }
        }
        let engine = copy.open();
        (copy, engine)
    }

    fn backups(&self) -> Vec<String> {
        let mut names = backups(&self.path()).expect("readable");
        names.sort();
        names
    }
}

/// By another process: if this one closed a file of the database, its locks on it would be gone.
fn copy_file(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().expect("cp").success());
}

fn commit(engine: &mut Sqlite, ids: &[i64]) -> Result<(), StoreFault> {
    let changes: Vec<_> = ids.iter().map(|id| routed(*id, *id)).collect();
    engine.commit(&[&changes])
}

fn count(engine: &Sqlite) -> i64 {
    assert_eq!(one(engine, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    one(engine, "SELECT count(*) FROM events")
}

/// What happens to the files.
type Fault = fn(&Data);

/// Another database, with three events.
fn replace_by_another(data: &Data) {
    let other = Data::new();
    let mut engine = other.open();
    commit(&mut engine, &[7, 8, 9]).expect("committed");
    engine.tidy(true);
    drop(engine);
    fs::rename(other.file(""), data.file("")).expect("replaced");
}

#[test]
fn whatever_becomes_of_its_files_the_database_is_back_at_its_path_with_all_that_was_committed() {
    let faults: [(&str, Fault); 9] = [
        ("removed", |data| data.remove(&[""])),
        ("removed with its log", |data| data.remove(&["", "-wal", "-shm"])),
        ("the log removed", |data| data.remove(&["-wal"])),
        ("the index removed", |data| data.remove(&["-shm"])),
        ("replaced", replace_by_another),
        ("replaced by nothing", |data| {
            fs::write(data.file(".tmp"), "").expect("written");
            fs::rename(data.file(".tmp"), data.file("")).expect("replaced");
        }),
        ("the log replaced", |data| {
            fs::write(data.file(".tmp"), "another log").expect("written");
            fs::rename(data.file(".tmp"), data.file("-wal")).expect("replaced");
        }),
        ("the directory removed", |data| fs::remove_dir_all(data.path()).expect("removed")),
        ("the directory renamed", |data| {
            fs::rename(data.path(), data.0.path().join("old")).expect("renamed");
        }),
    ];
    for (what, fault) in faults {
        let data = Data::new();
        let mut engine = data.open();
        commit(&mut engine, &[1, 2]).expect("committed");
        fault(&data);
        // That the index is gone, which holds no rows, is noticed by the next check.
        assert!(commit(&mut engine, &[3]).is_err() || engine.check().is_err(), "{what}");
        assert!(engine.check().expect(what), "{what}");
        commit(&mut engine, &[3, 4]).expect(what);
        assert!(!engine.check().expect(what), "{what}");
        assert_eq!((count(&engine), count(&data.after_a_kill().1)), (4, 4), "{what}");
        // Two in a row.
        data.remove(&["", "-wal"]);
        assert!(engine.check().is_err() && engine.check().expect(what), "{what}");
        assert_eq!((count(&engine), count(&data.after_a_kill().1)), (4, 4), "{what}");
        drop(engine);
        assert_eq!(count(&data.open()), 4, "{what}");
    }
}

#[test]
fn every_64th_commit_finds_also_that_a_file_is_gone_which_holds_no_rows() {
    let data = Data::new();
    let mut engine = data.open();
    data.remove(&["-shm"]);
    let refused = (1..=128).filter(|id| commit(&mut engine, &[*id]).is_err()).collect::<Vec<_>>();
    assert_eq!(refused, [64, 128]);
    assert!(engine.check().expect("written back"));
    assert_eq!(count(&engine), 128);
}

#[test]
fn a_file_that_somebody_put_in_the_databases_place_is_set_aside_whole() {
    let data = Data::new();
    let mut engine = data.open();
    commit(&mut engine, &[1]).expect("committed");
    for others in [&["switchhook.db.replaced"][..], &["switchhook.db.replaced", "switchhook.db.replaced.2"]] {
        replace_by_another(&data);
        assert!(engine.check().is_err());
        assert!(engine.check().expect("written back"));
        assert_eq!(data.backups(), others);
    }
    let other = Data::new();
    fs::copy(data.file(".replaced"), other.file("")).expect("copied");
    assert_eq!((count(&other.open()), count(&engine)), (3, 1));
}

#[test]
fn with_so_many_files_set_aside_no_further_one_is() {
    let data = Data::new();
    let mut engine = data.open();
    commit(&mut engine, &[1]).expect("committed");
    for number in 1..=SET_ASIDE {
        fs::write(data.file(&format!(".replaced.{number}")), "").expect("written");
    }
    replace_by_another(&data);
    for _ in 0..2 {
        assert!(engine.check().is_err());
    }
    let said = engine.check().expect_err("too many").to_string();
    assert!(said.contains("16 files are set aside already"), "{said}");
    assert_eq!(data.backups().len(), SET_ASIDE);
    data.remove(&[".replaced.7"]);
    assert!(engine.check().expect("written back"));
    assert_eq!(count(&engine), 1);
}

#[tokio::test]
async fn who_reads_finds_what_was_committed_and_never_another_file() {
    let data = Data::new();
    let reader = Reader::start(&data.path()).expect("a thread");
    let rows = "SELECT count(*) FROM events";
    let ask = || reader.call(|store| store.query_row(rows, [], |row| row.get::<_, i64>(0)));
    let look = || read(&data.path(), |store| store.query_row(rows, [], |row| row.get::<_, i64>(0)));
    assert!(ask().await.is_err(), "there is no database");
    let mut engine = data.open();
    commit(&mut engine, &[1]).expect("committed");
    assert_eq!((ask().await.expect("read"), look().expect("read")), (1, 1));
    replace_by_another(&data);
    assert!(commit(&mut engine, &[2]).is_err());
    assert_eq!(ask().await.expect("read"), 2);
    assert!(look().is_err());
    assert!(engine.check().expect("written back"));
    commit(&mut engine, &[4, 5]).expect("committed");
    assert_eq!((ask().await.expect("read"), look().expect("read")), (4, 4));
}

#[test]
fn a_kill_between_any_two_steps_of_writing_back_leaves_all_that_was_committed() {
    let data = Data::new();
    let mut engine = data.open();
    commit(&mut engine, &[1, 2]).expect("committed");
    // Complete and not in place yet: the log at the path is older, and must not be taken for the new file's.
    data.remove(&[""]);
    let new = data.file(".new");
    engine.connection().execute("VACUUM INTO ?1", [new.to_str()]).expect("copied");
    for is_emptied in [false, true] {
        if is_emptied {
            fs::write(data.file(""), "").expect("emptied");
        }
        let (after, found) = data.after_a_kill();
        assert_eq!(count(&found), 2);
        drop(found);
        assert!(!after.file(".new").exists());
    }
    data.remove(&[""]);
    // Begun: half a file.
    let half = fs::read(&new).expect("a copy");
    data.remove(&[".new"]);
    fs::write(&new, &half[..half.len() / 2]).expect("half");
    fs::write(data.file(".new-journal"), "").expect("a journal");
    assert!(engine.check().is_err() && engine.check().expect("written back"));
    assert_eq!((count(&engine), count(&data.after_a_kill().1)), (2, 2));
}

#[test]
fn what_a_write_back_that_was_killed_has_half_written_hinders_neither_a_start_nor_the_next_one() {
    let data = Data::new();
    let mut engine = data.open();
    commit(&mut engine, &[1, 2]).expect("committed");
    let left = |data: &Data| {
        fs::write(data.file(".new.new"), vec![b'x'; 5000]).expect("half");
        fs::write(data.file(".new.new-journal"), "a journal").expect("a journal");
    };
    let is_left = |data: &Data| data.file(".new.new").exists() || data.file(".new.new-journal").exists();
    left(&data);
    let (after, found) = data.after_a_kill();
    drop(found);
    left(&after);
    assert_eq!(count(&after.open()), 2);
    assert!(!is_left(&after));
    data.remove(&[""]);
    assert!(engine.check().is_err() && engine.check().expect("written back"));
    assert_eq!((count(&engine), count(&data.after_a_kill().1), is_left(&data)), (2, 2, false));
}

/// Another process that has a database open until this is dropped.
struct Other(Child);

impl Other {
    fn open(database: &Path) -> Self {
        const SHELL: &str = "import sqlite3, sys; store = sqlite3.connect(sys.argv[1]); \
                             store.execute('SELECT 1 FROM progress').fetchone(); print(flush=True); sys.stdin.read()";
        let mut python = Command::new("python3");
        python.args(["-c", SHELL]).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut other = Self(python.spawn().expect("python3"));
        let mut said = String::new();
        let output = other.0.stdout.as_mut().expect("its output");
        BufReader::new(output).read_line(&mut said).expect("it is open");
        other
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_database_that_another_process_uses_is_not_set_aside() {
    let data = Data::new();
    let mut engine = data.open();
    commit(&mut engine, &[1]).expect("committed");
    replace_by_another(&data);
    let other = Other::open(&data.file(""));
    for _ in 0..2 {
        assert!(engine.check().is_err());
    }
    let said = engine.check().expect_err("another router uses it").to_string();
    assert!(said.contains(&format!("process {} uses the file", other.0.id())), "{said}");
    assert_eq!((data.backups(), data.file(".new.new").exists()), (Vec::new(), false));
    drop(other);
    assert!(engine.check().expect("written back"));
    assert_eq!((data.backups(), count(&engine)), (vec!["switchhook.db.replaced".to_owned()], 1));
}

#[tokio::test]
async fn nothing_that_was_read_while_another_database_was_copied_over_the_file_is_passed_on() {
    let data = Data::new();
    let mut engine = data.open();
    commit(&mut engine, &[1]).expect("committed");
    engine.tidy(true);
    let (other, _open) = another(3);
    let reader = Reader::start(&data.path()).expect("a thread");
    assert!(reader.call(|_| Ok(())).await.is_ok());
    let (from, to) = (other.file(""), data.file(""));
    let answer = reader.call(move |store| {
        copy_file(&from, &to);
        store.query_row("SELECT 1", [], |_| Ok(()))
    });
    assert!(answer.await.is_err());
    assert!(engine.load(&Keys::default()).is_err());
}

#[test]
fn a_database_that_is_cut_off_is_written_back_if_all_of_it_can_still_be_read() {
    let data = Data::new();
    let mut engine = data.open();
    commit(&mut engine, &[1, 2]).expect("committed");
    copy_log(&engine);
    assert!(!engine.check().expect("in place"));
    fs::File::create(data.file("")).expect("cut off");
    assert!(commit(&mut engine, &[3]).is_err());
    assert!(engine.check().expect("it was all in the log or in memory"));
    assert_eq!((count(&engine), count(&data.after_a_kill().1)), (2, 2));
    commit(&mut engine, &[3]).expect("committed");
    // Nothing is in memory nor in the log any more.
    engine
        .connection()
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory")
        .expect("emptied");
    assert!(!engine.check().expect("in place"));
    fs::File::create(data.file("")).expect("cut off");
    for id in 4..7 {
        assert!(commit(&mut engine, &[id]).is_err());
        // What happened stays the reason, not what writing back meets.
        let error = engine.check().expect_err("lost");
        assert_eq!(error.kind(), Some(FaultKind::Moved), "{error}");
    }
    assert!(!data.file(".new").exists());
    // What is left of it is not filled with holes.
    engine.tidy(true);
    drop(engine);
    assert_eq!(fs::metadata(data.file("")).expect("a file").len(), 0);
}

/// Copies the log into the database.
fn copy_log(engine: &Sqlite) {
    engine.connection().execute_batch("PRAGMA wal_checkpoint(PASSIVE)").expect("copied");
}

/// Another database with so many events, each on a page of its own.
fn another(events: i64) -> (Data, Sqlite) {
    let other = Data::new();
    let mut engine = other.open();
    commit(&mut engine, &(100..100 + events).collect::<Vec<_>>()).expect("committed");
    engine.connection().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("copied");
    (other, engine)
}

#[tokio::test]
async fn an_overwritten_database_is_neither_read_nor_written_any_more_and_the_other_one_stays_whole() {
    // Shorter, as long, longer; and a file that was cut off first.
    for (events, is_cut_off) in [(1, false), (20, false), (2000, false), (2000, true)] {
        let what = format!("{events} events, cut off: {is_cut_off}");
        let data = Data::new();
        let mut engine = data.open();
        let reader = Reader::start(&data.path()).expect("a thread");
        assert!(reader.call(|_| Ok(())).await.is_ok());
        commit(&mut engine, &(1..=20).collect::<Vec<_>>()).expect("committed");
        copy_log(&engine);
        assert!(!engine.check().expect("in place"), "{what}");
        commit(&mut engine, &[21]).expect("committed");
        if is_cut_off {
            fs::File::options()
                .write(true)
                .open(data.file(""))
                .and_then(|file| file.set_len(0))
                .expect("cut");
            assert!(engine.check().is_err());
        }
        let (other, _open) = another(events);
        copy_file(&other.file(""), &data.file(""));
        for _ in 0..3 {
            let said = [
                engine.load(&Keys::default()).map(drop),
                commit(&mut engine, &[22]),
                engine.check().map(drop),
                copy_log_of(&data.path()),
            ];
            for said in said {
                let error = said.expect_err(&what);
                assert_eq!(error.kind(), Some(FaultKind::Moved), "{what}: {error}");
            }
        }
        assert!(reader.call(|_| Ok(())).await.is_err() && read(&data.path(), |_| Ok(())).is_err(), "{what}");
        assert_eq!(data.backups(), ["switchhook.db.overwritten-wal"], "{what}");
        engine.tidy(true);
        drop(engine);
        assert_eq!(count(&data.after_a_kill().1), events, "{what}");
    }
}
