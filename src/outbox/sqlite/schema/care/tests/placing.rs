//! A backup is restored, whatever interrupts it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::place::Placing;
use super::super::{CareFault, back_up, check, prepare_recovery, prepare_restore};
use super::{all_ids, database, ids};
use crate::outbox::engine::StoreFault;
use crate::outbox::sqlite::schema::connection::open_reader;
use crate::outbox::sqlite::schema::{files, remove_backups};
use crate::time::UnixMillis;

const STEPS: [Placing; 4] = [Placing::Published, Placing::SetAside, Placing::Cleared, Placing::Placed];

/// A backup of events named `new…`.
fn backup(folder: &TempDir) -> PathBuf {
    let from = tempfile::tempdir().expect("a folder");
    database(from.path(), "new", 40, false);
    let file = folder.path().join("backup.db");
    back_up(from.path(), &file, false, &|_, _| {}).expect("a backup");
    file
}

fn restore(
    directory: &Path,
    backup: &Path,
    killed_after: Option<Placing>,
) -> Result<Option<String>, CareFault> {
    let reached = |step| if Some(step) == killed_after { Err(StoreFault::Slow) } else { Ok(()) };
    prepare_restore(directory, backup, None, UnixMillis(1_795_742_900_000), &|_, _| {})?.put(&reached)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_restore_that_is_killed_between_any_two_steps_leaves_the_old_or_the_new_database_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let backup = backup(&folder);
    let named = |prefix: &str| (1..=40).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    for keeps_log in [false, true] {
        for step in STEPS {
            let directory = tempfile::tempdir().expect("a folder");
            database(directory.path(), "old", 40, keeps_log);
            restore(directory.path(), &backup, Some(step)).expect_err("it is killed");
            let present = ids(directory.path());
            assert!(present == named("old") || present == named("new"), "{step:?}: {present:?}");
            // What is not in place is beside it.
            let aside = directory.path().join("switchhook.db.replaced");
            if present == named("new") {
                assert_eq!(all_ids(&open_reader(&aside).expect("a database")), named("old"), "{step:?}");
            }
            restore(directory.path(), &backup, None).expect("restored");
            assert_eq!(ids(directory.path()), named("new"));
            assert!(names(directory.path()).iter().all(|name| !name.contains(".new")), "{step:?}");
        }
    }
}

#[test]
fn a_database_that_cannot_be_read_is_set_aside_with_its_log_and_no_moment_mixes_the_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let backup = backup(&folder);
    for step in STEPS.map(Some).into_iter().chain([None]) {
        let directory = tempfile::tempdir().expect("a folder");
        database(directory.path(), "old", 40, true);
        let log = fs::read(directory.path().join("switchhook.db-wal")).expect("a log");
        fs::write(directory.path().join("switchhook.db"), vec![7; 40_960]).expect("garbage");
        let restored = restore(directory.path(), &backup, step);
        assert_eq!(restored.is_ok(), step.is_none());
        if matches!(step, None | Some(Placing::Cleared | Placing::Placed)) {
            assert_eq!(ids(directory.path()).len(), 40, "{step:?}");
            let aside = |name: &str| fs::read(directory.path().join(name)).expect("set aside");
            assert_eq!(aside("switchhook.db.replaced"), vec![7; 40_960]);
            assert_eq!(aside("switchhook.db.replaced-wal"), log);
        } else {
            assert_eq!(fs::read(directory.path().join("switchhook.db")).expect("a file"), vec![7; 40_960]);
            assert_eq!(fs::read(directory.path().join("switchhook.db-wal")).expect("a log"), log);
        }
    }
}

#[test]
fn a_database_that_waits_to_be_put_in_place_is_overwritten_by_no_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let backup = backup(&folder);
    let named = |prefix: &str| (1..=40).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let waiting = || {
        let directory = tempfile::tempdir().expect("a folder");
        database(directory.path(), "old", 40, false);
        let file = files::path(directory.path());
        fs::rename(&file, files::new_path(directory.path())).expect("as if a write-back was killed");
        // What the database before has left.
        fs::write(files::beside(&file, "-wal"), "no log").expect("a file");
        directory
    };
    let directory = waiting();
    restore(directory.path(), &backup, None).expect("restored");
    assert_eq!(ids(directory.path()), named("new"));
    let aside = directory.path().join("switchhook.db.replaced");
    assert_eq!(all_ids(&open_reader(&aside).expect("a database")), named("old"));
    let directory = waiting();
    prepare_recovery(directory.path(), UnixMillis(1), &|_, _| {})
        .expect("read")
        .put(&|_| Ok(()))
        .expect("put");
    assert_eq!(ids(directory.path()), named("old"));
    let directory = waiting();
    fs::remove_file(files::beside(&files::path(directory.path()), "-wal")).expect("removed");
    let other = folder.path().join("other.db");
    let made = back_up(directory.path(), &other, false, &|_, _| {}).map(drop);
    let checked = check(&files::path(directory.path()), None, &|_, _| {}).map(drop);
    for refused in [made, checked] {
        let said = refused.expect_err("nothing is in place").to_string();
        assert!(
            said.contains("switchhook.db.new is complete") && said.contains("start of the router"),
            "{said}"
        );
    }
}

