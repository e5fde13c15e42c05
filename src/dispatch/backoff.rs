//! When to try again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// An exponential schedule.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The wait after the first failure.
    pub initial: Duration,
    /// Each further one is this much longer.
    pub factor: f32,
    /// But never longer than this.
    pub max: Duration,
}

impl Default for Backoff {
    /// A call is over in minutes: the first retries come within seconds.
    fn default() -> Self {
        Self { initial: Duration::from_millis(500), factor: 2.0, max: Duration::from_secs(600) }
    }
}

/// Jitter: up to this part of the wait, either way.
const JITTER: f64 = 0.2;

impl Backoff {
    /// The wait after the `failures`-th failed attempt (from 1). `random` in 0..1 chooses within
    /// ±20 %, so that receivers that fail together do not come back together.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let mut schedule = ExponentialBuilder::new()
            .with_min_delay(self.initial)
            .with_factor(self.factor)
            .with_max_delay(self.max)
            .without_max_times()
            .build();
        // Past the 64th doubling every schedule has reached its end.
        let step = failures.saturating_sub(1).min(64) as usize;
        let wait = schedule.nth(step).unwrap_or(self.max);
        wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_half_a_second_to_ten_minutes() {
        let waits: Vec<_> = (1..=13).map(|n| Backoff::default().delay(n, 0.5).as_millis()).collect();
        let expected =
            [500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128_000, 256_000, 512_000, 600_000, 600_000];
        assert_eq!(waits, expected);
        assert_eq!(Backoff::default().delay(u32::MAX, 0.5), Duration::from_secs(600));
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        assert_eq!(Backoff::default().delay(2, 0.0), Duration::from_millis(800));
        assert_eq!(Backoff::default().delay(2, 1.0), Duration::from_millis(1200));
    }
}
