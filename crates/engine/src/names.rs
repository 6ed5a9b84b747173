//! Names in paths: the resource that a path's segment means, where its type has a field for that (`path NAME`).
//!
//! A name leads to one resource: its field is unique, no name is the id of another resource that it could be taken for,
//! and each can stand as a segment of a path. That is held with each write, where the indexes are brought up to date, and
//! over all data when a schema begins to want it. So it is with the children of several types in one collection: under one
//! parent neither an id nor a name leads to two of them.

use std::ops::ControlFlow;

use corollary_schema::{Field, FieldKind, FieldRef, ResourceType, Schema, Slot, TypeIx};
use corollary_store::limits::MAX_KEY_BYTES;
use corollary_store::{Direction, KeyRange, Snapshot};
use corollary_value::order_key::push_order_key;
use corollary_value::{Id, Value};
use hashbrown::HashMap;

use crate::doc::{Doc, Key, Layout};
use crate::error::{EngineError, Refusal};
use crate::keys;
use crate::working::Working;
use crate::write::Write;

/// The most names that are told to be no good for paths.
const MAX_TOLD: usize = 10;

/// Can a text stand for a resource in a path? `.` and `..` mean others to who follows a path, and what begins with `_` is
/// the system's own.
pub fn is_segment(name: &str) -> bool {
    !(name.is_empty() || name == "." || name == ".." || name.starts_with('_'))
}

/// The name of a resource in paths, where it has one.
pub fn name_of<'d>(ty: &ResourceType, doc: &'d Doc) -> Option<&'d str> {
    match doc.get(ty.path?) {
        Value::Str(name) => Some(name),
        _ => None,
    }
}

/// The resource of a type with a name: of all, or of the children of a parent by one link to it.
pub fn find(
    working: &Working<'_>,
    ty: TypeIx,
    under: Option<(Slot, &Id)>,
    name: &str,
) -> Result<Option<Id>, EngineError> {
    let resource = working.schema.ty(ty);
    let Some(field) = resource.path.map(|slot| resource.field(slot)) else { return Ok(None) };
    let value = Value::Str(name.into());
    let found = match (under, field.parent_index) {
        (Some((via, parent)), Some(index)) if is_parent(resource.field(via)) => {
            let mut prefix = keys::children(index, resource.field(via).id, parent);
            push_order_key(&value, &mut prefix);
            only(working, prefix)?
        }
        _ if field.rules.unique => unique(working, field, &value)?,
        _ => None,
    };
    shown(working, ty, found)
}

/// What was found, unless it is hidden from whoever reads.
fn shown(working: &Working<'_>, ty: TypeIx, found: Option<Id>) -> Result<Option<Id>, EngineError> {
    match found {
        Some(id) if working.hides(ty) => {
            Ok(working.after(&Key::new(ty, id.clone()))?.is_some().then_some(id))
        }
        found => Ok(found),
    }
}

/// The resource that has a value in a field which is unique.
pub fn unique(working: &Working<'_>, field: &Field, value: &Value) -> Result<Option<Id>, EngineError> {
    only(working, keys::indexed(field.id, value))
}

/// The one resource with an entry below a prefix.
fn only(working: &Working<'_>, prefix: Vec<u8>) -> Result<Option<Id>, EngineError> {
    if prefix.len() > MAX_KEY_BYTES {
        return Ok(None);
    }
    let length = prefix.len();
    let row = working.first_row(keys::INDEX, &KeyRange::prefix(prefix), Direction::Forward)?;
    let id = row.map(|(row, _)| keys::id_behind(&row, length));
    id.map(|id| id.ok_or_else(|| EngineError::corrupt("an index entry"))).transpose()
}

fn is_parent(field: &Field) -> bool {
    matches!(field.kind, FieldKind::Parent { .. })
}

/// The parent of a resource, and by which link.
fn parent<'d>(ty: &ResourceType, doc: &'d Doc) -> Option<(Slot, &'d Id)> {
    ty.parents.iter().find_map(|via| match doc.get(*via) {
        Value::Ref(parent) => Some((*via, parent)),
        _ => None,
    })
}

/// May two resources of a type be taken for each other by a path? Those that are unique in their parent may where they
/// share it.
fn are_near(ty: &ResourceType, one: &Doc, other: &Doc) -> bool {
    let everywhere = ty.path.is_some_and(|slot| ty.field(slot).rules.unique);
    everywhere || parent(ty, one) == parent(ty, other)
}

