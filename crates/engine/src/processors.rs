//! The line of processors that writes pass: what sets fields before anything follows from a transaction, and what refuses it when all
//! that follows has come about.
//!
//! They are declared in records ([`crate::records`]), by the names of the schema, and are as of the same commit as all else: who
//! changes one changes it between two groups, and a node that shares its store looks anew where another one has changed any
//! (`nodes`). One that does not fit the schema any more refuses all writes that it is for: nothing passes unseen.
//!
//! Somebody outside who has to agree is asked by whoever brings the transaction, before it: what it would do is found out by a [dry
//! run](crate::dry_run) and shown ([`to_review`]), and the commit goes through if it does just that ([`Reviewed`]).
//!
//! What always holds: a processor sees each resource of its type of which a transaction changed a fact, whoever made the transaction and
//! whichever way, what goes with a deletion included. What only follows from facts it does not look at, nor what the clock does
//! or an update.

use std::sync::Arc;

use corollary_schema::processors::{OPERATIONS, Rule, Selected, check_rule, old_fields, selected};
use corollary_schema::{DefaultValue, Field, FieldKind, FieldRef, Kept, Schema, Slot, TypeIx};
use corollary_store::{Batch, Write as Change};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_value::{Id, Value};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jiff::Timestamp;
use serde_json::Value as Json;
use smol_str::SmolStr;

use crate::doc::{Doc, Key};
use crate::engine::Engine;
use crate::error::{EngineError, Refusal};
use crate::eval::Eval;
use crate::grants::GRANT;
use crate::keys;
use crate::names;
use crate::records::{Kind, Records};
use crate::rules::Fill;
use crate::working::{Touched, Working};
use crate::write::{self, Write};

/// Records of processors, by their ids. The engine reads the members `type` or `path`, `on`, `order`, `paused`, `rule` and
/// `webhook` of an object in JSON; the rest is for whoever keeps it.
pub const PROCESSOR: Kind = Kind(3);

/// The code of the refusal of what others have yet to be asked about.
pub const UNREVIEWED: &str = "unreviewed";

/// Processors of a store, at most.
pub const MAX_PROCESSORS: usize = 1_000;

/// Does a batch change any, or a grant?
pub(crate) fn are_changed(batch: &Batch) -> bool {
    let kinds = [PROCESSOR, GRANT].map(|kind| keys::record(kind, &[]));
    batch.writes().iter().any(|write| match write {
        Change::Put { keyspace: keys::RECORD, key, .. } | Change::Delete { keyspace: keys::RECORD, key } => {
            kinds.iter().any(|kind| key.starts_with(kind))
        }
        _ => false,
    })
}

/// One of the line.
#[derive(Debug)]
struct Processor {
    id: SmolStr,
    /// For which of [`OPERATIONS`].
    on: [bool; 3],
    /// For those that one collection holds: the link to the parent.
    via: Option<Slot>,
    does: Does,
}

/// What a processor does.
#[derive(Debug)]
enum Does {
    Rule(Rule),
    /// Somebody outside is asked, before the transaction.
    Review {
        mutates: bool,
    },
    /// It does not fit the schema, and why.
    Unfit(String),
}

/// What is asked of somebody outside: one resource that a transaction changes.
#[derive(Clone, Debug)]
pub struct Item {
    /// The processor.
    pub processor: SmolStr,
    /// May it want something changed?
    pub mutates: bool,
    /// The resource.
    pub key: Key,
    /// One of [`OPERATIONS`].
    pub operation: &'static str,
    facts: Facts,
}

/// The facts of a resource that somebody has seen; none of one that goes. What the clock or the place among siblings makes of it is
/// none of them: it may be another one at the commit.
type Facts = Option<Vec<(Slot, Value)>>;

/// What was agreed to: each resource with its facts, for each processor.
#[derive(Clone, Debug, Default)]
pub struct Reviewed {
    /// Is nobody to be asked?
    tries: bool,
    agreed: HashMap<(SmolStr, Key), Facts, RandomState>,
}

