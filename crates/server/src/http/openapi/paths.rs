//! The paths of resources: lists, their members, and what stands behind these.

use corollary_schema::{Field, FieldKind, FieldRef, Schema, Slot, TypeIx};
use serde_json::Value as Json;

use super::Document;
use super::examples;
use super::files;
use super::names::{Noun, Paths, component, pascal};
use super::operations::At;
use super::parts::id_as;
use crate::json::encode::target_of;
use crate::path::PREFIX;

/// The members of a list: what types they have, and what their id is called.
#[derive(Clone)]
struct Members {
    types: Vec<TypeIx>,
    id: String,
}

impl Members {
    /// Of a list at a field, or of a root collection, below some others: no two parameters of a path are called alike.
    fn of(schema: &Schema, types: Vec<TypeIx>, field: &str, above: &[Members]) -> Members {
        let mut id = match &types[..] {
            [ty] => format!("{}_id", schema.ty(*ty).name.to_lowercase()),
            _ => format!("{field}_id"),
        };
        while above.iter().any(|members| members.id == id) {
            id.push('_');
        }
        Members { types, id }
    }

    fn parameter(&self, schema: &Schema) -> Json {
        id_as(&self.id, &self.types.first().map_or_else(String::new, |ty| examples::id(schema, *ty)))
    }
}

/// What a field of a resource leads to.
struct Way<'s> {
    field: &'s str,
    leads: Leads,
    types: Vec<TypeIx>,
    /// Those of which it is a field.
    owners: Vec<TypeIx>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// A collection.
    Owned,
    /// Links, which may be added to.
    Links,
    /// A list that follows from other fields.
    Listed,
    /// One resource; by a link that may be made to lead nowhere?
    One { unlinks: bool },
}

impl<'s> Way<'s> {
    fn of(schema: &'s Schema, ty: TypeIx, slot: Slot, field: &'s Field) -> Option<Way<'s>> {
        let resource = schema.ty(ty);
        let is_named = resource.named(&field.name).is_some_and(|(named, _)| named == slot);
        if field.is_part() || !is_named || field.name.starts_with('#') {
            return None;
        }
        let target = || Some(vec![target_of(schema, FieldRef { ty, slot })?]);
        let of_parts = |parts: &[Slot]| -> Vec<TypeIx> {
            parts.iter().filter_map(|part| target_of(schema, FieldRef { ty, slot: *part })).collect()
        };
        let unlinks = !field.rules.required;
        let (leads, types) = match &field.kind {
            FieldKind::Collection { .. } => (Leads::Owned, target()?),
            FieldKind::Several { parts, owned: true } => (Leads::Owned, of_parts(parts)),
            FieldKind::Several { parts, .. } => (Leads::Listed, of_parts(parts)),
            FieldKind::Inverse { .. } => (Leads::Listed, target()?),
            FieldKind::Links { .. } => (Leads::Links, target()?),
            FieldKind::Link { .. } => (Leads::One { unlinks }, target()?),
            FieldKind::Among { targets, many: true, .. } => (Leads::Links, targets.clone()),
            FieldKind::Among { targets, .. } => (Leads::One { unlinks }, targets.clone()),
            FieldKind::Parent { .. } => (Leads::One { unlinks: false }, target()?),
            FieldKind::Derived { expr, .. } if expr.ty.is_many() => (Leads::Listed, target()?),
            FieldKind::Derived { .. } => (Leads::One { unlinks: false }, target()?),
            _ => return None,
        };
        Some(Way { field: &field.name, leads, types, owners: vec![ty] })
    }

    /// The ways from resources of some types. Where more than one of them has a field of a name, they are one.
    fn from(schema: &'s Schema, types: &[TypeIx]) -> Vec<Way<'s>> {
        let mut ways: Vec<Way<'s>> = Vec::new();
        let of = |ty: &TypeIx| {
            let ty = *ty;
            schema.ty(ty).slots().filter_map(move |(slot, field)| Way::of(schema, ty, slot, field))
        };
        for way in types.iter().flat_map(of) {
            match ways.iter_mut().find(|other| other.field == way.field && other.leads == way.leads) {
                Some(other) => {
                    other.owners.extend(way.owners);
                    other.types.extend(way.types);
                    other.types.sort_unstable();
                    other.types.dedup();
                }
                None => ways.push(way),
            }
        }
        ways
    }
}

/// Adds a root collection, and all behind it.
pub(super) fn root(document: &mut Document<'_>, root: &str, ty: TypeIx) {
    let resource = document.schema.ty(ty);
    let noun = Noun::root(root, Some(&resource.name));
    let members = Members::of(document.schema, vec![ty], root, &[]);
    collection(document, &members, &format!("{PREFIX}/{root}"), &[], &noun);
}

