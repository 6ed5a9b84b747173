//! The schema as it is kept with the data, and what is built for it.
//!
//! Opening compares the schema that is wanted with the one that is stored. What the new one adds is built; what it no
//! longer needs is dropped; what would lose facts is refused, and nothing changes. The comparison is by what there is
//! and what there should be, so an opening that was cut short is simply taken up by the next.
//!
//! Whether the data fits, `fit` finds out. What another schema would change [`plan`] says without doing it.

mod fit;
pub mod plan;

use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_schema::{FieldId, FieldKind, FieldRef, Ids, Schema, check};
use corollary_store::{Batch, Feature, Snapshot, Store, StoreError};
use corollary_syntax::diagnostic::Diagnostic;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use smol_str::SmolStr;

use self::fit::{alike, duplicates, errors, losses, newly_strict};
use crate::engine::{Engine, EngineOptions, Executor};
use crate::error::EngineError;
use crate::files;
use crate::index;
use crate::keys;
use crate::names;
use crate::nodes::{Head, MAX_ATTEMPTS};
use crate::order::Build;
use crate::rebuild::{self, Structure};
use crate::updates::filling::{self, Before};
use crate::updates::{Record, Task, indexing, ledger};

/// In [`keys::META`]: the schema, the numbers of its names, and what is built.
const SCHEMA: &[u8] = b"schema";

/// The form of what is kept; data of a later form is refused, and of an earlier one brought to this.
///
/// | form | what is different since |
/// |---|---|
/// | 2 | the counts of the children of ordered collections |
/// | 3 | updates keep the sources of each level of their walk |
/// | 4 | lists are indexed by their elements |
/// | 5 | updates may fill indexes, which are not whole before |
const FORMAT: u64 = 5;

/// The form since which children of ordered collections are counted as they are.
const COUNTED_CHILDREN: u64 = 2;

/// The form since which lists are indexed by their elements.
const INDEXED_ELEMENTS: u64 = 4;

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
    /// See [`EngineOptions::instead_of`].
    instead_of: Option<String>,
    ids: Ids,
    built: BTreeSet<Structure>,
    /// What was found wrong, or torn by a version that did not fit, and is being built anew; the facts that it follows from stay as
    /// they are, and an error of a strict field is no reason to refuse it: it is the clock's.
    wrong: BTreeSet<Structure>,
    /// The last version that all was built for, as long as something of this one is yet to be built for the first time: where this one
    /// does not fit, that is the one to go back to.
    whole: Option<String>,
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
            Some(Catalog {
                format,
                text: json["text"].as_str()?.to_string(),
                instead_of: json["instead_of"].as_str().map(str::to_string),
                ids: Ids::from_json(&json["ids"])?,
                built: read_structures(&json["built"])?,
                wrong: match &json["wrong"] {
                    // Where nothing is, it is not written.
                    Json::Null => BTreeSet::new(),
                    wrong => read_structures(wrong)?,
                },
                whole: json["whole"].as_str().map(str::to_string),
            })
        };
        Ok(Some(read().ok_or_else(corrupt)?))
    }

    /// The last version that all was built for, which may be this one; its schema is given.
    fn last_whole(&self, schema: &Schema) -> Option<&str> {
        let is_there = |it: &Structure| self.built.contains(it) || self.wrong.contains(it);
        let is_whole = rebuild::structures(schema).iter().all(is_there);
        if is_whole { Some(&self.text) } else { self.whole.as_deref() }
    }

    fn save(&self, batch: &mut Batch) {
        let mut json = json!({
            "format": self.format,
            "text": self.text,
            "instead_of": self.instead_of,
            "ids": self.ids.to_json(),
            "built": structures_to_json(&self.built),
        });
        if !self.wrong.is_empty() {
            json["wrong"] = structures_to_json(&self.wrong);
        }
        if let Some(whole) = &self.whole {
            json["whole"] = whole.as_str().into();
        }
        batch.put(keys::META, SCHEMA, json.to_string());
    }
}

fn structures_to_json(structures: &BTreeSet<Structure>) -> Json {
    let list = |pick: fn(&Structure) -> Option<u32>| structures.iter().filter_map(pick).collect::<Vec<_>>();
    json!({
        "references": list(|it| if let Structure::References(id) = it { Some(id.0) } else { None }),
        "definitions": list(|it| if let Structure::Definition(id) = it { Some(id.0) } else { None }),
        "indexes": list(|it| if let Structure::Index(id) = it { Some(id.0) } else { None }),
    })
}

fn read_structures(json: &Json) -> Option<BTreeSet<Structure>> {
    let list = |name: &str, structure: fn(FieldId) -> Structure| -> Option<Vec<Structure>> {
        let ids = json[name].as_array()?.iter();
        ids.map(|id| Some(structure(FieldId(u32::try_from(id.as_u64()?).ok()?)))).collect()
    };
    let mut all = list("references", Structure::References)?;
    all.extend(list("definitions", Structure::Definition)?);
    all.extend(list("indexes", Structure::Index)?);
    Some(all.into_iter().collect())
}

