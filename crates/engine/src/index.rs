//! Secondary indexes: an entry for each resource, under the order bytes of its value (of null, where it has none); of a list an
//! entry for each different element.
//!
//! An index by parent has the link to the parent and the parent's id before the value, and entries of those alone that
//! have a parent; that of a search has one for each part of a text (`words`); one over several fields has their values one
//! behind the other, in the direction of each. (That of a position in an ordered collection is the business of [`crate::order`].) A unique field is held to the index in which equal values stand side by side.

use std::collections::BTreeSet;

use corollary_schema::{Composite, Field, FieldId, FieldKind, FieldRef, ResourceType, Schema, Search, Slot};
use corollary_store::limits::MAX_KEY_BYTES;
use corollary_store::{Direction, KeyRange};
use corollary_value::order_key::push_order_key;
use corollary_value::{Id, Value};

use crate::doc::{Doc, Key};
use crate::error::{EngineError, Refusal};
use crate::keys;
use crate::names;
use crate::urls;
use crate::words;
use crate::working::Working;
use crate::write::Write;

/// The key of an entry, and how long the part of it is that stands before the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// All of it.
    pub key: Vec<u8>,
    prefix: usize,
}

impl Entry {
    fn new(prefix: Vec<u8>, id: &Id) -> Entry {
        let (prefix, mut key) = (prefix.len(), prefix);
        id.push_key(&mut key);
        Entry { key, prefix }
    }
}

/// The entry of a resource in the index of a field, where it has one.
fn entry(field: &Field, slot: Slot, id: &Id, doc: &Doc) -> Option<Entry> {
    let has_one = field.index && !field.indexes_elements();
    has_one.then(|| Entry::new(keys::indexed(field.id, doc.get(slot)), id))
}

/// The entries of a resource in the index of a list's elements.
fn entries_of_elements(field: &Field, slot: Slot, id: &Id, doc: &Doc) -> BTreeSet<Vec<u8>> {
    let Value::List(elements) = doc.get(slot) else { return BTreeSet::new() };
    let elements = elements.iter().filter(|element| !element.is_null());
    elements.map(|element| Entry::new(keys::indexed(field.id, element), id).key).collect()
}

/// The entry of a resource in the index by parent of a field; none where it has no such index, or no parent.
fn entry_by_parent(ty: &ResourceType, slot: Slot, id: &Id, doc: &Doc) -> Option<Entry> {
    let index = ty.field(slot).parent_index?;
    let (via, parent) = ty.parents.iter().find_map(|via| match doc.get(*via) {
        Value::Ref(parent) => Some((ty.field(*via).id, parent)),
        _ => None,
    })?;
    let mut prefix = keys::children(index, via, parent);
    let value = doc.get(slot);
    push_order_key(if value.is_null() { &Value::Null } else { value }, &mut prefix);
    Some(Entry::new(prefix, id))
}

/// The entry of a resource in an index over several fields.
fn composite_entry(index: &Composite, id: &Id, doc: &Doc) -> Vec<u8> {
    let mut key = index.number.0.to_be_bytes().to_vec();
    index.keys.iter().for_each(|part| keys::push_part(doc.get(part.slot), part.descending, &mut key));
    keys::push_last_id(id, index.ids_descend(), &mut key);
    key
}

/// The resource of an entry of an index over several fields.
pub fn id_in(index: &Composite, entry: &[u8]) -> Option<Id> {
    keys::read_composite(entry, index.keys.iter().map(|key| key.descending))
}

/// What an index of a field has its entries under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The value.
    Value,
    /// Each element of a list.
    Element,
    /// The parent and the value.
    Parent,
    /// The parts of its texts.
    Search(Search),
    /// The value, where it is a path that may lead to a resource ([`crate::urls`]).
    Url,
    /// The values of several fields, of which this is the first: the index over them with this number.
    Several(FieldId),
}

impl By {
    /// Behind "the index", in a message.
    pub fn name(self) -> &'static str {
        match self {
            By::Value | By::Element | By::Several(_) => "",
            By::Parent => " by parent",
            By::Search(_) => " for the search",
            By::Url => " of urls",
        }
    }
}

/// The indexes of a field, with their numbers.
pub fn of(field: &Field) -> impl Iterator<Item = (By, FieldId)> {
    let by = if field.indexes_elements() { By::Element } else { By::Value };
    let by_value = field.index.then_some((by, field.id));
    let by_parent = field.parent_index.map(|index| (By::Parent, index));
    let search = field.rules.search.map(|search| (By::Search(search), search.index));
    let url = urls::is_field(field).then_some((By::Url, field.id));
    by_value.into_iter().chain(by_parent).chain(search).chain(url)
}

