//! How many attempts may fail: failures that cost their receiver nothing would otherwise repeat as fast as the
//! processor permits.

use std::time::Duration;

use super::Seen;
use crate::time::Moment;

/// What a lane or a tenant may still fail: a token bucket, as the generic cell rate algorithm keeps it.
#[derive(Debug)]
pub struct FailureAllowance {
    /// So many attempts may fail at once…
    burst: u32,
    /// …and one more each time this has passed. Each delivery that succeeds gives one back.
    interval: Duration,
    /// When the bucket is full again.
    full_at: Moment,
}

impl FailureAllowance {
    /// Of one lane: 100, and 20 a second.
    pub fn of_lane() -> Self {
        Self { burst: 100, interval: Duration::from_millis(50), full_at: Moment::default() }
    }

    /// Of all lanes of a tenant: 400, and 80 a second.
    pub fn of_tenant() -> Self {
        Self { burst: 400, interval: Duration::from_micros(12_500), full_at: Moment::default() }
    }

    /// Learns what an attempt showed.
    pub fn note(&mut self, seen: Seen, now: Moment) {
        if seen.is_failure() {
            self.full_at = self.full_at.max(now) + self.interval;
        } else if seen.is_success() {
            self.full_at = self.full_at - self.interval;
        }
    }

    /// Nothing starts before this time; none if something may start at `now`.
    pub fn closed_until(&self, now: Moment) -> Option<Moment> {
        let open = self.full_at - self.interval * (self.burst - 1);
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
    fn a_hundred_of_a_lane_may_fail_at_once_then_twenty_a_second_and_of_a_tenant_four_times_as_many() {
        let (mut lane, mut tenant) = (FailureAllowance::of_lane(), FailureAllowance::of_tenant());
        let failed = |allowance: &mut FailureAllowance, now| {
            let mut count = 0;
            while allowance.closed_until(now).is_none() {
                allowance.note(Seen::Fault, now);
                count += 1;
            }
            count
        };
        assert_eq!(failed(&mut lane, at(10_000)), 100);
        assert_eq!(lane.closed_until(at(10_000)), Some(at(10_050)));
        assert_eq!([11_000, 99_000].map(|ms| failed(&mut lane, at(ms))), [20, 100]);
        assert_eq!([10_000, 11_000, 99_000].map(|ms| failed(&mut tenant, at(ms))), [400, 80, 400]);
    }

    #[test]
    fn a_receiver_that_takes_half_of_it_is_never_held() {
        let mut allowance = FailureAllowance::of_lane();
        for _ in 0..10_000 {
            allowance.note(Seen::Answer, at(10_000));
            allowance.note(Seen::Delivery, at(10_000));
            assert_eq!(allowance.closed_until(at(10_000)), None);
        }
        // And successes are not saved up.
        (0..100).for_each(|_| allowance.note(Seen::Fault, at(20_000)));
        assert!(allowance.closed_until(at(20_000)).is_some());
    }
}
