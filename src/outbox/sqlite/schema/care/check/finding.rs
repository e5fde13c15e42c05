//! One thing that is wrong in a database.

use std::path::Path;

use serde::Serialize;

use super::super::log::LogDamage;

/// At most so many findings of one kind are named; further ones are counted.
pub const NAMED: usize = 100;

/// One thing that is wrong in a database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DatabaseFinding {
    /// The table; none: it is about the file.
    pub table: Option<String>,
    /// The row's number.
    pub row: Option<i64>,
    /// The call, the tenant or the token of a row that has no number.
    pub key: Option<String>,
    pub found: String,
    /// What that means for events, calls and hooks.
    pub means: String,
    /// What can be done.
    pub fix: String,
}

/// What a damaged database needs.
pub const RECOVER: &str = "stop the router, then: switchhook store recover";

/// A finding about the whole file.
pub fn of_file(found: String) -> DatabaseFinding {
    let means = "the router cannot use it, or not all of it".to_owned();
    DatabaseFinding { table: None, row: None, key: None, found, means, fix: RECOVER.to_owned() }
}

/// An empty file, without a log that could be recovered.
pub fn of_empty_file() -> DatabaseFinding {
    let fix = "restore a backup: switchhook store restore FILE".to_owned();
    DatabaseFinding { fix, means: "nothing is left in it".to_owned(), ..of_file("it is empty".to_owned()) }
}

/// A finding about a log that is another database's.
pub fn of_anothers_log(log: &Path) -> DatabaseFinding {
    let found = format!("{} is another database's log, over which this one was copied", log.display());
    let means =
        "a start sets the log aside and uses the database without it; nothing else was looked at".to_owned();
    let fix = "start the router; or, to go back, put the database before beside the log".to_owned();
    DatabaseFinding { means, fix, ..of_file(found) }
}

/// A finding about the write-ahead log.
pub fn of_log(damage: &LogDamage) -> DatabaseFinding {
    let means = "a router does not start: what was acknowledged since would be lost".to_owned();
    DatabaseFinding { means, ..of_file(damage.to_string()) }
}
