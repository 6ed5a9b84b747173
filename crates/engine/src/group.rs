//! The rule for groups: a member's old contribution is taken out, its new one put in.
//!
//! Sums keep their state in the owner's document; least, greatest, first and last keep their members in order in rows of
//! their own; resources that several members may stand for are counted in rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use corollary_schema::plan::lower::zero;
use corollary_schema::plan::{Group, PlanNode};
use corollary_schema::typed::{Aggregate, Kind};
use corollary_store::{Direction, KeyRange};
use corollary_value::codec::{self, push_varint, read_varint};
use corollary_value::order_key::{push_order_key, push_order_key_desc};
use corollary_value::{Id, Value, compare};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::keys;
use crate::propagate::{Changed, put_result, result_kind, store_result};
use crate::working::{Before, Row, Working};

/// What one member gives to one owner.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contribution {
    /// Whose group it is in.
    pub owner: Id,
    /// What its part is.
    pub given: Given,
}

/// A member's part in a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Given {
    /// What is summed, compared, or listed: a value, or the resource that stands for the member.
    pub value: Value,
    /// The order among the members, without the member's id.
    pub order: Vec<u8>,
}

/// What an owner loses and gains by one member.
struct Change {
    member: Id,
    old: Option<Given>,
    new: Option<Given>,
}

