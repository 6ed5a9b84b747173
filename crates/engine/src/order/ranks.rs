//! Places from keys and keys from places: counts beside the index of siblings.
//!
//! ```text
//! children        number, parent link, parent id, position, child id      -> –
//! counts          number, 0, level, parent id, position, child id         -> varint: how many there are from here to the
//!                                                                            next row of the level
//! ```
//!
//! A child has a row at a level if a hash of its key says so: one in [`SPAN`] at level 1, one of those in [`SPAN`] at level
//! 2. The children before the first such row are counted in a row without a child, where there are any. So what is stored
//! follows from the children that there are and not from how they came, and a check can compare it with counts made anew.

use std::collections::BTreeMap;

use corollary_schema::{FieldId, FieldRef, Schema};
use corollary_store::{Direction, KeyRange};
use corollary_value::codec::{push_varint, read_varint};
use corollary_value::order_key::{push_order_key, skip_order_key};
use corollary_value::{Id, Value};

use crate::error::EngineError;
use crate::keys;
use crate::working::Working;

/// Children, or rows of a level, for one row of the level above, on average.
pub const SPAN: u32 = 1 << SPAN_BITS;

const SPAN_BITS: u32 = 6;

/// Levels of counts: enough for a quarter of a million children at some hundred rows a look-up.
const LEVELS: u8 = 2;

/// What stands behind the parent in a row: position and id.
pub fn suffix(position: &Value, child: &Id) -> Vec<u8> {
    let mut out = Vec::new();
    push_order_key(position, &mut out);
    child.push_key(&mut out);
    out
}

/// How many levels a child has rows at.
fn height(suffix: &[u8]) -> u8 {
    // FNV-1a, mixed once more since its low bits are weak.
    let hash = suffix.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 32)).trailing_zeros() / SPAN_BITS).min(LEVELS.into()) as u8
}

/// The children of one parent through one ordered collection.
#[derive(Clone, Debug)]
pub struct Siblings {
    index: FieldId,
    via: FieldId,
    parent: Id,
}

impl Siblings {
    /// Those whose link leads to a parent; none where the collection has no order.
    pub fn of(schema: &Schema, via: FieldRef, parent: &Id) -> Option<Siblings> {
        let index = schema.field(schema.position_of(via)?).parent_index?;
        Some(Siblings { index, via: schema.field(via).id, parent: parent.clone() })
    }

    /// The prefix of the rows of a level; level 0 are the children themselves.
    fn prefix(&self, level: u8) -> Vec<u8> {
        match level {
            0 => keys::children(self.index, self.via, &self.parent),
            level => keys::counted_children(self.index, level, &self.parent),
        }
    }

    fn row_key(&self, level: u8, suffix: &[u8]) -> Vec<u8> {
        let mut key = self.prefix(level);
        key.extend_from_slice(suffix);
        key
    }

