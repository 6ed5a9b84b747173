//! The server: REST and watch over one engine, and the command line.
//!
//! - [`site`] is the version of the schema that is served, and how another one comes to be ([`opening`]).
//! - [`node`] runs the executor, goes on with updates, and feeds the watches; async lives above it, never below.
//! - [`http`] turns requests into reads and transactions; [`path`], [`json`], [`mod@patch`], [`condition`], [`problem`] and [`watch`] are its parts.
//! - `follower` is when it looks what other servers over the same store have committed.
//! - [`front`] is what stands around all of that: connections, TLS, logs, metrics ([`counts`]).
//! - [`load`] reads files of rows; [`backup`] is everything in one file; [`cli`] is the command line.

pub mod backup;
mod claim;
pub mod cli;
pub mod condition;
pub mod counts;
mod follower;
pub mod front;
mod hardener;
pub mod hooks;
pub mod http;
pub mod json;
pub mod load;
pub mod mounts;
pub mod node;
pub mod opening;
mod outgoing;
pub mod patch;
pub mod path;
pub mod problem;
mod queue;
pub mod review;
pub mod site;
pub mod sql;
mod sync;
#[cfg(test)]
mod tests;
mod updater;
pub mod watch;
