//! Commands before the first start beside a log that is another database's: nothing of the two is mixed.

use std::fs;

use super::log::killed;
use super::{Data, another, commit, copy_file, count};
use crate::outbox::sqlite::schema::care::{
    CareFault, RestoredRevocations, back_up, check, prepare_recovery, prepare_restore,
};
use crate::time::UnixMillis;

const NOW: UnixMillis = UnixMillis(1_795_742_900_000);
const LOG_ASIDE: &str = "switchhook.db.overwritten-wal";

/// The log of a router that was killed, with 20 events, beside a database with 7 others that was copied over its own; and
/// the two files as they are.
fn beside_anothers_log() -> (Data, [Vec<u8>; 2]) {
    let data = Data::new();
    let mut engine = data.open();
    commit(&mut engine, &(1..=20).collect::<Vec<_>>()).expect("committed");
    let left = killed(&data);
    let (other, _open) = another(7);
    copy_file(&other.file(""), &left.file(""));
    let files = files(&left);
    (left, files)
}

fn files(data: &Data) -> [Vec<u8>; 2] {
    ["", "-wal"].map(|end| fs::read(data.file(end)).expect("a file"))
}

fn backup_of(events: i64) -> (Data, std::path::PathBuf) {
    let (from, _open) = another(events);
    let to = from.0.path().join("backup.db");
    back_up(&from.path(), &to, false, &|_, _| {}).expect("a backup");
    (from, to)
}

#[test]
fn a_recovery_reads_the_database_without_the_log_and_sets_both_aside() {
    let (data, before) = beside_anothers_log();
    let recovery = prepare_recovery(&data.path(), NOW, &|_, _| {}).expect("read");
    assert_eq!(files(&data), before, "nothing is changed yet");
    assert_eq!((recovery.report.contents.events, recovery.report.unreadable_pages), (7, 0));
    assert_eq!(recovery.report.anothers_log.as_deref(), Some(LOG_ASIDE));
    assert!(recovery.report.refuses_tokens, "what was revoked may be in the log alone");
    recovery.put(&|_| Ok(())).expect("in place");
    assert_eq!(data.backups(), ["switchhook.db.damaged", LOG_ASIDE]);
    let aside = [0, 1].map(|at| fs::read(data.path().join(&data.backups()[at])).expect("a file"));
    assert_eq!(aside, before);
    assert_eq!(count(&data.open()), 7);
}

#[test]
fn a_restore_takes_nothing_from_either_and_what_it_sets_aside_can_be_restored() {
    let (data, before) = beside_anothers_log();
    let (_folder, backup) = backup_of(3);
    let restore = prepare_restore(&data.path(), &backup, None, NOW, &|_, _| {}).expect("a backup");
    assert_eq!(files(&data), before, "nothing is changed yet");
    let plan = restore.plan.clone();
    assert_eq!((plan.revocations, plan.erasures, plan.present), (RestoredRevocations::AllTokens, None, None));
    assert_eq!(plan.anothers_log.as_deref(), Some(LOG_ASIDE));
    restore.put(&|_| Ok(())).expect("in place");
    assert_eq!(data.backups(), [LOG_ASIDE, "switchhook.db.replaced"]);
    let aside = [1, 0].map(|at| fs::read(data.path().join(&data.backups()[at])).expect("a file"));
    assert_eq!(aside, before);
    assert_eq!(count(&data.open()), 3);
    let replaced = data.path().join("switchhook.db.replaced");
    let undo = prepare_restore(&data.path(), &replaced, None, NOW, &|_, _| {}).expect("a database");
    undo.put(&|_| Ok(())).expect("in place");
    assert_eq!(count(&data.open()), 7);
}

#[test]
fn a_check_finds_it_and_neither_a_backup_nor_a_restore_is_made_of_the_two() {
    let (data, before) = beside_anothers_log();
    let report = check(&data.file(""), None, &|_, _| {}).expect("checked");
    assert!(report.count() == 1 && report.contents.is_none(), "{:?}", report.findings);
    assert!(report.findings[0].found.contains("another database's"), "{:?}", report.findings);
    let to = Data::new();
    let backup = back_up(&data.path(), &to.file(""), false, &|_, _| {}).map(drop);
    let restore = prepare_restore(&to.path(), &data.file(""), None, NOW, &|_, _| {}).map(drop);
    for refused in [backup, restore] {
        assert!(
            matches!(&refused, Err(CareFault::AnothersLog(log)) if *log == data.file("-wal")),
            "{refused:?}"
        );
    }
    assert_eq!(files(&data), before);
    assert_eq!(fs::read_dir(to.path()).expect("a directory").count(), 0);
}
