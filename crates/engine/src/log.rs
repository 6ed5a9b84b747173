//! The log: every commit once, in order. Watches, hooks and other nodes are fed from it.
//!
//! ```text
//! commit   = varint nanoseconds since 1970 (zigzag), varint count, change…, [actor]
//! change   = varint type number, id, flag, [document after], varint count, old value…
//! flag     = 1 created, 2 modified, 3 deleted
//! old      = varint field number, value                (of each field whose value changed)
//! ```
//!
//! The document after the change is kept whole, so a reader of the log needs nothing else to show it.

use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_schema::{Field, FieldKind, Schema, Slot, TypeId, TypeIx};
use corollary_store::{Batch, Direction, KeyRange};
use corollary_value::codec::{self, DecodeError, push_varint, read_slice, read_varint, unzigzag, zigzag};
use corollary_value::{Id, Value};
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::doc::{Doc, Key, Layout};
use crate::engine::{Engine, Executor};
use crate::error::EngineError;
use crate::eval::View;
use crate::keys;
use crate::working::{Touched, Working};

/// One commit, as the log tells it.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its revision.
    pub revision: u64,
    /// When.
    pub time: Timestamp,
    /// What changed, in the order of keys.
    pub changes: Vec<Change>,
    /// Who made it, where it comes from elsewhere and that is known ([`crate::Origin`]).
    pub actor: Option<SmolStr>,
}

/// One changed resource of a commit.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which.
    pub key: Key,
    /// After the commit; nothing where it was deleted.
    pub after: Option<Arc<Doc>>,
    /// Before the commit; nothing where it was created. States of sums are not told.
    pub before: Option<Arc<Doc>>,
    /// The fields whose values differ.
    pub changed: Vec<Slot>,
}

impl Change {
    /// Has it gone to another parent?
    pub fn moved(&self, schema: &Schema) -> bool {
        let parents = &schema.ty(self.key.ty).parents;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => parents.iter().any(|slot| before.get(*slot) != after.get(*slot)),
            _ => false,
        }
    }
}

const CREATED: u8 = 1;
const MODIFIED: u8 = 2;
const DELETED: u8 = 3;

/// Appends what the current transaction changed for those who look, and tells it.
pub fn append(working: &mut Working<'_>, revision: u64) -> Commit {
    let schema = working.schema;
    let visible = working.touched.iter().filter(|(key, touched)| touched.is_visible(schema, key));
    let mut touched: Vec<(&Key, &Touched)> = visible.collect();
    touched.sort_unstable_by_key(|(key, _)| *key);
    let changes = touched.into_iter().map(|(key, touched)| {
        let changed = schema.ty(key.ty).slots().filter(|(slot, field)| {
            is_told(field)
                && match (&touched.before, &touched.after) {
                    (Some(before), Some(after)) => before.get(*slot) != after.get(*slot),
                    (Some(doc), None) | (None, Some(doc)) => !matches!(doc.get(*slot), Value::Absent),
                    (None, None) => false,
                }
        });
        Change {
            key: key.clone(),
            before: touched.before.clone(),
            after: touched.after.clone(),
            changed: changed.map(|(slot, _)| slot).collect(),
        }
    });
    let (time, changes, actor) = (working.now(), changes.collect(), working.actor.clone());
    let commit = Commit { revision, time, changes, actor };
    let mut bytes = Vec::new();
    encode(schema, working.layouts, &commit, &mut bytes);
    working.put_row(keys::LOG, keys::log(revision), bytes);
    commit
}

/// Is a change of the field told? Not where it only keeps a part of a derived value.
fn is_told(field: &Field) -> bool {
    field.in_document() && !matches!(field.kind, FieldKind::Aggregate { .. })
}

