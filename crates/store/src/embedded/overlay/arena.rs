//! The bytes of the records that a layer's entries lie in.
//!
//! Entries name a record by its number and are copied freely, so that copying a node of the tree touches no reference
//! counts. Invariant: a record, once there, neither moves nor changes, so that readers share the arena with the one
//! who adds to it. Read next: [`tree`](super::tree).

use std::sync::{Arc, OnceLock};

/// Records in the first bucket; each further one holds twice as many as the one before.
const FIRST_BUCKET: usize = 64;
/// Enough for 2^32 records.
const BUCKETS: usize = 27;

type Slot = OnceLock<Arc<[u8]>>;

/// Where a key and its value lie: in which record of the arena, and where in its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::embedded) struct Entry {
    /// The number of the record.
    pub(in crate::embedded) record: u32,
    /// Where in the payload the key begins. Its first byte is the keyspace; the value follows the key.
    pub(in crate::embedded) at: u32,
    /// Bytes of the value; [`Entry::DELETED`] if the key is deleted.
    pub(in crate::embedded) value_bytes: u32,
    /// Bytes of the key, that of the keyspace included.
    pub(in crate::embedded) key_bytes: u16,
}

impl Entry {
    /// Stands where the size of the value would, if there is none.
    pub(in crate::embedded) const DELETED: u32 = u32::MAX;
}

/// An append-only list of records.
#[derive(Default)]
pub(super) struct Arena {
    buckets: [OnceLock<Box<[Slot]>>; BUCKETS],
}

impl Arena {
    /// Adds the record of the given number. Numbers are given out by the one layer that the arena belongs to.
    pub(super) fn add(&self, number: u32, record: Arc<[u8]>) {
        let (bucket, at) = place(number);
        let slots = self.buckets[bucket]
            .get_or_init(|| std::iter::repeat_with(Slot::new).take(FIRST_BUCKET << bucket).collect());
        let fresh = slots[at].set(record).is_ok();
        assert!(fresh, "record {number} is added once");
    }

    /// The key of an entry, the keyspace first.
    pub(super) fn key(&self, entry: &Entry) -> &[u8] {
        let at = entry.at as usize;
        &self.record(entry.record)[at..at + usize::from(entry.key_bytes)]
    }

    /// The value of an entry; `None` if its key is deleted.
    pub(super) fn value(&self, entry: &Entry) -> Option<&[u8]> {
        if entry.value_bytes == Entry::DELETED {
            return None;
        }
        let at = entry.at as usize + usize::from(entry.key_bytes);
        Some(&self.record(entry.record)[at..at + entry.value_bytes as usize])
    }

    fn record(&self, number: u32) -> &[u8] {
        let (bucket, at) = place(number);
        let slot = self.buckets[bucket].get().and_then(|slots| slots[at].get());
        slot.expect("an entry is made after its record is added")
    }
}

/// The bucket of a record and its place in there.
fn place(number: u32) -> (usize, usize) {
    let shifted = number as usize + FIRST_BUCKET;
    let bucket = (shifted.ilog2() - FIRST_BUCKET.ilog2()) as usize;
    (bucket, shifted - (FIRST_BUCKET << bucket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_has_a_place_of_its_own() {
        let arena = Arena::default();
        for number in 0..1_000u32 {
            arena.add(number, Arc::new(number.to_be_bytes()));
        }
        for number in 0..1_000u32 {
            let entry = Entry { record: number, at: 0, value_bytes: 1, key_bytes: 3 };
            assert_eq!(arena.key(&entry), &number.to_be_bytes()[..3]);
            assert_eq!(arena.value(&entry), Some(&number.to_be_bytes()[3..]));
            assert_eq!(arena.value(&Entry { value_bytes: Entry::DELETED, ..entry }), None);
        }
        assert_eq!(place(0), (0, 0));
        assert_eq!(place(63), (0, 63));
        assert_eq!(place(64), (1, 0));
        assert!(place(u32::MAX).0 < BUCKETS);
    }
}
