//! The past of resources: what they were at an earlier revision.
//!
//! A type with the option `history` keeps a version of a resource for each commit that changed it for those who look,
//! from the first commit under that schema on and for ever. What was there before that commit is kept as *found*, so
//! nothing has to be built when the option comes to existing data. Of the other types the past is as long as the log:
//! what a commit changed is undone with the old values that its entry tells ([`crate::log`]).
//!
//! ```text
//! version = flag, [varint nanoseconds since 1970 (zigzag)], [actor, a value], [document]
//! flag    = 0 found (no time), 1 created, 2 modified, 3 deleted (no document); 4 more where the actor is known
//! ```
//!
//! The key ends with the revision, so the version of a revision is the last one that is not behind it. A document of a
//! version is decoded by the schema of today: a field that there was not yet has no value there.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use corollary_schema::{Field, FieldId, FieldKind};
use corollary_store::{Direction, KeyRange};
use corollary_value::Value;
use corollary_value::codec::{self, DecodeError, push_varint, read_varint, unzigzag, zigzag};
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::doc::{Doc, Key, Layout};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::keys;
use crate::log::{Commit, nanoseconds};
use crate::working::Working;

/// The most commits that are read back through for a resource whose type keeps no history.
pub const MAX_COMMITS_READ: usize = 100_000;

/// Of the flag: the actor is there.
const BY_ACTOR: u8 = 4;

/// How a version came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was there before its type had a history.
    Found,
    /// By a creation.
    Created,
    /// By a change, written or followed.
    Modified,
    /// By a deletion: there is no document.
    Deleted,
}

/// A resource from one revision on, until the next version.
#[derive(Clone, Debug)]
pub struct Version {
    /// The revision from which on it was so.
    pub revision: u64,
    /// The time of that commit; not known of what was found.
    pub time: Option<Timestamp>,
    /// Who made that commit, where that is known.
    pub actor: Option<SmolStr>,
    /// How it came to be.
    pub came: Came,
    /// The resource; nothing where it was deleted.
    pub doc: Option<Arc<Doc>>,
}

/// What was at a revision.
#[derive(Clone, Debug)]
pub enum Past {
    /// The resource as it was.
    Was(Arc<Doc>),
    /// There was none; the revision of its deletion, where that is known.
    Nothing(Option<u64>),
    /// That is too long ago: it is not kept any more, or was not yet.
    Unknown,
    /// More commits than [`MAX_COMMITS_READ`] would have to be read.
    TooFar,
}

/// Keeps what a commit made of resources whose types have a history.
pub(crate) fn append(working: &mut Working<'_>, commit: &Commit) -> Result<(), EngineError> {
    let schema = working.schema;
    for change in &commit.changes {
        let Some(number) = schema.ty(change.key.ty).history else { continue };
        let versions = keys::versions_of(number, &change.key.id);
        if let Some(before) = &change.before {
            let at = keys::version(&versions, before.revision);
            if working.row(keys::VERSION, at.clone())?.is_none() {
                let found = encode(working, &change.key, Came::Found, None, Some(before));
                working.put_row(keys::VERSION, at, found);
            }
        }
        let came = match (&change.before, &change.after) {
            (_, None) => Came::Deleted,
            (None, Some(_)) => Came::Created,
            (Some(_), Some(_)) => Came::Modified,
        };
        let row = encode(working, &change.key, came, Some(commit), change.after.as_ref());
        working.put_row(keys::VERSION, keys::version(&versions, commit.revision), row);
    }
    Ok(())
}

fn encode(
    working: &Working<'_>,
    key: &Key,
    came: Came,
    commit: Option<&Commit>,
    doc: Option<&Arc<Doc>>,
) -> Vec<u8> {
    let mut out = vec![came as u8];
    if let Some(commit) = commit {
        push_varint(zigzag(nanoseconds(commit.time)), &mut out);
        if let Some(actor) = &commit.actor {
            out[0] |= BY_ACTOR;
            codec::encode(&Value::Str(actor.clone()), &mut out);
        }
    }
    if let Some(doc) = doc {
        // What a sum needs to go on from here is of no use to the past.
        let told = Doc { revision: doc.revision, values: doc.values.clone(), states: Vec::new() };
        working.layouts[key.ty.0 as usize].encode(&told, &mut out);
    }
    out
}