    /// The rows of a level from one child on, up to and without another.
    fn rows(
        &self,
        working: &Working<'_>,
        level: u8,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<Vec<(Vec<u8>, u64)>, EngineError> {
        let prefix = self.prefix(level);
        let from = self.row_key(level, from);
        let range = match to {
            Some(to) => KeyRange::between(from, self.row_key(level, to)),
            None => {
                let mut range = KeyRange::prefix(prefix.clone());
                range.from = std::ops::Bound::Included(from);
                range
            }
        };
        let count = |value: &[u8]| match level {
            0 => Ok(1),
            _ => read_varint(&mut &value[..]).map_err(|_| EngineError::corrupt("a count of children")),
        };
        let rows = working.rows(keys::INDEX, &range)?;
        rows.into_iter().map(|(key, value)| Ok((key[prefix.len()..].to_vec(), count(&value)?))).collect()
    }

    /// The last row of a level before a child, or at it; the beginning where there is none.
    fn row_before(
        &self,
        working: &Working<'_>,
        level: u8,
        suffix: &[u8],
        at_it: bool,
    ) -> Result<(Vec<u8>, u64), EngineError> {
        let prefix = self.prefix(level);
        let mut range = KeyRange::prefix(prefix.clone());
        let end = self.row_key(level, suffix);
        range.to = if at_it { std::ops::Bound::Included(end) } else { std::ops::Bound::Excluded(end) };
        match working.first_row(keys::INDEX, &range, Direction::Backward)? {
            Some((key, value)) => {
                let count = read_varint(&mut &value[..]);
                let count = count.map_err(|_| EngineError::corrupt("a count of children"))?;
                Ok((key[prefix.len()..].to_vec(), count))
            }
            None => Ok((Vec::new(), 0)),
        }
    }

    fn put(&self, working: &mut Working<'_>, level: u8, suffix: &[u8], count: u64) {
        let key = self.row_key(level, suffix);
        // A child that begins a stretch counts itself; only the beginning may be followed by nothing.
        if count == 0 {
            working.delete_row(keys::INDEX, key);
        } else {
            let mut value = Vec::new();
            push_varint(count, &mut value);
            working.put_row(keys::INDEX, key, value);
        }
    }

    /// How many children there are.
    pub fn count(&self, working: &Working<'_>) -> Result<u64, EngineError> {
        Ok(self.rows(working, LEVELS, &[], None)?.iter().map(|(_, count)| count).sum())
    }

    /// How many children stand before a child, or before where it would stand.
    pub fn rank(&self, working: &Working<'_>, suffix: &[u8]) -> Result<u64, EngineError> {
        let (mut before, mut from) = (0, Vec::new());
        for level in (1..=LEVELS).rev() {
            let (last, _) = self.row_before(working, level, suffix, true)?;
            let rows = self.rows(working, level, &from, Some(&last))?;
            before += rows.iter().map(|(_, count)| count).sum::<u64>();
            from = last;
        }
        Ok(before + self.rows(working, 0, &from, Some(suffix))?.len() as u64)
    }

    /// The position and the id of the child at a place; none past the end.
    pub fn at(&self, working: &Working<'_>, place: u64) -> Result<Option<(String, Id)>, EngineError> {
        let mut left = place;
        let (mut from, mut to): (Vec<u8>, Option<Vec<u8>>) = (Vec::new(), None);
        for level in (1..=LEVELS).rev() {
            let rows = self.rows(working, level, &from, to.as_deref())?;
            let mut inside = false;
            for (suffix, count) in rows {
                if inside {
                    to = Some(suffix);
                    break;
                }
                inside = left < count;
                if inside {
                    from = suffix;
                } else {
                    left -= count;
                }
            }
            if !inside {
                return Ok(None);
            }
        }
        let rows = self.rows(working, 0, &from, to.as_deref())?;
        let at = usize::try_from(left).ok().and_then(|left| rows.get(left));
        at.map(|(suffix, _)| read(suffix)).transpose()
    }

    /// [`Siblings::at`], where a place may be none.
    pub fn at_checked(
        &self,
        working: &Working<'_>,
        place: Option<u64>,
    ) -> Result<Option<(String, Id)>, EngineError> {
        place.map_or(Ok(None), |place| self.at(working, place))
    }

    /// All children, in order.
    pub fn ids(&self, working: &Working<'_>) -> Result<Vec<Id>, EngineError> {
        let rows = self.rows(working, 0, &[], None)?;
        rows.iter().map(|(suffix, _)| read(suffix).map(|(_, id)| id)).collect()
    }

    /// Puts a child in.
    pub fn insert(&self, working: &mut Working<'_>, suffix: &[u8]) -> Result<(), EngineError> {
        let height = height(suffix);
        // Children from the row before it to the new one, level by level.
        let (mut from, mut before) = (suffix.to_vec(), 0);
        for level in 1..=LEVELS {
            let (row, count) = self.row_before(working, level, suffix, false)?;
            if level > height {
                self.put(working, level, &row, count + 1);
                continue;
            }
            let between = self.rows(working, level - 1, &row, Some(&from))?;
            before += between.iter().map(|(_, count)| count).sum::<u64>();
            self.put(working, level, &row, before);
            self.put(working, level, suffix, count + 1 - before);
            from = row;
        }
        working.put_row(keys::INDEX, self.row_key(0, suffix), Vec::new());
        Ok(())
    }

    /// Takes a child out that is there.
    pub fn remove(&self, working: &mut Working<'_>, suffix: &[u8]) -> Result<(), EngineError> {
        let height = height(suffix);
        for level in 1..=LEVELS {
            let (row, count) = self.row_before(working, level, suffix, false)?;
            let corrupt = || EngineError::corrupt("a count of children");
            if level > height {
                self.put(working, level, &row, count.checked_sub(1).ok_or_else(corrupt)?);
                continue;
            }
            let (_, own) = self.row_before(working, level, suffix, true)?;
            self.put(working, level, suffix, 0);
            self.put(working, level, &row, (count + own).checked_sub(1).ok_or_else(corrupt)?);
        }
        working.delete_row(keys::INDEX, self.row_key(0, suffix));
        Ok(())
    }

    /// The keys and values of all rows that there should be for these children.
    pub fn expected(&self, mut suffixes: Vec<Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        suffixes.sort();
        let mut rows = BTreeMap::new();
        for level in 1..=LEVELS {
            let mut counts: Vec<(&[u8], u64)> = vec![(&[], 0)];
            for suffix in &suffixes {
                if height(suffix) >= level {
                    counts.push((suffix, 0));
                }
                if let Some((_, count)) = counts.last_mut() {
                    *count += 1;
                }
            }
            for (suffix, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                let mut value = Vec::new();
                push_varint(count, &mut value);
                rows.insert(self.row_key(level, suffix), value);
            }
        }
        rows.extend(suffixes.iter().map(|suffix| (self.row_key(0, suffix), Vec::new())));
        rows
    }
}

/// Position and id from what stands behind the parent in a row.
fn read(suffix: &[u8]) -> Result<(String, Id), EngineError> {
    let corrupt = || EngineError::corrupt("the place of a child");
    let rest = skip_order_key(suffix).ok_or_else(corrupt)?;
    let (id, []) = Id::read_key(rest).ok_or_else(corrupt)? else { return Err(corrupt()) };
    // A text in order bytes is its tag, its bytes (a position has no zero in it), and two bytes that end it.
    let encoded = &suffix[..suffix.len() - rest.len()];
    let text =
        encoded.get(1..encoded.len().saturating_sub(2)).and_then(|text| std::str::from_utf8(text).ok());
    Ok((text.ok_or_else(corrupt)?.to_string(), id))
}
