//! What waits for whom, kept beside the lanes: a scrape of the metrics must not look into each of them.

use std::cmp::Reverse;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::dispatch::lane::LaneFigures;
use crate::hooks::Tenant;
use crate::ids::{DeliveryId, HookId};

/// Figures of one tenant's lanes, or of several tenants' together.
#[derive(Clone, Debug, Default)]
pub struct TenantFigures {
    /// None: of tenants that are not told apart, and of hooks that are unknown.
    pub tenant: Option<Tenant>,
    pub pending: usize,
    pub oldest: Option<DeliveryId>,
    /// Hooks that are paused.
    pub paused: usize,
    /// Hooks whose breaker is open.
    pub open: usize,
}

impl TenantFigures {
    fn add(&mut self, other: &Self) {
        self.pending += other.pending;
        // Ids rise with the time of arrival.
        self.oldest = [self.oldest, other.oldest].into_iter().flatten().min();
        self.paused += other.paused;
        self.open += other.open;
    }
}

impl From<LaneFigures> for TenantFigures {
    fn from(lane: LaneFigures) -> Self {
        let LaneFigures { pending, bytes: _, oldest, paused, open } = lane;
        Self { tenant: None, pending, oldest, paused: usize::from(paused), open: usize::from(open) }
    }
}

/// The tenants with the most.
#[derive(Debug, Default)]
pub struct LargestTenants {
    /// By what waits.
    pub waiting: Vec<TenantFigures>,
    /// By paused hooks; only those that have some.
    pub paused: Vec<TenantFigures>,
    /// By open breakers; only those that have some.
    pub open: Vec<TenantFigures>,
}

#[derive(Debug)]
struct Row {
    hook: HookId,
    tenant: usize,
    figures: LaneFigures,
}

/// What waits for one tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Total {
    pub pending: usize,
    pub bytes: u64,
}

/// The figures of all lanes, one row each.
#[derive(Debug, Default)]
pub struct Backlogs {
    rows: Vec<Row>,
    /// What waits for each tenant, by number.
    totals: Vec<Total>,
    /// Tenants by number, from 1; 0 has the lanes of unknown hooks.
    tenants: Vec<Tenant>,
    numbers: HashMap<Tenant, usize, RandomState>,
}

impl Backlogs {
    /// Adds the row of a new lane; its number.
    pub fn add(&mut self, hook: HookId, tenant: Option<&Tenant>) -> usize {
        let tenant = tenant.map_or(0, |tenant| self.number(tenant));
        let figures = LaneFigures::default();
        self.rows.push(Row { hook, tenant, figures });
        self.rows.len() - 1
    }

    fn number(&mut self, tenant: &Tenant) -> usize {
        if let Some(number) = self.numbers.get(tenant) {
            return *number;
        }
        self.tenants.push(tenant.clone());
        self.numbers.insert(tenant.clone(), self.tenants.len());
        self.tenants.len()
    }

    /// Writes the figures of a lane.
    pub fn set(&mut self, row: usize, figures: LaneFigures) {
        let Some(row) = self.rows.get_mut(row) else { return };
        let (before, tenant) = (std::mem::replace(&mut row.figures, figures), row.tenant);
        self.replace(tenant, before, figures);
    }

    fn replace(&mut self, tenant: usize, before: LaneFigures, figures: LaneFigures) {
        if self.totals.len() <= tenant {
            self.totals.resize(tenant + 1, Total::default());
        }
        let total = &mut self.totals[tenant];
        total.pending = total.pending + figures.pending - before.pending;
        total.bytes = total.bytes + figures.bytes - before.bytes;
    }

    /// What waits for the tenant of this lane.
    pub fn total(&self, row: usize) -> Total {
        let tenant = self.rows.get(row).map_or(0, |row| row.tenant);
        self.totals.get(tenant).copied().unwrap_or_default()
    }

    /// The lane for which most waits of those of the tenant of this lane.
    pub fn fullest(&self, row: usize) -> Option<HookId> {
        let row = self.rows.get(row)?;
        let total = self.totals.get(row.tenant).copied().unwrap_or_default();
        // Mostly there is no need to look at the others.
        if 2 * row.figures.pending > total.pending {
            return Some(row.hook);
        }
        let others = self.rows.iter().filter(|other| other.tenant == row.tenant);
        others.max_by_key(|other| other.figures.pending).map(|other| other.hook)
    }

    /// Removes the row of a lane; the hook whose row has its number from here on.
    pub fn remove(&mut self, row: usize) -> Option<HookId> {
        if row < self.rows.len() {
            self.set(row, LaneFigures::default());
            self.rows.swap_remove(row);
        }
        self.forget_tenants();
        self.rows.get(row).map(|row| row.hook)
    }

    /// Numbers the tenants anew once most of them have no lane any more.
    fn forget_tenants(&mut self) {
        if self.tenants.len() <= 2 * self.rows.len() + 1000 {
            return;
        }
        let (before, mut rows) = (std::mem::take(&mut self.tenants), std::mem::take(&mut self.rows));
        self.numbers.clear();
        self.totals.clear();
        for row in &mut rows {
            let tenant = row.tenant.checked_sub(1).and_then(|at| before.get(at));
            row.tenant = tenant.map_or(0, |tenant| self.number(tenant));
            self.replace(row.tenant, LaneFigures::default(), row.figures);
        }
        self.rows = rows;
    }

