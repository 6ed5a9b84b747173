//! Groups of which only the elements count: their number, or the list of them.
//!
//! Where each member is an element nothing else is kept. Where several members may stand for one element, a row for
//! each element says how many do; it is an element as long as any does.

use std::collections::BTreeMap;

use corollary_schema::plan::Group;
use corollary_schema::typed::Aggregate;
use corollary_value::{Id, Value, compare};

use super::{Change, Place};
use crate::error::EngineError;
use crate::keys;
use crate::working::Working;

pub(super) fn apply(
    working: &mut Working<'_>,
    group: &Group,
    prefix: &[u8],
    place: &mut Place,
    changes: &[Change<'_>],
) -> Result<(), EngineError> {
    let elements = elements(working, group, prefix, changes)?;
    place.result = match (group.aggregate, &place.result) {
        (Aggregate::Count, Value::Int(count)) => {
            let by: i64 = elements.iter().map(|(_, there)| if *there { 1 } else { -1 }).sum();
            Value::Int(count + by)
        }
        (Aggregate::Count, _) => return Err(EngineError::corrupt("a count")),
        (_, list) => listed(list, elements),
    };
    Ok(())
}

/// Which elements joined (true) and left: members themselves, or what several of them stand for.
fn elements(
    working: &mut Working<'_>,
    group: &Group,
    prefix: &[u8],
    changes: &[Change<'_>],
) -> Result<Vec<(Value, bool)>, EngineError> {
    let mut steps = Vec::new();
    for change in changes {
        steps.extend(change.old.map(|old| (old.value.clone(), false)));
        steps.extend(change.new.map(|new| (new.value.clone(), true)));
    }
    steps.retain(|(value, _)| !value.is_null());
    if group.target.is_none() {
        return Ok(steps);
    }
    let mut net: BTreeMap<Id, i64> = BTreeMap::new();
    for (value, there) in steps {
        if let Value::Ref(id) = value {
            *net.entry(id).or_default() += if there { 1 } else { -1 };
        }
    }
    let mut crossed = Vec::new();
    for (target, by) in net.into_iter().filter(|(_, by)| *by != 0) {
        let mut key = prefix.to_vec();
        target.push_key(&mut key);
        let count = working.row(keys::MEMBER, key.clone())?;
        let count = count.map_or(Ok(0), |bytes| keys::read_count(&bytes))?;
        let corrupt = || EngineError::corrupt("the count of a member");
        let new = count.checked_add_signed(by).ok_or_else(corrupt)?;
        match new {
            0 => working.delete_row(keys::MEMBER, key),
            new => working.put_row(keys::MEMBER, key, keys::count(new)),
        }
        if (count == 0) != (new == 0) {
            crossed.push((Value::Ref(target), new > 0));
        }
    }
    Ok(crossed)
}

/// A list in the order of ids, with elements put in and taken out.
fn listed(list: &Value, elements: Vec<(Value, bool)>) -> Value {
    let mut all: Vec<Value> = match list {
        Value::List(elements) => elements.to_vec(),
        _ => Vec::new(),
    };
    for (element, there) in elements {
        match (all.binary_search_by(|other| compare(other, &element)), there) {
            (Ok(at), false) => {
                all.remove(at);
            }
            (Err(at), true) => all.insert(at, element),
            _ => {}
        }
    }
    Value::List(all.into())
}
