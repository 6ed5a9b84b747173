//! Builds what follows from what is stored, over all of it: derived values, their side state, indexes, references.
//!
//! Each [`Structure`] is built by itself: first what there may be of it is cleared, then all resources are walked in
//! key order, a batch at a time. Derived fields that need each other are built together, in one step and so in memory.
//! A build that is cut short begins again at the structure that was not finished. Updates of what is built end with it.
//! Needed when a schema declares something new over existing data that is not filled by an update
//! (`updates/filling.rs` says what is), and for repair. No log entry tells of it, so the
//! log ends where a build begins, and watchers start afresh.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use corollary_schema::plan::{PlanNode, Rule, Timer};
use corollary_schema::{Field, FieldId, FieldKind, FieldRef, Kept, Schema, TypeIx};
use corollary_store::{Direction, KeyRange, Keyspace, Snapshot};
use corollary_value::{Id, SumState, Value};
use jiff::Timestamp;

use crate::doc::{Key, Layout};
use crate::engine::Executor;
use crate::error::EngineError;
use crate::group::{self, Counted};
use crate::index;
use crate::keys;
use crate::order;
use crate::propagate::{empty_result, evaluate_owner, put_result, refuse_strict};
use crate::recursive;
use crate::updates::ledger;
use crate::updates::record::Record;
use crate::working::{Working, linked};

/// Resources in one batch of a build.
const BATCH_RESOURCES: usize = 2_000;

/// Something that is kept beside the facts and follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Structure {
    /// The way back along a link.
    References(FieldId),
    /// The values of a derived field, or a part of it, and their side state.
    Definition(FieldId),
    /// A secondary index.
    Index(FieldId),
}

/// All that a schema needs, in the order in which it can be built.
pub fn structures(schema: &Schema) -> Vec<Structure> {
    let fields = || schema.types().flat_map(|(_, ty)| &ty.fields);
    let is_position = |field: &&Field| matches!(field.kind, FieldKind::Position { .. });
    // The places of children come first: derived values follow from them.
    let positions = fields().filter(is_position).filter_map(|field| field.parent_index);
    let references = fields().filter(|field| field.reference_index).map(|field| field.id);
    let definitions = schema.plan.nodes.iter().map(|node| node.definition);
    let indexes = schema.types().flat_map(|(_, ty)| {
        let others = index::of_type(ty).filter(|(slot, ..)| !is_position(&ty.field(*slot)));
        others.map(|(_, _, index)| index)
    });
    positions
        .map(Structure::Index)
        .chain(references.map(Structure::References))
        .chain(definitions.map(Structure::Definition))
        .chain(indexes.map(Structure::Index))
        .collect()
}

/// With some structures, all that is computed from them.
pub fn with_dependents(schema: &Schema, changed: &BTreeSet<Structure>) -> BTreeSet<Structure> {
    let mut all = changed.clone();
    // Each node comes after all that it reads, so one walk is enough; those that need each other are built together.
    for (at, node) in schema.plan.nodes.iter().enumerate() {
        if let Some(stratum) = schema.plan.stratum(at).filter(|stratum| stratum.nodes.start == at) {
            let together = schema.plan.nodes[stratum.nodes.clone()].iter();
            let together: Vec<_> = together.map(|node| Structure::Definition(node.definition)).collect();
            if together.iter().any(|it| all.contains(it)) {
                all.extend(together);
            }
        }
        if all.contains(&Structure::Definition(node.definition)) {
            for reader in schema.plan.readers(node.result) {
                all.insert(Structure::Definition(schema.plan.nodes[reader.node].definition));
            }
            all.extend(index::made_of(schema, node.result).map(Structure::Index));
            if schema.field(node.result).reference_index {
                all.insert(Structure::References(schema.field(node.result).id));
            }
        }
    }
    all
}

