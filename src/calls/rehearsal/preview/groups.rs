//! Calls that would go elsewhere, by what they have in common.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::fact::KeptFact;
use crate::route::{Reason, Route, Rule};

/// Callers can dial anything, so the groups are bounded: beyond this many, all others are counted by where they
/// went and would go only.
const GROUPS: usize = 10_000;

/// What calls that would go elsewhere have in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Moved {
    pub dialled: WasDialled,
    /// The tenant they went to; none: nobody.
    pub before: Option<String>,
    /// The tenant they would go to; none: nobody.
    pub after: Option<String>,
    /// Why they would go to nobody.
    pub reason: Option<Reason>,
    /// What of the new table does it.
    pub why: String,
    /// The table in force would not do the same.
    pub by_edit: bool,
}

impl Moved {
    /// The same of a call in progress that the new table would cut off.
    pub fn cut_off(self) -> Self {
        let why = "`now: true` cuts calls in progress off".to_owned();
        Self { after: None, reason: Some(Reason::HookRemoved), why, by_edit: true, ..self }
    }
}

/// What was dialled, as far as it matters.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum WasDialled {
    Domain(String),
    Number(String),
    Trunk(String),
    /// The tenant's own URL it came by.
    Url(String),
    /// Neither header nor number: or one of very many.
    Other,
}

impl WasDialled {
    /// What an event was routed by, or would be.
    pub fn of(fact: &KeptFact, route: &Route) -> Self {
        let after = route.outcome.as_ref().ok().map(|(_, rule)| *rule);
        let rules = [fact.went.rule(), after];
        let is = |wanted: Rule| rules.contains(&Some(wanted));
        let caller = fact.facts.caller.as_ref();
        let number = caller.and_then(|caller| caller.number.as_deref());
        let trunk =
            caller.and_then(|caller| caller.trunk.as_deref()).or(fact.facts.outbound_trunk.as_deref());
        match (number, trunk, &route.domain, fact.door.tenant()) {
            (.., Some(tenant)) => Self::Url(tenant.to_string()),
            (Some(number), ..) if is(Rule::Number) => Self::Number(number.to_owned()),
            (_, Some(trunk), ..) if is(Rule::Trunk) => Self::Trunk(trunk.to_owned()),
            (.., Some(domain), None) => Self::Domain(domain.to_string()),
            (Some(number), ..) => Self::Number(number.to_owned()),
            (None, Some(trunk), ..) => Self::Trunk(trunk.to_owned()),
            (None, None, None, None) => Self::Other,
        }
    }
}

/// A group, by its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MovedGroup(u32);

impl MovedGroup {
    /// Calls in progress.
    pub const LIVE: Self = Self(u32::MAX);
}

/// All groups that were found.
#[derive(Default)]
pub struct Groups {
    places: HashMap<Moved, MovedGroup>,
    all: Vec<Moved>,
}

impl Groups {
    /// The group of what was found.
    pub fn of(&mut self, mut moved: Moved) -> MovedGroup {
        if self.all.len() >= GROUPS && !self.places.contains_key(&moved) {
            moved = Moved { dialled: WasDialled::Other, why: String::new(), ..moved };
        }
        let next = MovedGroup(u32::try_from(self.all.len()).unwrap_or(u32::MAX - 1));
        let place = *self.places.entry(moved.clone()).or_insert(next);
        if place == next {
            self.all.push(moved);
        }
        place
    }

    /// Whether what was found goes from and to the tenants of a group.
    pub fn is_alike(&self, group: MovedGroup, moved: &Moved) -> bool {
        let known = usize::try_from(group.0).ok().and_then(|place| self.all.get(place));
        known.is_some_and(|known| known.before == moved.before && known.after == moved.after)
    }

    /// How many calls each group has, the most first; and how many are in progress. `calls`: one group for each.
    pub fn counted(self, calls: impl Iterator<Item = MovedGroup>) -> (Vec<(Moved, usize)>, usize) {
        let (mut counts, mut live) = (vec![0; self.all.len()], 0);
        for group in calls {
            let place = usize::try_from(group.0).ok();
            match place.and_then(|place| counts.get_mut(place)) {
                Some(count) => *count += 1,
                None => live += 1,
            }
        }
        let groups = self.all.into_iter().zip(counts);
        let mut found: Vec<_> = groups.filter(|(_, count)| *count > 0).collect();
        found.sort_by_key(|(moved, count)| (!moved.by_edit, Reverse(*count)));
        (found, live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_ten_thousand_groups_moved_calls_are_told_apart_by_their_places_only() {
        let moved = |domain: usize| Moved {
            dialled: WasDialled::Domain(format!("{domain}.example")),
            before: Some("acme".to_owned()),
            after: None,
            reason: None,
            why: "the edit".to_owned(),
            by_edit: true,
        };
        let mut groups = Groups::default();
        let found: Vec<_> = (0..GROUPS + 5).map(|domain| groups.of(moved(domain))).collect();
        let (counted, _) = groups.counted(found.into_iter());
        let of_others = |(moved, _): &&(Moved, usize)| moved.dialled == WasDialled::Other;
        assert_eq!(counted.len(), GROUPS + 1);
        assert_eq!(counted.iter().find(of_others).map(|(_, count)| *count), Some(5));
    }
}
