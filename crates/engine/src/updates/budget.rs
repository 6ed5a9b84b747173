//! How much of a change goes with its commit, and what a transaction leaves to updates.
//!
//! The budget bounds the walk back from a change to those who read it, at every step of the way. What is left is noted
//! by its [`Edge`]: the node, the path, and the sources from which the path has yet to be walked.
//!
//! Three kinds of nodes are brought up to date with the commit whatever it takes:
//! - Groups. What a group has counted of a member must follow from what is stored, or the next change of that member
//!   would take out what was never put in.
//! - Strict fields, and all that they are computed from: whether a write is refused has to be known before its reply.
//! - Nodes that are evaluated along the instances (recursion), whose order is the order of the instances.
//!
//! A `background` field is never brought up to date with the commit, not even by a change of its own resource.

use std::collections::BTreeSet;

use corollary_schema::plan::{Hop, Rule};
use corollary_schema::{FieldKind, FieldRef, Schema};
use corollary_value::Id;

use crate::doc::Key;

/// Resources that one change may reach within its commit, by default.
pub const DEFAULT_BUDGET: usize = 1_000;

/// How far a node follows a change within the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// To the end.
    Unbounded,
    /// To so many resources at each step of the way back.
    Walked(usize),
    /// Not at all.
    Nothing,
}

/// The budgets of all nodes of a plan.
#[derive(Debug)]
pub struct Budgets(Vec<Budget>);

impl Budgets {
    /// With so many resources for each node that has a budget.
    pub fn new(schema: &Schema, resources: usize) -> Budgets {
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
        let budget = |(at, node): (usize, &corollary_schema::plan::PlanNode)| match &node.rule {
            Rule::Group(_) => Budget::Unbounded,
            Rule::Evaluate(_) if at_once[at] || schema.plan.stratum(at).is_some() => Budget::Unbounded,
            Rule::Evaluate(_) if is_background(schema, node.result) => Budget::Nothing,
            Rule::Evaluate(_) => Budget::Walked(resources),
        };
        Budgets(nodes.iter().enumerate().map(budget).collect())
    }

    /// Of a node.
    pub fn of(&self, node: usize) -> Budget {
        self.0[node]
    }
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

/// A way along which changes reach a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Position in the plan.
    pub node: usize,
    /// From the node's `self` to a source; walked backwards.
    pub path: Vec<Hop>,
}

/// What a transaction leaves along one edge.
#[derive(Clone, Debug)]
pub struct Left {
    /// Where the walk back has to begin.
    pub sources: BTreeSet<Id>,
    /// The change that was the first: whose, and of which field.
    pub cause: (Key, FieldRef),
}

/// What a transaction leaves to updates, edge by edge.
#[derive(Clone, Debug, Default)]
pub struct Deferred(pub Vec<(Edge, Left)>);

impl Deferred {
    /// Is something left along an edge?
    pub fn has(&self, node: usize, path: &[Hop]) -> bool {
        self.0.iter().any(|(edge, _)| edge.node == node && edge.path == path)
    }

    /// Leaves what may be reached from some sources along an edge.
    pub fn add(
        &mut self,
        node: usize,
        path: &[Hop],
        sources: impl IntoIterator<Item = Id>,
        cause: (&Key, FieldRef),
    ) {
        match self.0.iter_mut().find(|(edge, _)| edge.node == node && edge.path == path) {
            Some((_, left)) => left.sources.extend(sources),
            None => {
                let edge = Edge { node, path: path.to_vec() };
                let left = Left { sources: sources.into_iter().collect(), cause: (cause.0.clone(), cause.1) };
                self.0.push((edge, left));
            }
        }
    }
}