/// Removes all rows of a structure that no schema needs any more; values in documents are passed over from now on.
pub fn drop_rows(structure: Structure, batch: &mut corollary_store::Batch) {
    let (keyspaces, id): (&[Keyspace], FieldId) = match structure {
        Structure::References(id) => (&[keys::REFERENCE], id),
        Structure::Definition(id) => (&[keys::MEMBER, keys::TIMER], id),
        Structure::Index(id) => (&[keys::INDEX], id),
    };
    for keyspace in keyspaces {
        batch.delete_range(*keyspace, KeyRange::prefix(id.0.to_be_bytes().to_vec()));
    }
}

/// Builds one structure from what is stored; `places` says where children of ordered collections stand.
pub fn build(executor: &mut Executor, structure: Structure, places: order::Build) -> Result<(), EngineError> {
    let schema = executor.engine().schema().clone();
    let number = match structure {
        Structure::Definition(id) | Structure::Index(id) => Some(id),
        Structure::References(_) => None,
    };
    let node_at = match structure {
        Structure::Definition(id) => schema.plan.nodes.iter().position(|node| node.definition == id),
        _ => None,
    };
    // Nodes that need each other are built with the first of them.
    let stratum = node_at.and_then(|at| schema.plan.stratum(at));
    if stratum.is_some_and(|stratum| Some(stratum.nodes.start) != node_at) {
        return Ok(());
    }
    let others = stratum.map_or(&[][..], |stratum| &schema.plan.nodes[stratum.nodes.clone()]);
    let begun: BTreeSet<FieldId> = others.iter().map(|node| node.definition).chain(number).collect();
    let open = executor.engine().updates();
    let is_open = open.open.iter().any(|update| begun.contains(&update.record.definition));
    executor.maintain(|working, batch| {
        if is_open {
            let now = working.now;
            let ended = |record: &Record| begun.contains(&record.definition);
            ledger::supersede(working.base.snapshot()?, batch, now, &ended)?;
        }
        others.iter().for_each(|node| drop_rows(Structure::Definition(node.definition), batch));
        drop_rows(structure, batch);
        Ok(())
    })?;
    if is_open {
        executor.take_over_updates(executor.engine().time())?;
    }
    match structure {
        Structure::References(id) => {
            let Some(field) = field_with(&schema, id) else { return Ok(()) };
            // Those of a derived field that is yet to be built come from what is stored; its building corrects them.
            walk(executor, field.ty, &mut |working, keys| {
                for key in keys {
                    if let Some(doc) = working.after(key)? {
                        working.refer(key, field, &[], &linked(working.schema, field, &doc));
                    }
                }
                Ok(())
            })
        }
        Structure::Index(id) => {
            let Some((at, by)) = indexed_by(&schema, id) else { return Ok(()) };
            let (ty, field) = (schema.ty(at.ty), schema.field(at));
            if let FieldKind::Position { .. } = field.kind {
                return walk(executor, at.ty, &mut |working, keys| order::build(working, at, keys, places));
            }
            walk(executor, at.ty, &mut |working, keys| {
                for key in keys {
                    let Some(doc) = working.after(key)? else { continue };
                    for entry in index::entries(ty, at.slot, by, &key.id, &doc) {
                        working.put_row(keys::INDEX, entry, Vec::new());
                    }
                }
                Ok(())
            })
        }
        Structure::Definition(_) => {
            let Some(at) = node_at else { return Ok(()) };
            let Some(stratum) = stratum else { return build_node(executor, at) };
            for node in &schema.plan.nodes[stratum.nodes.clone()] {
                empty(executor, node)?;
            }
            // In one step: what a resource has depends on others in whatever order.
            executor.maintain(|working, _| recursive::build(working, stratum))
        }
    }
}

