//! Types, roots and fields from their declarations; every name resolved, every parent known.

use std::collections::HashMap;

use corollary_syntax::ast::{self, FieldKindText};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;
use corollary_syntax::{format_expression, nearest};
use corollary_value::Value;
use smol_str::{SmolStr, format_smolstr};

use super::options::{Context, read_options};
use super::several::{self, Collections, Targets, add_parts, resolve_targets};
use super::values::{BASIC, field_type, has_derived_members};
use super::{actors, lifetime, paths, urls};
use crate::ids::Ids;
use crate::model::{
    Field, FieldKind, FieldRef, OnDelete, Position, ResourceType, Rules, Schema, Search, Slot, TypeIx,
    ValueType,
};
use crate::names::{parent_name, reverse_name};
use crate::plan::Plan;
use crate::typed::{Expr, Kind};
use crate::uses::Uses;

/// Where a derived field comes from.
#[derive(Clone, Copy)]
pub enum Source<'t> {
    /// `:= expression`.
    Expr(&'t ast::Expr),
    /// The objects in another field, with derived members.
    Objects(FieldRef, &'t ast::TypeExpr),
}

impl Source<'_> {
    /// Its place.
    pub fn span(&self) -> Span {
        match self {
            Source::Expr(expr) => expr.span,
            Source::Objects(_, ty) => ty.span,
        }
    }
}

/// What is left of abstract types when their fields stand in the types that are one.
#[derive(Default)]
pub struct Abstract {
    /// The names of the types that are one, in the order of declaration, by the name of the abstract type.
    pub types: HashMap<SmolStr, Vec<SmolStr>>,
    /// The names of the fields of each, those of its own interfaces before them.
    pub fields: HashMap<SmolStr, Vec<ast::Ident>>,
    /// Root collections, each with the name of the abstract type.
    pub roots: Vec<(ast::Ident, SmolStr)>,
}

/// The sources of derived fields, which are typed later.
pub type Sources<'t> = Vec<(FieldRef, Source<'t>)>;

const RESERVED: [&str; 5] = ["self", "root", "ego", "parent", "id"];

/// Reads all declarations. Derived fields have no expression yet.
pub fn declare<'t>(
    tree: &'t ast::SchemaText,
    abstracts: &Abstract,
    ids: &mut Ids,
    found: &mut Vec<Diagnostic>,
) -> (Schema, Sources<'t>) {
    let mut schema = Schema {
        name: tree.name.as_ref().map_or("main".into(), |name| name.name.clone()),
        types: Vec::new(),
        roots: HashMap::new(),
        abstract_roots: HashMap::new(),
        plan: Plan::default(),
        shared: None,
        mounts: Vec::new(),
        uses: Uses::default(),
        by_id: HashMap::new(),
        ego: None,
    };
    let mut texts = Vec::new();
    for ty in &tree.types {
        declare_type(&mut schema, ty, ids, found);
        if schema.types.len() > texts.len() {
            texts.push(ty);
        }
    }
    declare_roots(&mut schema, abstracts, found);
    let mut declared = Declared {
        abstracts,
        sources: Vec::new(),
        parents: Vec::new(),
        ordered: Vec::new(),
        inverses: Vec::new(),
        among: Vec::new(),
        several: Vec::new(),
        objects: Vec::new(),
    };
    for (at, text) in texts.iter().enumerate() {
        let ty = TypeIx(at as u32);
        for field in &text.fields {
            declare_field(&mut schema, ty, field, &mut declared, ids, found);
        }
        lifetime::declare(&mut schema, ty, text, ids, found);
    }
    for collections in declared.several {
        several::add_collections(&mut schema, collections, &mut declared.parents, ids);
    }
    add_parents(&mut schema, &declared.parents, ids, found);
    for among in declared.among {
        add_parts(&mut schema, among, ids);
    }
    for (field, text) in &declared.objects {
        embed(&mut schema, *field, text, &mut declared.sources, ids);
    }
    add_positions(&mut schema, &declared.ordered, ids);
    for (field, text) in &declared.inverses {
        resolve_inverse(&mut schema, *field, text, abstracts, ids, found);
    }
    add_referrers(&mut schema);
    several::gather(&mut schema, abstracts, found);
    check_reverse_names(&schema, &texts, found);
    check_siblings(&schema, &texts, found);
    lifetime::check_holds(&schema, &texts, found);
    paths::declare(&mut schema, &texts, found);
    actors::declare(&mut schema, &texts, found);
    urls::declare(&mut schema, &texts, &mut declared.sources, ids, found);
    (schema, declared.sources)
}