/// The child of a parent, by one link to it, that a segment means by its name or its id.
fn child(
    working: &Working<'_>,
    via: FieldRef,
    parent: &Id,
    segment: &str,
) -> Result<Option<Key>, EngineError> {
    let named = find(working, via.ty, Some((via.slot, parent)), segment)?;
    for id in named.into_iter().chain(Id::parse(segment).ok()) {
        let key = Key::new(via.ty, id);
        if let Some(doc) = working.after(&key)?
            && matches!(doc.get(via.slot), Value::Ref(other) if other == parent)
        {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Holds the ids and names of children of several types to leading to one of them.
fn check_children(
    working: &Working<'_>,
    writes: &[Write],
    found: &mut Vec<Refusal>,
) -> Result<(), EngineError> {
    let schema = working.schema;
    if !schema.uses.several {
        return Ok(());
    }
    for key in working.touched_keys() {
        let ty = schema.ty(key.ty);
        let (before, Some(doc)) = working.before_and_after(&key)? else { continue };
        let Some((via, above)) = parent(ty, &doc) else { continue };
        let FieldKind::Parent { collection } = ty.field(via).kind else { continue };
        let owner = schema.ty(collection.ty);
        let whole = owner.slots().find(|(slot, _)| owner.lists(*slot).contains(&collection.slot));
        let Some((whole, field)) = whole else { continue };
        let before = before.filter(|before| parent(ty, before) == Some((via, above)));
        let (id, name) = (key.id.to_string(), name_of(ty, &doc));
        let renamed = before.as_ref().is_none_or(|before| name_of(ty, before) != name);
        let mut segments = Vec::from_iter(before.is_none().then_some(("_id", id.as_str())));
        if let (true, Some(slot), Some(name)) = (renamed, ty.path, name) {
            segments.push((&ty.field(slot).name, name));
        }
        let others = owner.lists(whole).iter().filter(|part| **part != collection.slot);
        let others = others.filter_map(|part| schema.way_back(FieldRef { ty: collection.ty, slot: *part }));
        for via in others {
            for (place, segment) in &segments {
                let Some(other) = child(working, via, above, segment)? else { continue };
                let message = format!(
                    "`{}` of {} {above} holds {} {} already, and a path with `{segment}` leads there",
                    field.name,
                    owner.name,
                    schema.ty(other.ty).name,
                    other.id
                );
                found.push(Refusal {
                    write: writes.iter().rposition(|write| *write.key() == key),
                    ..Refusal::new("unique", Some(place), message)
                });
            }
        }
    }
    Ok(())
}

/// Holds the names of all that the current transaction changed to what paths need; indexes are up to date already.
pub fn check(working: &Working<'_>, writes: &[Write], found: &mut Vec<Refusal>) -> Result<(), EngineError> {
    check_children(working, writes, found)?;
    let schema = working.schema;
    if !schema.uses.paths {
        return Ok(());
    }
    for key in working.touched_keys() {
        let ty = schema.ty(key.ty);
        let (Some(slot), (before, Some(doc))) = (ty.path, working.before_and_after(&key)?) else { continue };
        let field = &ty.field(slot).name;
        let refuse = |code, message| Refusal {
            write: writes.iter().rposition(|write| *write.key() == key),
            ..Refusal::new(code, Some(field), message)
        };
        let before = before.as_deref();
        // Where names are unique among siblings, who moves has to fit in with others.
        let moved = before.is_none_or(|before| parent(ty, before) != parent(ty, &doc));
        let changed = moved || before.is_none_or(|before| before.get(slot) != doc.get(slot));
        if let Some(name) = name_of(ty, &doc).filter(|_| changed) {
            if !is_segment(name) {
                let message = format!(
                    "`{field}` stands in the path of a {}: it cannot be empty, `.`, `..`, or begin with `_`",
                    ty.name
                );
                found.push(refuse("path", message));
            } else if let Ok(id) = Id::parse(name)
                && id != key.id
                && let Some(other) = working.after(&Key::new(key.ty, id.clone()))?
                && are_near(ty, &doc, &other)
            {
                let message = format!("another {} has the id {id}: a path with it leads there", ty.name);
                found.push(refuse("unique", message));
            }
        }
        // A name that is unique everywhere is nobody's id anywhere, also where it is unique in the parent besides.
        let under = if ty.field(slot).rules.unique { None } else { parent(ty, &doc) };
        if moved
            && let Some(other) = find(working, key.ty, under, &key.id.to_string())?
            && other != key.id
        {
            let message =
                format!("{} {other} has the {field} {}: a path with it leads there", ty.name, key.id);
            let mut refusal = refuse("unique", message);
            refusal.path = Some("_id".into());
            found.push(refusal);
        }
    }
    Ok(())
}

/// Why the names of resources are no good for the paths that a new schema gives them.
pub fn unfit(snapshot: &dyn Snapshot, old: &Schema, new: &Schema) -> Result<Vec<String>, EngineError> {
    let mut reasons = Vec::new();
    let layouts = Layout::of(new);
    let begins = |ty: &ResourceType| {
        let of = |ty: &ResourceType| ty.path.map(|slot| ty.field(slot).id);
        let was = old.types().find(|(_, was)| was.id == ty.id).and_then(|(_, was)| of(was));
        ty.path.is_some() && of(ty) != was
    };
    for (ix, ty) in new.types().filter(|(_, ty)| begins(ty)) {
        let docs = stored(snapshot, ty, &layouts[ix.0 as usize])?;
        for (id, doc) in &docs {
            let Some(name) = name_of(ty, doc) else { continue };
            let other = Id::parse(name).ok().filter(|other| other != id);
            let other = other.and_then(|other| docs.get(&other)).filter(|other| are_near(ty, doc, other));
            let why = match (is_segment(name), other) {
                (false, _) => "which cannot stand in a path",
                (true, Some(_)) => "which is the id of another",
                (true, None) => continue,
            };
            reasons.push(format!(
                "the path of {} is to be a name, and that of {id} is `{name}`, {why}",
                ty.name
            ));
        }
    }
    for (ix, owner) in new.types() {
        for (slot, field) in owner.slots() {
            let FieldKind::Several { owned: true, .. } = field.kind else { continue };
            let links: Vec<FieldRef> = owner
                .lists(slot)
                .iter()
                .filter_map(|part| new.way_back(FieldRef { ty: ix, slot: *part }))
                .collect();
            if links.iter().any(|via| begins(new.ty(via.ty))) {
                twins(
                    snapshot,
                    new,
                    &layouts,
                    &links,
                    &format!("{}.{}", owner.name, field.name),
                    &mut reasons,
                )?;
            }
        }
    }
    reasons.sort();
    reasons.truncate(MAX_TOLD);
    Ok(reasons)
}

/// All stored resources of a type.
fn stored(
    snapshot: &dyn Snapshot,
    ty: &ResourceType,
    layout: &Layout,
) -> Result<HashMap<Id, Doc>, EngineError> {
    let (prefix, mut docs) = (keys::docs_of(ty.id), HashMap::new());
    let (length, mut corrupt) = (prefix.len(), false);
    let range = KeyRange::prefix(prefix);
    snapshot.scan(keys::DOC, &range, Direction::Forward, usize::MAX, &mut |key, doc| match (
        keys::id_behind(key, length),
        layout.decode(doc),
    ) {
        (Some(id), Ok(doc)) => {
            docs.insert(id, doc);
            ControlFlow::Continue(())
        }
        _ => {
            corrupt = true;
            ControlFlow::Break(())
        }
    })?;
    if corrupt { Err(EngineError::corrupt(format!("a resource of {}", ty.name))) } else { Ok(docs) }
}

/// Finds stored children of several types, by these links to one parent, to two of which one segment of a path leads.
fn twins(
    snapshot: &dyn Snapshot,
    schema: &Schema,
    layouts: &[Layout],
    links: &[FieldRef],
    of: &str,
    reasons: &mut Vec<String>,
) -> Result<(), EngineError> {
    let mut leads: HashMap<(Id, String), Key> = HashMap::new();
    for via in links {
        let ty = schema.ty(via.ty);
        for (id, doc) in stored(snapshot, ty, &layouts[via.ty.0 as usize])? {
            let Value::Ref(above) = doc.get(via.slot) else { continue };
            let segments = name_of(ty, &doc).map(str::to_owned).into_iter().chain([id.to_string()]);
            for segment in segments {
                let child = leads
                    .entry((above.clone(), segment.clone()))
                    .or_insert_with(|| Key::new(via.ty, id.clone()));
                if child.ty != via.ty {
                    reasons.push(format!(
                        "a path with `{segment}` in {of} of {above} would lead to {} {} and {} {id}",
                        schema.ty(child.ty).name,
                        child.id,
                        ty.name
                    ));
                }
            }
        }
    }
    Ok(())
}