#[test]
fn an_erasure_removes_whatever_was_set_aside_with_what_is_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let backup = backup(&folder);
    let directory = tempfile::tempdir().expect("a folder");
    for _ in 0..3 {
        restore(directory.path(), &backup, None).expect("restored");
    }
    let database = names(directory.path()).into_iter().filter(|name| !name.contains(".replaced"));
    let database: Vec<_> = database.collect();
    let aside = |name: &str| directory.path().join(name);
    for name in ["switchhook.db.replaced-wal", "switchhook.db.replaced-shm", "switchhook.db.damaged-wal"] {
        fs::write(aside(name), "bodies").expect("a file");
    }
    let found = files::backups(directory.path()).expect("names");
    // The first time there was none.
    for name in ["switchhook.db.replaced", "switchhook.db.replaced.2"] {
        assert!(found.iter().any(|found| found == name), "{found:?}");
    }
    remove_backups(directory.path(), &found).expect("removed");
    assert_eq!(names(directory.path()), database);
}

#[test]
fn what_is_no_whole_backup_is_refused_and_nothing_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = fs::read(backup(&folder)).expect("a backup");
    let directory = tempfile::tempdir().expect("a folder");
    database(directory.path(), "old", 40, false);
    let mut damaged = whole.clone();
    damaged[8192..12_288].fill(0xa5);
    let mut newer = whole.clone();
    newer[63] = 99;
    let cases = [
        ("empty", Vec::new(), "no database of Switchhook"),
        ("text", b"hooks: []".repeat(999), "no database of Switchhook"),
        ("cut", whole[..whole.len() / 2].to_vec(), "is damaged"),
        ("damaged", damaged, "is damaged"),
        ("newer", newer, "has version 99, made by a newer Switchhook"),
    ];
    let before = names(directory.path());
    for (name, bytes, why) in cases {
        let file = folder.path().join(name);
        fs::write(&file, bytes).expect("a file");
        let refused = restore(directory.path(), &file, None).expect_err(name).to_string();
        assert!(refused.contains(why), "{name}: {refused}");
        assert_eq!(names(directory.path()), before, "{name}");
    }
    let device = restore(directory.path(), Path::new("/dev/zero"), None).expect_err("a device").to_string();
    assert!(device.contains("no database of Switchhook"), "{device}");
    let itself = directory.path().join("switchhook.db");
    let refused = restore(directory.path(), &itself, None).expect_err("itself").to_string();
    assert!(refused.contains("the database itself"), "{refused}");
}

#[test]
fn a_backup_is_for_the_owner_only_and_replaces_nothing_unasked() {
    let (folder, from) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    database(from.path(), "old", 40, true);
    let file = folder.path().join("backup.db");
    // What a backup that was killed has left.
    fs::write(folder.path().join("backup.db.new"), "half").expect("a file");
    let made = back_up(from.path(), &file, false, &|_, _| {}).expect("a backup");
    assert_eq!((made.contents.events, made.contents.pending, made.contents.hooks), (40, 40, 1));
    assert_eq!(names(folder.path()), ["backup.db"]);
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let again = |replaces| back_up(from.path(), &file, replaces, &|_, _| {});
    assert!(matches!(again(false), Err(CareFault::Exists(_))));
    again(true).expect("replaced");
    let beside = back_up(from.path(), &from.path().join("backup.db"), false, &|_, _| {});
    assert!(matches!(beside, Err(CareFault::BesideTheDatabase)));
    let running = fs::File::create(folder.path().join("backup.db.new")).expect("a file");
    running.try_lock().expect("another backup");
    assert!(matches!(again(true), Err(CareFault::BeingWritten(_))));
}