struct Declared<'t, 'c> {
    /// What is known of abstract types.
    abstracts: &'c Abstract,
    sources: Sources<'t>,
    /// Collections, in the order of declaration.
    parents: Vec<(FieldRef, Span)>,
    /// Those of them that are ordered.
    ordered: Vec<FieldRef>,
    inverses: Vec<(FieldRef, &'t ast::FieldText)>,
    /// Links to one of several types.
    among: Vec<several::Among>,
    /// Collections of several types.
    several: Vec<Collections>,
    /// Stored fields, whose values may hold objects.
    objects: Vec<(FieldRef, &'t ast::TypeExpr)>,
}

pub(super) fn check_name(name: &ast::Ident, what: &str, found: &mut Vec<Diagnostic>) {
    let text = name.name.as_str();
    let reserved = RESERVED.contains(&text);
    let prefix = ["_", "link_", "parent_"].into_iter().find(|prefix| text.starts_with(prefix));
    if reserved {
        found.push(
            Diagnostic::error("reserved-name", name.span, format!("`{text}` is a word of the language"))
                .help("give it another name"),
        );
    } else if let Some(prefix) = prefix {
        found.push(
            Diagnostic::error(
                "reserved-name",
                name.span,
                format!("the name of {what} cannot start with `{prefix}`"),
            )
            .help("such names are the system's own"),
        );
    }
}

fn declare_type(schema: &mut Schema, text: &ast::TypeText, ids: &mut Ids, found: &mut Vec<Diagnostic>) {
    check_name(&text.name, "a type", found);
    if schema.type_named(&text.name.name).is_some() {
        let message = format!("there are two types `{}`", text.name.name);
        found.push(Diagnostic::error("duplicate-type", text.name.span, message));
        return;
    }
    let ix = TypeIx(schema.types.len() as u32);
    if let Some(root) = &text.root {
        check_name(root, "a root collection", found);
        if let Some(other) = schema.roots.insert(root.name.clone(), ix) {
            let message = format!("`{}` holds `{}` already", root.name, schema.ty(other).name);
            found.push(
                Diagnostic::error("duplicate-collection", root.span, message)
                    .help("each root collection holds one type"),
            );
        }
    }
    schema.types.push(ResourceType {
        id: ids.type_id(&text.name.name),
        name: text.name.name.clone(),
        root: text.root.as_ref().map(|root| root.name.clone()),
        fields: Vec::new(),
        by_name: HashMap::new(),
        parents: Vec::new(),
        gathered: Vec::new(),
        embedded: Vec::new(),
        lazy: Vec::new(),
        path: None,
        url: None,
        positions: Vec::new(),
        referrers: Vec::new(),
        expires: None,
        history: None,
        indexes: Vec::new(),
        indexed: Vec::new(),
        updated: None,
        told: Vec::new(),
    });
}

/// The root collections of abstract types: each lists the resources of all types that are one.
fn declare_roots(schema: &mut Schema, abstracts: &Abstract, found: &mut Vec<Diagnostic>) {
    for (root, name) in &abstracts.roots {
        check_name(root, "a root collection", found);
        let other = schema.roots.get(&root.name).map(|other| format!("`{}`", schema.ty(*other).name));
        let twice =
            schema.abstract_roots.contains_key(&root.name).then(|| "another abstract type".to_string());
        if let Some(other) = other.or(twice) {
            let message = format!("`{}` holds {other} already", root.name);
            found.push(
                Diagnostic::error("duplicate-collection", root.span, message)
                    .help("each root collection holds one type"),
            );
            continue;
        }
        let types = abstracts.types.get(name).into_iter().flatten();
        let types = types.filter_map(|name| schema.type_named(name)).collect();
        schema.abstract_roots.insert(root.name.clone(), types);
    }
}

pub(super) fn resolve_type(
    schema: &Schema,
    name: &ast::Ident,
    found: &mut Vec<Diagnostic>,
) -> Option<TypeIx> {
    let ty = schema.type_named(&name.name);
    if ty.is_none() {
        let diagnostic =
            Diagnostic::error("unknown-type", name.span, format!("there is no type `{}`", name.name));
        let types = schema.types.iter().map(|ty| ty.name.as_str());
        let near = nearest(&name.name, types).map(|near| format!("did you mean `{near}`?"));
        let value =
            BASIC.contains(&name.name.as_str()).then(|| format!("a value is written `{}`", name.name));
        found.push(diagnostic.maybe_help(value.or(near)));
    }
    ty
}

fn declare_field<'t>(
    schema: &mut Schema,
    ty: TypeIx,
    text: &'t ast::FieldText,
    declared: &mut Declared<'t, '_>,
    ids: &mut Ids,
    found: &mut Vec<Diagnostic>,
) {
    check_name(&text.name, "a field", found);
    let slot = Slot(schema.ty(ty).fields.len() as u32);
    let here = FieldRef { ty, slot };
    if schema.ty(ty).by_name.contains_key(&text.name.name) {
        let message = format!("`{}` has two fields `{}`", schema.ty(ty).name, text.name.name);
        found.push(Diagnostic::error("duplicate-field", text.name.span, message));
        return;
    }
    let (kind, context) = match &text.kind {
        FieldKindText::Stored(text) => {
            let Some(of) = field_type(schema, text, found) else { return };
            declared.objects.push((here, text));
            (FieldKind::Stored(of.clone()), Context::Value(of))
        }
        FieldKindText::Link(names) => match resolve_targets(schema, declared.abstracts, names, found) {
            None => return,
            Some(Targets::One(target)) => {
                (FieldKind::Link { target, on_delete: OnDelete::Unlink }, Context::Link)
            }
            Some(Targets::Several(targets)) => {
                declared.among.push(several::Among { here, targets, on_delete: OnDelete::Unlink });
                (FieldKind::Among { parts: Vec::new(), targets: Vec::new(), many: false }, Context::LinkAmong)
            }
        },
        FieldKindText::Links(names) => match resolve_targets(schema, declared.abstracts, names, found) {
            None => return,
            Some(Targets::One(target)) => {
                (FieldKind::Links { target, on_delete: OnDelete::Unlink }, Context::Links)
            }
            Some(Targets::Several(targets)) => {
                declared.among.push(several::Among { here, targets, on_delete: OnDelete::Unlink });
                (FieldKind::Among { parts: Vec::new(), targets: Vec::new(), many: true }, Context::Links)
            }
        },
        FieldKindText::Collection { children, ordered } => {
            match resolve_targets(schema, declared.abstracts, children, found) {
                None => return,
                Some(Targets::One(child)) => {
                    declared.parents.push((here, text.name.span));
                    if *ordered {
                        declared.ordered.push(here);
                    }
                    // The link is filled in when all collections are known.
                    (
                        FieldKind::Collection { child, via: FieldRef { ty: child, slot: Slot(u32::MAX) } },
                        Context::Reverse,
                    )
                }
                Some(Targets::Several(types)) => {
                    if *ordered {
                        several::refuse_order(children, found);
                        return;
                    }
                    declared.several.push(Collections { here, types, span: text.name.span });
                    (FieldKind::Several { parts: Vec::new(), owned: true }, Context::Reverse)
                }
            }
        }
        FieldKindText::Inverse { .. } => {
            declared.inverses.push((here, text));
            (FieldKind::Inverse { of: here }, Context::Reverse)
        }
        FieldKindText::Derived(expr) => {
            declared.sources.push((here, Source::Expr(expr)));
            let typed = Expr::constant(Value::Null, Kind::Null);
            let text = format_expression(expr);
            let kind =
                FieldKind::Derived { text, expr: typed, strict: false, background: false, lazy: false };
            (kind, Context::Derived)
        }
    };
    // A derived field has a number of its own kind: what follows is never taken for a fact of the same name later.
    let id = match &kind {
        FieldKind::Derived { .. } => ids.field_id(&schema.ty(ty).name, &format!("{} :=", text.name.name)),
        _ => ids.field_id(&schema.ty(ty).name, &text.name.name),
    };
    let mut field = Field {
        id,
        name: text.name.name.clone(),
        reference_index: matches!(kind, FieldKind::Link { .. } | FieldKind::Links { .. }),
        kind,
        rules: Rules::default(),
        index: false,
        parent_index: None,
        extended: None,
    };
    let options = read_options(&text.options, &context, found);
    field.rules = options.rules;
    field.index = options.index || field.rules.unique;
    field.parent_index = field.rules.unique_in_parent.then(|| ids.parent_index(field.id));
    field.rules.search = options.search.map(|by| Search { by, index: ids.search_index(field.id, by) });
    match &mut field.kind {
        FieldKind::Link { on_delete, .. } | FieldKind::Links { on_delete, .. } => {
            *on_delete = options.on_delete
        }
        FieldKind::Among { .. } => {
            if let Some(among) = declared.among.last_mut() {
                among.on_delete = options.on_delete;
            }
        }
        FieldKind::Derived { strict, background, lazy, .. } => {
            (*strict, *background, *lazy) = (options.strict, options.background, options.lazy);
        }
        _ => {}
    }
    let owner = &mut schema.types[ty.0 as usize];
    owner.by_name.insert(field.name.clone(), slot);
    owner.fields.push(field);
}

/// Gives the links in the objects of a stored field hidden fields that have their targets; and the objects, where they
/// have derived members, a hidden field with them as they are read.
fn embed<'t>(
    schema: &mut Schema,
    holder: FieldRef,
    text: &'t ast::TypeExpr,
    sources: &mut Sources<'t>,
    ids: &mut Ids,
) {
    let owner = &mut schema.types[holder.ty.0 as usize];
    let first = owner.fields.len();
    let (ty_name, field) = (owner.name.clone(), &mut owner.fields[holder.slot.0 as usize]);
    let name = field.name.clone();
    let hidden = |id, name, kind, reference_index| Field {
        id,
        name,
        kind,
        rules: Rules::default(),
        index: false,
        reference_index,
        parent_index: None,
        extended: None,
    };
    let mut added = Vec::new();
    if let FieldKind::Stored(ty) = &mut field.kind {
        ty.for_links(&name, &mut |path, member| {
            let ValueType::Link { target, on_delete, via } = &mut member.ty else { return };
            let kind = FieldKind::Embedded { of: holder.slot, target: *target, on_delete: *on_delete };
            *via = FieldRef { ty: holder.ty, slot: Slot((first + added.len()) as u32) };
            added.push(hidden(ids.field_id(&ty_name, path), format_smolstr!("#{path}"), kind, true));
        });
    }
    if has_derived_members(text) {
        let slot = Slot((first + added.len()) as u32);
        field.extended = Some(slot);
        sources.push((FieldRef { ty: holder.ty, slot }, Source::Objects(holder, text)));
        let expr = Expr::constant(Value::Null, Kind::Null);
        let text = format!("{name} with its derived members");
        let kind = FieldKind::Derived { text, expr, strict: false, background: false, lazy: false };
        let id = ids.field_id(&ty_name, &format!("{name} :="));
        added.push(hidden(id, format_smolstr!("#{name}"), kind, false));
    }
    owner.fields.extend(added);
}

