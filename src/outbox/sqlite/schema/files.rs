//! The files of a database in the data directory: named, put in place, removed.

use std::fs::{self, File};
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

const DATABASE: &str = "switchhook.db";

/// The database's file in the data directory.
pub fn path(directory: &Path) -> PathBuf {
    directory.join(DATABASE)
}

/// The file a new database is made in before it takes the place of the old one.
pub fn new_path(directory: &Path) -> PathBuf {
    directory.join(format!("{DATABASE}.new"))
}

/// A name for the backup of a database of `version`, which no other backup has.
pub fn backup_name(directory: &Path, version: i64) -> String {
    let first = format!("{DATABASE}.v{version}");
    let others = (2..).map(|number| format!("{first}.{number}"));
    let mut names = std::iter::once(first.clone()).chain(others);
    names.find(|name| !directory.join(name).exists()).unwrap_or(first)
}

/// The backups of older releases' databases, by name.
pub fn backups(directory: &Path) -> Result<Vec<String>> {
    let is_backup = |name: &String| {
        let version = name.strip_prefix(DATABASE).and_then(|rest| rest.strip_prefix(".v"));
        version.is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
    };
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(is_backup).collect())
}

/// Gives a file another name, durably.
pub fn rename(directory: &Path, from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)?;
    File::open(directory)?.sync_all()
}

/// Writes what the system still caches of a file.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a database, if it is there, with what SQLite keeps beside it.
pub fn remove(path: &Path) -> Result<()> {
    for beside in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(self::beside(path, beside)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A file that SQLite keeps beside a database.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
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
