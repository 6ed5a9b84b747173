//! The rules for the values of one field: type, bounds, pattern, and what may change.
//!
//! All that is wrong with a value is told, each with its place, a stable code and a sentence. Rules that look at other
//! resources (unique, links) are elsewhere: [`crate::index`], [`mod@crate::write`].

use std::fmt;

use corollary_schema::{Field, FieldKind, Normalize, Rules, ValueType};
use corollary_value::{Value, compare};
use smol_str::SmolStr;

use crate::error::Refusal;

/// Where in a value: the field, then members and positions, as `address/city` or `tags/3`.
#[derive(Clone, Copy)]
enum Place<'a> {
    Field(&'a str),
    Member(&'a Place<'a>, &'a str),
    Element(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Field(name) => f.write_str(name),
            Place::Member(base, name) => write!(f, "{base}/{name}"),
            Place::Element(base, at) => write!(f, "{base}/{at}"),
        }
    }
}

impl Place<'_> {
    fn refuse(&self, code: &'static str, message: String) -> Refusal {
        Refusal::new(code, Some(&self.to_string()), message)
    }
}

/// The value as it is stored: text normalised, sets in order, links once each.
pub fn normalised(field: &Field, value: Value) -> Value {
    match value {
        Value::Str(text) if !field.rules.normalize.is_empty() => {
            let normalise = |text: SmolStr, step: &Normalize| match step {
                Normalize::Lower => text.to_lowercase().into(),
                Normalize::Upper => text.to_uppercase().into(),
                Normalize::Trim => text.trim().into(),
            };
            Value::Str(field.rules.normalize.iter().fold(text, normalise))
        }
        Value::List(elements) if matches!(field.kind, FieldKind::Stored(ValueType::Set(_))) => {
            let mut elements = elements.to_vec();
            elements.sort_by(compare);
            elements.dedup();
            Value::List(elements.into())
        }
        Value::List(elements) if matches!(field.kind, FieldKind::Links { .. }) => {
            let mut once: Vec<Value> = Vec::with_capacity(elements.len());
            let mut seen = std::collections::BTreeSet::new();
            for element in elements.iter() {
                let new = match element {
                    Value::Ref(id) => seen.insert(id.clone()),
                    _ => true,
                };
                if new {
                    once.push(element.clone());
                }
            }
            Value::List(once.into())
        }
        value => value,
    }
}

/// Finds all that is wrong with a value of a field.
pub fn check(field: &Field, value: &Value, found: &mut Vec<Refusal>) {
    let place = Place::Field(&field.name);
    if value.is_null() {
        found.extend(check_null(&field.rules, place, value));
        return;
    }
    match &field.kind {
        FieldKind::Stored(ty) => check_value(&field.rules, place, ty, value, found),
        FieldKind::Link { .. } | FieldKind::Parent { .. } => {
            if !matches!(value, Value::Ref(_)) {
                let message = format!("`{place}` is a link, and {value} is no reference");
                found.push(place.refuse("type", message));
            }
        }
        FieldKind::Links { .. } => match value {
            Value::List(elements) if elements.iter().all(|element| matches!(element, Value::Ref(_))) => {
                check_bounds(&field.rules, place, value, found);
            }
            _ => {
                let message = format!("`{place}` holds links, and {value} is no list of references");
                found.push(place.refuse("type", message));
            }
        },
        _ => found.push(place.refuse("read-only", format!("`{place}` follows from other fields"))),
    }
}

/// What is wrong with a new resource that has no value here.
pub fn check_missing(field: &Field) -> Option<Refusal> {
    let missing = field.rules.required && field.rules.default.is_none();
    missing.then(|| Refusal::new("required", Some(&field.name), format!("`{}` is required", field.name)))
}

fn check_null(rules: &Rules, place: Place<'_>, value: &Value) -> Option<Refusal> {
    match value {
        _ if rules.required && !rules.nullable => {
            Some(place.refuse("required", format!("`{place}` is required")))
        }
        Value::Null if !rules.nullable => Some(place.refuse("null", format!("`{place}` cannot be null"))),
        _ => None,
    }
}

/// A value that is there against its type and, if it is of that type, against its rules.
fn check_value(rules: &Rules, place: Place<'_>, ty: &ValueType, value: &Value, found: &mut Vec<Refusal>) {
    let before = found.len();
    check_type(place, ty, value, found);
    if found.len() == before {
        check_bounds(rules, place, value, found);
    }
}

