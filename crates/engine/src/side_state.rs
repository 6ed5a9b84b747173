//! Checks what groups keep beside their results: the states of sums, the members in order, the counts of targets, the
//! results of hidden parts of an expression, and the entries of indexes.
//!
//! A wrong one shows in no value yet, but the next change of the group would go on from it. The expected state is
//! computed from all members anew; that the values they are computed from are right is the business of the
//! [`crate::oracle`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use corollary_schema::plan::{Evaluate, Group, Keeping, PlanNode, Rule, Timer};
use corollary_schema::{FieldId, FieldKind, FieldRef, TypeIx};
use corollary_store::{Direction, KeyRange, Keyspace};
use corollary_value::{Id, SumState, Value};

use crate::aggregates::{aggregate_of, map_of};
use crate::clock;
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View, Wake};
use crate::group::{self, Given, Header, Place};
use crate::index;
use crate::keys;
use crate::order;
use crate::rebuild::Structure;
use crate::updates::Settled;
use crate::updates::lag::{Lag, lags};
use crate::working::{Row, Working, linked, targets};

/// The structures whose stored state is not what the stored values give, each with a sentence that says where.
pub fn check(working: &Working<'_>) -> Result<BTreeMap<Structure, String>, EngineError> {
    let schema = working.schema;
    let settled = Settled::new(working);
    let lags = lags(schema, &working.open_updates());
    let mut wrong = BTreeMap::new();
    for (at, node) in schema.plan.nodes.iter().enumerate() {
        let what = match &node.rule {
            Rule::Group(group) => {
                check_group(working, node, group, &lags.get(&at).cloned().unwrap_or_default())?
            }
            Rule::Evaluate(evaluate) => check_owners(working, &settled, node, evaluate)?,
        };
        if let Some(id) = what {
            let (ty, field) = (&schema.ty(node.result.ty).name, &schema.field(node.result).name);
            let message = format!("what {ty} {id} keeps for `{field}` is not what follows from the values");
            wrong.insert(Structure::Definition(node.definition), message);
        }
    }
    for (ty, resource) in schema.types() {
        for (slot, field) in resource.slots() {
            if let (FieldKind::Position { .. }, Some(index)) = (&field.kind, field.parent_index) {
                let expected = order::expected(working, FieldRef { ty, slot })?;
                if rows_differ(working, keys::INDEX, index, expected)? {
                    let name = &resource.name;
                    let message =
                        format!("the order of the children of type {name} is not what their positions give");
                    wrong.insert(Structure::Index(index), message);
                }
                continue;
            }
            for (by, index) in index::of(field) {
                let expected = expected(working, ty, &|id, doc| {
                    index::entries(resource, slot, by, id, doc).into_iter().collect()
                })?;
                if differs(working, keys::INDEX, index, &expected)? {
                    let (name, by) = (&field.name, by.name());
                    let message =
                        format!("the index{by} of {}.{name} is not what the values give", resource.name);
                    wrong.insert(Structure::Index(index), message);
                }
            }
            if field.reference_index {
                let at = FieldRef { ty, slot };
                let expected = expected(working, ty, &|id, doc| {
                    let targets = linked(schema, at, doc).into_iter();
                    targets.map(|target| keys::reference(field.id, &target, id)).collect()
                })?;
                if differs(working, keys::REFERENCE, field.id, &expected)? {
                    let name = &field.name;
                    let message =
                        format!("the references of {}.{name} are not what the values give", resource.name);
                    wrong.insert(Structure::References(field.id), message);
                }
            }
        }
    }
    Ok(wrong)
}

fn differ(stored: &Value, expected: &Value) -> bool {
    stored != expected && !(stored.is_null() && expected.is_null())
}

/// The members of one place in the order of its elements, each with what it gives.
type Members = Vec<(Id, Given)>;

