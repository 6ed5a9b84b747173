//! What a query should find: a look at every resource, without plan, index or page.

use std::cmp::Ordering;

use corollary_value::{Id, Value, compare};

use crate::doc::Key;
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::query::{From, Query};
use crate::working::{Working, targets};

/// The ids of all that a query should find, in its order; its limit, its position and its limit of what may be looked at count
/// for nothing.
///
/// # Errors
///
/// What the store fails with.
pub fn found(working: &Working<'_>, asked: &Query) -> Result<Vec<Id>, EngineError> {
    let mut found: Vec<(Vec<Value>, Id)> = Vec::new();
    for id in candidates(working, asked)? {
        let eval = Eval::new(working, &id);
        let there = working.after(&Key::new(asked.ty, id.clone()))?.is_some();
        if !there || !asked.filter.as_ref().map_or(Ok(true), |filter| eval.holds(filter))? {
            continue;
        }
        let mut values = Vec::new();
        for (key, _) in &asked.order {
            let value = eval.value(key)?;
            values.push(if value.is_null() { Value::Null } else { value });
        }
        found.push((values, id));
    }
    let turned = |order: Ordering, descending: bool| if descending { order.reverse() } else { order };
    found.sort_by(|(left, left_id), (right, right_id)| {
        let by_key = asked
            .order
            .iter()
            .enumerate()
            .map(|(at, (_, descending))| turned(compare(&left[at], &right[at]), *descending));
        let by_id =
            turned(left_id.cmp(right_id), asked.order.last().is_some_and(|(_, descending)| *descending));
        by_key.fold(Ordering::Equal, Ordering::then).then(by_id)
    });
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

/// Those among which a query looks.
fn candidates(working: &Working<'_>, asked: &Query) -> Result<Vec<Id>, EngineError> {
    match &asked.from {
        From::All => working.all(asked.ty),
        From::Listed(ids) => {
            let mut ids = ids.clone();
            ids.sort();
            ids.dedup();
            Ok(ids)
        }
        From::Referring(field, target) => {
            let mut ids = Vec::new();
            for id in working.all(asked.ty)? {
                let held = working.value(*field, &id)?.unwrap_or_default();
                if targets(&held).contains(target) {
                    ids.push(id);
                }
            }
            Ok(ids)
        }
    }
}
