//! Whether the data fits another schema: what facts it has no place for, and what its rules do not allow.
//!
//! Nothing is changed here. Each reason is a sentence for whoever wants the schema; where there is none, nothing is lost.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use corollary_schema::plan::PlanNode;
use corollary_schema::{
    Field, FieldKind, Member, Members, ResourceType, Schema, Slot, TypeIx, ValueType, Variant,
};
use corollary_store::{Direction, KeyRange, Keyspace, Snapshot};
use corollary_value::Value;
use corollary_value::order_key::push_order_key;
use hashbrown::HashMap;

use super::OpenError;
use crate::doc::{Key, Layout};
use crate::error::EngineError;
use crate::keys;
use crate::rebuild::{self, Structure};

/// How many duplicates of a value are told.
const MAX_TOLD_DUPLICATES: usize = 10;

/// What facts the new schema has no place for.
pub(super) fn losses(
    snapshot: &dyn Snapshot,
    old: &Schema,
    new: &Schema,
    built: &BTreeSet<Structure>,
) -> Result<Vec<String>, OpenError> {
    let mut reasons = Vec::new();
    let any = |keyspace: Keyspace, prefix: Vec<u8>| -> Result<bool, OpenError> {
        let mut any = false;
        snapshot.scan(keyspace, &KeyRange::prefix(prefix), Direction::Forward, 1, &mut |_, _| {
            any = true;
            ControlFlow::Break(())
        })?;
        Ok(any)
    };
    for (old_ty, was) in old.types().filter(|(_, was)| was.visible()) {
        if let Some(history) = was.history
            && !new.types().any(|(_, is)| is.history == Some(history))
            && any(keys::VERSION, keys::versions_under(history))?
        {
            reasons.push(format!("{} has a history, and the new schema keeps none of it", was.name));
        }
        if !any(keys::DOC, keys::docs_of(was.id))? {
            continue;
        }
        let Some((_, is)) = new.types().find(|(_, ty)| ty.id == was.id) else {
            reasons.push(format!("type {} has resources, and the new schema does not have it", was.name));
            continue;
        };
        if was.root != is.root && is.root.is_none() {
            reasons.push(format!(
                "{} has resources, and the new schema has no root collection for it",
                was.name
            ));
        }
        let counts = |field: &Field| match field.kind {
            FieldKind::Position { .. } => {
                field.parent_index.is_some_and(|index| built.contains(&Structure::Index(index)))
            }
            _ => field.is_fact(),
        };
        let facts: Vec<(Slot, &Field)> = was.slots().filter(|(_, field)| counts(field)).collect();
        let in_the_way = |field: &Field| {
            let other = is.fields.iter().find(|other| other.id == field.id);
            other.is_none_or(|other| !holds(old, field, new, other))
        };
        let suspect: Vec<Slot> =
            facts.iter().filter(|(_, field)| in_the_way(field)).map(|(slot, _)| *slot).collect();
        let used = used(snapshot, old, old_ty, &suspect)?;
        for (_, field) in facts.iter().filter(|(slot, _)| used.contains(slot)) {
            match is.fields.iter().find(|other| other.id == field.id) {
                None if matches!(field.kind, FieldKind::Position { .. }) => reasons.push(format!(
                    "a collection of {} has an order, and the new schema gives it none",
                    was.name
                )),
                None => reasons.push(format!(
                    "{}.{} has values, and the new schema does not have it",
                    was.name,
                    field.label()
                )),
                Some(other) if !holds(old, field, new, other) => reasons.push(format!(
                    "{}.{} has values of another type than the new schema gives it",
                    was.name,
                    field.label()
                )),
                Some(_) => {}
            }
        }
    }
    Ok(reasons)
}

