//! All lanes: which of them may start something, and when one has something to do next. Pure.

mod backlogs;
mod bodies;
mod seat;
mod slots;
mod tenants;
mod turns;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;

pub use self::backlogs::{LargestTenants, TenantFigures};
pub use self::slots::SlotBounds;

use self::seat::LaneSeat;
use self::slots::{LanePace, Slots};
use self::tenants::{TenantNumber, Tenants};
use self::turns::Turns;
use super::backoff;
use super::lane::{Conclusion, Position, Settled, Start};
use super::status::LaneStatus;
use crate::delivery::Delivery;
use crate::hooks::{HookTable, Retry};
use crate::ids::{DeliveryId, HookId};
use crate::outbox::Ready;
use crate::time::{Moment, UnixMillis};

/// Beyond this number of lanes, idle ones are forgotten.
const LANES: usize = 10_000;

/// With each attempt that ends, so many lanes are looked at then.
const LOOKS: usize = 2;

/// The lanes of all hooks.
pub struct Lanes {
    seats: HashMap<HookId, LaneSeat, RandomState>,
    /// When lanes and tenants have something to do next.
    wakes: BTreeSet<(Moment, Sleeper)>,
    turns: Turns,
    slots: Slots,
    tenants: Tenants,
    /// All lanes, in the order in which they are looked at.
    round: VecDeque<HookId>,
    /// Hooks whose lanes start nothing yet: older deliveries of theirs are still to come.
    expecting: HashSet<HookId>,
}

/// Who waits for a time to come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Sleeper {
    Lane(HookId),
    Tenant(TenantNumber),
}

impl Lanes {
    /// No lanes yet.
    pub fn new(bounds: SlotBounds) -> Self {
        Self {
            seats: HashMap::default(),
            wakes: BTreeSet::new(),
            turns: Turns::default(),
            slots: Slots::new(bounds),
            tenants: Tenants::default(),
            round: VecDeque::new(),
            expecting: HashSet::new(),
        }
    }

    /// Starts nothing for these hooks before [`Self::older_came`].
    pub fn expect_older(&mut self, hooks: &HashSet<HookId>, now: Moment) {
        self.expecting.clone_from(hooks);
        hooks.iter().for_each(|hook| self.touch(*hook, now));
    }

    /// All that was pending for a hook at the start is there.
    pub fn older_came(&mut self, hook: HookId, now: Moment) {
        self.expecting.remove(&hook);
        self.touch(hook, now);
    }

    /// Takes in a delivery that came just now; `unix` is `now` on the wall clock.
    pub fn add(&mut self, ready: Ready, table: &HookTable, now: Moment, unix: UnixMillis) {
        self.add_aged(ready, Duration::ZERO, table, now, unix);
    }

    /// The same of a delivery that is so old.
    pub fn add_aged(
        &mut self,
        ready: Ready,
        age: Duration,
        table: &HookTable,
        now: Moment,
        unix: UnixMillis,
    ) {
        let Ready { id, hook, chain, sequence, bytes, due, fresh, ages_from: _ } = ready;
        let position = Position { sequence, id };
        let seat = self.seat(hook, table, now);
        seat.is_used = true;
        let load = seat.lane.load(bytes, age, now);
        let retry = || table.by_id(hook).map_or_else(Retry::default, |hook| hook.settings.retry);
        match due.map(|due| backoff::left(&retry(), due, unix)) {
            Some(wait) if !wait.is_zero() => seat.lane.add_failed(position, chain, load, now + wait, now),
            _ => seat.lane.add(position, chain, load),
        }
        if let Some(fresh) = fresh {
            self.keep(hook, id, fresh, now);
        }
        self.touch(hook, now);
    }

    /// Keeps a delivery in memory if its lane is likely to start it soon. (Those of a paused hook, besides, go to the
    /// URL it has when it is resumed.)
    fn keep(&mut self, hook: HookId, id: DeliveryId, fresh: Arc<Delivery>, now: Moment) {
        let Some(seat) = self.seats.get_mut(&hook) else { return };
        if seat.pace() != LanePace::Suspect && !seat.lane.is_held(now) {
            let (own, all) = self.tenants.kept(seat.place.tenant);
            seat.bodies.keep(id, fresh, own, all);
        }
    }

    /// A hook of each tenant for which more waits than may; none before all that was pending at the start is there.
    pub fn overfull(&self) -> Vec<HookId> {
        if self.expecting.is_empty() { self.tenants.overfull() } else { Vec::new() }
    }