impl Reviewed {
    /// For who finds out what is to be asked: nobody is.
    pub fn trying() -> Reviewed {
        Reviewed { tries: true, ..Reviewed::default() }
    }

    /// It was agreed to this one.
    pub fn agree(&mut self, item: &Item) {
        self.agreed.insert((item.processor.clone(), item.key.clone()), item.facts.clone());
    }
}

fn facts(schema: &Schema, ty: TypeIx, operation: usize, doc: &Doc) -> Vec<(Slot, Value)> {
    let is_seen = |field: &Field| {
        let comes = matches!(field.rules.default, Some(DefaultValue::Now | DefaultValue::Computed(_)));
        let placed = matches!(field.kind, FieldKind::Position { .. });
        field.is_fact() && field.rules.kept.is_none() && !placed && !(operation == 0 && comes)
    };
    let slots = schema.ty(ty).slots().filter(|(_, field)| is_seen(field));
    slots.map(|(slot, _)| (slot, doc.get(slot).clone())).collect()
}

/// What others have to be asked about a transaction that has come about in a state, in the order of the line.
pub fn to_review(working: &Working<'_>) -> Vec<Item> {
    let Some(processors) = &working.processors else { return Vec::new() };
    let mut items = Vec::new();
    for key in written(working, processors) {
        let Some(touched) = working.touched.get(&key) else { continue };
        let Some(at) = operation(working.schema, &key, touched) else { continue };
        for (place, processor) in
            processors.by_type[&key.ty].iter().enumerate().filter(|(_, it)| it.is_for(at, touched))
        {
            let Does::Review { mutates } = processor.does else { continue };
            let facts = touched.after.as_ref().map(|doc| facts(working.schema, key.ty, at, doc));
            let (processor, operation) = (processor.id.clone(), OPERATIONS[at]);
            items.push((place, Item { processor, mutates, key: key.clone(), operation, facts }));
        }
    }
    items.sort_by_key(|(place, _)| *place);
    items.into_iter().map(|(_, item)| item).collect()
}

/// All that are not paused, by the types of whose resources they are.
#[derive(Debug, Default)]
pub struct Processors {
    by_type: HashMap<TypeIx, Vec<Processor>, RandomState>,
}

impl Processors {
    /// None where there are none, which costs nothing.
    pub(crate) fn some(self: Arc<Processors>) -> Option<Arc<Processors>> {
        (!self.by_type.is_empty()).then_some(self)
    }

    fn load(records: &Records<'_>, schema: &Schema) -> Result<Processors, EngineError> {
        let mut line = Vec::new();
        for (id, bytes) in records.list(PROCESSOR, &[], None, MAX_PROCESSORS)? {
            let declared: Json =
                serde_json::from_slice(&bytes).map_err(|_| EngineError::corrupt("a processor"))?;
            if declared["paused"] == Json::Bool(true) {
                continue;
            }
            line.push((
                declared["order"].as_i64().unwrap_or(0),
                String::from_utf8_lossy(&id).into_owned(),
                declared,
            ));
        }
        line.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
        let mut processors = Processors::default();
        for (_, id, declared) in line {
            // Of a type that is not there nothing is written.
            let at = match declared["path"].as_str() {
                Some(path) => selected(schema, path).ok(),
                None => {
                    let ty = declared["type"].as_str().and_then(|name| schema.type_named(name));
                    ty.map(|ty| Selected { ty, via: None })
                }
            };
            let Some(Selected { ty, via }) = at else { continue };
            let on = declared["on"].as_array();
            let on = OPERATIONS.map(|name| on.is_none_or(|on| on.iter().any(|wanted| wanted == name)));
            let does = match &declared["webhook"] {
                Json::Null => {
                    let rule = check_rule(schema, ty, declared["rule"].as_str().unwrap_or_default());
                    let first = |found: Vec<Diagnostic>| found.into_iter().next().map(|it| it.message);
                    rule.map_or_else(|found| Does::Unfit(first(found).unwrap_or_default()), Does::Rule)
                }
                webhook => Does::Review { mutates: webhook["mutates"] == Json::Bool(true) },
            };
            processors.by_type.entry(ty).or_default().push(Processor { id: id.into(), on, via, does });
        }
        Ok(processors)
    }
}

