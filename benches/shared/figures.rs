//! Medians, percentiles, time per call and memory.

use std::time::{Duration, Instant};

/// Rounds of a measurement inside one process.
pub const ROUNDS: usize = 15;

/// The middle one of the values.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    median_by(values, |value| *value)
}

/// The item with the median measure.
pub fn median_by<T>(of: impl IntoIterator<Item = T>, measure: impl Fn(&T) -> f64) -> T {
    let mut all: Vec<T> = of.into_iter().collect();
    all.sort_by(|a, b| measure(a).total_cmp(&measure(b)));
    let middle = all.len() / 2;
    all.swap_remove(middle)
}

/// Nanoseconds per call: the median of [`ROUNDS`] rounds of `calls` calls.
pub fn nanoseconds(calls: usize, mut round: impl FnMut()) -> f64 {
    median((0..ROUNDS).map(|_| {
        let began = Instant::now();
        round();
        began.elapsed().as_secs_f64() * 1e9 / calls as f64
    }))
}

/// Sorted times, printed in milliseconds.
pub struct Times(Vec<Duration>);

impl Times {
    /// Sorts the times.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }

    /// The time that `percent` % of all are shorter than; 0 without any.
    pub fn percentile(&self, percent: usize) -> f64 {
        self.per_mille(10 * percent)
    }

    /// The time that `part` ‰ of all are shorter than; 0 without any.
    pub fn per_mille(&self, part: usize) -> f64 {
        self.0.get(self.0.len() * part / 1000).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    /// The longest time; 0 without any.
    pub fn longest(&self) -> f64 {
        self.0.last().map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }
}

/// Resident bytes of a process: its number, or `self`.
pub fn resident(process: impl std::fmt::Display) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().strip_suffix(" kB").and_then(|kb| kb.parse::<usize>().ok()).expect("kB") * 1024
}

/// Bytes as MB.
pub fn mb(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
