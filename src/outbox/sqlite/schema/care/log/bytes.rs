//! Sizes and numbers of SQLite's file format.

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// The big-endian number of four bytes at an offset; 0 behind the end.
pub fn number_at(bytes: &[u8], offset: usize) -> u32 {
    let four = bytes.get(offset..).and_then(<[u8]>::first_chunk::<4>);
    four.map_or(0, |four| u32::from_be_bytes(*four))
}
