//! Spans: which parts of the engine's work tell how long they took, to whoever collects them.
//!
//! A span costs a comparison of a number where nobody collects it, so they stand around whole steps of a transaction, a read or
//! an update, and never within a loop over resources. The engine has no clock: who collects them has.
//!
//! | target | spans |
//! |---|---|
//! | [`COMMIT`] | `group` (its `transactions`) with, in each `transaction`, `write` (facts and rules) and `evaluate` (what follows), then `commit` (up to which `revision`) with `sync` (the store) |
//! | [`READ`] | `read` with `plan` (ways to find what is asked for) and `walk` (along one of them) |
//! | [`UPDATE`] | `update` (its `id`, at most so many resources), with `commit` |

/// What transactions do.
pub const COMMIT: &str = "spans::commit";

/// What reads do.
pub const READ: &str = "spans::read";

/// What updates do.
pub const UPDATE: &str = "spans::update";
