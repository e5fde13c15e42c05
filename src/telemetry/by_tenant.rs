//! Figures by tenant, of which only the largest are told apart.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Tenants that have a label of their own; the rest are `other`.
const TENANTS: usize = 100;

/// The label of the rest.
const OTHER: &str = "other";

/// Figures by tenant.
pub struct ByTenant<'a, T> {
    figures: HashMap<&'a str, T, RandomState>,
    merge: fn(&mut T, T),
}

impl<'a, T> ByTenant<'a, T> {
    /// No figures yet. `merge`: adds a figure to another.
    pub fn new(merge: fn(&mut T, T)) -> Self {
        Self { figures: HashMap::default(), merge }
    }

    /// Adds a figure of a tenant.
    pub fn add(&mut self, tenant: &'a str, figure: T) {
        match self.figures.get_mut(tenant) {
            Some(all) => (self.merge)(all, figure),
            None => drop(self.figures.insert(tenant, figure)),
        }
    }

    /// The tenants with the largest figures, by name, and all others as one.
    pub fn largest(self, size: impl Fn(&T) -> usize) -> Vec<(String, T)> {
        let mut all: Vec<_> = self.figures.into_iter().collect();
        let rest = if all.len() > TENANTS {
            // Of equal ones the first by name, so that labels do not change with each scrape.
            all.select_nth_unstable_by(TENANTS, |(a, x), (b, y)| {
                size(y).cmp(&size(x)).then_with(|| a.cmp(b))
            });
            all.split_off(TENANTS)
        } else {
            Vec::new()
        };
        let mut largest: Vec<_> =
            all.into_iter().map(|(tenant, figure)| (tenant.to_owned(), figure)).collect();
        for (_, figure) in rest {
            match largest.iter_mut().rev().find(|(tenant, _)| tenant == OTHER) {
                Some((_, other)) => (self.merge)(other, figure),
                None => largest.push((OTHER.to_owned(), figure)),
            }
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_have_names_and_the_rest_are_one() {
        let names: Vec<String> = (0..250).map(|n| format!("t{n:03}")).collect();
        let mut tenants = ByTenant::new(|all: &mut usize, one| *all += one);
        for (n, name) in names.iter().enumerate() {
            // The last fifty have two, all others one.
            (0..1 + n / 200).for_each(|_| tenants.add(name, 1));
        }
        let largest: HashMap<_, _> = tenants.largest(|count| *count).into_iter().collect();
        assert_eq!(largest.len(), 101);
        assert_eq!((largest["t249"], largest["t000"], largest["t049"], largest["other"]), (2, 1, 1, 150));
        assert!(!largest.contains_key("t050"));
        let mut few = ByTenant::new(|all: &mut usize, one| *all += one);
        few.add("a", 0);
        assert_eq!(few.largest(|count| *count), [("a".to_owned(), 0)]);
    }
}
