//! The queue over a claim that looks first and takes then, which is wrong.

#[path = "play.rs"]
#[allow(clippy::duplicate_mod)] // once with each claim
pub(super) mod play;
#[path = "../../queue.rs"]
#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)] // it is there twice on purpose
mod queue;

use crate::tests::sync;

/// What `queue.rs` takes from `super::claim`.
mod claim {
    use super::sync::{Arc, AtomicBool, Ordering};

    #[derive(Clone, Default)]
    pub(crate) struct Claim(Arc<AtomicBool>);

    impl Claim {
        pub(crate) fn take(&self) -> bool {
            let is_free = !self.0.load(Ordering::SeqCst);
            self.0.store(true, Ordering::SeqCst);
            is_free
        }
    }
}
