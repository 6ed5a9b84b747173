//! The queue and the claim themselves.

#[path = "../../claim.rs"]
#[allow(unreachable_pub, clippy::duplicate_mod)] // it is there twice on purpose
mod claim;
#[path = "play.rs"]
#[allow(clippy::duplicate_mod)] // once with each claim
pub(super) mod play;
#[path = "../../queue.rs"]
#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)] // it is there twice on purpose
mod queue;

use crate::tests::sync;
