//! The tenants that have lanes: what waits for each, lane by lane, and what each may have.
//!
//! A tenant has a number while it has a lane, so that what starts and ends looks no name up.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::backlogs::{LargestTenants, TenantFigures};
use crate::dispatch::lane::{FailureAllowance, LaneFigures};
use crate::hooks::{Most, Tenant};
use crate::ids::HookId;
use crate::telemetry::Seldom;
use crate::time::Moment;

/// The log says at most this often that too much waits for a tenant.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Stands for a tenant while it has lanes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TenantNumber(pub usize);

/// Where the figures of a lane are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowPlace {
    pub tenant: TenantNumber,
    row: usize,
}

/// One tenant, as far as all its lanes together concern.
#[derive(Debug)]
pub struct TenantSeat {
    /// None: hooks that are in no table.
    name: Option<Tenant>,
    pub most: Most,
    pub failures: FailureAllowance,
    /// When it may start something again; none: nothing but its places holds it.
    pub wake: Option<Moment>,
    /// The log of too much that waits for it.
    full: Seldom,
    rows: Vec<Row>,
    total: Total,
}

#[derive(Debug)]
struct Row {
    hook: HookId,
    figures: LaneFigures,
    /// Bytes of the bodies it keeps in memory.
    kept: usize,
}

/// What waits for one tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Total {
    pending: usize,
    bytes: u64,
    kept: usize,
}

/// All tenants that have lanes.
#[derive(Debug, Default)]
pub struct Tenants {
    /// By number. Those without lanes wait for another tenant.
    seats: Vec<TenantSeat>,
    numbers: HashMap<Option<Tenant>, TenantNumber, RandomState>,
    free: Vec<TenantNumber>,
    /// Bytes of the bodies that all lanes keep in memory.
    kept: usize,
}

impl TenantSeat {
    fn new(name: Option<Tenant>, most: Most) -> Self {
        let failures = FailureAllowance::of_tenant();
        let full = Seldom::new(SAY_AGAIN);
        Self { name, most, failures, wake: None, full, rows: Vec::new(), total: Total::default() }
    }

    /// Its name; none: hooks that are in no table.
    pub fn name(&self) -> Option<&Tenant> {
        self.name.as_ref()
    }

    /// Whether more waits for it than may.
    pub fn is_overfull(&self) -> bool {
        self.total.pending > self.most.pending || self.total.bytes > self.most.pending_bytes
    }

    /// One of its deliveries is given up for that. If the log is to say so: how often it happened since it did last.
    pub fn gives_up(&self, now: Moment) -> Option<u64> {
        self.full.admit(now)
    }

    /// The lane for which most waits.
    pub fn fullest(&self) -> Option<HookId> {
        self.rows.iter().max_by_key(|row| row.figures.pending).map(|row| row.hook)
    }

    fn set(&mut self, row: usize, figures: LaneFigures, kept: usize) {
        let Some(row) = self.rows.get_mut(row) else { return };
        let before = std::mem::replace(row, Row { hook: row.hook, figures, kept });
        self.total.pending = self.total.pending + figures.pending - before.figures.pending;
        self.total.bytes = self.total.bytes + figures.bytes - before.figures.bytes;
        self.total.kept = self.total.kept + kept - before.kept;
    }

    /// The figures of its lanes together.
    pub fn figures(&self) -> TenantFigures {
        let mut sum = TenantFigures { tenant: self.name.clone(), ..TenantFigures::default() };
        self.rows.iter().for_each(|row| sum.add(&row.figures.into()));
        sum
    }
}

impl Tenants {
    /// The fullest lane of each tenant for which more waits than may.
    pub fn overfull(&self) -> Vec<HookId> {
        let overfull = self.seats.iter().filter(|tenant| tenant.is_overfull());
        overfull.filter_map(TenantSeat::fullest).collect()
    }

    /// Adds a new lane of a tenant, which may have `most`.
    pub fn add(&mut self, hook: HookId, tenant: Option<&Tenant>, most: Most) -> RowPlace {
        let name = tenant.cloned();
        let number = match self.numbers.get(&name) {
            Some(number) => *number,
            None => self.enter(name, most),
        };
        let rows = &mut self.seats[number.0].rows;
        rows.push(Row { hook, figures: LaneFigures::default(), kept: 0 });
        RowPlace { tenant: number, row: rows.len() - 1 }
    }

    fn enter(&mut self, name: Option<Tenant>, most: Most) -> TenantNumber {
        let seat = TenantSeat::new(name.clone(), most);
        let number = match self.free.pop() {
            Some(number) => {
                self.seats[number.0] = seat;
                number
            }
            None => {
                self.seats.push(seat);
                TenantNumber(self.seats.len() - 1)
            }
        };
        self.numbers.insert(name, number);
        number
    }

    /// A tenant that has lanes.
    pub fn seat(&self, tenant: TenantNumber) -> Option<&TenantSeat> {
        self.seats.get(tenant.0)
    }

    /// The same, to change it.
    pub fn seat_mut(&mut self, tenant: TenantNumber) -> Option<&mut TenantSeat> {
        self.seats.get_mut(tenant.0)
    }

