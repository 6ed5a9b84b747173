//! What a condition compares: the parts of it that an index can answer.

use corollary_schema::typed::{Expr, Node};
use corollary_schema::{FieldRef, Schema, SearchBy};
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

/// The ranges of an index that a search needs, the longest part first; none where no index has it, or nothing is asked for.
pub(super) fn ranges(
    schema: &Schema,
    (by, field, wanted): (SearchBy, FieldRef, &str),
) -> Option<Vec<Vec<KeyRange>>> {
    let index = schema.field(field).rules.search.filter(|search| search.by == by)?.index;
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
