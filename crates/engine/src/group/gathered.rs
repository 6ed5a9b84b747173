//! Groups that members come into and go out of in any order: sums, means and counts. Nothing is kept of such a group but a
//! state, so what many members give to one owner is gathered first, and the group is written once.
//!
//! That is how the changes of a transaction are applied, and how an update fills groups that are new (the updates' `gather`).

use std::sync::Arc;

use corollary_schema::plan::{Group, Keeping, PlanNode};
use corollary_schema::typed::Aggregate;
use corollary_value::{Id, SumState, Value};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::{Counted, Given, Place, owner_of, store, summed, value_of};
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::propagate::Changed;
use crate::working::{Before, Working};

/// What some members give to one owner, or give no more.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Gathered {
    state: SumState,
    /// Elements that are something.
    count: i64,
}

impl Gathered {
    /// Can the groups of a node be written from what is gathered?
    pub fn suits(group: &Group) -> bool {
        let keeps_no_rows = match group.keeping() {
            Keeping::Sums => true,
            Keeping::Counts => group.aggregate == Aggregate::Count && group.target.is_none(),
            Keeping::Order | Keeping::Ranks => false,
        };
        // Each member has a timer to be set, and each key of a map a row.
        keeps_no_rows && group.by.is_none() && !group.timed
    }

    /// A member gives this too.
    pub fn add(&mut self, group: &Group, given: &[Given]) {
        given.iter().for_each(|given| self.put(group, &given.value));
    }

    /// A member gives this no more.
    pub fn remove(&mut self, group: &Group, given: &[Given]) {
        given.iter().for_each(|given| self.take(group, &given.value));
    }

    fn put(&mut self, group: &Group, value: &Value) {
        match group.keeping() {
            Keeping::Sums => self.state.add(value),
            _ => self.count += i64::from(!value.is_null()),
        }
    }

    fn take(&mut self, group: &Group, value: &Value) {
        match group.keeping() {
            Keeping::Sums => self.state.remove(value),
            _ => self.count -= i64::from(!value.is_null()),
        }
    }

    /// What the group is with that, and with nothing else.
    pub fn place(self, group: &Group) -> Place {
        match group.keeping() {
            Keeping::Sums => Place { result: summed::result(group, &self.state), state: self.state },
            _ => Place { result: Value::Int(self.count), state: SumState::default() },
        }
    }

    /// What a group is with that besides.
    fn merged(self, group: &Group, owner: &Doc, node: &PlanNode) -> Result<Place, EngineError> {
        let slot = node.result.slot;
        match (group.keeping(), owner.get(slot)) {
            (Keeping::Sums, _) => {
                let mut state = owner.state(slot);
                state.merge(&self.state);
                Ok(Place { result: summed::result(group, &state), state })
            }
            (_, Value::Int(count)) => {
                Ok(Place { result: Value::Int(count + self.count), state: SumState::default() })
            }
            _ => Err(EngineError::corrupt("a count")),
        }
    }
}

/// What the members of one node change, by owner.
struct Parts<'g> {
    group: &'g Group,
    owners: HashMap<Id, Gathered, RandomState>,
}

impl Parts<'_> {
    fn put(&mut self, (owner, value): (Id, Value)) {
        let group = self.group;
        each(group, &value, |value| self.owners.entry(owner.clone()).or_default().put(group, value));
    }

    fn take(&mut self, (owner, value): (Id, Value)) {
        let group = self.group;
        each(group, &value, |value| self.owners.entry(owner.clone()).or_default().take(group, value));
    }
}

/// The values among what a member gives that are something. Who gives none changes no group.
fn each(group: &Group, given: &Value, mut visit: impl FnMut(&Value)) {
    match given {
        Value::List(values) if group.gives_several() => {
            values.iter().filter(|value| !value.is_null()).for_each(visit)
        }
        value if value.is_null() => {}
        value => visit(value),
    }
}

/// Applies the changes of members to the groups of a node that suits; tells which results changed.
pub(super) fn apply(
    working: &mut Working<'_>,
    node: &PlanNode,
    group: &Group,
    members: &[Key],
    counted: Counted,
) -> Result<Vec<Changed>, EngineError> {
    let mut parts = Parts { group, owners: HashMap::default() };
    for key in members {
        let (before, after) = working.before_and_after(key)?;
        let given = |view: &dyn View, doc: &Option<Arc<Doc>>| match doc {
            Some(doc) => given(&Eval::of(view, &key.id, doc), group, &key.id),
            None => Ok(None),
        };
        let old = match counted {
            Counted::Before => given(&Before(working), &before)?,
            Counted::NotYet => None,
        };
        let new = given(&*working, &after)?;
        if old == new {
            continue;
        }
        old.into_iter().for_each(|old| parts.take(old));
        new.into_iter().for_each(|new| parts.put(new));
    }
    let owners = parts.owners.into_iter().filter(|(_, part)| *part != Gathered::default());
    let mut owners: Vec<_> = owners.map(|(id, part)| (Key::new(node.result.ty, id), part)).collect();
    owners.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    working.prefetch(owners.iter().map(|(key, _)| key))?;
    let mut changed = Vec::new();
    for (owner, part) in owners {
        let Some(doc) = working.after(&owner)? else { continue };
        let Place { state, result } = part.merged(group, &doc, node)?;
        drop(doc);
        if group.keeping() == Keeping::Sums
            && let Some(doc) = working.edit(&owner)?
        {
            doc.set_state(node.result.slot, state);
        }
        changed.extend(store(working, node, &owner, result, counted)?);
    }
    Ok(changed)
}

/// To whom a member gives what; nothing where it does not count.
fn given(eval: &Eval<'_>, group: &Group, member: &Id) -> Result<Option<(Id, Value)>, EngineError> {
    let Some(owner) = owner_of(eval, group)? else { return Ok(None) };
    Ok(value_of(eval, group, member)?.map(|value| (owner, value)))
}
