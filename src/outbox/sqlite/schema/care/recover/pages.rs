//! The pages of a damaged database, each read by its number: no page is needed to find another.
//!
//! The formats are those of <https://www.sqlite.org/fileformat2.html>; 4096 bytes is the size of all our pages.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::super::files;
use super::super::log::Log;
use super::super::log::bytes::{PAGE, number_at};

const MAGIC: &[u8] = b"SQLite format 3\0";

/// The pages of a database, those in its write-ahead log included.
pub struct Pages {
    /// None: there is a log alone.
    file: Option<File>,
    log: Log,
    /// Whether the log beside the file is not another database's.
    pub has_own_log: bool,
    /// How many pages the file has.
    in_file: u32,
    /// How many pages there are; they count from 1.
    pub count: u32,
    /// How many may still be read as part of a record.
    further: Cell<u64>,
}

/// Each page is part of one record at most. Damage leads to some twice; many times, only what somebody has made.
const TIMES: u64 = 16;

impl Pages {
    /// Opens a database, or its log alone, to read its pages. Nothing is changed.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn open(database: &Path) -> Result<Self> {
        let log = Log::read(&files::beside(&files::resolved(database), "-wal"))?;
        Self::with(database, log, true)
    }

    /// Opens a database beside another's log, of which nothing is read.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn without_log(database: &Path) -> Result<Self> {
        Self::with(database, Log::default(), false)
    }

    fn with(database: &Path, log: Log, has_own_log: bool) -> Result<Self> {
        let database = &files::resolved(database);
        let file = match File::open(database) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            file => Some(file?),
        };
        let in_file = pages_of(file.as_ref())?;
        // Whatever a commit says: there are no pages behind the last one of the file and the log.
        let count = log.pages.map_or(in_file, |pages| pages.min(in_file.max(log.last())));
        Ok(Self { file, log, has_own_log, in_file, count, further: Cell::new(TIMES * u64::from(count)) })
    }

    /// How many pages the database says it has and neither its file nor its log has: the file was cut off.
    pub fn missing(&self) -> u32 {
        let in_header = self.page(1).map_or(0, |first| pages_in_header(&first));
        let all = self.log.pages.unwrap_or(in_header);
        all.saturating_sub(self.in_file).saturating_sub(self.log.count_behind(self.in_file))
    }

    /// A page; what the file does not have of it is zero.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub fn page(&self, number: u32) -> Result<[u8; PAGE]> {
        let mut page = [0; PAGE];
        match self.log.page(number, &mut page)? {
            true => {}
            false => {
                if let Some(file) = &self.file {
                    read_some(file, &mut page, u64::from(number.saturating_sub(1)) * PAGE as u64)?;
                }
            }
        }
        Ok(page)
    }

    /// A page that a record goes on in; none if it cannot be read, or too many were.
    pub fn further(&self, number: u32) -> Option<[u8; PAGE]> {
        self.further.set(self.further.get().checked_sub(1)?);
        self.page(number).ok()
    }

    /// Frames of the log that cannot be used, though commits are behind them.
    pub fn unusable_frames(&self) -> usize {
        self.log.damage.as_ref().map_or(0, |damage| damage.frames)
    }

    /// The version that the file's header names; none: there is no such header.
    pub fn version(&self) -> Option<i64> {
        let first = self.page(1).ok().filter(|page| page.starts_with(MAGIC))?;
        Some(i64::from(number_at(&first, 60)))
    }

    /// What the header says of the bytes of a page, if it is a size that SQLite knows and not ours. No altered bit makes
    /// another such size of ours.
    pub fn other_size(&self) -> Option<u32> {
        let first = self.page(1).ok().filter(|page| page.starts_with(MAGIC))?;
        let bytes = match number_at(&first, 16) >> 16 {
            1 => 65_536,
            bytes => bytes,
        };
        (bytes.is_power_of_two() && bytes >= 512 && bytes as usize != PAGE).then_some(bytes)
    }

    /// Bytes of all pages.
    pub fn bytes(&self) -> u64 {
        u64::from(self.count) * PAGE as u64
    }

    /// Pages that hold nothing, as far as the list of them can be read: what is in them was deleted.
    pub fn free(&self) -> HashSet<u32> {
        let mut free = HashSet::new();
        let first = self.page(1).ok().filter(|page| page.starts_with(MAGIC));
        let mut trunk = first.map_or(0, |page| number_at(&page, 32));
        while self.has(trunk) && free.insert(trunk) {
            // The first byte of a page with rows is not 0: then the list leads to a page that is in use.
            let Some(page) = self.page(trunk).ok().filter(|page| page[0] == 0) else {
                free.remove(&trunk);
                break;
            };
            let leaves = (number_at(&page, 4) as usize).min(PAGE / 4 - 2);
            free.extend(
                (0..leaves).map(|leaf| number_at(&page, 8 + 4 * leaf)).filter(|leaf| self.has(*leaf)),
            );
            trunk = number_at(&page, 0);
        }
        free
    }

    fn has(&self, number: u32) -> bool {
        (2..=self.count).contains(&number)
    }
}

fn pages_of(file: Option<&File>) -> Result<u32> {
    let bytes = file.map_or(Ok(0), |file| file.metadata().map(|file| file.len()))?;
    Ok(u32::try_from(bytes.div_ceil(PAGE as u64)).unwrap_or(u32::MAX))
}

/// How many pages the header of a database says it has; 0: the header is none, or its number is out of date.
fn pages_in_header(first: &[u8; PAGE]) -> u32 {
    let is_valid = first.starts_with(MAGIC) && number_at(first, 24) == number_at(first, 92);
    if is_valid { number_at(first, 28) } else { 0 }
}

/// Reads as much as the file has.
fn read_some(file: &File, page: &mut [u8], offset: u64) -> Result<()> {
    let mut done = 0;
    while done < page.len() {
        match file.read_at(&mut page[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
