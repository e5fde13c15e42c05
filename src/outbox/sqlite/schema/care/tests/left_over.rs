//! What other processes and other users left where a file is made.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use super::super::owner::{give_to_owner, make_directory};
use super::super::{back_up, prepare_restore};
use super::{database, ids};
use crate::outbox::sqlite::schema::files;
use crate::time::UnixMillis;

/// Another user's number.
const SOMEBODY: u32 = 54_321;

#[test]
fn the_log_of_a_restore_that_was_killed_is_no_part_of_the_next_one() {
    let (folder, directory) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (other, from) = (folder.path().join("other"), folder.path().join("from"));
    for (directory, prefix, keeps_log) in [(&other, "other", true), (&from, "new", false)] {
        fs::create_dir(directory).expect("a folder");
        database(directory, prefix, 40, keeps_log);
    }
    let draft = files::beside(&files::new_path(directory.path()), ".new");
    for end in ["", "-wal"] {
        fs::copy(files::beside(&files::path(&other), end), files::beside(&draft, end)).expect("copied");
    }
    let prepared = prepare_restore(
        directory.path(),
        &files::path(&from),
        None,
        UnixMillis(1_795_742_900_000),
        &|_, _| {},
    );
    prepared.expect("a backup").put(&|_| Ok(())).expect("restored");
    assert_eq!(ids(directory.path()), (1..=40).map(|n| format!("new{n}")).collect::<Vec<_>>());
}

#[test]
fn a_backup_takes_the_place_of_no_link_device_or_folder() {
    let from = tempfile::tempdir().expect("a folder");
    database(from.path(), "new", 4, false);
    let folder = tempfile::tempdir().expect("a folder");
    let [link, target] = ["link", "target"].map(|name| folder.path().join(name));
    fs::create_dir(&target).expect("a folder");
    symlink("/dev/stdout", &link).expect("a link");
    for to in [&link, &target] {
        for replaces in [false, true] {
            let refused = back_up(from.path(), to, replaces, &|_, _| {}).expect_err("no file").to_string();
            assert!(refused.contains("name another file"), "{refused}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
}

#[test]
fn a_draft_follows_no_link_and_writes_into_no_file_that_was_there() {
    let from = tempfile::tempdir().expect("a folder");
    database(from.path(), "new", 40, true);
    type Leave = fn(&std::path::Path, &std::path::Path);
    let leftovers: [Leave; 4] = [
        |victim, draft| symlink(victim, draft).expect("a link"),
        |victim, draft| fs::hard_link(victim, draft).expect("a second name"),
        |_, draft| symlink("/nowhere/at/all", draft).expect("a link"),
        |victim, draft| {
            ["-wal", "-journal"]
                .iter()
                .for_each(|end| symlink(victim, files::beside(draft, end)).expect("a link"));
        },
    ];
    for leave in leftovers {
        let folder = tempfile::tempdir().expect("a folder");
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").expect("a file");
        let directory = folder.path().join("data");
        make_directory(&directory).expect("a directory");
        leave(&victim, &files::beside(&files::new_path(&directory), ".new"));
        let prepared = prepare_restore(
            &directory,
            &files::path(from.path()),
            None,
            UnixMillis(1_795_742_900_000),
            &|_, _| {},
        );
        prepared.expect("a backup").put(&|_| Ok(())).expect("restored");
        let backup = folder.path().join("backup.db");
        leave(&victim, &files::beside(&backup, ".new"));
        back_up(from.path(), &backup, false, &|_, _| {}).expect("a backup");
        assert_eq!(fs::read_to_string(&victim).expect("a file"), "precious");
        assert_eq!(ids(&directory).len(), 40);
        for made in [&backup, &files::path(&directory)] {
            let made = fs::symlink_metadata(made).expect("a file");
            assert!(made.is_file() && made.nlink() == 1 && made.permissions().mode() & 0o777 == 0o600);
        }
    }
}

#[test]
fn whoever_left_a_file_there_has_no_part_of_the_backup() {
    let (from, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    database(from.path(), "new", 40, false);
    let backup = folder.path().join("backup.db");
    let draft = files::beside(&backup, ".new");
    let mut left =
        File::options().create(true).truncate(false).read(true).write(true).open(&draft).expect("a file");
    left.write_all(b"half").expect("written");
    // Only root can: the test says less as another user.
    let _ = chown(&draft, Some(SOMEBODY), None);
    back_up(from.path(), &backup, false, &|_, _| {}).expect("a backup");
    let (left, made) = (left.metadata().expect("a file"), fs::metadata(&backup).expect("a file"));
    assert_eq!((left.len(), left.nlink()), (4, 0));
    assert_eq!(made.uid(), fs::metadata(from.path()).expect("a folder").uid());
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_folder_it_is_in() {
    let folder = tempfile::tempdir().expect("a folder");
    if chown(folder.path(), Some(SOMEBODY), Some(SOMEBODY)).is_err() {
        // Only root can give away.
        return;
    }
    let directory = folder.path().join("switchhook/data");
    make_directory(&directory).expect("a directory");
    let file = File::create(directory.join("lock")).expect("a file");
    give_to_owner(&file, &directory).expect("given");
    for made in [&directory, &folder.path().join("switchhook"), &directory.join("lock")] {
        let found = fs::metadata(made).expect("it is there");
        assert_eq!((found.uid(), found.gid()), (SOMEBODY, SOMEBODY), "{}", made.display());
    }
    assert_eq!(fs::metadata(&directory).expect("a directory").permissions().mode() & 0o777, 0o700);
}
