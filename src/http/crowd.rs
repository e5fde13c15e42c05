//! Which connection is closed for a new one, while all places are taken. Pure.
//!
//! The oldest connection that has shown no valid token goes, first of all one of an address that has more than its
//! share of those. LiveKit is one address with thousands of connections: what has shown a valid token is not counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Of the places for connections without a valid token, one address has an eighth before its own are closed first.
const SHARE: usize = 8;

/// Of all places, a quarter can be had by connections that only tenants' tokens vouch for: a tenant can make as many
/// valid tokens as it likes, and must not keep LiveKit or operators out.
const OF_TENANTS: usize = 4;

/// Whose valid token a connection has shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Voucher {
    /// A token signed with one of the platform's LiveKit keys, or an operator's API token.
    Operator,
    /// A token signed with a tenant's own LiveKit key, or a tenant's API token.
    Tenant,
}

/// The connections of one listener. `T`: what closes one.
pub struct Crowd<T> {
    places: usize,
    entered: u64,
    /// Those without a valid token, by number: the first is the oldest.
    strangers: BTreeMap<u64, (IpAddr, T)>,
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
    /// Addresses by how many strangers they have; among equals, the one with the oldest is last.
    ranked: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
    known: HashMap<u64, Voucher>,
    of_tenants: usize,
}

impl<T> Crowd<T> {
    /// Nobody yet, where there are so many places.
    pub fn new(places: usize) -> Self {
        Self {
            places,
            entered: 0,
            strangers: BTreeMap::new(),
            by_address: HashMap::new(),
            ranked: BTreeSet::new(),
            known: HashMap::new(),
            of_tenants: 0,
        }
    }

    /// A new connection, without a valid token yet: its number.
    pub fn enter(&mut self, address: IpAddr, cut: T) -> u64 {
        self.entered += 1;
        let number = self.entered;
        self.strangers.insert(number, (address, cut));
        self.change(address, |numbers| numbers.insert(number));
        number
    }

    /// The connection has shown a valid token. False: it is treated as before, as tenants have their share already,
    /// or it is being closed.
    pub fn vouch(&mut self, number: u64, voucher: Voucher) -> bool {
        let is_tenants = voucher == Voucher::Tenant;
        if is_tenants && self.of_tenants >= self.places / OF_TENANTS {
            return false;
        }
        let is_here = self.take(number).is_some();
        if is_here {
            self.known.insert(number, voucher);
            self.of_tenants += usize::from(is_tenants);
        }
        is_here
    }

    /// The connection is closed.
    pub fn leave(&mut self, number: u64) {
        self.take(number);
        let voucher = self.known.remove(&number);
        self.of_tenants -= usize::from(voucher == Some(Voucher::Tenant));
    }

    /// What closes the connection whose turn it is; none if all have shown a valid token.
    pub fn dismiss(&mut self) -> Option<T> {
        let share = (self.places.saturating_sub(self.known.len()) / SHARE).max(1);
        let oldest = *self.strangers.keys().next()?;
        let number = match self.ranked.last() {
            Some((count, Reverse(oldest), _)) if *count > share => *oldest,
            _ => oldest,
        };
        self.take(number)
    }

    /// Takes a connection out of the strangers.
    fn take(&mut self, number: u64) -> Option<T> {
        let (address, cut) = self.strangers.remove(&number)?;
        self.change(address, |numbers| numbers.remove(&number));
        Some(cut)
    }

