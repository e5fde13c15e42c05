//! Write-ahead logs that a disk has altered, and those that a power cut has left.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::super::{files, open_writer};
use super::super::tests::{all_ids, database, killed};
use super::super::{RestoredRevocations, back_up, check, prepare_recovery, prepare_restore};
use super::damage;
use crate::outbox::engine::{FaultKind, StoreFault};
use crate::outbox::sqlite::audit;
use crate::time::UnixMillis;

const EVENTS: usize = 80;
const NOW: UnixMillis = UnixMillis(1_795_742_900_000);
const HEAD: usize = 32;
const FRAME: usize = 24 + 4096;

/// A database whose log has the second half of its events, one a commit; `behind`: older frames are behind them.
fn written(behind: bool) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", EVENTS as i64 / 2, false);
    let store = open_writer(folder.path()).expect("a database");
    if behind {
        for _ in 0..EVENTS {
            store.execute_batch("UPDATE bodies SET body = randomblob(2000)").expect("older commits");
        }
        store.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).expect("begun anew");
    }
    for event in EVENTS / 2 + 1..=EVENTS {
        let copy = format!(
            "BEGIN; CREATE TEMP TABLE next AS SELECT * FROM events WHERE seq = 1; \
             UPDATE next SET seq = {event}, id = 'EV_{event}', received_at = 1795742856000 + {event}; \
             INSERT INTO events SELECT * FROM next; INSERT INTO bodies VALUES ({event}, randomblob(900)); \
             DROP TABLE next; COMMIT"
        );
        store.execute_batch(&copy).expect("an event");
    }
    killed(folder.path(), store);
    let log = files::beside(&files::path(folder.path()), "-wal");
    (folder, log)
}

/// Another directory with the same database and log.
fn copied(from: &TempDir) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    for part in files::parts(&files::path(from.path())).take(2) {
        fs::copy(&part, folder.path().join(part.file_name().expect("a name"))).expect("copied");
    }
    let log = files::beside(&files::path(folder.path()), "-wal");
    (folder, log)
}

/// Where the commits of a log end, in bytes.
fn ends(log: &Path) -> Vec<usize> {
    let bytes = fs::read(log).expect("a log");
    let salt = &bytes[16..24];
    let frames = (HEAD..).step_by(FRAME).take_while(|at| at + FRAME <= bytes.len());
    let ours = frames.filter(|at| &bytes[at + 8..at + 16] == salt);
    ours.filter(|at| bytes[at + 4..at + 8] != [0; 4]).map(|at| at + FRAME).collect()
}

fn alter(log: &Path, at: usize) {
    let mut bytes = fs::read(log).expect("a log");
    bytes[at] ^= 0x40;
    fs::write(log, bytes).expect("altered");
}

/// What a start says; the database and its log stay as they were if it is refused.
fn refused(folder: &TempDir) -> Option<String> {
    let parts: Vec<_> = files::parts(&files::path(folder.path())).take(2).collect();
    let before: Vec<_> = parts.iter().map(|part| fs::read(part).expect("a file")).collect();
    let fault = open_writer(folder.path()).err()?;
    assert!(matches!(&fault, StoreFault::Damaged(_)) && fault.kind() == Some(FaultKind::Damaged), "{fault}");
    let after: Vec<_> = parts.iter().map(|part| fs::read(part).expect("a file")).collect();
    assert!(before == after, "a start that is refused changes nothing");
    Some(fault.to_string())
}

#[test]
fn an_altered_spot_of_the_log_is_found_and_what_was_committed_behind_it_is_recovered() {
    for behind in [false, true] {
        let (whole, log) = written(behind);
        let ends = ends(&log);
        // Of the frame: its page's number, its commit, its salt, its checksum, its page.
        for (commit, spot) in [(0, 2), (3, 6), (5, 9), (9, 18), (20, 100), (ends.len() - 3, 4000)] {
            let (folder, log) = copied(&whole);
            let end_of_commit = ends[commit];
            alter(&log, end_of_commit - FRAME + spot);
            let said = refused(&folder).unwrap_or_else(|| panic!("frame of commit {commit}, byte {spot}"));
            assert!(said.contains("switchhook.db-wal"), "{said}");
            let checked = check(&files::path(folder.path()), None, &|_, _| {}).expect("checked");
            let found = &checked.findings[0].found;
            assert!(found.contains("whole commits are behind it"), "{found}");
            let recovery = prepare_recovery(folder.path(), NOW, &|_, _| {}).expect("read");
            assert!(recovery.report.unreadable_pages > 0);
            recovery.put(&|_| Ok(())).expect("in place");
            let ids = all_ids(&open_writer(folder.path()).expect("a database"));
            assert!(ids.len() > EVENTS - 10 && ids.contains(&format!("EV_{EVENTS}")), "{spot}: {ids:?}");
        }
    }
}

#[test]
fn all_of_a_log_is_recovered_whose_header_was_altered() {
    let whole = written(false).0;
    for spot in [0, 3, 10, 17, 26] {
        let (folder, log) = copied(&whole);
        alter(&log, spot);
        let said = refused(&folder).unwrap_or_else(|| panic!("byte {spot}"));
        assert!(said.contains("the header of "), "{said}");
        let recovery = prepare_recovery(folder.path(), NOW, &|_, _| {}).expect("read");
        recovery.put(&|_| Ok(())).expect("in place");
        assert_eq!(all_ids(&open_writer(folder.path()).expect("a database")).len(), EVENTS, "{spot}");
    }
}

