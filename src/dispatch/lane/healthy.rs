//! A clock that runs only while a lane may deliver: not while it is held or paused.

use std::time::Duration;

use crate::time::Moment;

/// Time during which the lane could have delivered.
#[derive(Clone, Copy, Debug)]
pub struct HealthyTime {
    total: Duration,
    since: Option<Moment>,
}

impl HealthyTime {
    /// A clock that runs from `now` on.
    pub fn new(now: Moment) -> Self {
        Self { total: Duration::ZERO, since: Some(now) }
    }

    /// What it shows at `now`.
    pub fn at(&self, now: Moment) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Runs from `now` on, or stands still.
    pub fn set(&mut self, healthy: bool, now: Moment) {
        if healthy != self.since.is_some() {
            self.total = self.at(now);
            self.since = healthy.then_some(now);
        }
    }

    /// When it shows `end`, `now` if it does already; none if it stands still before that.
    pub fn when(&self, end: Duration, now: Moment) -> Option<Moment> {
        let left = end.saturating_sub(self.at(now));
        (left.is_zero() || self.since.is_some()).then(|| now + left)
    }
}
