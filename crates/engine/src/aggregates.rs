//! Aggregates by their definition: of a list that is at hand, to one value.
//!
//! This is what each aggregate means; [`mod@crate::group`] keeps the same values true without the list.

use std::collections::BTreeMap;

use corollary_schema::aggregate::Share;
use corollary_schema::plan::lower::zero;
use corollary_schema::typed::{Aggregate, Kind};
use corollary_value::order_key::push_order_key;
use corollary_value::{ErrorValue, SumState, Value, between, compare};
use smol_str::SmolStr;

/// An aggregate over a list.
pub(crate) fn aggregate_of(aggregate: Aggregate, list: &Value, kind: &Kind) -> Value {
    let elements: &[Value] = match list {
        Value::List(elements) => elements,
        Value::Error(_) => return list.clone(),
        _ => &[],
    };
    let present = || elements.iter().filter(|element| !element.is_null());
    let sums = || {
        let mut state = SumState::default();
        elements.iter().for_each(|element| state.add(element));
        state
    };
    let sorted = || {
        let mut values: Vec<Value> = present().cloned().collect();
        values.sort_by(compare);
        values
    };
    // An error among the elements is the result, of several the least; those that look at sums or conditions have
    // rules of their own.
    let plain = matches!(
        aggregate,
        Aggregate::Min
            | Aggregate::Max
            | Aggregate::Distinct
            | Aggregate::Median
            | Aggregate::Percentile(_)
            | Aggregate::Top(_)
            | Aggregate::Join(_)
    );
    if plain && let Some(error) = least_error(elements.iter()) {
        return Value::Error(error);
    }
    match aggregate {
        Aggregate::Sum => sums().sum(&zero(kind)),
        Aggregate::Average => sums().average(),
        Aggregate::Count => Value::Int(present().count() as i64),
        Aggregate::Min => present().min_by(|l, r| compare(l, r)).cloned().unwrap_or(Value::Null),
        Aggregate::Max => present().max_by(|l, r| compare(l, r)).cloned().unwrap_or(Value::Null),
        Aggregate::First => elements.first().cloned().unwrap_or(Value::Null),
        Aggregate::Last => elements.last().cloned().unwrap_or(Value::Null),
        Aggregate::Any => Value::Bool(elements.iter().any(Value::is_true)),
        Aggregate::All => Value::Bool(present().all(Value::is_true)),
        Aggregate::Collect => list.clone(),
        Aggregate::Distinct => {
            let mut values = sorted();
            values.dedup_by(|left, right| compare(left, right).is_eq());
            Value::List(values.into())
        }
        Aggregate::Top(count) => {
            Value::List(sorted().into_iter().rev().take(count as usize).collect::<Vec<_>>().into())
        }
        Aggregate::Median => at_share(&sorted(), Share::HALF),
        Aggregate::Percentile(share) => at_share(&sorted(), share),
        Aggregate::Join(separator) => joined(present(), separator.as_str()),
    }
}

/// The least error among values, if there is one.
fn least_error<'v>(values: impl Iterator<Item = &'v Value>) -> Option<ErrorValue> {
    let errors = values.filter_map(|value| match value {
        Value::Error(error) => Some(*error),
        _ => None,
    });
    errors.min()
}

fn at_share(sorted: &[Value], share: Share) -> Value {
    let (rank, part) = share.rank(sorted.len() as u64);
    let at = rank as usize;
    match sorted.get(at) {
        Some(value) => between(value, sorted.get(at + 1).unwrap_or(value), part, Share::PARTS),
        None => Value::Null,
    }
}

/// Texts one after the other; what is no text is an error.
pub(crate) fn joined<'v>(values: impl Iterator<Item = &'v Value>, separator: &str) -> Value {
    let mut out = String::new();
    for (at, value) in values.enumerate() {
        let Value::Str(text) = value else { return Value::Error(ErrorValue::Type) };
        if at > 0 {
            out.push_str(separator);
        }
        out.push_str(text);
    }
    Value::Str(out.into())
}

/// A map of aggregates over elements, each given with its key. Elements without a key are left out; a key that is an
/// error is the result.
pub(crate) fn map_of(elements: Vec<(Value, Value)>, aggregate: Aggregate, kind: &Kind) -> Value {
    if let Some(error) = least_error(elements.iter().map(|(key, _)| key)) {
        return Value::Error(error);
    }
    let mut by_key: BTreeMap<Vec<u8>, (Value, Vec<Value>)> = BTreeMap::new();
    for (key, value) in elements.into_iter().filter(|(key, _)| !key.is_null()) {
        let mut order = Vec::new();
        push_order_key(&key, &mut order);
        by_key.entry(order).or_insert_with(|| (key, Vec::new())).1.push(value);
    }
    let entries = by_key
        .into_values()
        .map(|(key, values)| (key_text(&key), aggregate_of(aggregate, &Value::List(values.into()), kind)));
    Value::Object(entries.collect::<Vec<_>>().into())
}

/// How a value is written as the key of a map.
pub(crate) fn key_text(key: &Value) -> SmolStr {
    match key {
        Value::Str(text) => text.clone(),
        other => SmolStr::new(other.to_string()),
    }
}