    /// Writes the figures of a lane, and how many bytes of bodies it keeps in memory.
    pub fn set(&mut self, place: RowPlace, figures: LaneFigures, kept: usize) {
        let Some(seat) = self.seats.get_mut(place.tenant.0) else { return };
        let before = seat.total.kept;
        seat.set(place.row, figures, kept);
        self.kept = self.kept + seat.total.kept - before;
    }

    /// Bytes of the bodies that the lanes of a tenant keep in memory, and those of all.
    pub fn kept(&self, tenant: TenantNumber) -> (usize, usize) {
        (self.seat(tenant).map_or(0, |seat| seat.total.kept), self.kept)
    }

    /// Removes a lane, and its tenant with its last one. The hook whose figures are kept at `place` from here on.
    pub fn remove(&mut self, place: RowPlace) -> Option<HookId> {
        self.set(place, LaneFigures::default(), 0);
        let seat = self.seats.get_mut(place.tenant.0)?;
        if place.row < seat.rows.len() {
            seat.rows.swap_remove(place.row);
        }
        if seat.rows.is_empty()
            && let Some(number) = self.numbers.remove(&seat.name)
        {
            *seat = TenantSeat::new(None, seat.most);
            self.free.push(number);
        }
        self.seats.get(place.tenant.0)?.rows.get(place.row).map(|row| row.hook)
    }

    /// The `most` tenants with the largest figures, and all others as one.
    pub fn largest(&self, most: usize) -> LargestTenants {
        let with_lanes = self.seats.iter().filter(|seat| !seat.rows.is_empty());
        LargestTenants::of(&with_lanes.map(TenantSeat::figures).collect::<Vec<_>>(), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::HookTable;
    use crate::ids::DeliveryId;

    fn tenant(n: usize) -> Tenant {
        Tenant::new(&format!("t{n}")).expect("a name")
    }

    fn figures(pending: usize) -> LaneFigures {
        LaneFigures { pending, bytes: 10 * pending as u64, oldest: None, paused: false, open: false }
    }

    /// Lanes of hooks 0, 1, …, each of `(tenant, pending)`.
    fn lanes(lanes: &[(usize, usize)]) -> (Tenants, Vec<RowPlace>) {
        let (mut tenants, most) = (Tenants::default(), HookTable::default().limits_of(None));
        let mut add = |(hook, (of, pending)): (i64, &(usize, usize))| {
            let place = tenants.add(HookId(hook), Some(&tenant(*of)), most);
            let oldest = (*pending > 0).then_some(DeliveryId(hook));
            tenants.set(place, LaneFigures { oldest, ..figures(*pending) }, *pending);
            place
        };
        let places = (0..).zip(lanes).map(&mut add).collect();
        (tenants, places)
    }

    #[test]
    fn what_waits_for_a_tenant_is_counted_over_its_lanes() {
        let (mut tenants, places) = lanes(&[(1, 3), (2, 50), (1, 4)]);
        let seat = |tenants: &Tenants, at: usize| {
            let seat = tenants.seat(places[at].tenant).expect("it has lanes");
            (seat.total.pending, seat.total.bytes, seat.fullest().map(|hook| hook.0))
        };
        assert_eq!([0, 1].map(|at| seat(&tenants, at)), [(7, 70, Some(2)), (50, 500, Some(1))]);
        assert_eq!(tenants.kept(places[0].tenant), (7, 57));
        tenants.set(places[2], figures(1), 1);
        assert_eq!(seat(&tenants, 0), (4, 40, Some(0)));
        assert_eq!(tenants.remove(places[0]), Some(HookId(2)));
        assert_eq!(seat(&tenants, 0), (1, 10, Some(2)));
        assert_eq!(tenants.kept(places[0].tenant), (1, 51));
    }

    #[test]
    fn a_tenant_without_lanes_leaves_its_number_to_another() {
        let (mut tenants, places) = lanes(&[(1, 3), (2, 5)]);
        assert_eq!(tenants.remove(places[0]), None);
        let most = HookTable::default().limits_of(None);
        assert_eq!(tenants.add(HookId(9), Some(&tenant(3)), most), places[0]);
        let told: Vec<_> =
            tenants.largest(9).waiting.into_iter().map(|one| (one.tenant, one.pending)).collect();
        assert_eq!(told, [(Some(tenant(3)), 0), (Some(tenant(2)), 5)]);
        assert_eq!((tenants.seats.len(), tenants.numbers.len()), (2, 2));
    }

    #[test]
    fn a_tenant_is_over_its_limits_by_deliveries_or_by_their_bytes() {
        let (mut tenants, places) = lanes(&[(1, 3), (2, 3)]);
        let most = HookTable::default().limits_of(None);
        assert_eq!(tenants.overfull(), []);
        tenants.set(places[0], LaneFigures { bytes: most.pending_bytes + 1, ..figures(3) }, 0);
        assert_eq!(tenants.overfull(), [HookId(0)]);
        tenants.set(places[1], LaneFigures { bytes: 0, ..figures(most.pending + 1) }, 0);
        assert_eq!(tenants.overfull(), [HookId(0), HookId(1)]);
    }
}
