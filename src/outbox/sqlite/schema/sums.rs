//! Sums over rows: SQLite does not notice a byte that a disk has changed, so rows that decide who gets what carry one.
//!
//! A row's sum is the XOR of one hash for each column it covers. An update changes the sum by the columns it changes,
//! so damage to any other column of the row stays visible. Sums find damage. They stop nobody who may write the file.

use rusqlite::config::DbConfig;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, Result, Row, ToSql};

/// A table, and the columns that the sums of its rows cover.
pub struct Covered<const N: usize> {
    pub table: &'static str,
    columns: [&'static str; N],
    /// The sum as it is read: none if the row need not have one, and no number if it lacks the one it must have.
    sum: &'static str,
}

/// Each row has a sum.
const EACH: &str = "coalesce(sum, x'')";

/// Events of releases that kept no sums have none.
const YOUNGER: &str = "iif(seq > (SELECT unsummed FROM progress), coalesce(sum, x''), NULL)";

/// So have those that are not bound.
const YOUNGER_BOUND: &str = "iif(bound_url IS NOT NULL AND seq > (SELECT unsummed FROM progress), \
                             coalesce(bound_sum, x''), bound_sum)";

/// An event's row. Its sum covers the body, too: see [`body`].
pub const EVENTS: Covered<22> = Covered {
    table: "events",
    columns: [
        "seq",
        "id",
        "event",
        "call",
        "room",
        "received_at",
        "domain",
        "outcome",
        "issuer",
        "hook",
        "chain",
        "sequence",
        "tenant",
        "space",
        "by_url",
        "participant",
        "sip",
        "x_to_ip",
        "to_header",
        "number",
        "trunk",
        "state",
    ],
    sum: YOUNGER,
};

/// Where an event's row has its state: see [`EVENTS`].
pub const STATE: usize = 21;

/// The states that an event may have, as numbers.
const STATES: std::ops::Range<i64> = 0..6;

/// Where an event's call was bound to go. The columns are overwritten after an attempt, when nothing needs them any
/// more; `bound_sum` is not.
pub const BOUND: Covered<3> =
    Covered { table: "events", columns: ["seq", "bound_url", "bound_format"], sum: YOUNGER_BOUND };

/// A room session's row.
pub const CALLS: Covered<9> = Covered {
    table: "calls",
    columns: ["call", "room", "hook", "url", "format", "participant", "began_at", "tenant", "space"],
    sum: EACH,
};

/// A placed participant's row.
pub const PARTICIPANTS: Covered<9> = Covered {
    table: "participants",
    columns: ["call", "participant", "hook", "url", "format", "reason", "domain", "tenant", "space"],
    sum: EACH,
};

/// A hook's row. What is sealed shows by itself whether it was altered, but not whether it was there.
pub const HOOKS: Covered<7> = Covered {
    table: "hooks",
    columns: ["id", "host", "tenant", "url", "layer", "kept IS NULL", "removed_at"],
    sum: EACH,
};

/// What is known of a tenant besides its hooks.
pub const TENANTS: Covered<4> =
    Covered { table: "tenants", columns: ["tenant", "generation", "rotated_at", "revoked_at"], sum: EACH };

/// A single token that is refused.
pub const REVOKED_TOKENS: Covered<3> =
    Covered { table: "revoked_tokens", columns: ["jti", "expires_at", "revoked_at"], sum: EACH };

impl<const N: usize> Covered<N> {
    /// The columns and the sum, as [`Self::is_intact`] reads them.
    pub fn list(&self) -> String {
        format!("{}, {}", self.columns.join(", "), self.sum)
    }

    /// The columns and the sum, as an `INSERT` names them.
    pub fn names(&self) -> String {
        format!("{}, sum", self.columns.join(", "))
    }

    /// Gives every row the sum of what is in it now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn begin(&self, connection: &Connection) -> Result<()> {
        let of: Vec<_> = self.columns.iter().map(|column| format!("'{column}', {column}")).collect();
        connection
            .execute(&format!("UPDATE {} SET sum = newsum({})", self.table, of.join(", ")), [])
            .map(drop)
    }

    /// The sum of a new row with these values, in the order of the columns.
    ///
    /// # Errors
    /// When a value has no spelling in SQL.
    pub fn sum(&self, values: &[&dyn ToSql; N]) -> Result<i64> {
        self.columns.iter().zip(values).try_fold(0, |sum, (name, value)| {
            Ok(sum
                ^ match value.to_sql()? {
                    ToSqlOutput::Borrowed(value) => column(name, value),
                    ToSqlOutput::Owned(value) => column(name, ValueRef::from(&value)),
                    _ => return Err(Error::InvalidParameterName((*name).to_owned())),
                })
        })
    }

