//! Leaves processor and disk to a router beside: a work on the database is done in short slices, with rests between them.
//!
//! A low priority does not suffice: on Linux it counts only among the processes of one session or control group.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::super::super::files;
use crate::time::{Clock, Moment};

/// What is worked without a rest: a request waits for a processor at most about so long.
const SLICE: Duration = Duration::from_micros(500);

/// A rest is so many times as long as the work before it: on a slow disk, rests are longer.
const REST: u32 = 9;

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_millis(100);

/// Bytes of the router's write-ahead log beyond which nothing rests any more: as long as a copy is made, the log grows, and
/// its pages are written into the database after that, which makes a slow disk slower for the router's commits.
const LONGEST_LOG: u64 = 64 << 20;

/// Instructions of SQLite between two looks at the clock: some rows.
const INSTRUCTIONS: i32 = 100;

/// The slices of one work.
pub struct Slices {
    clock: Clock,
    began: Moment,
    log: PathBuf,
}

impl Slices {
    /// A work beside the router whose database this is.
    pub fn beside(database: &Path) -> Self {
        let clock = Clock::system();
        Self { began: clock.now(), clock, log: files::beside(database, "-wal") }
    }

    /// Slows what is done with a connection down. `also` is done often, too, as a part of the work.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn slow(
        mut self,
        store: &mut Connection,
        mut also: impl FnMut() + Send + 'static,
    ) -> rusqlite::Result<()> {
        let rests = move || {
            also();
            self.keep();
            // It goes on.
            false
        };
        store.progress_handler(INSTRUCTIONS, Some(rests))
    }

    fn keep(&mut self) {
        let worked = self.clock.now().since(self.began);
        if worked >= SLICE {
            thread::sleep(rest(worked, files::size(&self.log)));
            self.began = self.clock.now();
        }
    }
}

/// How long is rested after so much work beside a router whose log has so many bytes. An empty log: no router runs.
fn rest(worked: Duration, log: u64) -> Duration {
    match log {
        1..=LONGEST_LOG => (worked * REST).min(LONGEST_REST),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_beside_a_router_rests_for_most_of_the_time_unless_the_log_gets_long() {
        let log = 16 << 20;
        assert_eq!(rest(SLICE, log), SLICE * REST);
        assert_eq!(rest(Duration::from_secs(5), log), LONGEST_REST);
        assert_eq!(rest(SLICE, LONGEST_LOG + 1), Duration::ZERO);
        assert_eq!(rest(SLICE, 0), Duration::ZERO, "no router");
    }
}
