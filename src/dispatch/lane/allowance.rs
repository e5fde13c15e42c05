//! How many attempts of a lane may fail: failures that cost their receiver nothing would otherwise repeat as fast as
//! the processor permits.

use std::time::Duration;

use crate::time::Moment;

/// So many attempts may fail at once…
const BURST: u32 = 100;

/// …and one more each time this has passed. Each delivery that succeeds gives one back.
const INTERVAL: Duration = Duration::from_millis(50);

/// What a lane may still fail: a token bucket, as the generic cell rate algorithm keeps it.
#[derive(Debug, Default)]
pub struct FailureAllowance {
    /// When the bucket is full again.
    full_at: Moment,
}

impl FailureAllowance {
    /// An attempt failed.
    pub fn failed(&mut self, now: Moment) {
        self.full_at = self.full_at.max(now) + INTERVAL;
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self) {
        self.full_at = self.full_at - INTERVAL;
    }

    /// Nothing starts before this time; none if something may start at `now`.
    pub fn closed_until(&self, now: Moment) -> Option<Moment> {
        let open = self.full_at - INTERVAL * (BURST - 1);
        (open > now).then_some(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    #[test]
    fn a_hundred_may_fail_at_once_then_twenty_a_second() {
        let mut allowance = FailureAllowance::default();
        let failed = |allowance: &mut FailureAllowance, now| {
            let mut count = 0;
            while allowance.closed_until(now).is_none() {
                allowance.failed(now);
                count += 1;
            }
            count
        };
        assert_eq!(failed(&mut allowance, at(10_000)), 100);
        assert_eq!(allowance.closed_until(at(10_000)), Some(at(10_050)));
        assert_eq!(failed(&mut allowance, at(11_000)), 20);
        assert_eq!(failed(&mut allowance, at(99_000)), 100);
    }

    #[test]
    fn a_receiver_that_takes_half_of_it_is_never_held() {
        let mut allowance = FailureAllowance::default();
        for _ in 0..10_000 {
            allowance.failed(at(10_000));
            allowance.succeeded();
            assert_eq!(allowance.closed_until(at(10_000)), None);
        }
        // And successes are not saved up.
        (0..100).for_each(|_| allowance.failed(at(20_000)));
        assert!(allowance.closed_until(at(20_000)).is_some());
    }
}
