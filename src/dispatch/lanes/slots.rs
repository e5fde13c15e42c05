//! Who holds the places for attempts in flight. Pure.
//!
//! An attempt past one second is slow from that moment and moves to the places of slow ones; a quick place is
//! therefore never held for longer. Attempts of lanes that hang start there. A tenant may hold at most half
//! of what is free besides (a dynamic threshold: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6, 1998), so
//! that a few tenants never take everything, and one alone is hardly held.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::tenants::TenantNumber;
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
    /// And so many are kept for tenants that hold no quick place.
    pub reserve: usize,
    /// Attempts of suspect lanes, and all that are older than a second.
    pub slow: usize,
}

/// What is expected of a lane's next attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LanePace {
    /// That it is quick: the last one was, and none is slow now.
    Proven,
    /// Nothing: none has ended yet, or the last one was slow and had an answer.
    New,
    /// That it is slow: one is now, or the last one was and had no answer.
    Suspect,
}

/// All places, and who holds them.
#[derive(Debug)]
pub struct Slots {
    bounds: SlotBounds,
    /// Quick ones of lanes that were new when they started.
    new: usize,
    held: HashMap<DeliveryId, Held, RandomState>,
    all: Share,
    /// What each tenant holds, by number.
    tenants: Vec<Share>,
    /// When each attempt will be slow, in order; those that have ended stay until then.
    young: VecDeque<(Moment, DeliveryId)>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    hook: HookId,
    tenant: TenantNumber,
    since: Moment,
    /// Of its lane, when it started.
    pace: LanePace,
    kind: SlotKind,
    /// It has been in flight for [`SLOW_AFTER`].
    is_slow: bool,
    /// It was told to end, and its place is given back.
    is_ending: bool,
}

impl Held {
    /// Whether it holds one of the places that lanes of which nothing is known may take.
    fn is_new(&self) -> bool {
        self.pace == LanePace::New && self.kind == SlotKind::Quick
    }
}

/// A kind of places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotKind {
    /// For attempts up to a second old.
    Quick,
    /// For those that are slow, or are expected to be.
    Slow,
}

impl SlotKind {
    /// The name it has in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Slow => "slow",
        }
    }
}

/// How many places somebody holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Share {
    quick: usize,
    slow: usize,
}

impl Share {
    /// Those of one kind.
    pub fn of(self, kind: SlotKind) -> usize {
        match kind {
            SlotKind::Quick => self.quick,
            SlotKind::Slow => self.slow,
        }
    }

    /// All of them.
    pub fn all(self) -> usize {
        self.quick + self.slow
    }

    /// One moves from the quick places to the slow ones.
    fn slow_down(&mut self) {
        self.quick -= 1;
        self.slow += 1;
    }

