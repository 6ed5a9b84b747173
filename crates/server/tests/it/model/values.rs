//! JSON that clients send, against the types and the options of the fields: what it comes to, or what is wrong with it.

use super::schema::{Field, Kind, Type};
use super::state::{Key, Object};
use crate::common::Json;

/// Something that is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wrong {
    pub item: Option<usize>,
    pub code: &'static str,
    pub path: Option<String>,
    /// The resource that it is about, where only the end of the transaction tells.
    pub of: Option<Key>,
}

impl Wrong {
    pub fn at(code: &'static str, path: &str) -> Wrong {
        Wrong { path: Some(format!("/{path}")), ..Wrong::plain(code) }
    }

    pub fn of(self, key: &Key) -> Wrong {
        Wrong { of: Some(key.clone()), ..self }
    }

    pub fn plain(code: &'static str) -> Wrong {
        Wrong { item: None, code, path: None, of: None }
    }
}

/// A value of a kind, as it is kept; none where it is no such value, which is told.
pub fn read(kind: &Kind, json: &Json, path: &str, wrong: &mut Vec<Wrong>) -> Option<Json> {
    let refuse = |wrong: &mut Vec<Wrong>| {
        wrong.push(Wrong::at("type", path));
        None
    };
    match (kind, json) {
        (Kind::Json, json) => Some(json.clone()),
        (_, Json::Null) => Some(Json::Null),
        (Kind::Str | Kind::Word(_), Json::String(_)) | (Kind::Bool, Json::Bool(_)) => Some(json.clone()),
        (Kind::Int, Json::Number(number)) if number.is_i64() => Some(json.clone()),
        (Kind::Decimal, Json::Number(number)) => Some(number.to_string().into()),
        (Kind::Decimal, Json::String(text)) if is_decimal(text) => Some(json.clone()),
        (Kind::Date, Json::String(text)) if text.parse::<jiff::civil::Date>().is_ok() => Some(json.clone()),
        (Kind::Datetime, Json::String(text)) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => Some(time.to_string().into()),
            Err(_) => refuse(wrong),
        },
        (Kind::List(of), Json::Array(elements)) => {
            elements.iter().enumerate().map(|(at, it)| read(of, it, &format!("{path}/{at}"), wrong)).collect()
        }
        (Kind::Set, Json::Array(elements)) => elements
            .iter()
            .enumerate()
            .map(|(at, it)| read(&Kind::Int, it, &format!("{path}/{at}"), wrong))
            .collect(),
        (Kind::Map, Json::Object(members)) => {
            let mut kept = Object::new();
            for (name, json) in members {
                kept.insert(name.clone(), read(&Kind::Str, json, &format!("{path}/{name}"), wrong)?);
            }
            Some(kept.into())
        }
        (Kind::Object(fields), Json::Object(members)) => read_object(fields, members, path, wrong),
        (Kind::Link(target, _), json) => link(*target, json, path, wrong),
        (Kind::Links(target, _), Json::Array(elements)) => elements
            .iter()
            .enumerate()
            .map(|(at, it)| link(*target, it, &format!("{path}/{at}"), wrong))
            .collect(),
        _ => refuse(wrong),
    }
}

fn read_object(fields: &[Field], members: &Object, path: &str, wrong: &mut Vec<Wrong>) -> Option<Json> {
    let so_far = wrong.len();
    let mut kept = Object::new();
    for (name, json) in members {
        let path = format!("{path}/{name}");
        match fields.iter().find(|field| field.name == name) {
            Some(field) => {
                let value = read(&field.kind, json, &path, wrong);
                kept.extend(value.map(|value| (name.clone(), value)));
            }
            None => wrong.push(Wrong::at("unknown-field", &path)),
        }
    }
    (wrong.len() == so_far).then(|| kept.into())
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.') && digits != "."
}

/// May a text be an id?
pub fn is_id(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-~:@.".contains(c);
    let outer = |c: Option<char>| c.is_some_and(|c| c != '.');
    (1..=128).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('_')
        && outer(text.chars().next())
        && outer(text.chars().last())
}

/// A link: an id, a path, or an object that has one of them.
pub fn link(target: Type, json: &Json, path: &str, wrong: &mut Vec<Wrong>) -> Option<Json> {
    let given = match json {
        Json::Object(members) => members.get("_id").or_else(|| members.get("_self")),
        json => Some(json),
    };
    let Some(Json::String(text)) = given else {
        wrong.push(Wrong::at("type", path));
        return None;
    };
    let id = match text.strip_prefix('/') {
        None => Some(text.as_str()),
        Some(rest) => {
            let rest = rest.strip_prefix("api/").unwrap_or(rest);
            rest.split_once('/').filter(|(root, _)| Some(*root) == target.root()).map(|(_, id)| id)
        }
    };
    match id.filter(|id| is_id(id)) {
        Some(id) => Some(id.into()),
        None => {
            wrong.push(Wrong::at("link", path));
            None
        }
    }
}

