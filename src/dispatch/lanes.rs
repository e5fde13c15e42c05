//! All lanes: which of them may start something, and when one has something to do next. Pure.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::backlogs::{Backlogs, LaneFigures, LargestTenants};
use super::backoff;
use super::lane::{Conclusion, Lane, LaneLimits, Position, Start};
use super::status::LaneStatus;
use crate::delivery::Delivery;
use crate::hooks::{HookTable, Retry};
use crate::ids::{DeliveryId, HookId};
use crate::outbox::Ready;
use crate::time::{Moment, UnixMillis};

/// Of a lane, at most this many bodies are kept in memory.
const FRESH_PER_LANE: usize = 256;

/// Idle lanes beyond this number are forgotten.
const IDLE_LANES: usize = 10_000;

/// The lanes of all hooks.
#[derive(Default)]
pub struct Lanes {
    slots: HashMap<HookId, Slot, RandomState>,
    /// When lanes have something to do next.
    wakes: BTreeSet<(Moment, HookId)>,
    /// Lanes that may have something to start, in turn.
    turn: VecDeque<HookId>,
    backlogs: Backlogs,
}

/// A lane and its place among the others.
struct Slot {
    lane: Lane,
    /// Bodies still in memory.
    fresh: HashMap<DeliveryId, Arc<Delivery>, RandomState>,
    wake: Option<Moment>,
    in_turn: bool,
    /// Its row among the backlogs.
    row: usize,
}

impl Slot {
    /// Drops the bodies in memory: they are read back when their turn comes.
    fn drop_bodies(&mut self) {
        self.fresh.clear();
    }
}

impl Lanes {
    /// Takes in a delivery; `unix` is `now` on the wall clock.
    pub fn add(&mut self, ready: Ready, table: &HookTable, now: Moment, unix: UnixMillis) {
        let Ready { id, hook, chain, sequence, due, fresh } = ready;
        let position = Position { sequence, id };
        let slot = self.slot(hook, table, now);
        let retry = || table.by_id(hook).map_or_else(Retry::default, |hook| hook.settings.retry);
        match due.map(|due| backoff::left(&retry(), due, unix)) {
            Some(wait) if !wait.is_zero() => slot.lane.add_failed(position, chain, now + wait, now),
            _ => slot.lane.add(position, chain),
        }
        // Deliveries of a paused hook go to the URL the hook has when it is resumed, so they are loaded then.
        let soon = !slot.lane.is_paused() && slot.fresh.len() < FRESH_PER_LANE;
        if let Some(fresh) = fresh
            && soon
        {
            slot.fresh.insert(id, fresh);
        }
        self.touch(hook, now);
    }

    /// Starts nothing for a hook until it is resumed.
    pub fn pause(&mut self, hook: HookId, table: &HookTable, now: Moment) {
        let slot = self.slot(hook, table, now);
        slot.lane.pause(now);
        slot.drop_bodies();
        self.touch(hook, now);
    }

    /// Ends a pause: everything of that lane is due at once. False if it was not paused.
    pub fn resume(&mut self, hook: HookId, now: Moment) -> bool {
        let resumed = self.slots.get_mut(&hook).is_some_and(|slot| slot.lane.resume(now));
        self.touch(hook, now);
        resumed
    }

    /// Puts the settings of a new table in force.
    pub fn configure(&mut self, table: &HookTable, now: Moment) {
        self.slots.iter_mut().for_each(|(hook, slot)| slot.lane.configure(limits(table, *hook)));
        let hooks: Vec<_> = self.slots.keys().copied().collect();
        hooks.into_iter().for_each(|hook| self.touch(hook, now));
    }

    /// Puts the settings that a new table has for one hook in force.
    pub fn configure_one(&mut self, hook: HookId, table: &HookTable, now: Moment) {
        if let Some(slot) = self.slots.get_mut(&hook) {
            slot.lane.configure(limits(table, hook));
            self.touch(hook, now);
        }
    }

