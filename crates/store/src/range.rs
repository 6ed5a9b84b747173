//! Ranges of keys, owned.
//!
//! Invariant: a range holds a key by the order of byte strings alone; a range whose bounds cross holds nothing and
//! is not an error. Read next: [`key`] for building the keys that bound a range.

use std::ops::{Bound, RangeBounds};

use crate::key;

/// A range of keys between two bounds, each included, excluded or absent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KeyRange {
    /// The lower bound.
    pub from: Bound<Vec<u8>>,
    /// The upper bound.
    pub to: Bound<Vec<u8>>,
}

impl KeyRange {
    /// The range between two bounds.
    pub fn new(from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Self {
        Self { from, to }
    }

    /// Every key.
    pub fn all() -> Self {
        Self::new(Bound::Unbounded, Bound::Unbounded)
    }

    /// The one key `key`.
    pub fn only(key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        Self::new(Bound::Included(key.clone()), Bound::Included(key))
    }

    /// Every key that starts with `prefix`, `prefix` itself included. The empty prefix gives every key.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let prefix = prefix.into();
        let to = key::successor(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self::new(Bound::Included(prefix), to)
    }

    /// `key` and every key after it.
    pub fn from(key: impl Into<Vec<u8>>) -> Self {
        Self::new(Bound::Included(key.into()), Bound::Unbounded)
    }

    /// Every key after `key`.
    pub fn after(key: impl Into<Vec<u8>>) -> Self {
        Self::new(Bound::Excluded(key.into()), Bound::Unbounded)
    }

    /// Every key before `key`.
    pub fn before(key: impl Into<Vec<u8>>) -> Self {
        Self::new(Bound::Unbounded, Bound::Excluded(key.into()))
    }

    /// Every key from `from` on and before `to`.
    pub fn between(from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) -> Self {
        Self::new(Bound::Included(from.into()), Bound::Excluded(to.into()))
    }

    /// The part of this range after `key`: how a forward walk goes on from the last key that it has seen.
    #[must_use]
    pub fn resume_after(self, key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        let already_past = match &self.from {
            Bound::Included(from) => *from > key,
            Bound::Excluded(from) => *from >= key,
            Bound::Unbounded => false,
        };
        if already_past { self } else { Self { from: Bound::Excluded(key), to: self.to } }
    }

    /// The part of this range before `key`: how a backward walk goes on from the last key that it has seen.
    #[must_use]
    pub fn resume_before(self, key: impl Into<Vec<u8>>) -> Self {
        let key = key.into();
        let already_past = match &self.to {
            Bound::Included(to) => *to < key,
            Bound::Excluded(to) => *to <= key,
            Bound::Unbounded => false,
        };
        if already_past { self } else { Self { from: self.from, to: Bound::Excluded(key) } }
    }

    /// Whether `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        RangeBounds::<[u8]>::contains(&self.as_bounds(), key)
    }

    /// Whether no key at all can be in the range, as far as its bounds tell.
    pub fn is_empty(&self) -> bool {
        match self.as_bounds() {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
                from >= to
            }
            (Bound::Unbounded, Bound::Excluded(to)) => to.is_empty(),
            _ => false,
        }
    }

    /// The two bounds, borrowed: a range that `BTreeMap::range` takes unless [`is_empty`](Self::is_empty).
    pub fn as_bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.from.as_ref().map(Vec::as_slice), self.to.as_ref().map(Vec::as_slice))
    }

    /// The bytes of its bounds, for the limits.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |bound: Bound<&[u8]>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => key.len(),
            Bound::Unbounded => 0,
        };
        let (from, to) = self.as_bounds();
        bytes(from) + bytes(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_holds_exactly_the_extensions() {
        let range = KeyRange::prefix([1, 0xff]);
        for inside in [&[1, 0xff][..], &[1, 0xff, 0], &[1, 0xff, 0xff, 0xff]] {
            assert!(range.contains(inside), "{inside:?}");
        }
        for outside in [&[][..], &[1], &[1, 0xfe, 0xff], &[2], &[2, 0]] {
            assert!(!range.contains(outside), "{outside:?}");
        }
        assert_eq!(KeyRange::prefix([]).as_bounds(), (Bound::Included(&[][..]), Bound::Unbounded));
        assert_eq!(KeyRange::prefix([0xff]).to, Bound::Unbounded);
    }

    #[test]
    fn crossed_bounds_are_empty() {
        assert!(KeyRange::between([2], [2]).is_empty());
        assert!(KeyRange::between([3], [2]).is_empty());
        assert!(KeyRange::before([]).is_empty());
        assert!(KeyRange::new(Bound::Excluded(vec![2]), Bound::Included(vec![2])).is_empty());
        assert!(!KeyRange::only([2]).is_empty());
        assert!(!KeyRange::all().is_empty());
        assert!(!KeyRange::from([9]).is_empty());
    }

    #[test]
    fn resuming_never_widens() {
        let range = KeyRange::between([3], [6]);
        assert_eq!(range.clone().resume_after([1]), range);
        assert_eq!(range.clone().resume_before([9]), range);
        let rest = range.clone().resume_after([3]);
        assert!(
            !rest.contains(&[3]) && rest.contains(&[3, 0]) && rest.contains(&[5]) && !rest.contains(&[6])
        );
        let rest = range.resume_before([5]);
        assert!(rest.contains(&[3]) && !rest.contains(&[5]) && !rest.contains(&[5, 1]));
        let past = KeyRange::after([4]).resume_after([4]);
        assert_eq!(past, KeyRange::after([4]));
        assert_eq!(KeyRange::before([4]).resume_before([4]), KeyRange::before([4]));
    }
}