    /// Whether a row is as it was written. From `first` on it has the columns, and `sum` behind them; `more`: what else
    /// the sum covers. Events of releases that kept no sums count as intact.
    ///
    /// # Errors
    /// When the row has fewer columns.
    pub fn is_intact(&self, row: &Row<'_>, first: usize, more: i64) -> Result<bool> {
        let stored = match row.get_ref(first + N)? {
            ValueRef::Null => return Ok(true),
            ValueRef::Integer(stored) => stored,
            ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => return Ok(false),
        };
        Ok(self.computed(row, first, more)? == stored)
    }

    /// What the column `at` of a row must have added to its sum, if no other column was altered; none: the row has no sum.
    fn part_of(&self, row: &Row<'_>, at: usize, more: i64) -> Result<Option<i64>> {
        let ValueRef::Integer(stored) = row.get_ref(N)? else { return Ok(None) };
        Ok(Some(stored ^ self.computed(row, 0, more)? ^ column(self.columns[at], row.get_ref(at)?)))
    }

    /// The sum of what is in a row now.
    fn computed(&self, row: &Row<'_>, first: usize, more: i64) -> Result<i64> {
        let mut columns = self.columns.iter().zip(first..);
        columns.try_fold(more, |sum, (name, at)| Ok(sum ^ column(name, row.get_ref(at)?)))
    }
}

/// The state that an event was stored with, if nothing but its state was altered since. The row is read by the list of
/// [`EVENTS`], and `more` is its body's part of the sum. None: more was altered, or the row has no sum.
///
/// # Errors
/// When the row has fewer columns.
pub fn stored_state(row: &Row<'_>, more: i64) -> Result<Option<i64>> {
    let mut states = STATES;
    let Some(part) = EVENTS.part_of(row, STATE, more)? else { return Ok(None) };
    Ok(states.find(|state| column("state", ValueRef::Integer(*state)) == part))
}

/// Whether a hook was in force when its row was stored, and nothing was altered since but its removal. The row is read by the
/// list of [`HOOKS`].
///
/// # Errors
/// When the row has fewer columns.
pub fn was_in_force(row: &Row<'_>) -> Result<bool> {
    let part = HOOKS.part_of(row, HOOKS.columns.len() - 1, 0)?;
    Ok(part == Some(column("removed_at", ValueRef::Null)))
}

/// Gives all rows of a database that had no sums one, but for its events: these would need their bodies, and may be many.
///
/// # Errors
/// When it cannot be written.
pub fn begin(connection: &Connection) -> Result<()> {
    connection.execute_batch("UPDATE progress SET unsummed = (SELECT coalesce(max(seq), 0) FROM events)")?;
    CALLS.begin(connection)?;
    PARTICIPANTS.begin(connection)?;
    HOOKS.begin(connection)?;
    TENANTS.begin(connection)?;
    REVOKED_TOKENS.begin(connection)
}

/// Whether any row has a sum.
///
/// # Errors
/// When the database cannot be read.
pub fn has_any(connection: &Connection) -> Result<bool> {
    let tables = ["events", "calls", "participants", "hooks", "tenants", "revoked_tokens"];
    let any = tables.map(|table| format!("EXISTS (SELECT 1 FROM {table} WHERE sum IS NOT NULL)"));
    connection.query_row(&format!("SELECT {}", any.join(" OR ")), [], |row| row.get(0))
}

/// What a body, by its SHA-256, adds to the sum of its event.
pub fn body(hash: &[u8; 32]) -> i64 {
    column("body", ValueRef::Blob(hash))
}

/// Adds two functions to a connection that writes: `newsum('column', value, 'column', value …)`, the sum of a row, and
/// `resum(sum, 'column', old, new, 'column', old, new …)`, the sum of a row of which some columns change. In an UPDATE,
/// a column's name means its value before.
///
/// # Errors
/// When SQLite does not take them.
pub fn teach(connection: &Connection) -> Result<()> {
    // A trigger or a view cannot call them.
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("newsum", -1, flags, newsum)?;
    connection.create_scalar_function("resum", -1, flags, resum)
}

/// What a file's own schema calls is harmless, whoever has written the file.
///
/// # Errors
/// When SQLite does not take that.
pub fn distrust(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map(drop)
}

fn newsum(context: &Context<'_>) -> Result<i64> {
    (0..context.len()).step_by(2).try_fold(0, |sum, at| {
        let name = context.get_raw(at).as_str()?;
        Ok(sum ^ column(name, context.get_raw(at + 1)))
    })
}

/// The new sum; none for a row of a release that had no sums.
fn resum(context: &Context<'_>) -> Result<Option<i64>> {
    let before = match context.get_raw(0) {
        ValueRef::Null => return Ok(None),
        ValueRef::Integer(before) => before,
        // Damaged, and no fault: the statement changes other rows, too.
        ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => 0,
    };
    (1..context.len()).step_by(3).try_fold(Some(before), |sum, at| {
        let name = context.get_raw(at).as_str()?;
        let change = column(name, context.get_raw(at + 1)) ^ column(name, context.get_raw(at + 2));
        Ok(sum.map(|sum| sum ^ change))
    })
}

