//! A key to look for, in the order of [`Arena::key`](super::arena::Arena::key) without being put together.

use std::cmp::Ordering;

use crate::Keyspace;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    keyspace: u8,
    key: &'a [u8],
}

impl<'a> Probe<'a> {
    pub(super) fn new(keyspace: Keyspace, key: &'a [u8]) -> Self {
        Self { keyspace: keyspace.0, key }
    }

    /// The first of all keys behind those of a keyspace.
    pub(super) fn behind(keyspace: Keyspace) -> Self {
        // Keyspaces are few, so there is always a next number.
        Self { keyspace: keyspace.0 + 1, key: &[] }
    }

    /// Of a key with its keyspace.
    pub(super) fn of(full: &'a [u8]) -> Self {
        Self { keyspace: full[0], key: &full[1..] }
    }

    /// Bytes of the key, that of the keyspace included.
    pub(super) fn bytes(self) -> usize {
        self.key.len() + 1
    }

    /// How a whole key compares with this one.
    pub(super) fn order(self, full: &[u8]) -> Ordering {
        full[0].cmp(&self.keyspace).then_with(|| full[1..].cmp(self.key))
    }

    /// Is it one of the keys with this front, before all of them, or behind?
    pub(super) fn begins_with(self, front: &[u8]) -> Ordering {
        let Some((keyspace, rest)) = front.split_first() else { return Ordering::Equal };
        let mine = &self.key[..rest.len().min(self.key.len())];
        self.keyspace.cmp(keyspace).then_with(|| mine.cmp(rest))
    }

    /// Eight bytes behind the first `skip`, with zeros behind the end; in the order of what they are read from.
    pub(super) fn head(self, skip: usize) -> u64 {
        let mut head = [0; size_of::<u64>()];
        let (at, from) = match skip.checked_sub(1) {
            Some(from) => (0, from),
            None => {
                head[0] = self.keyspace;
                (1, 0)
            }
        };
        let rest = self.key.get(from..).unwrap_or_default();
        let bytes = rest.len().min(head.len() - at);
        head[at..at + bytes].copy_from_slice(&rest[..bytes]);
        u64::from_be_bytes(head)
    }
}
