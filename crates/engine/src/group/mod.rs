//! The rule for groups: a member's old contribution is taken out, its new one put in.
//!
//! Here the contributions of members are found and handed to the places they belong to: an owner's group, or one key
//! of the map that an owner has. What a place keeps is the business of one module each: `counted` (the number of
//! elements, or the elements themselves), `summed` (a state in the owner's document), `ordered` (rows in order) and
//! `ranked` (rows in order with counts above them); `keyed` keeps the places of a map. Where it does not matter in what order
//! members come and go, `gathered` adds up what they give before any place is looked at.

mod counted;
mod gathered;
mod keyed;
mod ordered;
mod ranked;
mod summed;

use corollary_schema::plan::{Group, Keeping, PlanNode, Rule};
use corollary_schema::typed::{Aggregate, Kind};
use corollary_value::order_key::{push_order_key, push_order_key_desc};
use corollary_value::{Id, SumState, Value};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::clock;
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View, Wake};
use crate::keys;
use crate::propagate::{Changed, put_result, store_result};
use crate::updates::lag::{self, Lag};
use crate::working::{Before, Working};

pub(crate) use gathered::Gathered;
pub(crate) use keyed::{Header, header_key, place_of};
pub(crate) use ordered::row as ordered_row;
pub(crate) use ranked::rows as ranked_rows;

/// What one member gives to one owner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contribution {
    /// Whose group it is in.
    pub owner: Id,
    /// What its part is: one thing, or any number where a member gives several values.
    pub given: Vec<Given>,
}

/// A member's part in a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Given {
    /// Under which key of a map; null where the result is no map.
    pub key: Value,
    /// What is summed, compared, or listed: a value, or the resource that stands for the member.
    pub value: Value,
    /// The order among the members, without the member's id.
    pub order: Vec<u8>,
    /// Which of the member's values it is, where a member gives several.
    pub part: Option<u32>,
}

/// What a place loses and gains by one member.
#[derive(Clone, Copy)]
pub(crate) struct Change<'s> {
    member: &'s Id,
    old: Option<&'s Given>,
    new: Option<&'s Given>,
}

/// What a place keeps beside its rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// What sums are taken from.
    pub state: SumState,
    /// The result so far.
    pub result: Value,
}

impl Place {
    /// That of no members.
    pub fn of_nothing(aggregate: Aggregate, kind: &Kind) -> Place {
        Place { state: SumState::default(), result: aggregate.of_nothing(kind) }
    }
}

/// What the groups know of the members that are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// What they were before the transaction.
    Before,
    /// Nothing: the groups are being built.
    NotYet,
}

/// A member whose part in groups is another now.
#[derive(Debug)]
pub(crate) struct Shift {
    /// Which.
    pub member: Id,
    /// What the groups know of it.
    pub old: Option<Contribution>,
    /// What they should.
    pub new: Option<Contribution>,
}