/// Gives each child type a hidden link for each collection that may hold it.
fn add_parents(
    schema: &mut Schema,
    collections: &[(FieldRef, Span)],
    ids: &mut Ids,
    found: &mut Vec<Diagnostic>,
) {
    for (collection, span) in collections {
        let FieldKind::Collection { child, .. } = schema.field(*collection).kind else { continue };
        let name: SmolStr = parent_name(schema, *collection).into();
        if let Some(other) = schema.ty(child).by_name.get(&name) {
            let message = match &schema.ty(child).field(*other).kind {
                FieldKind::Parent { collection: other } => format!(
                    "the parent of a `{}` would be called `{name}` here and in `{}`",
                    schema.ty(child).name,
                    schema.ty(other.ty).name
                ),
                _ => format!("`{}` has a field `{name}` already", schema.ty(child).name),
            };
            let help = "rename one of the types, or one of the collections";
            found.push(Diagnostic::error("same-parent-name", *span, message).help(help));
            continue;
        }
        let field = Field {
            id: ids.field_id(&schema.ty(child).name, &name),
            name: name.clone(),
            kind: FieldKind::Parent { collection: *collection },
            rules: Rules { immutable: true, ..Rules::default() },
            index: false,
            parent_index: None,
            reference_index: true,
            extended: None,
        };
        let ty = &mut schema.types[child.0 as usize];
        let slot = Slot(ty.fields.len() as u32);
        ty.fields.push(field);
        ty.by_name.insert(name, slot);
        ty.parents.push(slot);
        let parent = &mut schema.types[collection.ty.0 as usize].fields[collection.slot.0 as usize];
        if let FieldKind::Collection { via, .. } = &mut parent.kind {
            *via = FieldRef { ty: child, slot };
        }
    }
}

