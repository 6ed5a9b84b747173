//! Paths of access: how the candidates of a query are walked, all at once or some at a time, and how many there are about.
//!
//! [`step`] reads the next candidates and moves the trail on behind them, so a walk can rest and go on as long as its state
//! is held; [`each`] goes to the end.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::vec;

use corollary_schema::{FieldId, TypeIx};
use corollary_store::{Direction, KeyRange, Keyspace};
use corollary_value::Id;
use corollary_value::order_key::skip_order_key;

use super::plan::Access;
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::keys;
use crate::working::Working;

/// Candidates that are loaded together.
const CHUNK: usize = 256;

/// A walk over candidates.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub rows: Rows,
    pub direction: Direction,
    /// Does it yield the order that is asked for?
    pub ordered: bool,
    /// What it is, for those who ask.
    pub access: Access,
}

/// Rows with an id at their end.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub keyspace: Keyspace,
    pub range: KeyRange,
    pub id_at: IdAt,
}

/// Behind what the id stands in the key of a row.
#[derive(Clone, Debug)]
pub(super) enum IdAt {
    /// The type of a document.
    Type,
    /// The value of an index.
    Value,
    /// The target of a reference.
    Target,
    /// The parent and the value of an index by parent.
    ParentAndValue,
    /// The values of an index over several fields, each of which may be descending.
    Several(Arc<[bool]>),
}

impl IdAt {
    fn read(&self, key: &[u8]) -> Option<Id> {
        match self {
            IdAt::Type => whole_id(key.get(4..)?),
            IdAt::Value => whole_id(skip_order_key(key.get(4..)?)?),
            IdAt::Target => whole_id(Id::read_key(key.get(4..)?)?.1),
            IdAt::ParentAndValue => whole_id(skip_order_key(Id::read_key(key.get(8..)?)?.1)?),
            IdAt::Several(descending) => keys::read_composite(key, descending.iter().copied()),
        }
    }
}

impl Scan {
    /// The rows of those that refer by a field to a resource.
    pub fn referring(field: FieldId, target: &Id) -> Scan {
        let range = KeyRange::prefix(keys::references_to(field, target));
        Scan { keyspace: keys::REFERENCE, range, id_at: IdAt::Target }
    }
}

/// Rows that lead to candidates, or to what these lead to.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub scan: Scan,
    /// The links by which the candidates lead to what the rows name, the last one first; none where the rows name candidates.
    pub back: Vec<FieldId>,
}

impl Source {
    pub fn own(scan: Scan) -> Source {
        Source { scan, back: Vec::new() }
    }

    /// The rows of the candidates themselves, in the order of ids, where these all lead to one resource: to one that many refer
    /// to, say. They can be walked as they stand, however many they are.
    fn of_one(&self, working: &Working<'_>, after: Option<&Id>) -> Result<Option<Scan>, EngineError> {
        let Some((link, before)) = self.back.split_last() else { return Ok(None) };
        let named = Source { scan: self.scan.clone(), back: before.to_vec() };
        let Some(targets) = united(working, &[named], None, 1)? else { return Ok(None) };
        let [target] = &targets[..] else { return Ok(None) };
        let mut scan = Scan::referring(*link, target);
        if let Some(after) = after {
            scan.range = scan.range.resume_after(keys::reference(*link, target, after));
        }
        Ok(Some(scan))
    }
}

/// Candidates that are walked as they stand.
#[derive(Clone, Debug)]
pub(super) enum Trail {
    /// Documents themselves.
    Docs(KeyRange),
    /// Rows that lead to documents.
    Ids(Scan),
    /// A list, by id.
    Listed(vec::IntoIter<Id>),
}

#[derive(Clone, Debug)]
pub(super) enum Rows {
    /// As they stand.
    Trail(Trail),
    /// Those behind an id that have an entry in one of the ranges of each part; parts with more than so many are too
    /// common to begin with.
    Search { parts: Vec<Vec<KeyRange>>, after: Option<Id>, limit: usize },
    /// Those behind an id that any of these leads to; no more than so many, nor on the way there.
    Union { sources: Vec<Source>, after: Option<Id>, limit: usize },
}

/// What takes candidates; false where it has enough.
type Take<'t> = dyn FnMut(Key, Arc<Doc>) -> Result<bool, EngineError> + 't;

/// How far a walk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Come {
    /// There may be more.
    Some,
    /// Those were all.
    All,
    /// Whoever takes them has enough; the walk does not go on behind that.
    Enough,
}

