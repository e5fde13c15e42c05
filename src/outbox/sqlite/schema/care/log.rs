//! The write-ahead log of a damaged database: which of its frames belong to a commit.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::bytes::{PAGE, number_at};

/// Bytes of the log's header, and of a frame's.
const HEAD: usize = 32;
const FRAME: usize = 24;

/// The first number of a log whose checksums read its words as little-endian; one more: as big-endian.
const MAGIC: u32 = 0x377f_0682;

/// The newest committed frame of each page.
#[derive(Default)]
pub struct Log {
    file: Option<File>,
    /// Where the page of each frame begins.
    at: HashMap<u32, u64>,
    /// How many pages the database has after the last commit; none: the log has no commit.
    pub pages: Option<u32>,
}

impl Log {
    /// Reads a log up to the last commit whose checksums are right; without a file there is nothing in it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            file => file?,
        };
        let mut log = Self::default();
        log.take_commits(&file)?;
        log.file = Some(file);
        Ok(log)
    }

    fn take_commits(&mut self, file: &File) -> Result<()> {
        let mut head = [0; HEAD];
        if !filled(file, &mut head, 0)?
            || number_at(&head, 0) & !1 != MAGIC
            || number_at(&head, 8) != PAGE as u32
        {
            return Ok(());
        }
        let is_big = number_at(&head, 0) & 1 == 1;
        let mut sum = checksum((0, 0), &head[..24], is_big);
        if sum != (number_at(&head, 24), number_at(&head, 28)) {
            return Ok(());
        }
        let (mut offset, mut begun) = (HEAD as u64, Vec::new());
        let mut frame = [0; FRAME + PAGE];
        while filled(file, &mut frame, offset)? {
            sum = checksum(checksum(sum, &frame[..8], is_big), &frame[FRAME..], is_big);
            if frame[8..16] != head[16..24] || sum != (number_at(&frame, 16), number_at(&frame, 20)) {
                break;
            }
            begun.push((number_at(&frame, 0), offset + FRAME as u64));
            if number_at(&frame, 4) > 0 {
                self.at.extend(begun.drain(..));
                self.pages = Some(number_at(&frame, 4));
            }
            offset += (FRAME + PAGE) as u64;
        }
        Ok(())
    }

    /// Reads a page, if the log has it.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub fn page(&self, number: u32, page: &mut [u8; PAGE]) -> Result<bool> {
        match (&self.file, self.at.get(&number)) {
            (Some(file), Some(at)) => filled(file, page, *at),
            _ => Ok(false),
        }
    }
}

/// Fills the bytes from a file; false if it has not so many.
fn filled(file: &File, bytes: &mut [u8], offset: u64) -> Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

fn checksum((mut first, mut second): (u32, u32), bytes: &[u8], is_big: bool) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        let word = |at| if is_big { number_at(pair, at) } else { number_at(pair, at).swap_bytes() };
        first = first.wrapping_add(word(0)).wrapping_add(second);
        second = second.wrapping_add(word(4)).wrapping_add(first);
    }
    (first, second)
}
