//! Takes changes made in SQL in: what a transaction of SQL did to views becomes one transaction of Corollary, which is held to
//! types and rules as any other, or refused as a whole.
//!
//! Only the fields that a statement changed are written. A value is one for the whole field: an object takes the place
//! of the one before. Invariant: what is said of a transaction depends on nothing but its changes, the schema, and what is there when its turn
//! comes; nothing is written here. Read next: [`super::capture`], which writes changes down; `engine::origin`, by which each is done
//! once.

use corollary_engine::{Destination, Doc, Edit, Engine, EngineError, Key, Refusal, Write};
use corollary_schema::{FieldRef, Schema, Slot};
use corollary_syntax::nearest;
use corollary_value::{Id, Value};
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::layout::{Layout, Table, Written};
use crate::json::decode;
use crate::json::encode::bare;
use crate::json::held::Held;
use crate::problem::Problem;

/// Changes that one transaction may have; a larger one is refused.
pub const MAX_CHANGES: usize = 50_000;

/// Changes of a transaction that is refused that are told.
const TOLD_CHANGES: usize = 100;

/// A transaction of SQL, as it was captured.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Who made it.
    pub role: String,
    /// When its last change was, as the database writes it.
    pub at: String,
    /// In order.
    pub changes: Vec<Change>,
}

/// What it did to one row.
#[derive(Clone, Debug)]
pub struct Change {
    /// The name of the type.
    pub ty: String,
    /// The id of the resource.
    pub id: String,
    /// `insert`, `update` or `delete`.
    pub op: String,
    /// The fields that it gave, or changed.
    pub fields: Map<String, Json>,
}

impl Captured {
    /// The first of its changes, in JSON, for those who are told that it was refused.
    pub fn told(&self) -> String {
        let told = self.changes.iter().take(TOLD_CHANGES);
        let told: Vec<Json> = told
            .map(|change| json!({"type": change.ty, "id": change.id, "op": change.op, "fields": change.fields}))
            .collect();
        Json::Array(told).to_string()
    }
}

/// What is told of a transaction with more changes than [`MAX_CHANGES`].
pub fn too_many(changes: u64) -> Problem {
    let message = format!(
        "a transaction in SQL may have {MAX_CHANGES} changes, and this one has {changes}: make several"
    );
    Problem::refused(vec![Refusal::new("too-large", None, message)])
}

/// The writes that a transaction is, each with the change that it belongs to.
///
/// # Errors
///
/// The data cannot be read. What is wrong with the changes is the inner error.
pub fn writes(
    engine: &Engine,
    layout: &Layout,
    captured: &Captured,
) -> Result<Result<Vec<(usize, Write)>, Problem>, EngineError> {
    let schema = engine.schema();
    engine.read(Timestamp::now(), |working| {
        let (mut writes, mut found) = (Vec::new(), Vec::new());
        for (at, change) in captured.changes.iter().enumerate() {
            let mut refusals = Vec::new();
            let named = key(schema, layout, change, &mut refusals);
            if let Some((table, key)) = named {
                let shown = match holds_derived(schema, table) && change.op == "update" {
                    true => working.after(&key)?,
                    false => None,
                };
                let of = one(schema, table, &key, change, shown.as_deref(), &mut refusals);
                writes.extend(of.into_iter().map(|write| (at, write)));
            }
            refusals.iter_mut().for_each(|refusal: &mut Refusal| refusal.write = Some(at));
            found.append(&mut refusals);
        }
        Ok(if found.is_empty() { Ok(writes) } else { Err(Problem::refused(found)) })
    })
}

/// A refusal by the engine, told by changes instead of by writes.
pub fn by_changes(mut problem: Problem, writes: &[usize]) -> Problem {
    for refusal in &mut problem.errors {
        refusal.write = refusal.write.and_then(|write| writes.get(write).copied());
    }
    problem
}

