//! The engine: facts in, everything that follows kept true. Synchronous and deterministic: time and ids are arguments.
//!
//! The life of a write: [`engine::Executor::commit`] applies each transaction's facts ([`mod@write`]) to the working state
//! ([`working`]), brings derived values up to date ([`propagate`], [`mod@group`], [`eval`]), and puts all of the group into
//! one atomic batch; what is too large for that becomes an update ([`updates`]). [`oracle`] computes any derived value
//! from facts alone, and judges the rest.

pub mod aggregates;
pub mod among;
pub mod audit;
pub mod base;
pub mod cache;
pub mod catalog;
pub mod clock;
mod convert;
pub mod doc;
pub mod dry_run;
pub mod edit;
pub mod engine;
pub mod entries;
pub mod error;
pub mod eval;
pub mod files;
pub mod grants;
pub mod group;
pub mod history;
pub mod index;
pub mod keys;
pub mod lazy;
mod loaded;
pub mod log;
pub mod members;
pub mod moves;
pub mod names;
pub mod nodes;
pub mod oracle;
pub mod order;
pub mod origin;
pub mod past;
pub mod paths;
pub mod processors;
pub mod propagate;
pub mod query;
pub mod ranks;
pub mod reach;
pub mod rebuild;
pub mod receipt;
pub mod records;
mod recursive;
pub mod repair;
pub mod replay;
pub mod reply;
pub mod rules;
mod script;
pub mod side_state;
pub mod spans;
mod sync;
#[cfg(test)]
mod tests;
mod text;
mod time;
pub mod updates;
pub mod urls;
pub mod view;
pub mod why;
mod window;
mod words;
pub mod working;
pub mod write;

pub use catalog::{OpenError, open};
pub use doc::{Doc, Key, heap_bytes};
pub use edit::{Edit, Element};
pub use engine::{Committed, Engine, EngineOptions, Executor, Pending, Tick, Transaction};
pub use error::{EngineError, Refusal};
pub use log::{Change, Commit};
pub use moves::Destination;
pub use origin::Origin;
pub use updates::{Update, UpdateId};
pub use write::{Decision, Write, leads_nowhere};
