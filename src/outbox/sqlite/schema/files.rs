//! The files of a database in the data directory: named, put in place, removed.

use std::fs::{self, File};
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The database's name.
pub const NAME: &str = "switchhook.db";

/// The database's file in the data directory.
pub fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// The file a new database is made in before it takes the place of the old one.
pub fn new_path(directory: &Path) -> PathBuf {
    directory.join(format!("{NAME}.new"))
}

/// What SQLite keeps beside a database, by the end of its name.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The name of a file that SQLite keeps beside a database; `""`: the database itself.
pub fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The file that a link leads to: SQLite keeps what belongs to a database beside the file, not beside a link to it.
pub fn resolved(database: &Path) -> PathBuf {
    let target = database.is_symlink().then(|| database.canonicalize().ok()).flatten();
    target.unwrap_or_else(|| database.to_owned())
}

/// A database, and what SQLite keeps beside it.
pub fn parts(database: &Path) -> impl Iterator<Item = PathBuf> {
    std::iter::once("").chain(BESIDE).map(|end| beside(database, end))
}

/// A free name for a database that is set aside: `switchhook.db.KIND`, or with a number if there is one already.
/// [`backups`] lists what has such a name, so that the erasure of a tenant removes it, too.
pub fn aside(directory: &Path, kind: &str) -> String {
    let first = format!("{NAME}.{kind}");
    let others = (2..).map(|number| format!("{first}.{number}"));
    let mut names = std::iter::once(first.clone()).chain(others);
    let is_free = |name: &String| {
        let path = directory.join(name);
        !std::iter::once("").chain(BESIDE).any(|end| beside(&path, end).exists())
    };
    names.find(is_free).unwrap_or(first)
}

/// The databases that were set aside, by name: those of older releases, and what [`aside`] named.
pub fn backups(directory: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(|name| is_aside(name)).collect())
}

/// Whether a file's name begins as the database's and is no working file's.
fn is_aside(name: &str) -> bool {
    let Some(kind) = name.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('.')) else {
        return false;
    };
    let is_working = |end: &str| matches!(kind.strip_suffix(end), Some("new" | "new.new"));
    !std::iter::once("").chain(BESIDE).any(is_working)
}

/// Gives a file another name, durably.
pub fn rename(directory: &Path, from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)?;
    sync_directory(directory)
}

/// Puts the file of [`new_path`] in the database's place, durably. There is no database, but its log may be there:
/// SQLite would take it for the new file's.
pub fn put_in_place(directory: &Path) -> Result<()> {
    let database = path(directory);
    remove(&database)?;
    rename(directory, &new_path(directory), &database)
}

/// Makes durable which files a directory has.
pub fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)?.sync_all()
}

/// Writes what the system still caches of a file.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a database, if it is there, with what SQLite keeps beside it.
pub fn remove(path: &Path) -> Result<()> {
    // On a file system that is mounted read-only, removing a file that is not there is an error, too.
    let mut there =
        std::iter::once("").chain(BESIDE).map(|end| beside(path, end)).filter(|part| part.exists());
    there.try_for_each(|part| match fs::remove_file(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    })
}

/// The size of a file; 0 if it cannot be read.
pub fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Bytes that may still be written to the file system of a directory.
pub fn free_bytes(directory: &Path) -> Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_has_a_free_name_and_is_listed_among_the_backups() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path();
        for name in [
            "switchhook.db",
            "switchhook.db-wal",
            "switchhook.db.new",
            "switchhook.db.new-journal",
            "switchhook.db.new.new",
            "lock",
        ] {
            fs::write(directory.join(name), "").expect("a file");
        }
        assert!(backups(directory).expect("readable").is_empty());
        let mut names = Vec::new();
        for kind in ["v2", "replaced", "replaced", "replaced"] {
            let name = aside(directory, kind);
            // The second one is a log alone.
            let end = if names.len() == 2 { "-wal" } else { "" };
            fs::write(beside(&directory.join(&name), end), "").expect("a file");
            names.push(name + end);
        }
        let expected =
            ["v2", "replaced", "replaced.2-wal", "replaced.3"].map(|kind| format!("{NAME}.{kind}"));
        assert_eq!(names, expected);
        let mut listed = backups(directory).expect("readable");
        listed.sort();
        names.sort();
        assert_eq!(listed, names);
    }
}
