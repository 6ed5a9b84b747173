//! How derived fields are kept true: which nodes there are, in which order, and who reads what.
//!
//! - [`lower`] turns each derived field into nodes: an aggregate over the members of a group becomes a node of its
//!   own that is maintained from the change of one member; everything else is evaluated per owner.
//! - [`reads`] finds what each node reads, and by which path, so that a change of one field leads back to the
//!   resources whose nodes must look again: the inverse path.
//! - [`recursion`] finds the fields that need each other, along links, and what steers their reading.
//! - [`order`] puts the nodes into an order in which each comes after all it reads; those that need each other are a
//!   stratum of their own.
//!
//! The engine's `propagate` module walks this plan; it never looks at an expression to decide what to do.

pub mod describe;
pub mod explain;
pub mod follows;
pub mod lower;
pub mod order;
pub mod reads;
pub mod recursion;
mod unparse;
mod values;

use std::collections::HashSet;
use std::ops::Range;

use std::sync::Arc;

use corollary_value::Value;

use crate::model::{FieldId, FieldRef, Slot, TypeIx};
use crate::typed::{Aggregate, Expr, Kind};

/// The maintenance plan of a whole schema.
#[derive(Debug, Default)]
pub struct Plan {
    /// All nodes; each reads facts and the results of nodes before it only, or of nodes of its own stratum.
    pub nodes: Vec<PlanNode>,
    /// The nodes that need each other, each stratum after all that it reads.
    pub strata: Vec<Stratum>,
    /// By node: its place in [`Plan::strata`], where it has one.
    pub stratum_of: Vec<Option<usize>>,
    /// `[type][slot]`: who reads the field.
    pub readers: Vec<Vec<Vec<Reader>>>,
    /// `[type]`: nodes evaluated per resource of the type, in order.
    pub evaluated: Vec<Vec<usize>>,
    /// `[type]`: nodes that read all resources of the type, and so look again when one comes or goes.
    pub surveying: Vec<Vec<usize>>,
    /// `[type]`: group nodes whose members are resources of the type, in order.
    pub grouped: Vec<Vec<usize>>,
    /// By node: the types of whose resources it reads, on the way from its `self`, more than values: where they lead to in turn,
    /// what lies there, or who refers to them.
    pub through: Vec<HashSet<TypeIx>>,
}

/// One thing that is computed.
#[derive(Debug)]
pub struct PlanNode {
    /// Whose value it is, and where the result is kept.
    pub result: FieldRef,
    /// Stands for its definition in storage: another definition has another number.
    pub definition: FieldId,
    /// How it is computed and maintained.
    pub rule: Rule,
}

/// How a node is maintained.
#[derive(Debug)]
pub enum Rule {
    /// By evaluating the expression again, for each owner that a change may reach.
    Evaluate(Evaluate),
    /// From the old and the new contribution of each changed member.
    Group(Box<Group>),
}

/// A node that is evaluated per owner.
#[derive(Debug)]
pub struct Evaluate {
    /// `self` is the owner.
    pub expr: Expr,
    /// Does it read only the owner, and what to-one links lead to? Then its cost is constant.
    pub constant_cost: bool,
    /// What the clock does to it; nothing where it does not ask for the time.
    pub timer: Option<Timer>,
}

/// What the clock does to the result of an evaluated node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The result may change. When it may next is kept in a hidden field of the owner.
    Changes(Slot),
    /// The result is the time at which the owner is deleted.
    Expires,
}

/// An aggregate over the members of a group: resources that reach their owner by to-one links.
///
/// In all its expressions `self` is a member, and all of them read only what to-one links lead to; so the
/// contribution of a member, before and after a change, costs a constant number of reads.
#[derive(Debug)]
pub struct Group {
    /// What is computed.
    pub aggregate: Aggregate,
    /// Type of the members.
    pub member: TypeIx,
    /// From a member to its owner.
    pub owner: Expr,
    /// Which members count.
    pub conditions: Vec<Expr>,
    /// The key of the map under which a member counts; nothing where the result is no map.
    pub by: Option<Expr>,
    /// What a member contributes, or several values, each of which counts by itself; nothing where members themselves are
    /// counted or listed.
    pub value: Option<Expr>,
    /// The order for first, last and join; true is descending.
    pub keys: Vec<(Expr, bool)>,
    /// From a member to the resource that stands for it; several members may share one, which then counts once.
    pub target: Option<Expr>,
    /// Does any of its expressions ask for the time?
    pub timed: bool,
}

/// Nodes that need each other: derived fields that depend on themselves along links, parents, collections or inverses,
/// and the groups between them.
///
/// The fields that people see are evaluated nodes; of a group only the value reads fields of the stratum, so it is
/// known without them who its members are.
#[derive(Debug)]
pub struct Stratum {
    /// Positions in [`Plan::nodes`], one after the other: groups first, then each field after those that it reads of
    /// the same resource.
    pub nodes: Range<usize>,
    /// What each evaluated node may read of the others, as it was written.
    pub needs: Vec<Need>,
}

/// That a node of a stratum may read another.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// Who reads.
    pub node: usize,
    /// From the reader's resource to the one that is read.
    pub path: Vec<Hop>,
    /// What is read.
    pub needed: usize,
}