/// Refuses a structure that has been built where a strict field came out as an error, other than those that are excused.
pub fn refuse_errors(
    executor: &Executor,
    structure: Structure,
    excused: &BTreeSet<Structure>,
) -> Result<(), EngineError> {
    let engine = executor.engine();
    let (schema, Structure::Definition(id)) = (engine.schema(), structure) else { return Ok(()) };
    let Some(at) = schema.plan.nodes.iter().position(|node| node.definition == id) else { return Ok(()) };
    let built = schema.plan.stratum(at).map_or(at..at + 1, |stratum| stratum.nodes.clone());
    let snapshot = engine.store().snapshot()?;
    let is_excused = |node: &PlanNode| excused.contains(&Structure::Definition(node.definition));
    for node in schema.plan.nodes[built].iter().filter(|node| !is_excused(node)) {
        if let Some((_, error)) = error_of(&*snapshot, schema, engine.layouts(), node.result)? {
            refuse_strict(schema, node.result, &error)?;
        }
    }
    Ok(())
}

/// Builds a node that does not need itself.
fn build_node(executor: &mut Executor, at: usize) -> Result<(), EngineError> {
    let schema = executor.engine().schema().clone();
    let node = &schema.plan.nodes[at];
    match &node.rule {
        Rule::Evaluate(evaluate) => walk(executor, node.result.ty, &mut |working, keys| {
            for key in keys {
                if let Some(slot) = node.keeps_time() {
                    working.set(key, slot, Value::Absent)?;
                }
                if let Some(value) = evaluate_owner(working, node, evaluate, key)? {
                    put_result(working, node, key, value)?;
                }
            }
            Ok(())
        }),
        Rule::Group(group) => {
            empty(executor, node)?;
            walk(executor, group.member, &mut |working, keys| {
                group::apply(working, at, keys, Counted::NotYet).map(drop)
            })
        }
    }
}

/// Makes the groups of a node, if it has groups, those of no members.
fn empty(executor: &mut Executor, node: &PlanNode) -> Result<(), EngineError> {
    let Rule::Group(group) = &node.rule else { return Ok(()) };
    walk(executor, node.result.ty, &mut |working, keys| {
        for key in keys {
            let empty = empty_result(group);
            working.set(key, node.result.slot, empty)?;
            if let Some(doc) = working.edit(key)? {
                doc.set_state(node.result.slot, SumState::default());
            }
        }
        Ok(())
    })
}

/// A resource for which a strict field is stored as an error, and which one; a field that is not strict has none.
pub fn error_of(
    snapshot: &dyn Snapshot,
    schema: &Schema,
    layouts: &[Layout],
    field: FieldRef,
) -> Result<Option<(Id, Value)>, EngineError> {
    if !matches!(schema.field(field).kind, FieldKind::Derived { strict: true, .. }) {
        return Ok(None);
    }
    let prefix = keys::docs_of(schema.ty(field.ty).id);
    let length = prefix.len();
    let (mut found, mut corrupt) = (None, false);
    let range = KeyRange::prefix(prefix);
    snapshot.scan(keys::DOC, &range, Direction::Forward, usize::MAX, &mut |key, bytes| {
        match (keys::id_behind(key, length), layouts[field.ty.0 as usize].decode(bytes)) {
            (Some(id), Ok(doc)) if doc.get(field.slot).is_error() => {
                found = Some((id, doc.get(field.slot).clone()));
            }
            (Some(_), Ok(_)) => {}
            _ => corrupt = true,
        }
        if corrupt || found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if corrupt { Err(EngineError::corrupt("a document")) } else { Ok(found) }
}

/// The types that begin to expire with some structures to be built, each with the field of the creation.
fn beginning_to_expire<'s>(
    schema: &'s Schema,
    missing: &'s BTreeSet<Structure>,
) -> impl Iterator<Item = FieldRef> + 's {
    let nodes = schema.plan.nodes.iter().filter(|node| {
        let timer = match &node.rule {
            Rule::Evaluate(evaluate) => evaluate.timer,
            Rule::Group(_) => None,
        };
        timer == Some(Timer::Expires) && missing.contains(&Structure::Definition(node.definition))
    });
    nodes.filter_map(|node| {
        let ty = node.result.ty;
        let (slot, _) = schema.ty(ty).slots().find(|(_, field)| field.rules.kept == Some(Kept::Created))?;
        Some(FieldRef { ty, slot })
    })
}

