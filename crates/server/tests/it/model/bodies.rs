//! Bodies of requests: from JSON by the names of a type, or of a mount, to facts.

use super::schema::{Field, Kind, Type};
use super::state::{Key, Object, State, Through};
use super::values::{self, Fill, Wrong};
use super::work::Edit;
use crate::common::Json;

/// Names that say nothing.
pub const IGNORED: [&str; 5] = ["_id", "_self", "_type", "_revision", "_pending"];

/// What a body says, by the names of the type.
#[derive(Debug, Default)]
pub struct Said {
    pub facts: Object,
    pub position: Option<usize>,
}

/// The field that a name stands for.
pub fn named(ty: Type, through: Option<&Through>, name: &str) -> Option<&'static Field> {
    let real = through.map_or(Some(name), |through| through.mount.real(name))?;
    ty.field(real)
}

/// The name by which a field is told.
pub fn told<'n>(through: Option<&Through>, field: &'n str) -> &'n str {
    through.and_then(|through| through.mount.shown(field)).unwrap_or(field)
}

/// The id in a body, which has to be `expected` where there is one that is expected.
pub fn id(body: &Object, expected: Option<&str>, wrong: &mut Vec<Wrong>) -> Option<String> {
    match body.get("_id") {
        None | Some(Json::Null) => None,
        Some(Json::String(id)) if values::is_id(id) && expected.is_none_or(|expected| expected == id) => {
            Some(id.clone())
        }
        Some(_) => {
            wrong.push(Wrong::at("id", "_id"));
            None
        }
    }
}

/// A place in a body, of a type whose children have one.
fn position(ty: Type, json: &Json, said: &mut Said, wrong: &mut Vec<Wrong>) {
    match json.as_u64() {
        _ if ty != Type::Step => wrong.push(Wrong::at("unknown-field", "_position")),
        Some(at) => said.position = Some(usize::try_from(at).unwrap()),
        None => wrong.push(Wrong::at("type", "_position")),
    }
}

/// The facts of a new resource, or of one that takes the place of what is there.
pub fn whole(
    state: &State,
    ty: Type,
    old: Option<&Key>,
    through: Option<&Through>,
    body: &Object,
    wrong: &mut Vec<Wrong>,
) -> Said {
    let mut said = Said::default();
    for (name, json) in body.iter().filter(|(name, _)| !IGNORED.contains(&name.as_str())) {
        if name == "_position" && ty == Type::Step {
            position(ty, json, &mut said, wrong);
            continue;
        }
        let Some(field) = named(ty, through, name) else {
            wrong.push(Wrong::at("unknown-field", name));
            continue;
        };
        if !field.is_fact() {
            if !is_as_shown(state, old, field, json) {
                wrong.push(Wrong::at("read-only", name));
            }
            continue;
        }
        let Some(value) = values::read(&field.kind, json, name, wrong) else { continue };
        let value = values::canonical(field, value, Fill::All);
        if old.is_none_or(|old| state.value(old, field.name) != value || value.is_null()) {
            check(state, old, field, &value, name, wrong);
        }
        said.facts.insert(field.name.into(), value);
    }
    for field in ty.fields().iter().filter(|field| field.required && field.default.is_none()) {
        let name = told(through, field.name);
        let was_away = old.is_some_and(|old| !state.is_shown(old, field.name));
        if !body.contains_key(name)
            && !was_away
            && through.is_none_or(|it| it.mount.shown(field.name).is_some())
        {
            wrong.push(Wrong::at("required", name));
        }
    }
    said
}

fn check(state: &State, old: Option<&Key>, field: &Field, value: &Json, name: &str, wrong: &mut Vec<Wrong>) {
    let old = old.and_then(|old| state.docs.get(old));
    let stays = old.is_some_and(|old| old.facts.get(field.name) == Some(value));
    if !stays {
        values::check(field, value, name, wrong);
    }
}

/// Is what follows sent back as it was read?
fn is_as_shown(state: &State, old: Option<&Key>, field: &Field, json: &Json) -> bool {
    let Some(old) = old else { return false };
    // What has no value is shown as null where it is asked for.
    field.kind == Kind::Derived && state.shown_value(old, field.name) == *json
}

/// What a merge patch comes to on a resource. The first error is of what can be told before it is executed, the second what
/// only then comes out.
pub fn merge(
    state: &State,
    key: &Key,
    through: Option<&Through>,
    body: &Object,
    wrong: &mut Vec<Wrong>,
) -> (Vec<Edit>, Option<usize>) {
    let mut said = Said::default();
    let mut edits = Vec::new();
    for (name, json) in body.iter().filter(|(name, _)| !IGNORED.contains(&name.as_str())) {
        if name == "_position" && key.ty == Type::Step {
            position(key.ty, json, &mut said, wrong);
            continue;
        }
        let Some(field) = named(key.ty, through, name) else {
            wrong.push(Wrong::at("unknown-field", name));
            continue;
        };
        if !field.is_fact() {
            let there = state.docs.contains_key(key).then_some(key);
            if !is_as_shown(state, there, field, json) {
                wrong.push(Wrong::at("read-only", name));
            }
            continue;
        }
        let doc = state.docs.get(key);
        let old = doc.and_then(|doc| doc.facts.get(field.name));
        let value = match json {
            Json::Null if !field.nullable => None,
            Json::Object(members) if !field.is_link() => {
                // What comes of it is held to the rules when it is executed.
                let value = merged(&field.kind, old, members, name, wrong);
                edits.extend(value.map(|(value, fill)| (field.name, Some(value), fill)));
                continue;
            }
            json => match values::read(&field.kind, json, name, wrong) {
                Some(value) => Some(values::canonical(field, value, Fill::All)),
                None => continue,
            },
        };
        match &value {
            Some(value) => check(state, Some(key), field, value, name, wrong),
            None if field.required && (old.is_some() || doc.is_none()) => {
                wrong.push(Wrong::at("required", name))
            }
            None => {}
        }
        edits.push((field.name, value, Fill::All));
    }
    (edits, said.position)
}

/// A value after a merge patch of its members.
fn merged(
    kind: &Kind,
    old: Option<&Json>,
    patch: &Object,
    path: &str,
    wrong: &mut Vec<Wrong>,
) -> Option<(Json, Fill)> {
    let so_far = wrong.len();
    if !matches!(kind, Kind::Object(_) | Kind::Map | Kind::Json) {
        let value = values::read(kind, &patch.clone().into(), path, wrong);
        return value.map(|value| (value, Fill::All));
    }
    let (mut members, fill) = match old {
        Some(Json::Object(members)) => (members.clone(), Fill::None),
        _ => (Object::new(), Fill::All),
    };
    for (name, json) in patch {
        let path = format!("{path}/{name}");
        let value = match kind {
            Kind::Object(fields) => match fields.iter().find(|field| field.name == name) {
                None => {
                    wrong.push(Wrong::at("unknown-field", &path));
                    continue;
                }
                Some(_) if json.is_null() => None,
                Some(field) => values::read(&field.kind, json, &path, wrong),
            },
            _ if json.is_null() => None,
            Kind::Map => values::read(&Kind::Str, json, &path, wrong),
            _ => Some(match json {
                Json::Object(patch) => merged(&Kind::Json, members.get(name), patch, &path, wrong)?.0,
                other => other.clone(),
            }),
        };
        match value {
            Some(value) => members.insert(name.clone(), value),
            None => members.remove(name),
        };
    }
    (wrong.len() == so_far).then(|| (members.into(), fill))
}