    /// Takes out a delivery of the tenant of a hook, the oldest of the fullest of its lanes, if more waits for it than
    /// may. And if the log is to say so: how often that happened since it did last.
    pub fn evict(&mut self, hook: HookId, now: Moment) -> Option<(DeliveryId, Option<u64>)> {
        let tenant = self.tenants.seat(self.seats.get(&hook)?.place.tenant)?;
        // Before all that was pending at the start is there, the oldest cannot be told.
        let is_overfull = tenant.is_overfull() && self.expecting.is_empty();
        let fullest = is_overfull.then(|| tenant.fullest()).flatten()?;
        let seat = self.seats.get_mut(&fullest)?;
        let evicted = seat.lane.evict()?;
        seat.bodies.remove(evicted);
        let times = self.tenants.seat(seat.place.tenant).and_then(|tenant| tenant.gives_up(now));
        self.touch(fullest, now);
        Some((evicted, times))
    }

    /// Takes out the oldest delivery of a hook that is not in flight, unless it came after `up_to`; whether there was
    /// one. What was kept in memory of others is read back when their turn comes.
    pub fn forget_oldest(&mut self, hook: HookId, up_to: DeliveryId, now: Moment) -> bool {
        let Some(seat) = self.seats.get_mut(&hook) else { return false };
        seat.bodies.clear();
        let forgotten = seat.lane.evict_until(up_to);
        self.touch(hook, now);
        forgotten.is_some()
    }

    /// Starts nothing for a hook until it is resumed.
    pub fn pause(&mut self, hook: HookId, table: &HookTable, now: Moment) {
        let seat = self.seat(hook, table, now);
        seat.lane.pause(now);
        seat.bodies.clear();
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
        let Some(seat) = self.seats.get_mut(&hook) else { return };
        seat.configure(seat::limits_of(table, hook), now);
        if let Some(tenant) = self.tenants.seat_mut(seat.place.tenant) {
            tenant.most = table.limits_of(tenant.name());
        }
        self.touch(hook, now);
    }

    /// Lets time pass for the lanes that have something to do, and for attempts that become slow.
    pub fn tick(&mut self, now: Moment) {
        while let Some(hook) = self.slots.pass(now) {
            self.seats.get_mut(&hook).into_iter().for_each(|seat| seat.slow += 1);
            self.touch(hook, now);
        }
        while let Some((_, sleeper)) = self.wakes.first().copied().filter(|(moment, _)| *moment <= now) {
            self.wakes.pop_first();
            match sleeper {
                Sleeper::Lane(hook) => {
                    if let Some(seat) = self.seats.get_mut(&hook) {
                        seat.wake = None;
                        seat.lane.tick(now);
                    }
                    self.touch(hook, now);
                }
                Sleeper::Tenant(tenant) => {
                    self.tenants.seat_mut(tenant).into_iter().for_each(|seat| seat.wake = None);
                    self.arrange(tenant, now);
                }
            }
        }
    }

    /// When [`Self::tick`] has something to do next.
    pub fn next_wake(&mut self) -> Option<Moment> {
        let wake = self.wakes.first().map(|(moment, _)| *moment);
        [wake, self.slots.next_slow()].into_iter().flatten().min()
    }

    /// Slow attempts that are to end at once: they hold places that others need.
    pub fn excess(&mut self, now: Moment) -> Vec<DeliveryId> {
        let ending = self.slots.excess();
        ending.iter().for_each(|(_, hook)| self.touch(*hook, now));
        ending.into_iter().map(|(id, _)| id).collect()
    }

    /// The next delivery to try, with its body if that is in memory: of the tenant that holds least, one of each of its
    /// lanes in turn.
    pub fn start(&mut self, now: Moment) -> Option<(HookId, Start, Option<Arc<Delivery>>)> {
        let heads = self.turns.heads().into_iter().flatten();
        let place = |(tenant, pace)| Some((tenant, pace, self.slots.place(tenant, pace)?));
        let (tenant, pace, kind) = heads.filter_map(place).next()?;
        let hook = self.turns.lane(tenant, pace)?;
        let seat = self.seats.get_mut(&hook)?;
        let start = seat.lane.start(now)?;
        let fresh = seat.bodies.of(start.id);
        // Behind the others, if it may start another one.
        seat.turn = self.turns.put((tenant, hook), seat.turn, None);
        self.turns.started(tenant);
        self.slots.take(start.id, (tenant, hook), (pace, kind), now);
        self.touch(hook, now);
        Some((hook, start, fresh))
    }

    /// Ends the attempt of a delivery in flight. Of a change of its breaker it gives what the log is to say.
    pub fn settle(&mut self, hook: HookId, start: Start, conclusion: Conclusion, now: Moment) -> Settled {
        let was_slow = self.slots.release(start.id);
        let Some(seat) = self.seats.get_mut(&hook) else { return Settled::default() };
        seat.ended(start, was_slow, conclusion.seen);
        let mut settled = seat.lane.settle(start, conclusion, now);
        settled.shift = seat.tells(settled.shift, now);
        if let Some(tenant) = self.tenants.seat_mut(seat.place.tenant) {
            tenant.failures.note(conclusion.seen, now);
        }
        match conclusion.again {
            None => seat.bodies.remove(start.id),
            // A failing lane drops its cached bodies; they are read back when due.
            Some(_) => seat.bodies.clear(),
        }
        settled.expired.iter().for_each(|id| seat.bodies.remove(*id));
        self.touch(hook, now);
        self.forget_idle();
        settled
    }

