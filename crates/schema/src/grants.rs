//! What a grant covers: the resources at a path of collections, and all that they own.
//!
//! ```text
//! /                                     everything
//! /divisions                            all divisions, and what is below them
//! /divisions/*/sections                 the sections of all divisions
//! /divisions/north                      one division
//! /documents[owner = ego]               those for which a condition holds
//! /divisions[head = ego]/*/sections     the sections of some divisions
//! ```
//!
//! A condition is one over the resources of its step, as a filter of a list is; `ego` in it is the resource of who asks
//! ([`Schema::ego`]). What comes out is, for each type, a condition over its own resources: one over a parent is asked through
//! the links that lead there. So lists, watches and single reads ask the same thing in the same way, and it is found by the indexes
//! that find other conditions.
//!
//! Links are not followed: what a covered resource links to is covered where its own path is.

use std::collections::BTreeSet;

use corollary_syntax::ast::BinaryOp;
use corollary_syntax::{nearest, parse_expression};
use corollary_value::{Id, Value};
use smol_str::SmolStr;

use crate::expr::{EGO, Place, check_given, is_condition};
use crate::model::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use crate::mounts::and;
use crate::typed::{Expr, Kind, Node, Type, mentions_now};

/// Steps of the path of a grant, at most.
pub const MAX_STEPS: usize = 32;

/// Parts of the condition that a grant comes to for a type, at most: one for each way by which it may be owned.
const MAX_WAYS: usize = 64;

/// Which resources of a type are covered.
#[derive(Clone, Debug, PartialEq)]
pub enum Extent {
    /// All.
    All,
    /// Those for which this holds. `ego` in it is the item outside of all others: [`Extent::for_ego`].
    Where(Expr),
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Covers {
    /// Each type of which resources may be covered, in the order of types.
    pub by_type: Vec<(TypeIx, Extent)>,
    /// Does it ask who asks? Then it is for nobody who has no resource.
    pub asks_ego: bool,
}

impl Covers {
    /// What of a type is covered; none where nothing is.
    pub fn of(&self, ty: TypeIx) -> Option<&Extent> {
        let at = self.by_type.binary_search_by_key(&ty, |(ty, _)| *ty).ok()?;
        Some(&self.by_type[at].1)
    }

