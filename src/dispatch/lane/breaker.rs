//! A lane's circuit breaker: while the receiver fails, one probe at a time finds out when it is back.
//!
//! Faults of a single delivery say nothing about the others: they open the breaker for people to see, but hold
//! nothing back.

use std::time::Duration;

use super::Seen;
use crate::dispatch::backoff;
use crate::ids::DeliveryId;
use crate::time::Moment;

/// So many faults in a row open the breaker.
const FAULTS: u32 = 5;

/// The wait for the first probe; it doubles with each probe that fails.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait for a probe.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How the lane changes with an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shift {
    /// From here on only probes start.
    Probing,
    /// Everything may start again.
    Recovered,
}

/// Counts faults in a row, and says when the next probe may start.
#[derive(Debug, Default)]
pub struct Breaker {
    faults: u32,
    /// The delivery that all of these faults are of; none if they are of several.
    only: Option<DeliveryId>,
    /// Only while probes alone may start.
    probes: Option<Probes>,
}

#[derive(Clone, Copy, Debug)]
struct Probes {
    wait: Duration,
    next: Moment,
    /// The last delivery that was probed with.
    last: Option<DeliveryId>,
}

impl Breaker {
    /// Whether the receiver has failed so often that people should know.
    pub fn is_open(&self) -> bool {
        self.faults >= FAULTS
    }

    /// Whether only probes may start.
    pub fn is_probing(&self) -> bool {
        self.probes.is_some()
    }

    /// When the next probe may start; none while more than probes may.
    pub fn next_probe(&self) -> Option<Moment> {
        self.probes.map(|probes| probes.next)
    }

    /// The delivery of the last probe: the next is one of the call behind it.
    pub fn last_probe(&self) -> Option<DeliveryId> {
        self.probes.and_then(|probes| probes.last)
    }

    /// A delivery starts.
    pub fn start(&mut self, delivery: DeliveryId) {
        if let Some(probes) = &mut self.probes {
            probes.last = Some(delivery);
        }
    }

    /// Learns what an attempt showed. `spread`: -100 to 100, how far the next probe is moved within its ±20 %.
    pub fn note(&mut self, delivery: DeliveryId, seen: Seen, spread: i8, now: Moment) -> Option<Shift> {
        match seen {
            Seen::Nothing => None,
            Seen::Elsewhere { .. } => {
                self.missed(delivery, spread, now);
                None
            }
            Seen::Delivery | Seen::Answer => self.reset().then_some(Shift::Recovered),
            Seen::Fault => self.fault(delivery, spread, now),
        }
    }

    /// A probe went to another URL: the next one waits as long as this one did.
    fn missed(&mut self, delivery: DeliveryId, spread: i8, now: Moment) {
        if let Some(probes) = self.probes.as_mut().filter(|probes| probes.last == Some(delivery)) {
            probes.next = now + spread_by(probes.wait, spread);
        }
    }

    fn fault(&mut self, delivery: DeliveryId, spread: i8, now: Moment) -> Option<Shift> {
        self.only = (self.faults == 0 || self.only == Some(delivery)).then_some(delivery);
        self.faults = self.faults.saturating_add(1);
        let is_the_receiver = self.is_open() && self.only.is_none();
        match &mut self.probes {
            Some(probes) if probes.last == Some(delivery) => {
                probes.wait = (probes.wait * 2).min(LONGEST_WAIT);
                probes.next = now + spread_by(probes.wait, spread);
                None
            }
            // One that was in flight when the breaker opened.
            Some(_) => None,
            None if is_the_receiver => {
                let next = now + spread_by(FIRST_WAIT, spread);
                self.probes = Some(Probes { wait: FIRST_WAIT, next, last: None });
                Some(Shift::Probing)
            }
            None => None,
        }
    }

    /// A probe could not be tried: none starts before `until`.
    pub fn postpone(&mut self, until: Moment) {
        if let Some(probes) = &mut self.probes {
            probes.next = probes.next.max(until);
        }
    }

