//! How far events are digested.

use rusqlite::{Connection, Result};

/// Up to this row all events are digested.
pub fn digested(connection: &Connection) -> Result<i64> {
    connection.prepare_cached("SELECT digested FROM progress")?.query_row([], |row| row.get(0))
}
