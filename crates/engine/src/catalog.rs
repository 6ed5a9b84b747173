//! The schema as it is kept with the data, and what is built for it.
//!
//! Opening compares the schema that is wanted with the one that is stored. What the new one adds is built; what it no
//! longer needs is dropped; what would lose facts is refused, and nothing changes. The comparison is by what there is
//! and what there should be, so an opening that was cut short is simply taken up by the next.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_schema::{
    Field, FieldId, FieldKind, FieldRef, Ids, Member, ResourceType, Schema, Slot, TypeIx, ValueType, check,
};
use corollary_store::{Batch, Direction, KeyRange, Keyspace, Snapshot, Store, StoreError};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_value::Value;
use corollary_value::order_key::push_order_key;
use hashbrown::HashMap;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use smol_str::SmolStr;

use crate::doc::{Key, Layout};
use crate::engine::{Engine, EngineOptions, Executor};
use crate::error::EngineError;
use crate::keys;
use crate::names;
use crate::nodes::{Head, MAX_ATTEMPTS};
use crate::order::Build;
use crate::rebuild::{self, Structure};
use crate::updates::filling::{self, Before, Plan};
use crate::updates::ledger;

/// In [`keys::META`]: the schema, the numbers of its names, and what is built.
const SCHEMA: &[u8] = b"schema";

/// The form of what is kept; data of a later form is refused, and of an earlier one brought to this.
///
/// | form | what is different since |
/// |---|---|
/// | 2 | the counts of the children of ordered collections |
/// | 3 | updates keep the sources of each level of their walk |
const FORMAT: u64 = 3;

/// The form since which children of ordered collections are counted as they are.
const COUNTED_CHILDREN: u64 = 2;

/// How many duplicates of a value are told.
const MAX_TOLD_DUPLICATES: usize = 10;

/// Why data cannot be opened with a schema. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The schema has mistakes.
    #[error("the schema has {} mistakes", .0.len())]
    Schema(Vec<Diagnostic>),
    /// The data does not fit the schema; one sentence for each reason.
    #[error("{}", .0.join("\n"))]
    Refused(Vec<String>),
    /// Another node builds what follows from its schema, and nobody else may use the store meanwhile. If its sequence
    /// stays as it is for long, that node is gone, and [`EngineOptions::take_over`] goes on with what it began.
    #[error(
        "the server {by} is building what follows from its schema; the store can be opened when it is done"
    )]
    Building {
        /// Its name.
        by: SmolStr,
        /// The number of the last commit to the store.
        sequence: u64,
    },
    /// The data cannot be read or written.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> OpenError {
        OpenError::Engine(error.into())
    }
}

struct Catalog {
    format: u64,
    text: String,
    ids: Ids,
    built: BTreeSet<Structure>,
}

impl Catalog {
    fn load(snapshot: &dyn Snapshot) -> Result<Option<Catalog>, OpenError> {
        let Some(bytes) = snapshot.get(keys::META, SCHEMA)? else { return Ok(None) };
        let corrupt = || EngineError::corrupt("the stored schema");
        let json: Json = serde_json::from_slice(&bytes).map_err(|_| corrupt())?;
        let format = json["format"].as_u64().ok_or_else(corrupt)?;
        if format > FORMAT {
            let reason = "the data was written by a newer version of Corollary; use that one";
            return Err(OpenError::Refused(vec![reason.into()]));
        }
        let read = || {
            let list = |name: &str, structure: fn(FieldId) -> Structure| -> Option<Vec<Structure>> {
                let ids = json["built"][name].as_array()?.iter();
                ids.map(|id| Some(structure(FieldId(u32::try_from(id.as_u64()?).ok()?)))).collect()
            };
            let mut built = list("references", Structure::References)?;
            built.extend(list("definitions", Structure::Definition)?);
            built.extend(list("indexes", Structure::Index)?);
            Some(Catalog {
                format,
                text: json["text"].as_str()?.to_string(),
                ids: Ids::from_json(&json["ids"])?,
                built: built.into_iter().collect(),
            })
        };
        Ok(Some(read().ok_or_else(corrupt)?))
    }

