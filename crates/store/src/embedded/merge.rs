//! Scanning the layers of the overlay together with what the database has.
//!
//! The database's rows are handed in one after the other, because they live no longer than until the next; what the
//! layers have before each of them is visited first. Invariant: of one key the newest version alone is visited, and none
//! if that is a deletion. Read next: [`overlay`](super::overlay).

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::ControlFlow;

use super::overlay::{Layers, Range};
use crate::{Direction, KeyRange, Keyspace, Visit};

/// What is left to be visited of a range of the layers.
pub(super) struct Merged<'a> {
    active: Peekable<Range<'a>>,
    frozen: Peekable<Range<'a>>,
    direction: Direction,
}

impl<'a> Merged<'a> {
    pub(super) fn new(
        layers: &'a Layers,
        keyspace: Keyspace,
        range: &'a KeyRange,
        direction: Direction,
    ) -> Self {
        Self {
            active: layers.active.range(keyspace, range, direction).peekable(),
            frozen: layers.frozen.range(keyspace, range, direction).peekable(),
            direction,
        }
    }

    /// Visits what comes before the row of `key`, and then that row, unless a layer has a newer version.
    pub(super) fn below(&mut self, key: &[u8], value: &[u8], visit: &mut Visit<'_>) -> ControlFlow<()> {
        while let Some(next) = self.peek() {
            match order(self.direction, next, key) {
                Ordering::Less => self.visit_next(visit)?,
                Ordering::Equal => return self.visit_next(visit),
                Ordering::Greater => break,
            }
        }
        visit(key, value)
    }

    /// Visits all that is left.
    pub(super) fn rest(&mut self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        while self.peek().is_some() {
            self.visit_next(visit)?;
        }
        ControlFlow::Continue(())
    }

    /// The key that comes next in the layers.
    fn peek(&mut self) -> Option<&'a [u8]> {
        let active = self.active.peek().map(|(key, _)| &key[1..]);
        let frozen = self.frozen.peek().map(|(key, _)| &key[1..]);
        match (active, frozen) {
            (Some(a), Some(b)) => Some(if order(self.direction, a, b).is_le() { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    /// Takes the key that comes next out of both layers, and visits the newer version.
    fn visit_next(&mut self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        let ordered = match (self.active.peek(), self.frozen.peek()) {
            (Some((a, _)), Some((b, _))) => order(self.direction, a, b),
            (_, None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let older = if ordered.is_ge() { self.frozen.next() } else { None };
        let newer = if ordered.is_le() { self.active.next() } else { older };
        match newer {
            Some((key, Some(value))) => visit(&key[1..], value),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// How two keys follow each other in a direction.
fn order(direction: Direction, a: &[u8], b: &[u8]) -> Ordering {
    match direction {
        Direction::Forward => a.cmp(b),
        Direction::Backward => b.cmp(a),
    }
}
