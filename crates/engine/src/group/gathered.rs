//! What the members that an update has come to give to one owner, in memory, before the owner's group is written.
//!
//! For groups of which nothing is kept but a state that members come into and go out of in any order: sums, means and
//! counts. Read next: the updates' `gather`.

use corollary_schema::plan::{Group, Keeping};
use corollary_schema::typed::Aggregate;
use corollary_value::{SumState, Value};

use super::{Given, Place, summed};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    state: SumState,
    /// Elements that are something.
    count: i64,
}

impl Gathered {
    /// Can the groups of a node be written from what is gathered?
    pub fn suits(group: &Group) -> bool {
        let keeps_no_rows = match group.keeping() {
            Keeping::Sums => true,
            Keeping::Counts => group.aggregate == Aggregate::Count && group.target.is_none(),
            Keeping::Order | Keeping::Ranks => false,
        };
        // Each member has a timer to be set, and each key of a map a row.
        keeps_no_rows && group.by.is_none() && !group.timed
    }

    /// A member gives this too.
    pub fn add(&mut self, given: &[Given]) {
        for Given { value, .. } in given {
            self.state.add(value);
            self.count += i64::from(!value.is_null());
        }
    }

    /// A member gives this no more.
    pub fn remove(&mut self, given: &[Given]) {
        for Given { value, .. } in given {
            self.state.remove(value);
            self.count -= i64::from(!value.is_null());
        }
    }

    /// What the group is with that.
    pub fn place(self, group: &Group) -> Place {
        match group.keeping() {
            Keeping::Sums => Place { result: summed::result(group, &self.state), state: self.state },
            _ => Place { result: Value::Int(self.count), state: SumState::default() },
        }
    }
}
