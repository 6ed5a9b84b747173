//! A layer: the points of some commits in a row, the newest of each key.
//!
//! There is one [`Layer`] that takes up commits at a time, and any number of [`View`]s of what it, or one before it,
//! was at some moment. Invariant: a view never changes. Read next: [`tree`](super::tree).

use std::sync::Arc;

use super::arena::{Arena, Entry};
use super::probe::Probe;
use super::tree::{Range, Tree};
use crate::{Direction, KeyRange, Keyspace};

/// Bytes that an entry takes in the tree, about.
const ENTRY_BYTES: u64 = 36;

/// A layer as it was at one moment.
#[derive(Clone, Default)]
pub(in crate::embedded) struct View {
    tree: Tree,
    arena: Arc<Arena>,
}

impl View {
    /// What it knows of a key: its value, or that it is deleted (`Some(None)`), or nothing.
    pub(in crate::embedded) fn get(&self, keyspace: Keyspace, key: &[u8]) -> Option<Option<&[u8]>> {
        let entry = self.tree.find(&self.arena, Probe::new(keyspace, key))?;
        Some(self.arena.value(entry))
    }

    /// What it knows of a range, in order.
    pub(in crate::embedded) fn range<'a>(
        &'a self,
        keyspace: Keyspace,
        range: &'a KeyRange,
        direction: Direction,
    ) -> Range<'a> {
        self.tree.range(&self.arena, keyspace, range, direction)
    }

    /// All that it knows, in order.
    pub(in crate::embedded) fn all(&self) -> Range<'_> {
        self.tree.all(&self.arena)
    }
}

/// A layer that takes up commits.
#[derive(Default)]
pub(in crate::embedded) struct Layer {
    view: View,
    records: u32,
    bytes: u64,
    pages: u64,
}

/// A layer that takes up no more commits.
#[derive(Clone)]
pub(in crate::embedded) struct Frozen {
    pub(in crate::embedded) view: View,
    /// The last commit in it.
    pub(in crate::embedded) through: u64,
    pages: u64,
}

impl Frozen {
    /// The most pages by which the data file may have to grow for it.
    pub(in crate::embedded) fn pages(&self) -> u64 {
        self.pages
    }
}

/// What a commit adds to a layer.
pub(in crate::embedded) struct Addition<'a> {
    /// The payload of its record.
    pub(in crate::embedded) payload: Arc<[u8]>,
    /// Where its points are in the payload, sorted by key.
    pub(in crate::embedded) entries: &'a mut [Entry],
    /// Bytes that it takes in the journal.
    pub(in crate::embedded) journal_bytes: u64,
    /// The most pages by which the data file may have to grow for it.
    pub(in crate::embedded) pages: u64,
}

impl Addition<'_> {
    /// What it counts for where layers are limited: what it takes in memory or in the journal, whichever is more.
    pub(in crate::embedded) fn bytes(&self) -> u64 {
        self.journal_bytes + Self::entry_bytes(self.entries.len())
    }

    /// What so many entries take in memory, about.
    pub(in crate::embedded) fn entry_bytes(entries: usize) -> u64 {
        ENTRY_BYTES * entries as u64
    }
}

impl Layer {
    /// Takes up a commit.
    pub(in crate::embedded) fn add(&mut self, addition: &mut Addition<'_>) {
        for entry in &mut *addition.entries {
            entry.record = self.records;
        }
        self.view.arena.add(self.records, addition.payload.clone());
        self.view.tree.merge(&self.view.arena, addition.entries);
        self.records += 1;
        self.bytes += addition.bytes();
        self.pages += addition.pages;
    }

    /// A layer that goes on from what this one holds, which must be given up for it: their records have the same
    /// numbers from here on.
    pub(in crate::embedded) fn fork(&self) -> Self {
        Self { view: self.view.clone(), ..*self }
    }

    /// What it holds now.
    pub(in crate::embedded) fn view(&self) -> View {
        self.view.clone()
    }

    /// What it holds now, to be applied; the last commit in it is `through`.
    pub(in crate::embedded) fn freeze(&self, through: u64) -> Frozen {
        Frozen { view: self.view(), through, pages: self.pages }
    }

