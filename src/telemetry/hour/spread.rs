//! How durations are spread, in little room: buckets, each twice as wide as the one before.

use std::time::Duration;

/// From 62.5 µs to 37 h.
const BUCKETS: usize = 32;

/// The first bucket ends at 1000/16 µs.
const PER_MILLI: u64 = 16;

/// Durations by bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spread([u16; BUCKETS]);

impl Spread {
    /// Adds one. If a bucket is full all are halved: how they are spread stays the same.
    pub fn add(&mut self, duration: Duration) {
        let units = duration.as_micros().saturating_mul(u128::from(PER_MILLI)) / 1000;
        let bits = u128::BITS - units.leading_zeros();
        let bucket = (bits as usize).min(BUCKETS - 1);
        if self.0[bucket] == u16::MAX {
            self.0.iter_mut().for_each(|count| *count /= 2);
        }
        self.0[bucket] += 1;
    }
}

/// Spreads together.
#[derive(Clone, Debug, Default)]
pub struct Spreads([u64; BUCKETS]);

impl<'s> FromIterator<&'s Spread> for Spreads {
    fn from_iter<I: IntoIterator<Item = &'s Spread>>(spreads: I) -> Self {
        let mut sum = Self::default();
        for spread in spreads {
            sum.0.iter_mut().zip(spread.0).for_each(|(sum, count)| *sum += u64::from(count));
        }
        sum
    }
}

impl Spreads {
    /// The duration that so many percent do not exceed, in milliseconds, assuming that each bucket is filled evenly;
    /// none: there are none.
    pub fn percentile(&self, percent: u64) -> Option<f64> {
        let count: u64 = self.0.iter().sum();
        let rank = (count * percent).div_ceil(100).max(1);
        let mut before = 0;
        for (bucket, count) in (0..).zip(self.0) {
            if before + count >= rank {
                let (begin, end) = bounds(bucket);
                let part = (rank - before) as f64 / count as f64;
                return Some(rounded(begin + (end - begin) * part));
            }
            before += count;
        }
        None
    }
}

/// Where a bucket begins and ends, in milliseconds.
fn bounds(bucket: i32) -> (f64, f64) {
    let end = 2f64.powi(bucket) / PER_MILLI as f64;
    (if bucket == 0 { 0.0 } else { end / 2.0 }, end)
}

/// Hundredths are enough.
fn rounded(ms: f64) -> f64 {
    (ms * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn percentile(spread: &Spread, percent: u64) -> Option<f64> {
        [spread].into_iter().collect::<Spreads>().percentile(percent)
    }

    #[test]
    fn a_percentile_lies_in_the_bucket_of_its_duration() {
        let mut spread = Spread::default();
        assert_eq!(percentile(&spread, 50), None);
        (0..99).for_each(|_| spread.add(Duration::from_millis(10)));
        spread.add(Duration::from_secs(2));
        let p50 = percentile(&spread, 50).expect("some");
        assert!((8.0..16.0).contains(&p50), "{p50}");
        assert_eq!(percentile(&spread, 99), Some(16.0));
        let p100 = percentile(&spread, 100).expect("some");
        assert!((1024.0..=2048.0).contains(&p100), "{p100}");
    }

    #[test]
    fn however_many_come_the_spread_stays() {
        let mut spread = Spread::default();
        for _ in 0..200_000 {
            spread.add(Duration::from_millis(1));
            spread.add(Duration::from_millis(100));
        }
        let p = |percent| percentile(&spread, percent).expect("some");
        assert!(p(40) <= 2.0 && p(60) >= 64.0, "{} {}", p(40), p(60));
    }

    proptest! {
        #[test]
        fn a_single_duration_is_known_within_a_factor_of_two(micros in 100u64..100_000_000_000) {
            let mut spread = Spread::default();
            spread.add(Duration::from_micros(micros));
            let (found, ms) = (percentile(&spread, 50).expect("one"), micros as f64 / 1000.0);
            prop_assert!(found >= ms * 0.9 || micros > 60_000_000_000, "{found} {ms}");
            prop_assert!(found <= ms * 2.1, "{found} {ms}");
        }
    }
}
