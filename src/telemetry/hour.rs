//! The last hour by ten seconds, of every tenant: for charts.
//!
//! In memory, 31 kB for each tenant that had anything in this hour, of 500 tenants at most (16 MB).

mod spread;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

pub use self::spread::{Spread, Spreads};

use crate::hooks::Tenant;
use crate::time::{UnixMillis, millis};

/// One slot.
pub const STEP: Duration = Duration::from_secs(10);

/// Finished slots that are shown.
pub const SLOTS: u32 = 360;

/// Tenants that are counted separately.
pub const TENANTS: usize = 500;

/// What a slot counts of a tenant, or of several.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// Events that came for it, or were released to it.
    pub received: u32,
    pub delivered: u32,
    /// Attempts that failed.
    pub failing: u32,
    /// What waited at the slot's end; none: it is not known.
    pub waiting: Option<u32>,
    /// From an event's arrival until it was delivered.
    pub latency: Spread,
}

/// What a slot counts of the whole router.
#[derive(Clone, Debug, Default)]
pub struct RouterSlot {
    pub all: Slot,
    /// Events that no hook has.
    pub unrouted: u32,
    /// From an event's arrival until LiveKit was answered.
    pub acknowledged: Spread,
}

/// Slots by their numbers: whole steps since the Unix epoch.
#[derive(Clone, Debug)]
pub struct Ring<S> {
    slots: Vec<(u32, S)>,
    /// The last slot that something was counted in.
    last: u32,
}

impl<S: Clone + Default> Default for Ring<S> {
    fn default() -> Self {
        // One more, which is not finished yet.
        Self { slots: vec![(0, S::default()); SLOTS as usize + 1], last: 0 }
    }
}

impl<S: Clone + Default> Ring<S> {
    fn at(&mut self, number: u32) -> &mut S {
        self.last = number;
        let index = number as usize % self.slots.len();
        let (stamp, slot) = &mut self.slots[index];
        if *stamp != number {
            (*stamp, *slot) = (number, S::default());
        }
        slot
    }

    /// The slots of the hour before this one.
    pub fn before(&self, number: u32) -> Vec<S> {
        let numbers = number.saturating_sub(SLOTS)..number;
        numbers.map(|number| self.get(number).cloned().unwrap_or_default()).collect()
    }

    /// The slot of this number; none: nothing was counted then.
    fn get(&self, number: u32) -> Option<&S> {
        let (stamp, slot) = &self.slots[number as usize % self.slots.len()];
        (*stamp == number).then_some(slot)
    }
}

/// What waits.
#[derive(Clone, Debug, Default)]
pub struct WaitingFigures {
    pub tenants: Vec<(Tenant, usize)>,
    /// What waits for tenants beyond these.
    pub others: usize,
}

/// The last hour.
#[derive(Default)]
pub struct LastHour(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    router: Ring<RouterSlot>,
    tenants: HashMap<Tenant, Ring<Slot>, RandomState>,
    /// Of tenants that found no place.
    others: Ring<Slot>,
}

/// The number of the slot of a time.
pub fn slot_of(at: UnixMillis) -> u32 {
    u32::try_from(at.0 / millis(STEP)).unwrap_or(0)
}

/// When a slot begins.
pub fn begin_of(number: u32) -> UnixMillis {
    UnixMillis(i64::from(number) * millis(STEP))
}

impl Counted {
    fn of(&mut self, tenant: &Tenant, number: u32) -> &mut Slot {
        if !self.tenants.contains_key(tenant) {
            if self.tenants.len() >= TENANTS {
                return self.others.at(number);
            }
            self.tenants.insert(tenant.clone(), Ring::default());
        }
        // It is there by now.
        self.tenants.get_mut(tenant).unwrap_or(&mut self.others).at(number)
    }
}

impl LastHour {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event came. `tenant`: of the hook that has it; none: it is held.
    pub fn received(&self, at: UnixMillis, tenant: Option<&Tenant>) {
        let (number, mut counted) = (slot_of(at), self.counted());
        counted.router.at(number).all.received += 1;
        if let Some(tenant) = tenant {
            counted.of(tenant, number).received += 1;
        }
    }

    /// An event came that no hook has.
    pub fn unrouted(&self, at: UnixMillis) {
        let mut counted = self.counted();
        let slot = counted.router.at(slot_of(at));
        slot.all.received += 1;
        slot.unrouted += 1;
    }

