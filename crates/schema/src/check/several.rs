//! Relations to several types: a link, a collection or an inverse of several is a hidden one of each.
//!
//! A link to one of several types is a hidden link to each ([`FieldKind::Among`]); a collection of several, and the inverse
//! of a link that an abstract type declares, are a hidden collection or inverse of each ([`FieldKind::Several`]). All else
//! in the schema, the plan and the engine knows the hidden ones alone; expressions ask each (`expr/either.rs`).

use corollary_syntax::ast;
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;
use smol_str::{SmolStr, format_smolstr};

use super::declare::{Abstract, resolve_type};
use crate::ids::Ids;
use crate::model::{Field, FieldKind, FieldRef, OnDelete, Rules, Schema, Slot, TypeIx};
use crate::names::{link_name, reverse_name};

/// A link to one of several types, whose parts are made when all declared fields are there.
pub struct Among {
    /// The field.
    pub here: FieldRef,
    /// What it may lead to.
    pub targets: Vec<TypeIx>,
    /// What happens to it when that is deleted.
    pub on_delete: OnDelete,
}

/// What a link leads to, or a collection holds.
pub enum Targets {
    /// The type that is named.
    One(TypeIx),
    /// In the order of declaration, or in which they are named; perhaps a single one, where an abstract type has one.
    Several(Vec<TypeIx>),
}

/// The types that a link or a collection names, abstract ones replaced by those that are one; none where there is a mistake.
pub fn resolve_targets(
    schema: &Schema,
    abstracts: &Abstract,
    names: &[ast::Ident],
    found: &mut Vec<Diagnostic>,
) -> Option<Targets> {
    if let [name] = names
        && !abstracts.types.contains_key(&name.name)
    {
        return resolve_type(schema, name, found).map(Targets::One);
    }
    let mut targets = Vec::new();
    let so_far = found.len();
    for name in names {
        let types = match abstracts.types.get(&name.name) {
            Some(types) => types.iter().filter_map(|name| schema.type_named(name)).collect(),
            None => Vec::from_iter(resolve_type(schema, name, found)),
        };
        for ty in types {
            if targets.contains(&ty) {
                let message = format!("a `{}` is one of the types before already", schema.ty(ty).name);
                found.push(Diagnostic::error("duplicate-target", name.span, message));
            } else {
                targets.push(ty);
            }
        }
    }
    (found.len() == so_far && !targets.is_empty()).then_some(Targets::Several(targets))
}

/// Gives a link to one of several types its hidden links, one for each of the types. The rules that hold for each link
/// by itself go with them; that there is one, and how many there may be, is a rule of the declared field.
pub fn add_parts(schema: &mut Schema, among: Among, ids: &mut Ids) {
    let Among { here, targets, on_delete } = among;
    let owner = schema.ty(here.ty);
    let (owner_name, field) = (owner.name.clone(), owner.field(here.slot));
    let FieldKind::Among { many, .. } = field.kind else { return };
    let (declared, name, index) = (field.rules.clone(), field.name.clone(), field.index);
    // What must be there cannot be taken away.
    let on_delete = match on_delete {
        OnDelete::Unlink if declared.required && !many => OnDelete::Restrict,
        rule => rule,
    };
    let rules = Rules { required: false, max_length: None, ..declared };
    let mut parts = Vec::with_capacity(targets.len());
    for target in targets.iter().copied() {
        let name = format_smolstr!("#{name}.{}", schema.ty(target).name);
        let id = ids.field_id(&owner_name, &name);
        let kind = match many {
            true => FieldKind::Links { target, on_delete },
            false => FieldKind::Link { target, on_delete },
        };
        let owner = &mut schema.types[here.ty.0 as usize];
        parts.push(Slot(owner.fields.len() as u32));
        owner.fields.push(Field {
            id,
            name,
            kind,
            index,
            parent_index: rules.unique_in_parent.then(|| ids.parent_index(id)),
            rules: rules.clone(),
            reference_index: true,
            extended: None,
        });
    }
    let field = &mut schema.types[here.ty.0 as usize].fields[here.slot.0 as usize];
    (field.index, field.parent_index) = (false, None);
    field.kind = FieldKind::Among { parts, targets, many };
}

/// A collection of several types, whose parts are made when all declared fields are there.
pub struct Collections {
    /// The field.
    pub here: FieldRef,
    /// The types of the children.
    pub types: Vec<TypeIx>,
    /// Where its name stands.
    pub span: Span,
}

