//! What a condition asks of the resource itself: where there are many conditions and one resource, those that may hold of it
//! are found by the values of its fields, instead of each being evaluated.
//!
//! Values stand as the bytes of the order key, so what compares equal is equal here, and ranges are ranges of bytes. What
//! is said here is necessary, never sufficient: whoever is found is evaluated.

use corollary_schema::FieldRef;
use corollary_schema::typed::{Expr, Node};
use corollary_syntax::ast::BinaryOp;
use corollary_value::Value;
use corollary_value::order_key::push_order_key;

use super::conditions::{Comparison, comparison, constants, own_field, split};
use crate::doc::Doc;

/// A value as the bytes of its order key.
pub type KeyBytes = Box<[u8]>;

/// What has to hold of a resource for a condition to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// A field has one of these values, or one of them among its elements.
    AnyOf(FieldRef, Vec<KeyBytes>),
    /// The value of a field lies between two, both included; open where there is none.
    Between(FieldRef, Option<KeyBytes>, Option<KeyBytes>),
    /// One of several.
    Either(Vec<Selector>),
}

/// What a condition asks of fields of the resource itself, the narrowest of what has to hold; nothing where it asks for none.
pub fn selector(condition: &Expr) -> Option<Selector> {
    let mut parts = Vec::new();
    split(condition, &mut parts);
    let mut found = parts.iter().filter_map(|part| of_part(part));
    let best = found.by_ref().find(|it| matches!(it, Selector::AnyOf(..)));
    best.or_else(|| parts.iter().find_map(|part| either(part))).or_else(|| between(&parts))
}

/// Of a part that compares with values that it names.
fn of_part(part: &Expr) -> Option<Selector> {
    match comparison(part) {
        Some(Comparison::Equal(field, value) | Comparison::Has(field, value)) => {
            return Some(Selector::AnyOf(field, vec![key_of(&value)]));
        }
        Some(Comparison::LinksTo(field, id)) => {
            return Some(Selector::AnyOf(field, vec![key_of(&Value::Ref(id))]));
        }
        Some(Comparison::AtLeast(..) | Comparison::AtMost(..)) => return between(&[part]),
        None => {}
    }
    match &part.node {
        Node::Binary(BinaryOp::In, subject, list) if subject.ty.resource().is_none() => {
            let (field, values) = (own_field(subject)?, constants(list)?);
            Some(Selector::AnyOf(field, values.iter().map(key_of).collect()))
        }
        _ => None,
    }
}

/// Of a part that is an `or`, each side of which asks for something.
fn either(part: &Expr) -> Option<Selector> {
    let Node::Binary(BinaryOp::Or, left, right) = &part.node else { return None };
    let mut all = Vec::new();
    for side in [left, right] {
        match selector(side)? {
            Selector::Either(some) => all.extend(some),
            one => all.push(one),
        }
    }
    Some(Selector::Either(all))
}

/// The range that the parts leave of the first field that they bound.
fn between(parts: &[&Expr]) -> Option<Selector> {
    let mut of: Option<FieldRef> = None;
    let (mut low, mut high): (Option<KeyBytes>, Option<KeyBytes>) = (None, None);
    for part in parts {
        let (field, value, is_low) = match comparison(part) {
            Some(Comparison::AtLeast(field, value)) => (field, value, true),
            Some(Comparison::AtMost(field, value)) => (field, value, false),
            _ => continue,
        };
        if *of.get_or_insert(field) != field {
            continue;
        }
        let bound = key_of(&value);
        match is_low {
            true if low.as_ref().is_none_or(|low| *low < bound) => low = Some(bound),
            false if high.as_ref().is_none_or(|high| bound < *high) => high = Some(bound),
            _ => {}
        }
    }
    of.map(|field| Selector::Between(field, low, high))
}

/// The bytes of a value. Nothing at all stands as null.
pub fn key_of(value: &Value) -> KeyBytes {
    let mut bytes = Vec::new();
    push_order_key(if value.is_null() { &Value::Null } else { value }, &mut bytes);
    bytes.into()
}

/// The bytes by which a resource is found: the value of a field, and its elements where it is a list.
pub fn keys_of(doc: &Doc, field: FieldRef) -> Vec<KeyBytes> {
    let value = doc.get(field.slot);
    let mut keys = vec![key_of(value)];
    if let Value::List(elements) = value {
        keys.extend(elements.iter().map(key_of));
        keys.sort_unstable();
        keys.dedup();
    }
    keys
}
