//! Ordered collections: where a child stands among its siblings.
//!
//! Each child keeps a text, its position key, which sorts as it stands ([`key`]); so a move changes one child. What
//! clients see and give is the place counted from 0. The index by parent of the position has the siblings in order, and
//! beside it stand counts of them ([`siblings`]), so that a place is found from a key, and a key from a place, in a number of
//! steps that grows with the logarithm of the siblings.
//!
//! Unlike other indexes, this one is kept with each write and not at the end of the transaction: the next write of the
//! transaction may ask for a place among what the ones before have put there.

pub mod key;
pub mod siblings;

use std::collections::BTreeMap;

use corollary_schema::{FieldKind, FieldRef, Slot};
use corollary_value::{Id, Value};

use self::siblings::Siblings;
use crate::doc::{Doc, Key};
use crate::error::{EngineError, Refusal};
use crate::eval::View;
use crate::working::Working;

/// The longest position, in bytes; where a longer one would be needed, those around get new ones.
pub const MAX_POSITION_BYTES: usize = 48;

/// The place of a child, as it is given in a write.
pub const NAME: &str = "_position";

/// An ordered collection that holds a child.
struct Standing {
    /// Where its position is kept.
    slot: Slot,
    /// Its position; absent while it has none yet.
    position: Value,
    /// The children that it stands among.
    siblings: Siblings,
}

impl Standing {
    fn suffix(&self, key: &Key) -> Vec<u8> {
        siblings::suffix(&self.position, &key.id)
    }
}

/// The ordered collections that hold a child: one at most, but within a transaction that goes on.
fn standings(working: &Working<'_>, key: &Key, doc: &Doc) -> Vec<Standing> {
    let schema = working.schema;
    let positions = schema.ty(key.ty).positions.iter();
    let standing = positions.filter_map(|position| {
        let via = FieldRef { ty: key.ty, slot: position.via };
        let Value::Ref(parent) = doc.get(position.via) else { return None };
        let siblings = Siblings::of(schema, via, parent)?;
        Some(Standing { slot: position.slot, position: doc.get(position.slot).clone(), siblings })
    });
    standing.collect()
}

/// The place of a resource among its siblings, from 0; none where no ordered collection holds it.
pub fn place(working: &Working<'_>, key: &Key, doc: &Doc) -> Result<Option<u64>, EngineError> {
    if working.schema.ty(key.ty).positions.is_empty() {
        return Ok(None);
    }
    let standing = standings(working, key, doc).into_iter().next();
    standing.map(|standing| standing.siblings.rank(working, &standing.suffix(key))).transpose()
}

/// The children of an ordered collection, in order.
pub fn children(working: &Working<'_>, via: FieldRef, parent: &Id) -> Result<Option<Vec<Id>>, EngineError> {
    match Siblings::of(working.schema, via, parent) {
        Some(siblings) => {
            let mut ids = siblings.ids(working)?;
            working.retain_shown(via.ty, &mut ids)?;
            Ok(Some(ids))
        }
        None => Ok(None),
    }
}

/// The place that values of a write ask for; refused where it is none.
pub fn wanted(given: &Value) -> Result<Option<u64>, Refusal> {
    match given {
        Value::Absent | Value::Null => Ok(None),
        Value::Int(place @ 0..) => Ok(Some(place.unsigned_abs())),
        other => {
            let message = format!("`{NAME}` is a place counted from 0, and {other} is none");
            Err(Refusal::new("position", Some(NAME), message))
        }
    }
}

/// Puts a child at a place, or at the end, wherever it has none yet.
pub fn enter(working: &mut Working<'_>, key: &Key, at: Option<u64>) -> Result<(), EngineError> {
    let Some(doc) = working.after(key)? else { return Ok(()) };
    let standings = standings(working, key, &doc);
    drop(doc);
    if standings.is_empty() && at.is_some() {
        return Err(no_order(working, key));
    }
    for standing in standings.into_iter().filter(|standing| standing.position.is_null()) {
        put(working, key, standing.slot, &standing.siblings, at)?;
    }
    Ok(())
}

/// Moves a child to another place under its parent.
pub fn relocate(working: &mut Working<'_>, key: &Key, at: u64) -> Result<(), EngineError> {
    let Some(doc) = working.after(key)? else { return Ok(()) };
    let standings = standings(working, key, &doc);
    drop(doc);
    if standings.is_empty() {
        return Err(no_order(working, key));
    }
    for standing in standings {
        let suffix = standing.suffix(key);
        let last = standing.siblings.count(working)?.saturating_sub(1);
        if standing.siblings.rank(working, &suffix)? != at.min(last) {
            standing.siblings.remove(working, &suffix)?;
            put(working, key, standing.slot, &standing.siblings, Some(at))?;
        }
    }
    Ok(())
}

/// Takes a child out of the collections that a link to a parent, or any, puts it into.
pub fn leave(working: &mut Working<'_>, key: &Key, doc: &Doc, via: Option<Slot>) -> Result<(), EngineError> {
    let positions = &working.schema.ty(key.ty).positions;
    for standing in standings(working, key, doc) {
        let left = |via: Slot| positions.iter().any(|it| it.via == via && it.slot == standing.slot);
        if via.is_none_or(left) {
            standing.siblings.remove(working, &standing.suffix(key))?;
            working.set(key, standing.slot, Value::Absent)?;
        }
    }
    Ok(())
}

