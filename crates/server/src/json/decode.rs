//! JSON to values, by the types of the schema.
//!
//! All mistakes of a body are found, not the first only; what the engine would refuse about single values is found
//! here already, by the engine's own rules, so that one reply names everything.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use corollary_engine::{Doc, Edit, Refusal, order, rules};
use corollary_schema::{Field, FieldKind, FieldRef, ResourceType, Schema, Slot, TypeIx, ValueType};
use corollary_syntax::nearest;
use corollary_value::{BasicKind, Id, Value, from_json, parse_as};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use super::among;
use super::held::Held;

/// Values of some fields of one resource.
pub type Facts = Vec<(Slot, Value)>;

/// Names that replies carry and that bodies may therefore carry back; they say nothing.
const IGNORED: [&str; 5] = ["_id", "_self", "_type", "_revision", "_pending"];

/// How deep lists and objects may stand in each other in a value: well below what stored values can hold, derived ones
/// that are made of them included.
pub const MAX_JSON_DEPTH: usize = rules::MAX_VALUE_DEPTH as usize;

/// The facts of a new resource.
pub fn facts(schema: &Schema, ty: TypeIx, body: &Map<String, Json>) -> Result<Facts, Vec<Refusal>> {
    replacement(schema, ty, body, None)
}

/// The facts of a resource that takes the place of an old one. What was stored under older rules may stay as it is.
pub fn replacement(
    schema: &Schema,
    ty: TypeIx,
    body: &Map<String, Json>,
    old: Option<&Doc>,
) -> Result<Facts, Vec<Refusal>> {
    let resource = schema.ty(ty);
    let mut found = Vec::new();
    let mut facts = Facts::with_capacity(body.len());
    for (name, json) in body {
        let Some((slot, field)) = field_named(resource, name, &mut found) else { continue };
        let json = &written(schema, FieldRef { ty, slot }, json, &mut found);
        if let Some(value) = of_field(schema, field, json, &mut found) {
            facts.push((slot, checked(field, value, old.map(|old| old.get(slot)), &mut found)));
        }
    }
    let given = |slot: Slot| body.contains_key(resource.field(slot).name.as_str());
    let stays_away = |slot: Slot| old.is_some_and(|old| matches!(old.get(slot), Value::Absent));
    let missing = resource.slots().filter(|(slot, _)| !given(*slot) && !stays_away(*slot));
    found.extend(missing.filter_map(|(_, field)| rules::check_missing(field)));
    if found.is_empty() { Ok(facts) } else { Err(found) }
}

/// A value in its canonical form, held to the rules unless it is what is there already.
pub fn checked(field: &Field, value: Value, old: Option<&Value>, found: &mut Vec<Refusal>) -> Value {
    let value = rules::normalised(field, value);
    if !old.is_some_and(|old| rules::is_same(old, &value)) {
        rules::check(field, &value, found);
    }
    value
}

/// The edits of a merge patch (RFC 7396): null takes a value away, objects are merged member by member.
pub fn merge_patch(
    schema: &Schema,
    ty: TypeIx,
    body: &Map<String, Json>,
    old: Option<&Doc>,
) -> Result<Vec<(Slot, Edit)>, Vec<Refusal>> {
    let resource = schema.ty(ty);
    let mut found = Vec::new();
    let mut edits = Vec::with_capacity(body.len());
    for (name, json) in body {
        let Some((slot, field)) = field_named(resource, name, &mut found) else { continue };
        let json = &*written(schema, FieldRef { ty, slot }, json, &mut found);
        let edit = match (&field.kind, json) {
            (
                FieldKind::Stored(_)
                | FieldKind::Link { .. }
                | FieldKind::Links { .. }
                | FieldKind::Among { .. },
                Json::Null,
            ) if !field.rules.nullable => Some(Edit::Set(Value::Absent)),
            (FieldKind::Stored(of), Json::Object(members)) if !of.is_file() => {
                if !is_shallow(json, name, &mut found) {
                    continue;
                }
                merge(schema, of, members, name, &mut found)
            }
            _ => of_field(schema, field, json, &mut found).map(Edit::Set),
        };
        let Some(edit) = edit else { continue };
        let edit = match edit {
            Edit::Set(value) => Edit::Set(checked(field, value, old.map(|old| old.get(slot)), &mut found)),
            edit => edit,
        };
        edits.push((slot, edit));
    }
    if found.is_empty() { Ok(edits) } else { Err(found) }
}

