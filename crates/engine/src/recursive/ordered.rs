//! The exact way, for whatever order and circles there are: all that may still change is computed as it is asked for.
//!
//! First comes the *closure*: what is dirty, and all that may read it, and so on. What lies outside is right as it is
//! stored. The closure is gone through in the order in which its parts may read each other, and what is neither dirty nor on
//! a circle so far, nor reads anything that came out as another, stays as it is, without a look at it.
//!
//! What may read itself has no such order. It is evaluated as it is asked for: an expression that asks for what is not
//! there yet is put off and evaluated again, so no chain is too long for the stack. Circles are found as by Tarjan: a
//! value that is still open when it is asked for is on one circle with the one that asks, so it is seen as `#cycle` at
//! once, which is what it will be. A group is applied when it is asked for, to those of its members that lie in the
//! closure, after all of theirs.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use corollary_schema::FieldRef;
use corollary_schema::plan::{Group, Rule};
use corollary_value::{ErrorValue, Id, Value};
use hashbrown::{HashMap, HashSet};

use super::{Place, Run};
use crate::doc::Key;
use crate::error::EngineError;
use crate::eval::{Eval, Over, View};
use crate::group;
use crate::propagate::walk_back;
use crate::working::Working;

/// What may read a part of the closure, and whether it has to be looked at.
#[derive(Default)]
struct Order {
    /// Who may read it.
    readers: Vec<Task>,
    /// How many that it may read have not been gone through.
    waits: usize,
    /// Is it dirty, or did something come out as another that it may read?
    touched: bool,
}

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
    /// By value.
    value_order: Vec<Order>,
    groups: Vec<Owned>,
    group_at: HashMap<Place, usize>,
    /// By group.
    group_order: Vec<Order>,
    /// Whose result came out as another.
    changed: HashSet<Place>,
}

impl Closure {
    fn open(&self, value: usize) -> Option<&Open> {
        match &self.values[value].1 {
            State::Open(open) => Some(open),
            _ => None,
        }
    }

    /// The part of the closure that a value is; true where it is a new one.
    fn add(&mut self, place: Place) -> (Task, bool) {
        if let Some(at) = self.value_at.get(&place) {
            return (Task::Value(*at), false);
        }
        self.value_at.insert(place.clone(), self.values.len());
        self.values.push((place, State::New));
        self.value_order.push(Order::default());
        (Task::Value(self.values.len() - 1), true)
    }

    /// The part of the closure that a group is; true where it is a new one.
    fn add_group(&mut self, place: Place) -> (usize, bool) {
        if let Some(at) = self.group_at.get(&place) {
            return (*at, false);
        }
        self.group_at.insert(place.clone(), self.groups.len());
        self.groups.push(Owned { place, members: Vec::new(), read: None });
        self.group_order.push(Order::default());
        (self.groups.len() - 1, true)
    }

    /// Leaves a part as it is stored.
    fn pass(&mut self, task: Task) {
        match task {
            Task::Value(at) => {
                if let state @ State::New = &mut self.values[at].1 {
                    *state = State::Done;
                }
            }
            Task::Group(at) => {
                self.groups[at].read.get_or_insert_default();
            }
        }
    }

    fn order(&mut self, task: Task) -> &mut Order {
        match task {
            Task::Value(at) => &mut self.value_order[at],
            Task::Group(at) => &mut self.group_order[at],
        }
    }

    fn place(&self, task: Task) -> &Place {
        match task {
            Task::Value(at) => &self.values[at].0,
            Task::Group(at) => &self.groups[at].place,
        }
    }

    /// Enters that one part may read another.
    fn link(&mut self, read: Task, reader: Task) {
        self.order(read).readers.push(reader);
        self.order(reader).waits += 1;
    }
}