/// The indexes of a type: the field of each, of one over several the first.
pub fn of_type(ty: &ResourceType) -> impl Iterator<Item = (Slot, By, FieldId)> {
    let of_fields =
        ty.slots().flat_map(|(slot, field)| of(field).map(move |(by, number)| (slot, by, number)));
    let over_several =
        ty.indexes.iter().map(|index| (index.keys[0].slot, By::Several(index.number), index.number));
    of_fields.chain(over_several)
}

/// The numbers of the indexes whose entries a field has a part in.
pub fn made_of(schema: &Schema, at: FieldRef) -> impl Iterator<Item = FieldId> {
    let of_field = of(schema.field(at)).map(|(_, number)| number);
    let over_several = schema.ty(at.ty).indexes.iter().filter(move |index| index.has(at.slot));
    of_field.chain(over_several.map(|index| index.number))
}

/// What an index is, for people, as in `the index of Order.at`.
pub fn describe(schema: &Schema, at: FieldRef, by: By) -> String {
    let ty = schema.ty(at.ty);
    match by {
        By::Several(number) => {
            let fields = ty.composite(number).map(|index| index.describe(ty)).unwrap_or_default();
            format!("the index ({fields}) of {}", ty.name)
        }
        by => format!("the index{} of {}.{}", by.name(), ty.name, schema.field(at).name),
    }
}

/// The keys of the entries of a resource in an index of a field.
pub fn entries(ty: &ResourceType, slot: Slot, by: By, id: &Id, doc: &Doc) -> BTreeSet<Vec<u8>> {
    let keys = |entry: Option<Entry>| entry.into_iter().map(|entry| entry.key).collect();
    match by {
        By::Value => keys(entry(ty.field(slot), slot, id, doc)),
        By::Element => entries_of_elements(ty.field(slot), slot, id, doc),
        By::Parent => keys(entry_by_parent(ty, slot, id, doc)),
        By::Search(search) => search_entries(search, slot, id, doc),
        By::Url => match doc.get(slot) {
            Value::Str(text) if urls::is_url(text) => {
                let key = keys::indexed(ty.field(slot).id, doc.get(slot));
                BTreeSet::from([Entry::new(key, id).key])
            }
            _ => BTreeSet::new(),
        },
        By::Several(number) => {
            ty.composite(number).map(|index| composite_entry(index, id, doc)).into_iter().collect()
        }
    }
}

/// The entries of a resource in the index of a search.
fn search_entries(search: Search, slot: Slot, id: &Id, doc: &Doc) -> BTreeSet<Vec<u8>> {
    let parts = words::indexed(search.by, doc.get(slot)).into_iter();
    let entries = parts.map(|part| {
        let mut key = keys::searched(search.index, &part);
        id.push_key(&mut key);
        key
    });
    entries.collect()
}

/// An entry that no other resource may stand beside.
struct Claim<'s> {
    key: Key,
    field: &'s Field,
    value: Value,
    entry: Entry,
    /// Which others: for the message.
    among: &'static str,
}

