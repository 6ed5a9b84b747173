//! The rules for values of stored fields, read from the declaration and applied in the simplest way there is.
//!
//! This is what the language says a stored value becomes and when it is refused; the engine has code of its own for
//! the same, and the two share none. A refusal is told by its code alone.

use std::collections::BTreeSet;

use corollary_value::{Value, compare};
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::draft::{DefaultValue, FactKind, Member, Rules, ValueType};
use crate::files;
use crate::union;

/// The codes of refusals.
pub type Codes = BTreeSet<&'static str>;

/// Which members of objects get their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Those that must be there.
    Required,
    /// All.
    All,
}

/// What a default gives at a time.
pub fn default_at(default: &DefaultValue, now: Timestamp) -> Value {
    match default {
        DefaultValue::Constant(value) => value.clone(),
        DefaultValue::Now => Value::Datetime(now),
    }
}

/// A value as it is to be stored.
pub fn completed(kind: FactKind<'_>, rules: &Rules, value: Value, fill: Fill, now: Timestamp) -> Value {
    match kind {
        FactKind::Stored(ty) => stored_form(ty, rules, value, fill, now),
        FactKind::Links(..) => match value {
            Value::List(elements) => {
                let mut once: Vec<Value> = Vec::new();
                for element in elements.iter() {
                    if !matches!(element, Value::Ref(_)) || !once.contains(element) {
                        once.push(element.clone());
                    }
                }
                Value::List(once.into())
            }
            other => other,
        },
        _ => value,
    }
}

/// A value of a type as it is to be stored.
pub fn stored_form(ty: &ValueType, rules: &Rules, value: Value, fill: Fill, now: Timestamp) -> Value {
    let plain = Rules::default();
    let part = |of: &ValueType, value: &Value| stored_form(of, &plain, value.clone(), fill, now);
    match (ty, value) {
        (_, Value::Str(text)) => {
            let text = if rules.lower { text.to_lowercase() } else { text.to_string() };
            Value::Str(if rules.trim { text.trim().into() } else { text.into() })
        }
        (ValueType::List(of), Value::List(elements)) => {
            Value::List(elements.iter().map(|element| part(of, element)).collect())
        }
        (ValueType::Set(of), Value::List(elements)) => {
            let mut ordered: Vec<Value> = Vec::new();
            for element in elements.iter().map(|element| part(of, element)) {
                let at = ordered.partition_point(|other| compare(other, &element).is_lt());
                if ordered.get(at).is_none_or(|other| compare(other, &element).is_ne()) {
                    ordered.insert(at, element);
                }
            }
            Value::List(ordered.into())
        }
        (ValueType::Elements(members, _), value @ Value::List(_)) => {
            let objects = ValueType::List(ValueType::Object(members.clone()).into());
            part(&objects, &value)
        }
        (ValueType::File, value) => part(&ValueType::Object(files::members()), &value),
        (ValueType::Map(of), Value::Object(members)) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), part(of, value))).collect())
        }
        (ValueType::Object(declared), Value::Object(members)) => {
            // In the order in which they are declared; what is not declared, behind them.
            let mut given: Vec<(SmolStr, Value)> =
                members.iter().filter(|(_, value)| *value != Value::Absent).cloned().collect();
            let mut all: Vec<(SmolStr, Value)> = Vec::new();
            for member in union::form(declared, &members) {
                let filled = fill == Fill::All || member.rules.required;
                let default = member.rules.default.as_ref().filter(|_| filled);
                let value = match given.iter().position(|(name, _)| name == member.name) {
                    Some(at) => Some(given.remove(at).1),
                    None => default.map(|default| default_at(default, now)),
                };
                if let Some(value) = value {
                    all.push((member.name.into(), stored_form(&member.ty, &member.rules, value, fill, now)));
                }
            }
            all.append(&mut given);
            Value::Object(all.into())
        }
        (_, value) => value,
    }
}

/// Adds what is wrong with a value of a fact.
pub fn check(kind: FactKind<'_>, rules: &Rules, value: &Value, wrong: &mut Codes) {
    if value.is_null() {
        check_null(rules, value, wrong);
        return;
    }
    match (kind, value) {
        (FactKind::Stored(ty), _) => check_value(ty, rules, value, wrong),
        (FactKind::Link(..) | FactKind::Parent(_), Value::Ref(_)) => {}
        (FactKind::Links(..), Value::List(elements))
            if elements.iter().all(|element| matches!(element, Value::Ref(_))) =>
        {
            check_bounds(rules, value, wrong);
        }
        _ => {
            wrong.insert("type");
        }
    }
}

fn check_null(rules: &Rules, value: &Value, wrong: &mut Codes) {
    match value {
        Value::Null if rules.nullable => {}
        _ if rules.required => drop(wrong.insert("required")),
        Value::Null => drop(wrong.insert("null")),
        _ => {}
    }
}

fn check_value(ty: &ValueType, rules: &Rules, value: &Value, wrong: &mut Codes) {
    let mut of_type = Codes::new();
    check_type(ty, value, &mut of_type);
    if of_type.is_empty() {
        check_bounds(rules, value, wrong);
    }
    wrong.append(&mut of_type);
}

