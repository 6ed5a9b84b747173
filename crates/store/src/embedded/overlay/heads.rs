//! What is known of the keys of a node without a look at them.
//!
//! A key lies in the record that it came with, and to read it costs several misses of the processor's caches; to find one among millions
//! would be dozens of them. So a node has the front that its keys share, and of each key the eight bytes behind that (its head). Only where
//! heads are the same, and do not reach the end of the key, the key itself decides. Invariant: heads are in the order of their keys, and
//! of two keys with different heads the lesser head belongs to the lesser key. Read next: [`tree`](super::tree).

use std::cmp::Ordering;

use super::arena::{Arena, Entry};
use super::probe::Probe;

/// Bytes of a front, at most: of keys that share more of it less is skipped.
const FRONT_BYTES: usize = 23;
/// Bytes of a head.
const HEAD_BYTES: usize = size_of::<u64>();

/// The heads of the keys of a node, in order.
#[derive(Clone)]
pub(super) struct Heads {
    front: [u8; FRONT_BYTES],
    front_bytes: u8,
    heads: Vec<u64>,
}

impl Heads {
    /// Of keys in order, with room for so many.
    pub(super) fn of<'a>(
        arena: &Arena,
        entries: impl DoubleEndedIterator<Item = &'a Entry> + Clone,
        room: usize,
    ) -> Self {
        let mut made = Self { front: [0; FRONT_BYTES], front_bytes: 0, heads: Vec::with_capacity(room) };
        let mut ends = entries.clone();
        if let Some(first) = ends.next() {
            let first = arena.key(first);
            let last = ends.next_back().map_or(first, |last| arena.key(last));
            let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count().min(FRONT_BYTES);
            made.front[..shared].copy_from_slice(&first[..shared]);
            made.front_bytes = shared as u8;
        }
        let skip = made.front().len();
        made.heads.extend(entries.map(|entry| Probe::of(arena.key(entry)).head(skip)));
        made
    }

    /// The same, with room for so many.
    pub(super) fn with_room(&self, room: usize) -> Self {
        let mut heads = Vec::with_capacity(room.max(self.heads.len()));
        heads.extend_from_slice(&self.heads);
        Self { heads, ..*self }
    }

    fn front(&self) -> &[u8] {
        &self.front[..usize::from(self.front_bytes)]
    }

    /// Takes up one more key; `false`, and nothing, where it does not share the front.
    pub(super) fn insert(&mut self, at: usize, probe: Probe<'_>) -> bool {
        let shares = probe.begins_with(self.front()).is_eq();
        if shares {
            self.heads.insert(at, probe.head(self.front().len()));
        }
        shares
    }

    /// Where a key is, or where it would be. `entry` has the entries of the keys.
    pub(super) fn search<'a>(
        &self,
        arena: &Arena,
        entry: impl Fn(usize) -> &'a Entry,
        probe: Probe<'_>,
    ) -> Result<usize, usize> {
        match probe.begins_with(self.front()) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(self.heads.len()),
            Ordering::Equal => {}
        }
        let head = probe.head(self.front().len());
        let mut from = self.heads.partition_point(|other| *other < head);
        let mut to = from + self.heads[from..].partition_point(|other| *other == head);
        while from < to {
            let middle = from.midpoint(to);
            match self.decide(arena, entry(middle), probe) {
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(from)
    }

    /// How the key at a place compares with another.
    pub(super) fn order(&self, arena: &Arena, at: usize, entry: &Entry, probe: Probe<'_>) -> Ordering {
        probe
            .begins_with(self.front())
            .reverse()
            .then_with(|| self.heads[at].cmp(&probe.head(self.front().len())))
            .then_with(|| self.decide(arena, entry, probe))
    }

    /// How a key compares with another that has the same front and head.
    fn decide(&self, arena: &Arena, entry: &Entry, probe: Probe<'_>) -> Ordering {
        let known = self.front().len() + HEAD_BYTES;
        let (bytes, others) = (usize::from(entry.key_bytes), probe.bytes());
        // What a head has behind the end of a key is zeros: of two such keys the longer one has them in itself.
        if bytes <= known && others <= known { bytes.cmp(&others) } else { probe.order(arena.key(entry)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    /// Keys with their keyspace: alike for long, of any length, with zeros at their ends.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let front = prop::sample::select(vec![0usize, 0, 3, 22, 23, 24, 40]);
        let rest = vec(prop::sample::select(vec![0u8, 0, 1, 0xff]), 1..12);
        (front, rest).prop_map(|(front, rest)| [vec![7; front], rest].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn heads_tell_what_keys_tell(keys in btree_set(key(), 1..60), others in vec(key(), 1..60)) {
            let (keys, arena) = (Vec::from_iter(keys), Arena::default());
            let mut entries = Vec::new();
            for (record, key) in keys.iter().enumerate() {
                arena.add(record as u32, key.clone().into());
                entries.push(Entry { record: record as u32, at: 0, value_bytes: 0, key_bytes: key.len() as u16 });
            }
            let mut heads = Heads::of(&arena, entries.iter(), 0);
            for other in others.iter().chain(&keys) {
                let probe = Probe::of(other);
                let found = heads.search(&arena, |at| &entries[at], probe);
                prop_assert_eq!(found, keys.binary_search(other));
                for (at, key) in keys.iter().enumerate() {
                    prop_assert_eq!(heads.order(&arena, at, &entries[at], probe), key.cmp(other));
                }
            }
            // One more is taken up if it shares the front, and then it is found.
            let mut more = keys.clone();
            for other in others {
                let Err(at) = more.binary_search(&other) else { continue };
                if !heads.insert(at, Probe::of(&other)) {
                    continue;
                }
                let record = 1_000 + more.len() as u32;
                arena.add(record, other.clone().into());
                entries.insert(at, Entry { record, at: 0, value_bytes: 0, key_bytes: other.len() as u16 });
                more.insert(at, other);
                for (at, key) in more.iter().enumerate() {
                    prop_assert_eq!(heads.search(&arena, |at| &entries[at], Probe::of(key)), Ok(at));
                }
            }
        }
    }
}
