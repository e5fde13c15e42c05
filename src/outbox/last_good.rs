//! The last hook table without fault, for a start with a faulty file. Sealed: it may hold secrets.
//!
//! Stored in a file of its own by the thread that loads a table. In the database a large table would be one
//! large transaction, and every event would wait for it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::registry::Sealer;
use crate::signature::MasterSecret;

const FILE: &str = "hooks.last";

/// What it is sealed for.
const CONTEXT: &str = "hooks";

/// The file is synced in parts of this size, since a sync of the database may have to wait for it.
const PART: usize = 256 << 10;

/// A hook table's text, and what it took from elsewhere.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LastGood {
    pub text: Zeroizing<String>,
    /// What each `${NAME}` and `{file: path}` held, by its spelling: at a start it may be gone.
    pub sources: BTreeMap<String, Zeroizing<String>>,
}

impl fmt::Debug for LastGood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// The table, if there is one and the master secret opens it.
pub fn read(directory: &Path, master: &MasterSecret) -> Result<Option<LastGood>> {
    match fs::read(directory.join(FILE)) {
        Ok(sealed) => {
            let opened = Sealer::new(master).open(CONTEXT, &sealed);
            Ok(opened.and_then(|text| serde_json::from_str(&text).ok()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps a table in the place of the one before, whole or not at all.
pub fn write(directory: &Path, master: &MasterSecret, table: &LastGood) -> Result<()> {
    let plain = Zeroizing::new(serde_json::to_string(table)?);
    let Some(sealed) = Sealer::new(master).seal(CONTEXT, &plain) else { return Ok(()) };
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
            let sources = BTreeMap::from([("${A}".to_owned(), "hush".to_owned().into())]);
            let table = LastGood { text: text.into(), sources };
            write(folder.path(), &master, &table).expect("written");
            let found = read(folder.path(), &master).expect("no fault");
            assert!(found.is_some_and(|found| found == table));
        }
        let sealed = fs::read(folder.path().join(FILE)).expect("a file");
        assert!(!sealed.windows(5).any(|window| window == b"hooks"));
        let other = MasterSecret::parse(&"o".repeat(32)).expect("strong");
        assert!(read(folder.path(), &other).expect("no fault").is_none());
    }
}
