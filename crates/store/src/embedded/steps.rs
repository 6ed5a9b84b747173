//! The moments at which a crash finds the files in different states, for tests that take an image of them there.
//!
//! Invariant: outside of tests this does nothing. Read next: `tests/crash.rs`.

/// A moment in the life of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Step {
    /// A record is written to the journal and not yet synced.
    Written,
    /// A record is synced, and its commit has not returned.
    Synced,
    /// A layer is about to be put into SQLite.
    BeforeApply,
    /// A layer is in SQLite, not synced.
    Applied,
    /// What SQLite has is synced.
    Durable,
    /// Segments of the journal are free for further use.
    Released,
}

/// What a test wants to do at each step.
#[cfg(test)]
#[derive(Default)]
pub(super) struct Steps {
    hook: parking_lot::Mutex<Option<Hook>>,
}

#[cfg(test)]
type Hook = std::sync::Arc<dyn Fn(Step) + Send + Sync>;

#[cfg(test)]
impl Steps {
    pub(super) fn set(&self, hook: Option<Hook>) {
        *self.hook.lock() = hook;
    }

    pub(super) fn step(&self, step: Step) {
        let hook = self.hook.lock().clone();
        if let Some(hook) = hook {
            hook(step);
        }
    }
}