/// A value without the derived members of its objects, which are refused.
fn written<'j>(schema: &Schema, field: FieldRef, json: &'j Json, found: &mut Vec<Refusal>) -> Cow<'j, Json> {
    if schema.field(field).extended.is_none() {
        return Cow::Borrowed(json);
    }
    let mut json = json.clone();
    Held::by(schema, field).refuse_derived(&mut json, &schema.field(field).name, found);
    Cow::Owned(json)
}

fn merge(
    schema: &Schema,
    ty: &ValueType,
    members: &Map<String, Json>,
    path: &str,
    found: &mut Vec<Refusal>,
) -> Option<Edit> {
    let part = |name: &str| -> Option<Option<&ValueType>> {
        match ty {
            ValueType::Object(declared) => {
                declared.iter().find(|member| member.name == name).map(|member| Some(&member.ty))
            }
            ValueType::Map(of) => Some(Some(of)),
            ValueType::Json => Some(None),
            _ => None,
        }
    };
    if !matches!(ty, ValueType::Object(_) | ValueType::Map(_) | ValueType::Json) {
        return of_type(schema, ty, &Json::Object(members.clone()), path, found).map(Edit::Set);
    }
    let mut edits = Vec::with_capacity(members.len());
    for (name, json) in members {
        let path = format!("{path}/{name}");
        let edit = match (part(name), json) {
            (None, _) => {
                found.push(Refusal::new("unknown-field", Some(&path), format!("there is no `{path}`")));
                continue;
            }
            (_, Json::Null) => Some(Edit::Set(Value::Absent)),
            (Some(Some(ty @ ValueType::Link { .. })), json) => {
                of_type(schema, ty, json, &path, found).map(Edit::Set)
            }
            (Some(Some(ty)), Json::Object(members)) => merge(schema, ty, members, &path, found),
            (Some(None), Json::Object(members)) => merge(schema, &ValueType::Json, members, &path, found),
            (Some(Some(ty)), json) => of_type(schema, ty, json, &path, found).map(Edit::Set),
            (Some(None), json) => Some(Edit::Set(from_json(json))),
        };
        edits.extend(edit.map(|edit| (SmolStr::new(name), edit)));
    }
    Some(Edit::Merge(edits))
}

/// The id that a body gives, if it gives one.
pub fn id(body: &Map<String, Json>) -> Result<Option<Id>, Refusal> {
    match body.get("_id") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Id::parse(text)
            .map(Some)
            .map_err(|error| Refusal::new("id", Some("_id"), format!("`_id`: {error}"))),
        Some(other) => {
            Err(Refusal::new("id", Some("_id"), format!("`_id` is a text, and {} is none", shown(other))))
        }
    }
}

/// The field of a name that a body may give; none where the name says nothing, or there is none, which is told.
pub fn field_named<'s>(
    resource: &'s ResourceType,
    name: &str,
    found: &mut Vec<Refusal>,
) -> Option<(Slot, &'s Field)> {
    if IGNORED.contains(&name) {
        return None;
    }
    if let (order::NAME, Some(position)) = (name, resource.positions.first()) {
        // Which of them it is the parent says.
        return Some((position.slot, resource.field(position.slot)));
    }
    let field = resource.named(name).filter(|(_, field)| field.visible());
    if field.is_none() {
        found.push(Refusal::new("unknown-field", Some(name), unknown_field(resource, name)));
    }
    field
}

/// That a type has no such field, with the nearest name that it has.
pub fn unknown_field(resource: &ResourceType, name: &str) -> String {
    let names = resource.fields.iter().filter(|field| field.visible()).map(|field| field.name.as_str());
    match nearest(name, names) {
        Some(near) => format!("{} has no field `{name}`; did you mean `{near}`?", resource.name),
        None => format!("{} has no field `{name}`", resource.name),
    }
}