#[test]
fn a_start_goes_on_whatever_a_power_cut_has_left_of_the_last_commit() {
    for behind in [false, true] {
        let (whole, log) = written(behind);
        let ends = ends(&log);
        let (before, end) = (ends[ends.len() - 2], ends[ends.len() - 1]);
        let torn: [fn(&Path, usize); 2] = [alter, |log, at| {
            fs::OpenOptions::new().write(true).open(log).expect("a log").set_len(at as u64).expect("cut");
        }];
        for (tear, at) in torn.iter().flat_map(|tear| (before..end).step_by(661).map(move |at| (tear, at))) {
            let (folder, log) = copied(&whole);
            tear(&log, at);
            assert_eq!(refused(&folder), None, "{at}");
            let ids = all_ids(&open_writer(folder.path()).expect("a database"));
            assert_eq!(ids.len(), EVENTS - 1, "{at}");
        }
    }
}

#[test]
fn a_whole_log_is_not_damaged_nor_one_whose_pages_the_database_has() {
    for behind in [false, true] {
        let (folder, _) = written(behind);
        assert_eq!(damage(&files::path(folder.path())).expect("readable"), None);
        assert_eq!(all_ids(&open_writer(folder.path()).expect("a database")).len(), EVENTS);
    }
    let (folder, log) = written(false);
    let store = open_writer(folder.path()).expect("a database");
    store.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("folded");
    killed(folder.path(), store);
    alter(&log, 20);
    assert_eq!(refused(&folder), None, "the log was begun anew, as far as one can know");
}

#[test]
fn no_backup_is_made_of_a_damaged_log_nor_restored_and_one_that_is_replaced_stays_as_it_is() {
    let (folder, log) = written(false);
    alter(&log, HEAD + 4 * FRAME + 77);
    let damaged = fs::read(&log).expect("a log");
    let (to, backup) = (tempfile::tempdir().expect("a folder"), written(false).0);
    let made = back_up(folder.path(), &to.path().join("backup.db"), false, &|_, _| {});
    let restored = prepare_restore(to.path(), &files::path(folder.path()), None, NOW, &|_, _| {});
    for said in [made.err().map(|fault| fault.to_string()), restored.err().map(|fault| fault.to_string())] {
        assert!(said.as_ref().is_some_and(|said| said.contains("is damaged")), "{said:?}");
    }
    let prepared = prepare_restore(folder.path(), &files::path(backup.path()), None, NOW, &|_, _| {});
    let aside = prepared.expect("a backup").put(&|_| Ok(())).expect("restored").expect("a name");
    assert!(fs::read(folder.path().join(format!("{aside}-wal"))).expect("a log") == damaged);
    assert_eq!(all_ids(&open_writer(folder.path()).expect("a database")).len(), EVENTS);
}

/// A database that was killed, whose log has a revocation in a frame that was altered, and commits behind it.
fn with_altered_revocation() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    database(folder.path(), "EV_", 20, false);
    let (store, file) = (open_writer(folder.path()).expect("a database"), files::path(folder.path()));
    let log = files::beside(&file, "-wal");
    audit::revoke_token(&store, "leaked", UnixMillis(i64::MAX), NOW).expect("revoked");
    let end_of_commit = ends(&log)[0];
    store
        .execute_batch("UPDATE events SET who = 'x' WHERE seq = 1; UPDATE events SET who = 'y' WHERE seq = 1")
        .expect("later");
    killed(folder.path(), store);
    alter(&log, end_of_commit - 9);
    folder
}

#[test]
fn a_recovery_refuses_all_tokens_of_before_if_a_revocations_frame_was_altered() {
    let folder = with_altered_revocation();
    let recovery = prepare_recovery(folder.path(), NOW, &|_, _| {}).expect("read");
    assert!(recovery.report.refuses_tokens);
    recovery.put(&|_| Ok(())).expect("in place");
    assert_eq!(refusals_of_all(&folder), 1);
}

#[test]
fn a_restore_refuses_all_tokens_of_before_if_a_revocation_may_be_behind_damage_of_the_log() {
    let (folder, backup) = (with_altered_revocation(), written(false).0);
    let restore = prepare_restore(folder.path(), &files::path(backup.path()), None, NOW, &|_, _| {});
    let restore = restore.expect("a backup");
    assert_eq!((restore.plan.revocations, &restore.plan.erasures), (RestoredRevocations::AllTokens, &None));
    restore.put(&|_| Ok(())).expect("in place");
    assert_eq!(refusals_of_all(&folder), 1);
}

/// How many rows refuse the tokens of all tenants that were made until now.
fn refusals_of_all(folder: &TempDir) -> i64 {
    let store = open_writer(folder.path()).expect("a database");
    let everybody = format!("SELECT count(*) FROM tenants WHERE tenant = '' AND revoked_at = {}", NOW.0);
    store.query_row(&everybody, [], |row| row.get(0)).expect("a count")
}