/// Is a value one of a type, all the way down?
fn check_type(place: Place<'_>, ty: &ValueType, value: &Value, found: &mut Vec<Refusal>) {
    match (ty, value) {
        (ValueType::Json, _) => {}
        (ValueType::Enum(words), Value::Str(word)) => {
            if !words.contains(word) {
                let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                found.push(place.refuse("enum", format!("\"{word}\" is none of {}", words.join(", "))));
            }
        }
        (ValueType::List(of) | ValueType::Set(of), Value::List(elements)) => {
            for (at, element) in elements.iter().enumerate() {
                check_type(Place::Element(&place, at), of, element, found);
            }
        }
        (ValueType::Map(of), Value::Object(members)) => {
            for (key, value) in members.iter() {
                check_type(Place::Member(&place, key), of, value, found);
            }
        }
        (ValueType::Object(declared), Value::Object(members)) => {
            for (key, _) in members.iter() {
                if !declared.iter().any(|member| member.name == *key) {
                    let place = Place::Member(&place, key);
                    found.push(place.refuse("unknown-field", format!("there is no `{place}`")));
                }
            }
            for member in declared {
                let place = Place::Member(&place, &member.name);
                let given = members.iter().find(|(key, _)| *key == member.name).map(|(_, value)| value);
                match given {
                    Some(value) if !value.is_null() => {
                        check_value(&member.rules, place, &member.ty, value, found);
                    }
                    given => {
                        found.extend(check_null(&member.rules, place, given.unwrap_or(&Value::Absent)));
                    }
                }
            }
        }
        (ValueType::Float, Value::Float(float)) if float.is_finite() => {}
        (ValueType::Str, Value::Str(_))
        | (ValueType::Int, Value::Int(_))
        | (ValueType::Bool, Value::Bool(_))
        | (ValueType::Decimal, Value::Decimal(_))
        | (ValueType::Datetime, Value::Datetime(_))
        | (ValueType::Date, Value::Date(_))
        | (ValueType::Duration, Value::Duration(_))
        | (ValueType::Uuid, Value::Uuid(_))
        | (ValueType::Bytes, Value::Bytes(_)) => {}
        _ => found.push(place.refuse("type", format!("{value} is no value of `{place}`"))),
    }
}

fn check_bounds(rules: &Rules, place: Place<'_>, value: &Value, found: &mut Vec<Refusal>) {
    if let Some(min) = rules.min.as_ref().filter(|min| compare(value, min).is_lt()) {
        found.push(place.refuse("min", format!("`{place}` is at least {min}, and this is {value}")));
    }
    if let Some(max) = rules.max.as_ref().filter(|max| compare(value, max).is_gt()) {
        found.push(place.refuse("max", format!("`{place}` is at most {max}, and this is {value}")));
    }
    if rules.min_length.is_some() || rules.max_length.is_some() {
        let length = match value {
            Value::Str(text) => text.chars().count(),
            Value::List(elements) => elements.len(),
            Value::Object(members) => members.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        } as u64;
        if let Some(min) = rules.min_length.filter(|min| length < *min) {
            let message = format!("`{place}` has a length of at least {min}, and this has {length}");
            found.push(place.refuse("min_length", message));
        }
        if let Some(max) = rules.max_length.filter(|max| length > *max) {
            let message = format!("`{place}` has a length of at most {max}, and this has {length}");
            found.push(place.refuse("max_length", message));
        }
    }
    if let (Some(pattern), Value::Str(text)) = (&rules.pattern, value)
        && !pattern.regex.is_match(text)
    {
        let message = format!("`{place}` does not match {}", pattern.regex.as_str());
        found.push(place.refuse("pattern", message));
    }
}

/// May an existing resource's value change to this one?
pub fn check_change(field: &Field, old: &Value, new: &Value) -> Option<Refusal> {
    if old == new || (old.is_null() && new.is_null()) {
        return None;
    }
    let refuse = |code, message| Some(Refusal::new(code, Some(&field.name), message));
    if field.rules.immutable {
        return refuse("immutable", format!("`{}` cannot be changed", field.name));
    }
    if field.rules.write_once && !old.is_null() {
        return refuse("write-once", format!("`{}` has been set, and cannot be changed", field.name));
    }
    None
}