    /// Changes which strangers an address has, and its rank.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let rank = |numbers: &BTreeSet<u64>| {
            numbers.first().map(|oldest| (numbers.len(), Reverse(*oldest), address))
        };
        let numbers = self.by_address.entry(address).or_default();
        if let Some(before) = rank(numbers) {
            self.ranked.remove(&before);
        }
        change(numbers);
        match rank(numbers) {
            Some(after) => drop(self.ranked.insert(after)),
            None => drop(self.by_address.remove(&address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// A crowd of connections named by their numbers.
    fn crowd(places: usize, addresses: &[u8]) -> Crowd<u64> {
        let mut crowd = Crowd::new(places);
        for (number, last) in (1..).zip(addresses) {
            assert_eq!(crowd.enter(address(*last), number), number);
        }
        crowd
    }

    #[test]
    fn the_oldest_stranger_goes_first_unless_an_address_has_more_than_its_share() {
        // Addresses in order of arrival, the numbers of those with a valid token, and who goes, in order.
        type Case = (&'static str, &'static [u8], &'static [u64], &'static [u64]);
        let cases: [Case; 6] = [
            ("nobody", &[], &[], &[]),
            ("one each: the oldest", &[1, 2, 3, 4], &[], &[1, 2, 3, 4]),
            ("who is known stays", &[1, 2, 3, 4], &[1, 3], &[2, 4]),
            ("all are known", &[1, 1, 1], &[1, 2, 3], &[]),
            ("over its share of 2, until it is not", &[1, 2, 9, 9, 9, 9], &[], &[3, 4, 1, 2, 5, 6]),
            ("the share is one of what the known leave", &[1, 9, 9, 9, 9, 2], &[2, 3], &[4, 1, 5, 6]),
        ];
        for (what, addresses, known, order) in cases {
            let mut crowd = crowd(16, addresses);
            for number in known {
                assert!(crowd.vouch(*number, Voucher::Operator), "{what}");
            }
            let gone: Vec<u64> = std::iter::from_fn(|| crowd.dismiss()).collect();
            assert_eq!(gone, order, "{what}");
        }
    }

    #[test]
    fn a_quarter_of_the_places_is_tenants_at_most() {
        let mut crowd = crowd(8, &[1, 1, 1, 1]);
        let vouched = [1, 2, 3].map(|number| crowd.vouch(number, Voucher::Tenant));
        assert_eq!(vouched, [true, true, false]);
        assert!(crowd.vouch(4, Voucher::Operator));
        assert_eq!((crowd.dismiss(), crowd.dismiss()), (Some(3), None));
        crowd.leave(1);
        let next = crowd.enter(address(1), 5);
        assert!(crowd.vouch(next, Voucher::Tenant));
        assert!(!crowd.vouch(3, Voucher::Operator), "it is being closed");
    }

    proptest! {
        #[test]
        fn nothing_is_kept_of_who_has_left(
            steps in proptest::collection::vec((0u8..4, 0u8..3, 0usize..40), 0..200),
        ) {
            let mut crowd = Crowd::new(16);
            let (mut present, mut known) = (Vec::new(), HashSet::new());
            for (step, last, which) in steps {
                let one = present.get(which).copied();
                match (step, one) {
                    (0, _) => {
                        let number = crowd.enter(address(last), crowd.entered + 1);
                        present.push(number);
                    }
                    (1, Some(number)) => {
                        crowd.leave(number);
                        present.retain(|other| *other != number);
                    }
                    (2, Some(number)) => {
                        crowd.vouch(number, Voucher::Operator);
                        known.insert(number);
                    }
                    (3, _) => {
                        let strangers: Vec<u64> =
                            present.iter().copied().filter(|number| !known.contains(number)).collect();
                        let gone = crowd.dismiss();
                        prop_assert_eq!(gone.is_some(), !strangers.is_empty());
                        prop_assert!(gone.is_none_or(|number| strangers.contains(&number)));
                        present.retain(|other| Some(*other) != gone);
                    }
                    _ => {}
                }
                prop_assert_eq!(crowd.ranked.len(), crowd.by_address.len());
            }
            present.iter().for_each(|number| crowd.leave(*number));
            let left = (crowd.strangers.len(), crowd.by_address.len(), crowd.known.len(), crowd.of_tenants);
            prop_assert_eq!(left, (0, 0, 0, 0));
        }
    }
}