    fn add(&mut self, ty: TypeIx, extent: Extent) {
        match self.by_type.binary_search_by_key(&ty, |(ty, _)| *ty) {
            Err(at) => self.by_type.insert(at, (ty, extent)),
            Ok(at) => match (&mut self.by_type[at].1, extent) {
                (Extent::All, _) => {}
                (known, Extent::All) => *known = Extent::All,
                (Extent::Where(known), Extent::Where(more)) => {
                    *known = both(BinaryOp::Or, known.clone(), more);
                }
            },
        }
    }
}

impl Extent {
    /// The condition, where the resource of who asks is known; none where it holds of all.
    pub fn for_ego(&self, schema: &Schema, ego: Option<&Id>) -> Option<Expr> {
        let Extent::Where(condition) = self else { return None };
        Some(match (schema.ego, ego) {
            (Some(field), Some(ego)) => {
                let ego = Expr::constant(Value::Ref(ego.clone()), Kind::Resource(field.ty));
                with_item(condition.clone(), 0, &ego)
            }
            _ => condition.clone(),
        })
    }
}

/// The same with a value in the place of the item that is so far out.
fn with_item(expr: Expr, depth: u32, value: &Expr) -> Expr {
    match expr.node {
        Node::Item(at) if at == depth => value.clone(),
        _ => expr.map_parts(&mut |part, deeper| with_item(part, depth + deeper, value)),
    }
}

fn asks_item(expr: &Expr, depth: u32) -> bool {
    let mut found = expr.node == Node::Item(depth);
    expr.for_parts(&mut |part, deeper| found = found || asks_item(part, depth + deeper));
    found
}

/// Reads what the path of a grant covers.
///
/// # Errors
///
/// What is wrong with it, in a sentence.
pub fn covers(schema: &Schema, path: &str) -> Result<Covers, String> {
    let steps = steps(path)?;
    let Some((first, behind)) = steps.split_first() else {
        let types = schema.types().filter(|(_, ty)| ty.visible());
        return Ok(Covers { by_type: types.map(|(ty, _)| (ty, Extent::All)).collect(), asks_ego: false });
    };
    let root = first.collection;
    let Some(ty) = schema.roots.get(root) else {
        let near = nearest(root, schema.roots.keys().map(SmolStr::as_str));
        let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return Err(format!("there is no root collection of one type `{root}`{help}"));
    };
    let mut at = Standing { ty: *ty, entry: Entry::Root, condition: stands_at_root(schema, *ty) };
    let mut plain = at.choose(schema, first)?;
    for step in behind {
        let resource = schema.ty(at.ty);
        let name = step.collection;
        let via = match resource.named(name).map(|(_, field)| &field.kind) {
            Some(FieldKind::Collection { via, .. }) => *via,
            Some(_) => return Err(format!("`{name}` of `{}` is no collection of one type", resource.name)),
            None => {
                let near = nearest(name, resource.by_name.keys().map(SmolStr::as_str));
                let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(format!("`{}` has no collection `{name}`{help}", resource.name));
            }
        };
        at = at.child(schema, via);
        plain &= at.choose(schema, step)?;
    }
    let mut covers = Covers::default();
    if plain {
        for ty in whole_types(schema, &at) {
            covers.add(ty, Extent::All);
        }
    }
    descend(schema, at, &mut Vec::new(), &mut 0, &mut covers)?;
    covers.asks_ego = covers.by_type.iter().any(|(_, extent)| match extent {
        Extent::All => false,
        Extent::Where(condition) => asks_item(condition, 0),
    });
    Ok(covers)
}

/// A step of a path, as it is written.
struct Step<'t> {
    collection: &'t str,
    /// What stands in its brackets.
    condition: Option<&'t str>,
    /// The one that is chosen; none where all are.
    id: Option<&'t str>,
}

/// The steps of a path: a collection, perhaps a condition in brackets, and behind it `*` or an id, which the last one may do without.
fn steps(path: &str) -> Result<Vec<Step<'_>>, String> {
    let Some(mut rest) = path.strip_prefix('/') else {
        return Err("a path begins with `/`, as in `/divisions/*/sections`".into());
    };
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == MAX_STEPS {
            return Err(format!("a path has at most {MAX_STEPS} collections"));
        }
        let end = rest.find(['/', '[']).unwrap_or(rest.len());
        let (collection, behind) = rest.split_at(end);
        if collection.is_empty() {
            return Err(format!("the name of a collection is missing before `{rest}`"));
        }
        rest = behind;
        let mut step = Step { collection, condition: None, id: None };
        if rest.starts_with('[') {
            let end = closing(rest).ok_or_else(|| format!("`{rest}` ends without `]`"))?;
            step.condition = Some(&rest[1..end]);
            rest = &rest[end + 1..];
        }
        if let Some(behind) = rest.strip_prefix('/') {
            let end = behind.find('/').unwrap_or(behind.len());
            let (id, behind) = behind.split_at(end);
            match id {
                "" => return Err(format!("behind `{collection}/` stands `*` or an id")),
                "*" => {}
                id => step.id = Some(id),
            }
            rest = match behind.strip_prefix('/') {
                Some("") => return Err(format!("behind `{id}/` stands the name of a collection")),
                Some(behind) => behind,
                None => "",
            };
        } else if !rest.is_empty() {
            return Err(format!("`{rest}` cannot stand behind the brackets of `{collection}`"));
        }
        steps.push(step);
    }
    Ok(steps)
}

/// Where the bracket closes that a text begins with.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '(' | '{') => depth += 1,
            (None, ']' | ')' | '}') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return (c == ']').then_some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// How a resource of a type comes to stand where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Root,
    Under(Slot),
}

/// All ways in which resources of a type may stand somewhere.
fn entries(schema: &Schema, ty: TypeIx) -> impl Iterator<Item = Entry> + '_ {
    let resource = schema.ty(ty);
    let root = resource.root.as_ref().map(|_| Entry::Root);
    root.into_iter().chain(resource.parents.iter().map(|slot| Entry::Under(*slot)))
}