impl Engine {
    /// Is there a processor that asks somebody outside?
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn has_reviews(&self) -> Result<bool, EngineError> {
        let processors = self.processors()?;
        let mut all = processors.by_type.values().flatten();
        Ok(all.any(|processor| matches!(processor.does, Does::Review { .. })))
    }

    /// The processors, as they are stored.
    pub(crate) fn processors(&self) -> Result<Arc<Processors>, EngineError> {
        // The clock does not come into it.
        let load = |records: &Records<'_>| Processors::load(records, self.schema());
        self.line.get(|| self.records(Timestamp::MIN, load))
    }
}

impl Processor {
    /// Is it for what is done to a resource?
    fn is_for(&self, operation: usize, touched: &Touched) -> bool {
        let held = |via: Slot| {
            let docs = [&touched.before, &touched.after];
            docs.into_iter().flatten().any(|doc| matches!(doc.get(via), Value::Ref(_)))
        };
        self.on[operation] && self.via.is_none_or(held)
    }
}

/// What a transaction does to a resource, as a number of [`OPERATIONS`]; none where it changes no fact of it.
fn operation(schema: &Schema, key: &Key, touched: &Touched) -> Option<usize> {
    match (&touched.before, &touched.after) {
        (None, Some(_)) => Some(0),
        (Some(before), Some(after)) => {
            // The time of the last change follows from the others, and is put right when all of them are.
            let is_told = |field: &Field| field.is_fact() && field.rules.kept != Some(Kept::Updated);
            let mut facts = schema.ty(key.ty).slots().filter(|(_, field)| is_told(field));
            facts.any(|(slot, _)| before.get(slot) != after.get(slot)).then_some(1)
        }
        (Some(_), None) => Some(2),
        (None, None) => None,
    }
}

/// The resources that processors look at, in the order of their keys.
fn written(working: &Working<'_>, processors: &Processors) -> Vec<Key> {
    let is_looked_at = |(key, touched): &(&Key, &Touched)| {
        processors.by_type.contains_key(&key.ty) && operation(working.schema, key, touched).is_some()
    };
    let mut keys: Vec<Key> =
        working.touched.iter().filter(is_looked_at).map(|(key, _)| key.clone()).collect();
    keys.sort_unstable();
    keys
}

/// What a rule knows beside `self`.
fn given(working: &Working<'_>, key: &Key, before: Option<&Doc>, operation: usize) -> Vec<Value> {
    let old = before.map_or(Value::Null, |before| {
        let members = old_fields(working.schema, key.ty).into_iter();
        let values = members.map(|(slot, field)| (field.name.clone(), before.get(slot).clone()));
        Value::Object(values.filter(|(_, value)| !matches!(value, Value::Absent)).collect())
    });
    let actor = working.actor.clone().map_or(Value::Null, Value::Str);
    let mut items = vec![old, Value::Str(OPERATIONS[operation].into()), actor];
    if working.schema.ego.is_some() {
        items.push(working.ego.clone().map_or(Value::Null, Value::Ref));
    }
    items
}

/// The resource of an actor in a state; of a transaction as of before it: nobody becomes another one by what they write.
pub(crate) fn ego_of(working: &Working<'_>, actor: Option<&SmolStr>) -> Result<Option<Id>, EngineError> {
    let (Some(at), Some(actor)) = (working.schema.ego, actor) else { return Ok(None) };
    let field = working.schema.field(at);
    // As the field has it when somebody writes it.
    let name = field.rules.normalize.iter().fold(actor.clone(), |name, step| step.apply(&name));
    names::unique(working, field, &Value::Str(name))
}

/// A refusal that names the write of a resource, where there is one.
fn refusal(writes: &[Write], key: &Key, code: &'static str, field: Option<&str>, message: String) -> Refusal {
    let write = writes.iter().position(|write| write.key() == key);
    Refusal { write, ..Refusal::new(code, field, message) }
}