    fn save(&self, batch: &mut Batch) {
        let list =
            |pick: fn(&Structure) -> Option<u32>| self.built.iter().filter_map(pick).collect::<Vec<_>>();
        let json = json!({
            "format": self.format,
            "text": self.text,
            "ids": self.ids.to_json(),
            "built": {
                "references": list(|it| if let Structure::References(id) = it { Some(id.0) } else { None }),
                "definitions": list(|it| if let Structure::Definition(id) = it { Some(id.0) } else { None }),
                "indexes": list(|it| if let Structure::Index(id) = it { Some(id.0) } else { None }),
            },
        });
        batch.put(keys::META, SCHEMA, json.to_string());
    }
}

/// The schema text that the data was last opened with; none for a new store.
pub fn stored_schema(store: &dyn Store) -> Result<Option<String>, OpenError> {
    Ok(Catalog::load(&*store.snapshot()?)?.map(|catalog| catalog.text))
}

/// Opens a store, which was itself opened with [`keys::KEYSPACES`], with a schema. `told` hears what takes its time.
pub fn open(
    store: Arc<dyn Store>,
    text: &str,
    options: &EngineOptions,
    now: Timestamp,
    told: &mut dyn FnMut(&str),
) -> Result<Executor, OpenError> {
    let mut attempts = 0;
    let (reasons, before) = loop {
        attempts += 1;
        match attempt(store.clone(), text, options, now, told, Turn::First) {
            Ok(executor) => return Ok(executor),
            // Another node has committed since the data was looked at, so it is looked at again.
            Err(Unopened::Error(OpenError::Engine(EngineError::Moved | EngineError::Superseded)))
                if attempts < MAX_ATTEMPTS => {}
            Err(Unopened::Error(OpenError::Engine(EngineError::Moved))) => {
                return Err(EngineError::Contended.into());
            }
            Err(Unopened::Error(error)) => return Err(error),
            Err(Unopened::Unfit(reasons, before)) => break (reasons, before),
        }
    };
    match before.map(|before| attempt(store, &before, options, now, told, Turn::Back)) {
        Some(Err(Unopened::Error(error))) => Err(error),
        // What came before may not fit either, where its own opening was cut short. There is no way further back.
        _ => Err(OpenError::Refused(reasons)),
    }
}

/// Which attempt to open it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// With the schema that is wanted.
    First,
    /// With the one from before, since the data does not fit what is wanted. What an order has been given to since is no
    /// fact that anybody wrote.
    Back,
}

/// How an attempt to open ended without success.
enum Unopened {
    /// Nothing has changed, or it is not known what has.
    Error(OpenError),
    /// A build found out why the data does not fit, when the schema was current already. The one that was current
    /// before has to be opened again; it is not known where an opening with this same one was cut short.
    Unfit(Vec<String>, Option<String>),
}

impl<E: Into<OpenError>> From<E> for Unopened {
    fn from(error: E) -> Unopened {
        Unopened::Error(error.into())
    }
}