/// Resources of a type, at one of the places where they may stand.
#[derive(Clone)]
struct Standing {
    ty: TypeIx,
    entry: Entry,
    /// What holds of them; none where it is all of the type.
    condition: Option<Expr>,
}

impl Standing {
    /// The children that lead here by a link to their parent.
    fn child(&self, schema: &Schema, via: FieldRef) -> Standing {
        let link = parent(via, self.ty);
        let above = self.condition.clone().map(|condition| over(condition, &link));
        // What stands elsewhere has no such parent, and of nothing a condition may hold as well.
        let is_here = entries(schema, via.ty).nth(1).map(|_| both(BinaryOp::NotEqual, link, null()));
        Standing { ty: via.ty, entry: Entry::Under(via.slot), condition: and(is_here, above) }
    }

    /// Chooses among them as a step does; was nothing chosen?
    fn choose(&mut self, schema: &Schema, step: &Step<'_>) -> Result<bool, String> {
        let mut chosen = match step.id {
            Some(id) => {
                let known = Id::parse(id).map_err(|error| format!("`{id}`: {error}"))?;
                let own = Expr { node: Node::IdOf(Box::new(Expr::owner(self.ty))), ty: Type::one(Kind::Str) };
                let id = Expr::constant(Value::Str(known.to_string().into()), Kind::Str);
                Some(both(BinaryOp::Equal, own, id))
            }
            None => None,
        };
        if let Some(text) = step.condition {
            chosen = and(chosen, Some(condition(schema, self.ty, text)?));
        }
        let plain = chosen.is_none();
        self.condition = and(self.condition.take(), chosen);
        Ok(plain)
    }
}

/// The condition in the brackets of a step.
fn condition(schema: &Schema, ty: TypeIx, text: &str) -> Result<Expr, String> {
    let told = |message: &str, at: u32| {
        let column = text.get(..at as usize).map_or(0, |before| before.chars().count()) + 1;
        format!("`[{text}]`, column {column}: {message}")
    };
    let parsed = parse_expression(text);
    if let Some(first) = parsed.diagnostics.first() {
        return Err(told(&first.message, first.span.start));
    }
    let given: Vec<_> =
        schema.ego.map(|field| (EGO.into(), Type::one(Kind::Resource(field.ty)))).into_iter().collect();
    let (expr, found) = check_given(schema, Place::Query(ty), &given, &parsed.tree);
    if let Some(first) = found.first() {
        let help = first.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
        return Err(told(&format!("{}{help}", first.message), first.span.start));
    }
    if !is_condition(&expr.ty) {
        let is = expr.ty.describe(&|ty| schema.ty(ty).name.clone());
        return Err(told(&format!("a condition must be true or false, and this is {is}"), 0));
    }
    if mentions_now(&expr) {
        let message = "a grant does not ask for the time, which changes without a commit: derive a stored field that does";
        return Err(told(message, 0));
    }
    Ok(expr)
}

/// What holds of those of a type that stand in its root collection and below nothing; none where that is all of them.
fn stands_at_root(schema: &Schema, ty: TypeIx) -> Option<Expr> {
    let parents = schema.ty(ty).parents.iter();
    let none = parents.filter_map(|slot| {
        let via = FieldRef { ty, slot: *slot };
        let FieldKind::Parent { collection } = schema.field(via).kind else { return None };
        Some(both(BinaryOp::Equal, parent(via, collection.ty), null()))
    });
    none.reduce(|left, right| both(BinaryOp::And, left, right))
}

