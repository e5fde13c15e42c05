//! Clears the unused parts of the database's pages. `secure_delete` writes zeros over deleted rows; but where SQLite
//! moves rows from page to page, it leaves copies in the gap between a page's index of cells and its first cell.
//!
//! See "B-tree Pages" in <https://www.sqlite.org/fileformat2.html>.

use rusqlite::{Connection, OptionalExtension, Result};

/// At most this many pages are looked at for one part, and cleared with it.
const LOOK: i64 = 4096;
const PART: usize = 256;

/// The header of the database stands at the beginning of the first page.
const FILE_HEADER: usize = 100;

/// From this number on, the first byte of an overflow page may be that of a page of rows: a file of 137 GB.
const MOST: i64 = 1 << 25;

/// The pages behind `after` that have remains, and the last one that was looked at; none: there are no more.
pub fn plan(connection: &Connection, after: i64) -> Result<Option<(Vec<i64>, i64)>> {
    let count: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let last = count.min(MOST).min(after + LOOK);
    let (mut dirty, mut at) = (Vec::new(), after);
    while at < last && dirty.len() < PART {
        at += 1;
        if cleared(connection, at)?.is_some() {
            dirty.push(at);
        }
    }
    Ok((at > after).then_some((dirty, at)))
}

/// Clears these pages, as they are now; how many had remains.
pub fn clear(connection: &Connection, pages: &[i64]) -> Result<u64> {
    let mut count = 0;
    for number in pages {
        if let Some(page) = cleared(connection, *number)? {
            connection
                .prepare_cached("UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1")?
                .execute((number, page))?;
            count += 1;
        }
    }
    Ok(count)
}

/// A page without the remains it has; none if it has none.
fn cleared(connection: &Connection, number: i64) -> Result<Option<Vec<u8>>> {
    let page: Option<Option<Vec<u8>>> = connection
        .prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?
        .query_row([number], |row| row.get(0))
        .optional()?;
    let Some(mut page) = page.flatten() else { return Ok(None) };
    let header = if number == 1 { FILE_HEADER } else { 0 };
    let mut has_remains = false;
    for (begin, end) in unused(&page, header).unwrap_or_default() {
        let part = page.get_mut(begin..end).unwrap_or_default();
        has_remains |= part.iter().any(|byte| *byte != 0);
        part.fill(0);
    }
    Ok(has_remains.then_some(page))
}

/// The parts of a page of rows that hold nothing; none if it is no such page, or anything about it is unexpected.
fn unused(page: &[u8], header: usize) -> Option<Vec<(usize, usize)>> {
    let number = |at: usize| Some(usize::from(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?])));
    let length = match page.get(header)? {
        // Of an index and of a table: inner pages, and leaves.
        2 | 5 => 12,
        10 | 13 => 8,
        _ => return None,
    };
    let cells = number(header + 3)?;
    let (begin, content) = (header + length + 2 * cells, number(header + 5)?);
    let is_cell =
        |cell: usize| number(header + length + 2 * cell).is_some_and(|at| at >= content && at < page.len());
    if begin > content || content > page.len() || !(0..cells).all(is_cell) {
        return None;
    }
    let mut parts = vec![(begin, content)];
    let (mut block, mut end) = (number(header + 1)?, content);
    while block != 0 {
        let (next, size) = (number(block)?, number(block + 2)?);
        if block < end || size < 4 || block + size > page.len() {
            return None;
        }
        parts.push((block + 4, block + size));
        end = block + size;
        block = next;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::sqlite::schema::in_memory;

    fn remains(store: &Connection) -> usize {
        let (mut after, mut count) = (0, 0);
        while let Some((pages, last)) = plan(store, after).expect("a plan") {
            count += pages.len();
            after = last;
        }
        count
    }

    /// Rows of random order and length come and go, so that pages are split and merged.
    fn churn(store: &Connection, rounds: i64) {
        for n in 0..rounds {
            let key = n.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed());
            let text = format!("{key:x}").repeat(1 + usize::try_from(n % 23).expect("few"));
            store
                .execute(
                    "INSERT OR REPLACE INTO calls (call, room, began_at, seen_at) VALUES (?1, ?2, 1, 1)",
                    (format!("RM_{key:x}"), text),
                )
                .expect("a row");
            if n % 3 == 0 {
                store
                    .execute(
                        "DELETE FROM calls WHERE call = (SELECT max(call) FROM calls WHERE call < ?1)",
                        [format!("RM_{:x}", key ^ 0xfff)],
                    )
                    .expect("gone");
            }
        }
    }

    #[test]
    fn rows_that_were_moved_leave_copies_which_are_cleared_and_nothing_else_is() {
        let store = in_memory();
        store.pragma_update(None, "secure_delete", "ON").expect("a pragma");
        churn(&store, 5000);
        let all = "SELECT group_concat(call || coalesce(room, '')) FROM (SELECT * FROM calls ORDER BY call)";
        let before: String = store.query_row(all, [], |row| row.get(0)).expect("rows");
        assert!(remains(&store) > 0, "else this is not needed");
        let mut after = 0;
        while let Some((pages, last)) = plan(&store, after).expect("a plan") {
            assert_eq!(clear(&store, &pages).expect("cleared"), pages.len() as u64);
            after = last;
        }
        assert_eq!(remains(&store), 0);
        let checked: String =
            store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        let after: String = store.query_row(all, [], |row| row.get(0)).expect("rows");
        assert_eq!((checked.as_str(), after == before), ("ok", true));
        churn(&store, 500);
        let checked: String =
            store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        assert_eq!(checked, "ok");
    }

    #[test]
    fn what_is_no_page_of_rows_is_left_as_it_is() {
        for first in 0..=255_u8 {
            let page: Vec<u8> = (0..4096).map(|n: u32| first ^ (n % 251).to_le_bytes()[0]).collect();
            assert_eq!(unused(&page, 0), None, "{first}");
        }
        assert_eq!(unused(&[], 0), None);
        assert_eq!(unused(&[13, 0, 0, 0], 0), None);
    }
}
