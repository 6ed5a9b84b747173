//! Medians and percentiles: the members in order, with counts above them, so that any rank is found without counting
//! them all.
//!
//! ```text
//! place, 0                          -> how many elements, how many levels
//! place, 1, order bytes, member id  -> value                                   (the elements)
//! place, 1 + L, key of an element   -> elements from here to the next boundary (level L; one without a key begins it)
//! ```
//!
//! Of the elements about one in [`SPREAD`] is a boundary at level 1, of those one in [`SPREAD`] at level 2, and so on. A hash
//! of the element's key decides, so the rows are a function of the elements, whatever came and went. There are as many
//! levels as any element reaches. An element that comes or goes changes one count a level; where it is a boundary, the
//! stretch that it parts is counted, from the level below. A rank is looked for from the highest level down.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use corollary_schema::aggregate::Share;
use corollary_schema::typed::Aggregate;
use corollary_store::{Direction, KeyRange};
use corollary_value::codec::{push_varint, read_varint};
use corollary_value::{Id, Value, between};

use super::ordered::{decoded, least_error_row};
use super::{Change, Given, Place, ordered};
use crate::error::EngineError;
use crate::keys;
use crate::working::Working;

/// Of so many boundaries of a level one is a boundary of the next. A power of two.
const SPREAD: u64 = 32;

/// The most levels: enough for more elements than there can be.
const MAX_LEVELS: u8 = 12;

const HEADER: u8 = 0;
const ELEMENTS: u8 = 1;

pub(super) fn apply(
    working: &mut Working<'_>,
    aggregate: Aggregate,
    prefix: &[u8],
    place: &mut Place,
    changes: &[Change],
) -> Result<(), EngineError> {
    let mut index = Index::load(working, prefix)?;
    for Change { member, old, new } in changes {
        let (old, new) = (element(member, old.as_ref()), element(member, new.as_ref()));
        match (old, new) {
            (Some((old, _)), Some((new, value))) if old == new => {
                // Equal values may differ in kind, as 1 and 1.0 do.
                working.put_row(keys::MEMBER, index.key(ELEMENTS, &new), value);
            }
            (old, new) => {
                if let Some((old, _)) = old {
                    index.remove(working, &old)?;
                }
                if let Some((new, value)) = new {
                    index.insert(working, &new, value)?;
                }
            }
        }
    }
    index.save(working);
    let share = aggregate.share().unwrap_or(Share::HALF);
    place.result = match least_error_row(working, &index.key(ELEMENTS, &[]))? {
        Some(error) => decoded(&error)?,
        None => index.at_share(working, share)?,
    };
    Ok(())
}

/// The key of an element behind its level, and its value; none where it does not count.
fn element(member: &Id, given: Option<&Given>) -> Option<(Vec<u8>, Vec<u8>)> {
    given.and_then(|given| ordered::row(Aggregate::Median, &[], member, given))
}

/// At how many levels an element is a boundary.
fn height(element: &[u8]) -> u8 {
    // FNV-1a, its bits mixed once more: the same for ever, since what is stored depends on it.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in element {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    let height = hash.trailing_zeros() / SPREAD.trailing_zeros();
    (height as u8).min(MAX_LEVELS)
}

fn number(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_varint(value, &mut bytes);
    bytes
}

fn numbers(values: [u64; 2]) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.into_iter().for_each(|value| push_varint(value, &mut bytes));
    bytes
}

fn corrupt() -> EngineError {
    EngineError::corrupt("the counts of a group")
}

fn read(mut bytes: &[u8]) -> Result<u64, EngineError> {
    read_varint(&mut bytes).map_err(|_| corrupt())
}

/// The header of one place, and where its rows are.
struct Index<'p> {
    prefix: &'p [u8],
    count: u64,
    levels: u8,
}

