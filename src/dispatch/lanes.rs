//! All lanes: which of them may start something, and when one has something to do next. Pure.

mod backlogs;
mod seat;
mod slots;
mod turns;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

pub use self::backlogs::{LargestTenants, TenantFigures};
pub use self::slots::SlotBounds;

use self::backlogs::{Backlogs, Total};
use self::seat::{LaneSeat, LaneTerms};
use self::slots::{LanePace, SlotKind, Slots};
use self::turns::Turns;
use super::backoff;
use super::lane::{Conclusion, Position, Start};
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

/// At one go, at most this many lanes are looked at whose tenants hold their share.
const LOOKS: usize = 64;

/// The lanes of all hooks.
pub struct Lanes {
    seats: HashMap<HookId, LaneSeat, RandomState>,
    /// When lanes have something to do next.
    wakes: BTreeSet<(Moment, HookId)>,
    turns: Turns,
    slots: Slots,
    backlogs: Backlogs,
    /// Hooks whose lanes start nothing yet: older deliveries of theirs are still to come.
    expecting: HashSet<HookId>,
}

impl Lanes {
    /// No lanes yet.
    pub fn new(bounds: SlotBounds) -> Self {
        Self {
            seats: HashMap::default(),
            wakes: BTreeSet::new(),
            turns: Turns::default(),
            slots: Slots::new(bounds),
            backlogs: Backlogs::default(),
            expecting: HashSet::new(),
        }
    }

    /// Starts nothing for these hooks before [`Self::older_came`].
    pub fn expect_older(&mut self, hooks: &HashSet<HookId>) {
        self.expecting.clone_from(hooks);
    }

    /// All that was pending for a hook at the start is there.
    pub fn older_came(&mut self, hook: HookId, now: Moment) {
        self.expecting.remove(&hook);
        self.touch(hook, now);
    }

    /// Takes in a delivery; `unix` is `now` on the wall clock.
    pub fn add(&mut self, ready: Ready, table: &HookTable, now: Moment, unix: UnixMillis) {
        let Ready { id, hook, chain, sequence, bytes, due, fresh } = ready;
        let position = Position { sequence, id };
        let seat = self.seat(hook, table, now);
        let retry = || table.by_id(hook).map_or_else(Retry::default, |hook| hook.settings.retry);
        match due.map(|due| backoff::left(&retry(), due, unix)) {
            Some(wait) if !wait.is_zero() => seat.lane.add_failed(position, chain, bytes, now + wait, now),
            _ => seat.lane.add(position, chain, bytes),
        }
        // Deliveries of a paused hook go to the URL the hook has when it is resumed, so they are loaded then.
        let soon = !seat.lane.is_paused() && seat.fresh.len() < FRESH_PER_LANE;
        if let Some(fresh) = fresh
            && soon
        {
            seat.fresh.insert(id, fresh);
        }
        self.touch(hook, now);
    }

    /// Takes out a delivery of the tenant of a hook, the oldest of the fullest of its lanes, if more waits for it than
    /// may.
    pub fn evict(&mut self, hook: HookId, now: Moment) -> Option<DeliveryId> {
        let seat = self.seats.get(&hook)?;
        let (Total { pending, bytes }, most) = (self.backlogs.total(seat.row), &seat.terms.tenant);
        // Before all of them are there, the oldest cannot be told.
        if (pending <= most.pending && bytes <= most.pending_bytes) || !self.expecting.is_empty() {
            return None;
        }
        let fullest = self.backlogs.fullest(seat.row)?;
        let seat = self.seats.get_mut(&fullest)?;
        let evicted = seat.lane.evict()?;
        seat.fresh.remove(&evicted);
        self.touch(fullest, now);
        Some(evicted)
    }

    /// Starts nothing for a hook until it is resumed.
    pub fn pause(&mut self, hook: HookId, table: &HookTable, now: Moment) {
        let seat = self.seat(hook, table, now);
        seat.lane.pause(now);
        seat.drop_bodies();
        self.touch(hook, now);
    }

    /// Ends a pause: everything of that lane is due at once. False if it was not paused.
    pub fn resume(&mut self, hook: HookId, now: Moment) -> bool {
        let resumed = self.seats.get_mut(&hook).is_some_and(|seat| seat.lane.resume(now));
        self.touch(hook, now);
        resumed
    }

    /// Puts the settings of a new table in force.
    pub fn configure(&mut self, table: &HookTable, now: Moment) {
        let hooks: Vec<_> = self.seats.keys().copied().collect();
        hooks.into_iter().for_each(|hook| self.configure_one(hook, table, now));
    }

