//! A batch: the conditions and writes of one atomic commit, and what they amount to.
//!
//! Conditions are about the state before the batch. Writes take effect in the order in which they were added, so
//! that the last one to touch a key decides. Invariant: [`Batch::settle`] gives the same final state in an order
//! that suits trees: first ranges to delete, then at most one put or delete per key, sorted by keyspace and key.
//! Backends apply that, so that none of them has its own idea of the order of writes. Read next:
//! [`memory`](crate::memory), which applies a settled batch in a few lines.

use std::ops::Bound;

use crate::limits::{MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::{KeyRange, Keyspace, StoreError};

/// Something that must hold before the batch for any of it to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// The keyspace of the key.
    pub keyspace: Keyspace,
    /// The key.
    pub key: Vec<u8>,
    /// The value that it must have; `None` if it must be absent.
    pub expected: Option<Vec<u8>>,
}

impl Condition {
    /// The error of a commit whose condition at position `condition` is this one and does not hold.
    pub fn conflict(&self, condition: usize) -> StoreError {
        StoreError::Conflict { condition, keyspace: self.keyspace, key: self.key.clone() }
    }
}

/// One change of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Sets the value of a key.
    Put {
        /// The keyspace of the key.
        keyspace: Keyspace,
        /// The key.
        key: Vec<u8>,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The keyspace of the key.
        keyspace: Keyspace,
        /// The key.
        key: Vec<u8>,
    },
    /// Removes every key of a range, those that were put earlier in the batch included.
    DeleteRange {
        /// The keyspace of the range.
        keyspace: Keyspace,
        /// The range.
        range: KeyRange,
    },
}

/// The conditions and writes of one commit.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Batch {
    conditions: Vec<Condition>,
    writes: Vec<Write>,
    /// Bytes of all keys and values, conditions included.
    bytes: usize,
    largest_key_bytes: usize,
    largest_value_bytes: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of `key`.
    pub fn put(&mut self, keyspace: Keyspace, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let (key, value) = (key.into(), value.into());
        self.count(key.len(), value.len());
        self.writes.push(Write::Put { keyspace, key, value });
    }

    /// Removes `key`; no matter if it is absent.
    pub fn delete(&mut self, keyspace: Keyspace, key: impl Into<Vec<u8>>) {
        let key = key.into();
        self.count(key.len(), 0);
        self.writes.push(Write::Delete { keyspace, key });
    }

    /// Removes every key in `range`, those put earlier in this batch included, those put later not.
    pub fn delete_range(&mut self, keyspace: Keyspace, range: KeyRange) {
        let longest = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => key.len(),
            Bound::Unbounded => 0,
        };
        self.largest_key_bytes = self.largest_key_bytes.max(longest(&range.from)).max(longest(&range.to));
        self.bytes += range.bytes();
        self.writes.push(Write::DeleteRange { keyspace, range });
    }

    /// Makes the commit depend on `key` having exactly the value `expected`, or being absent if that is `None`.
    pub fn require(&mut self, keyspace: Keyspace, key: impl Into<Vec<u8>>, expected: Option<Vec<u8>>) {
        let key = key.into();
        self.count(key.len(), expected.as_ref().map_or(0, Vec::len));
        self.conditions.push(Condition { keyspace, key, expected });
    }

    /// The conditions, in the order in which they were added.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The writes, in the order in which they were added.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Whether there is nothing in it: no write and no condition.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.conditions.is_empty()
    }

    /// The bytes of all its keys and values, conditions included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything and keeps the memory, so that a writer can use one batch again and again.
    pub fn clear(&mut self) {
        self.conditions.clear();
        self.writes.clear();
        (self.bytes, self.largest_key_bytes, self.largest_value_bytes) = (0, 0, 0);
    }

    /// Moves everything of `other` behind what is here.
    pub fn append(&mut self, other: &mut Self) {
        self.conditions.append(&mut other.conditions);
        self.writes.append(&mut other.writes);
        self.bytes += other.bytes;
        self.largest_key_bytes = self.largest_key_bytes.max(other.largest_key_bytes);
        self.largest_value_bytes = self.largest_value_bytes.max(other.largest_value_bytes);
        other.clear();
    }

    /// Refuses a batch that is past a limit or that names a keyspace which is not among the first `keyspaces`.
    /// Every backend asks this before it does anything else.
    pub fn check(&self, keyspaces: usize) -> Result<(), StoreError> {
        let limits = [
            ("key", self.largest_key_bytes, MAX_KEY_BYTES),
            ("value", self.largest_value_bytes, MAX_VALUE_BYTES),
            ("batch", self.bytes, MAX_BATCH_BYTES),
        ];
        if let Some((what, bytes, limit)) = limits.into_iter().find(|(_, bytes, limit)| bytes > limit) {
            return Err(StoreError::TooLarge { what, bytes, limit });
        }
        let mut named =
            self.conditions.iter().map(|c| c.keyspace).chain(self.writes.iter().map(Write::keyspace));
        match named.find(|keyspace| keyspace.index() >= keyspaces) {
            Some(keyspace) => Err(StoreError::UnknownKeyspace { keyspace }),
            None => Ok(()),
        }
    }

    /// The writes in an order that suits trees, with the same final state.
    pub fn settle(&self) -> Settled<'_> {
        let mut ranges = Vec::new();
        let mut points = Vec::with_capacity(self.writes.len());
        for (position, write) in self.writes.iter().enumerate() {
            match write {
                Write::Put { keyspace, key, value } => {
                    let point = Point { keyspace: *keyspace, key, value: Some(value) };
                    points.push((position, point));
                }
                Write::Delete { keyspace, key } => {
                    points.push((position, Point { keyspace: *keyspace, key, value: None }));
                }
                Write::DeleteRange { keyspace, range } if !range.is_empty() => {
                    ranges.push((position, *keyspace, range));
                }
                Write::DeleteRange { .. } => {}
            }
        }
        // By key, and of one key the latest first, so that removing the repetitions keeps the latest.
        // Most of them come in order, which the stable sort finds.
        points.sort_by(|(at, a), (bt, b)| (a.keyspace, a.key, bt).cmp(&(b.keyspace, b.key, at)));
        points.dedup_by(|(_, later), (_, kept)| later.keyspace == kept.keyspace && later.key == kept.key);
        if !ranges.is_empty() {
            drop_overwritten(&mut points, &mut ranges);
        }
        Settled {
            ranges: ranges.into_iter().map(|(_, keyspace, range)| (keyspace, range)).collect(),
            points: points.into_iter().map(|(_, point)| point).collect(),
        }
    }

    fn count(&mut self, key_bytes: usize, value_bytes: usize) {
        self.bytes += key_bytes + value_bytes;
        self.largest_key_bytes = self.largest_key_bytes.max(key_bytes);
        self.largest_value_bytes = self.largest_value_bytes.max(value_bytes);
    }
}

