//! By what threads meet in modules that are tried over many orders of their steps: such a module names `super::sync`, and the tests
//! compile the same file once more below a `sync` that a scheduler of theirs decides over (`tests/claim_orders.rs`,
//! `watch/queue_orders.rs`).

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use parking_lot::Mutex;
