//! A lane, and its place among the others.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;

use super::bodies::KeptBodies;
use super::slots::LanePace;
use super::tenants::RowPlace;
use super::turns::LaneTurn;
use crate::dispatch::lane::{Lane, LaneFigures, LaneLimits, Seen, Shift, Start};
use crate::dispatch::status::LaneStatus;
use crate::hooks::HookTable;
use crate::ids::HookId;
use crate::time::Moment;

/// The log says at most this often that a breaker opened.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A lane and its place among the others.
pub struct LaneSeat {
    pub lane: Lane,
    pub limits: LaneLimits,
    /// Deliveries whose bodies are still in memory.
    pub bodies: KeptBodies,
    pub wake: Option<Moment>,
    /// Where it waits to start something; none: it may start nothing.
    pub turn: Option<LaneTurn>,
    /// Its tenant, and its row there.
    pub place: RowPlace,
    /// Attempts in flight that are slow.
    pub slow: usize,
    /// It got something since it was last looked at.
    pub is_used: bool,
    /// When the log last said that its breaker opened; and whether it is to say when it closes.
    told_open: Option<Moment>,
    tells_close: bool,
    /// Its pace while none of its attempts is slow.
    settled_pace: LanePace,
}

impl LaneSeat {
    /// The seat of an empty lane.
    pub fn new(limits: LaneLimits, place: RowPlace, now: Moment) -> Self {
        Self {
            lane: Lane::new(limits, now),
            limits,
            bodies: KeptBodies::default(),
            wake: None,
            turn: None,
            place,
            slow: 0,
            is_used: true,
            told_open: None,
            tells_close: false,
            settled_pace: LanePace::New,
        }
    }

    /// The hook's settings have changed.
    pub fn configure(&mut self, limits: LaneLimits, now: Moment) {
        if limits.target != self.limits.target {
            // They know the hook as it was.
            self.bodies.clear();
            self.settled_pace = LanePace::New;
        }
        self.limits = limits;
        self.lane.configure(limits, now);
    }

    /// Whether it has nothing, and waits for nothing.
    pub fn is_idle(&self) -> bool {
        self.lane.is_idle() && self.turn.is_none() && self.wake.is_none()
    }

    /// What is expected of its next attempt.
    pub fn pace(&self) -> LanePace {
        if self.slow > 0 { LanePace::Suspect } else { self.settled_pace }
    }

    /// An attempt has ended.
    pub fn ended(&mut self, start: Start, was_slow: bool, seen: Seen) {
        self.slow -= usize::from(was_slow);
        if start.target != self.limits.target {
            return;
        }
        self.settled_pace = match (was_slow, seen) {
            (false, Seen::Nothing) => self.settled_pace,
            (false, _) => LanePace::Proven,
            // Slow, but it answers: it is no longer known to be quick.
            (true, Seen::Delivery | Seen::Answer) => LanePace::New,
            (true, _) => LanePace::Suspect,
        };
    }

    /// What the log is to say of its breaker after an attempt, with which it changed or not: that it opened, at most once
    /// a minute, later if it is still open then; and that it closed if it said that.
    pub fn tells(&mut self, shift: Option<Shift>, now: Moment) -> Option<Shift> {
        if shift == Some(Shift::Recovered) {
            return shift.filter(|_| std::mem::take(&mut self.tells_close));
        }
        let is_due = self.told_open.is_none_or(|told| now.since(told) >= TELL_AGAIN);
        let tells = self.lane.is_probing() && !self.tells_close && is_due;
        tells.then(|| {
            (self.told_open, self.tells_close) = (Some(now), true);
            Shift::Probing
        })
    }

    /// How it does, for people. `closed`: its tenant starts nothing before that.
    pub fn status(&self, closed: Option<Moment>, now: Moment) -> LaneStatus {
        let LaneFigures { pending, oldest, open, .. } = self.lane.figures();
        LaneStatus {
            waiting: pending,
            oldest,
            next: self.lane.next_start(closed, now).map(|at| at.since(now)),
            window: self.lane.window(),
            in_flight: self.lane.in_flight(),
            slow: self.slow,
            is_open: open,
            last: None,
        }
    }
}

/// What a table sets for the lane of a hook.
pub fn limits_of(table: &HookTable, hook: HookId) -> LaneLimits {
    let found = table.by_id(hook);
    let settings = found.map(|hook| Arc::clone(&hook.settings)).unwrap_or_default();
    LaneLimits {
        order_wait: settings.order_wait,
        max_age: settings.retry.max_age,
        window: settings.concurrency,
        interval: settings.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        target: found.map_or(0, |hook| FixedState::default().hash_one(hook.url.as_str())),
    }
}
