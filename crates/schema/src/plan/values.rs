//! The end of a path behind the last resources: the values that each of them gives.
//!
//! `self.orders.lines[ok].price` has the resources `self.orders`, of which each gives the values of `.lines[ok].price`. Cut
//! off and put on one resource, the same steps are what that one gives: one value, or several where a step leads to a list.

use super::lower::{mentions_owner, substitute};
use crate::model::{FieldKind, Schema};
use crate::typed::{Expr, Kind, Many, Node, Type};

/// Value steps: `.amount`, `.address.city`, `.lines[ok].price`.
pub(super) struct ValuePath<'a> {
    /// The last first.
    steps: Vec<&'a Expr>,
}

impl ValuePath<'_> {
    /// Is one of the steps a lazy field?
    pub fn has_lazy(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.node, Node::Each(..)))
    }

    /// Does one resource give several values?
    pub fn gives_several(&self, schema: &Schema) -> bool {
        self.steps.iter().any(|step| leads_to_lists(step, schema))
    }

    /// The same steps on one resource, or on a list. Filters of values may look at `self`, which becomes `owner`; none
    /// where they do and there is none.
    pub fn on(&self, subject: Expr, schema: &Schema, owner: Option<&Expr>) -> Option<Expr> {
        let mut value = subject;
        for step in self.steps.iter().rev() {
            let many =
                if leads_to_lists(step, schema) || value.ty.is_many() { Many::List } else { Many::One };
            let ty = Type { kind: step.ty.kind.clone(), many };
            let base = Box::new(value);
            let node = match &step.node {
                Node::Get(_, field) => Node::Get(base, *field),
                Node::Member(_, name) => Node::Member(base, name.clone()),
                Node::Each(_, field, body) => Node::Each(base, *field, body.clone()),
                Node::Filter(_, condition) if owner.is_none() && mentions_owner(condition) => return None,
                Node::Filter(_, condition) => {
                    Node::Filter(base, Box::new(substitute((**condition).clone(), 0, None, owner)))
                }
                _ => Node::IdOf(base),
            };
            value = Expr { node, ty };
        }
        Some(value)
    }
}

/// Does a step lead from one value to many?
fn leads_to_lists(step: &Expr, schema: &Schema) -> bool {
    match &step.node {
        Node::Get(_, field) => match &schema.field(*field).kind {
            FieldKind::Stored(ty) => Type::of_value(ty).is_many(),
            FieldKind::Derived { expr, .. } => expr.ty.is_many(),
            _ => false,
        },
        Node::Each(_, _, body) => body.ty.is_many(),
        Node::Member(base, name) => match &base.ty.kind {
            Kind::Object(members) => {
                let member = members.iter().find(|member| member.name == *name);
                member.is_some_and(|member| Type::of_value(&member.ty).is_many())
            }
            Kind::Map(of) => Type::of_value(of).is_many(),
            _ => false,
        },
        _ => false,
    }
}

/// Cuts the value steps off a list expression.
pub(super) fn split_value(list: &Expr) -> (&Expr, Option<ValuePath<'_>>) {
    let mut steps = Vec::new();
    let mut rest = list;
    while !matches!(rest.ty.kind, Kind::Resource(_)) {
        match &rest.node {
            Node::Get(base, _)
            | Node::Member(base, _)
            | Node::IdOf(base)
            | Node::Filter(base, _)
            | Node::Each(base, ..) => {
                steps.push(rest);
                rest = base;
            }
            _ => return (list, None),
        }
    }
    if steps.is_empty() { (list, None) } else { (rest, Some(ValuePath { steps })) }
}