    /// What its commits count for, of keys changed again too.
    pub(in crate::embedded) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The most pages by which the data file may have to grow for it.
    pub(in crate::embedded) fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether no commit has been taken up.
    pub(in crate::embedded) fn is_empty(&self) -> bool {
        self.records == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<(u8, Vec<u8>), Option<Vec<u8>>>;

    /// Adds points as a commit does.
    fn add(layer: &mut Layer, points: &Model) {
        let (mut payload, mut entries) = (Vec::new(), Vec::new());
        for ((keyspace, key), value) in points {
            let value_bytes = value.as_ref().map_or(Entry::DELETED, |value| value.len() as u32);
            let key_bytes = key.len() as u16 + 1;
            entries.push(Entry { record: 0, at: payload.len() as u32, value_bytes, key_bytes });
            payload.push(*keyspace);
            payload.extend_from_slice(key);
            payload.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        layer.add(&mut Addition {
            payload: payload.into(),
            entries: &mut entries,
            journal_bytes: 1,
            pages: 1,
        });
    }

    fn check(view: &View, model: &Model) {
        let found: Model =
            view.all().map(|(key, value)| ((key[0], key[1..].to_vec()), value.map(<[u8]>::to_vec))).collect();
        assert_eq!(view.all().count(), found.len(), "keys differ");
        assert!(view.all().is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(found, *model);
    }

    fn check_range(view: &View, model: &Model, keyspace: u8, range: &KeyRange) {
        let mut expected: Vec<(Vec<u8>, Option<Vec<u8>>)> = model
            .iter()
            .filter(|((space, key), _)| *space == keyspace && range.contains(key))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        for direction in [Direction::Forward, Direction::Backward] {
            let found: Vec<_> = view
                .range(Keyspace(keyspace), range, direction)
                .map(|(key, value)| (key[1..].to_vec(), value.map(<[u8]>::to_vec)))
                .collect();
            assert_eq!(found, expected, "{range:?} {direction:?}");
            expected.reverse();
        }
    }

    /// Short ones, such that differ behind a long front, and such that end in zeros, which a head has behind every end.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let front = prop::sample::select(vec![0, 0, 5, 30]);
        let rest = prop_oneof![3 => 0..6usize, 1 => 6..12usize];
        let rest = rest.prop_flat_map(|bytes| vec(prop::sample::select(vec![0u8, 0, 1, 9, 0xff]), bytes));
        (front, rest).prop_map(|(front, rest)| [vec![9; front], rest].concat())
    }

    fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
        prop_oneof![key().prop_map(Bound::Included), key().prop_map(Bound::Excluded), Just(Bound::Unbounded)]
    }

    fn points(most: usize) -> impl Strategy<Value = Model> {
        prop::collection::btree_map((0..3u8, key()), prop::option::of(vec(any::<u8>(), 0..3)), 1..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn views_agree_with_a_sorted_map(
            commits in vec((prop_oneof![3 => points(8), 1 => points(1_500)], any::<bool>(), any::<bool>()), 1..40),
            ranges in vec((bound(), bound()), 8),
        ) {
            let (mut layer, mut model, mut kept) = (Layer::default(), Model::new(), Vec::new());
            for (points, keep, fork) in commits {
                if fork {
                    layer = layer.fork();
                }
                add(&mut layer, &points);
                model.extend(points);
                if keep {
                    kept.push((layer.view(), model.clone()));
                }
            }
            kept.push((layer.view(), model));
            for (view, model) in &kept {
                check(view, model);
                for (from, to) in &ranges {
                    let range = KeyRange::new(from.clone(), to.clone());
                    if !range.is_empty() {
                        (0..3).for_each(|keyspace| check_range(view, model, keyspace, &range));
                    }
                }
                for ((keyspace, key), value) in model {
                    prop_assert_eq!(view.get(Keyspace(*keyspace), key), Some(value.as_deref()));
                }
                prop_assert_eq!(view.get(Keyspace(1), b"absent"), None);
            }
        }
    }

    #[test]
    fn large_layers_stay_sorted() {
        // Rising keys, falling ones and scattered ones, in commits of every size.
        for order in [1u32, u32::MAX, 2_654_435_761] {
            let (mut layer, mut model, mut next) = (Layer::default(), Model::new(), 0u32);
            for size in [1, 40_000, 3, 500, 1, 20_000, 7] {
                let points: Model = (next..next + size)
                    .map(|n| {
                        ((0, n.wrapping_mul(order).to_be_bytes().to_vec()), Some(n.to_be_bytes().to_vec()))
                    })
                    .collect();
                next += size;
                add(&mut layer, &points);
                model.extend(points);
            }
            check(&layer.view(), &model);
        }
    }
}
