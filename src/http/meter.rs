//! How often something happens, by key. Pure: time is a parameter.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::time::Moment;

/// How often something may happen: `burst` times at once, then once per `interval`.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub burst: u32,
    pub interval: Duration,
}

/// The table is looked through for keys to forget at most this often.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Counts by key (a token bucket each, as the generic cell rate algorithm keeps it), in a table of bounded size.
///
/// A key whose bucket is full again need not be remembered. While the table is full of others, all further keys
/// share one bucket.
#[derive(Debug)]
pub struct Meter<K> {
    /// When each key's bucket is full again.
    full_at: HashMap<K, Moment>,
    shared_full_at: Moment,
    room: usize,
    forgot_at: Option<Moment>,
}

impl<K: Hash + Eq> Meter<K> {
    /// A meter that tells at most `room` keys apart.
    pub fn new(room: usize) -> Self {
        Self { full_at: HashMap::new(), shared_full_at: Moment::default(), room, forgot_at: None }
    }

    /// Counts one of this key.
    ///
    /// # Errors
    /// How long to wait if that is more than allowed; then nothing is counted.
    pub fn take<Q>(&mut self, key: &Q, allowance: Allowance, now: Moment) -> Result<(), Duration>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if !self.full_at.contains_key(key) && self.has_room(now) {
            self.full_at.insert(key.to_owned(), now);
        }
        let full_at = self.full_at.get_mut(key).unwrap_or(&mut self.shared_full_at);
        let after = (*full_at).max(now) + allowance.interval;
        let wait = after.since(now + allowance.interval.saturating_mul(allowance.burst));
        if !wait.is_zero() {
            return Err(wait);
        }
        *full_at = after;
        Ok(())
    }

    /// Whether another key fits, once those that need not be remembered are forgotten.
    fn has_room(&mut self, now: Moment) -> bool {
        let is_due = self.forgot_at.is_none_or(|forgot_at| now.since(forgot_at) >= FORGET_EVERY);
        if self.full_at.len() >= self.room && is_due {
            self.forgot_at = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        self.full_at.len() < self.room
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALLOWANCE: Allowance = Allowance { burst: 3, interval: Duration::from_millis(100) };

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_then_one_per_interval_and_each_key_for_itself() {
        let mut meter = Meter::<String>::new(10);
        let mut take = |key: &str, ms| meter.take(key, ALLOWANCE, at(ms)).map_err(|wait| wait.as_millis());
        assert_eq!([take("a", 0), take("a", 0), take("a", 0)], [Ok(()); 3]);
        assert_eq!([take("a", 0), take("a", 60), take("b", 60)], [Err(100), Err(40), Ok(())]);
        assert_eq!([take("a", 100), take("a", 100)], [Ok(()), Err(100)]);
        // Long quiet: the whole burst again, and no more.
        assert_eq!(
            [take("a", 9000), take("a", 9000), take("a", 9000), take("a", 9000)],
            [Ok(()), Ok(()), Ok(()), Err(100)]
        );
    }

    #[test]
    fn a_full_table_forgets_whoever_is_quiet_and_the_rest_share_one_bucket() {
        let mut meter = Meter::<u32>::new(2);
        let mut take = |key: u32, ms| meter.take(&key, ALLOWANCE, at(ms)).is_ok();
        assert!(take(1, 0) && take(2, 0));
        assert!(take(3, 50) && take(4, 50) && take(5, 50), "three share one bucket");
        assert!(!take(6, 50));
        assert!(take(1, 50), "those in the table keep their own");
        assert!(take(6, 2000) && take(7, 2000) && take(6, 2000) && take(6, 2000));
        assert!(!take(6, 2000));
    }

    proptest! {
        /// Whatever comes: in no window more passes than the burst and what the window refills, for one key and for
        /// all keys beyond the table's room together; and the table keeps its bound.
        #[test]
        fn no_window_lets_more_pass(steps in proptest::collection::vec((0_u32..5, 0_u64..150), 1..200)) {
            let mut meter = Meter::<u32>::new(3);
            let (mut now, mut passed) = (0, Vec::new());
            for (key, pause) in steps {
                now += pause;
                if meter.take(&key, ALLOWANCE, at(now)).is_ok() {
                    passed.push((key, now));
                }
                prop_assert!(meter.full_at.len() <= 3);
            }
            for key in 0..5 {
                let times: Vec<u64> =
                    passed.iter().filter(|(other, _)| *other == key).map(|(_, now)| *now).collect();
                for (first, begin) in times.iter().enumerate() {
                    for (last, end) in times.iter().enumerate().skip(first) {
                        // A key that moves from the shared bucket to one of its own has both bursts at most.
                        let most = 2 * 3 + (end - begin) / 100 + 1;
                        prop_assert!((last - first + 1) as u64 <= most);
                    }
                }
            }
        }
    }
}