/// The result for no members.
pub fn of_nothing(aggregate: Aggregate, kind: &Kind) -> Value {
    match aggregate {
        Aggregate::Count => Value::Int(0),
        Aggregate::Sum => zero(kind),
        Aggregate::Collect => Value::List(Arc::new([])),
        _ => Value::Null,
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

/// Applies the changes of members; tells which results changed.
pub fn apply(
    working: &mut Working<'_>,
    node: &PlanNode,
    group: &Group,
    members: &[Key],
    counted: Counted,
) -> Result<Vec<Changed>, EngineError> {
    let mut by_owner: HashMap<Id, Vec<Change>, RandomState> = HashMap::default();
    for key in members {
        let (before, after) = working.before_and_after(key)?;
        let old = match &before {
            Some(doc) if counted == Counted::Before => contribution(&Before(working), group, &key.id, doc)?,
            _ => None,
        };
        let new = match &after {
            Some(doc) => contribution(&*working, group, &key.id, doc)?,
            None => None,
        };
        if old == new {
            continue;
        }
        let member = &key.id;
        match (old, new) {
            (Some(old), Some(new)) if old.owner == new.owner => {
                let change = Change { member: member.clone(), old: Some(old.given), new: Some(new.given) };
                by_owner.entry(new.owner).or_default().push(change);
            }
            (old, new) => {
                if let Some(old) = old {
                    let change = Change { member: member.clone(), old: Some(old.given), new: None };
                    by_owner.entry(old.owner).or_default().push(change);
                }
                if let Some(new) = new {
                    let change = Change { member: member.clone(), old: None, new: Some(new.given) };
                    by_owner.entry(new.owner).or_default().push(change);
                }
            }
        }
    }
    let mut owners: Vec<(Key, Vec<Change>)> =
        by_owner.into_iter().map(|(id, changes)| (Key::new(node.result.ty, id), changes)).collect();
    owners.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    working.prefetch(owners.iter().map(|(key, _)| key))?;
    let mut changed = Vec::new();
    for (owner, changes) in owners {
        let result = apply_to_owner(working, node, group, &owner, changes)?;
        if let Some(result) = result {
            changed.extend(match counted {
                Counted::Before => store_result(working, node, &owner, result)?,
                // Not all members are in it yet: whether a strict field is an error shows in the end.
                Counted::NotYet => put_result(working, node, &owner, result)?,
            });
        }
    }
    Ok(changed)
}

/// What a member gives, and to whom; nothing where it does not count.
pub(crate) fn contribution(
    view: &dyn View,
    group: &Group,
    member: &Id,
    doc: &Doc,
) -> Result<Option<Contribution>, EngineError> {
    let eval = Eval::of(view, member, doc);
    let Value::Ref(owner) = eval.value(&group.owner)? else { return Ok(None) };
    for condition in &group.conditions {
        if !eval.holds(condition)? {
            return Ok(None);
        }
    }
    let value = match (&group.value, &group.target) {
        (Some(value), _) => eval.value(value)?,
        (None, Some(target)) => match eval.value(target)? {
            target @ Value::Ref(_) => target,
            _ => return Ok(None),
        },
        (None, None) => Value::Ref(member.clone()),
    };
    let mut order = Vec::new();
    match group.aggregate {
        Aggregate::Min | Aggregate::Max => push_order_key(&value, &mut order),
        _ => {
            for (key, descending) in &group.keys {
                let key = eval.value(key)?;
                (if *descending { push_order_key_desc } else { push_order_key })(&key, &mut order);
            }
        }
    }
    Ok(Some(Contribution { owner, given: Given { value, order } }))
}

fn apply_to_owner(
    working: &mut Working<'_>,
    node: &PlanNode,
    group: &Group,
    owner: &Key,
    changes: Vec<Change>,
) -> Result<Option<Value>, EngineError> {
    let slot = node.result.slot;
    match group.aggregate {
        Aggregate::Min | Aggregate::Max | Aggregate::First | Aggregate::Last => {
            ordered(working, node, group, owner, changes).map(Some)
        }
        Aggregate::Count | Aggregate::Collect => {
            let elements = elements(working, node, group, owner, changes)?;
            let Some(doc) = working.after(owner)? else { return Ok(None) };
            Ok(Some(match (group.aggregate, doc.get(slot)) {
                (Aggregate::Count, Value::Int(count)) => {
                    let by: i64 = elements.iter().map(|(_, there)| if *there { 1 } else { -1 }).sum();
                    Value::Int(count + by)
                }
                (Aggregate::Count, _) => return Err(EngineError::corrupt("a count")),
                (_, list) => listed(list, elements),
            }))
        }
        _ => {
            let kind = result_kind(working.schema, node.result);
            let Some(doc) = working.edit(owner)? else { return Ok(None) };
            let mut state = doc.state(slot);
            for change in &changes {
                if let Some(old) = &change.old {
                    state.remove(&old.value);
                }
                if let Some(new) = &change.new {
                    state.add(&new.value);
                }
            }
            let result = match group.aggregate {
                Aggregate::Average => state.average(),
                _ => state.sum(&zero(&kind)),
            };
            doc.set_state(slot, state);
            Ok(Some(result))
        }
    }
}

/// The row of a member of a group that is kept in order.
pub(crate) fn ordered_row(
    node: &PlanNode,
    group: &Group,
    owner: &Id,
    member: &Id,
    given: &Given,
) -> Option<Row> {
    // Nulls have no part in a comparison; in an order they are elements like any other.
    if matches!(group.aggregate, Aggregate::Min | Aggregate::Max) && given.value.is_null() {
        return None;
    }
    let mut key = keys::members_of(node.definition, owner);
    key.extend_from_slice(&given.order);
    member.push_key(&mut key);
    let mut value = Vec::new();
    codec::encode(&given.value, &mut value);
    Some((key, value))
}

/// Keeps the members in order and looks at the end that counts.
fn ordered(
    working: &mut Working<'_>,
    node: &PlanNode,
    group: &Group,
    owner: &Key,
    changes: Vec<Change>,
) -> Result<Value, EngineError> {
    let prefix = keys::members_of(node.definition, &owner.id);
    let compared = matches!(group.aggregate, Aggregate::Min | Aggregate::Max);
    for change in &changes {
        if let Some((key, _)) =
            change.old.as_ref().and_then(|old| ordered_row(node, group, &owner.id, &change.member, old))
        {
            working.delete_row(keys::MEMBER, key);
        }
        if let Some((key, value)) =
            change.new.as_ref().and_then(|new| ordered_row(node, group, &owner.id, &change.member, new))
        {
            working.put_row(keys::MEMBER, key, value);
        }
    }
    let first = |working: &Working<'_>, prefix: Vec<u8>, direction| -> Result<Option<Value>, EngineError> {
        let found = working.first_row(keys::MEMBER, &KeyRange::prefix(prefix), direction)?;
        let decoded = found.map(|(_, value)| codec::decode(&mut &value[..]));
        decoded.transpose().map_err(|_| EngineError::corrupt("a member of a group"))
    };
    if compared {
        // Errors sort behind all else; the first of them is the result.
        let mut errors = prefix.clone();
        let mut sample = Vec::new();
        push_order_key(&Value::Error(corollary_value::ErrorValue::Cycle), &mut sample);
        errors.push(sample[0]);
        if let Some(error) = first(working, errors, Direction::Forward)? {
            return Ok(error);
        }
    }
    let direction = match group.aggregate {
        Aggregate::Min | Aggregate::First => Direction::Forward,
        _ => Direction::Backward,
    };
    Ok(first(working, prefix, direction)?.unwrap_or(Value::Null))
}

/// Which elements joined (true) and left: members themselves, or what several of them stand for.
fn elements(
    working: &mut Working<'_>,
    node: &PlanNode,
    group: &Group,
    owner: &Key,
    changes: Vec<Change>,
) -> Result<Vec<(Value, bool)>, EngineError> {
    let mut steps = Vec::new();
    for change in changes {
        steps.extend(change.old.map(|old| (old.value, false)));
        steps.extend(change.new.map(|new| (new.value, true)));
    }
    steps.retain(|(value, _)| !value.is_null());
    if group.target.is_none() {
        return Ok(steps);
    }
    let mut net: BTreeMap<Id, i64> = BTreeMap::new();
    for (value, there) in steps {
        if let Value::Ref(id) = value {
            *net.entry(id).or_default() += if there { 1 } else { -1 };
        }
    }
    let mut crossed = Vec::new();
    for (target, by) in net.into_iter().filter(|(_, by)| *by != 0) {
        let mut key = keys::members_of(node.definition, &owner.id);
        target.push_key(&mut key);
        let corrupt = || EngineError::corrupt("the count of a member");
        let count = match working.row(keys::MEMBER, key.clone())? {
            Some(bytes) => read_varint(&mut &bytes[..]).map_err(|_| corrupt())?,
            None => 0,
        };
        let new = count.checked_add_signed(by).ok_or_else(corrupt)?;
        if new == 0 {
            working.delete_row(keys::MEMBER, key);
        } else {
            let mut bytes = Vec::new();
            push_varint(new, &mut bytes);
            working.put_row(keys::MEMBER, key, bytes);
        }
        if (count == 0) != (new == 0) {
            crossed.push((Value::Ref(target), new > 0));
        }
    }
    Ok(crossed)
}

/// A list in the order of ids, with elements put in and taken out.
fn listed(list: &Value, elements: Vec<(Value, bool)>) -> Value {
    let mut all: Vec<Value> = match list {
        Value::List(elements) => elements.to_vec(),
        _ => Vec::new(),
    };
    for (element, there) in elements {
        match (all.binary_search_by(|other| compare(other, &element)), there) {
            (Ok(at), false) => {
                all.remove(at);
            }
            (Err(at), true) => all.insert(at, element),
            _ => {}
        }
    }
    Value::List(all.into())
}
