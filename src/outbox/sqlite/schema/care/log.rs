//! The write-ahead log as the disk has it: which of its frames belong to a commit, and whether commits are behind damage.

mod anothers;
pub mod bytes;
pub mod frames;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};

use self::anothers::differ;
use self::bytes::PAGE;
use self::frames::{LogFrame, LogFrames, filled};
use super::super::files;
use super::fault::{CareFault, at};

/// Commits are behind a frame that cannot be used: SQLite would leave them out without a word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogDamage {
    pub file: PathBuf,
    /// The first frame whose checksum is wrong, counted from 1; 0: the log's header.
    pub frame: usize,
    /// LogFrames that cannot be used.
    pub frames: usize,
    /// Commits behind the first of them.
    pub commits: usize,
}

impl fmt::Display for LogDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, frame, frames: _, commits } = self;
        match frame {
            0 => write!(f, "the header of {} is damaged", file.display())?,
            _ => write!(f, "frame {frame} of {} is damaged", file.display())?,
        }
        match commits {
            1 => write!(f, ", and 1 whole commit is behind it"),
            _ => write!(f, ", and {commits} whole commits are behind it"),
        }
    }
}

/// Whether commits in the log of a database are behind damage. What a power cut leaves half written at the log's end is
/// none: the commit before was on disk when it was begun. A process may be writing the log.
///
/// # Errors
/// When the disk does not give it.
pub fn damage(database: &Path) -> Result<Option<LogDamage>> {
    let Some(found) = look(database)? else { return Ok(None) };
    // A frame that was just being written is right the next time.
    Ok(look(database)?.filter(|again| again.frame == found.frame))
}

/// Whether the log beside a database was written for another one. A log with page 1 in it has the mark of its own database:
/// see `in_place::mark`. The first log of each start has page 1, a later one when a page was added or set free: before that,
/// whose it is cannot be seen. Nor can it if a disk has altered the first page of the file, or the log. A process may be
/// writing both.
///
/// # Errors
/// When a file cannot be read.
pub fn is_anothers(database: &Path) -> Result<bool> {
    let database = &files::resolved(database);
    // A router that starts gives the database a new mark: its file and its log are right the next time.
    Ok(differ(database)? && damage(database)?.is_none() && differ(database)?)
}

/// The name in its directory under which the log of a database is set aside; none: it is not another's.
///
/// # Errors
/// When a file cannot be read.
pub fn name_aside(directory: &Path) -> Result<Option<String>> {
    let is_anothers = is_anothers(&files::path(directory))?;
    Ok(is_anothers.then(|| format!("{}-wal", files::aside(directory, "overwritten"))))
}

/// Whether what SQLite reads of a database is all that was committed to it, and nothing else.
///
/// # Errors
/// When the disk does not give it.
pub fn is_usable(database: &Path) -> Result<bool> {
    Ok(damage(database)?.is_none() && !is_anothers(database)?)
}

/// Refuses a database in whose log commits are behind damage, and one beside another's log.
///
/// # Errors
/// [`CareFault::Damaged`], [`CareFault::AnothersLog`], or when the log cannot be read.
pub fn refuse_unusable(database: &Path) -> std::result::Result<(), CareFault> {
    if let Some(found) = damage(database).map_err(at(database))? {
        return Err(CareFault::Damaged { path: database.to_owned(), found: found.to_string() });
    }
    match is_anothers(database).map_err(at(database))? {
        true => Err(CareFault::AnothersLog(files::beside(&files::resolved(database), "-wal"))),
        false => Ok(()),
    }
}

fn look(database: &Path) -> Result<Option<LogDamage>> {
    let database = &files::resolved(database);
    let log = Log::read(&files::beside(database, "-wal"))?;
    match &log.damage {
        // A log that is begun anew has nothing that the database has not.
        Some(LogDamage { frame: 0, .. }) if log.is_in(database)? => Ok(None),
        found => Ok(found.clone()),
    }
}

