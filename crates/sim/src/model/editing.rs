//! What an edit makes of a value of the model.

use corollary_engine::{Edit, Element};
use corollary_value::{ErrorValue, Value, compare, ops};
use jiff::Timestamp;

use crate::draft::ValueType;
use crate::union;

/// A value after an edit, or why there is none.
pub(super) fn edited(
    ty: Option<&ValueType>,
    old: &Value,
    edit: &Edit,
    now: Timestamp,
) -> Result<Value, &'static str> {
    // Where a list is edited, what is there.
    let list = || match old {
        Value::List(elements) => Ok(elements.to_vec()),
        Value::Absent | Value::Null => Ok(Vec::new()),
        _ => Err("type"),
    };
    Ok(match edit {
        Edit::Set(value) => value.clone(),
        Edit::File(received) => received.value(),
        Edit::Merge(edits) => {
            let mut members = if let Value::Object(members) = old { members.to_vec() } else { Vec::new() };
            for (name, edit) in edits {
                let of = match ty {
                    Some(ValueType::Object(declared)) => {
                        declared.iter().find(|member| member.name == name).map(|member| &member.ty)
                    }
                    Some(ValueType::Map(of)) => Some(&**of),
                    _ => None,
                };
                let at = members.iter().position(|(other, _)| other == name);
                let old = at.map(|at| members[at].1.clone()).unwrap_or_default();
                match (at, edited(of, &old, edit, now)?) {
                    (Some(at), Value::Absent) => drop(members.remove(at)),
                    (Some(at), value) => members[at].1 = value,
                    (None, Value::Absent) => {}
                    (None, value) => members.push((name.clone(), value)),
                }
            }
            if let Some(ValueType::Object(declared)) = ty {
                let names: Vec<&str> = edits.iter().map(|(name, _)| name.as_str()).collect();
                return Ok(union::switched(declared, old, members, &names, now));
            }
            Value::Object(members.into())
        }
        Edit::Member(member) => match old {
            Value::Object(_) | Value::Absent | Value::Null => {
                edited(ty, old, &Edit::Merge(vec![(**member).clone()]), now)?
            }
            _ => return Err("type"),
        },
        Edit::Increment(by) => number(ty, incremented(ty, old, by))?,
        Edit::IncrementWithin { by, limit, clamp } => {
            let new = incremented(ty, old, by);
            let down = matches!(by, Value::Int(by) if *by < 0);
            let is_past = |value: &Value| {
                !value.is_null()
                    && if down { compare(value, limit).is_lt() } else { compare(value, limit).is_gt() }
            };
            let zero = Value::Int(0);
            let from = if old.is_null() { &zero } else { old };
            let overflows = new == Value::Error(ErrorValue::Overflow) && !old.is_error();
            let stays = matches!(by, Value::Int(0)) || new.is_error() || !is_past(&new);
            match (stays && !overflows, clamp) {
                (true, _) => number(ty, new)?,
                (false, false) => return Err("limit"),
                (false, true) if is_past(from) => from.clone(),
                (false, true) => limit.clone(),
            }
        }
        Edit::Push { values, at } => {
            let mut elements = list()?;
            let at = at.unwrap_or(usize::MAX).min(elements.len());
            values.iter().rev().for_each(|value| elements.insert(at, value.clone()));
            Value::List(elements.into())
        }
        Edit::Pop { first } => {
            let mut elements = list()?;
            if elements.is_empty() {
                return Ok(old.clone());
            }
            drop(if *first { elements.remove(0) } else { elements.remove(elements.len() - 1) });
            Value::List(elements.into())
        }
        Edit::Place { element, at } => {
            let mut elements = list()?;
            let mut all = 0..elements.len();
            let from = match element {
                Element::At(from) => all.find(|at| at == from),
                Element::Is(value) => all.find(|at| compare(&elements[*at], value).is_eq()),
            };
            let moved = elements.remove(from.ok_or("element")?);
            elements.insert(at.unwrap_or(usize::MAX).min(elements.len()), moved);
            Value::List(elements.into())
        }
        Edit::Add(values) => {
            let mut elements = list()?;
            elements.extend(values.iter().cloned());
            Value::List(elements.into())
        }
        Edit::Remove(values) => {
            let mut elements = list()?;
            if elements.is_empty() {
                return Ok(old.clone());
            }
            elements.retain(|element| !values.iter().any(|value| compare(value, element).is_eq()));
            Value::List(elements.into())
        }
        Edit::Link(id) | Edit::Unlink(id) => {
            let element = Value::Ref(id.clone());
            let mut elements = if let Value::List(elements) = old { elements.to_vec() } else { Vec::new() };
            match (edit, elements.iter().position(|other| *other == element)) {
                (Edit::Link(_), None) => elements.push(element),
                (Edit::Unlink(_), Some(at)) => drop(elements.remove(at)),
                _ => return Ok(old.clone()),
            }
            Value::List(elements.into())
        }
    })
}

/// What is counted up in free JSON is a number.
fn number(ty: Option<&ValueType>, new: Value) -> Result<Value, &'static str> {
    let is_free = matches!(ty, None | Some(ValueType::Json));
    if is_free && new.is_error() { Err("type") } else { Ok(new) }
}

fn incremented(ty: Option<&ValueType>, old: &Value, by: &Value) -> Value {
    if !matches!(by, Value::Int(_) | Value::Float(_) | Value::Decimal(_) | Value::Duration(_)) {
        return Value::Error(ErrorValue::Type);
    }
    let nothing = match ty {
        None | Some(ValueType::Json) => return if old.is_null() { by.clone() } else { ops::add(old, by) },
        Some(ValueType::Float) => Value::Float(0.0),
        Some(ValueType::Decimal) => Value::Decimal(Default::default()),
        Some(ValueType::Duration) => Value::Duration(Default::default()),
        Some(_) => Value::Int(0),
    };
    ops::add(if old.is_null() { &nothing } else { old }, by)
}