fn check_type(ty: &ValueType, value: &Value, wrong: &mut Codes) {
    let fits = match (ty, value) {
        (ValueType::Json, value) => !value.is_error(),
        (ValueType::Enum(words), Value::Str(word)) => {
            if !words.contains(&word.as_str()) {
                wrong.insert("enum");
            }
            true
        }
        (ValueType::List(of) | ValueType::Set(of), Value::List(elements)) => {
            elements.iter().for_each(|element| check_type(of, element, wrong));
            true
        }
        (ValueType::Elements(members, _), Value::List(elements)) => {
            let object = ValueType::Object(members.clone());
            elements.iter().for_each(|element| check_type(&object, element, wrong));
            true
        }
        (ValueType::File, value @ Value::Object(_)) => {
            check_type(&ValueType::Object(files::members()), value, wrong);
            true
        }
        (ValueType::Map(of), Value::Object(members)) => {
            members.iter().for_each(|(_, value)| check_type(of, value, wrong));
            true
        }
        (ValueType::Object(declared), Value::Object(members)) => {
            let known = |name: &str| declared.iter().any(|member| member.name == name);
            if members.iter().any(|(name, _)| !known(name)) {
                wrong.insert("unknown-field");
            }
            let form: Vec<&Member> = union::form(declared, members).collect();
            let in_form = |name: &str| form.iter().any(|member| member.name == name);
            if union::variant_of(declared, members).is_some()
                && members.iter().any(|(name, _)| known(name) && !in_form(name))
            {
                wrong.insert("variant");
            }
            for member in form {
                let value = members.iter().find(|(name, _)| name == member.name).map(|(_, value)| value);
                check_member(member, value, wrong);
            }
            true
        }
        (ValueType::Float, Value::Float(float)) => float.is_finite(),
        (ValueType::Str, Value::Str(_))
        | (ValueType::Int, Value::Int(_))
        | (ValueType::Bool, Value::Bool(_))
        | (ValueType::Decimal, Value::Decimal(_))
        | (ValueType::Datetime, Value::Datetime(_))
        | (ValueType::Date, Value::Date(_))
        | (ValueType::Duration, Value::Duration(_))
        | (ValueType::Uuid, Value::Uuid(_))
        | (ValueType::Bytes, Value::Bytes(_))
        | (ValueType::Link(..), Value::Ref(_)) => true,
        _ => false,
    };
    if !fits {
        wrong.insert("type");
    }
}

fn check_member(member: &Member, value: Option<&Value>, wrong: &mut Codes) {
    match value {
        Some(value) if !value.is_null() => check_value(&member.ty, &member.rules, value, wrong),
        // It is filled in.
        None if member.rules.default.is_some() => {}
        value => check_null(&member.rules, value.unwrap_or(&Value::Absent), wrong),
    }
}

fn check_bounds(rules: &Rules, value: &Value, wrong: &mut Codes) {
    if rules.min.as_ref().is_some_and(|min| compare(value, min).is_lt()) {
        wrong.insert("min");
    }
    if rules.max.as_ref().is_some_and(|max| compare(value, max).is_gt()) {
        wrong.insert("max");
    }
    let length = match value {
        Value::Str(text) => text.chars().count(),
        Value::List(elements) => elements.len(),
        Value::Object(members) => members.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    if rules.min_length.is_some_and(|min| length < min) {
        wrong.insert("min_length");
    }
    if rules.max_length.is_some_and(|max| length > max) {
        wrong.insert("max_length");
    }
    if let (Some(starts), Value::Str(text)) = (rules.starts, value)
        && !text.starts_with(starts)
    {
        wrong.insert("pattern");
    }
}

/// Is a value of the right type within its bounds?
pub fn is_within(rules: &Rules, value: &Value) -> bool {
    let mut wrong = Codes::new();
    check_bounds(rules, value, &mut wrong);
    wrong.is_empty()
}

/// Adds what is wrong with a change from one value to another.
pub fn check_change(kind: FactKind<'_>, rules: &Rules, old: &Value, new: &Value, wrong: &mut Codes) {
    if old == new || (old.is_null() && new.is_null()) {
        return;
    }
    if rules.immutable || matches!(kind, FactKind::Parent(_)) {
        wrong.insert("immutable");
    } else if rules.write_once && !old.is_null() {
        wrong.insert("write-once");
    } else if rules.append_only && !goes_on(kind, old, new) {
        wrong.insert("append-only");
    }
}

/// Is all that was there still there, in its place?
fn goes_on(kind: FactKind<'_>, old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::List(old), Value::List(new)) => match kind {
            FactKind::Stored(ValueType::Set(_)) => {
                old.iter().all(|element| new.iter().any(|other| compare(element, other).is_eq()))
            }
            _ => old.len() <= new.len() && old.iter().zip(new.iter()).all(|(old, new)| old == new),
        },
        (Value::Object(old), Value::Object(new)) => {
            old.iter().all(|member| new.iter().any(|other| other == member))
        }
        (old, _) => old.is_null(),
    }
}
