//! When each node follows a change: with its commit, within the budget of the commit, or in the background.
//!
//! What must be right before the reply follows at once, however many resources that are: fields because of which a write
//! may be refused, all that these are computed from, and fields that depend on themselves, whose order is that of the
//! resources. A group follows later only where a resource changes that its members link to: then what it has counted of
//! each member is known without keeping it for each (the engine's `updates/lag.rs`). Read next: the engine's
//! `updates/budget.rs`, which holds the commits to it.

use super::{Hop, Rule};
use crate::model::{FieldKind, FieldRef, Schema, TypeIx};

/// The resources that one change may reach within its commit, by default, at each step of its way back.
pub const DEFAULT_BUDGET: usize = 1_000;

/// When a node follows a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// With the commit, to the end.
    AtOnce,
    /// With the commit as far as its budget goes; the rest by an update.
    WithinBudget,
    /// By an update, always.
    InBackground,
}

/// By node, when it follows.
pub fn follows(schema: &Schema) -> Vec<Follows> {
    let nodes = &schema.plan.nodes;
    let at_once = held(schema);
    let follows = |(at, node): (usize, &super::PlanNode)| match &node.rule {
        _ if at_once[at] || schema.plan.stratum(at).is_some() => Follows::AtOnce,
        Rule::Evaluate(_) if is_background(schema, node.result) => Follows::InBackground,
        _ => Follows::WithinBudget,
    };
    nodes.iter().enumerate().map(follows).collect()
}

/// Can a node that follows within a budget leave what a change reaches along a path? A group only along one link that
/// its members hold, to the resource that has changed; and only where it reads nothing but values of such resources, by whichever
/// link: of what lies behind one, owners among that, nobody knows how it was when a member was counted, and what changes there
/// does not find the members by a way that is no more.
pub fn can_be_left(schema: &Schema, node: usize, path: &[Hop]) -> bool {
    match (&schema.plan.nodes[node].rule, path) {
        (Rule::Evaluate(_), _) => true,
        (Rule::Group(_), [Hop::Link(via)]) => {
            linked_type(schema, *via).is_some_and(|ty| !schema.plan.through[node].contains(&ty))
        }
        (Rule::Group(_), _) => false,
    }
}

/// The type of the one resource that a field which is a fact leads to.
pub fn linked_type(schema: &Schema, via: FieldRef) -> Option<TypeIx> {
    match schema.field(via).kind {
        FieldKind::Link { target, .. } => Some(target),
        FieldKind::Parent { collection } => Some(collection.ty),
        _ => None,
    }
}

/// By node, may a commit be refused because of its value, or of what is computed from it?
pub fn held(schema: &Schema) -> Vec<bool> {
    let nodes = &schema.plan.nodes;
    let mut at_once = vec![false; nodes.len()];
    // Each node comes after all that it reads.
    for (at, node) in nodes.iter().enumerate().rev() {
        let read = schema.plan.readers(node.result).iter().any(|reader| at_once[reader.node]);
        at_once[at] |= read || is_held(schema, node.result);
        // Those that need each other are brought up to date together.
        if let Some(stratum) = schema.plan.stratum(at).filter(|stratum| stratum.nodes.start == at) {
            let together = at_once[stratum.nodes.clone()].contains(&true);
            at_once[stratum.nodes.clone()].fill(together);
        }
    }
    at_once
}

/// May a commit be refused because of the field's value?
fn is_held(schema: &Schema, field: FieldRef) -> bool {
    let field = schema.field(field);
    matches!(field.kind, FieldKind::Derived { strict: true, .. }) || field.rules.unique
}

/// Is it declared to follow later?
fn is_background(schema: &Schema, field: FieldRef) -> bool {
    matches!(schema.field(field).kind, FieldKind::Derived { background: true, .. })
}
