//! All that a database stores, as texts.

use std::collections::BTreeSet;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use crate::calls::Shelf;
use crate::ids::DeliveryId;

/// What is compared of a column, where its value may differ although the same was stored.
const COLUMNS: [(&str, &str, &str); 3] = [
    // An event that is delivered before it is stored may be stored without its body.
    ("events", "size", "iif(attempts > 0, coalesce(bytes, size), size)"),
    ("events", "bytes", "iif(attempts > 0, NULL, bytes)"),
    // Which pages of the file have remains follows from how often they were written.
    ("erasures", "report", "json_remove(report, '$.pages')"),
];

/// Which rows of a table are compared, where not all are.
const ROWS: [(&str, &str); 2] = [
    // What was delivered may have a body here until another is written over it.
    ("ring", "seq IN (SELECT seq FROM events WHERE state = 0)"),
    // When the file was made.
    ("overwritten", "FALSE"),
];

/// A text for each row of each table.
pub fn texts(connection: &Connection) -> BTreeSet<String> {
    let tables = names(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'");
    tables.iter().flat_map(|table| of_table(connection, table)).collect()
}

/// What each event is kept as.
pub fn shelves(connection: &Connection) -> Vec<(DeliveryId, Shelf)> {
    use Shelf::{Dead, Delivered, Held, Pending, Unrouted, WithoutSip};
    let all = [Pending, Delivered, Dead, Unrouted, Held, WithoutSip];
    let mut rows = connection.prepare_cached("SELECT seq, state FROM events ORDER BY seq").expect("a query");
    let shelf = |row: &Row<'_>| Ok((DeliveryId(row.get(0)?), all[usize::from(row.get::<_, u8>(1)?)]));
    rows.query_map([], shelf).expect("rows").collect::<Result<_, _>>().expect("events")
}

fn of_table(connection: &Connection, table: &str) -> Vec<String> {
    let columns = names(connection, &format!("SELECT name FROM pragma_table_info('{table}')"));
    let compared = columns.iter().map(|column| {
        let apart = COLUMNS.iter().find(|(of, name, _)| *of == table && name == column);
        apart.map_or(column.as_str(), |(_, _, compared)| compared)
    });
    let compared = compared.collect::<Vec<_>>().join(", ");
    let rows = ROWS.iter().find(|(of, _)| *of == table).map_or("TRUE", |(_, rows)| rows);
    let mut found =
        connection.prepare_cached(&format!("SELECT {compared} FROM {table} WHERE {rows}")).expect("a query");
    let text = |row: &Row<'_>| {
        let values = (0..columns.len()).map(|column| Ok(shown(row.get_ref(column)?)));
        Ok(format!("{table}: {}", values.collect::<rusqlite::Result<Vec<_>>>()?.join(" ")))
    };
    found.query_map([], text).expect("rows").collect::<Result<_, _>>().expect("texts")
}

fn names(connection: &Connection, sql: &str) -> Vec<String> {
    let mut found = connection.prepare_cached(sql).expect("a query");
    found.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("names")
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "-".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
    }
}