/// Puts on record that structures are wrong and have to be built anew, by this or by the next opening.
pub(crate) fn note_wrong(executor: &mut Executor, wrong: &BTreeSet<Structure>) -> Result<(), EngineError> {
    amend(executor, |catalog| {
        catalog.built.retain(|it| !wrong.contains(it));
        catalog.wrong.extend(wrong);
    })
}

/// Puts on record that one of them is as it should be.
pub(crate) fn note_built(executor: &mut Executor, structure: Structure) -> Result<(), EngineError> {
    amend(executor, |catalog| {
        catalog.wrong.remove(&structure);
        catalog.built.insert(structure);
    })
}

fn amend(executor: &mut Executor, change: impl FnOnce(&mut Catalog)) -> Result<(), EngineError> {
    let loaded = Catalog::load(&*executor.engine().store().snapshot()?);
    let mut catalog = match loaded {
        Ok(Some(catalog)) => catalog,
        Err(OpenError::Engine(error)) => return Err(error),
        Ok(None) | Err(_) => return Err(EngineError::corrupt("the stored schema")),
    };
    change(&mut catalog);
    let mut batch = Batch::new();
    catalog.save(&mut batch);
    executor.commit_schema(batch, true)
}

/// The schema text that the data was last opened with; none for a new store.
pub fn stored_schema(store: &dyn Store) -> Result<Option<String>, OpenError> {
    Ok(Catalog::load(&*store.snapshot()?)?.map(|catalog| catalog.text))
}

/// A schema as it is kept with the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// As it was written.
    pub text: String,
    /// What it is served in place of: [`EngineOptions::instead_of`].
    pub instead_of: Option<String>,
}