/// The value of a field; none where there is a mistake.
pub fn of_field(schema: &Schema, field: &Field, json: &Json, found: &mut Vec<Refusal>) -> Option<Value> {
    let name = field.name.as_str();
    if !is_shallow(json, name, found) {
        return None;
    }
    match (&field.kind, json) {
        (FieldKind::Stored(ty), json) if ty.is_file() => match json {
            Json::Null => Some(Value::Absent),
            _ => {
                let message = format!(
                    "`{name}` is a file: its bytes are sent by PUT to the path of the resource with `/{name}` behind it"
                );
                found.push(Refusal::new("file", Some(name), message));
                None
            }
        },
        (
            FieldKind::Stored(_) | FieldKind::Link { .. } | FieldKind::Links { .. } | FieldKind::Among { .. },
            Json::Null,
        ) => Some(Value::Null),
        (FieldKind::Position { .. }, json) => match json.as_u64().and_then(|place| i64::try_from(place).ok())
        {
            Some(place) => Some(Value::Int(place)),
            None => {
                wrong(order::NAME, "a place counted from 0", json, found);
                None
            }
        },
        (FieldKind::Stored(ty), json) => of_type(schema, ty, json, name, found),
        (FieldKind::Link { target, .. }, json) => reference(schema, *target, json, name, found),
        (FieldKind::Links { target, .. }, Json::Array(elements)) => {
            let mut ids = Vec::with_capacity(elements.len());
            for (at, element) in elements.iter().enumerate() {
                ids.push(reference(schema, *target, element, &format!("{name}/{at}"), found)?);
            }
            Some(Value::List(ids.into()))
        }
        (FieldKind::Among { targets, many: false, .. }, json) => {
            among::reference(schema, targets, json, name, found)
        }
        (FieldKind::Among { targets, .. }, Json::Array(elements)) => {
            let mut links = Vec::with_capacity(elements.len());
            for (at, element) in elements.iter().enumerate() {
                links.push(among::reference(schema, targets, element, &format!("{name}/{at}"), found)?);
            }
            Some(Value::List(links.into()))
        }
        (FieldKind::Links { .. } | FieldKind::Among { .. }, json) => {
            wrong(name, "a list of links", json, found);
            None
        }
        _ => {
            let message = match field.kind {
                FieldKind::Collection { .. } | FieldKind::Several { owned: true, .. } => {
                    format!("`{name}` is a collection: its members are created under it")
                }
                _ => format!("`{name}` follows from other fields, and cannot be written"),
            };
            found.push(Refusal::new("read-only", Some(name), message));
            None
        }
    }
}

/// A link as clients write it: `{"_id": …}`, an id, or a path.
pub fn reference(
    schema: &Schema,
    target: TypeIx,
    json: &Json,
    path: &str,
    found: &mut Vec<Refusal>,
) -> Option<Value> {
    let text = match json {
        Json::String(text) => text.as_str(),
        Json::Object(members) => match members.get("_id").or_else(|| members.get("_self")) {
            Some(Json::String(text)) => text.as_str(),
            _ => {
                wrong(path, "a link: {\"_id\": …}, an id, or a path", json, found);
                return None;
            }
        },
        _ => {
            wrong(path, "a link: {\"_id\": …}, an id, or a path", json, found);
            return None;
        }
    };
    let id = match text.strip_prefix('/') {
        None => Id::parse(text).map_err(|error| error.to_string()),
        Some(rest) => {
            let mut segments: Vec<&str> = rest.split('/').collect();
            if segments.first() == Some(&"api") {
                segments.remove(0);
            }
            let of_target = |root: &str| schema.roots.get(root) == Some(&target);
            match segments[..] {
                [root, id] if of_target(root) => Id::parse(id).map_err(|error| error.to_string()),
                [_, _, .., id] if segments.len() > 2 => Id::parse(id).map_err(|error| error.to_string()),
                _ => Err(format!("`{text}` is no path of a {}", schema.ty(target).name)),
            }
        }
    };
    match id {
        Ok(id) => Some(Value::Ref(id)),
        Err(message) => {
            found.push(Refusal::new("link", Some(path), format!("`{path}`: {message}")));
            None
        }
    }
}

/// Is a value within [`MAX_JSON_DEPTH`]? If not, that is added to what was found.
pub fn is_shallow(json: &Json, path: &str, found: &mut Vec<Refusal>) -> bool {
    fn within(json: &Json, depth: usize) -> bool {
        match json {
            Json::Array(elements) => depth > 0 && elements.iter().all(|it| within(it, depth - 1)),
            Json::Object(members) => depth > 0 && members.values().all(|it| within(it, depth - 1)),
            _ => true,
        }
    }
    let shallow = within(json, MAX_JSON_DEPTH);
    if !shallow {
        let message = format!("`{path}` is nested deeper than {MAX_JSON_DEPTH}");
        found.push(Refusal::new("too-deep", Some(path), message));
    }
    shallow
}

/// How many digits a number has, from the first to the last that is not zero.
fn significant_digits(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len()
}

