//! `GET …?why=FIELD`: why a derived value is what it is, as [`corollary_engine::why`] finds it, with paths and names.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use corollary_engine::why::{Changed, Input, Origin, Why, why};
use corollary_engine::working::Working;
use corollary_engine::{EngineError, Key};
use corollary_schema::plan::explain::{explain, expression};
use corollary_schema::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_value::{Id, Value};
use serde_json::{Value as Json, json};

use super::params::Params;
use super::{Call, REVISION_HEADER, json as json_reply, read, updates, with_header};
use crate::json::decode::unknown_field;
use crate::json::encode::Encoder;
use crate::json::held::Held;
use crate::mounts::names_of;
use crate::path;
use crate::problem::Problem;

/// Answers for a field of the resource at `segments`.
pub(crate) fn answer(
    call: &Call<'_>,
    segments: &[String],
    params: &Params,
    name: &str,
) -> Result<Response<Body>, Problem> {
    params.only_for_why()?;
    call.reader.administers("`why`, which shows what a value follows from,")?;
    let found = || {
        read(call.reads(), |working| {
            let target = path::resolve(working, segments)?;
            let Some(key) = target.resource(working.schema)? else {
                let detail = "`why` asks for a value of one resource, and this is a list";
                return Err(Problem::malformed("parameter", detail).into());
            };
            let slot = derived(names_of(target.scope(), working.schema), key, name)?;
            let Some(why) = why(working, key, slot)? else {
                let name = &working.schema.ty(key.ty).name;
                return Err(Problem::not_found(format!("there is no {name} {}", key.id)).into());
            };
            Ok((shown(call, working, key, slot, &why)?, working.base.revision()))
        })
    };
    let ((body, pending), revision) = tokio::task::block_in_place(found)?;
    let response = updates::marked(json_reply(StatusCode::OK, body.to_string()), &pending);
    Ok(with_header(response, REVISION_HEADER, &revision.to_string()))
}

/// The slot of a derived field by its name; of objects with derived members that in which they are complete.
fn derived(schema: &Schema, key: &Key, name: &str) -> Result<Slot, Problem> {
    let resource = schema.ty(key.ty);
    let Some((slot, _)) = resource.named(name).filter(|(_, field)| field.visible()) else {
        return Err(Problem::malformed("parameter", unknown_field(resource, name)));
    };
    let slot = resource.shown(slot);
    match resource.field(slot).kind {
        FieldKind::Derived { .. } => Ok(slot),
        _ => {
            let detail = format!("`{name}` of {} is written, and follows from nothing", resource.name);
            Err(Problem::malformed("parameter", detail))
        }
    }
}

/// The field under which people see what a field has; the field itself where nobody does.
fn known(schema: &Schema, field: FieldRef) -> FieldRef {
    let resource = schema.ty(field.ty);
    let seen = resource.slots().find(|(slot, it)| it.visible() && resource.shown(*slot) == field.slot);
    FieldRef { slot: seen.map_or(field.slot, |(slot, _)| slot), ..field }
}

/// The name that people know a field by, with that of its type.
fn name(schema: &Schema, field: FieldRef) -> String {
    format!("{}.{}", schema.ty(field.ty).name, plain_name(schema, field))
}

fn plain_name(schema: &Schema, field: FieldRef) -> &str {
    schema.field(known(schema, field)).name.trim_start_matches('#')
}

fn text(schema: &Schema, field: FieldRef) -> &str {
    match &schema.field(field).kind {
        FieldKind::Derived { text, .. } => text,
        _ => "",
    }
}

/// A value of a field, as a read shows it.
pub(super) fn value(working: &Working<'_>, field: FieldRef, value: &Value) -> Result<Json, EngineError> {
    let mut encoder = Encoder::of_results(working);
    encoder.value(value, Held::by(working.schema, known(working.schema, field)))?;
    serde_json::from_slice(&encoder.out)
        .map_err(|error| EngineError::Corrupt(format!("the JSON of a value: {error}")))
}

fn paths(working: &Working<'_>, ty: TypeIx, ids: &[Id]) -> Result<Vec<String>, EngineError> {
    ids.iter().map(|id| path::canonical(working, &Key::new(ty, id.clone()), None)).collect()
}

