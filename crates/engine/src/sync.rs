//! By what threads meet in modules that are tried over many orders of their steps: such a module names `super::sync`, and the tests
//! compile the same file once more below a `sync` that a scheduler of theirs decides over (`tests/cache_orders.rs`).

pub(crate) use parking_lot::Mutex;