/// Hands the candidates of a path to `take` until it has enough, `first` of them together and then ever more; true if that
/// were all.
pub(super) fn each(
    working: &Working<'_>,
    ty: TypeIx,
    path: Path,
    first: usize,
    take: &mut Take<'_>,
) -> Result<bool, EngineError> {
    let Some(mut trail) = path.rows.trail(working)? else { return Ok(false) };
    // Documents come one by one, as they stand.
    let mut together = if matches!(trail, Trail::Docs(_)) { usize::MAX } else { first.max(1) };
    loop {
        match step(working, ty, &mut trail, path.direction, together, take)? {
            Come::Some => together = together.saturating_mul(2),
            come => return Ok(come == Come::All),
        }
    }
}

/// Hands the next candidates to `take`, at most so many, and moves the trail on behind them.
pub(super) fn step(
    working: &Working<'_>,
    ty: TypeIx,
    trail: &mut Trail,
    direction: Direction,
    most: usize,
    take: &mut Take<'_>,
) -> Result<Come, EngineError> {
    let behind = |range: &KeyRange, end: Vec<u8>| match direction {
        Direction::Forward => range.clone().resume_after(end),
        Direction::Backward => range.clone().resume_before(end),
    };
    match trail {
        Trail::Docs(range) => {
            let prefix = keys::docs_of(working.schema.ty(ty).id).len();
            let (mut come, mut left, mut end) = (Ok(Come::All), most, None);
            working.base.scan(keys::DOC, range, direction, &mut |key, value| {
                match document(working, ty, prefix, key, value, take) {
                    Ok(true) if left > 1 => {
                        left -= 1;
                        return ControlFlow::Continue(());
                    }
                    Ok(true) => (come, end) = (Ok(Come::Some), Some(key.to_vec())),
                    Ok(false) => come = Ok(Come::Enough),
                    Err(error) => come = Err(error),
                }
                ControlFlow::Break(())
            })?;
            if let Some(end) = end {
                *range = behind(range, end);
            }
            come
        }
        Trail::Ids(Scan { keyspace, range, id_at }) => {
            let most = most.min(CHUNK);
            let mut chunk: Vec<Key> = Vec::with_capacity(most);
            let (mut end, mut corrupt) = (None, false);
            working.base.scan_keys(*keyspace, range, direction, &mut |key| {
                match id_at.read(key) {
                    Some(id) => chunk.push(Key::new(ty, id)),
                    None => corrupt = true,
                }
                if chunk.len() < most && !corrupt {
                    return ControlFlow::Continue(());
                }
                end = Some(key.to_vec());
                ControlFlow::Break(())
            })?;
            if corrupt {
                return Err(EngineError::corrupt("an index entry"));
            }
            if !take_all(working, chunk, take)? {
                return Ok(Come::Enough);
            }
            let Some(end) = end else { return Ok(Come::All) };
            *range = behind(range, end);
            Ok(Come::Some)
        }
        Trail::Listed(ids) => {
            let chunk: Vec<Key> = ids.take(most.min(CHUNK)).map(|id| Key::new(ty, id)).collect();
            match take_all(working, chunk, take)? {
                true if ids.as_slice().is_empty() => Ok(Come::All),
                true => Ok(Come::Some),
                false => Ok(Come::Enough),
            }
        }
    }
}

/// Hands a stored document on.
fn document(
    working: &Working<'_>,
    ty: TypeIx,
    prefix: usize,
    key: &[u8],
    value: &[u8],
    take: &mut Take<'_>,
) -> Result<bool, EngineError> {
    let id = keys::id_behind(key, prefix).ok_or_else(|| EngineError::corrupt("a document's key"))?;
    let key = Key::new(ty, id);
    match working.base.decode(&key, Some(value))? {
        Some(doc) if working.shows(&key, &doc)? => take(key, doc),
        _ => Ok(true),
    }
}