    /// Lets time pass for the lanes that have something to do.
    pub fn tick(&mut self, now: Moment) {
        while let Some((_, hook)) = self.wakes.first().copied().filter(|(moment, _)| *moment <= now) {
            self.wakes.pop_first();
            if let Some(slot) = self.slots.get_mut(&hook) {
                slot.wake = None;
                slot.lane.tick(now);
            }
            self.touch(hook, now);
        }
    }

    /// When [`Self::tick`] has something to do next.
    pub fn next_wake(&self) -> Option<Moment> {
        self.wakes.first().map(|(moment, _)| *moment)
    }

    /// The next delivery to try, one of each lane in turn, with its body if that is in memory.
    pub fn start(&mut self, now: Moment) -> Option<(HookId, Start, Option<Arc<Delivery>>)> {
        while let Some(hook) = self.turn.pop_front() {
            let Some(slot) = self.slots.get_mut(&hook) else { continue };
            slot.in_turn = false;
            let start = slot.lane.start(now);
            let fresh = start.and_then(|start| slot.fresh.get(&start.id).cloned());
            self.touch(hook, now);
            if let Some(start) = start {
                return Some((hook, start, fresh));
            }
        }
        None
    }

    /// Ends the attempt of a delivery in flight. True if its hook is paused from here on and was not
    /// before.
    pub fn settle(&mut self, hook: HookId, start: Start, conclusion: Conclusion, now: Moment) -> bool {
        let forget = self.slots.len() > IDLE_LANES;
        let Some(slot) = self.slots.get_mut(&hook) else { return false };
        let pauses = slot.lane.settle(start, conclusion, now);
        match conclusion.again {
            None => {
                slot.fresh.remove(&start.id);
            }
            // A failing lane drops its cached bodies; they are read back when due.
            Some(_) => slot.drop_bodies(),
        }
        if forget && slot.lane.is_idle() && !slot.in_turn && slot.wake.is_none() {
            self.forget(hook);
        }
        self.touch(hook, now);
        pauses
    }

    /// What waits for a hook, and until when.
    pub fn status(&self, hook: HookId, now: Moment) -> LaneStatus {
        let Some(slot) = self.slots.get(&hook) else { return LaneStatus::default() };
        let LaneFigures { pending, oldest, .. } = slot.lane.figures();
        let next = slot.wake.map(|wake| wake.since(now));
        LaneStatus { waiting: pending, oldest, next, last: None }
    }

    /// What waits for the `most` tenants that have the most, and for the others together.
    pub fn largest(&self, most: usize) -> LargestTenants {
        self.backlogs.largest(most)
    }

    fn forget(&mut self, hook: HookId) {
        let Some(slot) = self.slots.remove(&hook) else { return };
        let moved = self.backlogs.remove(slot.row).and_then(|moved| self.slots.get_mut(&moved));
        if let Some(moved) = moved {
            moved.row = slot.row;
        }
    }

    fn slot(&mut self, hook: HookId, table: &HookTable, now: Moment) -> &mut Slot {
        self.slots.entry(hook).or_insert_with(|| Slot {
            lane: Lane::new(limits(table, hook), now),
            fresh: HashMap::default(),
            wake: None,
            in_turn: false,
            row: self.backlogs.add(hook, table.by_id(hook).map(|hook| &hook.tenant)),
        })
    }

    /// Updates a lane's place among those that may start, its next wake-up and its figures, after it changed.
    fn touch(&mut self, hook: HookId, now: Moment) {
        let Some(slot) = self.slots.get_mut(&hook) else { return };
        self.backlogs.set(slot.row, slot.lane.figures());
        let wake = slot.lane.next_wake(now);
        if wake != slot.wake {
            if let Some(moment) = slot.wake {
                self.wakes.remove(&(moment, hook));
            }
            if let Some(moment) = wake {
                self.wakes.insert((moment, hook));
            }
            slot.wake = wake;
        }
        if !slot.in_turn && slot.lane.can_start(now) {
            slot.in_turn = true;
            self.turn.push_back(hook);
        }
    }
}

