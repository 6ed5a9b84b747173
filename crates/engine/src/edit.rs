//! Edits: how a value follows from the one before it. They are worked out by the executor, one after the other, so two
//! that count up one number both count.
//!
//! What comes out is held to the rules of the field afterwards ([`mod@crate::write`], [`crate::rules`]); refused here is only
//! what has no outcome at all.

use std::sync::Arc;

use corollary_schema::ValueType;
use corollary_schema::plan::lower::zero;
use corollary_schema::typed::Type;
use corollary_value::{ErrorValue, Id, Value, compare, ops};
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::error::Refusal;
use crate::files::Received;
use crate::rules::{Fill, canonical_members};

/// How a value changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// To this value; absent takes it away.
    Set(Value),
    /// An object, member by member; one that is not an object yet begins empty.
    Merge(Vec<(SmolStr, Edit)>),
    /// One member of an object, where there is one or nothing: what is something else has no members, and keeps what it is.
    Member(Box<(SmolStr, Edit)>),
    /// A number, by so much; none counts as zero.
    Increment(Value),
    /// A number, by so much, and not past a limit in that direction.
    IncrementWithin {
        /// How much.
        by: Value,
        /// The last value that it may come to.
        limit: Value,
        /// What would go past the limit stops at it; otherwise it is refused. What is past it already stays there.
        clamp: bool,
    },
    /// A list, by these elements at a position; at its end where there is none or the list is shorter. None begins empty.
    Push {
        /// In order.
        values: Vec<Value>,
        /// Before which element.
        at: Option<usize>,
    },
    /// A list, without its first or its last element; nothing where there is none.
    Pop {
        /// The first?
        first: bool,
    },
    /// A list: one element at another place of it, counted without the element; at its end where there is none or the
    /// list is shorter.
    Place {
        /// Which of them.
        element: Element,
        /// Before which of the others.
        at: Option<usize>,
    },
    /// A set: these too.
    Add(Vec<Value>),
    /// A set: these not.
    Remove(Vec<Value>),
    /// Links: this one too.
    Link(Id),
    /// Links: this one not.
    Unlink(Id),
    /// A file: these bytes, which are in the store already.
    File(Arc<Received>),
}

/// One element of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// That at a place, counted from 0.
    At(usize),
    /// The first that is this value.
    Is(Value),
}

/// A value after an edit; `place` is the field, or the member in it, and `now` what new defaults are as of. Mostly, what does not fit comes out as a value that
/// the rules refuse.
pub fn edited(
    place: &str,
    ty: Option<&ValueType>,
    old: &Value,
    edit: &Edit,
    now: Timestamp,
) -> Result<Value, Refusal> {
    Ok(match edit {
        Edit::Set(value) => value.clone(),
        Edit::File(received) => received.value(),
        Edit::Merge(edits) => merged(place, ty, old, edits, now)?,
        Edit::Member(member) => {
            if !matches!(old, Value::Object(_)) && !old.is_null() {
                let message = format!("`{place}` is {}, and has no `{}`", a_kind_of(old), member.0);
                return Err(Refusal::new("type", Some(place), message));
            }
            merged(place, ty, old, std::slice::from_ref(&**member), now)?
        }
        Edit::Increment(by) => counted(place, ty, incremented(ty, old, by))?,
        Edit::IncrementWithin { by, limit, clamp } => {
            let new = incremented(ty, old, by);
            let from = if old.is_null() { incremented(ty, old, &none_of(by)) } else { old.clone() };
            // What no number can hold is past all limits; what an edit before it had made no number stays none.
            let overflows = new == Value::Error(ErrorValue::Overflow) && !old.is_error();
            let direction = if overflows { compare(by, &none_of(by)) } else { compare(&new, &from) };
            let past = |value: &Value| direction.is_ne() && compare(value, limit) == direction;
            match (!overflows && (new.is_error() || !past(&new)), clamp) {
                (true, _) => counted(place, ty, new)?,
                (false, true) if past(&from) => from,
                (false, true) => limit.clone(),
                (false, false) => {
                    let message = format!("`{place}` would come to {new}, past the limit {limit}");
                    return Err(Refusal::new("limit", Some(place), message));
                }
            }
        }
        Edit::Push { values, at } => {
            let elements = elements(place, old)?;
            let (before, behind) = elements.split_at(at.unwrap_or(elements.len()).min(elements.len()));
            Value::List(before.iter().chain(values).chain(behind).cloned().collect())
        }
        Edit::Pop { first } => match (elements(place, old)?, first) {
            ([], _) => old.clone(),
            ([_, left @ ..], true) | ([left @ .., _], false) => Value::List(left.into()),
        },
        Edit::Place { element, at } => {
            let mut elements = elements(place, old)?.to_vec();
            let found = match element {
                Element::At(from) => Some(*from).filter(|from| *from < elements.len()),
                Element::Is(value) => elements.iter().position(|element| compare(element, value).is_eq()),
            };
            let Some(from) = found else {
                let message = match element {
                    Element::At(from) => {
                        format!("`{place}` has {} elements, and none at {from}", elements.len())
                    }
                    Element::Is(value) => format!("`{place}` has no element {value}"),
                };
                return Err(Refusal::new("element", Some(place), message));
            };
            let element = elements.remove(from);
            elements.insert(at.unwrap_or(elements.len()).min(elements.len()), element);
            Value::List(elements.into())
        }
        Edit::Add(values) => {
            // The rules put a set in order, each element once.
            Value::List(elements(place, old)?.iter().chain(values).cloned().collect())
        }
        Edit::Remove(values) => {
            let elements = elements(place, old)?;
            if elements.is_empty() {
                return Ok(old.clone());
            }
            let mut gone = values.clone();
            gone.sort_by(compare);
            let stays = |element: &&Value| gone.binary_search_by(|value| compare(value, element)).is_err();
            Value::List(elements.iter().filter(stays).cloned().collect())
        }
        Edit::Link(id) | Edit::Unlink(id) => {
            let element = Value::Ref(id.clone());
            let elements: &[Value] = match old {
                Value::List(elements) => elements,
                _ => &[],
            };
            let add = matches!(edit, Edit::Link(_));
            if elements.contains(&element) == add {
                return Ok(old.clone());
            }
            let others = elements.iter().filter(|other| **other != element).cloned();
            Value::List(others.chain(add.then(|| element.clone())).collect())
        }
    })
}

