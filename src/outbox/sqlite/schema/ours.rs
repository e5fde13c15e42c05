//! Whether a database has Switchhook's tables, indexes and views, and nothing else: a trigger that somebody put into a
//! backup would change what is stored.

use rusqlite::{Connection, OptionalExtension, Result};

use super::connection::{AMENDED, VERSION, create, version_of};
use crate::outbox::engine::StoreFault;

/// Whether all that a database has is Switchhook's.
///
/// # Errors
/// [`StoreFault::Damaged`] with the first thing that is not, and when the database cannot be read.
pub fn is_ours(connection: &Connection) -> std::result::Result<(), StoreFault> {
    match foreign(connection)? {
        None => Ok(()),
        Some(found) => Err(StoreFault::Damaged(format!(
            "{found}; stop the router, then: switchhook store recover makes a database without it"
        ))),
    }
}

/// The first thing in a database that is not Switchhook's, by its kind and name. Older releases than version 3 had other
/// tables, but no triggers: of theirs, the first trigger. SQLite makes what `sql` says, whatever `type` says: where the two
/// differ, somebody has written into the table of tables.
///
/// # Errors
/// When the database cannot be read.
pub fn foreign(connection: &Connection) -> Result<Option<String>> {
    let is_older = !(AMENDED..=VERSION).contains(&version_of(connection)?);
    // What SQLite makes for itself are tables and indexes.
    let sql = "SELECT type, name FROM sqlite_schema \
               WHERE type = 'trigger' OR NOT ?2 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               AND (type || ' ' || name) NOT IN (SELECT value FROM json_each(?1)) \
               OR coalesce(sql NOT LIKE 'CREATE ' || type || ' %' AND NOT (type = 'index' AND \
               sql LIKE 'CREATE UNIQUE INDEX %'), type <> 'index') ORDER BY name LIMIT 1";
    connection
        .query_row(sql, (ours()?, is_older), |row| {
            let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(format!("it has the {kind} {name:?}, which is not Switchhook's"))
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

    fn of_version(version: i64) -> Connection {
        let store = in_memory();
        store.pragma_update(None, "user_version", version).expect("a version");
        store
    }

    #[test]
    fn whatever_is_in_a_database_besides_switchhooks_own_is_named() {
        is_ours(&of_version(VERSION)).expect("a new one");
        for (what, named) in [
            (
                "CREATE TRIGGER divert AFTER INSERT ON calls BEGIN UPDATE calls SET url = 'https://x.example'; END",
                "the trigger \"divert\"",
            ),
            (
                "CREATE TRIGGER divert AFTER INSERT ON calls BEGIN SELECT 1; END; PRAGMA writable_schema = ON; \
                 UPDATE sqlite_schema SET name = 'sqlite_divert' WHERE name = 'divert'",
                "the trigger \"sqlite_divert\"",
            ),
            ("CREATE VIEW other AS SELECT 1", "the view \"other\""),
            ("CREATE TABLE other (a)", "the table \"other\""),
            ("CREATE INDEX other ON calls (url)", "the index \"other\""),
            (
                "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 0, sql = 'CREATE TRIGGER divert AFTER \
                 INSERT ON calls BEGIN SELECT 1; END' WHERE name = 'calls_began'",
                "the index \"calls_began\"",
            ),
            (
                "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 0, sql = 'CREATE VIEW bodies AS SELECT 1' \
                 WHERE name = 'bodies'",
                "the table \"bodies\"",
            ),
            ("DROP TABLE ring; CREATE VIRTUAL TABLE ring USING fts5(a)", "the table \"ring\""),
            ("DROP VIEW happened; CREATE TABLE happened (a)", "the table \"happened\""),
            ("CREATE TABLE sqliteX (a)", "the table \"sqliteX\""),
        ] {
            for version in [AMENDED, VERSION] {
                let store = of_version(version);
                store.execute_batch(what).expect(what);
                let refused = is_ours(&store).expect_err(what).to_string();
                assert!(refused.contains(named) && refused.contains("switchhook store recover"), "{refused}");
            }
            let (older, is_trigger) =
                (of_version(2), what.contains("TRIGGER") || what.contains("bodies") || what.contains("fts5"));
            older.execute_batch(what).expect(what);
            assert_eq!(foreign(&older).expect("read").is_some(), is_trigger, "{what}");
        }
        let analysed = of_version(VERSION);
        analysed.execute_batch("ANALYZE").expect("analysed");
        is_ours(&analysed).expect("SQLite's own");
    }
}
