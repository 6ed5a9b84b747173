//! Documents in SQL: tables and views of all resources in a schema of the database, kept by one of the servers.
//!
//! - What tables and views there are: [`layout`], with the names of [`names`]; the statements that make them: [`tables`].
//! - Resources as rows: [`rows`].
//! - What is done to the tables, in transactions of the database: `session`.
//! - Changes that others make in the views: how they are captured, [`capture`], and taken in, [`intake`].
//! - What is told of it over HTTP: [`told`].
//! - When: [`follow`], a task of each server over the store, of which one at a time holds the lock.
//!
//! Invariants: the tables show the data as it was at one revision, which `_state` tells, unless that is null; no commit of the engine
//! waits for them, or knows of them; all that is in them can be made anew from the store.

pub mod capture;
pub mod follow;
pub mod intake;
pub mod layout;
pub mod names;
pub mod rows;
mod session;
pub mod tables;
pub mod told;

use corollary_engine::EngineError;
use corollary_store::StoreError;
pub use corollary_store::postgres::Gate;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use thiserror::Error;

/// Where the tables are.
#[derive(Clone)]
pub struct Place {
    /// The database.
    pub gate: Gate,
    /// Its schema.
    pub within: String,
    /// The name of this server.
    pub node: String,
    /// What it has taken in.
    pub counts: Counts,
}

/// What a server has taken in since it began. A copy counts on the same.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    transactions: Counter,
    violations: Counter,
}

impl Counts {
    /// Shows them to monitoring.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Transactions of SQL that were taken in";
        registry.register("sql_transactions", help, self.transactions.clone());
        registry.register("sql_violations", "Transactions of SQL that were refused", self.violations.clone());
    }
}

/// Why the tables are not kept for a while.
#[derive(Debug, Error)]
pub enum Trouble {
    /// The database.
    #[error("{0}")]
    Database(StoreError),
    /// The data.
    #[error("{0}")]
    Engine(#[from] EngineError),
    /// What is there belongs to others.
    #[error("{0}")]
    Unusable(String),
    /// What was captured cannot be taken in now, through no fault of its own.
    #[error("{0}")]
    Later(String),
}