fn encode(schema: &Schema, layouts: &[Layout], commit: &Commit, out: &mut Vec<u8>) {
    push_varint(zigzag(nanoseconds(commit.time)), out);
    push_varint(commit.changes.len() as u64, out);
    let mut image = Vec::new();
    for change in &commit.changes {
        let ty = schema.ty(change.key.ty);
        push_varint(u64::from(ty.id.0), out);
        change.key.id.push_key(out);
        out.push(match (&change.before, &change.after) {
            (None, _) => CREATED,
            (Some(_), Some(_)) => MODIFIED,
            (Some(_), None) => DELETED,
        });
        if let Some(after) = &change.after {
            image.clear();
            layouts[change.key.ty.0 as usize].encode(after, &mut image);
            push_varint(image.len() as u64, out);
            out.extend_from_slice(&image);
        }
        push_varint(change.before.as_ref().map_or(0, |before| before.revision), out);
        match &change.before {
            Some(before) => {
                push_varint(change.changed.len() as u64, out);
                for slot in &change.changed {
                    push_varint(u64::from(ty.field(*slot).id.0), out);
                    codec::encode(before.get(*slot), out);
                }
            }
            None => push_varint(0, out),
        }
    }
    out.extend_from_slice(commit.actor.as_deref().unwrap_or_default().as_bytes());
}

impl Executor {
    /// Drops the commits of the log from before a time, at most so many; returns how many it dropped.
    pub fn trim_log(&mut self, before: Timestamp, limit: usize) -> Result<usize, EngineError> {
        self.settle()?;
        let snapshot = self.engine().store.snapshot()?;
        let last = keys::log(keys::read_revision(&*snapshot)?);
        let (mut dropped, mut end, mut corrupt) = (0, None, false);
        snapshot.scan(keys::LOG, &KeyRange::all(), Direction::Forward, limit, &mut |key, value| {
            match time_of(value) {
                // The last one tells the time that no later commit may precede.
                Ok(time) if time < before && key != last => {
                    dropped += 1;
                    end = Some(key.to_vec());
                    ControlFlow::Continue(())
                }
                Ok(_) => ControlFlow::Break(()),
                Err(_) => {
                    corrupt = true;
                    ControlFlow::Break(())
                }
            }
        })?;
        if corrupt {
            return Err(EngineError::corrupt("the log"));
        }
        drop(snapshot);
        if let Some(end) = end {
            let mut batch = Batch::new();
            batch.delete_range(keys::LOG, KeyRange::before(end.clone()));
            batch.delete(keys::LOG, end);
            self.engine().store.commit(&batch)?;
        }
        Ok(dropped)
    }
}

/// Which commits the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retained {
    /// The first; the one to come where it has none.
    pub first: u64,
    /// The last that has happened.
    pub last: u64,
}

impl Engine {
    /// Visits the commits behind one revision (from the first that the log has without it) up to another (to the last), in order
    /// or the latest first, each with its size in bytes, until `visit` breaks; tells what the log has. Where it does not go back to the first of them,
    /// nothing is visited.
    pub fn commits_within(
        &self,
        after: Option<u64>,
        until: Option<u64>,
        direction: Direction,
        visit: &mut dyn FnMut(Commit, usize) -> ControlFlow<()>,
    ) -> Result<Retained, EngineError> {
        let _reading = self.reader()?;
        let (snapshot, head) = self.look()?;
        self.follow_to(&head, &*snapshot)?;
        let last = head.revision;
        // What is told from here on must be there for every later read, though it may not be published yet.
        self.revisions.show(last);
        let at = |key: &[u8]| key.try_into().map(u64::from_be_bytes).ok();
        let mut first = last + 1;
        let all = KeyRange::all();
        snapshot.scan(keys::LOG, &all, Direction::Forward, 1, &mut |key, _| {
            first = at(key).unwrap_or(first);
            ControlFlow::Break(())
        })?;
        let retained = Retained { first, last };
        let from = after.map_or(first, |after| after.saturating_add(1));
        let to = until.unwrap_or(last).min(last);
        if from < first || from > to {
            return Ok(retained);
        }
        let range = KeyRange::between(keys::log(from), keys::log(to + 1));
        let mut expected = if direction == Direction::Forward { from } else { to };
        let mut corrupt = false;
        snapshot.scan(keys::LOG, &range, direction, usize::MAX, &mut |key, value| {
            let commit = at(key).and_then(|at| decode(self.schema(), self.layouts(), at, value).ok());
            let Some(commit) = commit.filter(|commit| commit.revision == expected) else {
                corrupt = true;
                return ControlFlow::Break(());
            };
            expected = if direction == Direction::Forward { expected + 1 } else { expected - 1 };
            visit(commit, value.len())
        })?;
        if corrupt { Err(EngineError::corrupt(format!("the log at {expected}"))) } else { Ok(retained) }
    }
}