/// The types all of whose resources are covered where everything at a place is.
fn whole_types(schema: &Schema, place: &Standing) -> Vec<TypeIx> {
    let all = schema.types().flat_map(|(ty, _)| entries(schema, ty).map(move |entry| (ty, entry)));
    let begins = (place.ty, place.entry);
    // What is owned by something that is covered is covered: all that nothing speaks against.
    let is_owned = |(_, entry): &(TypeIx, Entry)| matches!(entry, Entry::Under(_));
    let mut covered: BTreeSet<(TypeIx, Entry)> = all.filter(|it| is_owned(it) || *it == begins).collect();
    let is_whole = |covered: &BTreeSet<(TypeIx, Entry)>, ty: TypeIx| {
        let mut some = entries(schema, ty).peekable();
        some.peek().is_some() && some.all(|entry| covered.contains(&(ty, entry)))
    };
    // At the place itself stands all that does if what is above it is all there is.
    let is_sure = |at: &(TypeIx, Entry)| *at == begins && place.is_all_of_entry(schema);
    loop {
        let gone: Vec<(TypeIx, Entry)> = covered
            .iter()
            .filter(|at| !is_sure(at))
            .filter(|(ty, entry)| match entry {
                Entry::Root => true,
                Entry::Under(slot) => match schema.field(FieldRef { ty: *ty, slot: *slot }).kind {
                    FieldKind::Parent { collection } => !is_whole(&covered, collection.ty),
                    _ => true,
                },
            })
            .copied()
            .collect();
        if gone.is_empty() {
            break;
        }
        covered.retain(|at| !gone.contains(at));
    }
    schema.types().map(|(ty, _)| ty).filter(|ty| is_whole(&covered, *ty)).collect()
}

impl Standing {
    /// Is it all that has come to stand there in this way? Where a condition is one over what is further up, it may not be.
    fn is_all_of_entry(&self, schema: &Schema) -> bool {
        match (self.entry, &self.condition) {
            (_, None) => true,
            (Entry::Root, Some(condition)) => stands_at_root(schema, self.ty).as_ref() == Some(condition),
            (Entry::Under(slot), Some(condition)) => {
                let via = FieldRef { ty: self.ty, slot };
                let FieldKind::Parent { collection } = schema.field(via).kind else { return false };
                *condition == both(BinaryOp::NotEqual, parent(via, collection.ty), null())
            }
        }
    }
}

/// Adds what is at a place and all that it owns. `above` are the types on the way to it.
fn descend(
    schema: &Schema,
    at: Standing,
    above: &mut Vec<TypeIx>,
    ways: &mut usize,
    covers: &mut Covers,
) -> Result<(), String> {
    if covers.of(at.ty) == Some(&Extent::All) {
        // So is all that it owns by its own collections, which is not to say that all of that type is.
        if above.contains(&at.ty) {
            return Ok(());
        }
    } else if above.contains(&at.ty) {
        let name = &schema.ty(at.ty).name;
        return Err(format!(
            "a `{name}` may be below another one, any number of times: what is below some of them cannot be granted, only what is below all"
        ));
    }
    *ways += 1;
    if *ways > MAX_WAYS {
        return Err(format!(
            "what is below may be owned in more than {MAX_WAYS} ways: grant less of it at a time"
        ));
    }
    covers.add(at.ty, at.condition.clone().map_or(Extent::All, Extent::Where));
    let mut at = at;
    if covers.of(at.ty) == Some(&Extent::All) {
        // Whichever way it stands there: what it owns is covered below all of them.
        at.condition = None;
    }
    above.push(at.ty);
    for (ty, resource) in schema.types() {
        for slot in &resource.parents {
            let via = FieldRef { ty, slot: *slot };
            match schema.field(via).kind {
                FieldKind::Parent { collection } if collection.ty == at.ty => {
                    descend(schema, at.child(schema, via), above, ways, covers)?;
                }
                _ => {}
            }
        }
    }
    above.pop();
    Ok(())
}

/// The link to a parent of a type, off `self`.
fn parent(via: FieldRef, to: TypeIx) -> Expr {
    Expr { node: Node::Get(Box::new(Expr::owner(via.ty)), via), ty: Type::one(Kind::Resource(to)) }
}

/// The same of what a link leads to.
fn over(expr: Expr, link: &Expr) -> Expr {
    match expr.node {
        Node::Owner => link.clone(),
        _ => expr.map_parts(&mut |part, _| over(part, link)),
    }
}

fn null() -> Expr {
    Expr::constant(Value::Null, Kind::Null)
}

fn both(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr { node: Node::Binary(op, Box::new(left), Box::new(right)), ty: Type::one(Kind::Bool) }
}
