//! What is made of records ([`crate::records`]) and kept in memory until they change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::error::EngineError;

/// See the module.
#[derive(Debug)]
pub(crate) struct Loaded<T> {
    current: RwLock<Arc<T>>,
    stale: AtomicBool,
    changes: AtomicU64,
}

impl<T: Default> Default for Loaded<T> {
    fn default() -> Loaded<T> {
        Loaded { current: RwLock::default(), stale: AtomicBool::new(true), changes: AtomicU64::new(0) }
    }
}

impl<T> Loaded<T> {
    /// Some records may have been changed.
    pub(crate) fn change(&self) {
        self.stale.store(true, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// How often that has been said.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// As the records are: loaded where they may have been changed.
    pub(crate) fn get(&self, load: impl Fn() -> Result<T, EngineError>) -> Result<Arc<T>, EngineError> {
        loop {
            // Asked under the lock that loading holds: nobody takes what was before for what is being loaded.
            let current = self.current.read();
            if !self.stale.load(Ordering::SeqCst) {
                return Ok(current.clone());
            }
            drop(current);
            let mut current = self.current.write();
            // Before they are read: what is changed meanwhile is looked at again.
            if self.stale.swap(false, Ordering::SeqCst) {
                *current = Arc::new(load().inspect_err(|_| self.change())?);
            }
        }
    }
}