impl<'p> Index<'p> {
    fn load(working: &Working<'_>, prefix: &'p [u8]) -> Result<Index<'p>, EngineError> {
        let mut index = Index { prefix, count: 0, levels: 0 };
        if let Some(bytes) = working.row(keys::MEMBER, index.key(HEADER, &[]))? {
            let mut bytes = &bytes[..];
            index.count = read_varint(&mut bytes).map_err(|_| corrupt())?;
            let levels = read_varint(&mut bytes).ok().and_then(|levels| u8::try_from(levels).ok());
            index.levels = levels.filter(|levels| *levels <= MAX_LEVELS).ok_or_else(corrupt)?;
        }
        Ok(index)
    }

    fn save(&self, working: &mut Working<'_>) {
        let key = self.key(HEADER, &[]);
        if self.count == 0 {
            working.delete_row(keys::MEMBER, key);
        } else {
            working.put_row(keys::MEMBER, key, numbers([self.count, self.levels.into()]));
        }
    }

    /// The key of a row: of the header, of an element, or of a boundary at a level.
    fn key(&self, part: u8, element: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.prefix.len() + 1 + element.len());
        key.extend_from_slice(self.prefix);
        key.push(part);
        key.extend_from_slice(element);
        key
    }

    /// The last boundary of a level before an element, and its count.
    fn boundary(
        &self,
        working: &Working<'_>,
        level: u8,
        element: &[u8],
    ) -> Result<(Vec<u8>, u64), EngineError> {
        let range = KeyRange::between(self.key(ELEMENTS + level, &[]), self.key(ELEMENTS + level, element));
        let found = working.first_row(keys::MEMBER, &range, Direction::Backward)?;
        let (key, count) = found.ok_or_else(corrupt)?;
        Ok((key, read(&count)?))
    }

    /// How many elements there are from a boundary of a level, given by its key there, up to an element: counted in
    /// the level below.
    fn stretch(
        &self,
        working: &Working<'_>,
        level: u8,
        boundary: &[u8],
        element: &[u8],
    ) -> Result<u64, EngineError> {
        let from = self.key(ELEMENTS + level - 1, &boundary[self.prefix.len() + 1..]);
        let range = KeyRange::between(from, self.key(ELEMENTS + level - 1, element));
        let mut total = Ok(0);
        working.scan_rows(keys::MEMBER, &range, Direction::Forward, &mut |_, value| {
            let count = if level == 1 { Ok(1) } else { read(value) };
            total = total.as_ref().ok().copied().ok_or_else(corrupt).and_then(|total| Ok(total + count?));
            if total.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        total
    }

    fn insert(
        &mut self,
        working: &mut Working<'_>,
        element: &[u8],
        value: Vec<u8>,
    ) -> Result<(), EngineError> {
        working.put_row(keys::MEMBER, self.key(ELEMENTS, element), value);
        self.count += 1;
        let height = height(element);
        for level in 1..=self.levels.max(height) {
            let (boundary, count) = if level <= self.levels {
                let (boundary, count) = self.boundary(working, level, element)?;
                (boundary, count + 1)
            } else {
                // So far none came up to here: the level begins.
                self.levels = level;
                (self.key(ELEMENTS + level, &[]), self.count)
            };
            let before = if level <= height {
                let before = self.stretch(working, level, &boundary, element)?;
                let behind = count.checked_sub(before).ok_or_else(corrupt)?;
                working.put_row(keys::MEMBER, self.key(ELEMENTS + level, element), number(behind));
                before
            } else {
                count
            };
            working.put_row(keys::MEMBER, boundary, number(before));
        }
        Ok(())
    }

    fn remove(&mut self, working: &mut Working<'_>, element: &[u8]) -> Result<(), EngineError> {
        working.delete_row(keys::MEMBER, self.key(ELEMENTS, element));
        self.count = self.count.checked_sub(1).ok_or_else(corrupt)?;
        let height = height(element);
        let mut left = self.levels;
        for level in 1..=self.levels {
            let (boundary, mut count) = self.boundary(working, level, element)?;
            if level <= height {
                let own = self.key(ELEMENTS + level, element);
                count += read(&working.row(keys::MEMBER, own.clone())?.ok_or_else(corrupt)?)?;
                working.delete_row(keys::MEMBER, own);
                let begin = self.key(ELEMENTS + level, &[]);
                let mut others = KeyRange::prefix(begin.clone());
                others.from = Bound::Excluded(begin.clone());
                if working.first_row(keys::MEMBER, &others, Direction::Forward)?.is_none() {
                    // It was the only one up here, and at all levels above.
                    working.delete_row(keys::MEMBER, begin);
                    left = left.min(level - 1);
                    continue;
                }
            }
            let count = count.checked_sub(1).ok_or_else(corrupt)?;
            working.put_row(keys::MEMBER, boundary, number(count));
        }
        self.levels = left;
        Ok(())
    }

    /// What stands at a share of the way through.
    fn at_share(&self, working: &Working<'_>, share: Share) -> Result<Value, EngineError> {
        if self.count == 0 {
            return Ok(Value::Null);
        }
        let (rank, part) = share.rank(self.count);
        let mut at = Vec::new();
        let mut skip = rank;
        for level in (1..=self.levels).rev() {
            let mut range = KeyRange::prefix(self.key(ELEMENTS + level, &[]));
            range.from = Bound::Included(self.key(ELEMENTS + level, &at));
            let mut found = Err(corrupt());
            working.scan_rows(
                keys::MEMBER,
                &range,
                Direction::Forward,
                &mut |key, value| match read(value) {
                    Ok(count) if count <= skip => {
                        skip -= count;
                        ControlFlow::Continue(())
                    }
                    Ok(_) => {
                        found = Ok(key[self.prefix.len() + 1..].to_vec());
                        ControlFlow::Break(())
                    }
                    Err(_) => ControlFlow::Break(()),
                },
            )?;
            at = found?;
        }
        let mut range = KeyRange::prefix(self.key(ELEMENTS, &[]));
        range.from = Bound::Included(self.key(ELEMENTS, &at));
        let wanted = if part == 0 { 1 } else { 2 };
        let mut values = Vec::with_capacity(wanted);
        working.scan_rows(keys::MEMBER, &range, Direction::Forward, &mut |_, value| {
            if skip > 0 {
                skip -= 1;
            } else {
                values.push(decoded(value));
            }
            if values.len() == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let values: Vec<Value> = values.into_iter().collect::<Result<_, _>>()?;
        let low = values.first().ok_or_else(corrupt)?;
        Ok(between(low, values.last().unwrap_or(low), part, Share::PARTS))
    }
}

/// All rows of a place, from the members that it has: for those who check what is stored.
pub(crate) fn rows(prefix: &[u8], members: &[(Id, Given)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let elements: BTreeMap<Vec<u8>, Vec<u8>> =
        members.iter().filter_map(|(member, given)| element(member, Some(given))).collect();
    let mut rows = BTreeMap::new();
    if elements.is_empty() {
        return rows;
    }
    let at = |part: u8, element: &[u8]| [prefix, &[part], element].concat();
    let levels = elements.keys().map(|element| height(element)).max().unwrap_or(0);
    for level in 1..=levels {
        let mut boundary = at(ELEMENTS + level, &[]);
        let mut count = 0;
        for element in elements.keys() {
            if height(element) >= level {
                rows.insert(std::mem::replace(&mut boundary, at(ELEMENTS + level, element)), number(count));
                count = 0;
            }
            count += 1;
        }
        rows.insert(boundary, number(count));
    }
    rows.insert(at(HEADER, &[]), numbers([elements.len() as u64, levels.into()]));
    rows.extend(elements.into_iter().map(|(element, value)| (at(ELEMENTS, &element), value)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_what_they_were_in_every_stored_index() {
        let heights: Vec<u8> = (0u32..2_000).map(|n| height(&n.to_be_bytes())).collect();
        let reach = |level: u8| heights.iter().filter(|height| **height >= level).count();
        // About one in 32, of those one in 32, and so on.
        assert_eq!([reach(1), reach(2), reach(3)], [54, 5, 1]);
    }
}
