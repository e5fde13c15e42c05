//! A map in shards: a copy shares all of them, and a change of one key copies one.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;

type Shard<K, V> = HashMap<K, V, RandomState>;

/// Keys in one shard, about: what a change copies.
const KEYS: usize = 96;

/// At most this many shards: what a copy of the map copies.
const SHARDS: usize = 1024;

/// A map whose copies share what does not change.
#[derive(Clone, Debug)]
pub struct Shards<K, V> {
    /// Their number is a power of two.
    shards: Vec<Arc<Shard<K, V>>>,
    // The hash is seeded anew with every build, and callers of look-ups do not choose the keys: a fast hash is
    // safe.
    state: RandomState,
    len: usize,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let state = RandomState::default();
        Self { shards: vec![Arc::new(HashMap::with_hasher(state.clone()))], state, len: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    /// An empty map with as many shards as `count` keys need.
    pub fn for_about(count: usize) -> Self {
        let state = RandomState::default();
        let shards = (count / KEYS).next_power_of_two().clamp(1, SHARDS);
        let shards = (0..shards).map(|_| Arc::new(HashMap::with_hasher(state.clone()))).collect();
        Self { shards, state, len: 0 }
    }

    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[self.place(key)].get(key)
    }

    /// Sets the value of a key; the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.len >= 2 * KEYS * self.shards.len() && self.shards.len() < SHARDS {
            self.grow();
        }
        let place = self.place(&key);
        let before = Arc::make_mut(&mut self.shards[place]).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Removes a key if its value is the one meant.
    pub fn remove_if<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, is_meant: impl Fn(&V) -> bool)
    where
        K: Borrow<Q>,
    {
        let place = self.place(key);
        if self.shards[place].get(key).is_some_and(is_meant) {
            Arc::make_mut(&mut self.shards[place]).remove(key);
            self.len -= 1;
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    /// The shard of a key. Its bits of the hash are none of those that place the key within the shard.
    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        match self.shards.len() {
            1 => 0,
            count => (self.state.hash_one(key) >> 40) as usize & (count - 1),
        }
    }

    fn grow(&mut self) {
        let mut grown = Self::for_about(self.len * 4);
        for (key, value) in self.shards.iter().flat_map(|shard| shard.iter()) {
            let place = grown.place(key);
            Arc::make_mut(&mut grown.shards[place]).insert(key.clone(), value.clone());
        }
        *self = Self { len: self.len, ..grown };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds_and_copies_keep_what_they_had(
            steps in prop::collection::vec((0..400_u32, any::<bool>()), 1..800),
        ) {
            let (mut shards, mut plain) = (Shards::default(), HashMap::new());
            let mut copies = Vec::new();
            for (at, (key, add)) in steps.into_iter().enumerate() {
                if at % 100 == 0 {
                    copies.push((shards.clone(), plain.clone()));
                }
                if add {
                    prop_assert_eq!(shards.insert(key, at), plain.insert(key, at));
                } else {
                    shards.remove_if(&key, |_| true);
                    plain.remove(&key);
                }
            }
            copies.push((shards, plain));
            for (shards, plain) in copies {
                prop_assert_eq!(shards.len(), plain.len());
                prop_assert_eq!(shards.values().count(), plain.len());
                for key in 0..400 {
                    prop_assert_eq!(shards.get(&key), plain.get(&key));
                }
            }
        }
    }

    #[test]
    fn a_change_copies_one_shard() {
        let mut shards = Shards::for_about(100_000);
        for key in 0..100_000 {
            shards.insert(key, key);
        }
        let mut changed = shards.clone();
        changed.insert(7, 8);
        let same = shards.shards.iter().zip(&changed.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!((shards.shards.len(), same), (SHARDS, SHARDS - 1));
        let longest = shards.shards.iter().map(|shard| shard.len()).max().expect("shards");
        assert!(longest < 3 * KEYS, "{longest}");
    }
}
