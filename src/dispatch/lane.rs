//! One hook's lane: order within calls, the window of attempts in flight, holds and pauses.
//!
//! Pure: time goes in, what to start comes out. Events of one call (a chain) go one at a time in
//! order of arrival; chains go in parallel, the one whose head waits longest first.

mod chains;
mod healthy;

use std::time::Duration;

pub use self::chains::{Position, Start};

use self::chains::Chains;
use self::healthy::HealthyTime;
use super::backlogs::LaneFigures;
use crate::ids::Chain;
use crate::time::Moment;

/// The window's first size.
const WINDOW: usize = 2;

/// What a hook sets of its lane.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LaneLimits {
    /// An event that keeps failing holds its call's later events at most this long.
    pub order_wait: Duration,
    /// Attempts in flight, at most.
    pub window: usize,
    /// Between the starts of two attempts, at least.
    pub interval: Option<Duration>,
}

/// What an attempt means for its lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conclusion {
    /// When the delivery is tried again; none: it is delivered or given up.
    pub again: Option<Moment>,
    /// The delivery was tried and failed. False if the router could not try it: that does not count against the
    /// receiver.
    pub failed: bool,
    /// How the window changes.
    pub window: Resize,
    /// The receiver asked that nothing starts before this time.
    pub hold: Option<Moment>,
    /// Nothing starts until the lane is resumed.
    pub pause: bool,
}

/// A change of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resize {
    Keep,
    Double,
    Halve,
}

impl Conclusion {
    /// Delivered or given up: the next of its call may go.
    pub const DONE: Self =
        Self { again: None, failed: false, window: Resize::Keep, hold: None, pause: false };

    /// It failed, and is tried again at `due`.
    pub fn failed(due: Moment) -> Self {
        Self { again: Some(due), failed: true, ..Self::DONE }
    }

    /// It could not be tried, and is at `due`.
    pub fn postponed(due: Moment) -> Self {
        Self { again: Some(due), ..Self::DONE }
    }
}

/// The queue of one hook.
#[derive(Debug)]
pub struct Lane {
    limits: LaneLimits,
    chains: Chains,
    in_flight: usize,
    window: usize,
    paused: bool,
    held_until: Option<Moment>,
    healthy: HealthyTime,
}

impl Lane {
    /// An empty lane.
    pub fn new(limits: LaneLimits, now: Moment) -> Self {
        Self {
            limits,
            chains: Chains::default(),
            in_flight: 0,
            window: WINDOW.min(limits.window),
            paused: false,
            held_until: None,
            healthy: HealthyTime::new(now),
        }
    }

    /// The hook's settings have changed.
    pub fn configure(&mut self, limits: LaneLimits) {
        self.limits = limits;
        self.window = self.window.min(limits.window);
    }

    /// Takes in a delivery that was never tried, or whose retry is due now.
    pub fn add(&mut self, position: Position, chain: Chain) {
        self.chains.add(position, chain);
    }

    /// Takes in a delivery that failed before this start.
    pub fn add_failed(&mut self, position: Position, chain: Chain, due: Moment, now: Moment) {
        self.chains.add_failed(position, chain, due, self.healthy.at(now) + self.limits.order_wait);
    }

    /// How many deliveries are not done.
    pub fn pending(&self) -> usize {
        self.chains.pending()
    }

    /// The figures of this lane.
    pub fn figures(&self) -> LaneFigures {
        LaneFigures { pending: self.pending(), oldest: self.chains.oldest(), paused: self.paused }
    }

    /// Whether the lane is as a new one would be.
    pub fn is_idle(&self) -> bool {
        self.pending() == 0 && !self.paused && self.held_until.is_none()
    }

    /// Whether something could start at `now`.
    pub fn can_start(&self, now: Moment) -> bool {
        self.in_flight < self.window && self.chains.has_ready() && self.is_open(now)
    }

    fn is_open(&self, now: Moment) -> bool {
        !self.paused && self.held_until.is_none_or(|until| until <= now)
    }

    /// The next delivery to try, now in flight.
    pub fn start(&mut self, now: Moment) -> Option<Start> {
        if !self.can_start(now) {
            return None;
        }
        let start = self.chains.start()?;
        self.in_flight += 1;
        if let Some(interval) = self.limits.interval {
            self.hold(now + interval, now);
        }
        Some(start)
    }

    /// Ends the attempt of a delivery in flight. True if the lane is paused from here on and was not
    /// before.
    pub fn settle(&mut self, start: Start, conclusion: Conclusion, now: Moment) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.resize(conclusion.window);
        if let Some(until) = conclusion.hold {
            self.hold(until, now);
        }
        let pauses = conclusion.pause && self.pause(now);
        match conclusion.again {
            None => self.chains.finish(start),
            Some(due) => {
                let (healthy, order_wait) = (self.healthy.at(now), self.limits.order_wait);
                self.chains.fail(start, due, conclusion.failed, healthy, order_wait);
            }
        }
        pauses
    }

    fn resize(&mut self, window: Resize) {
        self.window = match window {
            Resize::Keep => self.window,
            Resize::Double => (self.window * 2).min(self.limits.window),
            Resize::Halve => (self.window / 2).max(1),
        };
    }

    /// Starts nothing before `until`.
    fn hold(&mut self, until: Moment, now: Moment) {
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
        self.healthy.set(false, now);
    }

    /// Starts nothing until resumed. False if it was paused already.
    pub fn pause(&mut self, now: Moment) -> bool {
        self.healthy.set(false, now);
        !std::mem::replace(&mut self.paused, true)
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Ends a pause and any hold: everything is due at once, in order. False if it was not paused;
    /// then nothing changes.
    pub fn resume(&mut self, now: Moment) -> bool {
        if !std::mem::replace(&mut self.paused, false) {
            return false;
        }
        self.held_until = None;
        self.healthy.set(true, now);
        self.chains.revive_all();
        true
    }

    /// Applies the time: a hold ends, due retries become ready, later events pass one that has held its call
    /// for `order_wait`.
    pub fn tick(&mut self, now: Moment) {
        if let Some(until) = self.held_until
            && until <= now
        {
            self.held_until = None;
            self.healthy.set(!self.paused, until);
        }
        self.chains.tick(now, self.healthy.at(now));
    }

    /// When [`Self::tick`] has something to do next.
    pub fn next_wake(&self, now: Moment) -> Option<Moment> {
        let pass = self.chains.next_pass().and_then(|end| self.healthy.when(end, now));
        [self.chains.next_due(), pass, self.held_until].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
