//! Who holds the places for attempts in flight. Pure.
//!
//! An attempt past one second is slow from that moment and moves to the places of slow ones; a quick place is
//! therefore never held for longer. Attempts of lanes that are slow now start there. A tenant may hold at most half
//! of what is free besides (a dynamic threshold: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6, 1998), so
//! that a few tenants never take everything, and one alone is hardly held.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::hooks::Tenant;
use crate::ids::{DeliveryId, HookId};
use crate::time::Moment;

/// From this age on an attempt is slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// How many attempts may be in flight.
#[derive(Clone, Copy, Debug)]
pub struct SlotBounds {
    /// Attempts up to a second old.
    pub quick: usize,
    /// Of these, so many may be of lanes that are new.
    pub new: usize,
    /// And so many are kept for lanes that have nothing in flight.
    pub reserve: usize,
    /// Attempts of lanes that are slow, and all that are older than a second.
    pub slow: usize,
}

/// How quickly a lane's attempts end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LanePace {
    /// The last one was quick, and none is slow now.
    Proven,
    /// None has ended yet.
    New,
    /// One is slow now, or the last was.
    Slow,
}

/// All places, and who holds them.
#[derive(Debug)]
pub struct Slots {
    bounds: SlotBounds,
    /// Quick ones of lanes that were new when they started.
    new: usize,
    held: HashMap<DeliveryId, Held, RandomState>,
    all: Share,
    /// Only tenants that hold something. None: hooks that are not in the table.
    tenants: HashMap<Option<Tenant>, Share, RandomState>,
    /// When each attempt will be slow, in order; those that have ended stay until then.
    young: VecDeque<(Moment, DeliveryId)>,
}

#[derive(Clone, Debug)]
struct Held {
    hook: HookId,
    tenant: Option<Tenant>,
    since: Moment,
    is_new: bool,
    kind: SlotKind,
    /// It has been in flight for longer than [`SLOW_AFTER`].
    is_slow: bool,
    /// It was told to end, and its place is given back.
    is_ending: bool,
}

/// A kind of places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotKind {
    Quick,
    Slow,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Share {
    quick: usize,
    slow: usize,
}

impl Share {
    fn of(&mut self, kind: SlotKind) -> &mut usize {
        match kind {
            SlotKind::Quick => &mut self.quick,
            SlotKind::Slow => &mut self.slow,
        }
    }
}

impl SlotBounds {
    /// The bounds for so many attempts in flight in all: 768 are 512 quick ones and 256 slow ones.
    pub fn of(attempts: usize) -> Self {
        let slow = attempts / 3;
        let quick = attempts - slow;
        Self { quick, new: (quick / 4 * 3).max(1), reserve: quick / 8, slow: slow.max(1) }
    }
}

impl LanePace {
    /// Where attempts of such lanes may start. What is new finds slow places, too, when too much is.
    fn kinds(self) -> &'static [SlotKind] {
        match self {
            Self::Proven => &[SlotKind::Quick],
            Self::New => &[SlotKind::Quick, SlotKind::Slow],
            Self::Slow => &[SlotKind::Slow],
        }
    }
}

impl Slots {
    /// Places that nobody holds.
    pub fn new(bounds: SlotBounds) -> Self {
        Self {
            bounds,
            new: 0,
            held: HashMap::default(),
            all: Share::default(),
            tenants: HashMap::default(),
            young: VecDeque::new(),
        }
    }

    /// Whether a lane of this pace could find a place, whoever its tenant is.
    pub fn has_room(&self, pace: LanePace) -> bool {
        pace.kinds().iter().any(|kind| self.free(*kind, pace, true) > 0)
    }

    /// How many places of a kind are free for lanes of this pace. `is_first`: for one that has nothing in flight.
    fn free(&self, kind: SlotKind, pace: LanePace, is_first: bool) -> usize {
        let SlotBounds { quick, new, reserve, slow } = self.bounds;
        if kind == SlotKind::Slow {
            return slow.saturating_sub(self.all.slow);
        }
        let reserve = if is_first { 0 } else { reserve };
        let free = quick.saturating_sub(self.all.quick + reserve);
        if pace == LanePace::New { free.min(new.saturating_sub(self.new)) } else { free }
    }