    /// How a hook's lane does.
    pub fn status(&self, hook: HookId, now: Moment) -> LaneStatus {
        let status = |seat: &LaneSeat| seat.status(self.closed_until(seat, now), now);
        self.seats.get(&hook).map(status).unwrap_or_default()
    }

    /// When a delivery of a hook that is due then is tried, as far as time decides; none: not before it is resumed.
    pub fn next_try(&self, hook: HookId, due: Moment, now: Moment) -> Option<Moment> {
        let Some(seat) = self.seats.get(&hook) else { return Some(due) };
        seat.lane.next_try(due, self.closed_until(seat, now), now)
    }

    /// The tenant of a lane starts nothing before this time; none: it may.
    fn closed_until(&self, seat: &LaneSeat, now: Moment) -> Option<Moment> {
        self.tenants.seat(seat.place.tenant)?.failures.closed_until(now)
    }

    /// For each kind of places its name, how many are held, and how many there are.
    pub fn places(&self) -> [(&'static str, usize, usize); 2] {
        self.slots.measures()
    }

    /// What waits for the `most` tenants that have the most, and for the others together.
    pub fn largest(&self, most: usize) -> LargestTenants {
        self.tenants.largest(most)
    }

    /// Of too many lanes, forgets those that are idle and got nothing for a whole round: what is known of others, such
    /// as that they are quick, is worth keeping.
    fn forget_idle(&mut self) {
        for _ in 0..LOOKS.min(self.seats.len().saturating_sub(LANES)) {
            let Some(hook) = self.round.pop_front() else { return };
            let Some(seat) = self.seats.get_mut(&hook) else { continue };
            if std::mem::take(&mut seat.is_used) || !seat.is_idle() {
                self.round.push_back(hook);
            } else {
                self.forget(hook);
            }
        }
    }

    fn forget(&mut self, hook: HookId) {
        let Some(LaneSeat { place, .. }) = self.seats.remove(&hook) else { return };
        let moved = self.tenants.remove(place).and_then(|moved| self.seats.get_mut(&moved));
        if let Some(moved) = moved {
            moved.place = place;
        }
    }

    fn seat(&mut self, hook: HookId, table: &HookTable, now: Moment) -> &mut LaneSeat {
        self.seats.entry(hook).or_insert_with(|| {
            let tenant = table.by_id(hook).map(|hook| &hook.tenant);
            let place = self.tenants.add(hook, tenant, table.limits_of(tenant));
            self.round.push_back(hook);
            LaneSeat::new(seat::limits_of(table, hook), place, now)
        })
    }

    /// Updates a lane's place among those that may start, its next wake-up and its figures, after it changed.
    fn touch(&mut self, hook: HookId, now: Moment) {
        let Some(seat) = self.seats.get_mut(&hook) else { return };
        let tenant = seat.place.tenant;
        self.tenants.set(seat.place, seat.lane.figures(), seat.bodies.bytes());
        let wake = seat.lane.next_wake(now);
        set_alarm(&mut self.wakes, Sleeper::Lane(hook), &mut seat.wake, wake);
        let may_start = seat.lane.can_start(now) && !self.expecting.contains(&hook);
        let pace = may_start.then(|| seat.pace());
        seat.turn = self.turns.put((tenant, hook), seat.turn, pace);
        self.arrange(tenant, now);
    }

    /// Updates a tenant's place among those that may start something, and when it may again.
    fn arrange(&mut self, tenant: TenantNumber, now: Moment) {
        let Some(seat) = self.tenants.seat_mut(tenant) else { return };
        let (share, closed) = (self.slots.share(tenant), seat.failures.closed_until(now));
        set_alarm(&mut self.wakes, Sleeper::Tenant(tenant), &mut seat.wake, closed);
        let may_start = closed.is_none() && share.all() < seat.most.concurrency;
        self.turns.arrange(tenant, share, may_start);
    }
}

/// Wakes a sleeper at another time than `before`.
fn set_alarm(
    wakes: &mut BTreeSet<(Moment, Sleeper)>,
    sleeper: Sleeper,
    before: &mut Option<Moment>,
    wake: Option<Moment>,
) {
    if *before == wake {
        return;
    }
    if let Some(moment) = *before {
        wakes.remove(&(moment, sleeper));
    }
    if let Some(moment) = wake {
        wakes.insert((moment, sleeper));
    }
    *before = wake;
}

#[cfg(test)]
mod tests;
