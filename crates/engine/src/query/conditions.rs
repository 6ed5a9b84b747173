//! What a condition compares: the parts of it that an index can answer.

use corollary_schema::typed::{Expr, Node};
use corollary_schema::{FieldRef, Search, SearchBy, TypeIx};
use corollary_store::KeyRange;
use corollary_syntax::ast::BinaryOp;
use corollary_value::{Id, Value};

use crate::keys;
use crate::words::{self, Wanted};

/// What a part of a condition says about a field of the resource itself.
pub(super) enum Comparison {
    Equal(FieldRef, Value),
    AtLeast(FieldRef, Value),
    AtMost(FieldRef, Value),
    LinksTo(FieldRef, Id),
    /// Of a list: one of its elements.
    Has(FieldRef, Value),
}

/// The parts that must all hold.
pub(super) fn split<'e>(filter: &'e Expr, out: &mut Vec<&'e Expr>) {
    match &filter.node {
        Node::Binary(BinaryOp::And, left, right) => {
            split(left, out);
            split(right, out);
        }
        _ => out.push(filter),
    }
}

pub(super) fn own_field(expr: &Expr) -> Option<FieldRef> {
    match &expr.node {
        Node::Get(base, field) if matches!(base.node, Node::Owner) && !expr.ty.is_many() => Some(*field),
        _ => None,
    }
}

/// The one resource for which a condition on its own id may hold, and its type.
pub(super) fn own_id(condition: &Expr) -> Option<(TypeIx, Id)> {
    let Node::Binary(BinaryOp::Equal, left, right) = &condition.node else { return None };
    let (subject, text) = match (&left.node, &right.node) {
        (Node::IdOf(subject), Node::Const(Value::Str(text))) => (subject, text),
        (Node::Const(Value::Str(text)), Node::IdOf(subject)) => (subject, text),
        _ => return None,
    };
    let ty = subject.ty.resource().filter(|_| matches!(subject.node, Node::Owner))?;
    Some((ty, Id::parse(text).ok()?))
}

/// A search of a field of the resource itself, and what it asks for.
pub(super) fn search(expr: &Expr) -> Option<(SearchBy, FieldRef, &str)> {
    let Node::Call(function, arguments) = &expr.node else { return None };
    let (by, [text, wanted]) = (function.search()?, &arguments[..]) else { return None };
    match (&text.node, &wanted.node) {
        (Node::Get(base, field), Node::Const(Value::Str(wanted))) if matches!(base.node, Node::Owner) => {
            Some((by, *field, wanted))
        }
        _ => None,
    }
}

/// The ranges of an index that a search needs, the longest part first; none where nothing is asked for.
pub(super) fn ranges(Search { by, index }: Search, wanted: &str) -> Option<Vec<Vec<KeyRange>>> {
    let exactly = |part: &String| KeyRange::prefix(keys::searched(index, words::cut(part)));
    let parts = match Wanted::of(by, wanted) {
        Wanted::Beginning(beginning) if beginning.is_empty() => return None,
        Wanted::Beginning(beginning) => {
            vec![vec![KeyRange::prefix(keys::searched_from(index, words::cut(&beginning)))]]
        }
        Wanted::All(mut all) => {
            all.sort_by_key(|any| std::cmp::Reverse(any.iter().map(String::len).max()));
            all.iter().map(|any| any.iter().map(exactly).collect()).collect()
        }
    };
    Some(parts).filter(|parts: &Vec<_>| !parts.is_empty())
}

