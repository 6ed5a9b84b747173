//! Sums and means: a state from which what was added can be taken again, exactly.

use corollary_schema::plan::Group;
use corollary_schema::plan::lower::zero;
use corollary_schema::typed::Aggregate;

use super::{Change, Place};

pub(super) fn apply(group: &Group, place: &mut Place, changes: &[Change]) {
    for change in changes {
        if let Some(old) = &change.old {
            place.state.remove(&old.value);
        }
        if let Some(new) = &change.new {
            place.state.add(&new.value);
        }
    }
    place.result = match group.aggregate {
        Aggregate::Average => place.state.average(),
        _ => place.state.sum(&zero(&group.kind())),
    };
}