/// Which members without a value get their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// A new object: all that have one.
    All,
    /// One that was there: none of ours, which are not required.
    None,
}

/// A value in the form in which it is kept: normalised, completed, sets in order and links once.
pub fn canonical(field: &Field, value: Json, fill: Fill) -> Json {
    match (&field.kind, value) {
        (Kind::Str, Json::String(mut text)) => {
            if field.trim {
                text = text.trim().into();
            }
            if field.lower {
                text = text.to_lowercase();
            }
            text.into()
        }
        (Kind::Set, Json::Array(mut elements)) => {
            elements.sort_by_key(Json::as_i64);
            elements.dedup();
            elements.into()
        }
        (Kind::Links(..), Json::Array(ids)) => {
            let mut once: Vec<Json> = Vec::new();
            for id in ids {
                if !once.contains(&id) {
                    once.push(id);
                }
            }
            once.into()
        }
        (Kind::Object(fields), Json::Object(members)) => completed(fields, members, fill).into(),
        (Kind::List(Kind::Object(fields)), Json::Array(elements)) => elements
            .into_iter()
            .map(|element| match element {
                Json::Object(members) => completed(fields, members, fill).into(),
                other => other,
            })
            .collect(),
        (_, value) => value,
    }
}

fn completed(fields: &[Field], mut members: Object, fill: Fill) -> Object {
    if fill == Fill::All {
        for field in fields {
            if let (Some(default), false) = (field.default, members.contains_key(field.name)) {
                members.insert(field.name.into(), serde_json::from_str(default).unwrap());
            }
        }
    }
    members
}

/// What is wrong with a value by the rules of its field; null is an explicit one.
pub fn check(field: &Field, value: &Json, path: &str, wrong: &mut Vec<Wrong>) {
    if value.is_null() {
        if field.required && !field.nullable {
            wrong.push(Wrong::at("required", path));
        } else if !field.nullable {
            wrong.push(Wrong::at("null", path));
        }
        return;
    }
    let so_far = wrong.len();
    check_kind(&field.kind, value, path, wrong);
    if wrong.len() > so_far {
        return;
    }
    let number = match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) if field.kind == Kind::Decimal => text.parse().ok(),
        _ => None,
    };
    if number.zip(field.min).is_some_and(|(number, min)| number < min as f64) {
        wrong.push(Wrong::at("min", path));
    }
    if number.zip(field.max).is_some_and(|(number, max)| number > max as f64) {
        wrong.push(Wrong::at("max", path));
    }
    let length = match value {
        Json::String(text) => text.chars().count(),
        Json::Array(elements) => elements.len(),
        _ => return,
    };
    if length < field.min_length {
        wrong.push(Wrong::at("min_length", path));
    }
    if length > field.max_length {
        wrong.push(Wrong::at("max_length", path));
    }
}

fn check_kind(kind: &Kind, value: &Json, path: &str, wrong: &mut Vec<Wrong>) {
    match (kind, value) {
        (Kind::Word(words), Json::String(word)) if !words.contains(&word.as_str()) => {
            wrong.push(Wrong::at("enum", path));
        }
        (Kind::List(of), Json::Array(elements)) => {
            for (at, element) in elements.iter().enumerate() {
                check_kind(of, element, &format!("{path}/{at}"), wrong);
            }
        }
        (Kind::Set, Json::Array(elements)) => {
            for (at, element) in elements.iter().enumerate() {
                check_kind(&Kind::Int, element, &format!("{path}/{at}"), wrong);
            }
        }
        (Kind::Map, Json::Object(members)) => {
            for (name, value) in members {
                check_kind(&Kind::Str, value, &format!("{path}/{name}"), wrong);
            }
        }
        (Kind::Object(fields), Json::Object(members)) => {
            for field in *fields {
                let path = format!("{path}/{}", field.name);
                match members.get(field.name) {
                    Some(value) => check(field, value, &path, wrong),
                    None if field.required => wrong.push(Wrong::at("required", &path)),
                    None => {}
                }
            }
        }
        (Kind::Json, _) => {}
        (_, Json::Null) => wrong.push(Wrong::at("type", path)),
        _ => {}
    }
}

/// May a value become this one? None stands for no value.
pub fn check_change(field: &Field, old: Option<&Json>, new: Option<&Json>) -> Option<Wrong> {
    let null = |value: Option<&Json>| value.is_none_or(Json::is_null);
    if old == new || null(old) && null(new) {
        return None;
    }
    if field.immutable {
        return Some(Wrong::at("immutable", field.name));
    }
    if field.write_once && !null(old) {
        return Some(Wrong::at("write-once", field.name));
    }
    let goes_on = || match (old, new) {
        (Some(Json::Array(old)), Some(Json::Array(new))) => new.starts_with(old),
        (old, _) => null(old),
    };
    if field.append_only && !goes_on() {
        return Some(Wrong::at("append-only", field.name));
    }
    None
}
