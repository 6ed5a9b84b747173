//! Groups whose members are kept in order: by value (least, greatest, the largest so many, each value once), or as the
//! list is ordered (first, last, texts joined).
//!
//! ```text
//! place, order bytes, member id, [position among the values of the member] -> value
//! ```
//!
//! A result is read from an end of the rows, or, for texts, from all of them; of the values that are there once each
//! the list is kept, and only the values that came or went are looked for. Nulls have no part in a comparison and no
//! text; in the list's order they are elements like any other.

use std::ops::{Bound, ControlFlow};

use corollary_schema::typed::Aggregate;
use corollary_store::{Direction, KeyRange};
use corollary_value::codec;
use corollary_value::order_key::push_order_key;
use corollary_value::{ErrorValue, Id, Value, compare};

use super::{Change, Given, Place};
use crate::aggregates::joined;
use crate::error::EngineError;
use crate::keys;
use crate::working::{Row, Working};

/// The row of a member.
pub(crate) fn row(aggregate: Aggregate, prefix: &[u8], member: &Id, given: &Given) -> Option<Row> {
    if given.value.is_null() && !matches!(aggregate, Aggregate::First | Aggregate::Last) {
        return None;
    }
    let mut key = prefix.to_vec();
    key.extend_from_slice(&given.order);
    member.push_key(&mut key);
    key.extend(given.part.map(u32::to_be_bytes).into_iter().flatten());
    let mut value = Vec::new();
    codec::encode(&given.value, &mut value);
    Some((key, value))
}

pub(super) fn apply(
    working: &mut Working<'_>,
    aggregate: Aggregate,
    prefix: &[u8],
    place: &mut Place,
    changes: &[Change<'_>],
) -> Result<(), EngineError> {
    for Change { member, old, new } in changes {
        if let Some((key, _)) = old.and_then(|old| row(aggregate, prefix, member, old)) {
            working.delete_row(keys::MEMBER, key);
        }
        if let Some((key, value)) = new.and_then(|new| row(aggregate, prefix, member, new)) {
            working.put_row(keys::MEMBER, key, value);
        }
    }
    place.result = match aggregate {
        Aggregate::First => first(working, prefix, Direction::Forward)?.unwrap_or(Value::Null),
        Aggregate::Last => first(working, prefix, Direction::Backward)?.unwrap_or(Value::Null),
        Aggregate::Join(separator) => all_joined(working, prefix, separator.as_str())?,
        _ => match least_error(working, prefix)? {
            Some(error) => error,
            None => by_value(working, aggregate, prefix, &place.result, changes)?,
        },
    };
    Ok(())
}

/// The result of an aggregate by value, where no value is an error.
fn by_value(
    working: &Working<'_>,
    aggregate: Aggregate,
    prefix: &[u8],
    before: &Value,
    changes: &[Change<'_>],
) -> Result<Value, EngineError> {
    Ok(match aggregate {
        Aggregate::Top(count) => {
            let largest = values(working, prefix, Direction::Backward, count as usize)?;
            Value::List(largest.into())
        }
        Aggregate::Distinct => match before {
            // There were errors among them: the list was not kept.
            Value::Error(_) => Value::List(each_once(working, prefix)?.into()),
            Value::List(list) => Value::List(with_changes(working, prefix, list, changes)?.into()),
            _ => Value::List(with_changes(working, prefix, &[], changes)?.into()),
        },
        Aggregate::Min => first(working, prefix, Direction::Forward)?.unwrap_or(Value::Null),
        _ => first(working, prefix, Direction::Backward)?.unwrap_or(Value::Null),
    })
}

fn least_error(working: &Working<'_>, prefix: &[u8]) -> Result<Option<Value>, EngineError> {
    least_error_row(working, prefix)?.map(|value| decoded(&value)).transpose()
}

/// The row of the least error behind a prefix: errors sort behind all else.
pub(super) fn least_error_row(working: &Working<'_>, prefix: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
    let mut sample = Vec::new();
    push_order_key(&Value::Error(ErrorValue::Cycle), &mut sample);
    let mut errors = prefix.to_vec();
    errors.push(sample[0]);
    let found = working.first_row(keys::MEMBER, &KeyRange::prefix(errors), Direction::Forward)?;
    Ok(found.map(|(_, value)| value))
}

pub(super) fn decoded(bytes: &[u8]) -> Result<Value, EngineError> {
    codec::decode(&mut &bytes[..]).map_err(|_| EngineError::corrupt("a member of a group"))
}

fn first(working: &Working<'_>, prefix: &[u8], direction: Direction) -> Result<Option<Value>, EngineError> {
    let found = working.first_row(keys::MEMBER, &KeyRange::prefix(prefix), direction)?;
    found.map(|(_, value)| decoded(&value)).transpose()
}

/// The values at an end, at most so many.
fn values(
    working: &Working<'_>,
    prefix: &[u8],
    direction: Direction,
    most: usize,
) -> Result<Vec<Value>, EngineError> {
    let mut found = Vec::new();
    working.scan_rows(keys::MEMBER, &KeyRange::prefix(prefix), direction, &mut |_, value| {
        found.push(decoded(value));
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    found.into_iter().collect()
}

fn all_joined(working: &Working<'_>, prefix: &[u8], separator: &str) -> Result<Value, EngineError> {
    let texts = values(working, prefix, Direction::Forward, usize::MAX)?;
    let errors = texts.iter().filter(|text| text.is_error());
    Ok(match errors.min_by(|left, right| compare(left, right)) {
        Some(error) => error.clone(),
        None => joined(texts.iter(), separator),
    })
}

/// Each value once, from one value to the next.
fn each_once(working: &Working<'_>, prefix: &[u8]) -> Result<Vec<Value>, EngineError> {
    let mut range = KeyRange::prefix(prefix);
    let mut found = Vec::new();
    while let Some((_, value)) = working.first_row(keys::MEMBER, &range, Direction::Forward)? {
        let value = decoded(&value)?;
        let mut equal = prefix.to_vec();
        push_order_key(&value, &mut equal);
        range.from = KeyRange::prefix(equal).to;
        // What ends a range before a key begins the next with it.
        if let Bound::Excluded(key) = range.from {
            range.from = Bound::Included(key);
        }
        found.push(value);
    }
    Ok(found)
}

/// A list of values, each once, with those that came put in and those that are gone taken out.
fn with_changes(
    working: &Working<'_>,
    prefix: &[u8],
    list: &[Value],
    changes: &[Change<'_>],
) -> Result<Vec<Value>, EngineError> {
    let mut list = list.to_vec();
    let given = changes.iter().flat_map(|change| [change.old, change.new]).flatten();
    for given in given.filter(|given| !given.value.is_null() && !given.value.is_error()) {
        let mut equal = prefix.to_vec();
        equal.extend_from_slice(&given.order);
        let at = list.binary_search_by(|other| compare(other, &given.value));
        match (at, first(working, &equal, Direction::Forward)?) {
            // Of values that are equal, as 1.0 and 1.00 are, the first member's stands for all.
            (Ok(at), Some(value)) => list[at] = value,
            (Ok(at), None) => {
                list.remove(at);
            }
            (Err(at), Some(value)) => list.insert(at, value),
            (Err(_), None) => {}
        }
    }
    Ok(list)
}