/// The first owner whose state is wrong; where only rows are, the owner of the first of them is not told apart.
fn check_group(
    working: &Working<'_>,
    node: &PlanNode,
    group: &Group,
    lag: &Lag,
) -> Result<Option<Id>, EngineError> {
    let mut timers = BTreeSet::new();
    let mut owners: BTreeMap<Id, Members> = BTreeMap::new();
    for member in working.all(group.member)? {
        let Some(doc) = working.after(&Key::new(group.member, member.clone()))? else { continue };
        let wake = Wake::default();
        let it = lag.contribution(working, group, &member, &doc, &wake)?;
        timers.extend(wake.get().map(|time| keys::timer(node.definition, time, &member)));
        let Some(it) = it else { continue };
        let given = it.given.into_iter().map(|given| (member.clone(), given));
        owners.entry(it.owner).or_default().extend(given);
    }
    for members in owners.values_mut() {
        // Members come in the order of their ids, which is the order of those that are equal otherwise.
        members.sort_by(|(_, left), (_, right)| left.order.cmp(&right.order));
    }
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (owner, members) in &owners {
        let prefix = keys::members_of(node.definition, owner);
        if group.by.is_none() {
            place(group, &prefix, members, &mut rows);
            continue;
        }
        for (key, members) in by_key(members) {
            let kept = place(group, &group::place_of(&prefix, &key), &members, &mut rows);
            let header = Header { key: key.clone(), members: members.len() as u64, place: kept };
            rows.insert(group::header_key(&prefix, &key), header.encode());
        }
    }
    for id in working.all(node.result.ty)? {
        let Some(doc) = working.after(&Key::new(node.result.ty, id.clone()))? else { continue };
        let members = owners.get(&id).map(Vec::as_slice).unwrap_or_default();
        let (state, result) = match group.by {
            Some(_) => {
                let keyed = members.iter().map(|(_, given)| (given.key.clone(), given.value.clone()));
                (SumState::default(), map_of(keyed.collect(), group.aggregate, &group.kind()))
            }
            None => {
                let kept = place(group, &[], members, &mut BTreeMap::new());
                (kept.state, kept.result)
            }
        };
        if !lag.is_emptied(&id) {
            continue;
        }
        if doc.state(node.result.slot) != state || differ(doc.get(node.result.slot), &result) {
            return Ok(Some(id));
        }
    }
    let owner_of = |key: &[u8]| key.get(4..).and_then(Id::read_key).map(|(id, _)| id);
    let mut expected = rows.into_iter();
    let mut odd = None;
    let prefix = KeyRange::prefix(node.definition.0.to_be_bytes().to_vec());
    working.base.scan(keys::MEMBER, &prefix, Direction::Forward, &mut |key, value| {
        let next: Option<Row> = expected.next();
        if next.as_ref().is_some_and(|(k, v)| k == key && v == value) {
            return ControlFlow::Continue(());
        }
        odd = Some(next.map_or_else(|| key.to_vec(), |(k, _)| k.min(key.to_vec())));
        ControlFlow::Break(())
    })?;
    let odd = odd.or_else(|| expected.next().map(|(key, _)| key));
    if let Some(key) = odd {
        return owner_of(&key).map(Some).ok_or_else(|| EngineError::corrupt("the row of a member"));
    }
    first_odd_timer(working, node, timers)
}

/// The first owner of an evaluated node for which its hidden result, or its timer, is wrong.
fn check_owners(
    working: &Working<'_>,
    settled: &Settled<'_, '_>,
    node: &PlanNode,
    evaluate: &Evaluate,
) -> Result<Option<Id>, EngineError> {
    let hidden = matches!(working.schema.field(node.result).kind, FieldKind::Aggregate { .. });
    if !hidden && evaluate.timer.is_none() {
        return Ok(None);
    }
    let mut timers = BTreeSet::new();
    for id in working.all(node.result.ty)? {
        let Some(doc) = working.after(&Key::new(node.result.ty, id.clone()))? else { continue };
        let wake = Wake::default();
        let value = Eval::new(working, &id).waking(&wake).value(&evaluate.expr)?;
        let time = match evaluate.timer {
            Some(Timer::Expires) => clock::time_in(&value),
            _ => wake.get(),
        };
        let kept = node.keeps_time().and_then(|slot| clock::time_in(doc.get(slot)));
        if settled.may_be_behind(node.result, &id)? {
            // Its timer is behind with it.
            timers.extend(kept.map(|time| keys::timer(node.definition, time, &id)));
            continue;
        }
        if (hidden && differ(doc.get(node.result.slot), &value)) || (evaluate.timer.is_some() && kept != time)
        {
            return Ok(Some(id));
        }
        timers.extend(time.map(|time| keys::timer(node.definition, time, &id)));
    }
    first_odd_timer(working, node, timers)
}

