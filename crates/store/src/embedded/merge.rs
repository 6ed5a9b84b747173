//! Scanning the layers of the overlay together with what the database has.
//!
//! The database's rows are handed in one after the other, because they live no longer than until the next; what the
//! layers have before each of them is visited first. Invariant: of one key the newest version alone is visited, and none
//! if that is a deletion. Read next: [`overlay`](super::overlay).

use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::ControlFlow;

use super::overlay::{Layers, Range, View};
use crate::{Direction, KeyRange, Keyspace, Visit};

/// What is left to be visited of a range of the layers.
pub(super) struct Merged<'a> {
    /// The newest first.
    layers: [Option<Peekable<Range<'a>>>; 3],
    direction: Direction,
}

impl<'a> Merged<'a> {
    pub(super) fn new(
        layers: &'a Layers,
        keyspace: Keyspace,
        range: &'a KeyRange,
        direction: Direction,
    ) -> Self {
        let staged = layers.staged.as_ref().map(|staged| staged.view());
        let views = [staged, Some(&layers.active), Some(&layers.frozen)];
        let of = |view: &'a View| view.range(keyspace, range, direction).peekable();
        Self { layers: views.map(|view| view.map(of)), direction }
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
        let direction = self.direction;
        let next = self.layers.iter_mut().flatten().filter_map(|layer| layer.peek().map(|(key, _)| *key));
        next.min_by(|a, b| order(direction, a, b)).map(|key| &key[1..])
    }

    /// Takes the key that comes next out of all layers, and visits the newest version.
    fn visit_next(&mut self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        let Some(next) = self.peek() else { return ControlFlow::Continue(()) };
        let mut newest = None;
        for layer in self.layers.iter_mut().flatten() {
            let found = layer.next_if(|(key, _)| &key[1..] == next);
            newest = newest.or(found);
        }
        match newest {
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