/// Opens a store with a schema that becomes the current one.
fn attempt(
    store: Arc<dyn Store>,
    text: &str,
    options: &EngineOptions,
    now: Timestamp,
    told: &mut dyn FnMut(&str),
    turn: Turn,
) -> Result<Executor, Unopened> {
    let snapshot = store.snapshot()?;
    let head = Head::read(&*snapshot)?;
    if let Some(by) = head.builder
        && !options.take_over
        && turn == Turn::First
        && by != options.node
    {
        return Err(OpenError::Building { by, sequence: head.sequence }.into());
    }
    let stored = Catalog::load(&*snapshot)?;
    let mut ids = stored.as_ref().map(|catalog| catalog.ids.clone()).unwrap_or_default();
    let checked = check(text, &mut ids);
    let Some(schema) = checked.schema else { return Err(OpenError::Schema(checked.diagnostics).into()) };
    let wanted = rebuild::structures(&schema);
    let have = stored.as_ref().map(|catalog| catalog.built.clone()).unwrap_or_default();
    let mut missing: BTreeSet<Structure> = wanted.iter().copied().filter(|it| !have.contains(it)).collect();
    let old = stored.as_ref().filter(|catalog| catalog.text != text);
    let old = old.and_then(|catalog| check(&catalog.text, &mut catalog.ids.clone()).schema);
    if let Some(old) = &old {
        missing.extend(readers_of_changed_types(old, &schema));
        missing.extend(rebuild::readers_of_noted_creations(&schema, &missing));
    }
    let changed = stored.as_ref().is_some_and(|stored| stored.text != text);
    let mut batch = Batch::new();
    if changed {
        // What an update has not come to is brought about anew, together with what is computed from it.
        let definitions = ledger::supersede(&*snapshot, &mut batch, now, &|_| true)?;
        missing.extend(definitions.into_iter().map(Structure::Definition).filter(|it| wanted.contains(it)));
    }
    let was = Before {
        schema: if changed { old.as_ref() } else { Some(&schema) },
        have: &have,
        highest: stored.as_ref().map_or(0, |catalog| catalog.ids.highest()),
    };
    let Plan { build: missing, fill } =
        filling::plan(&schema, &*snapshot, &was, &missing, options.update_budget)?;
    let anew = filling::definitions(&schema, &missing, &fill);
    if !changed {
        ledger::supersede(&*snapshot, &mut batch, now, &|record| anew.contains(&record.definition))?;
    }
    if let Some(old) = &old {
        // An order that is not built yet has been given to nobody.
        let ordered = if turn == Turn::First { have.clone() } else { BTreeSet::new() };
        let mut reasons = losses(&*snapshot, old, &schema, &ordered)?;
        if reasons.is_empty() {
            reasons = duplicates(&*snapshot, old, &schema)?;
        }
        if reasons.is_empty() {
            reasons = errors(&*snapshot, old, &schema, &missing)?;
        }
        if reasons.is_empty() {
            reasons = names::unfit(&*snapshot, old, &schema)?;
        }
        if !reasons.is_empty() {
            return Err(OpenError::Refused(reasons).into());
        }
    }
    filling::begin(&schema, &*snapshot, &fill, now, &mut batch)?;
    let filled = |it: &Structure| {
        fill.iter().any(|at| *it == Structure::Definition(schema.plan.nodes[*at].definition))
    };
    let built = wanted
        .iter()
        .copied()
        .filter(|it| filled(it) || have.contains(it) && !missing.contains(it))
        .collect();
    let mut catalog = Catalog { format: FORMAT, text: text.to_string(), ids, built };
    let unchanged = stored.as_ref().is_some_and(|stored| {
        stored.format == FORMAT && stored.text == text && stored.built == catalog.built
    }) && batch.is_empty();
    let empty = !unchanged && stored.is_none();
    let engine = Arc::new(Engine::new(store, Arc::new(schema), options, &*snapshot)?);
    let mut executor = Executor::new(engine, &*snapshot)?;
    drop(snapshot);
    if stored.as_ref().is_some_and(|stored| stored.format < COUNTED_CHILDREN) {
        // Before the form of the data is said to be this one: a start that is cut short begins it again.
        let schema = executor.engine().schema().clone();
        for structure in wanted.iter().filter(|it| have.contains(it) && is_order(&schema, **it)) {
            told(&describe(&schema, *structure));
            rebuild::build(&mut executor, *structure, Build::Kept)?;
        }
    }
    if empty {
        // Over no data there is nothing to build.
        catalog.built = wanted.iter().copied().collect();
    }
    if !unchanged {
        catalog.save(&mut batch);
        if changed || stored.is_none() {
            let had = |number: FieldId| {
                old.as_ref().is_some_and(|old| old.types().any(|(_, ty)| ty.history == Some(number)))
            };
            let histories = executor.engine().schema().types().filter_map(|(_, ty)| ty.history);
            for number in histories.filter(|number| !had(*number)) {
                batch.put(keys::META, keys::history(number), executor.revision().to_be_bytes());
            }
        }
        have.iter().filter(|it| !wanted.contains(it)).for_each(|it| rebuild::drop_rows(*it, &mut batch));
        executor.commit_schema(batch, !empty && wanted.iter().any(|it| missing.contains(it)))?;
    }
    executor.take_over_updates(now)?;
    if !empty {
        // Those whose type begins to expire count from now on.
        rebuild::note_creations(&mut executor, &missing, now)?;
    }
    for structure in wanted {
        if !empty && missing.contains(&structure) {
            told(&describe(executor.engine().schema(), structure));
            match rebuild::build(&mut executor, structure, Build::Afresh) {
                Err(EngineError::Refused(refusals)) => {
                    let what = describe(executor.engine().schema(), structure);
                    let reasons = refusals.iter().map(|it| format!("{what}: {}", it.message)).collect();
                    let before = stored.map(|catalog| catalog.text).filter(|before| before != text);
                    return Err(Unopened::Unfit(reasons, before));
                }
                outcome => outcome?,
            }
            catalog.built.insert(structure);
            let mut batch = Batch::new();
            catalog.save(&mut batch);
            executor.commit_schema(batch, true)?;
        }
    }
    executor.end_building()?;
    Ok(executor)
}

