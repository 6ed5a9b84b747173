//! Paths of access: how the candidates of a query are walked, and how many there are about.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_schema::TypeIx;
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
#[derive(Debug)]
pub(super) struct Path {
    pub rows: Rows,
    pub direction: Direction,
    /// Does it yield the order that is asked for?
    pub ordered: bool,
    /// What it is, for those who ask.
    pub access: Access,
}

/// Rows with an id at their end, and how it is read from a key.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub keyspace: Keyspace,
    pub range: KeyRange,
    pub id_in: fn(&[u8]) -> Option<Id>,
}

#[derive(Debug)]
pub(super) enum Rows {
    /// Documents themselves.
    Docs(KeyRange),
    /// Rows that lead to documents.
    Ids(Scan),
    /// A list, by id.
    Listed(Vec<Id>),
    /// Those behind an id that have an entry in one of the ranges of each part; parts with more than so many are too
    /// common to begin with.
    Search { parts: Vec<Vec<KeyRange>>, after: Option<Id>, limit: usize },
    /// Those behind an id that any of these leads to; no more than so many.
    Union { scans: Vec<Scan>, after: Option<Id>, limit: usize },
}

/// Hands the candidates of a path to `take` until it has enough; true if that were all.
pub(super) fn each(
    working: &Working<'_>,
    ty: TypeIx,
    path: &Path,
    take: &mut dyn FnMut(Key, Arc<Doc>) -> Result<bool, EngineError>,
) -> Result<bool, EngineError> {
    let mut failed = None;
    let mut complete = true;
    match &path.rows {
        Rows::Docs(range) => {
            let prefix = keys::docs_of(working.schema.ty(ty).id).len();
            let mut visit = |key: &[u8], value: &[u8]| -> Result<bool, EngineError> {
                let id =
                    keys::id_behind(key, prefix).ok_or_else(|| EngineError::corrupt("a document's key"))?;
                let key = Key::new(ty, id);
                match working.base.decode(&key, Some(value))? {
                    Some(doc) => take(key, doc),
                    None => Ok(true),
                }
            };
            working.base.scan(
                keys::DOC,
                range,
                path.direction,
                &mut |key, value| match visit(key, value) {
                    Ok(true) => ControlFlow::Continue(()),
                    Ok(false) => {
                        complete = false;
                        ControlFlow::Break(())
                    }
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                },
            )?;
            failed.map_or(Ok(complete), Err)
        }
        Rows::Ids(Scan { keyspace, range, id_in }) => {
            let mut range = range.clone();
            loop {
                let mut chunk: Vec<Key> = Vec::with_capacity(CHUNK);
                let mut end = None;
                working.base.scan(*keyspace, &range, path.direction, &mut |key, _| {
                    match id_in(key) {
                        Some(id) => chunk.push(Key::new(ty, id)),
                        None => failed = Some(EngineError::corrupt("an index entry")),
                    }
                    if chunk.len() < CHUNK && failed.is_none() {
                        return ControlFlow::Continue(());
                    }
                    end = Some(key.to_vec());
                    ControlFlow::Break(())
                })?;
                if let Some(error) = failed {
                    return Err(error);
                }
                if !take_all(working, &chunk, take)? {
                    return Ok(false);
                }
                let Some(end) = end else { return Ok(true) };
                range = match path.direction {
                    Direction::Forward => range.resume_after(end),
                    Direction::Backward => range.resume_before(end),
                };
            }
        }
        Rows::Listed(ids) => {
            for chunk in ids.chunks(CHUNK) {
                let keys: Vec<Key> = chunk.iter().map(|id| Key::new(ty, id.clone())).collect();
                if !take_all(working, &keys, take)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Rows::Search { .. } | Rows::Union { .. } => {
            let found = match &path.rows {
                Rows::Search { parts, after, limit } => searched(working, parts, after.as_ref(), *limit)?,
                Rows::Union { scans, after, limit } => united(working, scans, after.as_ref(), *limit)?,
                _ => None,
            };
            let Some(ids) = found else { return Ok(false) };
            for chunk in ids.chunks(CHUNK) {
                let keys: Vec<Key> = chunk.iter().map(|id| Key::new(ty, id.clone())).collect();
                if !take_all(working, &keys, take)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
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
            working.base.scan(keys::INDEX, range, Direction::Forward, &mut |key, _| {
                match behind_value(key) {
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
    scans: &[Scan],
    after: Option<&Id>,
    limit: usize,
) -> Result<Option<Vec<Id>>, EngineError> {
    let (mut found, mut corrupt) = (BTreeSet::new(), false);
    for scan in scans {
        working.base.scan(scan.keyspace, &scan.range, Direction::Forward, &mut |key, _| {
            match (scan.id_in)(key) {
                Some(id) if after.is_none_or(|after| id > *after) => drop(found.insert(id)),
                Some(_) => {}
                None => corrupt = true,
            }
            if corrupt || found.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    match (corrupt, found.len() > limit) {
        (true, _) => Err(EngineError::corrupt("an index entry")),
        (false, true) => Ok(None),
        (false, false) => Ok(Some(found.into_iter().collect())),
    }
}

impl Rows {
    /// How many rows it has, where it has no more than so many.
    pub(super) fn estimate(&self, working: &Working<'_>, limit: usize) -> Result<usize, EngineError> {
        let count = |keyspace, range: &KeyRange| {
            let mut rows = 0;
            let counted = working.base.scan(keyspace, range, Direction::Forward, &mut |_, _| {
                rows += 1;
                if rows >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            counted.map(|()| rows)
        };
        Ok(match self {
            Rows::Docs(range) => count(keys::DOC, range)?,
            Rows::Ids(scan) => count(scan.keyspace, &scan.range)?,
            Rows::Listed(ids) => ids.len().min(limit),
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
            Rows::Union { scans, .. } => {
                let mut rows = 0;
                for scan in scans {
                    rows += count(scan.keyspace, &scan.range)?;
                }
                rows.min(limit)
            }
        })
    }
}

fn take_all(
    working: &Working<'_>,
    keys: &[Key],
    take: &mut dyn FnMut(Key, Arc<Doc>) -> Result<bool, EngineError>,
) -> Result<bool, EngineError> {
    working.prefetch(keys.iter())?;
    for key in keys {
        if let Some(doc) = working.after(key)?
            && !take(key.clone(), doc)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The id at the end of the key of an index entry.
pub(super) fn behind_value(key: &[u8]) -> Option<Id> {
    whole_id(skip_order_key(key.get(4..)?)?)
}

/// The id at the end of the key of a reference.
pub(super) fn behind_target(key: &[u8]) -> Option<Id> {
    whole_id(Id::read_key(key.get(4..)?)?.1)
}

/// The id at the end of the key of an entry of an index by parent.
pub(super) fn behind_parent_and_value(key: &[u8]) -> Option<Id> {
    whole_id(skip_order_key(Id::read_key(key.get(8..)?)?.1)?)
}

fn whole_id(bytes: &[u8]) -> Option<Id> {
    Id::read_key(bytes).filter(|(_, rest)| rest.is_empty()).map(|(id, _)| id)
}