/// Somebody who reads a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Reader {
    /// Position in [`Plan::nodes`].
    pub node: usize,
    /// From the node's `self` to the resource from which [`Start`] counts; walked backwards.
    pub path: Vec<Hop>,
    /// Where the walk begins.
    pub start: Start,
    /// Does it decide of which resources fields of the reader's own stratum are read?
    pub steers: bool,
}

/// Where the walk back from a change begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the changed resource.
    Changed,
    /// At the old and the new targets of the changed link.
    Targets,
}

/// One step of a path between resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hop {
    /// Along a link (or links, a parent, a derived reference): to what the field holds.
    Link(FieldRef),
    /// Against it: to the resources whose field holds this one.
    Reverse(FieldRef),
    /// To what is the same for all: all resources of a type, or what is kept of them in one place. The way back leads to
    /// all subjects of the node, which are resources of this type.
    Everywhere(TypeIx),
}

impl Plan {
    /// Who reads a field.
    pub fn readers(&self, field: FieldRef) -> &[Reader] {
        self.readers
            .get(field.ty.0 as usize)
            .and_then(|ty| ty.get(field.slot.0 as usize))
            .map_or(&[], Vec::as_slice)
    }

    /// Does a field depend on itself, by other resources?
    pub fn is_recursive(&self, field: FieldRef) -> bool {
        self.strata.iter().any(|it| self.nodes[it.nodes.clone()].iter().any(|node| node.result == field))
    }

    /// The stratum of a node, where it needs itself by way of others.
    pub fn stratum(&self, node: usize) -> Option<&Stratum> {
        self.stratum_of.get(node).copied().flatten().map(|at| &self.strata[at])
    }
}

impl PlanNode {
    /// All its expressions.
    pub fn expressions(&self) -> Vec<&Expr> {
        match &self.rule {
            Rule::Evaluate(evaluate) => vec![&evaluate.expr],
            Rule::Group(group) => group.expressions().collect(),
        }
    }

    /// The type of the resources over which the node's changes are collected: owners, or members of groups.
    pub fn subject(&self) -> TypeIx {
        match &self.rule {
            Rule::Evaluate(_) => self.result.ty,
            Rule::Group(group) => group.member,
        }
    }

    /// The field in which each owner keeps the time of its timer; groups keep none, since what a member gives, and when the
    /// clock changes that, can be told from the facts as they were.
    pub fn keeps_time(&self) -> Option<Slot> {
        match &self.rule {
            Rule::Evaluate(Evaluate { timer: Some(Timer::Changes(slot)), .. }) => Some(*slot),
            Rule::Evaluate(Evaluate { timer: Some(Timer::Expires), .. }) => Some(self.result.slot),
            _ => None,
        }
    }

    /// Does the clock change its results? Then there is a timer for each subject for which it will.
    pub fn is_timed(&self) -> bool {
        match &self.rule {
            Rule::Evaluate(evaluate) => evaluate.timer.is_some(),
            Rule::Group(group) => group.timed,
        }
    }
}

/// What is kept of the members of a group, beside its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Nothing, or where several members may stand for one element, a count of each element.
    Counts,
    /// A state that sums can be taken from.
    Sums,
    /// The members in order.
    Order,
    /// The members in order, so that any rank among them is found without counting them all.
    Ranks,
}

impl Group {
    /// What is kept of its members.
    pub fn keeping(&self) -> Keeping {
        match self.aggregate {
            Aggregate::Sum | Aggregate::Average => Keeping::Sums,
            Aggregate::Median | Aggregate::Percentile(_) => Keeping::Ranks,
            Aggregate::Min
            | Aggregate::Max
            | Aggregate::First
            | Aggregate::Last
            | Aggregate::Distinct
            | Aggregate::Top(_)
            | Aggregate::Join(_) => Keeping::Order,
            // Any and all are lowered to counts.
            Aggregate::Count | Aggregate::Any | Aggregate::All | Aggregate::Collect => Keeping::Counts,
        }
    }

    /// Are the members kept in the order of their values, and not in that of the list?
    pub fn is_by_value(&self) -> bool {
        matches!(self.keeping(), Keeping::Order | Keeping::Ranks) && !self.aggregate.follows_order()
    }

    /// The result for no members, where their values would be of a kind.
    pub fn of_nothing(&self, kind: &Kind) -> Value {
        match self.by {
            Some(_) => Value::Object(Arc::new([])),
            None => self.aggregate.of_nothing(kind),
        }
    }

    /// Does a member give several values, and not one?
    pub fn gives_several(&self) -> bool {
        self.value.as_ref().is_some_and(|value| value.ty.is_many())
    }

    /// The kind of what a member contributes.
    pub fn kind(&self) -> Kind {
        self.value.as_ref().map_or(Kind::Resource(self.member), |value| value.ty.kind.clone())
    }

    /// All its expressions.
    pub fn expressions(&self) -> impl Iterator<Item = &Expr> {
        [&self.owner]
            .into_iter()
            .chain(&self.conditions)
            .chain(&self.by)
            .chain(&self.value)
            .chain(self.keys.iter().map(|(key, _)| key))
            .chain(&self.target)
    }
}

/// A slot as a position.
pub(crate) fn slot_ix(slot: Slot) -> usize {
    slot.0 as usize
}