/// The resources behind an id that have an entry in one of the ranges of each part, by id; none where each part has more
/// than the limit. Few are not made fewer: looking at them costs no more than reading another part.
fn searched(
    working: &Working<'_>,
    parts: &[Vec<KeyRange>],
    after: Option<&Id>,
    limit: usize,
) -> Result<Option<Vec<Id>>, EngineError> {
    let mut found: Option<BTreeSet<Id>> = None;
    for ranges in parts {
        if found.as_ref().is_some_and(|found| found.len() <= CHUNK) {
            break;
        }
        let (mut ids, mut corrupt) = (BTreeSet::new(), false);
        let wanted = |id: &Id| {
            after.is_none_or(|after| id > after) && found.as_ref().is_none_or(|found| found.contains(id))
        };
        for range in ranges {
            working.base.scan_keys(keys::INDEX, range, Direction::Forward, &mut |key| {
                match IdAt::Value.read(key) {
                    Some(id) if wanted(&id) => drop(ids.insert(id)),
                    Some(_) => {}
                    None => corrupt = true,
                }
                if corrupt || ids.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        if corrupt {
            return Err(EngineError::corrupt("an entry of a search"));
        }
        if ids.len() <= limit {
            found = Some(ids);
        }
    }
    Ok(found.map(|found| found.into_iter().collect()))
}

/// The resources behind an id that any of some walks finds, by id; none where there are more than the limit.
fn united(
    working: &Working<'_>,
    sources: &[Source],
    after: Option<&Id>,
    limit: usize,
) -> Result<Option<Vec<Id>>, EngineError> {
    let mut found = BTreeSet::new();
    for Source { scan, back } in sources {
        let last = back.is_empty();
        let mut here = BTreeSet::new();
        let begun = if last { &mut found } else { &mut here };
        if !named(working, scan, after.filter(|_| last), limit, begun)? {
            return Ok(None);
        }
        for (at, link) in back.iter().enumerate() {
            let last = at + 1 == back.len();
            let targets = std::mem::take(&mut here);
            let referring = if last { &mut found } else { &mut here };
            for target in &targets {
                let scan = Scan::referring(*link, target);
                if !named(working, &scan, after.filter(|_| last), limit, referring)? {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(found.into_iter().collect()))
}

/// Adds the ids behind an id that rows name; false where they are more than the limit then.
fn named(
    working: &Working<'_>,
    scan: &Scan,
    after: Option<&Id>,
    limit: usize,
    found: &mut BTreeSet<Id>,
) -> Result<bool, EngineError> {
    let mut corrupt = false;
    working.base.scan_keys(scan.keyspace, &scan.range, Direction::Forward, &mut |key| {
        match scan.id_at.read(key) {
            Some(id) if after.is_none_or(|after| id > *after) => drop(found.insert(id)),
            Some(_) => {}
            None => corrupt = true,
        }
        if corrupt || found.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if corrupt { Err(EngineError::corrupt("an index entry")) } else { Ok(found.len() <= limit) }
}

impl Rows {
    /// How they are walked: what has to be put together is, first; none where that is more than its limit.
    pub(super) fn trail(self, working: &Working<'_>) -> Result<Option<Trail>, EngineError> {
        let ids = match self {
            Rows::Trail(trail) => return Ok(Some(trail)),
            Rows::Search { parts, after, limit } => searched(working, &parts, after.as_ref(), limit)?,
            Rows::Union { sources, after, limit } => {
                if let [source] = &sources[..]
                    && let Some(scan) = source.of_one(working, after.as_ref())?
                {
                    return Ok(Some(Trail::Ids(scan)));
                }
                united(working, &sources, after.as_ref(), limit)?
            }
        };
        Ok(ids.map(|ids| Trail::Listed(ids.into_iter())))
    }

    /// How many rows it has, where it has no more than so many.
    pub(super) fn estimate(&self, working: &Working<'_>, limit: usize) -> Result<usize, EngineError> {
        let count = |keyspace, range: &KeyRange| {
            let mut rows = 0;
            let counted = working.base.scan_keys(keyspace, range, Direction::Forward, &mut |_| {
                rows += 1;
                if rows >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            counted.map(|()| rows)
        };
        Ok(match self {
            Rows::Trail(Trail::Docs(range)) => count(keys::DOC, range)?,
            Rows::Trail(Trail::Ids(scan)) => count(scan.keyspace, &scan.range)?,
            Rows::Trail(Trail::Listed(ids)) => ids.as_slice().len().min(limit),
            // All parts have to be there, so each of them bounds it.
            Rows::Search { parts, .. } => {
                let mut fewest = limit;
                for ranges in parts {
                    let mut rows = 0;
                    for range in ranges {
                        rows += count(keys::INDEX, range)?;
                    }
                    fewest = fewest.min(rows);
                }
                fewest
            }
            Rows::Union { sources, .. } => {
                let mut rows = 0;
                for source in sources {
                    if source.back.is_empty() {
                        rows += count(source.scan.keyspace, &source.scan.range)?;
                    } else {
                        // Few may lead to many, so it is gone as far as that shows.
                        let referring = united(working, std::slice::from_ref(source), None, limit)?;
                        rows += referring.map_or(limit, |referring| referring.len());
                    }
                    if rows >= limit {
                        break;
                    }
                }
                rows.min(limit)
            }
        })
    }
}

fn take_all(working: &Working<'_>, keys: Vec<Key>, take: &mut Take<'_>) -> Result<bool, EngineError> {
    // Each is looked up once.
    let docs = working.after_many(&keys)?;
    for (key, doc) in keys.into_iter().zip(docs) {
        if let Some(doc) = doc
            && !take(key, doc)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn whole_id(bytes: &[u8]) -> Option<Id> {
    Id::read_key(bytes).filter(|(_, rest)| rest.is_empty()).map(|(id, _)| id)
}