/// Gives a child that stands nowhere yet a key between the neighbours at a place.
fn put(
    working: &mut Working<'_>,
    key: &Key,
    slot: Slot,
    siblings: &Siblings,
    at: Option<u64>,
) -> Result<(), EngineError> {
    let count = siblings.count(working)?;
    let at = at.map_or(count, |at| at.min(count));
    let neighbour = |at: Option<u64>| -> Result<Option<(String, Id)>, EngineError> {
        at.map(|at| siblings.at(working, at)).transpose().map(Option::flatten)
    };
    let below = neighbour(at.checked_sub(1))?;
    let above = neighbour((at < count).then_some(at))?;
    let text = |side: &Option<(String, Id)>| side.as_ref().map(|(text, _)| text.clone());
    // Who comes back to where it stood before the transaction has not moved.
    let fits = |old: &str| {
        below.as_ref().is_none_or(|(low, _)| low.as_str() < old)
            && above.as_ref().is_none_or(|(high, _)| old < high.as_str())
    };
    let new = match working.before(key)?.map(|doc| doc.get(slot).clone()) {
        Some(Value::Str(old)) if fits(&old) => old.to_string(),
        _ => key::between(text(&below).as_deref(), text(&above).as_deref()),
    };
    if new.len() <= MAX_POSITION_BYTES {
        return assign(working, key, slot, siblings, new);
    }
    // The keys around are long because much was put between two of them: all the long ones get new ones.
    let long = |side: &Option<(String, Id)>| {
        side.as_ref().is_some_and(|(text, _)| text.len() > MAX_POSITION_BYTES / 2)
    };
    let (mut low, mut high) = (below, above);
    let (mut from, mut to) = (at, at);
    let mut before = Vec::new();
    let mut behind = Vec::new();
    while long(&low) {
        before.extend(low.take());
        from -= 1;
        low = siblings.at_checked(working, from.checked_sub(1))?;
    }
    while long(&high) {
        behind.extend(high.take());
        to += 1;
        high = siblings.at_checked(working, (to < count).then_some(to))?;
    }
    let mut spread: Vec<Id> = before.iter().rev().map(|(_, id)| id.clone()).collect();
    spread.push(key.id.clone());
    spread.extend(behind.iter().map(|(_, id)| id.clone()));
    for (text, id) in before.iter().chain(&behind) {
        siblings.remove(working, &siblings::suffix(&Value::Str(text.as_str().into()), id))?;
    }
    let keys = key::spread(text(&low).as_deref(), text(&high).as_deref(), spread.len());
    for (id, new) in spread.into_iter().zip(keys) {
        assign(working, &Key::new(key.ty, id), slot, siblings, new)?;
    }
    Ok(())
}

fn assign(
    working: &mut Working<'_>,
    key: &Key,
    slot: Slot,
    siblings: &Siblings,
    text: String,
) -> Result<(), EngineError> {
    let value = Value::Str(text.into());
    siblings.insert(working, &siblings::suffix(&value, &key.id))?;
    working.set(key, slot, value).map(drop)
}

fn no_order(working: &Working<'_>, key: &Key) -> EngineError {
    let message = format!(
        "{} {} is in no ordered collection, and has no place in one",
        working.schema.ty(key.ty).name,
        key.id
    );
    EngineError::refused("position", Some(NAME), message)
}

/// How the index of a position is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// The collection has just been given an order: that of the ids.
    Afresh,
    /// From the positions that there are.
    Kept,
}

/// Puts children into the index, which has none of them yet.
pub fn build(
    working: &mut Working<'_>,
    position: FieldRef,
    keys: &[Key],
    how: Build,
) -> Result<(), EngineError> {
    for key in keys {
        let Some(doc) = working.after(key)? else { continue };
        let standings = standings(working, key, &doc);
        drop(doc);
        for standing in standings.into_iter().filter(|standing| standing.slot == position.slot) {
            match (how, &standing.position) {
                (Build::Kept, Value::Str(_)) => standing.siblings.insert(working, &standing.suffix(key))?,
                (Build::Kept, _) => {}
                (Build::Afresh, _) => put(working, key, standing.slot, &standing.siblings, None)?,
            }
        }
    }
    Ok(())
}

/// The keys and values of all rows that the index of a position should have for the resources that there are.
pub fn expected(
    working: &Working<'_>,
    position: FieldRef,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, EngineError> {
    let schema = working.schema;
    let FieldKind::Position { via } = schema.field(position).kind else { return Ok(BTreeMap::new()) };
    let mut by_parent = BTreeMap::<Id, Vec<Vec<u8>>>::new();
    for id in working.all(position.ty)? {
        let Some(doc) = working.after(&Key::new(position.ty, id.clone()))? else { continue };
        if let (Value::Ref(parent), place @ Value::Str(_)) = (doc.get(via), doc.get(position.slot)) {
            by_parent.entry(parent.clone()).or_default().push(siblings::suffix(place, &id));
        }
    }
    let via = FieldRef { ty: position.ty, slot: via };
    let siblings = |parent: &Id| Siblings::of(schema, via, parent);
    let rows = by_parent.into_iter().filter_map(|(parent, them)| Some(siblings(&parent)?.expected(them)));
    Ok(rows.flatten().collect())
}
