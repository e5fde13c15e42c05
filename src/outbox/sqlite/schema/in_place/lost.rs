//! A data directory that was used and has no database any more: without a word, a start would begin with an empty one.

use std::fs;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{files, take_over};
use crate::outbox::engine::StoreFault;
use crate::time::UnixMillis;

/// What a router leaves in its data directory once it has a database.
const LEFT: [&str; 3] = ["hooks.last", "operator.token", "api.address"];

/// A database of so many bytes, one page, has no tables; they may be in its log.
const NO_TABLES: u64 = 4096;

/// There should be a database, and there is none.
#[derive(Debug)]
pub struct LostDatabase {
    pub file: PathBuf,
    /// `missing`, `empty` or `without tables`.
    pub state: &'static str,
    /// What shows that there was one: names in the data directory, and when each was written last.
    pub signs: Vec<(String, UnixMillis)>,
    /// The name that the log of the lost database was given, if its log is still there.
    pub log: Option<String>,
}

/// The database that a directory has lost, if it has. Called before the database is opened, which makes a new one; a log
/// without its database is set aside, since SQLite would remove it.
///
/// # Errors
/// When the directory cannot be read, or a file in it cannot be renamed.
pub fn lost(directory: &Path) -> std::result::Result<Option<LostDatabase>, StoreFault> {
    take_over::finish(directory)?;
    let file = files::path(directory);
    let log = files::beside(&file, "-wal");
    let bytes = match fs::metadata(&file) {
        Ok(found) => Some(found.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let state = match bytes {
        None => "missing",
        Some(0) => "empty",
        Some(bytes) if bytes <= NO_TABLES && files::size(&log) == 0 => "without tables",
        Some(_) => return Ok(None),
    };
    let signs = signs(directory)?;
    if signs.is_empty() {
        return Ok(None);
    }
    let log = set_aside(directory, &log)?;
    Ok(Some(LostDatabase { file, state, signs, log }))
}

/// The files that only a router with a database leaves.
fn signs(directory: &Path) -> Result<Vec<(String, UnixMillis)>> {
    let log = format!("{}-wal", files::NAME);
    let mut names: Vec<String> = LEFT.iter().map(ToString::to_string).collect();
    names.extend(files::backups(directory)?);
    let written = |name: &String| Some((name.clone(), fs::metadata(directory.join(name)).ok()?));
    let mut found: Vec<_> = names.iter().filter_map(written).collect();
    found.extend(written(&log).filter(|(_, file)| file.len() > 0));
    Ok(found.into_iter().map(|(name, file)| (name, UnixMillis(file.mtime().saturating_mul(1000)))).collect())
}

/// Gives a log that has no database a name of its own.
fn set_aside(directory: &Path, log: &Path) -> Result<Option<String>> {
    if files::size(log) == 0 {
        return Ok(None);
    }
    let name = format!("{}-wal", files::aside(directory, "lost"));
    files::rename(directory, log, &directory.join(&name))?;
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_directory(names: &[(&str, &str)]) -> (tempfile::TempDir, Option<LostDatabase>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in names {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let found = lost(folder.path()).expect("readable");
        (folder, found)
    }

    #[test]
    fn a_first_start_has_lost_nothing() {
        let page = "x".repeat(4096);
        for names in [
            &[][..],
            &[("master.secret", "s"), ("api.secret", "s"), ("lock", "")],
            // A start that was killed before it had made the tables.
            &[("lock", ""), ("switchhook.db", "")],
            &[("lock", ""), ("switchhook.db", &page), ("switchhook.db-shm", "s")],
        ] {
            assert!(in_directory(names).1.is_none(), "{names:?}");
        }
    }

    #[test]
    fn a_directory_that_was_used_and_has_no_tables_has_lost_its_database() {
        let page = "x".repeat(4096);
        for (database, state) in [(None, "missing"), (Some(""), "empty"), (Some(&*page), "without tables")] {
            for sign in ["hooks.last", "operator.token", "api.address", "switchhook.db.v2"] {
                let mut names = vec![(sign, "x")];
                names.extend(database.map(|text| ("switchhook.db", text)));
                let found = in_directory(&names).1.expect(state);
                assert_eq!((found.state, &*found.signs[0].0, found.log), (state, sign, None));
                assert!(found.signs[0].1 > UnixMillis(1_600_000_000_000));
            }
        }
    }

    #[test]
    fn a_log_without_its_database_is_set_aside() {
        for database in [None, Some("")] {
            let mut names = vec![("switchhook.db-wal", "frames")];
            names.extend(database.map(|text| ("switchhook.db", text)));
            let (folder, found) = in_directory(&names);
            assert_eq!(found.expect("lost").log.as_deref(), Some("switchhook.db.lost-wal"));
            let kept = fs::read_to_string(folder.path().join("switchhook.db.lost-wal"));
            assert_eq!(kept.expect("kept"), "frames");
        }
    }

    #[test]
    fn a_new_database_that_cannot_be_read_is_set_aside_and_the_start_goes_on() {
        for garbage in ["garbage", &"x".repeat(40_960)] {
            let (folder, found) = in_directory(&[("switchhook.db.new", garbage), ("hooks.last", "x")]);
            let found = found.expect("lost");
            assert_eq!(found.state, "missing");
            assert!(found.signs.iter().any(|(name, _)| name == "switchhook.db.unfinished"), "{found:?}");
            let kept = fs::read_to_string(folder.path().join("switchhook.db.unfinished")).expect("kept");
            assert_eq!(kept, garbage);
        }
    }

    #[test]
    fn a_database_whose_tables_are_in_its_log_is_not_lost() {
        let page = "x".repeat(4096);
        let names = [("hooks.last", "x"), ("switchhook.db", &*page), ("switchhook.db-wal", "frames")];
        assert!(in_directory(&names).1.is_none());
    }
}
