//! Tables and indexes: whether SQLite finds all of their pages and rows in order, and whether all are there.

use rusqlite::{Connection, Result};

use super::super::super::connection::{VERSION, create, version_of};
use super::super::super::ours;
use super::finding::{DatabaseFinding, NAMED, RECOVER, of_file};

/// The table of tables. With it the list of free pages is checked.
const SCHEMA: &str = "sqlite_schema";

/// The tables there are; the table of tables alone, if it cannot be read.
pub fn tables(store: &Connection) -> Vec<String> {
    let named = names(store, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
    std::iter::once(SCHEMA.to_owned()).chain(named.unwrap_or_default()).collect()
}

fn names(store: &Connection, sql: &str) -> Result<Vec<String>> {
    store.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// What is wrong with the pages, rows and indexes of a table.
pub fn of_table(store: &Connection, table: &str) -> Vec<DatabaseFinding> {
    let lines = match told(store, table) {
        Ok(lines) => lines,
        Err(error) => vec![error.to_string()],
    };
    let means = means(table);
    let finding = |found: String| DatabaseFinding {
        table: Some(table.to_owned()),
        row: None,
        key: None,
        found,
        means: means.to_owned(),
        fix: RECOVER.to_owned(),
    };
    lines.into_iter().map(finding).collect()
}

fn told(store: &Connection, table: &str) -> Result<Vec<String>> {
    // One more than are named, so that it shows that there are more.
    let rows = names(store, &format!("PRAGMA integrity_check('{table}')"))?;
    let lines =
        rows.iter().flat_map(|row| row.lines()).filter(|line| *line != "ok" && !line.starts_with("***"));
    Ok(lines.take(NAMED + 1).map(str::to_owned).collect())
}

fn means(table: &str) -> &'static str {
    match table {
        "events" => "events and how far their deliveries are: some may not be delivered, or not found",
        "bodies" | "ring" => "bodies of events that wait: some cannot be delivered",
        "attempts" => "failed attempts: stories of deliveries are not complete",
        "calls" | "participants" => {
            "which tenant a call has: later events of some calls may not be delivered"
        }
        "chains" | "progress" => "the numbers of calls' deliveries: some may come again",
        "hooks" | "tenants" => "hooks, their settings and renewed secrets: some tenants may get nothing",
        "revoked_tokens" => "revoked API tokens: some may be valid again",
        "kept_bodies" => "bodies of delivered events: some cannot be sent again",
        "usage" | "audit" | "facts" | "numbers" | "event_keys" => "history: lists and sums are not complete",
        "erasures" => "erasures of tenants: some may not end",
        _ => "the router cannot use it, or not all of it",
    }
}

/// Tables and indexes of this release that are not there. Databases of older releases have others.
pub fn missing(store: &Connection) -> Vec<DatabaseFinding> {
    missing_names(store).unwrap_or_else(|error| vec![of_file(error.to_string())])
}

fn missing_names(store: &Connection) -> Result<Vec<DatabaseFinding>> {
    if version_of(store)? != VERSION {
        return Ok(Vec::new());
    }
    let whole = Connection::open_in_memory()?;
    create(&whole)?;
    let sql = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'index', 'view') ORDER BY name";
    let there = names(store, sql)?;
    let missing = names(&whole, sql)?.into_iter().filter(|name| !there.contains(name));
    Ok(missing.map(|name| of_file(format!("{name} is missing"))).collect())
}

/// Triggers and other things that are not Switchhook's.
pub fn foreign(store: &Connection) -> Vec<DatabaseFinding> {
    let means = "what is stored may be changed by it: a recovery makes a database without it";
    match ours::foreign(store) {
        Ok(found) => found
            .map(|found| DatabaseFinding { means: means.to_owned(), ..of_file(found) })
            .into_iter()
            .collect(),
        Err(error) => vec![of_file(error.to_string())],
    }
}