fn decode(layout: &Layout, revision: u64, bytes: &[u8]) -> Result<Version, DecodeError> {
    let (flag, mut bytes) = bytes.split_first().ok_or(DecodeError)?;
    let came = match flag & !BY_ACTOR {
        0 => Came::Found,
        1 => Came::Created,
        2 => Came::Modified,
        3 => Came::Deleted,
        _ => return Err(DecodeError),
    };
    let mut time = None;
    if came != Came::Found {
        let nanoseconds = unzigzag(read_varint(&mut bytes)?);
        time = Some(Timestamp::from_nanosecond(nanoseconds.into()).map_err(|_| DecodeError)?);
    }
    let mut actor = None;
    if flag & BY_ACTOR != 0 {
        let Value::Str(name) = codec::decode(&mut bytes)? else { return Err(DecodeError) };
        actor = Some(name);
    }
    let doc = match came {
        Came::Deleted => None,
        _ => Some(Arc::new(layout.decode(bytes)?)),
    };
    Ok(Version { revision, time, actor, came, doc })
}

/// The versions of a resource before a revision (all where none is given), the latest first, at most so many. What is
/// there and never changed under a history is the one version of it, found. A type without the option has none.
pub fn versions(
    working: &Working<'_>,
    key: &Key,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Version>, EngineError> {
    let Some(number) = working.schema.ty(key.ty).history else { return Ok(Vec::new()) };
    let end = before.unwrap_or(u64::MAX);
    let mut found = kept(working, key, number, end, limit)?;
    // Only what is there may be without a version; then it has none at all, or was built anew since its last.
    if let Some(doc) = working.after(key)?
        && doc.revision < end
        && found.first().is_none_or(|newest| newest.revision < doc.revision)
    {
        let (revision, came) = (doc.revision, Came::Found);
        found.insert(0, Version { revision, time: None, actor: None, came, doc: Some(doc) });
        found.truncate(limit);
    }
    Ok(found)
}

/// The kept versions before a revision, the latest first.
fn kept(
    working: &Working<'_>,
    key: &Key,
    number: FieldId,
    before: u64,
    limit: usize,
) -> Result<Vec<Version>, EngineError> {
    let layout = &working.layouts[key.ty.0 as usize];
    let versions = keys::versions_of(number, &key.id);
    let range =
        KeyRange::new(Bound::Included(versions.clone()), Bound::Excluded(keys::version(&versions, before)));
    let (mut found, mut corrupt) = (Vec::new(), false);
    if limit == 0 {
        return Ok(found);
    }
    working.scan_rows(keys::VERSION, &range, Direction::Backward, &mut |at, bytes| {
        let revision = at.get(versions.len()..).and_then(|rest| rest.try_into().ok()).map(u64::from_be_bytes);
        match revision.and_then(|revision| decode(layout, revision, bytes).ok()) {
            Some(version) => found.push(version),
            None => corrupt = true,
        }
        if corrupt || found.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if corrupt {
        let name = &working.schema.ty(key.ty).name;
        return Err(EngineError::corrupt(format!("a version of {name} {}", key.id)));
    }
    Ok(found)
}

/// What a resource was at a revision that has been.
pub fn at(engine: &Engine, now: Timestamp, key: &Key, revision: u64) -> Result<Past, EngineError> {
    enum Found {
        Past(Past),
        InTheLog,
    }
    let found = engine.read(now, |working| {
        let doc = working.after(key)?;
        let there = doc.is_some();
        if let Some(doc) = doc.filter(|doc| doc.revision <= revision) {
            return Ok(Found::Past(Past::Was(doc)));
        }
        let Some(number) = working.schema.ty(key.ty).history else { return Ok(Found::InTheLog) };
        if let Some(version) = kept(working, key, number, revision.saturating_add(1), 1)?.pop() {
            let past = version.doc.map_or(Past::Nothing(Some(version.revision)), Past::Was);
            return Ok(Found::Past(past));
        }
        // Before its first version: that was its creation, or it was there and nobody knows how. Before the history
        // began there may have been another one of the same id.
        let versions = keys::versions_of(number, &key.id);
        let range = KeyRange::prefix(versions);
        let first = working.first_row(keys::VERSION, &range, Direction::Forward)?;
        let is_creation = |flag: &u8| flag & !BY_ACTOR == Came::Created as u8;
        let created = first.map_or(!there, |(_, bytes)| bytes.first().is_some_and(is_creation));
        let begin = working.row(keys::META, keys::history(number))?;
        let begin = begin.map(|bytes| keys::revision(&bytes)).transpose()?;
        if created && begin.is_some_and(|begin| begin <= revision) {
            return Ok(Found::Past(Past::Nothing(None)));
        }
        // One that has no version has not been changed since there are any; the log may know whether it was there.
        Ok(Found::InTheLog)
    })?;
    match found {
        Found::Past(past) => Ok(past),
        Found::InTheLog => in_the_log(engine, key, revision),
    }
}

/// What a resource that has changed since, or is not there now, was at a revision: the first change of it tells.
fn in_the_log(engine: &Engine, key: &Key, revision: u64) -> Result<Past, EngineError> {
    let (mut past, mut read) = (Past::Nothing(None), 0);
    let complete = engine.commits_after(revision, &mut |commit| {
        read += 1;
        if let Some(change) = commit.changes.into_iter().find(|change| change.key == *key) {
            past = change.before.map_or(Past::Nothing(None), Past::Was);
            return ControlFlow::Break(());
        }
        if read == MAX_COMMITS_READ {
            past = Past::TooFar;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(if complete { past } else { Past::Unknown })
}

/// Is it a place among siblings? A collection that gets an order gives places to all that is there, which is no change of
/// theirs.
fn is_position(field: &Field) -> bool {
    matches!(field.kind, FieldKind::Position { .. })
}

/// Versions that contradict what is there: one sentence for the first of them. The last version of a resource has its
/// facts, and what is gone was deleted last.
pub fn check(working: &Working<'_>) -> Result<Option<String>, EngineError> {
    for (ty, resource) in working.schema.types() {
        let Some(number) = resource.history else { continue };
        let mut last: Option<(Key, u64)> = None;
        let mut newest = Vec::new();
        let mut corrupt = false;
        let prefix = keys::versions_under(number);
        working.scan_rows(keys::VERSION, &KeyRange::prefix(prefix), Direction::Forward, &mut |at, _| {
            let Some((id, revision)) = keys::read_version(at) else {
                corrupt = true;
                return ControlFlow::Break(());
            };
            let key = Key::new(ty, id);
            if let Some((other, revision)) = last.take().filter(|(other, _)| *other != key) {
                newest.push((other, revision));
            }
            last = Some((key, revision));
            ControlFlow::Continue(())
        })?;
        if corrupt {
            return Err(EngineError::corrupt("the key of a version"));
        }
        newest.extend(last);
        for (key, revision) in newest {
            let version = kept(working, &key, number, u64::MAX, 1)?.pop();
            let was = version.and_then(|version| version.doc);
            let is = working.after(&key)?;
            let agree = match (&was, &is) {
                (None, None) => true,
                (Some(was), Some(is)) => {
                    revision <= is.revision
                        && resource
                            .slots()
                            .filter(|(_, field)| field.is_fact() && !is_position(field))
                            .all(|(slot, _)| was.get(slot) == is.get(slot))
                }
                _ => false,
            };
            if !agree {
                let (name, id) = (&resource.name, &key.id);
                return Ok(Some(format!("the last version of {name} {id} is not what is there")));
            }
        }
    }
    Ok(None)
}
