//! The first so many of what is found, whatever the order in which it comes: no more than twice as many are held at a time.
//!
//! Read next: [`super::cursor`], for who wants all.

use super::{Item, Page, Position, Query, by_order};

/// See the module.
pub(super) struct First<'q> {
    query: &'q Query,
    /// Do they come in the order of the query?
    ordered: bool,
    limit: usize,
    /// Those that may be among the first, and one more.
    items: Vec<Item>,
    /// What stands behind it is not among them.
    bar: Option<Position>,
}

impl<'q> First<'q> {
    pub(super) fn new(query: &'q Query, ordered: bool, limit: usize) -> First<'q> {
        First { query, ordered, limit, items: Vec::new(), bar: None }
    }

    /// Have more been found than are wanted?
    pub(super) fn is_full(&self) -> bool {
        self.items.len() > self.limit
    }

    pub(super) fn add(&mut self, item: Item) {
        if self.bar.as_ref().is_some_and(|bar| by_order(self.query, bar, &item.position).is_lt()) {
            return;
        }
        self.items.push(item);
        // Twice as many, so that each is looked at a few times only.
        if self.items.len() > self.limit.saturating_add(1).saturating_mul(2) {
            let query = self.query;
            let behind = |left: &Item, right: &Item| by_order(query, &left.position, &right.position);
            let (_, bar, _) = self.items.select_nth_unstable_by(self.limit, behind);
            self.bar = Some(bar.position.clone());
            self.items.truncate(self.limit + 1);
        }
    }

    /// Those, in order.
    pub(super) fn page(mut self) -> Page {
        if !self.ordered {
            let query = self.query;
            self.items.sort_unstable_by(|left, right| by_order(query, &left.position, &right.position));
        }
        let more = self.is_full();
        self.items.truncate(self.limit);
        Page { items: self.items, more }
    }
}