    /// The `most` tenants with the largest figures, and all others as one.
    pub fn largest(&self, most: usize) -> LargestTenants {
        let mut totals = vec![TenantFigures::default(); self.tenants.len() + 1];
        let mut known = vec![false; totals.len()];
        for Row { tenant, figures, .. } in &self.rows {
            totals[*tenant].add(&(*figures).into());
            known[*tenant] = true;
        }
        let with_lanes: Vec<_> = (0..totals.len()).filter(|number| known[*number]).collect();
        let with = |figure: fn(&TenantFigures) -> usize| {
            with_lanes.iter().copied().filter(|number| figure(&totals[*number]) > 0).collect()
        };
        LargestTenants {
            paused: self.cut(&totals, with(|total| total.paused), most, |total| total.paused),
            open: self.cut(&totals, with(|total| total.open), most, |total| total.open),
            waiting: self.cut(&totals, with_lanes, most, |total| total.pending),
        }
    }

    fn cut(
        &self,
        totals: &[TenantFigures],
        mut numbers: Vec<usize>,
        most: usize,
        size: fn(&TenantFigures) -> usize,
    ) -> Vec<TenantFigures> {
        if numbers.len() > most {
            // Of equal ones the first by number: comparing names would look at each name in memory.
            numbers.select_nth_unstable_by_key(most, |number| (Reverse(size(&totals[*number])), *number));
        }
        let (mut largest, mut rest) = (Vec::new(), None);
        for (rank, number) in numbers.into_iter().enumerate() {
            let total = &totals[number];
            match number.checked_sub(1).and_then(|at| self.tenants.get(at)) {
                Some(tenant) if rank < most => {
                    largest.push(TenantFigures { tenant: Some(tenant.clone()), ..total.clone() });
                }
                _ => rest.get_or_insert_with(TenantFigures::default).add(total),
            }
        }
        largest.extend(rest);
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(n: usize) -> Tenant {
        Tenant::new(&format!("t{n}")).expect("a name")
    }

    /// Rows of hooks 0, 1, …, each of `(tenant, pending, paused)`, whose oldest delivery has the hook's number.
    fn backlogs(lanes: &[(usize, usize, bool)]) -> Backlogs {
        let mut backlogs = Backlogs::default();
        for (hook, (of, pending, paused)) in (0..).zip(lanes) {
            let row = backlogs.add(HookId(hook), Some(&tenant(*of)));
            let oldest = (*pending > 0).then_some(DeliveryId(hook));
            backlogs.set(
                row,
                LaneFigures {
                    pending: *pending,
                    bytes: 10 * *pending as u64,
                    oldest,
                    paused: *paused,
                    open: *paused,
                },
            );
        }
        backlogs
    }

    fn told(figures: &[TenantFigures]) -> Vec<(String, usize, Option<i64>, usize)> {
        let name = |tenant: &Option<Tenant>| tenant.as_ref().map_or("other".to_owned(), ToString::to_string);
        let row =
            |one: &TenantFigures| (name(&one.tenant), one.pending, one.oldest.map(|id| id.0), one.paused);
        let mut told: Vec<_> = figures.iter().map(row).collect();
        told.sort();
        told
    }

    #[test]
    fn the_largest_tenants_are_told_apart_and_the_rest_are_one() {
        let lanes = [
            (1, 0, false),
            (2, 5, false),
            (3, 1, true),
            (2, 2, true),
            (4, 1, false),
            (5, 0, true),
            (3, 1, true),
        ];
        let mut backlogs = backlogs(&lanes);
        backlogs.add(HookId(99), None);
        let LargestTenants { waiting, paused, open } = backlogs.largest(2);
        assert_eq!(told(&open), told(&paused));
        let named = |name: &str, pending, oldest, paused| (name.to_owned(), pending, oldest, paused);
        let rest = named("other", 1, Some(4), 1);
        assert_eq!(told(&waiting), [rest, named("t2", 7, Some(1), 1), named("t3", 2, Some(2), 2)]);
        let rest = named("other", 0, None, 1);
        assert_eq!(told(&paused), [rest, named("t2", 7, Some(1), 1), named("t3", 2, Some(2), 2)]);
        // With room for all, a tenant without anything that waits is told, too.
        assert!(told(&backlogs.largest(100).waiting).contains(&named("t1", 0, None, 0)));
    }

    #[test]
    fn what_waits_for_a_tenant_is_counted_over_its_lanes() {
        let mut backlogs = backlogs(&[(1, 3, false), (2, 50, false), (1, 4, false)]);
        assert_eq!(backlogs.total(0), Total { pending: 7, bytes: 70 });
        assert_eq!([0, 1, 2].map(|row| backlogs.fullest(row)), [2, 1, 2].map(|hook| Some(HookId(hook))));
        backlogs.set(2, LaneFigures { pending: 1, bytes: 5, ..LaneFigures::default() });
        assert_eq!(
            (backlogs.total(0), backlogs.fullest(2)),
            (Total { pending: 4, bytes: 35 }, Some(HookId(0)))
        );
        backlogs.remove(0);
        assert_eq!(backlogs.total(0), Total { pending: 1, bytes: 5 });
    }

    #[test]
    fn a_row_that_goes_leaves_its_number_to_another_and_tenants_without_lanes_are_forgotten() {
        let lanes: Vec<_> = (0..1500).map(|n| (n, n, false)).collect();
        let mut backlogs = backlogs(&lanes);
        assert_eq!(backlogs.remove(0), Some(HookId(1499)));
        while backlogs.rows.len() > 3 {
            backlogs.remove(3);
        }
        assert!(backlogs.tenants.len() <= 1006, "{}", backlogs.tenants.len());
        let left = told(&backlogs.largest(100).waiting);
        assert_eq!(
            left.iter().map(|row| (row.0.as_str(), row.1)).collect::<Vec<_>>(),
            [("t1", 1), ("t1499", 1499), ("t2", 2)]
        );
        assert_eq!([0, 1, 2].map(|row| backlogs.total(row).pending), [1499, 1, 2]);
        assert_eq!(backlogs.remove(2), None);
    }
}
