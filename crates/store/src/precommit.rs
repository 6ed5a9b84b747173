//! A commit in two halves, so that the next one can be worked out while this one becomes durable.
//!
//! The first half, [`Store::precommit`](crate::Store::precommit), settles that the batch follows all before it: its conditions hold, and what it needs is there.
//! From then on [`Store::tip`](crate::Store::tip) shows it, and nothing else does. The second half, [`Precommit::harden`], makes it durable and
//! shows it to all.
//!
//! Invariant: what is shown to all is durable. Of what is not, there is one batch at most, and nothing is committed before it is hardened.
//! Read next: [`Store`](crate::Store).

use std::fmt;

use crate::StoreError;

/// A batch that is settled, and neither durable nor shown yet.
///
/// Whoever has it hardens it: any other commit of this opening waits for that. One that is dropped instead stops the store as a sync that
/// failed does, since what was worked out over it may not be told any more, and may be there after a restart.
#[must_use = "nothing else is committed before it is hardened"]
pub struct Precommit(Option<Box<dyn Harden>>);

/// What makes a batch durable and shows it.
pub trait Harden: Send {
    /// Does so. An error is [fatal](StoreError::is_fatal).
    fn harden(self: Box<Self>) -> Result<(), StoreError>;
}

impl Precommit {
    /// One that `harden` ends.
    pub fn new(harden: impl Harden + 'static) -> Precommit {
        Precommit(Some(Box::new(harden)))
    }

    /// Of a batch that is durable and shown already.
    pub fn hardened() -> Precommit {
        Precommit(None)
    }

    /// Makes the batch durable, and then shows it to every later snapshot.
    ///
    /// # Errors
    ///
    /// Each is [fatal](StoreError::is_fatal).
    pub fn harden(self) -> Result<(), StoreError> {
        self.0.map_or(Ok(()), Harden::harden)
    }
}

impl fmt::Debug for Precommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Precommit")
    }
}
