//! To which table a row belongs that is found on a page, by how many values it has and of which kinds.
//!
//! No two of our tables look alike, nor a table and an index, so that no page above a row need be readable. Where one may
//! be taken for the other (`revoked_tokens`), times tell them apart.

use rusqlite::types::Value;
use rusqlite::{Connection, Result, Row};

use super::record::Cell;

/// Times in tables keyed by texts are later than this, in Unix milliseconds: 1973. Numbers of rows are not.
const TIMES_FROM: i64 = 100_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// The row's number, which the record leaves out.
    RowNumber,
    Integer,
    Time,
    Text,
    Blob,
}

struct Column {
    name: String,
    kind: Kind,
    may_be_null: bool,
    has_default: bool,
}

/// A table's, or an index's.
pub struct Shape {
    /// Of the table, or of the index.
    pub name: String,
    /// As the record has them.
    columns: Vec<Column>,
    /// Rows of a table with row numbers are on pages of their own kind.
    has_row_number: bool,
    pub is_index: bool,
    /// What stores a row, by how many values it lacks: rows that were there before a column was added have none of it.
    inserts: Vec<String>,
}

/// All shapes of a schema.
pub struct Shapes(Vec<Shape>);

impl Shapes {
    /// The shapes of the tables and indexes that a database has.
    pub fn of(store: &Connection) -> Result<Self> {
        let mut shapes = Vec::new();
        let tables = "SELECT name, wr FROM pragma_table_list \
                      WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
        let mut tables = store.prepare(tables)?;
        let tables = tables.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))?;
        for table in tables {
            let (table, is_keyed) = table?;
            shapes.extend(indexes(store, &table)?);
            shapes.push(Shape::of_table(store, table, is_keyed)?);
        }
        // A table before an index, where both would fit.
        shapes.sort_by_key(|shape| shape.is_index);
        Ok(Self(shapes))
    }

    /// The tables.
    pub fn tables(&self) -> impl Iterator<Item = &Shape> {
        self.0.iter().filter(|shape| !shape.is_index)
    }

    /// The table or index of a row: one that has all its columns, else one that has more.
    pub fn find(&self, cell: &Cell) -> Option<&Shape> {
        let mut lacking = self.tables().filter(|shape| shape.fits(cell));
        let whole = self.0.iter().find(|shape| shape.columns.len() == cell.values.len() && shape.fits(cell));
        whole.or_else(|| lacking.next())
    }
}

impl Shape {
    fn of_table(store: &Connection, table: String, is_keyed: bool) -> Result<Self> {
        // The columns of a key come first in its rows.
        let order = if is_keyed { "pk = 0, pk, cid" } else { "cid" };
        let columns = format!(
            "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info(?1) ORDER BY {order}"
        );
        let columns: Vec<_> = store
            .prepare(&columns)?
            .query_map([&table], |row| Column::read(row, is_keyed))?
            .collect::<Result<_>>()?;
        let least = columns.iter().rposition(|column| !column.may_be_null && !column.has_default);
        let least = least.map_or(0, |last| last + 1);
        let inserts = (least..=columns.len()).rev().map(|count| insert(&table, &columns[..count])).collect();
        Ok(Self { name: table, columns, has_row_number: !is_keyed, is_index: false, inserts })
    }

    fn fits(&self, cell: &Cell) -> bool {
        let lacks = self.columns.len().checked_sub(cell.values.len());
        self.has_row_number == cell.row.is_some()
            && lacks.is_some_and(|lacks| lacks < self.inserts.len().max(1))
            && self.columns.iter().zip(&cell.values).all(|(column, value)| column.fits(value))
    }

    /// The statement that stores a row of it; its parameters are the values, with the row's number in its column.
    pub fn insert(&self, cell: &Cell) -> Option<&str> {
        let lacks = self.columns.len().checked_sub(cell.values.len())?;
        self.inserts.get(lacks).map(String::as_str)
    }

    /// The values to store, and the row's number in its column.
    pub fn values(&self, cell: Cell) -> Vec<Value> {
        let Cell { row, values } = cell;
        let with_number = |(value, column): (Value, &Column)| match (column.kind, row) {
            (Kind::RowNumber, Some(row)) => Value::Integer(row),
            _ => value,
        };
        values.into_iter().zip(&self.columns).map(with_number).collect()
    }
}

fn insert(table: &str, columns: &[Column]) -> String {
    let names: Vec<_> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    format!("INSERT OR IGNORE INTO \"{table}\" ({}) VALUES ({marks})", names.join(", "))
}

fn indexes(store: &Connection, table: &str) -> Result<Vec<Shape>> {
    // An index over the key of a table that is kept in its order is the table itself.
    let names = "SELECT name FROM pragma_index_list(?1) AS list WHERE origin <> 'pk' OR NOT EXISTS \
                 (SELECT 1 FROM pragma_table_list WHERE name = ?1 AND wr)";
    let mut names = store.prepare(names)?;
    let names = names.query_map([table], |row| row.get::<_, String>(0))?;
    let columns = "SELECT coalesce(info.name, ''), coalesce(type, 'INTEGER'), coalesce(\"notnull\", 1), NULL, 0 \
                   FROM pragma_index_xinfo(?1) AS entry \
                   LEFT JOIN pragma_table_info(?2) AS info ON info.cid = entry.cid ORDER BY seqno";
    let mut columns = store.prepare(columns)?;
    names
        .map(|name| {
            let name = name?;
            let columns = columns.query_map([name.as_str(), table], |row| Column::read(row, false))?;
            let columns = columns.collect::<Result<_>>()?;
            Ok(Shape { name, columns, has_row_number: false, is_index: true, inserts: Vec::new() })
        })
        .collect()
}

impl Column {
    /// From the columns name, type, whether it is NOT NULL, default and place in the key.
    fn read(row: &Row<'_>, is_keyed: bool) -> Result<Self> {
        let (name, declared): (String, String) = (row.get(0)?, row.get(1)?);
        let is_key = row.get::<_, i64>(4)? > 0;
        let kind = match declared.as_str() {
            "INTEGER" if is_key && !is_keyed => Kind::RowNumber,
            "INTEGER" if is_keyed && name.ends_with("_at") => Kind::Time,
            "INTEGER" => Kind::Integer,
            "TEXT" => Kind::Text,
            _ => Kind::Blob,
        };
        let may_be_null = !row.get::<_, bool>(2)? && !is_key;
        let has_default = row.get::<_, Option<String>>(3)?.is_some();
        Ok(Self { name, kind, may_be_null, has_default })
    }

    fn fits(&self, value: &Value) -> bool {
        match (value, self.kind) {
            (Value::Null, Kind::RowNumber) => true,
            (Value::Null, _) => self.may_be_null,
            (Value::Integer(number), Kind::Time) => *number >= TIMES_FROM,
            (Value::Integer(_), Kind::Integer)
            | (Value::Text(_), Kind::Text)
            | (Value::Blob(_), Kind::Blob) => true,
            _ => false,
        }
    }
}