/// Gives each child type a hidden position for each ordered collection that may hold it.
fn add_positions(schema: &mut Schema, ordered: &[FieldRef], ids: &mut Ids) {
    for collection in ordered {
        let FieldKind::Collection { child, via } = schema.field(*collection).kind else { continue };
        let ty = &mut schema.types[child.0 as usize];
        let Some(parent) = ty.fields.get(via.slot.0 as usize) else { continue };
        let name = format_smolstr!("#position_{}", parent.name);
        let id = ids.field_id(&ty.name, &name);
        let slot = Slot(ty.fields.len() as u32);
        ty.fields.push(Field {
            id,
            name,
            kind: FieldKind::Position { via: via.slot },
            rules: Rules::default(),
            index: false,
            parent_index: Some(ids.parent_index(id)),
            reference_index: false,
            extended: None,
        });
        ty.positions.push(Position { via: via.slot, slot });
    }
}

/// Two links to one type must not have the same reverse name: what it would lead to could not be told.
fn check_reverse_names(schema: &Schema, texts: &[&ast::TypeText], found: &mut Vec<Diagnostic>) {
    for (_, ty) in schema.types() {
        let mut named: HashMap<String, FieldRef> = HashMap::new();
        for of in &ty.referrers {
            if matches!(schema.field(*of).kind, FieldKind::Parent { .. }) {
                continue;
            }
            let name = reverse_name(schema, *of);
            let Some(other) = named.insert(name.clone(), *of) else { continue };
            let field = schema.field(*of).label();
            let field = field.trim_start_matches('#').split('.').next().unwrap_or_default();
            let span = texts[of.ty.0 as usize].fields.iter().find(|text| text.name.name == field);
            let Some(span) = span.map(|text| text.name.span) else { continue };
            let message = format!(
                "the reverse of this link would be called `{name}`, as that of `{}.{}`",
                schema.ty(other.ty).name,
                schema.field(other).label()
            );
            let help = "rename one of the types, or one of the links";
            found.push(Diagnostic::error("same-reverse-name", span, message).help(help));
        }
    }
}

