//! How each hook's lane does: what waits, and what its receiver said last. For people.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::delivery::{Attempt, Fault};
use crate::ids::{DeliveryId, HookId};
use crate::time::UnixMillis;

/// Receivers beyond this number are forgotten, those that were silent longest first.
const RECEIVERS: usize = 100_000;

/// How a hook's lane does.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LaneStatus {
    /// Deliveries that wait or are in flight.
    pub waiting: usize,
    /// The one of them that came first.
    pub oldest: Option<DeliveryId>,
    /// From now until something is tried again, if it waits for that.
    pub next: Option<Duration>,
    /// Attempts that may be in flight.
    pub window: usize,
    /// Attempts that are in flight.
    pub in_flight: usize,
    /// Of these, so many have lasted for over a second.
    pub slow: usize,
    /// The receiver has failed so often in a row that the breaker is open.
    pub is_open: bool,
    pub last: Option<LastAttempt>,
}

/// What a hook's receiver said last.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LastAttempt {
    /// When the last attempt began.
    pub at: UnixMillis,
    /// Its status, or the fault's name.
    pub outcome: Result<u16, &'static str>,
    /// Since when every attempt has failed; none if the last one was delivered.
    pub failing_since: Option<UnixMillis>,
}

/// What every receiver said last, since the start.
#[derive(Debug, Default)]
pub struct LastAttempts(HashMap<HookId, LastAttempt, RandomState>);

impl LastAttempts {
    /// Notes what an attempt came to.
    pub fn note(&mut self, hook: HookId, attempt: &Attempt) {
        let outcome = attempt.status().ok_or(attempt.fault().unwrap_or("none"));
        let is_delivered = outcome.is_ok_and(|status| (200..300).contains(&status));
        let before = self.0.get(&hook).and_then(|receiver| receiver.failing_since);
        let failing_since = match attempt.outcome {
            // The router ended it, or lacked something itself: the receiver is as it was.
            Err(Fault::CutOff | Fault::Local) => before,
            _ if is_delivered => None,
            _ => before.or(Some(attempt.at)),
        };
        if self.0.len() >= RECEIVERS && !self.0.contains_key(&hook) {
            self.forget_silent();
        }
        self.0.insert(hook, LastAttempt { at: attempt.at, outcome, failing_since });
    }

    /// What a hook's receiver said last.
    pub fn of(&self, hook: HookId) -> Option<LastAttempt> {
        self.0.get(&hook).copied()
    }

    /// Keeps the half that was tried last.
    fn forget_silent(&mut self) {
        let mut times: Vec<_> = self.0.values().map(|receiver| receiver.at).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.0.retain(|_, receiver| receiver.at > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Answer;

    fn attempt(at: i64, outcome: Result<u16, Fault>) -> Attempt {
        let outcome = outcome.map(|status| Answer { status, retry_after: None });
        let latency = Duration::ZERO;
        Attempt { number: 1, at: UnixMillis(at), url: "https://a.example".into(), latency, outcome }
    }

    #[test]
    fn a_receiver_fails_since_its_first_failure_after_a_success() {
        let (mut receivers, hook) = (LastAttempts::default(), HookId(1));
        let steps = [
            (1, Ok(200), None),
            (2, Ok(503), Some(2)),
            (3, Err(Fault::Refused), Some(2)),
            (4, Ok(204), None),
            (5, Err(Fault::Local), None),
            (6, Err(Fault::Timeout), Some(6)),
            (7, Err(Fault::CutOff), Some(6)),
        ];
        for (at, outcome, since) in steps {
            receivers.note(hook, &attempt(at, outcome));
            let receiver = receivers.of(hook).expect("tried");
            assert_eq!((receiver.at, receiver.failing_since), (UnixMillis(at), since.map(UnixMillis)));
            assert_eq!(receiver.outcome, outcome.map_err(Fault::as_str));
        }
        assert_eq!(receivers.of(HookId(2)), None);
    }

    #[test]
    fn receivers_that_were_silent_longest_are_forgotten() {
        let mut receivers = LastAttempts::default();
        for hook in 0..=RECEIVERS as i64 {
            receivers.note(HookId(hook), &attempt(hook, Ok(200)));
        }
        assert!(receivers.0.len() <= RECEIVERS);
        assert_eq!(receivers.of(HookId(0)), None);
        assert!(receivers.of(HookId(RECEIVERS as i64)).is_some());
    }
}
