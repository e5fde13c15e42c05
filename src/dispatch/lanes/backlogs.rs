//! What waits for whom, for the metrics: the largest tenants by name, and the others as one.

use std::cmp::Reverse;

use crate::dispatch::lane::LaneFigures;
use crate::hooks::Tenant;
use crate::ids::DeliveryId;

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
    /// Adds the figures of others.
    pub fn add(&mut self, other: &Self) {
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

impl LargestTenants {
    /// Of these tenants' figures the `most` largest, and all others as one.
    pub fn of(totals: &[TenantFigures], most: usize) -> Self {
        let with =
            |figure: fn(&TenantFigures) -> usize| totals.iter().filter(move |one| figure(one) > 0).collect();
        Self {
            paused: cut(with(|one| one.paused), most, |one| one.paused),
            open: cut(with(|one| one.open), most, |one| one.open),
            waiting: cut(totals.iter().collect(), most, |one| one.pending),
        }
    }
}

fn cut(
    mut totals: Vec<&TenantFigures>,
    most: usize,
    size: fn(&TenantFigures) -> usize,
) -> Vec<TenantFigures> {
    if totals.len() > most {
        totals.select_nth_unstable_by_key(most, |one| Reverse(size(one)));
    }
    let (mut largest, mut rest) = (Vec::new(), None);
    for (rank, one) in totals.into_iter().enumerate() {
        if rank < most && one.tenant.is_some() {
            largest.push(one.clone());
        } else {
            rest.get_or_insert_with(TenantFigures::default).add(one);
        }
    }
    largest.extend(rest);
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(number: usize, pending: usize, oldest: Option<i64>, paused: usize) -> TenantFigures {
        let tenant = Tenant::new(&format!("t{number}")).filter(|_| number > 0);
        TenantFigures { tenant, pending, oldest: oldest.map(DeliveryId), paused, open: paused }
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
        let totals = vec![
            figures(0, 0, None, 0),
            figures(1, 0, None, 0),
            figures(2, 7, Some(1), 1),
            figures(3, 2, Some(2), 2),
            figures(4, 1, Some(4), 0),
            figures(5, 0, None, 1),
        ];
        let LargestTenants { waiting, paused, open } = LargestTenants::of(&totals, 2);
        assert_eq!(told(&open), told(&paused));
        let named = |name: &str, pending, oldest, paused| (name.to_owned(), pending, oldest, paused);
        let rest = named("other", 1, Some(4), 1);
        assert_eq!(told(&waiting), [rest, named("t2", 7, Some(1), 1), named("t3", 2, Some(2), 2)]);
        assert_eq!(paused.iter().map(|one| one.paused).sum::<usize>(), 4);
        // With room for all, a tenant without anything that waits is told, too.
        assert!(told(&LargestTenants::of(&totals, 100).waiting).contains(&named("t1", 0, None, 0)));
    }
}