/// What is unique in its parent must have one.
fn check_siblings(schema: &Schema, texts: &[&ast::TypeText], found: &mut Vec<Diagnostic>) {
    for (ty, text) in schema.types.iter().zip(texts).filter(|(ty, _)| ty.parents.is_empty()) {
        let options = text.fields.iter().flat_map(|field| &field.options);
        for option in options.filter(|option| option.name == "unique in parent") {
            let message = format!("a `{}` has no parent: no collection holds it", ty.name);
            let help = "write `unique` for what is unique among all of the type";
            found.push(Diagnostic::error("no-parent", option.span, message).help(help));
        }
    }
}

fn resolve_inverse(
    schema: &mut Schema,
    here: FieldRef,
    text: &ast::FieldText,
    abstracts: &Abstract,
    ids: &mut Ids,
    found: &mut Vec<Diagnostic>,
) {
    let FieldKindText::Inverse { of_type, of_field } = &text.kind else { return };
    if let Some(fields) = abstracts.fields.get(&of_type.name) {
        let types = abstracts.types.get(&of_type.name).into_iter().flatten();
        let types: Vec<TypeIx> = types.filter_map(|name| schema.type_named(name)).collect();
        if !fields.iter().any(|field| field.name == of_field.name) {
            let message = format!("`{}` has no field `{}`", of_type.name, of_field.name);
            let near = nearest(&of_field.name, fields.iter().map(|field| field.name.as_str()));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            found.push(Diagnostic::error("unknown-field", of_field.span, message).maybe_help(help));
            return;
        }
        // What is wrong with it is the same of each type.
        let mut links = Vec::with_capacity(types.len());
        for ty in types {
            match leading_here(schema, here, ty, of_type, of_field) {
                Ok(link) => links.push(link),
                Err(mistake) => return found.push(mistake),
            }
        }
        return several::add_inverses(schema, here, &links, ids);
    }
    let Some(ty) = resolve_type(schema, of_type, found) else { return };
    match leading_here(schema, here, ty, of_type, of_field) {
        Ok(of) => {
            let field = &mut schema.types[here.ty.0 as usize].fields[here.slot.0 as usize];
            field.kind = FieldKind::Inverse { of };
        }
        Err(mistake) => found.push(mistake),
    }
}

