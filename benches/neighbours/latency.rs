//! From the post to the tenant's receipt.

use std::time::Duration;

use super::deliveries::Deliveries;
use super::offer::Posted;
use crate::shared::figures::Times;

/// What came of some events, in milliseconds.
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub longest: f64,
    pub count: usize,
    /// Acknowledged and not delivered, up to now; these have taken as long as that at least.
    pub missing: usize,
}

impl Latency {
    /// Of the acknowledged ones among these events.
    pub fn of<'p>(posted: impl IntoIterator<Item = &'p Posted>, deliveries: &Deliveries) -> Self {
        let (mut times, mut missing) = (Vec::new(), 0);
        for posted in posted.into_iter().filter(|posted| posted.is_acknowledged) {
            match deliveries.at(posted.event) {
                // An event may come before its own answer is read.
                Some(came) => times.push(came.saturating_duration_since(posted.sent)),
                // At least so long.
                None => {
                    times.push(posted.sent.elapsed());
                    missing += 1;
                }
            }
        }
        Self::from_times(times, missing)
    }

    /// Of the answers.
    pub fn of_answers<'p>(posted: impl IntoIterator<Item = &'p Posted>) -> Self {
        let answered = posted.into_iter().filter(|posted| posted.is_acknowledged);
        Self::from_times(answered.map(|posted| posted.took).collect(), 0)
    }

    fn from_times(times: Vec<Duration>, missing: usize) -> Self {
        let count = times.len();
        let times = Times::of(times);
        Self {
            p50: times.percentile(50),
            p99: times.percentile(99),
            longest: times.longest(),
            count,
            missing,
        }
    }
}