/// Applies the changes of members to the groups of a node, by its place in the plan; tells which results changed.
pub(crate) fn apply(
    working: &mut Working<'_>,
    at: usize,
    members: &[Key],
    counted: Counted,
) -> Result<Vec<Changed>, EngineError> {
    let node = &working.schema.plan.nodes[at];
    let Rule::Group(group) = &node.rule else { return Ok(Vec::new()) };
    let lag = lag::lag(working, at)?;
    let then = match &working.passing {
        Some((node, then)) if *node == at => then.clone(),
        _ => lag.clone(),
    };
    let given = |lag: &Option<Lag>, view: &dyn View, member: &Id, doc: &Doc, wake: &Wake| match lag {
        Some(lag) => lag.whole(view, group, member, doc, wake),
        None => contribution(view, group, member, doc, wake),
    };
    // What the group of its owner counts, and what is yet to be written there.
    let parted = |lag: &Option<Lag>, whole: Option<Contribution>| match (lag, whole) {
        (Some(lag), Some(whole)) if !lag.counts_for(&whole.owner) => (None, Some(whole)),
        (_, whole) => (whole, None),
    };
    let gathered = working.gathered.iter().find(|reach| reach.node == at).cloned();
    if lag.is_none() && then.is_none() && gathered.is_none() && Gathered::suits(group) {
        return gathered::apply(working, node, group, members, counted);
    }
    let mut shifts = Vec::with_capacity(members.len());
    for key in members {
        let (before, after) = working.before_and_after(key)?;
        let (was, will) = (Wake::default(), Wake::default());
        let old = match &before {
            Some(doc) if counted == Counted::Before => given(&lag, &Before(working), &key.id, doc, &was)?,
            _ => None,
        };
        let new = match &after {
            Some(doc) => given(&then, &*working, &key.id, doc, &will)?,
            None => None,
        };
        if group.timed {
            clock::rearm(working, node, &key.id, was.get(), will.get());
        }
        let ((old, waited), (new, waits)) = (parted(&lag, old), parted(&then, new));
        if waited != waits && gathered.as_ref().is_some_and(|reach| reach.has(&key.id)) {
            working.regathered.push((at, Shift { member: key.id.clone(), old: waited, new: waits }));
        }
        shifts.push(Shift { member: key.id.clone(), old, new });
    }
    let mut changed = Vec::new();
    for (owner, result) in shift(working, node, group, &shifts)? {
        changed.extend(store(working, node, &owner, result, counted)?);
    }
    Ok(changed)
}

/// Stores the result of an owner.
fn store(
    working: &mut Working<'_>,
    node: &PlanNode,
    owner: &Key,
    result: Value,
    counted: Counted,
) -> Result<Option<Changed>, EngineError> {
    match counted {
        Counted::Before => store_result(working, node, owner, result),
        // Not all members are in it yet: whether a strict field is an error shows in the end.
        Counted::NotYet => put_result(working, node, owner, result),
    }
}

/// Takes old contributions out and puts new ones in; gives the results of the owners that this concerns, which are yet
/// to be stored.
pub(crate) fn shift(
    working: &mut Working<'_>,
    node: &PlanNode,
    group: &Group,
    shifts: &[Shift],
) -> Result<Vec<(Key, Value)>, EngineError> {
    let mut by_owner: HashMap<&Id, Vec<Change<'_>>, RandomState> = HashMap::default();
    for Shift { member, old, new } in shifts {
        if old == new {
            continue;
        }
        match (old, new) {
            (Some(old), Some(new)) if old.owner == new.owner => {
                push_changes(by_owner.entry(&new.owner).or_default(), member, &old.given, &new.given);
            }
            (old, new) => {
                if let Some(old) = old {
                    push_changes(by_owner.entry(&old.owner).or_default(), member, &old.given, &[]);
                }
                if let Some(new) = new {
                    push_changes(by_owner.entry(&new.owner).or_default(), member, &[], &new.given);
                }
            }
        }
    }
    // Who gave no values and gives none has changed nothing.
    let owners = by_owner.into_iter().filter(|(_, changes)| !changes.is_empty());
    let mut owners: Vec<_> =
        owners.map(|(id, changes)| (Key::new(node.result.ty, id.clone()), changes)).collect();
    owners.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    working.prefetch(owners.iter().map(|(key, _)| key))?;
    let mut results = Vec::with_capacity(owners.len());
    for (owner, changes) in owners {
        if let Some(result) = apply_to_owner(working, node, group, &owner, &changes)? {
            results.push((owner, result));
        }
    }
    Ok(results)
}

/// Adds how what a member gave to an owner becomes what it gives, part by part; parts that are as they were left out.
fn push_changes<'s>(changes: &mut Vec<Change<'s>>, member: &'s Id, old: &'s [Given], new: &'s [Given]) {
    for at in 0..old.len().max(new.len()) {
        let (old, new) = (old.get(at), new.get(at));
        if old != new {
            changes.push(Change { member, old, new });
        }
    }
}

/// What a member gives, and to whom; nothing where it does not count. `wake` tells when the clock changes that.
pub(crate) fn contribution(
    view: &dyn View,
    group: &Group,
    member: &Id,
    doc: &Doc,
    wake: &Wake,
) -> Result<Option<Contribution>, EngineError> {
    let mut eval = Eval::of(view, member, doc);
    if group.timed {
        eval = eval.waking(wake);
    }
    contribution_by(&eval, group, member)
}