/// An object after edits of its members. One of a union that becomes one of another variant leaves the members that it has
/// no more, and gets the defaults of the new one.
fn merged(
    place: &str,
    ty: Option<&ValueType>,
    old: &Value,
    edits: &[(SmolStr, Edit)],
    now: Timestamp,
) -> Result<Value, Refusal> {
    let mut members = match old {
        Value::Object(members) => members.to_vec(),
        _ => Vec::new(),
    };
    for (name, edit) in edits {
        let at = members.iter().position(|(key, _)| key == name);
        let ty = match ty {
            Some(ValueType::Object(declared)) => {
                declared.iter().find(|member| member.name == *name).map(|member| &member.ty)
            }
            Some(ValueType::Map(of)) => Some(&**of),
            _ => None,
        };
        let old = at.map_or(&Value::Absent, |at| &members[at].1);
        let new = edited(&format!("{place}/{name}"), ty, old, edit, now)?;
        match (at, matches!(new, Value::Absent)) {
            (Some(at), true) => {
                members.remove(at);
            }
            (Some(at), false) => members[at].1 = new,
            (None, true) => {}
            (None, false) => members.push((name.clone(), new)),
        }
    }
    let declared = match ty {
        Some(ValueType::Object(declared)) => declared,
        _ => return Ok(Value::Object(members.into())),
    };
    if let (Some(union), Value::Object(before)) = (declared.union(), old)
        && let (Some(was), Some(is)) = (union.variant_of(before), union.variant_of(&members))
        && was.name != is.name
    {
        // It is of another variant now: what that has not goes with the old one, unless it was just given.
        let stays = |(name, _): &(SmolStr, Value)| {
            !was.has(name) || is.has(name) || edits.iter().any(|(edited, _)| edited == name)
        };
        members.retain(stays);
        return Ok(canonical_members(declared, &members, Fill::All(now)));
    }
    Ok(Value::Object(members.into()))
}

/// The elements of a list; one that is not there has none.
fn elements<'v>(place: &str, value: &'v Value) -> Result<&'v [Value], Refusal> {
    match value {
        Value::List(elements) => Ok(elements),
        value if value.is_null() => Ok(&[]),
        value => Err(Refusal::new("type", Some(place), format!("`{place}` is {value}, and no list"))),
    }
}

/// What an increment came to. In free JSON no rule of a field would see that it is none.
fn counted(place: &str, ty: Option<&ValueType>, new: Value) -> Result<Value, Refusal> {
    match (ty, &new) {
        (None | Some(ValueType::Json), Value::Error(error)) => {
            let message = format!("`{place}` would be {error}, and no number");
            Err(Refusal::new("type", Some(place), message))
        }
        _ => Ok(new),
    }
}

/// What a value is, for who expected an object.
fn a_kind_of(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "a list",
        _ => "no object",
    }
}

/// The zero of a number's kind.
fn none_of(by: &Value) -> Value {
    ops::subtract(by, by)
}

fn incremented(ty: Option<&ValueType>, old: &Value, by: &Value) -> Value {
    match by {
        Value::Int(_) | Value::Float(_) | Value::Decimal(_) | Value::Duration(_) => match ty {
            Some(ValueType::Json) | None if old.is_null() => by.clone(),
            Some(ty) if old.is_null() => ops::add(&zero(&Type::of_value(ty).kind), by),
            _ => ops::add(old, by),
        },
        _ => Value::Error(ErrorValue::Type),
    }
}
