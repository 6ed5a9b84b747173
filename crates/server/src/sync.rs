//! By what threads meet in modules that are tried over many orders of their steps: such a module names `super::sync`, and the tests
//! compile the same file once more below a `sync` that a scheduler of theirs decides over (`tests/queue_orders`,
//! `watch/queue_orders.rs`, `watch/inbox_orders.rs`).

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

pub(crate) use parking_lot::Mutex;
pub(crate) use tokio::sync::{mpsc, oneshot};
pub(crate) use tokio::time::timeout;
