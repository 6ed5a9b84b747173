//! Elements in order, with counts above them, so that any rank is found without counting them all: the places of
//! children among their siblings (`order`), and the medians and percentiles of groups (`group`).
//!
//! ```text
//! header           -> how many elements, how many levels; there is none over no elements
//! elements         element -> what is kept with it
//! level L          element -> elements from here to the next row of the level; a row without an element begins it
//! ```
//!
//! Of the elements about one in [`SPREAD`] has a row at level 1, of those one in [`SPREAD`] at level 2, and so on. A hash of
//! the element decides, so the rows are a function of the elements, whatever came and went, and a check compares them
//! with `Rows::expected`. There are as many levels as any element reaches. An element that comes or goes changes one
//! count a level; where it has a row itself, the stretch that it parts is counted, from the level below. A rank is looked
//! for from the highest level down. Elements sort as their bytes do.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use corollary_store::{Direction, KeyRange, Keyspace};
use corollary_value::codec::{push_varint, read_varint};

use crate::error::EngineError;
use crate::keys;
use crate::working::{Row, Working};

/// Of so many rows of a level one is a row of the next, on average. A power of two.
pub const SPREAD: u64 = 32;

/// The most levels: enough for more elements than there can be.
const MAX_LEVELS: u8 = 12;

/// The part of the header.
const HEADER: u8 = 0;
/// The part of the elements; that of a level is as far behind it as the level says.
const ELEMENTS: u8 = 1;

/// At how many levels an element has a row.
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

fn corrupt() -> EngineError {
    EngineError::corrupt("the counts above elements in order")
}

/// How many elements and levels there are.
#[derive(Clone, Copy, Default)]
struct Header {
    count: u64,
    levels: u8,
}

impl Header {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_varint(self.count, &mut bytes);
        push_varint(self.levels.into(), &mut bytes);
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Result<Header, EngineError> {
        let count = read_varint(&mut bytes).map_err(|_| corrupt())?;
        let levels = read_varint(&mut bytes).ok().and_then(|levels| u8::try_from(levels).ok());
        Ok(Header { count, levels: levels.filter(|levels| *levels <= MAX_LEVELS).ok_or_else(corrupt)? })
    }
}

/// The rows of one index, by where they stand; they are read and written in the state that is given.
#[derive(Clone, Debug)]
pub struct Rows {
    keyspace: Keyspace,
    /// What is in front of an element.
    elements: Vec<u8>,
    /// What is in front of the number of any other part.
    before: Vec<u8>,
    /// What is between the number of such a part and an element.
    behind: Vec<u8>,
}

impl Rows {
    /// All of an index below one prefix.
    pub(crate) fn below(keyspace: Keyspace, prefix: &[u8]) -> Rows {
        let elements = [prefix, &[ELEMENTS]].concat();
        Rows { keyspace, elements, before: prefix.to_vec(), behind: Vec::new() }
    }

    /// The elements below one prefix; of what is counted the number of the part stands between two others.
    pub(crate) fn beside(keyspace: Keyspace, elements: Vec<u8>, before: Vec<u8>, behind: Vec<u8>) -> Rows {
        Rows { keyspace, elements, before, behind }
    }

    /// What is in front of every element.
    pub(crate) fn elements(&self) -> &[u8] {
        &self.elements
    }

    /// The key of a row: of the header, of an element, or of an element at a level.
    fn key(&self, part: u8, element: &[u8]) -> Vec<u8> {
        if part == ELEMENTS {
            return [&self.elements, element].concat();
        }
        [&self.before, &[part][..], &self.behind, element].concat()
    }

    /// How long the key of a part is in front of the element.
    fn prefix_length(&self, part: u8) -> usize {
        if part == ELEMENTS { self.elements.len() } else { self.before.len() + 1 + self.behind.len() }
    }

    fn header(&self, working: &Working<'_>) -> Result<Header, EngineError> {
        match working.row(self.keyspace, self.key(HEADER, &[]))? {
            Some(bytes) => Header::decode(&bytes),
            None => Ok(Header::default()),
        }
    }

    fn put_header(&self, working: &mut Working<'_>, header: Header) {
        let key = self.key(HEADER, &[]);
        if header.count == 0 {
            working.delete_row(self.keyspace, key);
        } else {
            working.put_row(self.keyspace, key, header.encode());
        }
    }

    /// How many elements there are.
    pub fn count(&self, working: &Working<'_>) -> Result<u64, EngineError> {
        Ok(self.header(working)?.count)
    }