/// Is it the index of the places in an ordered collection?
fn is_order(schema: &Schema, structure: Structure) -> bool {
    let Structure::Index(id) = structure else { return false };
    let at = rebuild::indexed_by(schema, id);
    at.is_some_and(|(at, _)| matches!(schema.field(at).kind, FieldKind::Position { .. }))
}

/// What is computed from stored fields whose type is another now: the kinds of results follow from it.
fn readers_of_changed_types(old: &Schema, new: &Schema) -> Vec<Structure> {
    let mut readers = Vec::new();
    for (ty, is) in new.types() {
        let Some((_, was)) = old.types().find(|(_, was)| was.id == is.id) else { continue };
        for (slot, field) in is.slots() {
            let before = was.fields.iter().find(|was| was.id == field.id).map(|was| &was.kind);
            if let (Some(FieldKind::Stored(before)), FieldKind::Stored(now)) = (before, &field.kind)
                && !alike(before, now, &|was, is| old.ty(was).id == new.ty(is).id)
            {
                let nodes = new.plan.readers(FieldRef { ty, slot }).iter();
                readers.extend(nodes.map(|it| Structure::Definition(new.plan.nodes[it.node].definition)));
            }
        }
    }
    readers
}

fn describe(schema: &Schema, structure: Structure) -> String {
    let named = |id: FieldId| {
        schema.types().find_map(|(_, ty)| {
            let field = ty.fields.iter().find(|field| field.id == id)?;
            Some(format!("{}.{}", ty.name, field.name))
        })
    };
    match structure {
        Structure::References(id) => format!("the references of {}", named(id).unwrap_or_default()),
        Structure::Index(id) => match rebuild::indexed_by(schema, id) {
            Some((at, by)) => {
                format!("the index{} of {}.{}", by.name(), schema.ty(at.ty).name, schema.field(at).name)
            }
            None => format!("the index of {}", named(id).unwrap_or_default()),
        },
        Structure::Definition(id) => {
            let node = schema.plan.nodes.iter().find(|node| node.definition == id);
            let name = node
                .map(|node| format!("{}.{}", schema.ty(node.result.ty).name, schema.field(node.result).name));
            format!("the values of {}", name.unwrap_or_default())
        }
    }
}

/// What facts the new schema has no place for.
fn losses(
    snapshot: &dyn Snapshot,
    old: &Schema,
    new: &Schema,
    built: &BTreeSet<Structure>,
) -> Result<Vec<String>, OpenError> {
    let mut reasons = Vec::new();
    let any = |keyspace: Keyspace, prefix: Vec<u8>| -> Result<bool, OpenError> {
        let mut any = false;
        snapshot.scan(keyspace, &KeyRange::prefix(prefix), Direction::Forward, 1, &mut |_, _| {
            any = true;
            ControlFlow::Break(())
        })?;
        Ok(any)
    };
    for (old_ty, was) in old.types().filter(|(_, was)| was.visible()) {
        if let Some(history) = was.history
            && !new.types().any(|(_, is)| is.history == Some(history))
            && any(keys::VERSION, keys::versions_under(history))?
        {
            reasons.push(format!("{} has a history, and the new schema keeps none of it", was.name));
        }
        if !any(keys::DOC, keys::docs_of(was.id))? {
            continue;
        }
        let Some((_, is)) = new.types().find(|(_, ty)| ty.id == was.id) else {
            reasons.push(format!("type {} has resources, and the new schema does not have it", was.name));
            continue;
        };
        if was.root != is.root && is.root.is_none() {
            reasons.push(format!(
                "{} has resources, and the new schema has no root collection for it",
                was.name
            ));
        }
        let counts = |field: &Field| match field.kind {
            FieldKind::Position { .. } => {
                field.parent_index.is_some_and(|index| built.contains(&Structure::Index(index)))
            }
            _ => field.is_fact(),
        };
        let facts: Vec<(Slot, &Field)> = was.slots().filter(|(_, field)| counts(field)).collect();
        let in_the_way = |field: &Field| {
            let other = is.fields.iter().find(|other| other.id == field.id);
            other.is_none_or(|other| !holds(old, field, new, other))
        };
        let suspect: Vec<Slot> =
            facts.iter().filter(|(_, field)| in_the_way(field)).map(|(slot, _)| *slot).collect();
        let used = used(snapshot, old, old_ty, &suspect)?;
        for (_, field) in facts.iter().filter(|(slot, _)| used.contains(slot)) {
            match is.fields.iter().find(|other| other.id == field.id) {
                None if matches!(field.kind, FieldKind::Position { .. }) => reasons.push(format!(
                    "a collection of {} has an order, and the new schema gives it none",
                    was.name
                )),
                None => reasons.push(format!(
                    "{}.{} has values, and the new schema does not have it",
                    was.name,
                    field.label()
                )),
                Some(other) if !holds(old, field, new, other) => reasons.push(format!(
                    "{}.{} has values of another type than the new schema gives it",
                    was.name,
                    field.label()
                )),
                Some(_) => {}
            }
        }
    }
    Ok(reasons)
}

