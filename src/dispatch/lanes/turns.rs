//! Whose turn it is among the lanes that may start something.
//!
//! Of the tenants that have such lanes, the one that holds the fewest places goes first, of equal ones the one that
//! started least recently; within a tenant its lanes go in turn. If the first tenant finds no place, nobody does, so
//! nothing is searched, and no tenant stands in another's way.

use std::collections::{BTreeMap, BTreeSet};

use super::slots::{LanePace, Share, SlotKind};
use super::tenants::TenantNumber;
use crate::ids::HookId;

/// For each pace, the kinds of places its lanes may start in.
const QUEUES: [(LanePace, SlotKind); 4] = [
    (LanePace::Proven, SlotKind::Quick),
    (LanePace::New, SlotKind::Quick),
    (LanePace::New, SlotKind::Slow),
    (LanePace::Suspect, SlotKind::Slow),
];

/// When something came to wait, in the order of all that wait.
type Stamp = u64;

/// Where a lane waits for its turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneTurn {
    pace: LanePace,
    stamp: Stamp,
}

/// The lanes that may start something, and their tenants in order.
#[derive(Debug, Default)]
pub struct Turns {
    /// Tenants with lanes of that pace: by what they hold of that kind of places, then by their last start.
    queues: [BTreeSet<(usize, Stamp, TenantNumber)>; 4],
    /// By number.
    tenants: Vec<TenantTurns>,
    last: Stamp,
    /// The queue that is asked first.
    first: usize,
}

#[derive(Debug, Default)]
struct TenantTurns {
    /// Its lanes by pace, in turn.
    lanes: [BTreeMap<Stamp, HookId>; 3],
    /// Its last start.
    started: Stamp,
    /// What it holds, as the queues know it; none: it is not in that queue.
    queued: [Option<(usize, Stamp)>; 4],
}

impl Turns {
    /// For each queue, in the order in which they are asked next: its first tenant, and the pace of the lanes.
    pub fn heads(&mut self) -> [Option<(TenantNumber, LanePace)>; 4] {
        self.first = (self.first + 1) % QUEUES.len();
        [0, 1, 2, 3].map(|at| {
            let queue = (self.first + at) % QUEUES.len();
            self.queues[queue].first().map(|(_, _, tenant)| (*tenant, QUEUES[queue].0))
        })
    }

    /// The lane of a tenant and pace whose turn it is.
    pub fn lane(&self, tenant: TenantNumber, pace: LanePace) -> Option<HookId> {
        let lanes = &self.tenants.get(tenant.0)?.lanes[pace as usize];
        lanes.first_key_value().map(|(_, hook)| *hook)
    }

    /// Puts a lane behind the others of its tenant and pace, or takes it out: `pace` is none if it may start nothing.
    /// `turn`: where it waits now. To be followed by [`Self::arrange`].
    pub fn put(
        &mut self,
        (tenant, hook): (TenantNumber, HookId),
        turn: Option<LaneTurn>,
        pace: Option<LanePace>,
    ) -> Option<LaneTurn> {
        if turn.map(|turn| turn.pace) == pace {
            return turn;
        }
        self.last += 1;
        let stamp = self.last;
        let lanes = &mut self.tenant(tenant).lanes;
        if let Some(LaneTurn { pace, stamp }) = turn {
            lanes[pace as usize].remove(&stamp);
        }
        let pace = pace?;
        lanes[pace as usize].insert(stamp, hook);
        Some(LaneTurn { pace, stamp })
    }

    /// A tenant has started something: of those that hold as much, it is the last now. To be followed by
    /// [`Self::arrange`].
    pub fn started(&mut self, tenant: TenantNumber) {
        self.last += 1;
        self.tenant(tenant).started = self.last;
    }

    /// Puts a tenant in its place after something of it changed. `share`: what it holds; `may_start`: only its
    /// places hold it.
    pub fn arrange(&mut self, tenant: TenantNumber, share: Share, may_start: bool) {
        self.tenant(tenant);
        let (turns, queues) = (&mut self.tenants[tenant.0], &mut self.queues);
        for (at, (pace, kind)) in QUEUES.into_iter().enumerate() {
            let waits = may_start && !turns.lanes[pace as usize].is_empty();
            let wanted = waits.then_some((share.of(kind), turns.started));
            let before = std::mem::replace(&mut turns.queued[at], wanted);
            if before == wanted {
                continue;
            }
            if let Some((held, started)) = before {
                queues[at].remove(&(held, started, tenant));
            }
            if let Some((held, started)) = wanted {
                queues[at].insert((held, started, tenant));
            }
        }
    }

    fn tenant(&mut self, tenant: TenantNumber) -> &mut TenantTurns {
        if self.tenants.len() <= tenant.0 {
            self.tenants.resize_with(tenant.0 + 1, TenantTurns::default);
        }
        &mut self.tenants[tenant.0]
    }
}