/// Sets what processors set, before anything follows from the facts of a transaction.
pub(crate) fn mutate(working: &mut Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    let Some(processors) = working.processors.clone() else { return Ok(()) };
    working.ego = ego_of(working, working.actor.as_ref())?;
    let is_set = |processor: &&Processor| matches!(processor.does, Does::Rule(Rule::Set { .. }));
    let (mut found, mut any) = (Vec::new(), false);
    for key in written(working, &processors) {
        for processor in processors.by_type[&key.ty].iter().filter(is_set) {
            let Does::Rule(Rule::Set { slot, value }) = &processor.does else { continue };
            let Some(touched) = working.touched.get(&key).cloned() else { continue };
            let (Some(at), Some(doc)) = (operation(working.schema, &key, &touched), &touched.after) else {
                continue;
            };
            if !processor.is_for(at, &touched) {
                continue;
            }
            let items = given(working, &key, touched.before.as_deref(), at);
            let value = Eval::of(working, &key.id, doc).value_given(value, items)?;
            let name = &working.schema.field(FieldRef { ty: key.ty, slot: *slot }).name;
            if let Value::Error(_) = value {
                let message =
                    format!("the processor `{}` sets `{name}` to {value} for these values", processor.id);
                found.push(refusal(writes, &key, "processor", Some(name), message));
                continue;
            }
            let value = if value.is_null() { Value::Absent } else { value };
            drop(touched);
            let now = working.now;
            let so_far = found.len();
            write::set(working, &key, *slot, value, Fill::All(now), &mut found)?;
            let write = writes.iter().position(|write| *write.key() == key);
            found[so_far..].iter_mut().for_each(|refusal| refusal.write = write);
            any = true;
        }
    }
    if !found.is_empty() {
        return Err(EngineError::Refused(found));
    }
    if any {
        write::note_updates(working);
    }
    Ok(())
}

/// Refuses what processors refuse, when all that follows from a transaction has come about; all of it at once.
pub(crate) fn validate(working: &Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    let Some(processors) = &working.processors else { return Ok(()) };
    let (mut found, mut unreviewed) = (Vec::new(), Vec::new());
    for key in written(working, processors) {
        let Some(touched) = working.touched.get(&key) else { continue };
        let Some(at) = operation(working.schema, &key, touched) else { continue };
        // Of what is deleted `self` is what it was.
        let Some(doc) = touched.after.as_ref().or(touched.before.as_ref()) else { continue };
        for processor in processors.by_type[&key.ty].iter().filter(|processor| processor.is_for(at, touched))
        {
            let id = &processor.id;
            match &processor.does {
                Does::Unfit(why) => {
                    let message = format!("the processor `{id}` does not fit the schema any more: {why}");
                    found.push(refusal(writes, &key, "processor", None, message));
                }
                Does::Rule(Rule::Deny { when, message }) => {
                    let items = given(working, &key, touched.before.as_deref(), at);
                    if Eval::of(working, &key.id, doc).value_given(when, items)?.is_true() {
                        let message = message.as_ref().map(SmolStr::to_string);
                        let message = message.unwrap_or_else(|| format!("the processor `{id}` denies it"));
                        found.push(refusal(writes, &key, "denied", None, message));
                    }
                }
                Does::Rule(Rule::Set { .. }) => {}
                Does::Review { .. } => {
                    let agreed = working.reviewed.as_ref().is_some_and(|reviewed| {
                        let seen = touched.after.as_ref().map(|doc| facts(working.schema, key.ty, at, doc));
                        reviewed.tries || reviewed.agreed.get(&(id.clone(), key.clone())) == Some(&seen)
                    });
                    if !agreed {
                        let message =
                            format!("the processor `{id}` has to be asked, and is asked of requests only");
                        unreviewed.push(refusal(writes, &key, UNREVIEWED, None, message));
                    }
                }
            }
        }
    }
    // What is refused anyway is asked of nobody.
    let found = if found.is_empty() { unreviewed } else { found };
    if found.is_empty() { Ok(()) } else { Err(EngineError::Refused(found)) }
}
