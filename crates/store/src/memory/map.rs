//! A sorted map of byte strings whose clones share what they have in common.
//!
//! Two levels: a list of leaves, each a sorted list of at most [`LEAF_ENTRIES`] entries. Cloning copies one
//! reference; the first change after that copies the list of leaves (references) and the leaf that it touches.
//! Invariant: no leaf is empty, and the keys of all leaves, one after the other, strictly increase.

use std::ops::Bound;
use std::sync::Arc;

use crate::{Direction, KeyRange, Visit};

/// The most entries of a leaf; one more splits it in two.
const LEAF_ENTRIES: usize = 64;

type Bytes = Arc<[u8]>;
type Leaf = Vec<(Bytes, Bytes)>;

#[derive(Clone, Default, Debug)]
pub(super) struct Map {
    leaves: Arc<Vec<Arc<Leaf>>>,
    /// Bytes of all keys and values.
    bytes: u64,
}

impl Map {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        let leaf = self.leaves.get(self.leaf_of(key))?;
        let at = leaf.binary_search_by(|(found, _)| (**found).cmp(key)).ok()?;
        Some(&leaf[at].1)
    }

    pub(super) fn insert(&mut self, key: &[u8], value: &[u8]) {
        let at_leaf = self.leaf_of(key);
        let leaves = Arc::make_mut(&mut self.leaves);
        // A key behind all others belongs to the last leaf.
        let at_leaf = at_leaf.min(leaves.len().saturating_sub(1));
        if leaves.is_empty() {
            leaves.push(Arc::default());
        }
        let leaf = Arc::make_mut(&mut leaves[at_leaf]);
        match leaf.binary_search_by(|(found, _)| (**found).cmp(key)) {
            Ok(at) => {
                self.bytes -= leaf[at].1.len() as u64;
                leaf[at].1 = value.into();
            }
            Err(at) => {
                self.bytes += key.len() as u64;
                leaf.insert(at, (key.into(), value.into()));
            }
        }
        self.bytes += value.len() as u64;
        if leaf.len() > LEAF_ENTRIES {
            let upper = leaf.split_off(LEAF_ENTRIES / 2);
            leaves.insert(at_leaf + 1, Arc::new(upper));
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.remove_range(&KeyRange::only(key));
    }

    pub(super) fn remove_range(&mut self, range: &KeyRange) {
        let (start, end) = (self.position(&range.from, false), self.position(&range.to, true));
        if range.is_empty() || start >= end {
            return;
        }
        self.bytes -=
            self.entries(start, end).map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
        let leaves = Arc::make_mut(&mut self.leaves);
        if start.0 == end.0 {
            Arc::make_mut(&mut leaves[start.0]).drain(start.1..end.1);
            return;
        }
        if end.1 > 0 {
            Arc::make_mut(&mut leaves[end.0]).drain(..end.1);
        }
        if start.1 > 0 {
            Arc::make_mut(&mut leaves[start.0]).truncate(start.1);
        }
        let first_whole = if start.1 > 0 { start.0 + 1 } else { start.0 };
        leaves.drain(first_whole..end.0);
    }

    /// Visits the entries of `range` as [`Snapshot::scan`](crate::Snapshot::scan) promises.
    pub(super) fn scan(&self, range: &KeyRange, direction: Direction, limit: usize, visit: &mut Visit<'_>) {
        if range.is_empty() {
            return;
        }
        let (start, end) = (self.position(&range.from, false), self.position(&range.to, true));
        let mut visit_entry = |(key, value): &(Bytes, Bytes)| visit(key, value);
        // A break is the visitor's wish to end, and nothing more to do here.
        let _ = match direction {
            Direction::Forward => self.entries(start, end).take(limit).try_for_each(&mut visit_entry),
            Direction::Backward => self.entries(start, end).rev().take(limit).try_for_each(&mut visit_entry),
        };
    }

    /// The leaf that holds `key` if any does: the first whose last key is not less; one past the end if there is none.
    fn leaf_of(&self, key: &[u8]) -> usize {
        self.leaves.partition_point(|leaf| leaf.last().is_some_and(|(last, _)| &**last < key))
    }

    /// The position (leaf, entry) of the first entry that lies behind a bound: for a lower bound (`upper` false) the
    /// first entry of the range, for an upper one the first entry past it. Always that of an entry, or the end.
    fn position(&self, bound: &Bound<Vec<u8>>, upper: bool) -> (usize, usize) {
        let (key, skip_equal) = match bound {
            Bound::Unbounded if upper => return (self.leaves.len(), 0),
            Bound::Unbounded => return (0, 0),
            Bound::Included(key) => (key.as_slice(), upper),
            Bound::Excluded(key) => (key.as_slice(), !upper),
        };
        let leaf = self.leaf_of(key);
        let Some(entries) = self.leaves.get(leaf) else { return (leaf, 0) };
        let entry =
            entries.partition_point(|(found, _)| if skip_equal { **found <= *key } else { **found < *key });
        if entry == entries.len() { (leaf + 1, 0) } else { (leaf, entry) }
    }

    /// The entries from one position up to another, which is not before it.
    fn entries(
        &self,
        start: (usize, usize),
        end: (usize, usize),
    ) -> impl DoubleEndedIterator<Item = &(Bytes, Bytes)> {
        let last = if end.1 == 0 { end.0 } else { end.0 + 1 };
        (start.0..last).flat_map(move |at| {
            let leaf = &self.leaves[at];
            let from = if at == start.0 { start.1 } else { 0 };
            let to = if at == end.0 { end.1 } else { leaf.len() };
            &leaf[from..to]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::ops::ControlFlow;

    fn check(map: &Map, expected: &BTreeMap<Vec<u8>, Vec<u8>>) {
        assert!(map.leaves.iter().all(|leaf| !leaf.is_empty() && leaf.len() <= LEAF_ENTRIES));
        let mut found = Vec::new();
        map.scan(&KeyRange::all(), Direction::Forward, usize::MAX, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        });
        assert_eq!(found, expected.clone().into_iter().collect::<Vec<_>>());
        assert_eq!(
            map.bytes(),
            found.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>()
        );
    }

    /// Keys in an order that is neither sorted nor random, over many leaves.
    fn scattered(count: u32) -> impl Iterator<Item = [u8; 4]> {
        (0..count).map(move |n| (n.wrapping_mul(2_654_435_761) % count).to_be_bytes())
    }

    #[test]
    fn agrees_with_a_sorted_map_over_many_leaves() {
        let (mut map, mut expected) = (Map::default(), BTreeMap::new());
        for key in scattered(5_000) {
            map.insert(&key, &key[2..]);
            expected.insert(key.to_vec(), key[2..].to_vec());
        }
        check(&map, &expected);
        let before = (map.clone(), expected.clone());
        for key in scattered(5_000).step_by(3) {
            map.remove(&key);
            expected.remove(&key[..]);
        }
        check(&map, &expected);
        let ranges = [(100u32, 101u32), (200, 900), (890, 950), (4_000, 9_999), (0, 1)];
        for (from, to) in ranges {
            let range = KeyRange::between(from.to_be_bytes(), to.to_be_bytes());
            map.remove_range(&range);
            expected.retain(|key, _| !range.contains(key));
            check(&map, &expected);
        }
        map.remove_range(&KeyRange::all());
        check(&map, &BTreeMap::new());
        check(&before.0, &before.1);
    }
}