impl Run<'_> {
    /// Brings up to date all values that are dirty, and all that may follow.
    pub(super) fn order(&mut self, working: &mut Working<'_>, dirty: Vec<Place>) -> Result<(), EngineError> {
        let mut closure = self.closure(working, dirty)?;
        self.touch_circles(working, &mut closure)?;
        let values = (0..closure.values.len()).map(Task::Value);
        let all: Vec<Task> = values.chain((0..closure.groups.len()).map(Task::Group)).collect();
        let mut stack = Vec::new();
        let ready = all.iter().copied().filter(|task| closure.order(*task).waits == 0);
        let mut ready: VecDeque<Task> = ready.collect();
        while let Some(task) = ready.pop_front() {
            if closure.order(task).touched {
                self.run(working, &mut closure, task, &mut stack)?;
            } else {
                closure.pass(task);
            }
            let changed = closure.changed.contains(closure.place(task));
            for reader in std::mem::take(&mut closure.order(task).readers) {
                let order = closure.order(reader);
                order.touched |= changed;
                order.waits -= 1;
                if order.waits == 0 {
                    ready.push_back(reader);
                }
            }
        }
        // What is left may read itself.
        for task in all {
            self.run(working, &mut closure, task, &mut stack)?;
        }
        Ok(())
    }

    /// What was on a circle is `#cycle` whatever it reads, so it is looked at also where all that it reads comes out as
    /// before: a count of values does not tell whether one of them was on a circle with it.
    fn touch_circles(&self, working: &Working<'_>, closure: &mut Closure) -> Result<(), EngineError> {
        let Closure { values, value_order, .. } = closure;
        for (((at, id), _), order) in values.iter().zip(value_order) {
            let result = self.schema.plan.nodes[*at].result;
            let doc = working.after(&Key::new(result.ty, id.clone()))?;
            order.touched |=
                doc.is_some_and(|doc| matches!(doc.get(result.slot), Value::Error(ErrorValue::Cycle)));
        }
        Ok(())
    }

    /// Does something, and all that has to be done before.
    fn run(
        &mut self,
        working: &mut Working<'_>,
        closure: &mut Closure,
        task: Task,
        stack: &mut Vec<usize>,
    ) -> Result<(), EngineError> {
        let mut walk = vec![task];
        while let Some(task) = walk.last().copied() {
            let awaited = match task {
                Task::Value(at) => self.value(working, closure, at, stack)?,
                Task::Group(at) => self.group(working, closure, at)?,
            };
            if awaited.is_empty() {
                walk.pop();
            }
            walk.extend(awaited);
        }
        Ok(())
    }

    /// What is dirty, and all that may read it.
    fn closure(&self, working: &Working<'_>, dirty: Vec<Place>) -> Result<Closure, EngineError> {
        let plan = &self.schema.plan;
        let mut closure = Closure::default();
        closure.nodes.extend(self.stratum.nodes.clone().map(|at| (plan.nodes[at].result, at)));
        let mut next = VecDeque::new();
        for place in dirty {
            let (task, _) = closure.add(place);
            closure.order(task).touched = true;
            next.push_back(task);
        }
        // Where groups are being built, all members are there from the start.
        for (at, member) in &self.members {
            if let Rule::Group(group) = &plan.nodes[*at].rule
                && let Some(owner) = owner(working, group, member)?
            {
                let (at, new) = closure.add_group((*at, owner));
                closure.groups[at].members.push(member.clone());
                closure.group_order[at].touched = true;
                next.extend(new.then_some(Task::Group(at)));
            }
        }
        let mut entered: HashSet<Place> = self.members.iter().cloned().collect();
        while let Some(task) = next.pop_front() {
            let (at, id) = closure.place(task).clone();
            let readers = plan.readers(plan.nodes[at].result).iter();
            for reader in readers.filter(|reader| self.stratum.nodes.contains(&reader.node)) {
                let from = BTreeSet::from([id.clone()]);
                for id in walk_back(working, &reader.path, from, usize::MAX)?.unwrap_or_default() {
                    let place = (reader.node, id);
                    let (found, new) = match &plan.nodes[reader.node].rule {
                        Rule::Evaluate(_) => closure.add(place),
                        Rule::Group(group) => {
                            let Some(owner) = owner(working, group, &place.1)? else { continue };
                            let (at, new) = closure.add_group((reader.node, owner));
                            if entered.insert(place.clone()) {
                                closure.groups[at].members.push(place.1);
                            }
                            (Task::Group(at), new)
                        }
                    };
                    closure.link(task, found);
                    next.extend(new.then_some(found));
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
                if self.store(working, place.0, &key, value)? {
                    closure.changed.insert(place.clone());
                }
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
        for (of, result) in group::shift(working, node, group, &shifts?)? {
            debug_assert_eq!(of, owner, "members change their owner before the closure is made");
            if self.store(working, node_at, &of, result)? {
                closure.changed.insert((node_at, of.id));
            }
        }
        Ok(Vec::new())
    }
}

/// The owner of the group that a member is in, which does not depend on the stratum.
fn owner(working: &Working<'_>, group: &Group, member: &Id) -> Result<Option<Id>, EngineError> {
    let Some(doc) = working.after(&Key::new(group.member, member.clone()))? else { return Ok(None) };
    Ok(group::contribution_by(&Eval::of(working, member, &doc), group, member)?.map(|it| it.owner))
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

impl Over for Demand<'_, '_> {
    fn below(&self) -> &dyn View {
        self.working
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
}