/// Which of some fields have a value in any resource of their type.
fn used(
    snapshot: &dyn Snapshot,
    schema: &Schema,
    ty: TypeIx,
    suspect: &[Slot],
) -> Result<Vec<Slot>, OpenError> {
    let mut used: Vec<Slot> = Vec::new();
    if suspect.is_empty() {
        return Ok(used);
    }
    let layouts = Layout::of(schema);
    let mut corrupt = false;
    let range = KeyRange::prefix(keys::docs_of(schema.ty(ty).id));
    snapshot.scan(keys::DOC, &range, Direction::Forward, usize::MAX, &mut |_, bytes| {
        let Ok(doc) = layouts[ty.0 as usize].decode(bytes) else {
            corrupt = true;
            return ControlFlow::Break(());
        };
        let there = suspect.iter().filter(|slot| !matches!(doc.get(**slot), Value::Absent));
        let new: Vec<Slot> = there.filter(|slot| !used.contains(slot)).copied().collect();
        used.extend(new);
        if used.len() == suspect.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if corrupt {
        return Err(EngineError::corrupt(format!("a resource of {}", schema.ty(ty).name)).into());
    }
    Ok(used)
}

/// Can a field hold all values of an older one?
fn holds(old: &Schema, was: &Field, new: &Schema, is: &Field) -> bool {
    let same = |old_ty: TypeIx, new_ty: TypeIx| old.ty(old_ty).id == new.ty(new_ty).id;
    match (&was.kind, &is.kind) {
        (FieldKind::Stored(was), FieldKind::Stored(is)) => holds_type(was, is, &same),
        (FieldKind::Link { target: was, .. }, FieldKind::Link { target: is, .. })
        | (FieldKind::Links { target: was, .. }, FieldKind::Links { target: is, .. }) => same(*was, *is),
        (FieldKind::Parent { collection: was }, FieldKind::Parent { collection: is }) => same(was.ty, is.ty),
        (FieldKind::Position { .. }, FieldKind::Position { .. }) => true,
        _ => false,
    }
}

/// Do values of two types have the same shape? Rules decide what may be stored, not what follows from it.
pub(super) fn alike(was: &ValueType, is: &ValueType, same: &dyn Fn(TypeIx, TypeIx) -> bool) -> bool {
    match (was, is) {
        (ValueType::Link { target: was, .. }, ValueType::Link { target: is, .. }) => same(*was, *is),
        (ValueType::List(was), ValueType::List(is))
        | (ValueType::Set(was), ValueType::Set(is))
        | (ValueType::Map(was), ValueType::Map(is)) => alike(was, is, same),
        (ValueType::Object(was), ValueType::Object(is)) => {
            let pair = |(was, is): (&Member, &Member)| was.name == is.name && alike(&was.ty, &is.ty, same);
            was.is_file() == is.is_file() && was.len() == is.len() && was.iter().zip(is).all(pair)
        }
        _ => was == is,
    }
}

/// Can a type hold all values of an older one? `same` tells whether two types of resources are one.
pub(super) fn holds_type(was: &ValueType, is: &ValueType, same: &dyn Fn(TypeIx, TypeIx) -> bool) -> bool {
    match (was, is) {
        (ValueType::Link { target: was, .. }, ValueType::Link { target: is, .. }) => same(*was, *is),
        // What is free of a schema holds no references. What is no file has no bytes, and what is one has nothing else.
        (was, ValueType::Json) if was.holds_links() => false,
        (was, is) if was.is_file() || is.is_file() => was.is_file() && is.is_file(),
        (ValueType::Enum(was), ValueType::Enum(is)) => was.iter().all(|word| is.contains(word)),
        (ValueType::Enum(_), ValueType::Str) | (_, ValueType::Json) => true,
        (ValueType::List(was), ValueType::List(is))
        | (ValueType::Set(was), ValueType::Set(is))
        | (ValueType::Map(was), ValueType::Map(is)) => holds_type(was, is, same),
        (ValueType::Object(was), ValueType::Object(is)) => {
            let holds = |member: &Member| {
                is.named(&member.name).is_some_and(|it| holds_type(&member.ty, &it.ty, same))
            };
            was.iter().all(holds) && holds_variants(was, is)
        }
        _ => was == is,
    }
}

/// Does each variant of a union still have its members? An object of a union is one of any type with its members; one that
/// says of itself what it likes is of no variant.
fn holds_variants(was: &Members, is: &Members) -> bool {
    let Some(is) = is.union() else { return true };
    let Some(was) = was.union() else { return false };
    let holds = |variant: &Variant| {
        let now = is.variant(&variant.name);
        now.is_some_and(|now| variant.members.iter().all(|(name, _)| now.has(name)))
    };
    was.discriminator == is.discriminator && was.variants.iter().all(holds)
}

/// Values that several resources have of a field that is unique from now on.
pub(super) fn duplicates(
    snapshot: &dyn Snapshot,
    old: &Schema,
    new: &Schema,
) -> Result<Vec<String>, OpenError> {
    let mut reasons = Vec::new();
    let layouts = Layout::of(new);
    for (ty, is) in new.types() {
        let was = |field: &Field| old.types().flat_map(|(_, ty)| &ty.fields).find(|was| was.id == field.id);
        let was_unique = |field: &Field| was(field).is_some_and(|was| was.rules.unique);
        let was_among_siblings =
            |field: &Field| was(field).is_some_and(|was| was.rules.unique || was.rules.unique_in_parent);
        let in_all = is.slots().filter(|(_, field)| field.rules.unique && !was_unique(field));
        let among_siblings =
            is.slots().filter(|(_, field)| field.rules.unique_in_parent && !was_among_siblings(field));
        let in_all = in_all.map(|(slot, field)| (slot, field, false));
        for (slot, field, siblings) in in_all.chain(among_siblings.map(|(slot, field)| (slot, field, true))) {
            let mut seen: HashMap<Vec<u8>, Key> = HashMap::new();
            let prefix = keys::docs_of(is.id);
            let length = prefix.len();
            let mut corrupt = false;
            snapshot.scan(
                keys::DOC,
                &KeyRange::prefix(prefix),
                Direction::Forward,
                usize::MAX,
                &mut |key, doc| {
                    let (Some(id), Ok(doc)) =
                        (keys::id_behind(key, length), layouts[ty.0 as usize].decode(doc))
                    else {
                        corrupt = true;
                        return ControlFlow::Break(());
                    };
                    let value = doc.get(slot);
                    if !value.is_null() {
                        let mut bytes = Vec::new();
                        if siblings {
                            let Some((collection, parent)) = doc.parent(new, ty) else {
                                return ControlFlow::Continue(());
                            };
                            bytes =
                                keys::children(new.field(collection).id, new.field(collection).id, parent);
                        }
                        push_order_key(value, &mut bytes);
                        if let Some(other) = seen.insert(bytes, Key::new(ty, id.clone()))
                            && reasons.len() < MAX_TOLD_DUPLICATES
                        {
                            reasons.push(duplicate(is, field, siblings, &other, &id, value));
                        }
                    }
                    ControlFlow::Continue(())
                },
            )?;
            if corrupt {
                return Err(EngineError::corrupt(format!("a resource of {}", is.name)).into());
            }
        }
    }
    Ok(reasons)
}

/// Errors in fields that are strict from now on. Of those that are yet to be built, the build finds out.
pub(super) fn errors(
    snapshot: &dyn Snapshot,
    old: &Schema,
    new: &Schema,
    missing: &BTreeSet<Structure>,
) -> Result<Vec<String>, OpenError> {
    let mut reasons = Vec::new();
    let layouts = Layout::of(new);
    for node in newly_strict(old, new).filter(|it| !missing.contains(&Structure::Definition(it.definition))) {
        if let Some((id, error)) = rebuild::error_of(snapshot, new, &layouts, node.result)? {
            let (ty, field) = (&new.ty(node.result.ty).name, &new.field(node.result).name);
            reasons.push(format!("{ty}.{field} is to be strict, and of {id} it is {error}"));
        }
    }
    Ok(reasons)
}

/// The nodes of fields that are strict from now on.
pub(super) fn newly_strict<'s>(old: &'s Schema, new: &'s Schema) -> impl Iterator<Item = &'s PlanNode> {
    let is_strict = |field: &Field| matches!(field.kind, FieldKind::Derived { strict: true, .. });
    new.plan.nodes.iter().filter(move |node| {
        let field = new.field(node.result);
        let was = old.types().flat_map(|(_, ty)| &ty.fields).find(|was| was.id == field.id);
        is_strict(field) && !was.is_some_and(is_strict)
    })
}

fn duplicate(
    ty: &ResourceType,
    field: &Field,
    siblings: bool,
    one: &Key,
    other: &corollary_value::Id,
    value: &Value,
) -> String {
    let (ty, field, one) = (&ty.name, &field.name, &one.id);
    let among = if siblings { " in its parent" } else { "" };
    format!("{ty}.{field} is to be unique{among}, and {one} and {other} both have {value}")
}
