//! Which connection is closed for a new one, while all places are taken. Pure.
//!
//! The oldest connection that has shown no valid token goes, first of all one of an address that has more than its
//! share of those. LiveKit is one address with thousands of connections: what has shown a valid token is not counted,
//! and goes only if there are no others and it has been idle: its client may be gone without a word.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Moment;

/// A connection that has shown a valid token is closed for another one once it has been idle so long.
pub const IDLE: Duration = Duration::from_secs(10);

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
    known: HashMap<u64, Known<T>>,
    /// The known ones by a moment before which none of them was idle: since then or later. It is brought up to date when
    /// one is looked for, so that requests need not tell.
    rested: BTreeSet<(Moment, u64)>,
    of_tenants: usize,
}

/// A connection that has shown a valid token.
struct Known<T> {
    voucher: Voucher,
    cut: T,
    /// Its place in `rested`.
    rested: Moment,
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
            rested: BTreeSet::new(),
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

    /// The connection has shown a valid token just `now`. False: it is treated as before, as tenants have their share
    /// already, or it is being closed.
    pub fn vouch(&mut self, number: u64, voucher: Voucher, now: Moment) -> bool {
        let is_tenants = voucher == Voucher::Tenant;
        if is_tenants && self.of_tenants >= self.places / OF_TENANTS {
            return false;
        }
        let Some(cut) = self.take(number) else { return false };
        self.known.insert(number, Known { voucher, cut, rested: now });
        self.rested.insert((now, number));
        self.of_tenants += usize::from(is_tenants);
        true
    }

    /// The connection is closed.
    pub fn leave(&mut self, number: u64) {
        self.take(number);
        self.take_known(number);
    }

    /// What closes the connection whose turn it is; none if all have shown a valid token and are in use.
    /// `idle_since`: since when one has been idle; none while it is busy.
    pub fn dismiss(&mut self, now: Moment, idle_since: impl Fn(&T) -> Option<Moment>) -> Option<T> {
        self.dismiss_stranger().or_else(|| self.dismiss_idle(now, idle_since))
    }

    fn dismiss_stranger(&mut self) -> Option<T> {
        let share = (self.places.saturating_sub(self.known.len()) / SHARE).max(1);
        let oldest = *self.strangers.keys().next()?;
        let number = match self.ranked.last() {
            Some((count, Reverse(oldest), _)) if *count > share => *oldest,
            _ => oldest,
        };
        self.take(number)
    }

    /// Takes out the known connection that has been idle longest, if that is long enough. Each one that was not idle is
    /// looked at only once in that time.
    fn dismiss_idle(&mut self, now: Moment, idle_since: impl Fn(&T) -> Option<Moment>) -> Option<T> {
        loop {
            let (rested, number) = *self.rested.first()?;
            if now.since(rested) < IDLE {
                return None;
            }
            let known = self.known.get_mut(&number)?;
            let since = idle_since(&known.cut).unwrap_or(now);
            if since <= rested {
                return self.take_known(number);
            }
            known.rested = since;
            self.rested.remove(&(rested, number));
            self.rested.insert((since, number));
        }
    }

    /// Takes a connection out of the known ones.
    fn take_known(&mut self, number: u64) -> Option<T> {
        let Known { voucher, cut, rested } = self.known.remove(&number)?;
        self.rested.remove(&(rested, number));
        self.of_tenants -= usize::from(voucher == Voucher::Tenant);
        Some(cut)
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

    fn at(second: u64) -> Moment {
        Moment::default() + Duration::from_secs(second)
    }

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
                assert!(crowd.vouch(*number, Voucher::Operator, at(0)), "{what}");
            }
            let gone: Vec<u64> = std::iter::from_fn(|| crowd.dismiss(at(0), |_| None)).collect();
            assert_eq!(gone, order, "{what}");
        }
    }

    #[test]
    fn a_quarter_of_the_places_is_tenants_at_most() {
        let mut crowd = crowd(8, &[1, 1, 1, 1]);
        let vouched = [1, 2, 3].map(|number| crowd.vouch(number, Voucher::Tenant, at(0)));
        assert_eq!(vouched, [true, true, false]);
        assert!(crowd.vouch(4, Voucher::Operator, at(0)));
        let mut dismiss = || crowd.dismiss(at(0), |_| None);
        assert_eq!((dismiss(), dismiss()), (Some(3), None));
        crowd.leave(1);
        let next = crowd.enter(address(1), 5);
        assert!(crowd.vouch(next, Voucher::Tenant, at(0)));
        assert!(!crowd.vouch(3, Voucher::Operator, at(0)), "it is being closed");
    }

    #[test]
    fn when_all_are_known_the_one_that_has_been_idle_longest_goes_after_ten_seconds() {
        let mut crowd = crowd(4, &[1, 1, 1, 1]);
        assert!(crowd.vouch(1, Voucher::Tenant, at(1)));
        for number in [2, 3, 4] {
            assert!(crowd.vouch(number, Voucher::Operator, at(number)));
        }
        // The first is busy all the time, the second was until second 9.
        let idle_since = |number: &u64| [None, Some(at(9)), Some(at(3)), Some(at(4))][*number as usize - 1];
        let cases =
            [(12, None), (13, Some(3)), (13, None), (18, Some(4)), (18, None), (19, Some(2)), (99, None)];
        for (second, gone) in cases {
            assert_eq!(crowd.dismiss(at(second), idle_since), gone, "{second}");
        }
        let stranger = crowd.enter(address(1), 5);
        assert_eq!(crowd.dismiss(at(200), |_| Some(at(0))), Some(stranger), "strangers go first");
        assert_eq!(crowd.of_tenants, 1);
        assert_eq!(crowd.dismiss(at(200), |_| Some(at(0))), Some(1));
        assert_eq!(crowd.of_tenants, 0);
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
                        crowd.vouch(number, Voucher::Operator, at(0));
                        known.insert(number);
                    }
                    (3, _) => {
                        let strangers: Vec<u64> =
                            present.iter().copied().filter(|number| !known.contains(number)).collect();
                        let gone = crowd.dismiss(at(0), |_| None);
                        prop_assert_eq!(gone.is_some(), !strangers.is_empty());
                        prop_assert!(gone.is_none_or(|number| strangers.contains(&number)));
                        present.retain(|other| Some(*other) != gone);
                    }
                    _ => {}
                }
                prop_assert_eq!(crowd.ranked.len(), crowd.by_address.len());
                prop_assert_eq!(crowd.rested.len(), crowd.known.len());
            }
            present.iter().for_each(|number| crowd.leave(*number));
            let left = (crowd.strangers.len(), crowd.by_address.len(), crowd.known.len(), crowd.of_tenants);
            prop_assert_eq!(left, (0, 0, 0, 0));
        }
    }
}
