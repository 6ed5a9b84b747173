//! Updates: what follows from a change and is too large for its commit, as a durable piece of work of its own.
//!
//! A commit follows each change back to those who read it as far as its budget goes ([`budget`]). What is beyond it is
//! written down in the same batch as the change: an update ([`record`]), with the sources from which the way back has
//! yet to be walked ([`walk`]). The executor does a part of an open update whenever it is told to ([`step`]), each part
//! one ordinary commit with the place that it came to, so an update goes on from there whatever happens. Sums and counts
//! that are filled come together in memory first ([`gather`]); an index that is added gets its entries in the same way
//! ([`indexing`]). The [`ledger`] is the list of all; readers ask it what may
//! be behind, and compute that from the facts ([`settled`]).
//!
//! What always holds:
//! - A stored derived value is its expression over the *stored* values of its inputs, except where an update is open
//!   along the edge between them. So what groups count stays right while their members lag.
//! - What is not marked is right; when no update is open, nothing is marked.
//! - Nothing goes back to an older value: a batch computes from what is stored when it runs.

pub mod budget;
pub(crate) mod estimate;
pub(crate) mod filling;
pub mod gather;
pub mod indexing;
pub(crate) mod lag;
pub mod ledger;
pub mod record;
pub mod settled;
pub mod step;
pub(crate) mod trail;
pub mod walk;

pub use budget::OwnBudget;
pub use indexing::Indexed;
pub use ledger::{Ledger, Target, Update};
pub use record::{Record, State, Task, UpdateId};
pub use settled::Settled;
pub use step::Progress;