    /// So many events were held, and no hook has them.
    pub fn given_up(&self, at: UnixMillis, count: usize) {
        let mut counted = self.counted();
        let slot = counted.router.at(slot_of(at));
        slot.unrouted = slot.unrouted.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// A tenant's hook has an event that came before.
    pub fn released(&self, at: UnixMillis, tenant: &Tenant) {
        self.counted().of(tenant, slot_of(at)).received += 1;
    }

    /// LiveKit was answered, `after` its post had come.
    pub fn acknowledged(&self, at: UnixMillis, after: Duration) {
        self.counted().router.at(slot_of(at)).acknowledged.add(after);
    }

    /// An attempt has ended. `delivered`: how long after the event's arrival; none: it has failed.
    pub fn attempted(&self, at: UnixMillis, tenant: &Tenant, delivered: Option<Duration>) {
        let (number, mut counted) = (slot_of(at), self.counted());
        let count = |slot: &mut Slot| match delivered {
            Some(after) => {
                slot.delivered += 1;
                slot.latency.add(after);
            }
            None => slot.failing += 1,
        };
        count(&mut counted.router.at(number).all);
        count(counted.of(tenant, number));
    }

    /// What waited at the end of a slot. Whoever had nothing in the last hour gives up its place.
    pub fn ended(&self, number: u32, waiting: &WaitingFigures) {
        let count = |waiting: usize| Some(u32::try_from(waiting).unwrap_or(u32::MAX));
        let WaitingFigures { tenants, others } = waiting;
        let mut counted = self.counted();
        counted.tenants.retain(|_, ring| ring.last.saturating_add(SLOTS) >= number);
        let sum = tenants.iter().map(|(_, waiting)| waiting).sum::<usize>() + others;
        counted.router.at(number).all.waiting = count(sum);
        let known: HashMap<_, _, RandomState> =
            tenants.iter().map(|(tenant, waiting)| (tenant, *waiting)).collect();
        let mut beyond = *others;
        for (tenant, waiting) in &known {
            if *waiting > 0 && !counted.tenants.contains_key(*tenant) && counted.tenants.len() >= TENANTS {
                beyond += waiting;
            } else if *waiting > 0 {
                counted.of(tenant, number).waiting = count(*waiting);
            }
        }
        // What is not counted separately may be theirs.
        let rest = if *others == 0 { Some(0) } else { None };
        for (tenant, ring) in &mut counted.tenants {
            let last = ring.last;
            let slot = ring.at(number);
            slot.waiting = known.get(tenant).map_or(rest, |waiting| count(*waiting));
            ring.last = last;
        }
        if beyond > 0 {
            counted.others.at(number).waiting = count(beyond);
        }
    }

    /// The tenants that are counted separately, those with the most events and attempts before `number` first.
    pub fn tenants(&self, number: u32) -> Vec<Tenant> {
        let names: Vec<Tenant> = self.counted().tenants.keys().cloned().collect();
        let traffic = |tenant: Tenant| {
            let counted = self.counted();
            let slots = counted.tenants.get(&tenant)?;
            let slots = (number.saturating_sub(SLOTS)..number).filter_map(|number| slots.get(number));
            let sum = slots.map(|slot| u64::from(slot.received) + u64::from(slot.delivered + slot.failing));
            Some((std::cmp::Reverse(sum.sum::<u64>()), tenant))
        };
        let mut ranked: Vec<_> = names.into_iter().filter_map(traffic).collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, tenant)| tenant).collect()
    }

    /// The slots of a tenant; none: nothing was counted of it.
    pub fn of(&self, tenant: &Tenant) -> Option<Ring<Slot>> {
        self.counted().tenants.get(tenant).cloned()
    }

    /// The slots of the whole router.
    pub fn router(&self) -> Ring<RouterSlot> {
        self.counted().router.clone()
    }

    /// The slots of tenants that found no place, if there are any in the last hour before `number`.
    pub fn others(&self, number: u32) -> Option<Ring<Slot>> {
        let counted = self.counted();
        (counted.others.last > 0 && counted.others.last.saturating_add(SLOTS) >= number)
            .then(|| counted.others.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(n: usize) -> Tenant {
        Tenant::new(&format!("t{n}")).expect("a name")
    }

    #[test]
    fn a_slot_is_forgotten_after_an_hour_and_so_is_a_tenant() {
        let hour = LastHour::default();
        hour.received(begin_of(1000), Some(&tenant(1)));
        hour.attempted(begin_of(1000), &tenant(1), None);
        let slot = |number| hour.of(&tenant(1)).and_then(|ring| ring.get(number).cloned());
        assert_eq!(slot(1000).map(|slot| (slot.received, slot.failing)), Some((1, 1)));
        hour.ended(1000 + SLOTS, &WaitingFigures::default());
        assert!(slot(1000).is_some());
        hour.received(begin_of(1001 + SLOTS), Some(&tenant(1)));
        assert!(slot(1000).is_none(), "its place in the ring is another's");
        hour.ended(1002 + 2 * SLOTS, &WaitingFigures::default());
        assert!(hour.of(&tenant(1)).is_none());
    }

    #[test]
    fn tenants_beyond_the_places_are_counted_together_until_there_is_a_place() {
        let hour = LastHour::default();
        (0..TENANTS).for_each(|n| hour.received(begin_of(1000), Some(&tenant(n))));
        assert!(hour.others(1001).is_none());
        hour.received(begin_of(1000), Some(&tenant(TENANTS)));
        assert!(hour.of(&tenant(TENANTS)).is_none());
        assert_eq!(hour.others(1001).and_then(|ring| ring.get(1000).map(|slot| slot.received)), Some(1));
        hour.received(begin_of(1001), Some(&tenant(7)));
        assert_eq!(hour.tenants(1002).first(), Some(&tenant(7)), "the one with the most");
        hour.ended(1001 + SLOTS, &WaitingFigures { tenants: vec![(tenant(9), 4)], others: 0 });
        assert_eq!(hour.tenants(1002 + SLOTS), [tenant(7), tenant(9)]);
        hour.received(begin_of(1002 + SLOTS), Some(&tenant(TENANTS)));
        assert!(hour.of(&tenant(TENANTS)).is_some());
    }

    #[test]
    fn what_waits_is_known_of_everybody_unless_some_are_not_counted_separately() {
        let hour = LastHour::default();
        [1, 2].iter().for_each(|n| hour.received(begin_of(1000), Some(&tenant(*n))));
        let waiting = |n, number| hour.of(&tenant(n)).and_then(|ring| ring.get(number)?.waiting);
        hour.ended(1000, &WaitingFigures { tenants: vec![(tenant(1), 4)], others: 0 });
        assert_eq!((waiting(1, 1000), waiting(2, 1000)), (Some(4), Some(0)));
        hour.ended(1001, &WaitingFigures { tenants: vec![(tenant(1), 0)], others: 3 });
        assert_eq!((waiting(1, 1001), waiting(2, 1001)), (Some(0), None));
        assert_eq!(hour.router().get(1001).and_then(|slot| slot.all.waiting), Some(3));
    }
}