/// The same, by an evaluation that may read the member's own fields through its view.
pub(crate) fn contribution_by(
    eval: &Eval<'_>,
    group: &Group,
    member: &Id,
) -> Result<Option<Contribution>, EngineError> {
    let Some(owner) = owner_of(eval, group)? else { return Ok(None) };
    let key = match &group.by {
        Some(by) => match eval.value(by)? {
            key if key.is_null() => return Ok(None),
            key => key,
        },
        None => Value::Null,
    };
    let Some(value) = value_of(eval, group, member)? else { return Ok(None) };
    let mut order = Vec::new();
    if !group.is_by_value() {
        for (key, descending) in &group.keys {
            let key = eval.value(key)?;
            (if *descending { push_order_key_desc } else { push_order_key })(&key, &mut order);
        }
    }
    let given = |value: Value, part: Option<u32>| {
        let mut order = order.clone();
        if group.is_by_value() {
            push_order_key(&value, &mut order);
        }
        Given { key: key.clone(), value, order, part }
    };
    let given = match value {
        Value::List(values) if group.gives_several() => {
            values.iter().zip(0..).map(|(value, part)| given(value.clone(), Some(part))).collect()
        }
        value => vec![given(value, None)],
    };
    Ok(Some(Contribution { owner, given }))
}

/// In whose group a member counts; nothing where it does not.
fn owner_of(eval: &Eval<'_>, group: &Group) -> Result<Option<Id>, EngineError> {
    let Value::Ref(owner) = eval.value(&group.owner)? else { return Ok(None) };
    for condition in &group.conditions {
        if !eval.holds(condition)? {
            return Ok(None);
        }
    }
    Ok(Some(owner))
}

/// What is summed, compared or listed of a member that counts; nothing where it stands for nobody.
fn value_of(eval: &Eval<'_>, group: &Group, member: &Id) -> Result<Option<Value>, EngineError> {
    match (&group.value, &group.target) {
        (Some(value), _) => eval.value(value).map(Some),
        (None, Some(target)) => Ok(Some(eval.value(target)?).filter(|it| matches!(it, Value::Ref(_)))),
        (None, None) => Ok(Some(Value::Ref(member.clone()))),
    }
}

/// The new result of an owner's group; nothing where the owner is gone, and its rows with it.
fn apply_to_owner(
    working: &mut Working<'_>,
    node: &PlanNode,
    group: &Group,
    owner: &Key,
    changes: &[Change<'_>],
) -> Result<Option<Value>, EngineError> {
    let slot = node.result.slot;
    let prefix = keys::members_of(node.definition, &owner.id);
    let (there, mut place) = match working.after(owner)? {
        Some(doc) => (true, Place { state: doc.state(slot), result: doc.get(slot).clone() }),
        None => (false, Place::of_nothing(group.aggregate, &group.kind())),
    };
    if group.by.is_some() {
        let result = keyed::apply(working, group, &prefix, &place.result, changes)?;
        return Ok(there.then_some(result));
    }
    apply_to_place(working, group, &prefix, &mut place, changes)?;
    if there && group.keeping() == Keeping::Sums {
        let doc = working.edit(owner)?;
        doc.into_iter().for_each(|doc| doc.set_state(slot, std::mem::take(&mut place.state)));
    }
    Ok(there.then_some(place.result))
}

/// Brings one place, its rows below `prefix`, up to date.
fn apply_to_place(
    working: &mut Working<'_>,
    group: &Group,
    prefix: &[u8],
    place: &mut Place,
    changes: &[Change<'_>],
) -> Result<(), EngineError> {
    match group.keeping() {
        Keeping::Counts => counted::apply(working, group, prefix, place, changes),
        Keeping::Sums => {
            summed::apply(group, place, changes);
            Ok(())
        }
        Keeping::Order => ordered::apply(working, group.aggregate, prefix, place, changes),
        Keeping::Ranks => ranked::apply(working, group.aggregate, prefix, place, changes),
    }
}