/// A time in nanoseconds since 1970. It is within 64 bits from 1678 to 2262; outside, the nearest stands for it.
pub(crate) fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

/// The time of a commit.
pub fn time_of(mut bytes: &[u8]) -> Result<Timestamp, DecodeError> {
    Timestamp::from_nanosecond(unzigzag(read_varint(&mut bytes)?).into()).map_err(|_| DecodeError)
}

/// Reads a commit. Resources of types that the schema no longer has are left out.
pub fn decode(
    schema: &Schema,
    layouts: &[Layout],
    revision: u64,
    mut bytes: &[u8],
) -> Result<Commit, DecodeError> {
    let bytes = &mut bytes;
    let time = Timestamp::from_nanosecond(unzigzag(read_varint(bytes)?).into()).map_err(|_| DecodeError)?;
    let count = read_varint(bytes)?;
    let mut changes = Vec::new();
    for _ in 0..count {
        let number = read_varint(bytes)?;
        let (id, rest) = Id::read_key(bytes).ok_or(DecodeError)?;
        *bytes = rest;
        let flag = read_slice(bytes, 1)?[0];
        let number = u32::try_from(number).ok();
        let ty = number.and_then(|number| schema.type_numbered(TypeId(number)));
        let image = match flag {
            CREATED | MODIFIED => {
                let length = usize::try_from(read_varint(bytes)?).map_err(|_| DecodeError)?;
                Some(read_slice(bytes, length)?)
            }
            DELETED => None,
            _ => return Err(DecodeError),
        };
        let old_revision = read_varint(bytes)?;
        let mut old = Vec::new();
        for _ in 0..read_varint(bytes)? {
            old.push((read_varint(bytes)?, codec::decode(bytes)?));
        }
        if let Some(ty) = ty {
            let key = Key::new(ty, id);
            changes.push(change(schema, &layouts[ty.0 as usize], key, flag, image, old_revision, old)?);
        }
    }
    let actor = std::str::from_utf8(bytes).map_err(|_| DecodeError)?;
    let actor = (!actor.is_empty()).then(|| actor.into());
    Ok(Commit { revision, time, changes, actor })
}

fn change(
    schema: &Schema,
    layout: &Layout,
    key: Key,
    flag: u8,
    image: Option<&[u8]>,
    old_revision: u64,
    old: Vec<(u64, Value)>,
) -> Result<Change, DecodeError> {
    let after = image.map(|bytes| layout.decode(bytes)).transpose()?;
    let ty: TypeIx = key.ty;
    let mut changed = Vec::new();
    let before = (flag != CREATED).then(|| {
        let mut doc = after.clone().unwrap_or_else(|| Doc::new(schema, ty));
        doc.states.clear();
        doc.revision = old_revision;
        for (number, value) in old {
            // What was stored then may be computed by each read by now.
            let mut told = schema.ty(ty).slots().filter(|(_, field)| is_told(field));
            if let Some((slot, _)) = told.find(|(_, field)| u64::from(field.id.0) == number) {
                doc.set(slot, value);
                changed.push(slot);
            }
        }
        Arc::new(doc)
    });
    if let (None, Some(after)) = (&before, &after) {
        let fields = schema.ty(ty).slots().filter(|(_, field)| is_told(field));
        let there = fields.filter(|(slot, _)| !matches!(after.get(*slot), Value::Absent));
        changed = there.map(|(slot, _)| slot).collect();
    }
    Ok(Change { key, after: after.map(Arc::new), before, changed })
}