    /// The kind of place where an attempt of a tenant's lane may start now; none: it has to wait. `most`: attempts the
    /// tenant may have in flight.
    pub fn place(
        &self,
        tenant: &Option<Tenant>,
        pace: LanePace,
        is_first: bool,
        most: usize,
    ) -> Option<SlotKind> {
        let mut own = self.tenants.get(tenant).copied().unwrap_or_default();
        if own.quick + own.slow >= most {
            return None;
        }
        let mut fits = |kind: SlotKind| {
            let free = self.free(kind, pace, is_first);
            free > 0 && *own.of(kind) < (free / 2).max(1)
        };
        pace.kinds().iter().copied().find(|kind| fits(*kind))
    }

    /// An attempt starts.
    pub fn take(
        &mut self,
        id: DeliveryId,
        hook: HookId,
        tenant: Option<&Tenant>,
        start: (LanePace, SlotKind),
        now: Moment,
    ) {
        let (pace, kind) = start;
        let is_new = pace == LanePace::New && kind == SlotKind::Quick;
        let tenant = tenant.cloned();
        *self.all.of(kind) += 1;
        self.new += usize::from(is_new);
        *self.tenants.entry(tenant.clone()).or_default().of(kind) += 1;
        self.young.push_back((now + SLOW_AFTER, id));
        self.held
            .insert(id, Held { hook, tenant, since: now, is_new, kind, is_slow: false, is_ending: false });
    }

    /// An attempt has ended. True if it was slow.
    pub fn release(&mut self, id: DeliveryId) -> bool {
        let Some(held) = self.held.remove(&id) else { return false };
        if !held.is_ending {
            self.give_back(&held);
        }
        held.is_slow
    }

    fn give_back(&mut self, held: &Held) {
        *self.all.of(held.kind) -= 1;
        self.new -= usize::from(held.is_new);
        if let Some(share) = self.tenants.get_mut(&held.tenant) {
            *share.of(held.kind) -= 1;
            if *share == Share::default() {
                self.tenants.remove(&held.tenant);
            }
        }
    }

    /// When the next attempt becomes slow.
    pub fn next_slow(&mut self) -> Option<Moment> {
        while let Some((due, id)) = self.young.front() {
            if self.is_young(*due, *id) {
                return Some(*due);
            }
            self.young.pop_front();
        }
        None
    }

    /// Whether the attempt that was to be slow at `due` is in flight still: another one of its delivery may be.
    fn is_young(&self, due: Moment, id: DeliveryId) -> bool {
        self.held.get(&id).is_some_and(|held| held.since + SLOW_AFTER == due)
    }

    /// An attempt that is slow from here on; its hook.
    pub fn pass(&mut self, now: Moment) -> Option<HookId> {
        self.next_slow().filter(|due| *due <= now)?;
        let (_, id) = self.young.pop_front()?;
        let held = self.held.get_mut(&id)?;
        held.is_slow = true;
        self.new -= usize::from(std::mem::take(&mut held.is_new));
        let (hook, before) = (held.hook, std::mem::replace(&mut held.kind, SlotKind::Slow));
        if before == SlotKind::Quick {
            let share = self.tenants.entry(held.tenant.clone()).or_default();
            for share in [&mut self.all, share] {
                share.quick -= 1;
                share.slow += 1;
            }
        }
        Some(hook)
    }

    /// A slow attempt that is to end at once, since there are more than there are places for: the youngest of the
    /// tenant that holds most. None: there are not.
    pub fn excess(&mut self) -> Option<DeliveryId> {
        if self.all.slow <= self.bounds.slow {
            return None;
        }
        let held_by = |tenant: &Option<Tenant>| self.tenants.get(tenant).map_or(0, |share| share.slow);
        let slow = self.held.iter().filter(|(_, held)| held.is_slow && !held.is_ending);
        let (id, _) = slow.max_by_key(|(id, held)| (held_by(&held.tenant), held.since, **id))?;
        let id = *id;
        let held = self.held.get_mut(&id)?;
        held.is_ending = true;
        let held = held.clone();
        self.give_back(&held);
        Some(id)
    }
}

#[cfg(test)]
mod tests;
