//! The rows that are changed and not stored yet, in the order of keys: two layers seen as one.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Bound;

use corollary_store::{Direction, KeyRange, Keyspace};

use super::{RowKey, Rows, Working};

/// The changed rows of a range in order: those of the transaction, and those of its group that it left alone.
pub(super) struct Changes<'w> {
    layers: [Peekable<LayerRows<'w>>; 2],
    direction: Direction,
    /// The row that is next; nothing in it where it is deleted.
    pub next: Option<(&'w Vec<u8>, &'w Option<Vec<u8>>)>,
}

type LayerRows<'w> = Box<dyn Iterator<Item = (&'w Vec<u8>, &'w Option<Vec<u8>>)> + 'w>;

impl<'w> Changes<'w> {
    pub fn of(
        working: &'w Working<'_>,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
    ) -> Changes<'w> {
        let layer = |rows: &'w Rows| -> Peekable<LayerRows<'w>> {
            let rows = rows.range(bounds(keyspace, range)).map(|((_, key), row)| (key, row));
            let rows: LayerRows<'w> =
                if direction == Direction::Forward { Box::new(rows) } else { Box::new(rows.rev()) };
            rows.peekable()
        };
        let layers = [layer(&working.rows), layer(&working.changed_rows)];
        let mut changes = Changes { layers, direction, next: None };
        changes.advance();
        changes
    }

    pub fn advance(&mut self) {
        let [group, transaction] = &mut self.layers;
        let order = match (group.peek(), transaction.peek()) {
            (Some((left, _)), Some((right, _))) if self.direction == Direction::Forward => left.cmp(right),
            (Some((left, _)), Some((right, _))) => right.cmp(left),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        if order == Ordering::Less {
            self.next = group.next();
            return;
        }
        if order == Ordering::Equal {
            group.next();
        }
        self.next = transaction.next();
    }
}

pub(super) fn bounds(keyspace: Keyspace, range: &KeyRange) -> (Bound<RowKey>, Bound<RowKey>) {
    let (from, to) = range.as_bounds();
    let from = match from {
        Bound::Included(key) => Bound::Included((keyspace, key.to_vec())),
        Bound::Excluded(key) => Bound::Excluded((keyspace, key.to_vec())),
        Bound::Unbounded => Bound::Included((keyspace, Vec::new())),
    };
    let to = match to {
        Bound::Included(key) => Bound::Included((keyspace, key.to_vec())),
        Bound::Excluded(key) => Bound::Excluded((keyspace, key.to_vec())),
        Bound::Unbounded => Bound::Excluded((Keyspace(keyspace.0 + 1), Vec::new())),
    };
    (from, to)
}