/// JSON in a sentence, not too much of it.
pub fn shown(json: &Json) -> String {
    let mut text = json.to_string();
    if text.len() > 60 {
        let end = (0..=57).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Adds that a value is not what is wanted there.
pub fn wrong(path: &str, wanted: &str, json: &Json, found: &mut Vec<Refusal>) {
    let message = format!("`{path}` is {wanted}, and {} is none", shown(json));
    found.push(Refusal::new("type", Some(path), message));
}

/// A value of a type; none where there is a mistake.
pub fn of_type(
    schema: &Schema,
    ty: &ValueType,
    json: &Json,
    path: &str,
    found: &mut Vec<Refusal>,
) -> Option<Value> {
    let text_of = |kind: BasicKind, wanted: &str, found: &mut Vec<Refusal>| match json {
        Json::String(text) => match parse_as(kind, text) {
            Ok(value) => Some(value),
            Err(message) => {
                found.push(Refusal::new("type", Some(path), format!("`{path}`: {message}")));
                None
            }
        },
        _ => {
            wrong(path, wanted, json, found);
            None
        }
    };
    match (ty, json) {
        (ValueType::Json, json) => Some(from_json(json)),
        (_, Json::Null) => Some(Value::Null),
        (ValueType::Link { target, .. }, json) => reference(schema, *target, json, path, found),
        (ValueType::Str | ValueType::Enum(_), Json::String(text)) => Some(Value::Str(text.into())),
        (ValueType::Bool, Json::Bool(value)) => Some(Value::Bool(*value)),
        (ValueType::Int, Json::Number(number)) => match number.as_i64() {
            Some(value) => Some(Value::Int(value)),
            None => {
                wrong(path, "a whole number of 64 bits", json, found);
                None
            }
        },
        (ValueType::Float, Json::Number(number)) => number.as_f64().map(Value::Float),
        (ValueType::Decimal, Json::Number(number)) => {
            let text = number.to_string();
            if number.is_f64() && significant_digits(&text) > f64::DIGITS as usize {
                // It was read as a float, and what a float cannot hold of it is gone.
                let message =
                    format!("`{path}`: a decimal of so many digits is written as a text, as \"{text}\"");
                found.push(Refusal::new("type", Some(path), message));
                return None;
            }
            match parse_as(BasicKind::Decimal, &text) {
                Ok(value) => Some(value),
                Err(message) => {
                    found.push(Refusal::new("type", Some(path), format!("`{path}`: {message}")));
                    None
                }
            }
        }
        (ValueType::Decimal, _) => text_of(BasicKind::Decimal, "a decimal, as a text or a number", found),
        (ValueType::Datetime, _) => text_of(BasicKind::Datetime, "a datetime as a text", found),
        (ValueType::Date, _) => text_of(BasicKind::Date, "a date as a text", found),
        (ValueType::Duration, _) => text_of(BasicKind::Duration, "a duration as a text", found),
        (ValueType::Uuid, _) => text_of(BasicKind::Uuid, "a UUID as a text", found),
        (ValueType::Bytes, Json::String(text)) => match BASE64_STANDARD.decode(text) {
            Ok(bytes) => Some(Value::Bytes(bytes.into())),
            Err(_) => {
                wrong(path, "bytes as a text in base64", json, found);
                None
            }
        },
        (ValueType::List(of) | ValueType::Set(of), Json::Array(elements)) => {
            let mut values = Vec::with_capacity(elements.len());
            for (at, element) in elements.iter().enumerate() {
                values.push(of_type(schema, of, element, &format!("{path}/{at}"), found)?);
            }
            Some(Value::List(values.into()))
        }
        (ValueType::Map(of), Json::Object(members)) => {
            let mut values = Vec::with_capacity(members.len());
            for (name, json) in members {
                let value = of_type(schema, of, json, &format!("{path}/{name}"), found)?;
                values.push((SmolStr::new(name), value));
            }
            Some(Value::Object(values.into()))
        }
        (ValueType::Object(declared), Json::Object(members)) => {
            let mut values = Vec::with_capacity(members.len());
            let before = found.len();
            for (name, json) in members {
                let path = format!("{path}/{name}");
                match declared.iter().find(|member| member.name == *name) {
                    Some(member) => {
                        if let Some(value) = of_type(schema, &member.ty, json, &path, found) {
                            values.push((member.name.clone(), value));
                        }
                    }
                    None => {
                        let near = nearest(name, declared.iter().map(|member| member.name.as_str()));
                        let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                        let message = format!("there is no `{path}`{help}");
                        found.push(Refusal::new("unknown-field", Some(&path), message));
                    }
                }
            }
            (found.len() == before).then(|| Value::Object(values.into()))
        }
        _ => {
            let wanted = match ty {
                ValueType::Str => "a text",
                ValueType::Int => "a whole number",
                ValueType::Float => "a number",
                ValueType::Bool => "true or false",
                ValueType::Enum(_) => "one of its words",
                ValueType::Object(_) | ValueType::Map(_) => "an object",
                ValueType::List(_) | ValueType::Set(_) => "a list",
                _ => "bytes as a text in base64",
            };
            wrong(path, wanted, json, found);
            None
        }
    }
}
