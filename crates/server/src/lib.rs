//! The server: REST and watch over one engine, and the command line.
//!
//! - [`node`] runs the executor, goes on with updates, and feeds the watches; async lives above it, never below.
//! - [`http`] turns requests into reads and transactions; [`path`], [`json`], [`mod@patch`], [`condition`], [`problem`] and [`watch`] are its parts.
//! - [`front`] is what stands around all of that: connections, TLS, logs, metrics ([`counts`]).
//! - [`load`] reads files of rows; [`cli`] is the command line.

pub mod cli;
pub mod condition;
pub mod counts;
pub mod front;
pub mod http;
pub mod json;
pub mod load;
pub mod node;
pub mod patch;
pub mod path;
pub mod problem;
mod updater;
pub mod watch;
