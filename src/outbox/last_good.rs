//! The last hook table without fault, for a start with a faulty file. Sealed: it may hold secrets.
//!
//! In a file of its own, which whoever loads a table writes. In the database a large table would be
//! one large transaction, and every event would wait for it.

use std::fs;
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::seal::Sealer;
use crate::signature::MasterSecret;

const FILE: &str = "hooks.last";

/// What it is sealed for.
const CONTEXT: &str = "hooks";

/// Synced in parts of this size: a sync of the database may have to wait for what is written beside.
const PART: usize = 256 << 10;

/// The text of the table, if there is one and the master secret opens it.
pub fn read(directory: &Path, master: &MasterSecret) -> Result<Option<Zeroizing<String>>> {
    match fs::read(directory.join(FILE)) {
        Ok(sealed) => Ok(Sealer::new(master).open(CONTEXT, &sealed)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps the text of a table in the place of the one before, whole or not at all.
pub fn write(directory: &Path, master: &MasterSecret, text: &str) -> Result<()> {
    let Some(sealed) = Sealer::new(master).seal(CONTEXT, text) else { return Ok(()) };
    let beside = directory.join(FILE).with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    for part in sealed.chunks(PART) {
        file.write_all(part)?;
        file.sync_data()?;
    }
    fs::rename(beside, directory.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_table_is_kept_whole_and_sealed() {
        let folder = tempfile::tempdir().expect("a folder");
        let master = MasterSecret::parse(&"m".repeat(32)).expect("strong");
        assert!(read(folder.path(), &master).expect("no fault").is_none());
        // Larger than a part, then smaller than the one before.
        for text in ["host: a.example\n".repeat(PART / 8), "hooks: []\n".to_owned()] {
            write(folder.path(), &master, &text).expect("written");
            let found = read(folder.path(), &master).expect("no fault");
            assert!(found.is_some_and(|found| *found == text));
        }
        let sealed = fs::read(folder.path().join(FILE)).expect("a file");
        assert!(!sealed.windows(5).any(|window| window == b"hooks"));
        let other = MasterSecret::parse(&"o".repeat(32)).expect("strong");
        assert!(read(folder.path(), &other).expect("no fault").is_none());
    }
}
