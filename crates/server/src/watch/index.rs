//! Which watches a changed resource may concern: those are found by its values, however many others there are.
//!
//! What a watch asks of a field stands under the field: values in a table, ranges in a tree; a watch that asks for nothing
//! that could be looked up is found by every change of the type. Whoever is found looks itself; nobody is passed over for
//! whom the resource counts before the change or after it.

use corollary_engine::Doc;
use corollary_engine::query::select::{KeyBytes, Selector, keys_of};
use corollary_schema::{FieldRef, Schema};
use hashbrown::HashMap;

/// The watches of one type, by their numbers.
#[derive(Default)]
pub struct Index {
    /// By value, and by field.
    equal: HashMap<FieldRef, HashMap<KeyBytes, Vec<u64>>>,
    ranges: HashMap<FieldRef, Ranges>,
    /// Those that every change may concern.
    rest: Vec<u64>,
    /// How many places there are in all.
    len: usize,
}

impl Index {
    /// Is there no watch?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a watch in.
    pub fn add(&mut self, schema: &Schema, selector: Option<&Selector>, watch: u64) {
        match selector.filter(|selector| is_kept(schema, selector)) {
            Some(selector) => self.put(selector, watch),
            None => {
                self.rest.push(watch);
                self.len += 1;
            }
        }
    }

    fn put(&mut self, selector: &Selector, watch: u64) {
        match selector {
            Selector::AnyOf(field, values) => {
                let of_field = self.equal.entry(*field).or_default();
                for value in values {
                    of_field.entry(value.clone()).or_default().push(watch);
                    self.len += 1;
                }
            }
            Selector::Between(field, low, high) => {
                self.ranges.entry(*field).or_default().add(low.clone(), high.clone(), watch);
                self.len += 1;
            }
            Selector::Either(some) => some.iter().for_each(|one| self.put(one, watch)),
        }
    }

    /// Takes a watch out that was put in with this selector.
    pub fn remove(&mut self, schema: &Schema, selector: Option<&Selector>, watch: u64) {
        match selector.filter(|selector| is_kept(schema, selector)) {
            Some(selector) => self.take(selector, watch),
            None => self.len -= drop_from(&mut self.rest, watch),
        }
    }

    fn take(&mut self, selector: &Selector, watch: u64) {
        match selector {
            Selector::AnyOf(field, values) => {
                let Some(of_field) = self.equal.get_mut(field) else { return };
                for value in values {
                    if let Some(watches) = of_field.get_mut(value) {
                        self.len -= drop_from(watches, watch);
                        if watches.is_empty() {
                            of_field.remove(value);
                        }
                    }
                }
                if of_field.is_empty() {
                    self.equal.remove(field);
                }
            }
            Selector::Between(field, ..) => {
                let Some(ranges) = self.ranges.get_mut(field) else { return };
                self.len -= ranges.remove(watch);
                if ranges.all.is_empty() {
                    self.ranges.remove(field);
                }
            }
            Selector::Either(some) => some.iter().for_each(|one| self.take(one, watch)),
        }
    }

    /// The watches that a resource may concern which is like one of these.
    pub fn find<'d>(&mut self, docs: impl IntoIterator<Item = &'d Doc>, found: &mut Vec<u64>) {
        found.extend_from_slice(&self.rest);
        for doc in docs {
            for (field, values) in &self.equal {
                for key in keys_of(doc, *field) {
                    found.extend(values.get(&key).into_iter().flatten());
                }
            }
            for (field, ranges) in &mut self.ranges {
                keys_of(doc, *field).iter().for_each(|key| ranges.find(key, found));
            }
        }
        found.sort_unstable();
        found.dedup();
    }
}

/// Does it ask for fields that stand in documents alone? Others are read off other fields.
fn is_kept(schema: &Schema, selector: &Selector) -> bool {
    match selector {
        Selector::AnyOf(field, _) | Selector::Between(field, ..) => schema.field(*field).in_document(),
        Selector::Either(some) => some.iter().all(|one| is_kept(schema, one)),
    }
}