/// What has to be built because [`note_creations`] changes what it reads.
pub fn readers_of_noted_creations(schema: &Schema, missing: &BTreeSet<Structure>) -> Vec<Structure> {
    let mut found = Vec::new();
    for created in beginning_to_expire(schema, missing) {
        let readers = schema.plan.readers(created).iter();
        found.extend(readers.map(|it| Structure::Definition(schema.plan.nodes[it.node].definition)));
        found.extend(index::made_of(schema, created).map(Structure::Index));
    }
    found
}

/// Gives the resources whose type begins to expire, and that have no time of their creation, this one.
pub fn note_creations(
    executor: &mut Executor,
    missing: &BTreeSet<Structure>,
    now: Timestamp,
) -> Result<(), EngineError> {
    let schema = executor.engine().schema().clone();
    for created in beginning_to_expire(&schema, missing) {
        walk(executor, created.ty, &mut |working, keys| {
            for key in keys {
                if working.after(key)?.is_some_and(|doc| doc.get(created.slot).is_null()) {
                    working.set(key, created.slot, Value::Datetime(now))?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The field with a number.
pub(crate) fn field_with(schema: &Schema, id: FieldId) -> Option<FieldRef> {
    schema.types().find_map(|(ty, resource)| {
        let (slot, _) = resource.slots().find(|(_, field)| field.id == id)?;
        Some(FieldRef { ty, slot })
    })
}

/// The field that an index is of (of one over several the first), and by what it is.
pub fn indexed_by(schema: &Schema, id: FieldId) -> Option<(FieldRef, index::By)> {
    schema.types().find_map(|(ty, resource)| {
        let (slot, by, _) = index::of_type(resource).find(|(.., index)| *index == id)?;
        Some((FieldRef { ty, slot }, by))
    })
}

/// What is done with the resources of one batch.
type Step<'f> = dyn FnMut(&mut Working<'_>, &[Key]) -> Result<(), EngineError> + 'f;

/// Hands all resources of a type to `f`, in the order of their ids, one batch and one commit after the other.
fn walk(executor: &mut Executor, ty: TypeIx, f: &mut Step<'_>) -> Result<(), EngineError> {
    let mut last: Option<Id> = None;
    loop {
        let keys = executor.maintain(|working, _| {
            let keys = page(working, ty, last.as_ref())?;
            working.prefetch(keys.iter())?;
            f(working, &keys)?;
            Ok(keys)
        })?;
        let Some(end) = keys.into_iter().last() else { return Ok(()) };
        last = Some(end.id);
    }
}

fn page(working: &Working<'_>, ty: TypeIx, after: Option<&Id>) -> Result<Vec<Key>, EngineError> {
    let prefix = keys::docs_of(working.schema.ty(ty).id);
    let length = prefix.len();
    let mut range = KeyRange::prefix(prefix);
    if let Some(after) = after {
        range = range.resume_after(keys::doc(working.schema.ty(ty).id, after));
    }
    let (mut found, mut corrupt) = (Vec::new(), false);
    working.base.scan_keys(keys::DOC, &range, Direction::Forward, &mut |key| {
        match keys::id_behind(key, length) {
            Some(id) => found.push(Key::new(ty, id)),
            None => corrupt = true,
        }
        if corrupt || found.len() == BATCH_RESOURCES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if corrupt { Err(EngineError::corrupt("the key of a document")) } else { Ok(found) }
}

/// What a derived field is made of: its own definition, and those of the hidden parts that only it reads.
pub fn structures_of(schema: &Schema, field: FieldRef) -> Vec<Structure> {
    let mut found = Vec::new();
    for (at, node) in schema.plan.nodes.iter().enumerate().filter(|(_, node)| node.result == field) {
        found.push(Structure::Definition(node.definition));
        let feeds = |part: &&PlanNode| {
            matches!(schema.field(part.result).kind, FieldKind::Aggregate { .. })
                && schema.plan.readers(part.result).iter().any(|reader| reader.node == at)
        };
        found.extend(
            schema.plan.nodes.iter().filter(feeds).map(|part| Structure::Definition(part.definition)),
        );
    }
    found
}
