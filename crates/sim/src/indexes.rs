//! Indexes over several fields (`index (a, b desc)`): which there are, and what is asked along them.
//!
//! They follow from the names that a schema has given so far, and come and go as it changes: so all else that is random is
//! what it is without them.

use corollary_engine::Engine;
use corollary_engine::eval::View;
use corollary_schema::expr::{Place, check_expr};
use corollary_schema::typed::{Expr, Kind, Node, Type};
use corollary_schema::{FieldRef, Schema, Slot, TypeIx};
use corollary_syntax::ast::BinaryOp;
use corollary_syntax::parse_expression;
use jiff::Timestamp;

use crate::draft::{Derived, Draft, FieldDraft, FieldKind, Shape, ValueType};
use crate::judge::read;
use crate::random::Random;

/// The options of a type that declare its indexes over several fields, each behind a space.
pub fn text(draft: &Draft, ty: usize) -> String {
    let mut random = Random::new(u64::from(draft.next_name) * 8 + ty as u64);
    let fields = &draft.types[ty].fields;
    let mut names: Vec<String> =
        fields.iter().filter(|field| has_place(field)).map(|field| field.name.clone()).collect();
    let parents = draft.parents(ty);
    names.extend(parents.into_iter().map(|(_, name)| name));
    let (mut text, mut said) = (String::new(), Vec::new());
    for _ in 0..random.below(3) {
        random.shuffle(&mut names);
        let some = names.iter().take(2 + random.below(2));
        let keys = some.map(|name| format!("{name}{}", if random.percent(50) { " desc" } else { "" }));
        let keys: Vec<String> = keys.collect();
        if keys.len() > 1 && !said.contains(&keys) {
            text.push_str(&format!(" index ({})", keys.join(", ")));
            said.push(keys);
        }
    }
    text
}

/// May a field be part of an index over several, by the rules as they are told?
fn has_place(field: &FieldDraft) -> bool {
    match &field.kind {
        FieldKind::Stored(ty) => !matches!(
            ty,
            ValueType::File
                | ValueType::List(_)
                | ValueType::Set(_)
                | ValueType::Map(_)
                | ValueType::Object(_)
                | ValueType::Elements(..)
        ),
        FieldKind::Link(..) => true,
        FieldKind::Derived(Derived { shape, lazy, .. }) => {
            !lazy && matches!(shape, Shape::One(_) | Shape::Resource(_))
        }
        _ => false,
    }
}

/// A condition, and an order.
pub type Along = (Option<Expr>, Vec<(Expr, bool)>);

/// What one of the indexes over several fields of a type answers, or nearly: what is equal in its first fields, and the order
/// of the others, or the opposite one. `n` says which.
pub fn along(engine: &Engine, ty: TypeIx, n: usize, now: Timestamp) -> Result<Option<Along>, String> {
    let schema = engine.schema();
    let indexes = &schema.ty(ty).indexes;
    let Some(index) = indexes.get(n % indexes.len().max(1)) else { return Ok(None) };
    let equal = n / 4 % 3;
    let mut filter: Option<Expr> = None;
    for key in index.keys.iter().take(equal) {
        let field = FieldRef { ty, slot: key.slot };
        let value = read(engine, now, |working| {
            let all = working.all(ty)?;
            let Some(id) = all.get(n % all.len().max(1)) else { return Ok(None) };
            working.value(field, id)
        })?;
        let Some(value) = value.filter(|value| !value.is_null() && !value.is_error()) else { continue };
        let subject = Box::new(by(schema, ty, key.slot));
        let value = Box::new(Expr { node: Node::Const(value), ty: subject.ty.clone() });
        let one = truth(Node::Binary(BinaryOp::Equal, subject, value));
        filter = Some(match filter {
            Some(others) => truth(Node::Binary(BinaryOp::And, Box::new(others), Box::new(one))),
            None => one,
        });
    }
    let turned = n % 2 == 1;
    let order = index.keys.iter().skip(n / 12 % 2 * equal);
    Ok(Some((filter, order.map(|key| (by(schema, ty, key.slot), key.descending != turned)).collect())))
}

fn truth(node: Node) -> Expr {
    Expr { node, ty: Type::one(Kind::Bool) }
}

/// A field of the resource itself.
fn by(schema: &Schema, ty: TypeIx, slot: Slot) -> Expr {
    let name = schema.ty(ty).field(slot).label();
    check_expr(schema, Place::Query(ty), &parse_expression(name).tree).0
}