/// Adds the root collection of an abstract type.
pub(super) fn abstract_root(document: &mut Document<'_>, root: &str, types: &[TypeIx]) {
    let noun = Noun::root(root, None);
    let base = format!("{PREFIX}/{root}");
    list(document, types, &base, &[], &noun, |at| at.read_only());
    let parameter = Members { types: types.to_vec(), id: "id".into() }.parameter(document.schema);
    at(document, types, &[parameter], &noun, |paths, at| {
        paths.add(format!("{base}/{{id}}"), at.of_any());
    });
}

/// Adds what may be done with resources of some types at a path.
fn at(
    document: &mut Document<'_>,
    types: &[TypeIx],
    parameters: &[Json],
    noun: &Noun,
    add: impl FnOnce(&mut Paths, &At<'_>),
) {
    let Document { schema, paths, components } = document;
    let names: Vec<String> = types.iter().map(|ty| component(schema, *ty)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    add(paths, &At { components, noun, names: &names, parameters });
}

/// Adds a list that is not written by condition, and what is asked of it.
fn list(
    document: &mut Document<'_>,
    types: &[TypeIx],
    base: &str,
    parameters: &[Json],
    noun: &Noun,
    item: impl FnOnce(&At<'_>) -> Json,
) {
    at(document, types, parameters, noun, |paths, at| {
        paths.add(base.into(), item(at));
        for (verb, item) in at.by_condition(false) {
            paths.add(format!("{base}/{verb}"), item);
        }
    });
}

/// A list and its members; owned children below each, as deep as types do not repeat.
fn collection(document: &mut Document<'_>, members: &Members, base: &str, above: &[Members], noun: &Noun) {
    let schema = document.schema;
    let types = &members.types;
    let parameters: Vec<Json> = above.iter().map(|members| members.parameter(schema)).collect();
    at(document, types, &parameters, noun, |paths, at| {
        paths.add(base.into(), at.list());
        for (verb, item) in at.by_condition(types.len() == 1) {
            paths.add(format!("{base}/{verb}"), item);
        }
    });
    let mut here = above.to_vec();
    here.push(members.clone());
    let parameters: Vec<Json> = here.iter().map(|members| members.parameter(schema)).collect();
    let one = format!("{base}/{{{}}}", members.id);
    at(document, types, &parameters, noun, |paths, at| {
        paths.add(one.clone(), at.one());
        paths.add(format!("{one}/_revert"), at.revert());
    });
    let keeps = |ty: &&TypeIx| schema.ty(**ty).history.is_some();
    let kept: Vec<TypeIx> = types.iter().filter(keeps).copied().collect();
    if !kept.is_empty() {
        at(document, &kept, &parameters, noun, |paths, at| {
            paths.add(format!("{one}/_versions"), at.versions());
        });
    }
    for ty in types {
        files::add(document, *ty, &one, &parameters, noun);
    }
    for way in Way::from(schema, types) {
        behind(document, way, &one, (&here, &parameters), noun);
    }
}

/// Adds what a field of one member leads to.
fn behind(
    document: &mut Document<'_>,
    mut way: Way<'_>,
    one: &str,
    (here, parameters): (&[Members], &[Json]),
    noun: &Noun,
) {
    let schema = document.schema;
    let base = format!("{one}/{}", way.field);
    let name = |types: &[TypeIx]| match types {
        [ty] => Some(schema.ty(*ty).name.as_str()),
        _ => None,
    };
    match way.leads {
        Leads::Owned => {
            way.types.retain(|child| !here.iter().any(|above| above.types.contains(child)));
            if !way.types.is_empty() {
                let noun = noun.below(way.field, name(&way.types));
                let members = Members::of(schema, way.types, way.field, here);
                collection(document, &members, &base, here, &noun);
            }
        }
        Leads::Listed => {
            let noun = noun.below(way.field, name(&way.types));
            list(document, &way.types, &base, parameters, &noun, |at| at.read_only());
        }
        Leads::Links => {
            let noun = noun.below(way.field, name(&way.types));
            let owners: Vec<String> = way.owners.iter().map(|ty| component(schema, *ty)).collect();
            let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
            let link = examples::link_to_add(schema, &way.types);
            list(document, &way.types, &base, parameters, &noun, |at| at.links(&owners, &link));
            let members = Members { types: way.types, id: format!("{}_member", way.field) };
            let mut parameters = parameters.to_vec();
            parameters.push(members.parameter(schema));
            at(document, &members.types, &parameters, &noun, |paths, at| {
                paths.add(format!("{base}/{{{}}}", members.id), at.linked());
            });
        }
        Leads::One { unlinks } => {
            let called = format!("{}{}", noun.one, pascal(way.field));
            let noun = Noun { many: called.clone(), one: called };
            at(document, &way.types, parameters, &noun, |paths, at| {
                paths.add(base, at.led_to(unlinks));
            });
        }
    }
}