/// Whether a read failed because of what is stored in the rows it read, or in their pages.
pub fn is_damage(error: &Error) -> bool {
    let is_page =
        matches!(error, Error::SqliteFailure(failure, _) if failure.code == ErrorCode::DatabaseCorrupt);
    is_page || is_damaged_row(error)
}

/// Whether a read failed because a column holds what was never stored there.
pub fn is_damaged_row(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
            | Error::InvalidColumnType(..)
    )
}

/// A text for people, also if the column holds something else.
pub fn shown(row: &Row<'_>, column: usize) -> String {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Ok(ValueRef::Integer(number)) => number.to_string(),
        Ok(ValueRef::Real(_) | ValueRef::Null) | Err(_) => String::new(),
    }
}

/// The hash of a column. It is stored: it stays as it is for ever.
fn column(name: &str, value: ValueRef<'_>) -> i64 {
    let named = absorb(0xcbf2_9ce4_8422_2325, name.as_bytes());
    let hash = match value {
        ValueRef::Null => absorb(named, b"null"),
        ValueRef::Integer(number) => absorb(named ^ 1, &number.to_le_bytes()),
        ValueRef::Real(number) => absorb(named ^ 2, &number.to_bits().to_le_bytes()),
        ValueRef::Text(text) => absorb(named ^ 3, text),
        ValueRef::Blob(bytes) => absorb(named ^ 4, bytes),
    };
    hash.cast_signed()
}

/// Eight bytes at a time, then the length: one changed byte always gives another result.
fn absorb(state: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.chain([bytes.len() as u64]).fold(state, mix)
}

fn mix(state: u64, word: u64) -> u64 {
    let product = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::params;

    use super::*;

    const THINGS: Covered<2> = Covered { table: "things", columns: ["key", "owner"], sum: EACH };

    fn things() -> Connection {
        let connection = Connection::open_in_memory().expect("a database");
        teach(&connection).expect("taught");
        let table = "CREATE TABLE things (key INTEGER PRIMARY KEY, owner ANY, note ANY, sum ANY)";
        connection.execute_batch(table).expect("a table");
        for (key, owner) in [(1, "acme"), (2, "globex")] {
            let sum = THINGS.sum(&[&key, &owner]).expect("a sum");
            let insert = "INSERT INTO things (key, owner, sum) VALUES (?1, ?2, ?3)";
            connection.execute(insert, params![key, owner, sum]).expect("stored");
        }
        connection
    }

    fn intact(connection: &Connection) -> [bool; 2] {
        let sql = format!("SELECT {} FROM things ORDER BY key", THINGS.list());
        let mut rows = connection.prepare(&sql).expect("a statement");
        let rows = rows.query_map([], |row| THINGS.is_intact(row, 0, 0)).expect("rows");
        rows.collect::<Result<Vec<_>>>().expect("read").try_into().expect("two")
    }

    #[test]
    fn a_row_that_was_changed_without_its_sum_is_damaged_and_stays_so() {
        for (change, expected) in [
            ("UPDATE things SET note = 'x'", [true, true]),
            ("UPDATE things SET owner = 'globex' WHERE key = 1", [false, true]),
            ("UPDATE things SET owner = NULL WHERE key = 1", [false, true]),
            ("UPDATE things SET owner = CAST(owner AS BLOB) WHERE key = 2", [true, false]),
            ("UPDATE things SET sum = 'x' WHERE key = 1", [false, true]),
            ("UPDATE things SET sum = (SELECT sum FROM things WHERE key = 2)", [false, true]),
            ("UPDATE things SET sum = NULL WHERE key = 1", [false, true]),
        ] {
            let connection = things();
            connection.execute_batch(change).expect("changed");
            assert_eq!(intact(&connection), expected, "{change}");
            // A rightful change of a damaged row does not hide the damage, not even of the same column.
            let rightful = "UPDATE things SET owner = 'initech', sum = resum(sum, 'owner', owner, 'initech')";
            connection.execute_batch(rightful).expect("changed");
            assert_eq!(intact(&connection), expected, "{change}, and a rightful one");
        }
    }

    /// Rows with such sums are stored somewhere: they must be intact for ever.
    #[test]
    fn sums_stay_as_they_were_first_stored() {
        assert_eq!(THINGS.sum(&[&1, &"acme"]).expect("a sum"), SUM);
        assert_eq!(body(&[7; 32]), BODY);
    }

    const SUM: i64 = -6_988_204_784_470_486_050;
    const BODY: i64 = -5_649_731_661_262_417_742;

    proptest! {
        #[test]
        fn no_changed_byte_leaves_a_hash_as_it_was(
            bytes in prop::collection::vec(any::<u8>(), 1..40), at: prop::sample::Index, new: u8,
        ) {
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] = new;
            let of = |bytes: &[u8]| column("a", ValueRef::Blob(bytes));
            prop_assert_eq!(of(&bytes) == of(&changed), bytes == changed);
            prop_assert_ne!(of(&bytes), of(&bytes[1..]));
            prop_assert_ne!(of(&bytes), column("b", ValueRef::Blob(&bytes)));
        }
    }
}
