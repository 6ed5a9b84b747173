//! Resources of one of several types: what is asked of one is asked of each type that it may be.
//!
//! A link to one of several types is a hidden link to each of them, of which one is set. So an expression that may lead to
//! several types is a [`Node::Either`] with a part for each, and every step on from there is taken in each part, typed by
//! its own type. In the end stand values of one kind, and plain paths of links that the plan keeps true as any other.
//!
//! Sums, counts and averages over several types are those of each type put together: each part is kept by a group of its
//! own. What has no such form is computed anew from the whole list.

use corollary_syntax::ast::BinaryOp;
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;
use corollary_value::{Id, Value};

use super::{Checker, new, unknown};
use crate::model::{Schema, TypeIx};
use crate::typed::{Aggregate, Expr, Kind, Many, Node, Type};

/// What takes several types only where something is said of each.
pub(super) fn in_one_piece(span: Span, is: &str) -> Diagnostic {
    let message = format!("this is {is}, and nothing can be made of several types in one piece");
    Diagnostic::error("several-types", span, message).help(
        "name a field of them, as in `self.customer.name`, or ask `type(…)`, `id(…)` or `path(…)` of one",
    )
}

impl Checker<'_> {
    /// The refusal of resources of several types where a value must be of one kind.
    pub(super) fn several(&self, span: Span, ty: &Type) -> Expr {
        self.report(in_one_piece(span, &self.describe(ty)))
    }

    /// The same step from each of several types; `name` is what it is called.
    pub(super) fn of_each(&self, of: Expr, name: &str, span: Span, step: &dyn Fn(Expr) -> Expr) -> Expr {
        let Node::Either(alternatives) = of.node else { return unknown() };
        let mut parts = Vec::with_capacity(alternatives.len());
        for alternative in alternatives {
            let so_far = self.found.borrow().len();
            let from = alternative.ty.resource();
            let part = step(alternative);
            // A mistake is told of the first type that has it.
            if self.found.borrow().len() > so_far {
                return unknown();
            }
            if let Some((first, other)) = parts.first()
                && let Some(mistake) = self.differ(name, span, (*first, other), (from, &part))
            {
                return self.report(mistake);
            }
            parts.push((from, part));
        }
        either(parts.into_iter().map(|(_, part)| part).collect())
    }

    /// That something is not the same of two types.
    fn differ(
        &self,
        name: &str,
        span: Span,
        (first, one): (Option<TypeIx>, &Expr),
        (second, other): (Option<TypeIx>, &Expr),
    ) -> Option<Diagnostic> {
        let texts = |kind: &Kind| matches!(kind, Kind::Str | Kind::Enum(_));
        let resources = |kind: &Kind| matches!(kind, Kind::Resource(_) | Kind::Among(_));
        let (left, right) = (&one.ty.kind, &other.ty.kind);
        let same = left == right || (texts(left) && texts(right)) || (resources(left) && resources(right));
        // What is not known yet, as in fields that need each other, fits everywhere.
        let unknown = *left == Kind::Null || *right == Kind::Null;
        if unknown || (same && one.ty.is_many() == other.ty.is_many()) {
            return None;
        }
        let of = |ty: Option<TypeIx>| ty.map_or("resource".into(), |ty| self.schema().ty(ty).name.clone());
        let (one, other) = (self.describe(&one.ty), self.describe(&other.ty));
        let message = format!("`{name}` is {one} of a `{}`, and {other} of a `{}`", of(first), of(second));
        Some(
            Diagnostic::error("types-differ", span, message)
                .help("put a field that they have in common into an abstract type"),
        )
    }

    /// Whether two resources are the same one, where at least one may be of several types.
    pub(super) fn same_resource(&self, op: BinaryOp, left: Expr, right: Expr, span: Span) -> Option<Expr> {
        let is_null = |expr: &Expr| expr.ty.kind == Kind::Null;
        let bool = |node| new(node, Type::one(Kind::Bool));
        let equal =
            |left: Expr, right: Expr| bool(Node::Binary(BinaryOp::Equal, Box::new(left), Box::new(right)));
        let both = |op: BinaryOp| {
            move |left: Expr, right: Expr| bool(Node::Binary(op, Box::new(left), Box::new(right)))
        };
        let (left, right) =
            if matches!(left.ty.kind, Kind::Among(_)) { (left, right) } else { (right, left) };
        let same = match (&right.node, &right.ty.kind) {
            _ if is_null(&right) => equal(left, right),
            // An id: that of a resource of any of the types.
            (Node::Const(Value::Str(text)), _) => {
                let id = match Id::parse(text) {
                    Ok(id) => id,
                    Err(error) => {
                        return Some(self.report(Diagnostic::error("literal", span, error.to_string())));
                    }
                };
                let of_each = alternatives(&left).into_iter().map(|(ty, part)| {
                    let id = Expr::constant(Value::Ref(id.clone()), Kind::Resource(ty));
                    equal(part, id)
                });
                of_each.reduce(both(BinaryOp::Or))?
            }
            // The same of each type: what it is not, both are not.
            (_, Kind::Among(_) | Kind::Resource(_)) => {
                let (left, right) = (alternatives(&left), alternatives(&right));
                let mut types: Vec<TypeIx> = left.iter().map(|(ty, _)| *ty).collect();
                types.extend(right.iter().map(|(ty, _)| *ty));
                types.sort();
                types.dedup();
                let of = |parts: &[(TypeIx, Expr)], ty: TypeIx| {
                    let part = parts.iter().find(|(of, _)| *of == ty);
                    part.map_or_else(unknown, |(_, part)| part.clone())
                };
                let of_each = types.into_iter().map(|ty| equal(of(&left, ty), of(&right, ty)));
                of_each.reduce(both(BinaryOp::And))?
            }
            _ => return None,
        };
        Some(match op {
            BinaryOp::NotEqual => bool(Node::Unary(corollary_syntax::ast::UnaryOp::Not, Box::new(same))),
            _ => same,
        })
    }

    /// An aggregate over several types as one of each; none where it has no such form.
    pub(super) fn aggregate_of_each(&self, aggregate: Aggregate, list: &Expr, span: Span) -> Option<Expr> {
        let Node::Either(parts) = &list.node else { return None };
        let ty = match self.result_type(aggregate, &list.ty, span) {
            Ok(ty) => ty,
            Err(told) => return Some(told),
        };
        // Resources of one type count once, by whichever way they are reached.
        if list.ty.resource().is_some() && !is_exclusive(parts, self.schema()) {
            return None;
        }
        let kind = &list.ty.kind;
        let each = |aggregate: Aggregate| -> Option<Vec<Expr>> {
            let of_part = |part: &Expr| {
                let ty = self.result_type(aggregate, &part.ty, span).ok()?;
                Some(new(Node::Aggregate(aggregate, Box::new(part.clone())), ty))
            };
            parts.iter().map(of_part).collect()
        };
        let together = |op: BinaryOp, parts: Vec<Expr>, ty: &Type| {
            let both = |left, right| new(Node::Binary(op, Box::new(left), Box::new(right)), ty.clone());
            parts.into_iter().reduce(both)
        };
        let free = matches!(kind, Kind::Json | Kind::Null);
        match aggregate {
            Aggregate::Count => together(BinaryOp::Add, each(aggregate)?, &ty),
            Aggregate::Sum if !free => together(BinaryOp::Add, each(aggregate)?, &ty),
            Aggregate::Average if !free => {
                let sum = together(BinaryOp::Add, each(Aggregate::Sum)?, &Type::one(kind.clone()))?;
                let int = Type::one(Kind::Int);
                let count = together(BinaryOp::Add, each(Aggregate::Count)?, &int)?;
                let zero = Box::new(Expr::constant(Value::Int(0), Kind::Int));
                let none = Node::Binary(BinaryOp::Equal, Box::new(count.clone()), zero);
                let none = new(none, Type::one(Kind::Bool));
                let mean = Node::Binary(BinaryOp::Divide, Box::new(sum), Box::new(count));
                let mean = new(mean, ty.clone());
                Some(new(Node::Conditional(Box::new(none), Box::new(unknown()), Box::new(mean)), ty))
            }
            Aggregate::Any => together(BinaryOp::Or, each(aggregate)?, &ty),
            Aggregate::All => together(BinaryOp::And, each(aggregate)?, &ty),
            Aggregate::Min | Aggregate::Max => {
                let of_each = Type { kind: kind.clone(), many: Many::List };
                let of_each = new(Node::List(each(aggregate)?), of_each);
                Some(new(Node::Aggregate(aggregate, Box::new(of_each)), ty))
            }
            Aggregate::Top(_) | Aggregate::Distinct if list.ty.resource().is_none() => {
                let of_each = Type { kind: kind.clone(), many: Many::List };
                let of_each = new(Node::Either(each(aggregate)?), of_each);
                Some(new(Node::Aggregate(aggregate, Box::new(of_each)), ty))
            }
            _ => None,
        }
    }
}