/// What a hook sets of its lane.
fn limits(table: &HookTable, hook: HookId) -> LaneLimits {
    let settings = table.by_id(hook).map(|hook| Arc::clone(&hook.settings)).unwrap_or_default();
    LaneLimits {
        order_wait: settings.order_wait,
        window: settings.concurrency,
        interval: settings.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Chain;

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    fn add(lanes: &mut Lanes, hook: i64, id: i64, due: Option<i64>) {
        let (hook, id, chain) = (HookId(hook), DeliveryId(id), Chain(id));
        let ready = Ready { id, hook, chain, sequence: id.0, due: due.map(UnixMillis), fresh: None };
        lanes.add(ready, &HookTable::default(), at(0), UnixMillis(0));
    }

    fn start(lanes: &mut Lanes, now: Moment) -> Option<(i64, i64)> {
        lanes.start(now).map(|(hook, start, _)| (hook.0, start.id.0))
    }

    #[test]
    fn lanes_start_one_each_in_turn_and_a_full_one_costs_the_others_nothing() {
        let mut lanes = Lanes::default();
        for (hook, id) in [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 6)] {
            add(&mut lanes, hook, id, None);
        }
        let started: Vec<_> = std::iter::from_fn(|| start(&mut lanes, at(0))).collect();
        assert_eq!(started, [(1, 1), (2, 4), (3, 6), (1, 2), (2, 5)]);
        // Unknown hooks are nobody's.
        let waiting: Vec<_> = lanes.largest(9).waiting.iter().map(|all| (all.pending, all.oldest)).collect();
        assert_eq!(waiting, [(6, Some(DeliveryId(1)))]);
    }

    #[test]
    fn the_alarm_is_set_for_the_lane_that_is_due_first() {
        let mut lanes = Lanes::default();
        add(&mut lanes, 1, 1, Some(9_000));
        add(&mut lanes, 2, 2, Some(5_000));
        assert_eq!((start(&mut lanes, at(4)), lanes.next_wake()), (None, Some(at(5))));
        lanes.tick(at(5));
        assert_eq!((start(&mut lanes, at(5)), lanes.next_wake()), (Some((2, 2)), Some(at(9))));
        lanes.tick(at(9));
        assert_eq!((start(&mut lanes, at(9)), lanes.next_wake()), (Some((1, 1)), None));
    }

    #[test]
    fn a_lane_is_paused_once_and_goes_on_where_it_was() {
        let mut lanes = Lanes::default();
        [1, 2, 3].into_iter().for_each(|id| add(&mut lanes, 1, id, None));
        let hook = HookId(1);
        let gone = Conclusion { pause: true, ..Conclusion::failed(at(0)) };
        let starts: Vec<_> = std::iter::from_fn(|| lanes.start(at(0))).map(|(_, start, _)| start).collect();
        let pauses: Vec<_> = starts.into_iter().map(|start| lanes.settle(hook, start, gone, at(0))).collect();
        assert_eq!(pauses, [true, false]);
        lanes.tick(at(60));
        assert_eq!(start(&mut lanes, at(60)), None);
        assert_eq!([lanes.resume(hook, at(60)), lanes.resume(hook, at(60))], [true, false]);
        assert_eq!(start(&mut lanes, at(60)), Some((1, 1)));
    }

    #[test]
    fn idle_lanes_beyond_the_bound_are_forgotten() {
        let mut lanes = Lanes::default();
        let hooks = 1..=IDLE_LANES as i64 + 2;
        hooks.for_each(|hook| add(&mut lanes, hook, hook, None));
        while let Some((hook, start, _)) = lanes.start(at(0)) {
            lanes.settle(hook, start, Conclusion::DONE, at(0));
        }
        assert_eq!(lanes.slots.len(), IDLE_LANES);
        let rows: std::collections::HashSet<_> = lanes.slots.values().map(|slot| slot.row).collect();
        assert_eq!((rows.len(), rows.iter().max()), (IDLE_LANES, Some(&(IDLE_LANES - 1))));
    }
}
