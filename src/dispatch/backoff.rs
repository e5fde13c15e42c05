//! When to try again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::delivery::Answer;
use crate::hooks::Retry;
use crate::time::UnixMillis;

/// Jitter: up to this part of the wait, either way.
const JITTER: f64 = 0.2;

/// After so many failures no wait is shorter than [`Retry::SHORTEST_MAX`], also if the waits of a hook do not grow.
const QUICK: u32 = 10;

/// The wait after the `failures`-th failed attempt (from 1). `random` in 0..1 chooses within
/// ±20 %, so that receivers that fail together do not come back together.
pub fn delay(retry: &Retry, failures: u32, random: f64) -> Duration {
    let mut schedule = ExponentialBuilder::new()
        .with_min_delay(retry.initial)
        .with_factor(retry.factor)
        .with_max_delay(retry.max)
        .without_max_times()
        .build();
    // Beyond this many steps every sensible factor has reached the longest wait.
    let step = failures.saturating_sub(1).min(256) as usize;
    let wait = schedule.nth(step).unwrap_or(retry.max);
    let wait = if failures > QUICK { wait.max(Retry::SHORTEST_MAX) } else { wait };
    spread(wait, random)
}

/// A wait that is moved within its jitter; `random` in 0..1 says how far.
pub fn spread(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
}

/// How long it is from `unix` until `due`, at most the hook's longest wait: `due` is further away only if a
/// clock was wrong.
pub fn left(retry: &Retry, due: UnixMillis, unix: UnixMillis) -> Duration {
    let longest = retry.max.mul_f64(1.0 + JITTER).max(Answer::RETRY_AFTER_MAX);
    due.since(unix).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_half_a_second_to_ten_minutes() {
        let waits: Vec<_> = (1..=13).map(|n| delay(&Retry::default(), n, 0.5).as_millis()).collect();
        let expected =
            [500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128_000, 256_000, 512_000, 600_000, 600_000];
        assert_eq!(waits, expected);
        assert_eq!(delay(&Retry::default(), u32::MAX, 0.5), Duration::from_secs(600));
    }

    #[test]
    fn what_keeps_failing_is_tried_once_a_second_at_most() {
        let eager = Retry { initial: Duration::from_millis(10), factor: 1.0, ..Retry::default() };
        assert_eq!([1, 10, 11, 500].map(|n| delay(&eager, n, 0.5).as_millis()), [10, 10, 1000, 1000]);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        assert_eq!(delay(&Retry::default(), 2, 0.0), Duration::from_millis(800));
        assert_eq!(delay(&Retry::default(), 2, 1.0), Duration::from_millis(1200));
    }

    #[test]
    fn a_due_time_that_a_wrong_clock_wrote_is_waited_for_no_longer_than_a_retry_may_be() {
        let unix = UnixMillis(1_795_240_012_110);
        let wait = |retry: &Retry, due| left(retry, UnixMillis(unix.0 + due), unix);
        let patient = Retry { max: Duration::from_secs(7200), ..Retry::default() };
        assert_eq!(wait(&patient, 1500), Duration::from_millis(1500));
        assert_eq!(wait(&patient, -1500), Duration::ZERO);
        let year = 365 * 86_400_000;
        assert_eq!(wait(&patient, year), Duration::from_secs(8640));
        assert_eq!(wait(&Retry::default(), year), Answer::RETRY_AFTER_MAX);
    }
}