/// The newest committed frame of each page.
#[derive(Default)]
pub struct Log {
    file: Option<File>,
    /// Where the page of each frame begins.
    at: HashMap<u32, u64>,
    /// How many pages the database has after the last commit; none: the log has no commit.
    pub pages: Option<u32>,
    pub damage: Option<LogDamage>,
}

impl Log {
    /// Reads a log up to the last commit; without a file there is nothing in it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            file => file?,
        };
        let mut log = Self::default();
        if let Some(frames) = LogFrames::of(&file)? {
            log.take(path, frames)?;
        }
        log.file = Some(file);
        Ok(log)
    }

    fn take(&mut self, path: &Path, mut frames: LogFrames<'_>) -> Result<()> {
        let mut before = Commits { is_begun: true, ..Commits::default() };
        let mut behind = (!frames.has_head).then(|| (0, Commits { is_begun: true, ..Commits::default() }));
        let mut number = 0;
        while let Some(frame) = frames.next()? {
            number += 1;
            match &mut behind {
                Some((_, behind)) => behind.take(&frame),
                None if frame.is_right => before.take(&frame),
                None => behind.insert((number, before.broken())).1.take(&frame),
            }
        }
        (self.at, self.pages) = (before.at, before.pages);
        if let Some((frame, behind)) = behind.filter(|(_, behind)| behind.whole > 0) {
            self.at.extend(behind.at);
            self.pages = behind.pages;
            let (file, frames, commits) = (path.to_owned(), behind.unusable, behind.whole);
            self.damage = Some(LogDamage { file, frame, frames, commits });
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

    /// The highest number of a page that it has; 0: it has none.
    pub fn last(&self) -> u32 {
        self.at.keys().copied().max().unwrap_or(0)
    }

    /// How many pages behind this one it has.
    pub fn count_behind(&self, last: u32) -> u32 {
        let behind = self.at.keys().filter(|page| **page > last).count();
        u32::try_from(behind).unwrap_or(u32::MAX)
    }

    /// Whether the database has each page as the log has it.
    fn is_in(&self, database: &Path) -> Result<bool> {
        let (file, mut here, mut there) = (File::open(database)?, [0; PAGE], [0; PAGE]);
        for number in self.at.keys().copied() {
            let offset = (u64::from(number) - 1) * PAGE as u64;
            if !(self.page(number, &mut here)? && filled(&file, &mut there, offset)? && here == there) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What frames come to.
#[derive(Default)]
struct Commits {
    at: HashMap<u32, u64>,
    pages: Option<u32>,
    /// LogFrames of the transaction that is being read.
    begun: Vec<(u32, u64)>,
    /// Whether that transaction was read from its first frame on.
    is_begun: bool,
    /// Transactions that were.
    whole: usize,
    /// What the last frame that is wrong says of the commit it ends: its page may be what is wrong.
    mark: u32,
    /// LogFrames that are wrong: all, and those with a commit behind.
    wrong: usize,
    unusable: usize,
}

impl Commits {
    /// What comes behind a frame that is wrong.
    fn broken(&mut self) -> Self {
        Self { begun: std::mem::take(&mut self.begun), pages: self.pages, ..Self::default() }
    }

    fn take(&mut self, frame: &LogFrame) {
        if !frame.is_right {
            (self.is_begun, self.mark) = (false, frame.commits);
            self.wrong += 1;
            return;
        }
        self.begun.push((frame.page, frame.at));
        if frame.commits > 0 {
            // A commit marked by a wrong frame counts if its size is between those of its neighbours.
            let is_marked = (self.pages.unwrap_or(1)..=frame.commits).contains(&self.mark);
            self.whole += usize::from(self.is_begun || is_marked);
            self.at.extend(self.begun.drain(..));
            (self.pages, self.unusable) = (Some(frame.commits), self.wrong);
            (self.is_begun, self.mark) = (true, 0);
        }
    }
}

#[cfg(test)]
mod tests;
