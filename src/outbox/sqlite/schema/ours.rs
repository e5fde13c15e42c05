//! Whether a database has Switchhook's tables, indexes and views, and nothing else: a trigger that somebody put into a
//! backup would change what is stored.

use rusqlite::{Connection, OptionalExtension, Result};

use super::connection::create;
use crate::outbox::engine::StoreFault;

/// Whether all that a database of this release or of version 3 has is Switchhook's.
///
/// # Errors
/// [`StoreFault::Damaged`] with the first thing that is not, and when the database cannot be read.
pub fn is_ours(connection: &Connection) -> std::result::Result<(), StoreFault> {
    match foreign(connection)? {
        None => Ok(()),
        Some(thing) => Err(StoreFault::Damaged(format!(
            "it has {thing}, which is not Switchhook's; stop the router, then: switchhook store recover makes a \
             database without it"
        ))),
    }
}

/// The kind and the name of the first thing in a database that is not Switchhook's.
fn foreign(connection: &Connection) -> Result<Option<String>> {
    let ours = ours()?;
    let sql = "SELECT type, name FROM sqlite_schema \
               WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND (type || ' ' || name) NOT IN (SELECT value FROM json_each(?1)) \
               ORDER BY name LIMIT 1";
    connection
        .query_row(sql, [ours], |row| {
            Ok(format!("the {} {:?}", row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()
}

/// The kinds and names of all that a new database has, as JSON.
fn ours() -> Result<String> {
    let whole = Connection::open_in_memory()?;
    create(&whole)?;
    whole.query_row("SELECT json_group_array(type || ' ' || name) FROM sqlite_schema", [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::super::connection::in_memory;
    use super::*;

    #[test]
    fn whatever_is_in_a_database_besides_switchhooks_own_is_named() {
        is_ours(&in_memory()).expect("a new one");
        for (what, named) in [
            (
                "CREATE TRIGGER divert AFTER INSERT ON calls BEGIN UPDATE calls SET url = 'https://x.example'; END",
                "the trigger \"divert\"",
            ),
            ("CREATE VIEW other AS SELECT 1", "the view \"other\""),
            ("CREATE TABLE other (a)", "the table \"other\""),
            ("CREATE INDEX other ON calls (url)", "the index \"other\""),
            ("DROP VIEW happened; CREATE TABLE happened (a)", "the table \"happened\""),
            ("CREATE TABLE sqliteX (a)", "the table \"sqliteX\""),
        ] {
            let store = in_memory();
            store.execute_batch(what).expect(what);
            let refused = is_ours(&store).expect_err(what).to_string();
            assert!(refused.contains(named) && refused.contains("switchhook store recover"), "{refused}");
        }
        let analysed = in_memory();
        analysed.execute_batch("ANALYZE").expect("analysed");
        is_ours(&analysed).expect("SQLite's own");
    }
}
