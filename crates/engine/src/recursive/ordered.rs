//! The exact way, for whatever order and circles there are: all that may still change is computed as it is asked for.
//!
//! First comes the *closure*: what is dirty, and all that may read it, and so on. Then each value of the closure is
//! evaluated once all that it asks for is there; what lies outside the closure is right as it is stored. An expression
//! that asks for what is not there yet is put off and evaluated again, so no chain is too long for the stack. Circles are
//! found as by Tarjan: a value that is still open when it is asked for is on one circle with the one that asks, so it is
//! seen as `#cycle` at once, which is what it will be. A group is applied when it is asked for, to those of its members
//! that lie in the closure, after all of theirs.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_schema::plan::{Group, Rule};
use corollary_schema::{FieldRef, TypeIx};
use corollary_value::{ErrorValue, Id, Value};
use hashbrown::HashMap;
use jiff::Timestamp;

use super::{Place, Run};
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::group;
use crate::propagate::walk_back;
use crate::working::Working;

/// What is known of a value of the closure.
enum State {
    /// It has not been asked for.
    New,
    /// It is being computed, or may be on a circle whose end is not known yet.
    Open(Open),
    /// It is stored.
    Done,
}

/// An open value.
struct Open {
    /// Its place among those that are open.
    index: usize,
    /// The least place of an open value that it reaches.
    low: usize,
    /// The value of its expression, once it has one.
    value: Option<Value>,
}

/// A group of which members lie in the closure.
struct Owned {
    /// Its node and its owner.
    place: Place,
    /// The members that may give something else.
    members: Vec<Id>,
    /// Once it is applied: the values of the closure that its members have read.
    read: Option<Vec<usize>>,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Task {
    /// Compute a value.
    Value(usize),
    /// Apply a group.
    Group(usize),
}

/// All that may still change.
#[derive(Default)]
struct Closure {
    /// The node of each result of the stratum.
    nodes: HashMap<FieldRef, usize>,
    values: Vec<(Place, State)>,
    value_at: HashMap<Place, usize>,
    groups: Vec<Owned>,
    group_at: HashMap<Place, usize>,
}

impl Closure {
    fn open(&self, value: usize) -> Option<&Open> {
        match &self.values[value].1 {
            State::Open(open) => Some(open),
            _ => None,
        }
    }

    fn add(&mut self, place: &Place) -> bool {
        let new = !self.value_at.contains_key(place);
        if new {
            self.value_at.insert(place.clone(), self.values.len());
            self.values.push((place.clone(), State::New));
        }
        new
    }

    /// Enters a member of a group; is the group a new one?
    fn add_member(&mut self, place: Place, member: Id) -> bool {
        let at = self.group_at.get(&place).copied();
        let new = at.is_none();
        let at = at.unwrap_or_else(|| {
            self.group_at.insert(place.clone(), self.groups.len());
            self.groups.push(Owned { place, members: Vec::new(), read: None });
            self.groups.len() - 1
        });
        self.groups[at].members.push(member);
        new
    }
}

impl Run<'_> {
    /// Brings up to date all values that are dirty, and all that may follow.
    pub(super) fn order(&mut self, working: &mut Working<'_>, dirty: Vec<Place>) -> Result<(), EngineError> {
        let mut closure = self.closure(working, dirty)?;
        let values = (0..closure.values.len()).map(Task::Value);
        let tasks: Vec<Task> = values.chain((0..closure.groups.len()).map(Task::Group)).collect();
        let mut stack = Vec::new();
        for task in tasks {
            let mut walk = vec![task];
            while let Some(task) = walk.last().copied() {
                let awaited = match task {
                    Task::Value(at) => self.value(working, &mut closure, at, &mut stack)?,
                    Task::Group(at) => self.group(working, &mut closure, at)?,
                };
                if awaited.is_empty() {
                    walk.pop();
                }
                walk.extend(awaited);
            }
        }
        Ok(())
    }