    /// Puts the settings that a new table has for one hook in force.
    pub fn configure_one(&mut self, hook: HookId, table: &HookTable, now: Moment) {
        if let Some(seat) = self.seats.get_mut(&hook) {
            seat.configure(LaneTerms::of(table, hook), now);
            self.touch(hook, now);
        }
    }

    /// Lets time pass for the lanes that have something to do, and for attempts that become slow.
    pub fn tick(&mut self, now: Moment) {
        while let Some(hook) = self.slots.pass(now) {
            self.seats.get_mut(&hook).into_iter().for_each(|seat| seat.slow += 1);
            self.touch(hook, now);
        }
        while let Some((_, hook)) = self.wakes.first().copied().filter(|(moment, _)| *moment <= now) {
            self.wakes.pop_first();
            if let Some(seat) = self.seats.get_mut(&hook) {
                seat.wake = None;
                seat.lane.tick(now);
            }
            self.touch(hook, now);
        }
    }

    /// When [`Self::tick`] has something to do next.
    pub fn next_wake(&mut self) -> Option<Moment> {
        let wake = self.wakes.first().map(|(moment, _)| *moment);
        [wake, self.slots.next_slow()].into_iter().flatten().min()
    }

    /// A slow attempt that is to end at once: it holds a place that a quick one needs.
    pub fn excess(&mut self) -> Option<DeliveryId> {
        self.slots.excess()
    }

    /// The next delivery to try, one of each lane in turn, with its body if that is in memory.
    pub fn start(&mut self, now: Moment) -> Option<(HookId, Start, Option<Arc<Delivery>>)> {
        let paces = self.turns.paces();
        paces.into_iter().find_map(|pace| self.start_one(pace, now))
    }

    /// The same among lanes of one pace.
    fn start_one(&mut self, pace: LanePace, now: Moment) -> Option<(HookId, Start, Option<Arc<Delivery>>)> {
        if !self.slots.has_room(pace) {
            return None;
        }
        for _ in 0..self.turns.waiting(pace).min(LOOKS) {
            let hook = self.turns.pop(pace)?;
            let Some(seat) = self.seats.get_mut(&hook) else { continue };
            seat.in_turn = false;
            let may = seat.pace() == pace && seat.lane.can_start(now);
            let place = || {
                let is_first = seat.lane.in_flight() == 0;
                self.slots.place(&seat.tenant, pace, is_first, seat.terms.tenant.concurrency)
            };
            if let Some(kind) = may.then(place).flatten() {
                return self.start_of(hook, (pace, kind), now);
            }
            // Behind the others, if it may start at all.
            self.touch(hook, now);
        }
        None
    }

    fn start_of(
        &mut self,
        hook: HookId,
        place: (LanePace, SlotKind),
        now: Moment,
    ) -> Option<(HookId, Start, Option<Arc<Delivery>>)> {
        let seat = self.seats.get_mut(&hook)?;
        let start = seat.lane.start(now)?;
        let fresh = seat.fresh.get(&start.id).cloned();
        self.slots.take(start.id, hook, seat.tenant.as_ref(), place, now);
        self.touch(hook, now);
        Some((hook, start, fresh))
    }

    /// Ends the attempt of a delivery in flight. True if its hook is paused from here on and was not
    /// before.
    pub fn settle(&mut self, hook: HookId, start: Start, conclusion: Conclusion, now: Moment) -> bool {
        let forget = self.seats.len() > IDLE_LANES;
        let was_slow = self.slots.release(start.id);
        let Some(seat) = self.seats.get_mut(&hook) else { return false };
        seat.ended(was_slow);
        let pauses = seat.lane.settle(start, conclusion, now);
        match conclusion.again {
            None => {
                seat.fresh.remove(&start.id);
            }
            // A failing lane drops its cached bodies; they are read back when due.
            Some(_) => seat.drop_bodies(),
        }
        if forget && seat.lane.is_idle() && !seat.in_turn && seat.wake.is_none() {
            self.forget(hook);
        }
        self.touch(hook, now);
        pauses
    }

    /// How a hook's lane does.
    pub fn status(&self, hook: HookId, now: Moment) -> LaneStatus {
        self.seats.get(&hook).map(|seat| seat.status(now)).unwrap_or_default()
    }

    /// What waits for the `most` tenants that have the most, and for the others together.
    pub fn largest(&self, most: usize) -> LargestTenants {
        self.backlogs.largest(most)
    }

    fn forget(&mut self, hook: HookId) {
        let Some(seat) = self.seats.remove(&hook) else { return };
        let moved = self.backlogs.remove(seat.row).and_then(|moved| self.seats.get_mut(&moved));
        if let Some(moved) = moved {
            moved.row = seat.row;
        }
    }

