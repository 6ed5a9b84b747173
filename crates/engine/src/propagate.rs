//! Brings derived values up to date with changed facts: stratum by stratum, each node once, all its subjects together.
//!
//! A node's subjects are the resources that a change may reach: owners of an evaluated node, members of a group. The
//! plan tells how to find them from a change. A value that comes out as it was ends the walk there.

use std::collections::{BTreeMap, BTreeSet};

use corollary_schema::plan::{Group, Hop, PlanNode, Reader, Rule, Start};
use corollary_schema::{FieldKind, FieldRef, Schema, TypeIx};
use corollary_value::{Id, Value};

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::group::{self, Counted};
use crate::working::{Working, targets};

/// Counts of work, for tests that hold it to what the change needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Expressions evaluated per owner, and contributions of members compared.
    pub evaluations: u64,
    /// Derived values that changed.
    pub changed: u64,
}

/// By node: the subjects to look at, some perhaps more than once.
type Dirty = BTreeMap<usize, Vec<Id>>;

/// Brings all up to date with what the current transaction did to facts.
pub fn propagate(working: &mut Working<'_>) -> Result<Work, EngineError> {
    let schema = working.schema;
    let mut dirty = Dirty::new();
    for key in &working.touched_keys() {
        seed(working, key, &mut dirty)?;
    }
    let mut work = Work::default();
    while let Some((at, mut subjects)) = dirty.pop_first() {
        // Mostly in order already, which this sort makes use of.
        subjects.sort();
        subjects.dedup();
        let node = &schema.plan.nodes[at];
        let keys: Vec<Key> = subjects.into_iter().map(|id| Key::new(node.subject(), id)).collect();
        work.evaluations += keys.len() as u64;
        working.prefetch(keys.iter())?;
        let changed = match &node.rule {
            Rule::Evaluate(evaluate) => {
                let mut changed = Vec::new();
                for key in &keys {
                    let Some(doc) = working.after(key)? else { continue };
                    let value = Eval::of(working, &key.id, &doc).value(&evaluate.expr)?;
                    drop(doc);
                    changed.extend(store_result(working, node, key, value)?);
                }
                changed
            }
            Rule::Group(group) => group::apply(working, node, group, &keys, Counted::Before)?,
        };
        work.changed += changed.len() as u64;
        if schema.plan.readers(node.result).is_empty() {
            continue;
        }
        for (key, old, new) in &changed {
            let fresh = working.is_fresh(key);
            notify(working, node.result, key, fresh, old, new, &mut dirty)?;
        }
    }
    Ok(work)
}

/// A changed result: whose, the old and the new value.
pub type Changed = (Key, Value, Value);

/// Stores a node's result; tells the change, if it is one. Refused where a strict field would become an error.
pub fn store_result(
    working: &mut Working<'_>,
    node: &PlanNode,
    key: &Key,
    value: Value,
) -> Result<Option<Changed>, EngineError> {
    let changed = put_result(working, node, key, value)?;
    if let Some((_, _, new @ Value::Error(_))) = &changed {
        refuse_strict(working.schema, node.result, new)?;
    }
    Ok(changed)
}

/// Stores a node's result as [`store_result`] does, whatever it is. Null is kept as nothing at all.
pub fn put_result(
    working: &mut Working<'_>,
    node: &PlanNode,
    key: &Key,
    value: Value,
) -> Result<Option<Changed>, EngineError> {
    let value = if value.is_null() { Value::Absent } else { value };
    let Some(doc) = working.after(key)? else { return Ok(None) };
    let old = doc.get(node.result.slot).clone();
    drop(doc);
    if old == value {
        return Ok(None);
    }
    Ok(working.set(key, node.result.slot, value.clone())?.then(|| (key.clone(), old, value)))
}