/// The subject of the first timer of a node that is not there and should be, or is and should not.
fn first_odd_timer(
    working: &Working<'_>,
    node: &PlanNode,
    expected: BTreeSet<Vec<u8>>,
) -> Result<Option<Id>, EngineError> {
    let mut there = BTreeSet::new();
    let prefix = KeyRange::prefix(keys::timers_of(node.definition));
    working.base.scan(keys::TIMER, &prefix, Direction::Forward, &mut |key, _| {
        there.insert(key.to_vec());
        ControlFlow::Continue(())
    })?;
    let odd = expected.symmetric_difference(&there).next();
    let subject = |key: &Vec<u8>| keys::read_timer(key).map(|(_, id)| id);
    odd.map(|key| subject(key).ok_or_else(|| EngineError::corrupt("a timer"))).transpose()
}

/// What a place with these members keeps; its rows are put to the others.
fn place(
    group: &Group,
    prefix: &[u8],
    members: &[(Id, Given)],
    rows: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Place {
    let mut elements: Vec<Value> = members.iter().map(|(_, given)| given.value.clone()).collect();
    let mut state = SumState::default();
    match group.keeping() {
        Keeping::Sums => elements.iter().for_each(|value| state.add(value)),
        Keeping::Ranks => rows.extend(group::ranked_rows(prefix, members)),
        Keeping::Order => {
            let row =
                |(member, given): &(Id, Given)| group::ordered_row(group.aggregate, prefix, member, given);
            rows.extend(members.iter().filter_map(row));
        }
        Keeping::Counts if group.target.is_some() => {
            let mut counts: BTreeMap<Id, u64> = BTreeMap::new();
            for target in elements.iter().flat_map(targets) {
                *counts.entry(target).or_default() += 1;
            }
            for (target, count) in &counts {
                let mut key = prefix.to_vec();
                target.push_key(&mut key);
                rows.insert(key, keys::count(*count));
            }
            elements = counts.into_keys().map(Value::Ref).collect();
        }
        Keeping::Counts => {}
    }
    let list = Value::List(elements.into());
    Place { state, result: aggregate_of(group.aggregate, &list, &group.kind()) }
}

/// Members by the key of the map under which they count.
fn by_key(members: &[(Id, Given)]) -> Vec<(Value, Members)> {
    let mut all: BTreeMap<Vec<u8>, (Value, Members)> = BTreeMap::new();
    for (member, given) in members {
        let at = group::header_key(&[], &given.key);
        let place = all.entry(at).or_insert_with(|| (given.key.clone(), Vec::new()));
        place.1.push((member.clone(), given.clone()));
    }
    all.into_values().collect()
}

/// The keys of all rows of an index.
fn expected(
    working: &Working<'_>,
    ty: TypeIx,
    rows: &dyn Fn(&Id, &Doc) -> Vec<Vec<u8>>,
) -> Result<BTreeSet<Vec<u8>>, EngineError> {
    let mut expected = BTreeSet::new();
    for id in working.all(ty)? {
        if let Some(doc) = working.after(&Key::new(ty, id.clone()))? {
            expected.extend(rows(&id, &doc));
        }
    }
    Ok(expected)
}

fn differs(
    working: &Working<'_>,
    keyspace: Keyspace,
    id: FieldId,
    expected: &BTreeSet<Vec<u8>>,
) -> Result<bool, EngineError> {
    let mut expected = expected.iter();
    let mut differs = false;
    let range = KeyRange::prefix(id.0.to_be_bytes().to_vec());
    working.base.scan(keyspace, &range, Direction::Forward, &mut |key, _| {
        differs = expected.next().is_none_or(|next| next != key);
        if differs { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(differs || expected.next().is_some())
}

/// As [`differs`], values of rows included.
fn rows_differ(
    working: &Working<'_>,
    keyspace: Keyspace,
    id: FieldId,
    expected: BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<bool, EngineError> {
    let mut expected = expected.iter();
    let mut differs = false;
    let range = KeyRange::prefix(id.0.to_be_bytes().to_vec());
    working.base.scan(keyspace, &range, Direction::Forward, &mut |key, value| {
        differs = expected.next().is_none_or(|(k, v)| k != key || v != value);
        if differs { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(differs || expected.next().is_some())
}
