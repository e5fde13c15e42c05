//! One hook's lane: order within calls, the window of attempts in flight, the breaker, holds and pauses.
//!
//! Pure: time goes in, what to start comes out. Events of one call (a chain) go one at a time in
//! order of arrival; chains go in parallel, the one whose head waits longest first.

mod allowance;
mod breaker;
mod chains;
mod conclusion;
mod figures;
mod healthy;

use std::time::Duration;

pub use self::allowance::FailureAllowance;
pub use self::breaker::Shift;
pub use self::chains::{Load, Position, Start};
pub use self::conclusion::{Conclusion, Resize, Seen};
pub use self::figures::LaneFigures;

use self::breaker::Breaker;
use self::chains::Chains;
use self::healthy::HealthyTime;
use crate::ids::{Chain, DeliveryId};
use crate::time::Moment;

/// The window's first size.
const WINDOW: usize = 2;

/// With one failed probe, at most this many deliveries are given up.
const EXPIRED: usize = 256;

/// What a hook sets of its lane.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LaneLimits {
    /// An event that keeps failing holds its call's later events at most this long.
    pub order_wait: Duration,
    /// After a failed attempt, deliveries older than this are given up.
    pub max_age: Duration,
    /// Attempts in flight, at most.
    pub window: usize,
    /// Between the starts of two attempts, at least.
    pub interval: Option<Duration>,
    /// Changes with the hook's URL: what failed at another one may go at once.
    pub target: u64,
}

