//! What an expression reads, and by which path from its `self`.

use super::{Hop, Start};
use crate::model::{FieldRef, TypeIx};
use crate::typed::{Aggregate, Expr, Kind, Node};

/// One field that an expression reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// The field.
    pub field: FieldRef,
    /// From `self` to where the walk back starts.
    pub path: Vec<Hop>,
    /// Where the walk back starts when the field changes.
    pub start: Start,
}

/// The paths that may lead from `self` to the resources that an expression yields.
type Paths = Vec<Vec<Hop>>;

/// All that an expression reads, whose `self` is a resource of the type `subject`. A change of anything else cannot change its value.
pub fn reads(expr: &Expr, subject: TypeIx) -> Vec<Read> {
    let mut found = Vec::new();
    let mut items = Vec::new();
    collect(expr, &mut items, &mut found, subject);
    found.dedup();
    found
}

/// The fields that an expression reads.
pub fn fields(expr: &Expr) -> Vec<FieldRef> {
    // Whose expression it is only says where the ways back lead, and those are left out.
    reads(expr, TypeIx(0)).into_iter().map(|read| read.field).collect()
}

fn collect(expr: &Expr, items: &mut Vec<Paths>, found: &mut Vec<Read>, subject: TypeIx) -> Paths {
    match &expr.node {
        Node::Owner => vec![Vec::new()],
        Node::Item(depth) => {
            let at = items.len().checked_sub(1 + *depth as usize);
            at.and_then(|at| items.get(at)).cloned().unwrap_or_default()
        }
        Node::Const(_) | Node::Now => Vec::new(),
        Node::All(_) | Node::Shared => vec![vec![Hop::Everywhere(subject)]],
        Node::Get(base, field) => {
            let paths = collect(base, items, found, subject);
            for path in &paths {
                found.push(Read { field: *field, path: path.clone(), start: Start::Changed });
            }
            match expr.ty.kind {
                Kind::Resource(_) => extend(paths, Hop::Link(*field)),
                // The paths of an object are those to the resource that holds it, from where its links lead on.
                Kind::Object(_) | Kind::Map(_) => paths,
                _ => Vec::new(),
            }
        }
        Node::Extend(base, members) => {
            let paths = collect(base, items, found, subject);
            collect_of_items(&paths, members.iter().map(|(_, member)| member), items, found, subject);
            paths
        }
        Node::Member(base, name) => {
            let paths = collect(base, items, found, subject);
            match (&base.ty.kind, &expr.ty.kind) {
                (Kind::Object(members), Kind::Resource(_)) => {
                    let member = members.iter().find(|member| member.name == *name);
                    match member.and_then(|member| member.ty.via()) {
                        Some(via) => extend(paths, Hop::Link(via)),
                        None => Vec::new(),
                    }
                }
                (_, Kind::Object(_) | Kind::Map(_)) => paths,
                _ => Vec::new(),
            }
        }
        Node::Reverse(base, of) => {
            let paths = collect(base, items, found, subject);
            for path in &paths {
                found.push(Read { field: *of, path: path.clone(), start: Start::Targets });
            }
            extend(paths, Hop::Reverse(*of))
        }
        Node::Each(base, _, body) => {
            let paths = collect(base, items, found, subject);
            items.push(paths);
            let paths = collect(body, items, found, subject);
            items.pop();
            paths
        }
        Node::Filter(base, condition) => {
            let paths = collect(base, items, found, subject);
            collect_of_items(&paths, [&**condition], items, found, subject);
            paths
        }
        Node::Order(base, keys) => {
            let paths = collect(base, items, found, subject);
            collect_of_items(&paths, keys.iter().map(|(key, _)| key), items, found, subject);
            paths
        }
        Node::At(base, _) | Node::Slice(base, ..) => collect(base, items, found, subject),
        Node::Aggregate(aggregate, base) => {
            let paths = collect(base, items, found, subject);
            match aggregate {
                Aggregate::First | Aggregate::Last | Aggregate::Collect | Aggregate::Distinct => paths,
                _ => Vec::new(),
            }
        }
        Node::GroupBy(it) => {
            let paths = collect(&it.list, items, found, subject);
            collect_of_items(&paths, [&it.by].into_iter().chain(&it.value), items, found, subject);
            Vec::new()
        }
        Node::Conditional(condition, then, otherwise) => {
            collect(condition, items, found, subject);
            let mut paths = collect(then, items, found, subject);
            paths.extend(collect(otherwise, items, found, subject));
            paths
        }
        Node::Switch(value, cases, otherwise) => {
            collect(value, items, found, subject);
            let mut paths = Vec::new();
            for (key, value) in cases {
                collect(key, items, found, subject);
                paths.extend(collect(value, items, found, subject));
            }
            if let Some(otherwise) = otherwise {
                paths.extend(collect(otherwise, items, found, subject));
            }
            paths
        }
        Node::Binary(_, left, right) => {
            let mut paths = collect(left, items, found, subject);
            paths.extend(collect(right, items, found, subject));
            if leads_on(&expr.ty.kind) { paths } else { Vec::new() }
        }
        Node::Call(_, parts) | Node::List(parts) | Node::Either(parts) => {
            let mut paths = Vec::new();
            for part in parts {
                paths.extend(collect(part, items, found, subject));
            }
            if leads_on(&expr.ty.kind) { paths } else { Vec::new() }
        }
        Node::Script(script) => {
            script.using.iter().for_each(|(_, part)| drop(collect(part, items, found, subject)));
            Vec::new()
        }
        Node::IdOf(base) | Node::Unary(_, base) | Node::Matches(base, _) => {
            collect(base, items, found, subject);
            Vec::new()
        }
    }
}

/// What expressions read whose innermost item is each of what these paths lead to.
fn collect_of_items<'e>(
    paths: &Paths,
    parts: impl IntoIterator<Item = &'e Expr>,
    items: &mut Vec<Paths>,
    found: &mut Vec<Read>,
    subject: TypeIx,
) {
    items.push(paths.clone());
    for part in parts {
        collect(part, items, found, subject);
    }
    items.pop();
}

/// May links be followed from such a value?
fn leads_on(kind: &Kind) -> bool {
    matches!(kind, Kind::Resource(_) | Kind::Among(_) | Kind::Object(_) | Kind::Map(_))
}

fn extend(mut paths: Paths, hop: Hop) -> Paths {
    for path in &mut paths {
        path.push(hop);
    }
    paths
}

/// The types of which an expression reads all resources.
pub fn surveys(expr: &Expr) -> Vec<TypeIx> {
    let mut found = Vec::new();
    if let Node::All(ty) = expr.node {
        found.push(ty);
    }
    expr.for_parts(&mut |part, _| found.extend(surveys(part)));
    found
}