/// The schema that the data was last opened with; none for a new store.
pub fn stored(store: &dyn Store) -> Result<Option<Stored>, OpenError> {
    let catalog = Catalog::load(&*store.snapshot()?)?;
    Ok(catalog.map(|Catalog { text, instead_of, .. }| Stored { text, instead_of }))
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
        // Who was overtaken once need not be again.
        let _turn = match attempts > 1 && store.features().has(Feature::Turns) {
            true => Some(store.turn()?),
            false => None,
        };
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
    let mut wrong = stored.as_ref().map(|catalog| catalog.wrong.clone()).unwrap_or_default();
    let mut missing: BTreeSet<Structure> = wanted.iter().copied().filter(|it| !have.contains(it)).collect();
    if stored.as_ref().is_some_and(|stored| stored.format < INDEXED_ELEMENTS) {
        let fields = schema.types().flat_map(|(_, ty)| &ty.fields);
        missing.extend(fields.filter(|it| it.indexes_elements()).map(|it| Structure::Index(it.id)));
    }
    let old = stored.as_ref().filter(|catalog| catalog.text != text);
    let old = old.and_then(|catalog| check(&catalog.text, &mut catalog.ids.clone()).schema);
    if let Some(old) = &old {
        add_changed(old, &schema, &mut missing);
    }
    let changed = stored.as_ref().is_some_and(|stored| stored.text != text);
    let mut batch = Batch::new();
    if changed {
        // What an update has not come to is brought about anew, together with what is computed from it. Indexes follow from
        // what is stored alone, whatever it is computed from: their updates go on.
        let of_values = |record: &Record| record.task != Task::Index;
        let definitions = ledger::supersede(&*snapshot, &mut batch, now, &of_values)?;
        missing.extend(definitions.into_iter().map(Structure::Definition).filter(|it| wanted.contains(it)));
        missing.extend(to_be_whole(&schema, &*snapshot)?);
    }
    let was = Before {
        schema: if changed { old.as_ref() } else { Some(&schema) },
        have: &have,
        highest: stored.as_ref().map_or(0, |catalog| catalog.ids.highest()),
    };
    let plan = filling::plan(&schema, &*snapshot, &was, &missing, options.update_budget)?;
    let anew = plan.anew(&schema);
    ledger::supersede(&*snapshot, &mut batch, now, &|record| match record.task {
        Task::Index => {
            anew.contains(&record.definition) || !wanted.contains(&Structure::Index(record.definition))
        }
        // Where the schema is another all of them have ended.
        _ => !changed && anew.contains(&record.definition),
    })?;
    let missing = &plan.build;
    let whole = stored.as_ref().and_then(|stored| {
        let schema = if changed { old.as_ref()? } else { &schema };
        stored.last_whole(schema).map(str::to_string)
    });
    if whole.as_deref() == Some(text) {
        // It has held all along, and another one has torn it down: an error of a strict field is the clock's.
        wrong.extend(missing.iter().filter(|it| matches!(it, Structure::Definition(_))));
    } else if let Some(old) = &old {
        // Of a field that was not strict before an error may be anybody's.
        for node in newly_strict(old, &schema) {
            wrong.remove(&Structure::Definition(node.definition));
        }
    }
    let whole = whole.filter(|whole| whole != text && wanted.iter().any(|it| missing.contains(it)));
    if let Some(old) = &old {
        let mut reasons = match turn {
            Turn::First => {
                // An order that is not built yet has been given to nobody.
                let ordered = have.union(&wrong).copied().collect();
                losses(&*snapshot, old, &schema, &ordered)?
            }
            // All facts are from when this one was current: nobody has written with the one that did not fit.
            Turn::Back => Vec::new(),
        };
        if reasons.is_empty() {
            reasons = duplicates(&*snapshot, old, &schema)?;
        }
        if reasons.is_empty() {
            reasons = errors(&*snapshot, old, &schema, missing)?;
        }
        if reasons.is_empty() {
            reasons = names::unfit(&*snapshot, old, &schema)?;
        }
        if !reasons.is_empty() {
            return Err(OpenError::Refused(reasons).into());
        }
    }
    filling::begin(&schema, &*snapshot, &plan, now, &mut batch)?;
    if let Some(old) = &old {
        files::retire(&*snapshot, old, &schema, &mut batch)?;
    }
    let built = wanted
        .iter()
        .copied()
        .filter(|it| plan.fills(&schema, *it) || have.contains(it) && !missing.contains(it))
        .collect();
    let unmended = wrong.iter().copied().filter(|it| missing.contains(it)).collect();
    let instead_of = options.instead_of.clone();
    let text = text.to_string();
    let mut catalog = Catalog { format: FORMAT, text, instead_of, ids, built, wrong: unmended, whole };
    let unchanged = stored.as_ref().is_some_and(|stored| {
        stored.format == FORMAT
            && stored.text == catalog.text
            && stored.instead_of == catalog.instead_of
            && stored.built == catalog.built
            && stored.wrong == catalog.wrong
            && stored.whole == catalog.whole
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
        rebuild::note_creations(&mut executor, missing, now)?;
    }
    for structure in wanted {
        if !empty && missing.contains(&structure) {
            told(&describe(executor.engine().schema(), structure));
            let places = if wrong.contains(&structure) { Build::Kept } else { Build::Afresh };
            let built = rebuild::build(&mut executor, structure, places);
            match built.and_then(|()| rebuild::refuse_errors(&executor, structure, &wrong)) {
                Err(EngineError::Refused(refusals)) => {
                    let what = describe(executor.engine().schema(), structure);
                    let reasons = refusals.iter().map(|it| format!("{what}: {}", it.message)).collect();
                    let before = stored.map(|stored| stored.text).filter(|before| *before != catalog.text);
                    return Err(Unopened::Unfit(reasons, before));
                }
                outcome => outcome?,
            }
            catalog.built.insert(structure);
            catalog.wrong.remove(&structure);
            let mut batch = Batch::new();
            catalog.save(&mut batch);
            executor.commit_schema(batch, true)?;
        }
    }
    if catalog.whole.take().is_some() {
        let mut batch = Batch::new();
        catalog.save(&mut batch);
        executor.commit_schema(batch, true)?;
    }
    executor.end_building()?;
    Ok(executor)
}

/// The indexes that updates have yet to fill, and that have to be whole from the first moment on by another schema.
fn to_be_whole(schema: &Schema, snapshot: &dyn Snapshot) -> Result<Vec<Structure>, EngineError> {
    let filling = indexing::stored(snapshot)?.into_iter();
    let wanted = filling.filter(|number| rebuild::indexed_by(schema, *number).is_some());
    Ok(wanted.filter(|number| !indexing::may_fill(schema, *number)).map(Structure::Index).collect())
}

/// Is it the index of the places in an ordered collection?
fn is_order(schema: &Schema, structure: Structure) -> bool {
    let Structure::Index(id) = structure else { return false };
    let at = rebuild::indexed_by(schema, id);
    at.is_some_and(|(at, _)| matches!(schema.field(at).kind, FieldKind::Position { .. }))
}

/// Adds what another schema asks to be built anew though it has been built, to what it asks to be built first.
fn add_changed(old: &Schema, new: &Schema, missing: &mut BTreeSet<Structure>) {
    missing.extend(readers_of_changed_types(old, new));
    missing.extend(indexes_by_something_else(old, new));
    let noted = rebuild::readers_of_noted_creations(new, missing);
    missing.extend(noted);
}

/// The indexes whose entries were made of something else than they are now: of a list that is unique no longer, say.
fn indexes_by_something_else(old: &Schema, new: &Schema) -> Vec<Structure> {
    let indexes = new.types().flat_map(|(_, ty)| index::of_type(ty)).map(|(_, by, number)| (by, number));
    let differs = |(by, number): &(index::By, FieldId)| {
        rebuild::indexed_by(old, *number).is_some_and(|(_, was)| was != *by)
    };
    indexes.filter(differs).map(|(_, number)| Structure::Index(number)).collect()
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

/// What a structure is, for people.
pub fn describe(schema: &Schema, structure: Structure) -> String {
    let named = |id: FieldId| {
        schema.types().find_map(|(_, ty)| {
            let field = ty.fields.iter().find(|field| field.id == id)?;
            Some(format!("{}.{}", ty.name, field.name))
        })
    };
    match structure {
        Structure::References(id) => format!("the references of {}", named(id).unwrap_or_default()),
        Structure::Index(id) => match rebuild::indexed_by(schema, id) {
            Some((at, by)) => index::describe(schema, at, by),
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