/// The places of children of several types are not kept.
pub fn refuse_order(children: &[ast::Ident], found: &mut Vec<Diagnostic>) {
    let Some(first) = children.first() else { return };
    let message = "the children of an ordered collection are of one type: each has its place among those of its type, and \
                   there is no place among several";
    found.push(
        Diagnostic::error("unsupported", first.span, message)
            .help("leave out `ordered` and give the types a field to order by, or name one type"),
    );
}

/// Gives a collection of several types a hidden collection of each, which `parents` then know.
pub fn add_collections(
    schema: &mut Schema,
    collections: Collections,
    parents: &mut Vec<(FieldRef, Span)>,
    ids: &mut Ids,
) {
    let Collections { here, types, span } = collections;
    let mut parts = Vec::with_capacity(types.len());
    for child in types {
        // The link is filled in when all collections are known.
        let via = FieldRef { ty: child, slot: Slot(u32::MAX) };
        let slot = add_list(schema, here, child, FieldKind::Collection { child, via }, ids);
        parents.push((FieldRef { ty: here.ty, slot }, span));
        parts.push(slot);
    }
    set_parts(schema, here, parts, true);
}

/// Gives an inverse of a link that several types have a hidden inverse for each of the links.
pub fn add_inverses(schema: &mut Schema, here: FieldRef, links: &[FieldRef], ids: &mut Ids) {
    let parts = links.iter().map(|of| add_list(schema, here, of.ty, FieldKind::Inverse { of: *of }, ids));
    let parts = parts.collect();
    set_parts(schema, here, parts, false);
}

fn set_parts(schema: &mut Schema, here: FieldRef, parts: Vec<Slot>, owned: bool) {
    let field = &mut schema.types[here.ty.0 as usize].fields[here.slot.0 as usize];
    field.kind = FieldKind::Several { parts, owned };
}

/// Adds the hidden part of a list that has the resources of one type.
fn add_list(schema: &mut Schema, here: FieldRef, of: TypeIx, kind: FieldKind, ids: &mut Ids) -> Slot {
    let name = format_smolstr!("#{}.{}", schema.field(here).name, schema.ty(of).name);
    let id = ids.field_id(&schema.ty(here.ty).name, &name);
    let owner = &mut schema.types[here.ty.0 as usize];
    let slot = Slot(owner.fields.len() as u32);
    owner.fields.push(Field {
        id,
        name,
        kind,
        rules: Rules::default(),
        index: false,
        parent_index: None,
        reference_index: false,
        extended: None,
    });
    slot
}

/// Names the lists of all resources that link to a type by a field of an abstract type, `link_<abstract>_<field>`. All
/// links are known.
pub fn gather(schema: &mut Schema, abstracts: &Abstract, found: &mut Vec<Diagnostic>) {
    let mut names: Vec<&SmolStr> = abstracts.fields.keys().collect();
    names.sort();
    for name in names {
        let types = abstracts.types.get(name).into_iter().flatten();
        let types: Vec<TypeIx> = types.filter_map(|name| schema.type_named(name)).collect();
        for field in &abstracts.fields[name] {
            gather_field(schema, name, &types, field, found);
        }
    }
}

/// [`gather`] for one field of an abstract type; where it holds objects with links, for each of these.
fn gather_field(
    schema: &mut Schema,
    interface: &str,
    types: &[TypeIx],
    field: &ast::Ident,
    found: &mut Vec<Diagnostic>,
) {
    for target in 0..schema.types.len() {
        let ty = &schema.types[target];
        let mut gathered: Vec<(SmolStr, Vec<FieldRef>)> = Vec::new();
        let links = ty.referrers.iter().filter(|of| {
            let link = schema.field(**of);
            types.contains(&of.ty)
                && !matches!(link.kind, FieldKind::Parent { .. })
                && link.declared_as() == field.name
        });
        for of in links {
            let name = SmolStr::from(link_name(schema, *of, interface));
            match gathered.iter_mut().find(|(other, _)| *other == name) {
                Some((_, links)) => links.push(*of),
                None => gathered.push((name, vec![*of])),
            }
        }
        let taken = |name: &str| ty.referrers.iter().find(|of| reverse_name(schema, **of) == name);
        if let Some((name, of)) = gathered.iter().find_map(|(name, _)| Some((name, taken(name)?))) {
            let (other, label) = (&schema.ty(of.ty).name, schema.field(*of).label());
            let message =
                format!("the reverse of this link would be called `{name}`, as that of `{other}.{label}`");
            let help = "rename one of the types, or one of the links";
            found.push(Diagnostic::error("same-reverse-name", field.span, message).help(help));
            return;
        }
        schema.types[target].gathered.extend(gathered);
    }
}
