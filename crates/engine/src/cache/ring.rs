//! Entries found by key, in a ring: whoever has to go is found by a hand that goes round, and passes over those that were
//! used since it came by last (CLOCK, F. J. Corbató 1968).
//!
//! A list of least recent use drops almost the same, and moves an entry with each use: that writes to the entries that were
//! beside it, and to those that it comes to stand beside, which lie anywhere. Here a use sets a mark in the entry that was
//! found, and mostly it is set already. With a million entries that is what a look-up costs.

use hashbrown::HashTable;

use crate::doc::Key;

/// See the module. Hashes are those of the keys, always by the same hasher.
pub(super) struct Ring<V> {
    /// Where each key stands.
    places: HashTable<u32>,
    slots: Vec<Option<Slot<V>>>,
    /// The slots without an entry.
    vacant: Vec<u32>,
    /// The slot that is looked at next.
    hand: usize,
}

/// Where an entry stands, while nothing comes or goes.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

struct Slot<V> {
    hash: u64,
    key: Key,
    value: V,
    /// Since the hand came by?
    used: bool,
}

impl<V> Ring<V> {
    pub fn new() -> Ring<V> {
        Ring { places: HashTable::new(), slots: Vec::new(), vacant: Vec::new(), hand: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// An entry, which is used by that.
    pub fn get(&mut self, hash: u64, key: &Key) -> Option<&mut V> {
        let at = self.place(hash, key)?;
        let slot = self.slots[at].as_mut()?;
        if !slot.used {
            slot.used = true;
        }
        Some(&mut slot.value)
    }

    /// An entry, which is not used by that.
    pub fn peek(&self, hash: u64, key: &Key) -> Option<&V> {
        let at = self.place(hash, key)?;
        self.slots[at].as_ref().map(|slot| &slot.value)
    }

    /// Where each of many keys stands, if it does; in their order.
    ///
    /// A look-up waits for memory three times, each time for what it has to have before it knows where to look next. Where that is done for
    /// all keys before the next step of any, the processor waits for many of them at once.
    pub fn find_all<'k>(&self, wanted: impl Iterator<Item = (u64, &'k Key)> + Clone) -> Vec<Option<Place>> {
        let first = |(hash, _)| self.places.iter_hash(hash).next().copied();
        let places: Vec<Option<u32>> = wanted.clone().map(first).collect();
        let confirm = |((hash, key), place): ((u64, &Key), Option<u32>)| {
            let slot = self.slots[place? as usize].as_ref();
            match slot.is_some_and(|slot| slot.hash == hash && slot.key == *key) {
                true => place.map(|place| Place(place as usize)),
                // Another one whose hash begins alike.
                false => self.place(hash, key).map(Place),
            }
        };
        wanted.zip(places).map(confirm).collect()
    }

    /// The entry at a place, which is used by that if it `uses` it.
    pub fn at(&mut self, place: Place, uses: bool) -> Option<&V> {
        let slot = self.slots[place.0].as_mut()?;
        if uses && !slot.used {
            slot.used = true;
        }
        Some(&slot.value)
    }

    /// Adds an entry whose key is not there: the last but the newest that the hand comes to.
    pub fn add(&mut self, hash: u64, key: Key, value: V) {
        let slot = Some(Slot { hash, key, value, used: false });
        let at = match self.vacant.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer entries than fit into memory")
            }
        };
        let slots = &self.slots;
        let hash_at = |at: &u32| slots[*at as usize].as_ref().map_or(0, |slot| slot.hash);
        self.places.insert_unique(hash, at, hash_at);
    }

    /// Takes an entry out.
    pub fn remove(&mut self, hash: u64, key: &Key) -> Option<V> {
        let at = self.place(hash, key)?;
        self.take(at)
    }

    /// Takes one out that was not used lately; nothing where there is none at all.
    pub fn drop_one(&mut self) -> Option<V> {
        if self.len() == 0 {
            return None;
        }
        loop {
            let at = self.hand;
            self.hand += 1;
            match self.slots.get_mut(at) {
                None => self.hand = 0,
                Some(None) => {}
                Some(Some(slot)) if slot.used => slot.used = false,
                Some(Some(_)) => return self.take(at),
            }
        }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        *self = Ring::new();
    }

    fn place(&self, hash: u64, key: &Key) -> Option<usize> {
        let is_it = |at: &u32| self.slots[*at as usize].as_ref().is_some_and(|slot| slot.key == *key);
        self.places.find(hash, is_it).map(|at| *at as usize)
    }

    fn take(&mut self, at: usize) -> Option<V> {
        let slot = self.slots[at].take()?;
        if let Ok(place) = self.places.find_entry(slot.hash, |place| *place as usize == at) {
            let (place, _) = place.remove();
            self.vacant.push(place);
        }
        Some(slot.value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::BuildHasher;
    use std::mem::replace;

    use corollary_schema::TypeIx;
    use corollary_value::Id;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use smol_str::format_smolstr;

    use super::*;

    fn key(n: u8) -> Key {
        Key::new(TypeIx(0), Id::Name(format_smolstr!("k{n}")))
    }

    /// Few hashes, so that many keys share one.
    fn hash(key: &Key) -> u64 {
        foldhash::fast::FixedState::with_seed(1).hash_one(key) % 3
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn it_holds_what_a_map_holds(steps in vec((0u8..5, 0u8..12), 1..200)) {
            let (mut ring, mut map) = (Ring::new(), HashMap::new());
            for (at, (step, n)) in steps.into_iter().enumerate() {
                let key = key(n);
                let hash = hash(&key);
                match step {
                    0 | 1 => match ring.get(hash, &key) {
                        Some(value) => {
                            prop_assert_eq!(map.insert(n, at), Some(replace(value, at)));
                        }
                        None => {
                            prop_assert_eq!(map.insert(n, at), None);
                            ring.add(hash, key, at);
                        }
                    },
                    2 => prop_assert_eq!(ring.remove(hash, &key), map.remove(&n)),
                    3 => {
                        prop_assert_eq!(ring.peek(hash, &key), map.get(&n));
                        let keys: Vec<Key> = (0..12).map(self::key).collect();
                        let places = ring.find_all(keys.iter().map(|key| (self::hash(key), key)));
                        for (n, place) in (0..12).zip(places) {
                            prop_assert_eq!(place.and_then(|place| ring.at(place, false)), map.get(&n));
                        }
                    }
                    _ => match ring.drop_one() {
                        Some(value) => {
                            let before = map.len();
                            map.retain(|_, there| *there != value);
                            prop_assert_eq!(map.len() + 1, before);
                        }
                        None => prop_assert!(map.is_empty()),
                    },
                }
                prop_assert_eq!(ring.len(), map.len());
            }
        }
    }

    #[test]
    fn who_was_used_goes_behind_who_was_not() {
        let mut ring = Ring::new();
        for n in 0..4 {
            ring.add(hash(&key(n)), key(n), n);
        }
        ring.get(hash(&key(0)), &key(0));
        ring.get(hash(&key(2)), &key(2));
        assert_eq!(ring.peek(hash(&key(1)), &key(1)), Some(&1), "looked at, and not used");
        assert_eq!(ring.drop_one(), Some(1));
        // It comes where 1 was, behind the hand, which passes all others before.
        ring.add(hash(&key(4)), key(4), 4);
        let order = [(); 4].map(|()| ring.drop_one());
        assert_eq!(order, [Some(3), Some(0), Some(4), Some(2)], "0 and 2 were passed over once");
        assert_eq!(ring.drop_one(), None);
    }
}
