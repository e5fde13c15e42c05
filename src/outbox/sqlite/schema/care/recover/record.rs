//! Rows as a page holds them: cells, records and values of SQLite's file format.

use rusqlite::types::Value;

use super::super::log::bytes::{PAGE, number_at};
use super::pages::Pages;

/// A row of a table, or an entry of an index, which has no number.
pub struct Cell {
    pub row: Option<i64>,
    pub values: Vec<Value>,
}

/// What kind of page has rows, by its first byte.
#[derive(Clone, Copy)]
struct Kind {
    /// Bytes before the list of cells.
    head: usize,
    /// Bytes of a cell before its record's size.
    before: usize,
    /// Whether a cell has a row's number.
    is_table: bool,
    /// Bytes of a record up to which all of it is in the cell.
    most: usize,
}

const TABLE_LEAF: u8 = 13;
const INDEX_LEAF: u8 = 10;
const INDEX_INNER: u8 = 2;

/// The least that a cell holds of a record that is longer than the cell may be.
const LEAST: usize = (PAGE - 12) * 32 / 255 - 23;

/// A record has at most so many bytes: a body, which has at most a few MiB, and more.
const LONGEST: usize = 64 << 20;

/// No table has so many columns.
pub const MOST_VALUES: usize = 100;

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        let index = (PAGE - 12) * 64 / 255 - 23;
        match byte {
            TABLE_LEAF => Some(Self { head: 8, before: 0, is_table: true, most: PAGE - 35 }),
            INDEX_LEAF => Some(Self { head: 8, before: 0, is_table: false, most: index }),
            INDEX_INNER => Some(Self { head: 12, before: 4, is_table: false, most: index }),
            _ => None,
        }
    }
}

/// The rows of a page, in its order; none in the place of one that cannot be read. A page without rows has none.
pub fn cells<'p>(
    pages: &'p Pages,
    number: u32,
    page: &'p [u8; PAGE],
) -> impl Iterator<Item = Option<Cell>> + 'p {
    // The file's header is before the first page's.
    let begin = if number == 1 { 100 } else { 0 };
    let kind = Kind::of(page[begin]);
    let count = if kind.is_some() { usize::from(short_at(page, begin + 3)) } else { 0 };
    let head = begin + kind.map_or(0, |kind| kind.head);
    let count = count.min((PAGE - head) / 2);
    // Rows of a page do not overlap, whatever somebody has written into its list.
    let mut room = PAGE;
    (0..count).map(move |cell| {
        let (cell, bytes) = read_cell(pages, page, usize::from(short_at(page, head + 2 * cell)), kind?)?;
        room = room.checked_sub(bytes)?;
        Some(cell)
    })
}

fn short_at(bytes: &[u8], offset: usize) -> u16 {
    let two = bytes.get(offset..).and_then(<[u8]>::first_chunk::<2>);
    two.map_or(0, |two| u16::from_be_bytes(*two))
}

/// A cell, and how many bytes of its record are in the page.
fn read_cell(pages: &Pages, page: &[u8; PAGE], offset: usize, kind: Kind) -> Option<(Cell, usize)> {
    let mut rest = page.get(offset + kind.before..)?;
    // The pages of one record are fewer than the file has, whatever they say follows.
    let longest = LONGEST.min((pages.count as usize).saturating_mul(PAGE));
    let size = usize::try_from(varint(&mut rest)?).ok().filter(|size| *size <= longest)?;
    let row = if kind.is_table { Some(varint(&mut rest)?) } else { None };
    if size <= kind.most {
        return Some((Cell { row, values: values(rest.get(..size)?)? }, size));
    }
    let more = LEAST + (size - LEAST) % (PAGE - 4);
    let here = if more <= kind.most { more } else { LEAST };
    let mut record = rest.get(..here)?.to_vec();
    follow(pages, number_at(rest, here), size, &mut record)?;
    Some((Cell { row, values: values(&record)? }, here))
}

/// Adds what a record has in further pages, each of which names the next one.
fn follow(pages: &Pages, mut next: u32, size: usize, record: &mut Vec<u8>) -> Option<()> {
    while record.len() < size {
        if next == 0 || next > pages.count {
            return None;
        }
        let page = pages.further(next)?;
        let more = (size - record.len()).min(PAGE - 4);
        record.extend_from_slice(&page[4..4 + more]);
        next = number_at(&page, 0);
    }
    Some(())
}

/// The values of a record; none unless it is spelled right to its last byte.
fn values(record: &[u8]) -> Option<Vec<Value>> {
    let mut rest = record;
    let head = usize::try_from(varint(&mut rest)?).ok()?;
    let mut kinds = record.get(record.len() - rest.len()..head)?;
    let (mut bytes, mut values) = (record.get(head..)?, Vec::new());
    while !kinds.is_empty() {
        if values.len() == MOST_VALUES {
            return None;
        }
        let kind = varint(&mut kinds)?;
        values.push(value(kind, &mut bytes)?);
    }
    bytes.is_empty().then_some(values)
}

fn value(kind: i64, bytes: &mut &[u8]) -> Option<Value> {
    match kind {
        0 => Some(Value::Null),
        1..=4 => integer(take(bytes, usize::try_from(kind).ok()?)?),
        5 => integer(take(bytes, 6)?),
        6 => integer(take(bytes, 8)?),
        7 => Some(Value::Real(f64::from_be_bytes(*take(bytes, 8)?.first_chunk()?))),
        8 | 9 => Some(Value::Integer(kind - 8)),
        12.. => {
            let some = take(bytes, usize::try_from((kind - 12) / 2).ok()?)?.to_vec();
            if kind % 2 == 0 {
                Some(Value::Blob(some))
            } else {
                String::from_utf8(some).ok().map(Value::Text)
            }
        }
        _ => None,
    }
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

/// Big-endian, with a sign, of at most 8 bytes.
fn integer(bytes: &[u8]) -> Option<Value> {
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { -1 };
    Some(Value::Integer(bytes.iter().fold(sign, |number, byte| number << 8 | i64::from(*byte))))
}

/// Seven bits of each byte, the most significant first, as long as the eighth is set; all of a ninth byte.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_i64;
    for nth in 0..9 {
        let byte = take(bytes, 1)?[0];
        if nth == 8 {
            return Some(number << 8 | i64::from(byte));
        }
        number = number << 7 | i64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