/// Brings the indexes up to date with all that the current transaction changed, and holds unique fields to it.
pub fn maintain(working: &mut Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    let schema = working.schema;
    let mut claims: Vec<Claim<'_>> = Vec::new();
    let mut found = Vec::new();
    // The places of children are kept as they are written.
    let by_parent =
        |field: &Field| field.parent_index.is_some() && !matches!(field.kind, FieldKind::Position { .. });
    let by_parts = |by: &(By, FieldId)| matches!(by.0, By::Element | By::Search(_) | By::Url);
    let touched = if schema.uses.indexes { working.touched_keys() } else { Vec::new() };
    for key in touched {
        let (before, after) = working.before_and_after(&key)?;
        let ty = schema.ty(key.ty);
        maintain_over_several(working, ty, &key, (before.as_deref(), after.as_deref()), writes, &mut found);
        for slot in ty.indexed.iter().copied() {
            let field = ty.field(slot);
            let plain = |doc: &Doc| entry(field, slot, &key.id, doc);
            let among_siblings = |doc: &Doc| entry_by_parent(ty, slot, &key.id, doc);
            let value = after.as_ref().map_or(&Value::Absent, |doc| doc.get(slot));
            // Mostly the value is as it was, and then so is its entry.
            let same = before.as_ref().is_some_and(|before| after.is_some() && before.get(slot) == value);
            for (by, _) in of(field).filter(|by| !same && by_parts(by)) {
                let entries = |doc: &Doc| entries(ty, slot, by, &key.id, doc);
                let old = before.as_deref().map(entries).unwrap_or_default();
                let new = after.as_deref().map(entries).unwrap_or_default();
                if by == By::Element && new.iter().any(|entry| entry.len() > MAX_KEY_BYTES) {
                    found.push(too_long(field, "an element of ", &key, writes));
                    continue;
                }
                old.difference(&new).for_each(|entry| take_out(working, entry.clone()));
                new.difference(&old)
                    .for_each(|entry| working.put_row(keys::INDEX, entry.clone(), Vec::new()));
            }
            let mut changes = Vec::with_capacity(2);
            if field.index && !same {
                let entries = (before.as_deref().and_then(plain), after.as_deref().and_then(plain));
                changes.push((entries, field.rules.unique, ""));
            }
            if by_parent(field) {
                let entries =
                    (before.as_deref().and_then(among_siblings), after.as_deref().and_then(among_siblings));
                changes.push((entries, field.rules.unique_in_parent, ", under the same parent,"));
            }
            for ((old, new), unique, among) in changes {
                if old == new {
                    continue;
                }
                if let Some(old) = old {
                    take_out(working, old.key);
                }
                let Some(new) = new else { continue };
                if new.key.len() > MAX_KEY_BYTES {
                    found.push(too_long(field, "", &key, writes));
                }
                working.put_row(keys::INDEX, new.key.clone(), Vec::new());
                if unique && !value.is_null() {
                    let (key, value) = (key.clone(), value.clone());
                    claims.push(Claim { key, field, value, entry: new, among });
                }
            }
        }
    }
    // After all entries are in place, so that two resources may swap their values in one transaction.
    for Claim { key, field, value, entry, among } in claims {
        if let Some(other) = another(working, &key.id, &entry)? {
            let (ty, name) = (&schema.ty(key.ty).name, field.label());
            let message = format!("{ty} {other}{among} has the {name} {value} already");
            let mut refusal = Refusal::new("unique", Some(name), message);
            refusal.write = writes.iter().rposition(|write| *write.key() == key);
            found.push(refusal);
        }
    }
    names::check(working, writes, &mut found)?;
    if found.is_empty() { Ok(()) } else { Err(EngineError::Refused(found)) }
}

/// Brings the indexes over several fields up to date with a resource, as it was and as it is.
fn maintain_over_several(
    working: &mut Working<'_>,
    ty: &ResourceType,
    key: &Key,
    (before, after): (Option<&Doc>, Option<&Doc>),
    writes: &[Write],
    found: &mut Vec<Refusal>,
) {
    for index in &ty.indexes {
        let entry = |doc: &Doc| composite_entry(index, &key.id, doc);
        let (old, new) = (before.map(entry), after.map(entry));
        if old == new {
            continue;
        }
        old.into_iter().for_each(|old| take_out(working, old));
        let Some(new) = new else { continue };
        if new.len() > MAX_KEY_BYTES {
            found.push(too_long_together(ty, index, key, writes));
        }
        working.put_row(keys::INDEX, new, Vec::new());
    }
}

/// Takes an entry out of its index. One that is longer than an index takes has never been there: it is of a value from before
/// there was the index, which its update cannot enter ([`crate::updates::indexing`]).
fn take_out(working: &mut Working<'_>, entry: Vec<u8>) {
    if entry.len() <= MAX_KEY_BYTES {
        working.delete_row(keys::INDEX, entry);
    }
}

/// The refusal of a value that is larger than an index takes.
fn too_long(field: &Field, part: &str, key: &Key, writes: &[Write]) -> Refusal {
    let label = field.label();
    let message = format!("{part}`{label}` is too long: its index takes {MAX_KEY_BYTES} bytes");
    let mut refusal = Refusal::new("too-long", Some(label), message);
    refusal.write = writes.iter().rposition(|write| write.key() == key);
    refusal
}

/// The refusal of values that are together larger than their index takes.
fn too_long_together(ty: &ResourceType, index: &Composite, key: &Key, writes: &[Write]) -> Refusal {
    let fields = index.describe(ty);
    let message = format!("the values of ({fields}) are too long: their index takes {MAX_KEY_BYTES} bytes");
    let mut refusal = Refusal::new("too-long", Some(ty.field(index.keys[0].slot).label()), message);
    refusal.write = writes.iter().rposition(|write| write.key() == key);
    refusal
}

/// Another resource with the same value.
fn another(working: &Working<'_>, id: &Id, entry: &Entry) -> Result<Option<Id>, EngineError> {
    let range = KeyRange::prefix(entry.key[..entry.prefix].to_vec());
    // There are two at most: without this transaction there was one.
    for direction in [Direction::Forward, Direction::Backward] {
        if let Some((row, _)) = working.first_row(keys::INDEX, &range, direction)? {
            let other = keys::id_behind(&row, entry.prefix);
            let other = other.ok_or_else(|| EngineError::corrupt("an index entry"))?;
            if other != *id {
                return Ok(Some(other));
            }
        }
    }
    Ok(None)
}
