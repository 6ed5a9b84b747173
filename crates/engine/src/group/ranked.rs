//! Medians and percentiles: the members in order of their values, with counts above them ([`crate::ranks`]).
//!
//! ```text
//! element: order bytes, member id  -> value
//! ```

use std::collections::BTreeMap;

use corollary_schema::aggregate::Share;
use corollary_schema::typed::Aggregate;
use corollary_value::{Id, Value, between};

use super::ordered::{decoded, least_error_row};
use super::{Change, Given, Place, ordered};
use crate::error::EngineError;
use crate::keys;
use crate::ranks::Rows;
use crate::working::{Row, Working};

pub(super) fn apply(
    working: &mut Working<'_>,
    aggregate: Aggregate,
    prefix: &[u8],
    place: &mut Place,
    changes: &[Change<'_>],
) -> Result<(), EngineError> {
    let rows = Rows::below(keys::MEMBER, prefix);
    for Change { member, old, new } in changes {
        match (element(member, *old), element(member, *new)) {
            // Equal values may differ in kind, as 1 and 1.0 do.
            (Some((old, _)), Some((new, value))) if old == new => rows.replace(working, &new, value),
            (old, new) => {
                if let Some((old, _)) = old {
                    rows.remove(working, &old)?;
                }
                if let Some((new, value)) = new {
                    rows.insert(working, &new, value)?;
                }
            }
        }
    }
    let share = aggregate.share().unwrap_or(Share::HALF);
    place.result = match least_error_row(working, rows.elements())? {
        Some(error) => decoded(&error)?,
        None => at_share(working, &rows, share)?,
    };
    Ok(())
}

/// What stands for a member in the order, and its value; none where it does not count.
fn element(member: &Id, given: Option<&Given>) -> Option<Row> {
    given.and_then(|given| ordered::row(Aggregate::Median, &[], member, given))
}

/// What stands at a share of the way through.
fn at_share(working: &Working<'_>, rows: &Rows, share: Share) -> Result<Value, EngineError> {
    let (rank, part) = match rows.count(working)? {
        0 => return Ok(Value::Null),
        count => share.rank(count),
    };
    let found = rows.at(working, rank, if part == 0 { 1 } else { 2 })?;
    let values: Vec<Value> = found.iter().map(|(_, value)| decoded(value)).collect::<Result<_, _>>()?;
    let low = values.first().ok_or_else(|| EngineError::corrupt("the elements of a group"))?;
    Ok(between(low, values.last().unwrap_or(low), part, Share::PARTS))
}

/// All rows of a place, from the members that it has: for those who check what is stored.
pub(crate) fn rows(prefix: &[u8], members: &[(Id, Given)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let elements = members.iter().filter_map(|(member, given)| element(member, Some(given)));
    Rows::below(keys::MEMBER, prefix).expected(elements.collect())
}
