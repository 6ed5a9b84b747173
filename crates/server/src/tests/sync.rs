//! What modules take from `super::sync` when they are compiled once more to be tried over many orders: of Shuttle, whose scheduler
//! decides who goes on.

// Not each of them takes all.
#![allow(unused_imports)]

pub(crate) use shuttle::sync::Arc;
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use shuttle::sync::mpsc::{Receiver, SyncSender, sync_channel};

pub(crate) use super::sync_async::{mpsc, oneshot, timeout};

/// A lock as that of `parking_lot`.
#[derive(Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        self.0.lock().expect("nobody panics with it")
    }
}