    /// What is dirty, and all that may read it. In the order of the distance, so that mostly what is read comes before
    /// what reads it.
    fn closure(&self, working: &Working<'_>, dirty: Vec<Place>) -> Result<Closure, EngineError> {
        let plan = &self.schema.plan;
        let mut closure = Closure::default();
        closure.nodes.extend(self.stratum.nodes.clone().map(|at| (plan.nodes[at].result, at)));
        let mut level: Vec<Place> = dirty.into_iter().filter(|place| closure.add(place)).collect();
        let members: Vec<Place> = self.members.clone();
        for (at, member) in members {
            if let Rule::Group(group) = &plan.nodes[at].rule
                && let Some(owner) = owner(working, group, &member)?
            {
                closure.add_member((at, owner), member);
            }
        }
        let mut entered: BTreeSet<Place> = BTreeSet::new();
        while !level.is_empty() {
            let mut by_node: std::collections::BTreeMap<usize, BTreeSet<Id>> = Default::default();
            for (at, id) in level.drain(..) {
                by_node.entry(at).or_default().insert(id);
            }
            for (at, ids) in by_node {
                let readers = plan.readers(plan.nodes[at].result).iter();
                for reader in readers.filter(|reader| self.stratum.nodes.contains(&reader.node)) {
                    let subjects = walk_back(working, &reader.path, ids.clone(), usize::MAX)?.unwrap_or_default();
                    let places = subjects.into_iter().map(|id| (reader.node, id));
                    match &plan.nodes[reader.node].rule {
                        Rule::Evaluate(_) => level.extend(places.filter(|place| closure.add(place))),
                        // All members are there from the start.
                        Rule::Group(_) if !self.members.is_empty() => {}
                        Rule::Group(group) => {
                            for (at, member) in places {
                                if entered.insert((at, member.clone()))
                                    && let Some(owner) = owner(working, group, &member)?
                                    && closure.add_member((at, owner.clone()), member)
                                {
                                    level.push((at, owner));
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(closure)
    }

    /// Computes a value; gives what has to be done before, or nothing if it is done.
    fn value(
        &mut self,
        working: &mut Working<'_>,
        closure: &mut Closure,
        at: usize,
        stack: &mut Vec<usize>,
    ) -> Result<Vec<Task>, EngineError> {
        let (place, state) = &mut closure.values[at];
        let index = match state {
            State::New => {
                let index = stack.len();
                *state = State::Open(Open { index, low: index, value: None });
                stack.push(at);
                index
            }
            State::Open(Open { index, value: None, .. }) => *index,
            State::Open(_) | State::Done => return Ok(Vec::new()),
        };
        let node = &self.schema.plan.nodes[place.0];
        let key = Key::new(node.result.ty, place.1.clone());
        let demand = Demand::new(working, closure);
        let (value, met) = match &node.rule {
            Rule::Evaluate(evaluate) if working.after(&key)?.is_some() => {
                self.evaluations += 1;
                match Eval::new(&demand, &key.id).value(&evaluate.expr) {
                    Err(EngineError::Awaited) => return Ok(demand.awaited.into_inner()),
                    value => (value?, demand.met.into_inner()),
                }
            }
            // What is gone has no value, and groups are no values.
            _ => (Value::Absent, Vec::new()),
        };
        let low = met.iter().filter_map(|met| closure.open(*met)).map(|open| open.low).min();
        let low = low.map_or(index, |low| low.min(index));
        closure.values[at].1 = State::Open(Open { index, low, value: Some(value) });
        if low == index {
            let circle = stack.split_off(index);
            let is_circle = circle.len() > 1 || met.contains(&at);
            for at in circle {
                let (place, state) = &mut closure.values[at];
                let State::Open(Open { value, .. }) = std::mem::replace(state, State::Done) else { continue };
                let value =
                    if is_circle { Value::Error(ErrorValue::Cycle) } else { value.unwrap_or_default() };
                let key = Key::new(self.schema.plan.nodes[place.0].result.ty, place.1.clone());
                self.store(working, place.0, &key, value)?;
                self.evaluated.insert(place.clone());
            }
        }
        Ok(Vec::new())
    }

    /// Applies a group to its members in the closure; gives what has to be done before, or nothing if it is done.
    fn group(
        &mut self,
        working: &mut Working<'_>,
        closure: &mut Closure,
        at: usize,
    ) -> Result<Vec<Task>, EngineError> {
        let Owned { place: (node_at, owner), members, read: None } = &closure.groups[at] else {
            return Ok(Vec::new());
        };
        let node = &self.schema.plan.nodes[*node_at];
        let Rule::Group(group) = &node.rule else { return Ok(Vec::new()) };
        let (node_at, owner) = (*node_at, Key::new(node.result.ty, owner.clone()));
        let demand = Demand::new(working, closure);
        let mut given = Vec::with_capacity(members.len());
        for member in members {
            match group::contribution_by(&Eval::new(&demand, member), group, member) {
                // All that is missing is asked for at once.
                Err(EngineError::Awaited) => {}
                contribution => given.push((member.clone(), contribution?)),
            }
        }
        let Demand { awaited, met, .. } = demand;
        if !awaited.borrow().is_empty() {
            return Ok(awaited.into_inner());
        }
        self.evaluations += given.len() as u64;
        let mut read = met.into_inner();
        read.sort_unstable();
        read.dedup();
        closure.groups[at].read = Some(read);
        let shifts: Result<Vec<_>, EngineError> = given
            .into_iter()
            .map(|(member, new)| self.shifted(working, node_at, group, &member, new))
            .collect();
        for (of, result) in group::shift(working, node, group, shifts?)? {
            debug_assert_eq!(of, owner, "members change their owner before the closure is made");
            self.store(working, node_at, &of, result)?;
        }
        Ok(Vec::new())
    }
}

/// The owner of the group that a member is in, which does not depend on the stratum.
fn owner(working: &Working<'_>, group: &Group, member: &Id) -> Result<Option<Id>, EngineError> {
    let Some(doc) = working.after(&Key::new(group.member, member.clone()))? else { return Ok(None) };
    Ok(group::contribution(working, group, member, &doc)?.map(|it| it.owner))
}

/// The stored values, those of the closure as they are asked for.
struct Demand<'a, 'w> {
    working: &'a Working<'w>,
    closure: &'a Closure,
    /// The open values that were read.
    met: RefCell<Vec<usize>>,
    /// What has to be done first.
    awaited: RefCell<Vec<Task>>,
}

impl<'a, 'w> Demand<'a, 'w> {
    fn new(working: &'a Working<'w>, closure: &'a Closure) -> Demand<'a, 'w> {
        Demand { working, closure, met: RefCell::default(), awaited: RefCell::default() }
    }

    fn wait_for(&self, task: Task) -> Result<Option<Value>, EngineError> {
        self.awaited.borrow_mut().push(task);
        Err(EngineError::Awaited)
    }
}

impl View for Demand<'_, '_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        self.working.doc(ty, id)
    }

    fn value(&self, field: FieldRef, id: &Id) -> Result<Option<Value>, EngineError> {
        if let Some(node) = self.closure.nodes.get(&field) {
            let place = (*node, id.clone());
            if let Some(&at) = self.closure.value_at.get(&place) {
                match &self.closure.values[at].1 {
                    State::Done => {}
                    State::Open(_) => {
                        self.met.borrow_mut().push(at);
                        return Ok(Some(Value::Error(ErrorValue::Cycle)));
                    }
                    State::New => return self.wait_for(Task::Value(at)),
                }
            }
            if let Some(&at) = self.closure.group_at.get(&place) {
                match &self.closure.groups[at].read {
                    None => return self.wait_for(Task::Group(at)),
                    Some(read) => {
                        let open = read.iter().filter(|at| self.closure.open(**at).is_some());
                        self.met.borrow_mut().extend(open);
                    }
                }
            }
        }
        self.working.value(field, id)
    }

    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError> {
        self.working.referrers(of, target)
    }

    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        self.working.all(ty)
    }

    fn now(&self) -> Timestamp {
        self.working.now()
    }

    fn holds_many(&self, field: FieldRef) -> bool {
        self.working.holds_many(field)
    }
}
