//! How far a command has come.

use std::sync::{Mutex, PoisonError};

use super::words::mebibytes;
use crate::cli::terminal::aside;
use crate::time::{Clock, Moment, millis};

/// Says how far a command has come, once it takes longer than [`ReportProgress::SILENT`].
pub struct ReportProgress {
    clock: Clock,
    began: Moment,
    /// Seconds since it began, when it said something last.
    told: Mutex<u64>,
}

impl ReportProgress {
    /// Between two lines, and before the first, in seconds.
    const SILENT: u64 = 2;

    pub fn begin() -> Self {
        let clock = Clock::system();
        let began = clock.now();
        Self { clock, began, told: Mutex::new(0) }
    }

    pub fn tell(&self, done: u64, all: u64) {
        let passed = self.clock.now().since(self.began).as_secs();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if passed < *told + Self::SILENT {
            return;
        }
        *told = passed;
        let percent = (done * 100).checked_div(all).unwrap_or(0);
        aside(format_args!("{percent:>3} %  {} of {}", mebibytes(done), mebibytes(all)));
    }

    /// Milliseconds since it began.
    pub fn lasted(&self) -> i64 {
        millis(self.clock.now().since(self.began))
    }
}