fn shown(
    call: &Call<'_>,
    working: &Working<'_>,
    key: &Key,
    slot: Slot,
    why: &Why,
) -> Result<(Json, BTreeSet<String>), EngineError> {
    let schema = working.schema;
    let field = FieldRef { ty: key.ty, slot };
    let named = name(schema, field);
    let inputs = why.inputs.iter().map(|input| self::input(working, input));
    let engine = call.app.node.engine();
    let mut body = json!({
        "_self": path::canonical(working, key, None)?,
        "_revision": working.after(key)?.map_or(0, |doc| doc.revision).to_string(),
        "revision": working.base.revision().to_string(),
        "field": named,
        "value": value(working, field, &why.value)?,
        "expression": text(schema, field),
        "explain": explain(schema, field).unwrap_or_default().lines().collect::<Vec<_>>(),
        "inputs": inputs.collect::<Result<Vec<_>, _>>()?,
        "complete": why.complete,
        "updates": why.updates.iter().map(|update| updates::shown(engine, update)).collect::<Vec<_>>(),
        "changed": why.changed.as_ref().map(|it| changed(working, field, it)).transpose()?,
    });
    let mut pending = BTreeSet::new();
    if why.pending {
        body["_pending"] = json!([plain_name(schema, field)]);
        pending.insert(named);
    }
    if let Some(now) = why.now {
        body["now"] = now.to_string().into();
    }
    if !why.origins.is_empty() {
        let origins = why.origins.iter().map(|origin| self::origin(working, origin));
        body["error"] = origins.collect::<Result<Vec<_>, _>>()?.into();
    }
    Ok((body, pending))
}

fn input(working: &Working<'_>, input: &Input) -> Result<Json, EngineError> {
    let schema = working.schema;
    Ok(match input {
        Input::Values { field, count, sample } => {
            let read = sample.iter().map(|read| {
                let path = path::canonical(working, &Key::new(field.ty, read.id.clone()), None)?;
                let value = value(working, *field, &read.value)?;
                Ok(json!({"path": path, "_revision": read.revision.to_string(), "value": value}))
            });
            let read = read.collect::<Result<Vec<_>, EngineError>>()?;
            json!({"field": name(schema, *field), "count": count, "sample": read})
        }
        Input::Referring { of, targets, count, sample } => {
            let sample = paths(working, of.ty, sample)?;
            json!({"referring_by": name(schema, *of), "to": targets, "count": count, "sample": sample})
        }
        Input::All { ty, count, sample } => {
            json!({"all": schema.ty(*ty).name.as_str(), "count": count, "sample": paths(working, *ty, sample)?})
        }
    })
}

fn origin(working: &Working<'_>, origin: &Origin) -> Result<Json, EngineError> {
    let field = FieldRef { ty: origin.key.ty, slot: origin.slot };
    let mut shown = json!({
        "path": path::canonical(working, &origin.key, None)?,
        "field": name(working.schema, field),
        "expression": text(working.schema, field),
        "error": origin.error.to_string(),
    });
    if let Some(part) = &origin.made_by {
        shown["made_by"] = expression(working.schema, part).into();
    }
    Ok(shown)
}

fn changed(working: &Working<'_>, field: FieldRef, changed: &Changed) -> Result<Json, EngineError> {
    let Changed::At { revision, time, old, new, facts, count } = changed else {
        let Changed::NotAfter(revision) = changed else { return Ok(Json::Null) };
        return Ok(json!({"not_after": revision.to_string()}));
    };
    let facts = facts.iter().map(|(key, slots)| {
        let resource = working.schema.ty(key.ty);
        let names: Vec<&str> = slots.iter().map(|slot| resource.field(*slot).name.as_str()).collect();
        // What is gone has no path any more.
        let path = working.after(key)?.map(|doc| path::canonical(working, key, Some(&doc))).transpose()?;
        Ok(json!({"type": resource.name.as_str(), "_id": key.id.to_string(), "path": path, "fields": names}))
    });
    Ok(json!({
        "revision": revision.to_string(),
        "time": time.to_string(),
        "old": value(working, field, old)?,
        "new": value(working, field, new)?,
        "facts": {"count": count, "sample": facts.collect::<Result<Vec<_>, EngineError>>()?},
    }))
}
