//! The frames of a write-ahead log, also those behind one that is damaged.
//!
//! A frame's checksum goes on from the one that the frame before has: taken as it is stored there, it is right again one
//! frame behind the damage. SQLite takes the first wrong one for the end.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt;

use super::bytes::{PAGE, number_at};

/// Bytes of the log's header, and of a frame's.
const HEAD: usize = 32;
const FRAME: usize = 24;

/// The first number of a log whose checksums read its words as little-endian; one more: as big-endian.
const MAGIC: u32 = 0x377f_0682;

/// A frame as the file has it.
pub struct LogFrame {
    /// The number of its page, and where that begins in the file.
    pub page: u32,
    pub at: u64,
    /// The pages of the database after the commit that it ends; 0: it ends none.
    pub commits: u32,
    /// Whether it is of this log, and its checksum is right.
    pub is_right: bool,
}

/// Reads a log from its begin to its end.
pub struct LogFrames<'f> {
    file: &'f File,
    /// All frames since the log was begun anew have it; behind them are older ones.
    salt: [u8; 8],
    sum: (u32, u32),
    is_big: bool,
    offset: u64,
    /// Whether the log's header is as it was written.
    pub has_head: bool,
}

impl<'f> LogFrames<'f> {
    /// The frames of a log with pages of our size; none: there is no frame.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub fn of(file: &'f File) -> Result<Option<Self>> {
        let (mut head, mut frame) = ([0; HEAD], [0; FRAME]);
        if !filled(file, &mut head, 0)? || !filled(file, &mut frame, HEAD as u64)? {
            return Ok(None);
        }
        let sum = (number_at(&head, 24), number_at(&head, 28));
        let is_said_big = number_at(&head, 0) == MAGIC + 1;
        let is_whole = number_at(&head, 0) & !1 == MAGIC && checksum((0, 0), &head[..24], is_said_big) == sum;
        if is_whole && number_at(&head, 8) != PAGE as u32 {
            return Ok(None);
        }
        // SQLite writes them as the machine has its numbers.
        let is_big = if is_whole { is_said_big } else { cfg!(target_endian = "big") };
        let of_first: [u8; 8] = std::array::from_fn(|at| frame[8 + at]);
        let salt = if is_whole { std::array::from_fn(|at| head[16 + at]) } else { of_first };
        Ok(Some(Self { file, salt, sum, is_big, offset: HEAD as u64, has_head: is_whole }))
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub fn next(&mut self) -> Result<Option<LogFrame>> {
        let mut frame = [0; FRAME + PAGE];
        if !filled(self.file, &mut frame, self.offset)? {
            return Ok(None);
        }
        let (page, commits) = (number_at(&frame, 0), number_at(&frame, 4));
        let stored = (number_at(&frame, 16), number_at(&frame, 20));
        let is_right = frame[8..16] == self.salt
            && page > 0
            && checksum(checksum(self.sum, &frame[..8], self.is_big), &frame[FRAME..], self.is_big) == stored;
        let at = self.offset + FRAME as u64;
        self.sum = stored;
        self.offset += (FRAME + PAGE) as u64;
        Ok(Some(LogFrame { page, at, commits, is_right }))
    }
}

/// Fills the bytes from a file; false if it has not so many.
pub fn filled(file: &File, bytes: &mut [u8], offset: u64) -> Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// SQLite's checksum of a log: it goes on from the one before.
pub fn checksum((mut first, mut second): (u32, u32), bytes: &[u8], is_big: bool) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        let word = |at| if is_big { number_at(pair, at) } else { number_at(pair, at).swap_bytes() };
        first = first.wrapping_add(word(0)).wrapping_add(second);
        second = second.wrapping_add(word(4)).wrapping_add(first);
    }
    (first, second)
}