    fn of_mut(&mut self, kind: SlotKind) -> &mut usize {
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
            Self::Suspect => &[SlotKind::Slow],
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
            tenants: Vec::new(),
            young: VecDeque::new(),
        }
    }

    /// For each kind of places its name, how many are held, and how many there are.
    pub fn measures(&self) -> [(&'static str, usize, usize); 2] {
        let SlotBounds { quick, slow, .. } = self.bounds;
        [(SlotKind::Quick, quick), (SlotKind::Slow, slow)]
            .map(|(kind, limit)| (kind.as_str(), self.all.of(kind), limit))
    }

    /// What a tenant holds.
    pub fn share(&self, tenant: TenantNumber) -> Share {
        self.tenants.get(tenant.0).copied().unwrap_or_default()
    }

    /// How many places of a kind are free for lanes of this pace. `own`: how many their tenant holds.
    fn free(&self, kind: SlotKind, pace: LanePace, own: usize) -> usize {
        let SlotBounds { quick, new, reserve, slow } = self.bounds;
        if kind == SlotKind::Slow {
            return slow.saturating_sub(self.all.slow);
        }
        let reserve = if own == 0 { 0 } else { reserve };
        let free = quick.saturating_sub(self.all.quick + reserve);
        if pace == LanePace::New { free.min(new.saturating_sub(self.new)) } else { free }
    }

    /// The kind of place where an attempt of a tenant's lane may start now; none: it has to wait. The fewer places of
    /// a kind a tenant holds, the sooner it finds one.
    pub fn place(&self, tenant: TenantNumber, pace: LanePace) -> Option<SlotKind> {
        let share = self.share(tenant);
        let fits = |kind: &SlotKind| {
            let own = share.of(*kind);
            let free = self.free(*kind, pace, own);
            free > 0 && own < (free / 2).max(1)
        };
        pace.kinds().iter().copied().find(fits)
    }

    /// An attempt starts.
    pub fn take(
        &mut self,
        id: DeliveryId,
        (tenant, hook): (TenantNumber, HookId),
        (pace, kind): (LanePace, SlotKind),
        now: Moment,
    ) {
        let held = Held { hook, tenant, since: now, pace, kind, is_slow: false, is_ending: false };
        self.new += usize::from(held.is_new());
        *self.all.of_mut(kind) += 1;
        *self.share_mut(tenant).of_mut(kind) += 1;
        self.young.push_back((now + SLOW_AFTER, id));
        self.held.insert(id, held);
    }

    fn share_mut(&mut self, tenant: TenantNumber) -> &mut Share {
        if self.tenants.len() <= tenant.0 {
            self.tenants.resize(tenant.0 + 1, Share::default());
        }
        &mut self.tenants[tenant.0]
    }

    /// An attempt has ended. True if it was slow.
    pub fn release(&mut self, id: DeliveryId) -> bool {
        let Some(held) = self.held.remove(&id) else { return false };
        if !held.is_ending {
            self.give_back(held);
        }
        held.is_slow
    }

    fn give_back(&mut self, held: Held) {
        self.new -= usize::from(held.is_new());
        *self.all.of_mut(held.kind) -= 1;
        *self.share_mut(held.tenant).of_mut(held.kind) -= 1;
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

    /// Whether the attempt that was to be slow at `due` is in flight and is not slow yet. Another one of its delivery
    /// may be in flight, even one that began at the same time.
    fn is_young(&self, due: Moment, id: DeliveryId) -> bool {
        self.held.get(&id).is_some_and(|held| !held.is_slow && held.since + SLOW_AFTER == due)
    }

    /// An attempt that is slow from here on; its hook.
    pub fn pass(&mut self, now: Moment) -> Option<HookId> {
        self.next_slow().filter(|due| *due <= now)?;
        let (_, id) = self.young.pop_front()?;
        let held = self.held.get_mut(&id)?;
        held.is_slow = true;
        let before = *held;
        held.kind = SlotKind::Slow;
        if before.kind == SlotKind::Quick {
            self.new -= usize::from(before.is_new());
            self.all.slow_down();
            self.share_mut(before.tenant).slow_down();
        }
        Some(before.hook)
    }

    /// Slow attempts that are to end at once, with their hooks, since there are more than there are places for: of
    /// whichever tenant holds most, beginning with those whose lanes were not known to be quick, then with the oldest.
    pub fn excess(&mut self) -> Vec<(DeliveryId, HookId)> {
        let most = self.all.slow.saturating_sub(self.bounds.slow);
        if most == 0 {
            return Vec::new();
        }
        let ending = self.choose(most);
        for (id, _) in &ending {
            if let Some(held) = self.held.get_mut(id) {
                held.is_ending = true;
                let held = *held;
                self.give_back(held);
            }
        }
        ending
    }

    fn choose(&self, most: usize) -> Vec<(DeliveryId, HookId)> {
        let slow = self.held.iter().filter(|(_, held)| held.is_slow && !held.is_ending);
        let mut by_tenant: HashMap<_, Vec<_>, RandomState> = HashMap::default();
        for (id, held) in slow {
            let rank = (held.pace != LanePace::Proven, Reverse((held.since, *id)), held.hook);
            by_tenant.entry(held.tenant).or_default().push(rank);
        }
        // The last of each list ends first.
        by_tenant.values_mut().for_each(|slow| slow.sort_unstable());
        let next = |slow: &Vec<_>, tenant| Some((slow.len(), *slow.last()?, tenant));
        let mut heap: BinaryHeap<_> =
            by_tenant.iter().filter_map(|(tenant, slow)| next(slow, *tenant)).collect();
        let mut chosen = Vec::with_capacity(most);
        while chosen.len() < most
            && let Some((_, (_, Reverse((_, id)), hook), tenant)) = heap.pop()
        {
            chosen.push((id, hook));
            if let Some(slow) = by_tenant.get_mut(&tenant) {
                slow.pop();
                heap.extend(next(slow, tenant));
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests;
