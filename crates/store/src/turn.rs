//! The turn to commit: what keeps several processes that write to one store from working for nothing.
//!
//! Who works out a commit from what is there, and then commits it under the condition that this has not changed, is
//! overtaken by whoever is faster, perhaps every time. With the turn in hand it is not: the others wait, each in its place in
//! one queue, those who only commit among them.
//!
//! Invariant: nothing that is right depends on a turn. A backend takes it away from a holder that it has lost, or that
//! stands still, and tells nobody; what was worked out then meets its conditions like any other commit. Read next:
//! [`Store::turn`](crate::Store::turn).

use std::fmt;

/// The turn of one opening of a store. It is over with the next commit of that opening, however that ends, or when this is
/// dropped.
#[must_use = "the turn is over when this is dropped"]
pub struct Turn(Option<Box<dyn FnOnce() + Send>>);

impl Turn {
    /// A turn that is over when `end` has been called, which must do nothing where a commit was before it.
    pub fn new(end: impl FnOnce() + Send + 'static) -> Turn {
        Turn(Some(Box::new(end)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}