/// What parts lead to, or what follows from each, as one expression: resources of the same type together.
pub(super) fn either(parts: Vec<Expr>) -> Expr {
    let known = parts.iter().find(|part| part.ty.kind != Kind::Null);
    let many = known.map_or(Many::One, |part| part.ty.many);
    let mut flat = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Expr { node: Node::Either(inner), ty: Type { kind: Kind::Among(_), .. } } => flat.extend(inner),
            part => flat.push(part),
        }
    }
    let mut by_type: Vec<(TypeIx, Vec<Expr>)> = Vec::new();
    let mut values = Vec::new();
    for part in flat {
        match part.ty.resource() {
            Some(ty) => match by_type.iter_mut().find(|(of, _)| *of == ty) {
                Some((_, parts)) => parts.push(part),
                None => by_type.push((ty, vec![part])),
            },
            None => values.push(part),
        }
    }
    let joined = |mut parts: Vec<Expr>, kind: Kind| match parts.len() {
        1 => parts.swap_remove(0),
        _ => new(Node::Either(parts), Type { kind, many }),
    };
    if by_type.is_empty() {
        let kinds = || values.iter().map(|part| &part.ty.kind).filter(|kind| **kind != Kind::Null);
        let kind = match kinds().next() {
            Some(first) if kinds().all(|kind| kind == first) => first.clone(),
            Some(_) => Kind::Str,
            None => Kind::Null,
        };
        return joined(values, kind);
    }
    let types = by_type.iter().map(|(ty, _)| *ty).collect();
    let parts = by_type.into_iter().map(|(ty, parts)| joined(parts, Kind::Resource(ty)));
    joined(parts.collect(), Kind::Among(types))
}

/// The types that a resource may be of, each with the expression of it.
fn alternatives(expr: &Expr) -> Vec<(TypeIx, Expr)> {
    let parts = match (&expr.node, &expr.ty.kind) {
        (Node::Either(parts), Kind::Among(_)) => parts.as_slice(),
        _ => std::slice::from_ref(expr),
    };
    parts.iter().filter_map(|part| Some((part.ty.resource()?, part.clone()))).collect()
}

/// Is there something in one of the parts at most, since each goes on from another part of one link?
fn is_exclusive(parts: &[Expr], schema: &Schema) -> bool {
    parts.iter().all(|part| {
        let mut at = part;
        while at.ty.is_many() {
            at = match &at.node {
                Node::Get(base, _)
                | Node::Reverse(base, _)
                | Node::Filter(base, _)
                | Node::Order(base, _)
                | Node::Member(base, _) => base,
                _ => return false,
            };
        }
        matches!(&at.node, Node::Get(_, field) if schema.field(*field).is_part())
    })
}