    /// Forgets all faults. True if only probes could start before.
    pub fn reset(&mut self) -> bool {
        std::mem::take(self).is_probing()
    }
}

/// Receivers that fail together are not probed together.
fn spread_by(wait: Duration, spread: i8) -> Duration {
    backoff::spread(wait, (f64::from(spread) + 100.0) / 200.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::default() + Duration::from_millis(ms)
    }

    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        let shifts = (1..=5).map(|id| breaker.note(DeliveryId(id), Seen::Fault, 0, at(0)));
        assert_eq!(shifts.collect::<Vec<_>>(), [None, None, None, None, Some(Shift::Probing)]);
        breaker
    }

    #[test]
    fn five_faults_in_a_row_open_and_any_answer_closes() {
        for seen in [Seen::Delivery, Seen::Answer] {
            let mut breaker = open();
            assert!(breaker.is_open() && breaker.is_probing());
            assert_eq!(breaker.note(DeliveryId(9), seen, 0, at(0)), Some(Shift::Recovered));
            assert!(!breaker.is_open() && !breaker.is_probing());
            for id in 1..=4 {
                breaker.note(DeliveryId(id), Seen::Fault, 0, at(0));
            }
            assert_eq!(breaker.note(DeliveryId(9), seen, 0, at(0)), None);
            breaker.note(DeliveryId(5), Seen::Fault, 0, at(0));
            assert!(!breaker.is_open());
        }
    }

    #[test]
    fn probes_come_after_a_second_then_ever_later_up_to_half_a_minute() {
        let mut breaker = open();
        let mut waits = Vec::new();
        for id in 1..=7 {
            let next = breaker.next_probe().expect("a probe");
            breaker.start(DeliveryId(id));
            waits.push(next.since(at(0)).as_millis());
            assert_eq!(breaker.note(DeliveryId(id), Seen::Fault, 0, at(0)), None);
            // One that was in flight since before changes nothing.
            let next = breaker.next_probe();
            breaker.note(DeliveryId(99), Seen::Fault, 0, at(5));
            assert_eq!(breaker.next_probe(), next);
        }
        assert_eq!(waits, [1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        breaker.postpone(at(40_000));
        assert_eq!(breaker.next_probe(), Some(at(40_000)));
    }

    #[test]
    fn the_wait_is_spread_by_a_fifth() {
        let wait = |spread| {
            let mut breaker = Breaker::default();
            for id in 1..=5 {
                breaker.note(DeliveryId(id), Seen::Fault, spread, at(0));
            }
            breaker.next_probe().map(|next| next.since(at(0)).as_millis())
        };
        assert_eq!(
            [wait(-100), wait(100), wait(127), wait(-128)],
            [Some(800), Some(1200), Some(1200), Some(800)]
        );
    }

    #[test]
    fn one_poisoned_delivery_holds_nothing_back() {
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            assert_eq!(breaker.note(DeliveryId(1), Seen::Fault, 0, at(0)), None);
        }
        assert!(breaker.is_open() && !breaker.is_probing());
        // A second one shows that it is the receiver.
        assert_eq!(breaker.note(DeliveryId(2), Seen::Fault, 0, at(0)), Some(Shift::Probing));
    }

    #[test]
    fn a_probe_that_went_elsewhere_shows_nothing_and_the_next_one_waits() {
        let mut breaker = open();
        breaker.start(DeliveryId(1));
        for delivered in [true, false] {
            assert_eq!(breaker.note(DeliveryId(1), Seen::Elsewhere { delivered }, 0, at(5000)), None);
            assert_eq!(breaker.next_probe(), Some(at(6000)));
        }
        breaker.note(DeliveryId(2), Seen::Elsewhere { delivered: false }, 0, at(5500));
        assert_eq!(breaker.next_probe(), Some(at(6000)));
    }

    #[test]
    fn what_could_not_be_tried_shows_nothing() {
        let mut breaker = open();
        assert_eq!(breaker.note(DeliveryId(1), Seen::Nothing, 0, at(0)), None);
        assert!(breaker.is_probing());
        assert!(breaker.reset() && !breaker.reset());
    }
}
