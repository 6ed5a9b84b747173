//! How much of a change goes with its commit, and what a transaction leaves to updates.
//!
//! The budget bounds the walk back from a change to those who read it, at every step of the way. What is left is noted
//! by its [`Edge`]: the node, the path, and the sources from which the path has yet to be walked.
//!
//! Of groups each source is a piece of its own, since members that an update has yet to come to count the source as it
//! was before (`lag`); so where one source is too much, others are not left with it.
//!
//! Which nodes follow at once whatever it takes, and which never do, is in the plan: [`corollary_schema::plan::follows`].

use std::collections::BTreeSet;

use corollary_schema::plan::follows::{Follows, follows};
use corollary_schema::plan::{Hop, Rule};
use corollary_schema::{FieldRef, Schema};
use corollary_value::Id;
use smol_str::SmolStr;

use super::record::visible;
use crate::doc::Key;

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

/// The budget of a derived field, or of all those of a type, in place of what others have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnBudget {
    /// The type, by name.
    pub ty: SmolStr,
    /// The field, by name; none for all of the type.
    pub field: Option<SmolStr>,
    /// Resources that one change may reach at each step of the way within its commit.
    pub resources: usize,
}

impl OwnBudget {
    /// Is it of this field, and of no other?
    fn is_of(&self, ty: &str, field: Option<&str>) -> bool {
        self.ty == ty && self.field.as_deref() == field
    }
}

/// The budgets of all nodes of a plan.
#[derive(Debug)]
pub struct Budgets(Vec<Budget>);

impl Budgets {
    /// With so many resources for each node that has a budget, unless its field has one of its own, or its type.
    pub fn new(schema: &Schema, resources: usize, own: &[OwnBudget]) -> Budgets {
        let resources = |node: usize| {
            let shown = visible(schema, node);
            let (ty, field) = (&*schema.ty(shown.ty).name, &*schema.field(shown).name);
            let of_field = own.iter().rfind(|it| it.is_of(ty, Some(field)));
            let of_type = || own.iter().rfind(|it| it.is_of(ty, None));
            of_field.or_else(of_type).map_or(resources, |it| it.resources)
        };
        let budget = |(node, follows)| match follows {
            Follows::AtOnce => Budget::Unbounded,
            Follows::WithinBudget => Budget::Walked(resources(node)),
            Follows::InBackground => Budget::Nothing,
        };
        Budgets(follows(schema).into_iter().enumerate().map(budget).collect())
    }

    /// Of a node.
    pub fn of(&self, node: usize) -> Budget {
        self.0[node]
    }
}

/// A way along which changes reach a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Position in the plan.
    pub node: usize,
    /// From the node's `self` to a source; walked backwards.
    pub path: Vec<Hop>,
}

impl Edge {
    /// The link along which members of groups follow what they link to; none where it is not groups that follow.
    pub(crate) fn link_of_members(&self, schema: &Schema) -> Option<FieldRef> {
        match (&schema.plan.nodes[self.node].rule, &self.path[..]) {
            (Rule::Group(_), [Hop::Link(via)]) => Some(*via),
            _ => None,
        }
    }
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