    fn seat(&mut self, hook: HookId, table: &HookTable, now: Moment) -> &mut LaneSeat {
        self.seats.entry(hook).or_insert_with(|| {
            let tenant = table.by_id(hook).map(|hook| hook.tenant.clone());
            let row = self.backlogs.add(hook, tenant.as_ref());
            LaneSeat::new(tenant, LaneTerms::of(table, hook), row, now)
        })
    }

    /// Updates a lane's place among those that may start, its next wake-up and its figures, after it changed.
    fn touch(&mut self, hook: HookId, now: Moment) {
        let Some(seat) = self.seats.get_mut(&hook) else { return };
        self.backlogs.set(seat.row, seat.lane.figures());
        let wake = seat.lane.next_wake(now);
        if wake != seat.wake {
            if let Some(moment) = seat.wake {
                self.wakes.remove(&(moment, hook));
            }
            if let Some(moment) = wake {
                self.wakes.insert((moment, hook));
            }
            seat.wake = wake;
        }
        if !seat.in_turn && seat.lane.can_start(now) && !self.expecting.contains(&hook) {
            seat.in_turn = true;
            self.turns.push(seat.pace(), hook);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dispatch::lane::Seen;
    use crate::ids::Chain;

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    fn add(lanes: &mut Lanes, hook: i64, id: i64, due: Option<i64>) {
        let (hook, id, chain) = (HookId(hook), DeliveryId(id), Chain(id));
        let ready =
            Ready { id, hook, chain, sequence: id.0, bytes: 10, due: due.map(UnixMillis), fresh: None };
        lanes.add(ready, &HookTable::default(), at(0), UnixMillis(0));
    }

    fn start(lanes: &mut Lanes, now: Moment) -> Option<(i64, i64)> {
        lanes.start(now).map(|(hook, start, _)| (hook.0, start.id.0))
    }

    #[test]
    fn lanes_start_one_each_in_turn_and_a_full_one_costs_the_others_nothing() {
        let mut lanes = Lanes::new(SlotBounds::of(768));
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
    fn a_lane_starts_nothing_before_what_was_pending_at_the_start_has_come_and_others_do() {
        let mut lanes = Lanes::new(SlotBounds::of(768));
        lanes.expect_older(&[HookId(1)].into());
        add(&mut lanes, 1, 9, None);
        add(&mut lanes, 2, 8, None);
        assert_eq!([start(&mut lanes, at(0)), start(&mut lanes, at(0))], [Some((2, 8)), None]);
        add(&mut lanes, 1, 3, None);
        assert_eq!(start(&mut lanes, at(1)), None);
        lanes.older_came(HookId(1), at(1));
        let started = [start(&mut lanes, at(1)), start(&mut lanes, at(1))];
        assert_eq!(started, [Some((1, 3)), Some((1, 9))]);
    }

    #[test]
    fn the_alarm_is_set_for_the_lane_that_is_due_first() {
        let mut lanes = Lanes::new(SlotBounds::of(768));
        add(&mut lanes, 1, 1, Some(9_000));
        add(&mut lanes, 2, 2, Some(5_000));
        assert_eq!((start(&mut lanes, at(4)), lanes.next_wake()), (None, Some(at(5))));
        lanes.tick(at(5));
        assert_eq!((start(&mut lanes, at(5)), lanes.next_wake()), (Some((2, 2)), Some(at(6))));
        lanes.tick(at(9));
        assert_eq!((start(&mut lanes, at(9)), lanes.next_wake()), (Some((1, 1)), Some(at(10))));
    }

    #[test]
    fn a_lane_is_paused_once_and_goes_on_where_it_was() {
        let mut lanes = Lanes::new(SlotBounds::of(768));
        [1, 2, 3].into_iter().for_each(|id| add(&mut lanes, 1, id, None));
        let hook = HookId(1);
        let gone = Conclusion { pause: true, ..Conclusion::failed(Seen::Answer, at(0)) };
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
        let mut lanes = Lanes::new(SlotBounds::of(768));
        let hooks = 1..=IDLE_LANES as i64 + 2;
        hooks.for_each(|hook| add(&mut lanes, hook, hook, None));
        while let Some((hook, start, _)) = lanes.start(at(0)) {
            lanes.settle(hook, start, Conclusion::DONE, at(0));
        }
        assert_eq!(lanes.seats.len(), IDLE_LANES);
        let rows: HashSet<_> = lanes.seats.values().map(|seat| seat.row).collect();
        assert_eq!((rows.len(), rows.iter().max()), (IDLE_LANES, Some(&(IDLE_LANES - 1))));
    }
}