    /// What stands at a level from an element on, in order, until `visit` breaks: elements, each with how many there are
    /// from it to the next. At level 0 these are the elements themselves.
    fn visit(
        &self,
        working: &Working<'_>,
        level: u8,
        from: &[u8],
        to: Option<Bound<&[u8]>>,
        visit: &mut dyn FnMut(&[u8], u64) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let part = ELEMENTS + level;
        let length = self.prefix_length(part);
        let mut range = KeyRange::prefix(self.key(part, &[]));
        range.from = Bound::Included(self.key(part, from));
        if let Some(to) = to {
            range.to = to.map(|to| self.key(part, to));
        }
        let mut outcome = Ok(());
        working.scan_rows(self.keyspace, &range, Direction::Forward, &mut |key, value| {
            let count = if level == 0 { Ok(1) } else { keys::read_count(value) };
            match count {
                Ok(count) => visit(&key[length..], count),
                Err(error) => {
                    outcome = Err(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        outcome
    }

    /// The last row of a level before an element, and its count.
    fn row_before(
        &self,
        working: &Working<'_>,
        level: u8,
        element: &[u8],
    ) -> Result<(Vec<u8>, u64), EngineError> {
        let part = ELEMENTS + level;
        let range = KeyRange::between(self.key(part, &[]), self.key(part, element));
        let found = working.first_row(self.keyspace, &range, Direction::Backward)?;
        let (key, count) = found.ok_or_else(corrupt)?;
        Ok((key[self.prefix_length(part)..].to_vec(), keys::read_count(&count)?))
    }

    fn put_count(&self, working: &mut Working<'_>, level: u8, element: &[u8], count: u64) {
        working.put_row(self.keyspace, self.key(ELEMENTS + level, element), keys::count(count));
    }

    /// How many elements there are from a row of a level up to an element: counted in the level below.
    fn stretch(
        &self,
        working: &Working<'_>,
        level: u8,
        from: &[u8],
        element: &[u8],
    ) -> Result<u64, EngineError> {
        let mut total = 0;
        self.visit(working, level - 1, from, Some(Bound::Excluded(element)), &mut |_, count| {
            total += count;
            ControlFlow::Continue(())
        })?;
        Ok(total)
    }

    /// Puts in an element that is not there.
    pub(crate) fn insert(
        &self,
        working: &mut Working<'_>,
        element: &[u8],
        value: Vec<u8>,
    ) -> Result<(), EngineError> {
        let mut header = self.header(working)?;
        working.put_row(self.keyspace, self.key(ELEMENTS, element), value);
        header.count += 1;
        let height = height(element);
        for level in 1..=header.levels.max(height) {
            let (row, count) = if level <= header.levels {
                let (row, count) = self.row_before(working, level, element)?;
                (row, count + 1)
            } else {
                // So far none came up to here: the level begins.
                header.levels = level;
                (Vec::new(), header.count)
            };
            let mut before = count;
            if level <= height {
                before = self.stretch(working, level, &row, element)?;
                let behind = count.checked_sub(before).ok_or_else(corrupt)?;
                self.put_count(working, level, element, behind);
            }
            self.put_count(working, level, &row, before);
        }
        self.put_header(working, header);
        Ok(())
    }

    /// What is kept with an element that is there is another value now.
    pub(crate) fn replace(&self, working: &mut Working<'_>, element: &[u8], value: Vec<u8>) {
        working.put_row(self.keyspace, self.key(ELEMENTS, element), value);
    }

    /// Takes out an element that is there.
    pub(crate) fn remove(&self, working: &mut Working<'_>, element: &[u8]) -> Result<(), EngineError> {
        let mut header = self.header(working)?;
        working.delete_row(self.keyspace, self.key(ELEMENTS, element));
        header.count = header.count.checked_sub(1).ok_or_else(corrupt)?;
        let height = height(element);
        for level in 1..=header.levels {
            let (row, mut count) = self.row_before(working, level, element)?;
            if level <= height {
                let own = self.key(ELEMENTS + level, element);
                let bytes = working.row(self.keyspace, own.clone())?.ok_or_else(corrupt)?;
                count += keys::read_count(&bytes)?;
                working.delete_row(self.keyspace, own);
                if row.is_empty() && !self.any(working, level)? {
                    // It was the only one up here, and so at all levels above.
                    for level in level..=header.levels {
                        working.delete_row(self.keyspace, self.key(ELEMENTS + level, &[]));
                        working.delete_row(self.keyspace, self.key(ELEMENTS + level, element));
                    }
                    header.levels = level - 1;
                    break;
                }
            }
            self.put_count(working, level, &row, count.checked_sub(1).ok_or_else(corrupt)?);
        }
        self.put_header(working, header);
        Ok(())
    }

    /// Has any element a row at a level?
    fn any(&self, working: &Working<'_>, level: u8) -> Result<bool, EngineError> {
        let begin = self.key(ELEMENTS + level, &[]);
        let mut range = KeyRange::prefix(begin.clone());
        range.from = Bound::Excluded(begin);
        Ok(working.first_row(self.keyspace, &range, Direction::Forward)?.is_some())
    }

    /// How many elements stand before one, or before where it would stand.
    pub fn rank(&self, working: &Working<'_>, element: &[u8]) -> Result<u64, EngineError> {
        let (mut before, mut from) = (0, Vec::new());
        for level in (1..=self.header(working)?.levels).rev() {
            // Of the rows up to the element, the last is where the level below goes on.
            let mut last = 0;
            self.visit(working, level, &from.clone(), Some(Bound::Included(element)), &mut |at, count| {
                before += last;
                last = count;
                from.clear();
                from.extend_from_slice(at);
                ControlFlow::Continue(())
            })?;
        }
        Ok(before + self.stretch(working, 1, &from, element)?)
    }

    /// The elements from a rank on, at most so many, each with what is kept with it.
    pub(crate) fn at(
        &self,
        working: &Working<'_>,
        rank: u64,
        wanted: usize,
    ) -> Result<Vec<Row>, EngineError> {
        let header = self.header(working)?;
        if rank >= header.count || wanted == 0 {
            return Ok(Vec::new());
        }
        let (mut from, mut skip) = (Vec::new(), rank);
        for level in (1..=header.levels).rev() {
            let mut found = None;
            self.visit(working, level, &from, None, &mut |at, count| {
                if count <= skip {
                    skip -= count;
                    return ControlFlow::Continue(());
                }
                found = Some(at.to_vec());
                ControlFlow::Break(())
            })?;
            from = found.ok_or_else(corrupt)?;
        }
        let mut range = KeyRange::prefix(self.elements.clone());
        range.from = Bound::Included(self.key(ELEMENTS, &from));
        let mut found = Vec::with_capacity(wanted.min(SPREAD as usize));
        working.scan_rows(self.keyspace, &range, Direction::Forward, &mut |key, value| {
            if skip > 0 {
                skip -= 1;
            } else {
                found.push((key[self.elements.len()..].to_vec(), value.to_vec()));
            }
            if found.len() == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }

    /// All elements in order, each with what is kept with it.
    pub(crate) fn all(&self, working: &Working<'_>) -> Result<Vec<Row>, EngineError> {
        let rows = working.rows(self.keyspace, &KeyRange::prefix(self.elements.clone()))?;
        Ok(rows.into_iter().map(|(key, value)| (key[self.elements.len()..].to_vec(), value)).collect())
    }

    /// The keys and values of all rows that there should be for some elements: for those who check what is stored.
    pub(crate) fn expected(&self, elements: BTreeMap<Vec<u8>, Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows = BTreeMap::new();
        let Some(levels) = elements.keys().map(|element| height(element)).max() else { return rows };
        for level in 1..=levels {
            let (mut row, mut count) = (&[][..], 0);
            for element in elements.keys() {
                if height(element) >= level {
                    rows.insert(self.key(ELEMENTS + level, row), keys::count(count));
                    (row, count) = (element, 0);
                }
                count += 1;
            }
            rows.insert(self.key(ELEMENTS + level, row), keys::count(count));
        }
        let header = Header { count: elements.len() as u64, levels };
        rows.insert(self.key(HEADER, &[]), header.encode());
        rows.extend(elements.into_iter().map(|(element, value)| (self.key(ELEMENTS, &element), value)));
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use corollary_store::MemoryStore;
    use jiff::Timestamp;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::{EngineOptions, Executor};

    fn executor() -> Executor {
        let store = Arc::new(MemoryStore::new(&keys::KEYSPACES).unwrap());
        let options = EngineOptions::default();
        let schema = "type Thing in things { name: str }";
        crate::open(store, schema, &options, Timestamp::UNIX_EPOCH, &mut |_| {}).unwrap()
    }

    /// In both ways to stand: all below one prefix, and the counts beside the elements.
    fn both() -> [Rows; 2] {
        let beside = Rows::beside(keys::MEMBER, vec![9, 1, 7], vec![9, 0], vec![7]);
        [Rows::below(keys::MEMBER, &[3]), beside]
    }

    /// Some that few would be without levels: of three, one reaches the first and one the second.
    fn elements() -> Vec<Vec<u8>> {
        let mut left = [30; 3];
        let all = (0u32..100_000).map(|n| n.to_be_bytes().to_vec());
        let picked = all.filter(|element| {
            let left = &mut left[usize::from(height(element).min(2))];
            let wanted = *left > 0;
            *left -= i32::from(wanted);
            wanted
        });
        picked.collect()
    }

    #[track_caller]
    fn assert_as_sorted(working: &Working<'_>, rows: &Rows, sorted: &[Vec<u8>]) {
        assert_eq!(rows.count(working).unwrap(), sorted.len() as u64);
        for (rank, element) in sorted.iter().enumerate() {
            assert_eq!(rows.rank(working, element).unwrap(), rank as u64);
            let found = rows.at(working, rank as u64, 2).unwrap();
            let found: Vec<&Vec<u8>> = found.iter().map(|(element, _)| element).collect();
            assert_eq!(found, sorted[rank..].iter().take(2).collect::<Vec<_>>());
            // Where one would stand that is not there.
            let behind = [&element[..], &[0]].concat();
            assert_eq!(rows.rank(working, &behind).unwrap(), rank as u64 + 1);
        }
        assert_eq!(rows.rank(working, &[]).unwrap(), 0);
        assert!(rows.at(working, sorted.len() as u64, 1).unwrap().is_empty());
        let there = sorted.iter().map(|element| (element.clone(), element.clone())).collect();
        let stored = working.rows(rows.keyspace, &KeyRange::all()).unwrap();
        assert_eq!(stored, rows.expected(there));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn an_index_is_a_sorted_list(
            picks in vec((any::<prop::sample::Index>(), 0u8..10), 1..300),
            ends in vec(any::<bool>(), 300),
        ) {
            let elements = elements();
            for rows in both() {
                let mut executor = executor();
                let mut sorted: Vec<Vec<u8>> = Vec::new();
                let mut steps = picks.iter().zip(&ends).peekable();
                while steps.peek().is_some() {
                    let done = executor.maintain(|working, _| {
                        for ((pick, kind), end) in steps.by_ref() {
                            let element = &elements[pick.index(elements.len())];
                            match sorted.binary_search(element) {
                                Ok(at) => {
                                    rows.remove(working, element)?;
                                    sorted.remove(at);
                                }
                                // Now and then what is there goes.
                                Err(_) if *kind < 3 && !sorted.is_empty() => {
                                    let gone = sorted.remove(pick.index(sorted.len()));
                                    rows.remove(working, &gone)?;
                                }
                                Err(at) => {
                                    rows.insert(working, element, element.clone())?;
                                    sorted.insert(at, element.clone());
                                }
                            }
                            // Of what is done some is stored, some not yet.
                            if *end && *kind == 9 {
                                break;
                            }
                        }
                        assert_as_sorted(working, &rows, &sorted);
                        Ok(())
                    });
                    done.unwrap();
                }
                let emptied = executor.maintain(|working, _| {
                    while let Some(last) = sorted.pop() {
                        rows.remove(working, &last)?;
                    }
                    assert_as_sorted(working, &rows, &sorted);
                    Ok(())
                });
                emptied.unwrap();
            }
        }
    }

    #[test]
    fn a_rank_is_found_in_steps_that_grow_with_the_logarithm() {
        let mut read = Vec::new();
        for count in [1_000u32, 30_000] {
            let (mut executor, [rows, _]) = (executor(), both());
            let mut all = (0..count).map(|n| n.to_be_bytes());
            let filled = executor.maintain(|working, _| {
                all.try_for_each(|element| rows.insert(working, &element, Vec::new()))
            });
            filled.unwrap();
            let most = executor.maintain(|working, _| {
                let mut most = 0;
                for rank in (0..count).step_by(count as usize / 50) {
                    let before = working.base.rows_read();
                    let element = &rows.at(working, rank.into(), 1)?[0].0;
                    assert_eq!(rows.rank(working, element)?, u64::from(rank));
                    most = most.max(working.base.rows_read() - before);
                }
                Ok(most)
            });
            read.push(most.unwrap());
        }
        // Thirty times as many: one level more, of which a stretch is read for each of the two.
        assert!(read[1] <= read[0] + 2 * 6 * SPREAD, "{read:?}");
    }

    #[test]
    fn heights_are_what_they_were_in_every_stored_index() {
        let heights: Vec<u8> = (0u32..2_000).map(|n| height(&n.to_be_bytes())).collect();
        let reach = |level: u8| heights.iter().filter(|height| **height >= level).count();
        // About one in 32, of those one in 32, and so on.
        assert_eq!([reach(1), reach(2), reach(3)], [54, 5, 1]);
    }
}