fn key<'l>(
    schema: &Schema,
    layout: &'l Layout,
    change: &Change,
    found: &mut Vec<Refusal>,
) -> Option<(&'l Table, Key)> {
    let Some(table) = layout.named(&change.ty) else {
        let near = nearest(&change.ty, schema.types().map(|(_, ty)| ty.name.as_str()));
        let help = near.map_or(String::new(), |near| format!("; is it `{near}` now?"));
        let message = format!("there is no type `{}` any more{help}", change.ty);
        found.push(Refusal::new("not-found", None, message));
        return None;
    };
    match Id::parse(&change.id) {
        Ok(id) => Some((table, Key::new(table.ty, id))),
        Err(error) => {
            found.push(Refusal::new("id", Some("_id"), format!("`_id`: {error}")));
            None
        }
    }
}

/// Do objects in some field of it have members that follow from others?
fn holds_derived(schema: &Schema, table: &Table) -> bool {
    table.fields.iter().any(|field| schema.ty(table.ty).field(field.slot).extended.is_some())
}

fn one(
    schema: &Schema,
    table: &Table,
    key: &Key,
    change: &Change,
    shown: Option<&Doc>,
    found: &mut Vec<Refusal>,
) -> Vec<Write> {
    let mut fields = change.fields.clone();
    let parents = parents(table, &mut fields, found);
    match change.op.as_str() {
        "insert" => {
            let mut facts = decode::facts(schema, key.ty, &fields).unwrap_or_else(|refusals| {
                found.extend(refusals);
                Vec::new()
            });
            facts.extend(parents.into_iter().filter_map(|(slot, id)| Some((slot, Value::Ref(id?)))));
            vec![Write::Create(key.clone(), facts)]
        }
        "update" => {
            let mut writes = Vec::new();
            if !parents.is_empty() {
                let under = parents.into_iter().find_map(|(slot, id)| Some((slot, id?)));
                writes.push(Write::Move(key.clone(), Destination { under, at: None }));
            }
            let mut edits = Vec::with_capacity(fields.len());
            for (name, mut json) in fields {
                let named = decode::field_named(schema.ty(key.ty), &name, found);
                let Some((slot, field)) = named else { continue };
                if field.extended.is_some() {
                    without_derived(schema, FieldRef { ty: key.ty, slot }, &mut json, shown, found);
                }
                if json.is_null() && !field.rules.nullable && field.is_written() {
                    edits.push((slot, Edit::Set(decode::checked(field, Value::Absent, None, found))));
                } else if let Some(value) = decode::of_field(schema, field, &json, found) {
                    edits.push((slot, Edit::Set(decode::checked(field, value, None, found))));
                }
            }
            if !edits.is_empty() {
                writes.push(Write::Update(key.clone(), edits));
            }
            writes
        }
        "delete" => vec![Write::Delete(key.clone())],
        // No trigger writes it.
        other => {
            found.push(Refusal::new("malformed", None, format!("`{other}` is no kind of change")));
            Vec::new()
        }
    }
}

/// Takes the links to parents out of what was given.
fn parents(
    table: &Table,
    fields: &mut Map<String, Json>,
    found: &mut Vec<Refusal>,
) -> Vec<(Slot, Option<Id>)> {
    let mut parents = Vec::new();
    for column in table.fields.iter().filter(|column| column.written == Written::Parent) {
        match fields.remove(&column.name) {
            None => {}
            Some(Json::String(text)) => match Id::parse(&text) {
                Ok(id) => parents.push((column.slot, Some(id))),
                Err(error) => {
                    let message = format!("`{}`: {error}", column.name);
                    found.push(Refusal::new("link", Some(&column.name), message));
                }
            },
            Some(_) => parents.push((column.slot, None)),
        }
    }
    parents
}

/// Takes out of objects what follows from their other members: as it is shown it may come back, anything else is refused.
fn without_derived(
    schema: &Schema,
    field: FieldRef,
    json: &mut Json,
    shown: Option<&Doc>,
    found: &mut Vec<Refusal>,
) {
    let held = Held::by(schema, field);
    if let Some(doc) = shown {
        let mut bytes = Vec::new();
        bare(doc.get(schema.ty(field.ty).shown(field.slot)), &mut bytes);
        if let Ok(shown) = serde_json::from_slice::<Json>(&bytes) {
            held.take_shown(json, &[&shown]);
        }
    }
    held.refuse_derived(json, &schema.field(field).name, found);
}