pub(super) fn comparison(expr: &Expr) -> Option<Comparison> {
    let Node::Binary(op, left, right) = &expr.node else { return None };
    if let (BinaryOp::In, Node::Const(value), Node::Get(base, field)) = (op, &left.node, &right.node) {
        let is_own = matches!(base.node, Node::Owner) && !value.is_null();
        return match (right.ty.resource(), value) {
            _ if !is_own => None,
            (Some(_), Value::Str(text)) => Some(Comparison::LinksTo(*field, Id::parse(text).ok()?)),
            (Some(_), Value::Ref(id)) => Some(Comparison::LinksTo(*field, id.clone())),
            (Some(_), _) => None,
            (None, value) => Some(Comparison::Has(*field, value.clone())),
        };
    }
    let (subject, op, value) = match (&left.node, &right.node) {
        (_, Node::Const(value)) => (left, *op, value),
        (Node::Const(value), _) => {
            let flipped = match op {
                BinaryOp::Less => BinaryOp::Greater,
                BinaryOp::LessEqual => BinaryOp::GreaterEqual,
                BinaryOp::Greater => BinaryOp::Less,
                BinaryOp::GreaterEqual => BinaryOp::LessEqual,
                BinaryOp::Equal => BinaryOp::Equal,
                _ => return None,
            };
            (right, flipped, value)
        }
        _ => return None,
    };
    if let (Node::IdOf(link), BinaryOp::Equal, Value::Str(text)) = (&subject.node, op, value) {
        return Some(Comparison::LinksTo(own_field(link)?, Id::parse(text).ok()?));
    }
    let field = own_field(subject)?;
    if let (Some(_), BinaryOp::Equal) = (subject.ty.resource(), op) {
        return match value {
            Value::Str(text) => Some(Comparison::LinksTo(field, Id::parse(text).ok()?)),
            Value::Ref(id) => Some(Comparison::LinksTo(field, id.clone())),
            _ => None,
        };
    }
    match op {
        BinaryOp::Equal => Some(Comparison::Equal(field, value.clone())),
        BinaryOp::Greater | BinaryOp::GreaterEqual => Some(Comparison::AtLeast(field, value.clone())),
        BinaryOp::Less | BinaryOp::LessEqual => Some(Comparison::AtMost(field, value.clone())),
        _ => None,
    }
}

/// The values of a list that is written out.
pub(super) fn constants(list: &Expr) -> Option<Vec<Value>> {
    match &list.node {
        Node::Const(Value::List(values)) => Some(values.to_vec()),
        Node::List(items) => {
            let value = |item: &Expr| match &item.node {
                Node::Const(value) => Some(value.clone()),
                _ => None,
            };
            items.iter().map(value).collect()
        }
        _ => None,
    }
}

/// A condition on what a link of the resource leads to: the link, and the condition as one of what is there. Where the link
/// leads nowhere it does not hold.
pub(super) fn behind_link(condition: &Expr) -> Option<(FieldRef, Expr)> {
    let Node::Binary(op, left, right) = &condition.node else { return None };
    let compares = matches!(
        op,
        BinaryOp::Equal
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::In
    );
    // What is nowhere equals null.
    let is_value = |side: &Expr| match &side.node {
        Node::Const(value) => !value.is_null(),
        Node::List(_) => *op == BinaryOp::In,
        _ => false,
    };
    if !compares {
        return None;
    }
    let compared = |left: Expr, right: Expr| {
        let node = Node::Binary(*op, Box::new(left), Box::new(right));
        Expr { node, ty: condition.ty.clone() }
    };
    if is_value(right) {
        let (link, subject) = cut(left)?;
        Some((link, compared(subject, (**right).clone())))
    } else if is_value(left) && matches!(left.node, Node::Const(_)) {
        let (link, subject) = cut(right)?;
        Some((link, compared((**left).clone(), subject)))
    } else {
        None
    }
}

/// Puts a path together again: over its base, as another one reads on from its own.
type Over = fn(Box<Expr>, &Expr) -> Node;

/// A path through a link to one resource: the link, and the path from there.
fn cut(subject: &Expr) -> Option<(FieldRef, Expr)> {
    let (base, over): (&Expr, Over) = match &subject.node {
        Node::Get(base, _) => (base, |base, of| match of.node {
            Node::Get(_, field) => Node::Get(base, field),
            _ => Node::IdOf(base),
        }),
        Node::IdOf(base) => (base, |base, _| Node::IdOf(base)),
        _ => return None,
    };
    let (link, inner) = match (own_field(base), base.ty.resource()) {
        // An id is known by the link alone.
        (Some(link), Some(target)) if matches!(subject.node, Node::Get(..)) => (link, Expr::owner(target)),
        _ => cut(base)?,
    };
    Some((link, Expr { node: over(Box::new(inner), subject), ty: subject.ty.clone() }))
}
