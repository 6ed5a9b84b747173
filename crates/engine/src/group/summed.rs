//! Sums and means: a state from which what was added can be taken again, exactly.

use corollary_schema::plan::Group;
use corollary_schema::plan::lower::zero;
use corollary_schema::typed::Aggregate;
use corollary_value::{SumState, Value};

use super::{Change, Place};

pub(super) fn apply(group: &Group, place: &mut Place, changes: &[Change<'_>]) {
    for change in changes {
        if let Some(old) = change.old {
            place.state.remove(&old.value);
        }
        if let Some(new) = change.new {
            place.state.add(&new.value);
        }
    }
    place.result = result(group, &place.state);
}

/// The result that a state gives.
pub(super) fn result(group: &Group, state: &SumState) -> Value {
    match group.aggregate {
        Aggregate::Average => state.average(),
        _ => state.sum(&zero(&group.kind())),
    }
}