/// The refusal of an error, where the field is strict.
pub fn refuse_strict(schema: &Schema, field: FieldRef, error: &Value) -> Result<(), EngineError> {
    let field = schema.field(field);
    if !matches!(field.kind, FieldKind::Derived { strict: true, .. }) {
        return Ok(());
    }
    let message = format!("`{}` would be {error}, and the field is strict", field.name);
    Err(EngineError::refused("strict", Some(&field.name), message))
}

/// Finds whom a change of facts of one resource reaches.
fn seed(working: &Working<'_>, key: &Key, dirty: &mut Dirty) -> Result<(), EngineError> {
    let schema = working.schema;
    let (before, after) = working.before_and_after(key)?;
    let fresh = before.is_none() || after.is_none();
    if fresh {
        let nodes = &schema.plan;
        let ty = key.ty.0 as usize;
        for node in nodes.evaluated[ty].iter().chain(&nodes.grouped[ty]) {
            dirty.entry(*node).or_default().push(key.id.clone());
        }
    }
    let absent = Value::Absent;
    for (slot, _) in schema.ty(key.ty).slots() {
        let field = FieldRef { ty: key.ty, slot };
        if schema.plan.readers(field).is_empty() {
            continue;
        }
        let old = before.as_ref().map_or(&absent, |doc| doc.get(slot));
        let new = after.as_ref().map_or(&absent, |doc| doc.get(slot));
        if old != new {
            notify(working, field, key, fresh, old, new, dirty)?;
        }
    }
    Ok(())
}

/// Marks the subjects of all readers of a changed field; `fresh` where the resource itself came or went.
fn notify(
    working: &Working<'_>,
    field: FieldRef,
    key: &Key,
    fresh: bool,
    old: &Value,
    new: &Value,
    dirty: &mut Dirty,
) -> Result<(), EngineError> {
    for reader in working.schema.plan.readers(field) {
        let start: BTreeSet<Id> = match (reader.start, &reader.path[..]) {
            // All nodes of a new or a deleted resource are looked at in any case; and whoever reaches it by links
            // changed a link in the same transaction.
            (Start::Changed, _) if fresh => continue,
            (Start::Changed, []) => {
                dirty.entry(reader.node).or_default().push(key.id.clone());
                continue;
            }
            (Start::Changed, _) => BTreeSet::from([key.id.clone()]),
            (Start::Targets, _) => targets(old).into_iter().chain(targets(new)).collect(),
        };
        let subjects = walk_back(working, reader, start)?;
        if !subjects.is_empty() {
            dirty.entry(reader.node).or_default().extend(subjects);
        }
    }
    Ok(())
}

/// From where a change is, back along a path to the subjects that read it, a whole set at each step.
fn walk_back(
    working: &Working<'_>,
    reader: &Reader,
    start: BTreeSet<Id>,
) -> Result<BTreeSet<Id>, EngineError> {
    let mut at = start;
    for hop in reader.path.iter().rev() {
        let mut next = BTreeSet::new();
        match hop {
            Hop::Link(field) => {
                for id in &at {
                    next.extend(working.referrers(*field, id)?);
                }
            }
            Hop::Reverse(field) => {
                let keys: Vec<Key> = at.into_iter().map(|id| Key::new(field.ty, id)).collect();
                working.prefetch(keys.iter())?;
                for key in &keys {
                    if let Some(doc) = working.after(key)? {
                        next.extend(targets(doc.get(field.slot)));
                    }
                }
            }
        }
        at = next;
    }
    Ok(at)
}

/// What a new resource has before anything is counted for it.
pub fn initial(schema: &Schema, ty: TypeIx, doc: &mut Doc) {
    for node in schema.plan.nodes.iter().filter(|node| node.result.ty == ty) {
        if let Rule::Group(group) = &node.rule {
            doc.set(node.result.slot, empty_result(group));
        }
    }
}

/// The result of a group without members.
pub fn empty_result(group: &Group) -> Value {
    match group.of_nothing(&group.kind()) {
        Value::Null => Value::Absent,
        value => value,
    }
}
