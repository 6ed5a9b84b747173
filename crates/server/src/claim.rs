//! Whether a transaction that waits in the executor's queue is begun or given up: the executor takes it to begin it, and whoever
//! waits takes it when they have waited too long. Whoever is first has it, and nobody else: what was told to be refused is never
//! done, and what is begun is waited for. `tests/queue_orders` tries orders of the two.

use super::sync::{Arc, AtomicBool, Ordering};

/// See the module. Both sides have one.
#[derive(Clone, Default)]
pub(crate) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Is it this one's? Of all who ask, one is told so.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }
}