impl Write {
    /// The keyspace that it writes to.
    pub fn keyspace(&self) -> Keyspace {
        match self {
            Self::Put { keyspace, .. }
            | Self::Delete { keyspace, .. }
            | Self::DeleteRange { keyspace, .. } => *keyspace,
        }
    }
}

/// The final word on one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point<'a> {
    /// The keyspace of the key.
    pub keyspace: Keyspace,
    /// The key.
    pub key: &'a [u8],
    /// Its value after the batch; `None` if it is to be absent.
    pub value: Option<&'a [u8]>,
}

/// The writes of a batch: apply `ranges`, then `points`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled<'a> {
    /// Ranges whose keys are all to be removed, by keyspace and lower bound.
    pub ranges: Vec<(Keyspace, &'a KeyRange)>,
    /// At most one entry per key, by keyspace and key; to be applied after all of `ranges`.
    pub points: Vec<Point<'a>>,
}

/// Removes from `points`, sorted by key, those that a later write of `ranges` covers; leaves `ranges` sorted.
///
/// One sweep over both in key order, holding the ranges that reach the current key: linear but for the sorting,
/// unless many ranges overlap.
fn drop_overwritten(points: &mut Vec<(usize, Point<'_>)>, ranges: &mut [(usize, Keyspace, &KeyRange)]) {
    ranges.sort_by(|(_, a_space, a), (_, b_space, b)| (a_space, lower(a)).cmp(&(b_space, lower(b))));
    let mut upcoming = ranges.iter().peekable();
    let mut open: Vec<&(usize, Keyspace, &KeyRange)> = Vec::new();
    points.retain(|(position, point)| {
        let here = (point.keyspace, point.key);
        while let Some(range) = upcoming.next_if(|(_, keyspace, range)| (*keyspace, lower(range)) <= here) {
            open.push(range);
        }
        open.retain(|(_, keyspace, range)| *keyspace == point.keyspace && reaches(range, point.key));
        !open.iter().any(|(at, _, range)| at > position && range.contains(point.key))
    });
}

/// The lower bound as a key, whether it is included or not.
fn lower(range: &KeyRange) -> &[u8] {
    match &range.from {
        Bound::Included(key) | Bound::Excluded(key) => key,
        Bound::Unbounded => &[],
    }
}

/// Whether the upper bound of `range` lies at or after `key`.
fn reaches(range: &KeyRange, key: &[u8]) -> bool {
    match &range.to {
        Bound::Included(to) | Bound::Excluded(to) => to.as_slice() >= key,
        Bound::Unbounded => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const A: Keyspace = Keyspace(0);
    const B: Keyspace = Keyspace(1);

    type State = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

    /// What a batch means, word by word.
    fn apply_in_order(state: &mut State, batch: &Batch) {
        for write in batch.writes() {
            match write.clone() {
                Write::Put { keyspace, key, value } => drop(state.insert((keyspace, key), value)),
                Write::Delete { keyspace, key } => drop(state.remove(&(keyspace, key))),
                Write::DeleteRange { keyspace, range } => {
                    state.retain(|(space, key), _| *space != keyspace || !range.contains(key));
                }
            }
        }
    }

    fn apply_settled(state: &mut State, settled: &Settled<'_>) {
        for (keyspace, range) in &settled.ranges {
            state.retain(|(space, key), _| space != keyspace || !range.contains(key));
        }
        for point in &settled.points {
            let key = (point.keyspace, point.key.to_vec());
            match point.value {
                Some(value) => drop(state.insert(key, value.to_vec())),
                None => drop(state.remove(&key)),
            }
        }
    }

    fn short_key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 0xff]), 0..3)
    }

    fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
        prop_oneof![
            short_key().prop_map(Bound::Included),
            short_key().prop_map(Bound::Excluded),
            Just(Bound::Unbounded)
        ]
    }

    fn write() -> impl Strategy<Value = Write> {
        let keyspace = || prop_oneof![Just(A), Just(B)];
        prop_oneof![
            4 => (keyspace(), short_key(), any::<u8>())
                .prop_map(|(keyspace, key, value)| Write::Put { keyspace, key, value: vec![value] }),
            2 => (keyspace(), short_key()).prop_map(|(keyspace, key)| Write::Delete { keyspace, key }),
            2 => (keyspace(), bound(), bound())
                .prop_map(|(keyspace, from, to)| Write::DeleteRange { keyspace, range: KeyRange { from, to } }),
        ]
    }

    proptest! {
        #[test]
        fn settling_keeps_the_meaning(writes in prop::collection::vec(write(), 0..24), start in
            prop::collection::vec((short_key(), any::<u8>()), 0..12))
        {
            let mut expected: State =
                start.into_iter().flat_map(|(key, v)| [((A, key.clone()), vec![v]), ((B, key), vec![v])]).collect();
            let mut found = expected.clone();
            let mut batch = Batch::new();
            for write in writes {
                match write {
                    Write::Put { keyspace, key, value } => batch.put(keyspace, key, value),
                    Write::Delete { keyspace, key } => batch.delete(keyspace, key),
                    Write::DeleteRange { keyspace, range } => batch.delete_range(keyspace, range),
                }
            }
            let settled = batch.settle();
            prop_assert!(settled.points.is_sorted_by(|a, b| (a.keyspace, a.key) < (b.keyspace, b.key)));
            apply_settled(&mut found, &settled);
            apply_in_order(&mut expected, &batch);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_batch_counts_its_bytes() {
        let mut batch = Batch::new();
        batch.put(A, "key", "value");
        batch.delete(A, "gone");
        batch.delete_range(A, KeyRange::between("a", "bc"));
        batch.require(A, "k", Some(b"was".to_vec()));
        assert_eq!(batch.bytes(), 8 + 4 + 3 + 4);
        let mut other = Batch::new();
        other.put(A, vec![0; MAX_KEY_BYTES + 1], "");
        other.append(&mut batch);
        assert!(batch.is_empty() && batch.bytes() == 0);
        assert_eq!(other.writes().len(), 4);
        let limit = MAX_KEY_BYTES;
        assert_eq!(other.check(1), Err(StoreError::TooLarge { what: "key", bytes: limit + 1, limit }));
        other.clear();
        assert_eq!(other.check(1), Ok(()));
    }

    #[test]
    fn unknown_keyspaces_are_refused() {
        let mut batch = Batch::new();
        batch.put(A, "k", "v");
        batch.require(B, "k", None);
        assert_eq!(batch.check(1), Err(StoreError::UnknownKeyspace { keyspace: B }));
        assert_eq!(batch.check(2), Ok(()));
    }
}
