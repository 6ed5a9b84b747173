//! Hooks: other systems are told of changes, durably: by HTTP, in a stream of NATS, in a file. A hook is a watch whose client is
//! this server.
//!
//! ```text
//!   the log --watch--> worker --lanes--> target: POST, stream, file; again until it is taken
//!                        |
//!                        +-- cursor, lease, letters that were given up, in records of the store
//! ```
//!
//! - [`hook`]: what is declared of a hook. [`state`]: how far it has come, and who delivers it.
//! - [`worker`]: follows (`follow`) the log from the cursor and delivers; one for each hook, on one node of those that share a store.
//! - [`lanes`]: what may be sent next: events of one resource one after the other, those of others meanwhile.
//! - [`target`]: where events go, and the way there: [`send`] (one POST, with its signature, [`sign`]), [`nats`], [`mod@file`].
//! - [`letters`]: what was given up, until somebody has it sent again or drops it.
//! - [`manager`]: sees to it that each hook has its worker.
//!
//! What always holds:
//! - The cursor is behind no event that was neither taken by the receiver nor kept as a letter; so each is delivered at least once,
//!   through the end of any process. The same event always has the same id, by which a receiver knows it again.
//! - Of two events of one resource the later one is sent when the earlier one was taken or given up; of two in a file, the later
//!   one when the earlier one is on disk.
//! - Only who has the lease moves the cursor (its number is asked for in the step that moves it).

pub mod file;
mod follow;
pub mod hook;
pub mod lanes;
pub mod letters;
pub mod manager;
pub mod nats;
pub mod send;
pub mod sign;
pub mod state;
pub mod target;
pub mod worker;

pub use manager::{Hooks, Running, start};

/// Hooks of a server, at most.
pub const MAX_HOOKS: usize = 1_000;

/// Letters that are kept of a hook; one that has as many sends nothing more until some are gone.
pub const MAX_LETTERS: u64 = 10_000;

/// Deliveries that the log of a hook tells of.
pub const MAX_TOLD: usize = 50;
