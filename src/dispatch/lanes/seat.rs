//! A lane, and its place among the others.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::{FixedState, RandomState};

use super::slots::LanePace;
use crate::delivery::Delivery;
use crate::dispatch::lane::{Lane, LaneFigures, LaneLimits};
use crate::dispatch::status::LaneStatus;
use crate::hooks::{HookTable, Most, Tenant};
use crate::ids::{DeliveryId, HookId};
use crate::time::Moment;

/// A lane and its place among the others.
pub struct LaneSeat {
    pub lane: Lane,
    /// None: its hook is not in the table.
    pub tenant: Option<Tenant>,
    pub terms: LaneTerms,
    /// Bodies still in memory.
    pub fresh: HashMap<DeliveryId, Arc<Delivery>, RandomState>,
    pub wake: Option<Moment>,
    pub in_turn: bool,
    /// Its row among the backlogs.
    pub row: usize,
    /// Attempts in flight that are slow.
    pub slow: usize,
    /// Whether the last attempt that ended was slow; none if none has ended.
    last_was_slow: Option<bool>,
}

/// What a lane is bound by.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LaneTerms {
    pub lane: LaneLimits,
    /// What its tenant may have, over all its lanes.
    pub tenant: Most,
}

impl LaneTerms {
    /// What a table sets for a hook.
    pub fn of(table: &HookTable, hook: HookId) -> Self {
        let found = table.by_id(hook);
        let settings = found.map(|hook| Arc::clone(&hook.settings)).unwrap_or_default();
        let lane = LaneLimits {
            order_wait: settings.order_wait,
            window: settings.concurrency,
            interval: settings.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            target: found.map_or(0, |hook| FixedState::default().hash_one(hook.url.as_str())),
        };
        Self { lane, tenant: table.limits_of(found.map(|hook| &hook.tenant)) }
    }
}

impl LaneSeat {
    /// The seat of an empty lane.
    pub fn new(tenant: Option<Tenant>, terms: LaneTerms, row: usize, now: Moment) -> Self {
        Self {
            lane: Lane::new(terms.lane, now),
            tenant,
            terms,
            fresh: HashMap::default(),
            wake: None,
            in_turn: false,
            row,
            slow: 0,
            last_was_slow: None,
        }
    }

    /// The hook's settings have changed.
    pub fn configure(&mut self, terms: LaneTerms, now: Moment) {
        if terms.lane.target != self.terms.lane.target {
            // They know the hook as it was.
            self.drop_bodies();
        }
        self.terms = terms;
        self.lane.configure(terms.lane, now);
    }

    /// How quickly its attempts end.
    pub fn pace(&self) -> LanePace {
        match self.last_was_slow {
            None if self.slow == 0 => LanePace::New,
            Some(false) if self.slow == 0 => LanePace::Proven,
            _ => LanePace::Slow,
        }
    }

    /// An attempt has ended.
    pub fn ended(&mut self, was_slow: bool) {
        self.slow -= usize::from(was_slow);
        self.last_was_slow = Some(was_slow);
    }

    /// Drops the bodies in memory: they are read back when their turn comes.
    pub fn drop_bodies(&mut self) {
        self.fresh.clear();
    }

    /// How it does, for people.
    pub fn status(&self, now: Moment) -> LaneStatus {
        let LaneFigures { pending, oldest, open, .. } = self.lane.figures();
        let (window, probe) = self.lane.gauge();
        LaneStatus {
            waiting: pending,
            oldest,
            next: probe.or(self.wake).map(|at| at.since(now)),
            window,
            in_flight: self.lane.in_flight(),
            slow: self.slow,
            is_open: open,
            last: None,
        }
    }
}