/// The link, or links, of a type that an inverse names, as far as it leads to the type of the inverse.
fn leading_here(
    schema: &Schema,
    here: FieldRef,
    ty: TypeIx,
    of_type: &ast::Ident,
    of_field: &ast::Ident,
) -> Result<FieldRef, Diagnostic> {
    let Some((slot, _)) = schema.ty(ty).named(&of_field.name) else {
        let message = format!("`{}` has no field `{}`", of_type.name, of_field.name);
        let diagnostic = Diagnostic::error("unknown-field", of_field.span, message);
        let links = schema.ty(ty).fields.iter().filter(|field| {
            let is_link = matches!(
                field.kind,
                FieldKind::Link { .. } | FieldKind::Links { .. } | FieldKind::Collection { .. }
            );
            (is_link && field.visible()) || matches!(field.kind, FieldKind::Among { .. })
        });
        let near = nearest(&of_field.name, links.map(|field| field.name.as_str()));
        return Err(diagnostic.maybe_help(near.map(|near| format!("did you mean `{near}`?"))));
    };
    // Of a link to one of several types, the part that leads here.
    let here_part = |part: &&Slot| schema.ty(ty).link_target(**part) == Some(here.ty);
    let slot = schema.ty(ty).parts(slot).iter().find(here_part).copied().unwrap_or(slot);
    let message = match &schema.ty(ty).field(slot).kind {
        FieldKind::Link { target, .. } | FieldKind::Links { target, .. } if *target == here.ty => {
            return Ok(FieldRef { ty, slot });
        }
        FieldKind::Link { target, .. } | FieldKind::Links { target, .. } => format!(
            "`{}.{}` links to `{}`, not to `{}`",
            of_type.name,
            of_field.name,
            schema.ty(*target).name,
            schema.ty(here.ty).name
        ),
        FieldKind::Among { .. } => {
            format!("`{}.{}` leads to no `{}`", of_type.name, of_field.name, schema.ty(here.ty).name)
        }
        _ => {
            let message = format!("`{}.{}` is not a link", of_type.name, of_field.name);
            return Err(Diagnostic::error("not-a-link", of_field.span, message)
                .help("an inverse lists the resources whose link, or links, point here"));
        }
    };
    Err(Diagnostic::error("inverse-target", of_field.span, message))
}

fn add_referrers(schema: &mut Schema) {
    let mut referrers = vec![Vec::new(); schema.types.len()];
    for (ty, of) in schema.types() {
        for (slot, field) in of.slots() {
            let target = match &field.kind {
                FieldKind::Link { target, .. }
                | FieldKind::Links { target, .. }
                | FieldKind::Embedded { target, .. } => *target,
                FieldKind::Parent { collection } => collection.ty,
                _ => continue,
            };
            referrers[target.0 as usize].push(FieldRef { ty, slot });
        }
    }
    for (ty, referrers) in schema.types.iter_mut().zip(referrers) {
        ty.referrers = referrers;
    }
}
