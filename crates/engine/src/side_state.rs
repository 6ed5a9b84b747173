//! Checks what groups keep beside their results: the states of sums, the members in order, the counts of targets, the
//! results of hidden parts of an expression, and the entries of indexes.
//!
//! A wrong one shows in no value yet, but the next change of the group would go on from it. The expected state is
//! computed from all members anew; that the values they are computed from are right is the business of the
//! [`crate::oracle`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use corollary_schema::plan::lower::zero;
use corollary_schema::plan::{Group, PlanNode, Rule};
use corollary_schema::typed::Aggregate;
use corollary_schema::{FieldId, FieldKind, TypeIx};
use corollary_store::{Direction, KeyRange, Keyspace};
use corollary_value::codec::push_varint;
use corollary_value::{Id, SumState, Value};
use hashbrown::HashMap;

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::group;
use crate::index;
use crate::keys;
use crate::propagate::result_kind;
use crate::rebuild::Structure;
use crate::working::{Row, Working, targets};

/// The structures whose stored state is not what the stored values give, each with a sentence that says where.
pub fn check(working: &Working<'_>) -> Result<BTreeMap<Structure, String>, EngineError> {
    let schema = working.schema;
    let mut wrong = BTreeMap::new();
    for node in &schema.plan.nodes {
        let what = match &node.rule {
            Rule::Group(group) => check_group(working, node, group)?,
            Rule::Evaluate(evaluate) => match schema.field(node.result).kind {
                FieldKind::Aggregate { .. } => {
                    let wrong = |key: &Key| -> Result<bool, EngineError> {
                        let value = Eval::new(working, &key.id).value(&evaluate.expr)?;
                        let stored = working.after(key)?;
                        Ok(stored.is_some_and(|doc| differ(doc.get(node.result.slot), &value)))
                    };
                    first(working, node.result.ty, &wrong)?
                }
                _ => None,
            },
        };
        if let Some(id) = what {
            let (ty, field) = (&schema.ty(node.result.ty).name, &schema.field(node.result).name);
            let message = format!("what {ty} {id} keeps for `{field}` is not what its members give");
            wrong.insert(Structure::Definition(node.definition), message);
        }
    }
    for (ty, resource) in schema.types() {
        for (slot, field) in resource.slots() {
            for (by_parent, index) in [(false, field.index.then_some(field.id)), (true, field.parent_index)] {
                let Some(index) = index else { continue };
                let expected = expected(working, ty, &|id, doc| {
                    let entry = match by_parent {
                        true => index::entry_by_parent(resource, slot, id, doc),
                        false => index::entry(field, slot, id, doc),
                    };
                    entry.into_iter().map(|entry| entry.key).collect()
                })?;
                if differs(working, keys::INDEX, index, &expected)? {
                    let (name, by) = (&field.name, if by_parent { " by parent" } else { "" });
                    let message =
                        format!("the index{by} of {}.{name} is not what the values give", resource.name);
                    wrong.insert(Structure::Index(index), message);
                }
            }
            if field.reference_index {
                let expected = expected(working, ty, &|id, doc| {
                    targets(doc.get(slot))
                        .iter()
                        .map(|target| keys::reference(field.id, target, id))
                        .collect()
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

fn first(
    working: &Working<'_>,
    ty: TypeIx,
    wrong: &dyn Fn(&Key) -> Result<bool, EngineError>,
) -> Result<Option<Id>, EngineError> {
    for id in working.all(ty)? {
        if wrong(&Key::new(ty, id.clone()))? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// What all members together give one owner.
#[derive(Default)]
struct Total {
    state: SumState,
    counts: BTreeMap<Id, u64>,
    count: i64,
}

/// The first owner whose state is wrong; where only rows are, the owner of the first of them is not told apart.
fn check_group(working: &Working<'_>, node: &PlanNode, group: &Group) -> Result<Option<Id>, EngineError> {
    let mut totals: HashMap<Id, Total> = HashMap::new();
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for member in working.all(group.member)? {
        let Some(doc) = working.after(&Key::new(group.member, member.clone()))? else { continue };
        let Some(it) = group::contribution(working, group, &member, &doc)? else { continue };
        if group.is_ordered() {
            rows.extend(group::ordered_row(node, group, &it.owner, &member, &it.given));
            continue;
        }
        let total = totals.entry(it.owner).or_default();
        match (group.aggregate, &it.given.value) {
            (Aggregate::Sum | Aggregate::Average, value) => total.state.add(value),
            (_, Value::Ref(target)) if group.target.is_some() => {
                *total.counts.entry(target.clone()).or_default() += 1
            }
            (_, value) if !value.is_null() => total.count += 1,
            _ => {}
        }
    }
    let kind = result_kind(working.schema, node.result);
    let none = Total::default();
    for id in working.all(node.result.ty)? {
        let Some(doc) = working.after(&Key::new(node.result.ty, id.clone()))? else { continue };
        let total = totals.get(&id).unwrap_or(&none);
        for (target, count) in &total.counts {
            let mut key = keys::members_of(node.definition, &id);
            target.push_key(&mut key);
            let mut value = Vec::new();
            push_varint(*count, &mut value);
            rows.insert(key, value);
        }
        let stored = doc.get(node.result.slot);
        let wrong = match group.aggregate {
            Aggregate::Sum => {
                doc.state(node.result.slot) != total.state || differ(stored, &total.state.sum(&zero(&kind)))
            }
            Aggregate::Average => {
                doc.state(node.result.slot) != total.state || differ(stored, &total.state.average())
            }
            Aggregate::Count => {
                let count = if group.target.is_some() { total.counts.len() as i64 } else { total.count };
                *stored != Value::Int(count)
            }
            Aggregate::Collect => false,
            // The result is the oracle's business, or follows from the rows.
            _ => false,
        };
        if wrong {
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
    odd.map(|key| owner_of(&key).ok_or_else(|| EngineError::corrupt("the row of a member"))).transpose()
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