fn drop_from(watches: &mut Vec<u64>, watch: u64) -> usize {
    let before = watches.len();
    watches.retain(|other| *other != watch);
    before - watches.len()
}

/// One range, both ends included; open where there is none.
struct Range {
    low: Option<KeyBytes>,
    high: Option<KeyBytes>,
    watch: u64,
}

/// Ranges, and which of them hold a value: in order of their lower ends, a balanced tree over which knows of each part how
/// far up it reaches.
#[derive(Default)]
struct Ranges {
    all: Vec<Range>,
    /// By the middle of each part: which of its ranges reaches furthest up. Empty when the ranges have changed since.
    reaches: Vec<usize>,
}

impl Ranges {
    fn add(&mut self, low: Option<KeyBytes>, high: Option<KeyBytes>, watch: u64) {
        self.all.push(Range { low, high, watch });
        self.reaches.clear();
    }

    fn remove(&mut self, watch: u64) -> usize {
        let before = self.all.len();
        self.all.retain(|range| range.watch != watch);
        self.reaches.clear();
        before - self.all.len()
    }

    fn find(&mut self, key: &[u8], found: &mut Vec<u64>) {
        if self.reaches.len() != self.all.len() {
            self.all.sort_by(|left, right| left.low.cmp(&right.low));
            self.reaches = vec![0; self.all.len()];
            self.furthest(0, self.all.len());
        }
        self.find_in(0, self.all.len(), key, found);
    }

    /// Finds of each part which range reaches furthest up.
    fn furthest(&mut self, from: usize, to: usize) -> Option<usize> {
        if from == to {
            return None;
        }
        let middle = from + (to - from) / 2;
        let sides = [self.furthest(from, middle), self.furthest(middle + 1, to)];
        let mut best = middle;
        for side in sides.into_iter().flatten() {
            if is_higher(&self.all[side].high, &self.all[best].high) {
                best = side;
            }
        }
        self.reaches[middle] = best;
        Some(best)
    }

    fn find_in(&self, from: usize, to: usize, key: &[u8], found: &mut Vec<u64>) {
        if from == to {
            return;
        }
        let middle = from + (to - from) / 2;
        let holds_below = |range: &Range| range.high.as_deref().is_none_or(|high| key <= high);
        if !holds_below(&self.all[self.reaches[middle]]) {
            return;
        }
        self.find_in(from, middle, key, found);
        let range = &self.all[middle];
        if range.low.as_deref().is_none_or(|low| low <= key) {
            if holds_below(range) {
                found.push(range.watch);
            }
            self.find_in(middle + 1, to, key, found);
        }
    }
}

/// Does an upper end lie above another one? An open one lies above all.
fn is_higher(left: &Option<KeyBytes>, right: &Option<KeyBytes>) -> bool {
    match (left, right) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(left), Some(right)) => left > right,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end() -> impl Strategy<Value = Option<KeyBytes>> {
        proptest::option::of(0_u8..40).prop_map(|end| end.map(|end| vec![end].into()))
    }

    proptest! {
        #[test]
        fn ranges_that_hold_a_value_are_found_and_no_others(
            ranges in proptest::collection::vec((end(), end()), 0..40),
            removed in proptest::collection::vec(0_u64..40, 0..10),
            values in proptest::collection::vec(0_u8..42, 1..20),
        ) {
            let mut tree = Ranges::default();
            for (watch, (low, high)) in ranges.iter().enumerate() {
                tree.add(low.clone(), high.clone(), watch as u64);
                // In between, as watches come while changes do.
                tree.find(&[7], &mut Vec::new());
            }
            for watch in &removed {
                tree.remove(*watch);
            }
            for value in values {
                let key: &[u8] = &[value];
                let mut found = Vec::new();
                tree.find(key, &mut found);
                found.sort_unstable();
                let holds = |(low, high): &(Option<KeyBytes>, Option<KeyBytes>)| {
                    low.as_deref().is_none_or(|low| low <= key) && high.as_deref().is_none_or(|high| key <= high)
                };
                let left = |watch: &u64| !removed.contains(watch) && holds(&ranges[*watch as usize]);
                let expected: Vec<u64> = (0..ranges.len() as u64).filter(left).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