/// Which of some fields have a value in any resource of their type.
fn used(
    snapshot: &dyn Snapshot,
    schema: &Schema,
    ty: TypeIx,
    suspect: &[Slot],
) -> Result<Vec<Slot>, OpenError> {
    let mut used: Vec<Slot> = Vec::new();
    if suspect.is_empty() {
        return Ok(used);
    }
    let layouts = Layout::of(schema);
    let mut corrupt = false;
    let range = KeyRange::prefix(keys::docs_of(schema.ty(ty).id));
    snapshot.scan(keys::DOC, &range, Direction::Forward, usize::MAX, &mut |_, bytes| {
        let Ok(doc) = layouts[ty.0 as usize].decode(bytes) else {
            corrupt = true;
            return ControlFlow::Break(());
        };
        let there = suspect.iter().filter(|slot| !matches!(doc.get(**slot), Value::Absent));
        let new: Vec<Slot> = there.filter(|slot| !used.contains(slot)).copied().collect();
        used.extend(new);
        if used.len() == suspect.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if corrupt {
        return Err(EngineError::corrupt(format!("a resource of {}", schema.ty(ty).name)).into());
    }
    Ok(used)
}

/// Can a field hold all values of an older one?
fn holds(old: &Schema, was: &Field, new: &Schema, is: &Field) -> bool {
    let same = |old_ty: TypeIx, new_ty: TypeIx| old.ty(old_ty).id == new.ty(new_ty).id;
    match (&was.kind, &is.kind) {
        (FieldKind::Stored(was), FieldKind::Stored(is)) => holds_type(was, is, &same),
        (FieldKind::Link { target: was, .. }, FieldKind::Link { target: is, .. })
        | (FieldKind::Links { target: was, .. }, FieldKind::Links { target: is, .. }) => same(*was, *is),
        (FieldKind::Parent { collection: was }, FieldKind::Parent { collection: is }) => same(was.ty, is.ty),
        (FieldKind::Position { .. }, FieldKind::Position { .. }) => true,
        _ => false,
    }
}

/// Do values of two types have the same shape? Rules decide what may be stored, not what follows from it.
fn alike(was: &ValueType, is: &ValueType, same: &dyn Fn(TypeIx, TypeIx) -> bool) -> bool {
    match (was, is) {
        (ValueType::Link { target: was, .. }, ValueType::Link { target: is, .. }) => same(*was, *is),
        (ValueType::List(was), ValueType::List(is))
        | (ValueType::Set(was), ValueType::Set(is))
        | (ValueType::Map(was), ValueType::Map(is)) => alike(was, is, same),
        (ValueType::Object(was), ValueType::Object(is)) => {
            let pair = |(was, is): (&Member, &Member)| was.name == is.name && alike(&was.ty, &is.ty, same);
            was.len() == is.len() && was.iter().zip(is).all(pair)
        }
        _ => was == is,
    }
}

/// Can a type hold all values of an older one? `same` tells whether two types of resources are one.
fn holds_type(was: &ValueType, is: &ValueType, same: &dyn Fn(TypeIx, TypeIx) -> bool) -> bool {
    match (was, is) {
        (ValueType::Link { target: was, .. }, ValueType::Link { target: is, .. }) => same(*was, *is),
        // What is free of a schema holds no references.
        (was, ValueType::Json) if was.holds_links() => false,
        (ValueType::Enum(was), ValueType::Enum(is)) => was.iter().all(|word| is.contains(word)),
        (ValueType::Enum(_), ValueType::Str) | (_, ValueType::Json) => true,
        (ValueType::List(was), ValueType::List(is))
        | (ValueType::Set(was), ValueType::Set(is))
        | (ValueType::Map(was), ValueType::Map(is)) => holds_type(was, is, same),
        (ValueType::Object(was), ValueType::Object(is)) => was.iter().all(|member| {
            is.iter().any(|other| other.name == member.name && holds_type(&member.ty, &other.ty, same))
        }),
        _ => was == is,
    }
}

/// Values that several resources have of a field that is unique from now on.
fn duplicates(snapshot: &dyn Snapshot, old: &Schema, new: &Schema) -> Result<Vec<String>, OpenError> {
    let mut reasons = Vec::new();
    let layouts = Layout::of(new);
    for (ty, is) in new.types() {
        let was = |field: &Field| old.types().flat_map(|(_, ty)| &ty.fields).find(|was| was.id == field.id);
        let was_unique = |field: &Field| was(field).is_some_and(|was| was.rules.unique);
        let was_among_siblings =
            |field: &Field| was(field).is_some_and(|was| was.rules.unique || was.rules.unique_in_parent);
        let in_all = is.slots().filter(|(_, field)| field.rules.unique && !was_unique(field));
        let among_siblings =
            is.slots().filter(|(_, field)| field.rules.unique_in_parent && !was_among_siblings(field));
        let in_all = in_all.map(|(slot, field)| (slot, field, false));
        for (slot, field, siblings) in in_all.chain(among_siblings.map(|(slot, field)| (slot, field, true))) {
            let mut seen: HashMap<Vec<u8>, Key> = HashMap::new();
            let prefix = keys::docs_of(is.id);
            let length = prefix.len();
            let mut corrupt = false;
            snapshot.scan(
                keys::DOC,
                &KeyRange::prefix(prefix),
                Direction::Forward,
                usize::MAX,
                &mut |key, doc| {
                    let (Some(id), Ok(doc)) =
                        (keys::id_behind(key, length), layouts[ty.0 as usize].decode(doc))
                    else {
                        corrupt = true;
                        return ControlFlow::Break(());
                    };
                    let value = doc.get(slot);
                    if !value.is_null() {
                        let mut bytes = Vec::new();
                        if siblings {
                            let Some((collection, parent)) = doc.parent(new, ty) else {
                                return ControlFlow::Continue(());
                            };
                            bytes =
                                keys::children(new.field(collection).id, new.field(collection).id, parent);
                        }
                        push_order_key(value, &mut bytes);
                        if let Some(other) = seen.insert(bytes, Key::new(ty, id.clone()))
                            && reasons.len() < MAX_TOLD_DUPLICATES
                        {
                            reasons.push(duplicate(is, field, siblings, &other, &id, value));
                        }
                    }
                    ControlFlow::Continue(())
                },
            )?;
            if corrupt {
                return Err(EngineError::corrupt(format!("a resource of {}", is.name)).into());
            }
        }
    }
    Ok(reasons)
}

/// Errors in fields that are strict from now on. Of those that are yet to be built, the build finds out.
fn errors(
    snapshot: &dyn Snapshot,
    old: &Schema,
    new: &Schema,
    missing: &BTreeSet<Structure>,
) -> Result<Vec<String>, OpenError> {
    let mut reasons = Vec::new();
    let layouts = Layout::of(new);
    let was_strict = |id: FieldId| {
        let was = old.types().flat_map(|(_, ty)| &ty.fields).find(|was| was.id == id);
        was.is_some_and(|was| matches!(was.kind, FieldKind::Derived { strict: true, .. }))
    };
    for node in new.plan.nodes.iter().filter(|it| !missing.contains(&Structure::Definition(it.definition))) {
        let (ty, field) = (&new.ty(node.result.ty).name, new.field(node.result));
        if !was_strict(field.id)
            && let Some((id, error)) = rebuild::error_of(snapshot, new, &layouts, node.result)?
        {
            reasons.push(format!("{ty}.{} is to be strict, and of {id} it is {error}", field.name));
        }
    }
    Ok(reasons)
}

fn duplicate(
    ty: &ResourceType,
    field: &Field,
    siblings: bool,
    one: &Key,
    other: &corollary_value::Id,
    value: &Value,
) -> String {
    let (ty, field, one) = (&ty.name, &field.name, &one.id);
    let among = if siblings { " in its parent" } else { "" };
    format!("{ty}.{field} is to be unique{among}, and {one} and {other} both have {value}")
}