/// What the end of an attempt changed in its lane.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// The lane is paused from here on and was not before.
    pub pauses: bool,
    /// How its breaker changed.
    pub shift: Option<Shift>,
    /// Deliveries that were too old when a probe failed: the lane holds them no longer.
    pub expired: Vec<DeliveryId>,
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
    breaker: Breaker,
    failures: FailureAllowance,
    /// Runs while everything may start.
    healthy: HealthyTime,
    /// Runs while the lane is not paused: deliveries age by it.
    unpaused: HealthyTime,
    /// The youngest delivery that came.
    last: Option<DeliveryId>,
    /// Up to this one, deliveries go where the hook leads, not where their calls were bound to go: they waited for
    /// a receiver that failed until the hook got another URL.
    moved_up_to: Option<DeliveryId>,
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
            breaker: Breaker::default(),
            failures: FailureAllowance::of_lane(),
            healthy: HealthyTime::new(now),
            unpaused: HealthyTime::new(now),
            last: None,
            moved_up_to: None,
        }
    }

    /// The hook's settings have changed. With another URL the lane begins anew, and everything is due at once.
    pub fn configure(&mut self, limits: LaneLimits, now: Moment) {
        let is_elsewhere = limits.target != self.limits.target;
        self.limits = limits;
        self.window = self.window.min(limits.window);
        if is_elsewhere {
            // What waits for a receiver that fails is not tried there first.
            self.moved_up_to = self.last.filter(|_| self.breaker.is_open()).or(self.moved_up_to);
            self.window = WINDOW.min(limits.window);
            self.held_until = None;
            self.failures = FailureAllowance::of_lane();
            self.breaker.reset();
            self.chains.revive_all();
            self.note_health(now);
        }
    }

    /// Takes in a delivery that was never tried, or whose retry is due now.
    pub fn add(&mut self, position: Position, chain: Chain, load: Load) {
        self.last = self.last.max(Some(position.id));
        self.chains.add(position, chain, load);
    }

    /// Takes in a delivery that failed before this start.
    pub fn add_failed(&mut self, position: Position, chain: Chain, load: Load, due: Moment, now: Moment) {
        self.chains.add_failed(position, chain, load, due, self.healthy.at(now) + self.limits.order_wait);
    }

    /// The load of a delivery that is so old now.
    pub fn load(&self, bytes: u32, age: Duration, now: Moment) -> Load {
        Load { bytes, since: self.own_time(now).saturating_sub_unsigned(seconds(age)) }
    }

    /// The lane's own time, in seconds: it stands still while the lane is paused.
    fn own_time(&self, now: Moment) -> i32 {
        i32::try_from(self.unpaused.at(now).as_secs()).unwrap_or(i32::MAX)
    }

    /// Whether only probes may start.
    pub fn is_probing(&self) -> bool {
        self.breaker.is_probing()
    }

    /// How many deliveries are not done.
    pub fn pending(&self) -> usize {
        self.chains.pending()
    }

    /// Takes out the oldest delivery that is not in flight.
    pub fn evict(&mut self) -> Option<DeliveryId> {
        self.evict_until(DeliveryId(i64::MAX))
    }

    /// The same, unless it came after `last`.
    pub fn evict_until(&mut self, last: DeliveryId) -> Option<DeliveryId> {
        self.chains.evict(last)
    }

    /// The figures of this lane.
    pub fn figures(&self) -> LaneFigures {
        LaneFigures {
            pending: self.pending(),
            bytes: self.chains.bytes(),
            oldest: self.chains.oldest(),
            paused: self.paused,
            open: self.breaker.is_open(),
        }
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many attempts may be in flight.
    pub fn window(&self) -> usize {
        self.window
    }

    /// When something is tried next, as far as time decides: the last of all that holds it. None: at once, or nothing
    /// waits for a time. `closed`: its tenant starts nothing before that.
    pub fn next_start(&self, closed: Option<Moment>, now: Moment) -> Option<Moment> {
        let due = if self.chains.has_ready() { Some(now) } else { self.chains.next_due() };
        self.next_try(due?, closed, now).filter(|next| *next > now)
    }

    /// When a delivery that is due then is tried, as far as time decides; while the breaker probes, when the next one
    /// is. None: not before the lane is resumed.
    pub fn next_try(&self, due: Moment, closed: Option<Moment>, now: Moment) -> Option<Moment> {
        let due = if self.breaker.is_probing() { now } else { due };
        let next = [Some(due), closed, self.closed_until(now)].into_iter().max().flatten();
        next.filter(|_| !self.paused)
    }

    /// Whether the lane is as a new one would be.
    pub fn is_idle(&self) -> bool {
        self.pending() == 0 && !self.paused && self.held_until.is_none()
    }

    /// Whether something could start at `now`.
    pub fn can_start(&self, now: Moment) -> bool {
        self.in_flight < self.window
            && self.chains.has_ready()
            && self.closed_until(now).is_none()
            && !self.paused
    }

    /// Whether it may start nothing at `now`, whatever waits.
    pub fn is_held(&self, now: Moment) -> bool {
        self.paused || self.breaker.is_probing() || self.closed_until(now).is_some()
    }

    /// Nothing starts before this time; none if something may start at `now`, as far as time decides.
    fn closed_until(&self, now: Moment) -> Option<Moment> {
        let probe = self.breaker.next_probe().filter(|probe| self.in_flight > 0 || *probe > now);
        let held = self.held_until.filter(|until| *until > now);
        [probe, held, self.failures.closed_until(now)].into_iter().flatten().max()
    }

    /// The next delivery to try, now in flight.
    pub fn start(&mut self, now: Moment) -> Option<Start> {
        if !self.can_start(now) {
            return None;
        }
        // Probes go from call to call: one poisoned event does not keep the breaker open.
        let start = self.chains.start_behind(self.breaker.last_probe())?;
        let is_moved = Some(start.id) <= self.moved_up_to;
        let start = Start { is_moved, target: self.limits.target, ..start };
        self.breaker.start(start.id);
        self.in_flight += 1;
        if let Some(interval) = self.limits.interval {
            self.hold(now + interval, now);
        }
        Some(start)
    }

    /// Ends the attempt of a delivery in flight.
    pub fn settle(&mut self, start: Start, conclusion: Conclusion, now: Moment) -> Settled {
        self.in_flight = self.in_flight.saturating_sub(1);
        let conclusion = self.at_this_url(start, conclusion, now);
        self.resize(conclusion.window);
        if let Some(until) = conclusion.hold {
            self.hold(until, now);
        }
        let pauses = conclusion.pause && self.pause(now);
        let shift = self.learn(start, conclusion, now);
        match conclusion.again {
            None => self.chains.finish(start),
            Some(due) => {
                let (healthy, order_wait) = (self.healthy.at(now), self.limits.order_wait);
                self.chains.fail(start, due, conclusion.seen.is_failure(), healthy, order_wait);
            }
        }
        let mut expired = Vec::new();
        if self.breaker.is_probing() {
            // The breaker alone says when something starts.
            self.chains.revive_all();
            if conclusion.seen == Seen::Fault && self.breaker.last_probe() == Some(start.id) {
                expired = self.expire(start.id, now);
            }
        }
        Settled { pauses, shift, expired }
    }

    /// A probe has failed, and with it what was too old by then: one probe after the other would never get through it.
    /// What becomes of the probe's own delivery is decided by its verdict.
    fn expire(&mut self, probe: DeliveryId, now: Moment) -> Vec<DeliveryId> {
        let before = self.own_time(now).saturating_sub_unsigned(seconds(self.limits.max_age));
        self.chains.expire(before, probe, EXPIRED)
    }

    /// What began before the hook got another URL means nothing here, and may go there at once.
    fn at_this_url(&self, start: Start, conclusion: Conclusion, now: Moment) -> Conclusion {
        if start.target == self.limits.target {
            return conclusion;
        }
        Conclusion { again: conclusion.again.map(|_| now), ..conclusion.elsewhere() }
    }

    /// What an attempt showed of the receiver: for the breaker, and for how much may fail.
    fn learn(&mut self, start: Start, conclusion: Conclusion, now: Moment) -> Option<Shift> {
        let Conclusion { seen, spread, again, .. } = conclusion;
        self.failures.note(seen, now);
        if seen == Seen::Nothing {
            again.into_iter().for_each(|again| self.breaker.postpone(again));
        }
        let shift = self.breaker.note(start.id, seen, spread, now);
        if shift == Some(Shift::Recovered) {
            self.chains.revive_all();
        }
        self.note_health(now);
        shift
    }

    /// Time counts as healthy only while everything may start.
    fn note_health(&mut self, now: Moment) {
        let healthy = !self.paused && self.held_until.is_none() && !self.breaker.is_probing();
        self.healthy.set(healthy, now);
        self.unpaused.set(!self.paused, now);
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
        self.note_health(now);
    }

    /// Starts nothing until resumed. False if it was paused already.
    pub fn pause(&mut self, now: Moment) -> bool {
        let pauses = !std::mem::replace(&mut self.paused, true);
        self.note_health(now);
        pauses
    }

    /// Ends a pause and any hold: everything is due at once, in order. False if it was not paused;
    /// then nothing changes.
    pub fn resume(&mut self, now: Moment) -> bool {
        if !std::mem::replace(&mut self.paused, false) {
            return false;
        }
        self.held_until = None;
        self.breaker.reset();
        self.note_health(now);
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
            self.note_health(until);
        }
        self.chains.tick(now, self.healthy.at(now));
    }

    /// When [`Self::tick`] has something to do next.
    pub fn next_wake(&self, now: Moment) -> Option<Moment> {
        let pass = self.chains.next_pass().and_then(|end| self.healthy.when(end, now));
        // A probe in flight ends by itself.
        let waits = self.chains.has_ready() && !(self.breaker.is_probing() && self.in_flight > 0);
        let open = self.closed_until(now).filter(|_| waits);
        [self.chains.next_due(), pass, self.held_until, open].into_iter().flatten().min()
    }
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
