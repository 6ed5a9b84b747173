//! The store in a PostgreSQL database (15 or later): one table for each keyspace, in a schema of its own.
//!
//! - [`layout`](self) of tables and statements: `layout`;
//! - one connection, with a thread of its own that talks to the server: `connection`;
//! - connections for readers: `pool`, and what a reader sees: `snapshot`;
//! - commits, and what became of one whose connection broke: `writer`.
//!
//! Invariants: several processes may have the store open, and their commits are one after the other all the same, since
//! each begins by changing the same row; conditions are compared behind that. After a broken connection the database
//! itself tells whether the transaction is there. Nothing in it depends on what another process does, or stops doing.

mod connection;
mod error;
mod layout;
mod pool;
mod snapshot;
#[cfg(all(unix, any(test, feature = "conformance")))]
pub mod testing;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_postgres::Config;

use crate::{
    Batch, Feature, Features, KeyspaceSpec, Snapshot, Store, StoreError, StoreStats, Transactions,
    check_declaration,
};
use connection::Connection;
use layout::Tables;
use pool::Pool;
use snapshot::PostgresSnapshot;
use writer::Writer;

const FEATURES: Features = Features {
    transactions: Transactions::Optimistic,
    available: &[Feature::Snapshot, Feature::Durable, Feature::Shared],
};

/// What can be set about a store in PostgreSQL.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The schema of the database that holds the tables; it is created where it is missing. 1 to 40 characters of
    /// `a`-`z`, `0`-`9` and `_`, starting with a letter.
    pub schema: String,
    /// Connections for readers, at most: as many snapshots may be open at once.
    pub readers: usize,
    /// How long a reader waits for a connection when all are taken.
    pub wait_for_reader: Duration,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a commit whose connection broke in the middle asks the server what became of it. Past that the outcome is
    /// open, and the store accepts no more commits.
    pub resolve_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            schema: "corollary".into(),
            readers: 32,
            wait_for_reader: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            resolve_timeout: Duration::from_secs(60),
        }
    }
}

/// What all parts share.
struct Shared {
    config: Config,
    options: PostgresOptions,
    tables: Tables,
    /// The database, for messages; without the password.
    place: String,
}

impl Shared {
    fn connect(&self) -> Result<Connection, StoreError> {
        Connection::open(&self.config, &self.place)
    }
}

/// A [`Store`] in PostgreSQL. See the module.
pub struct PostgresStore {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    writer: Mutex<Writer>,
}

impl PostgresStore {
    /// Opens the store in the database at `url` (`postgres://user:password@host:port/database`, or the words of a
    /// connection string), and creates its tables where they are missing.
    pub fn open(url: &str, specs: &[KeyspaceSpec], options: PostgresOptions) -> Result<Self, StoreError> {
        check_declaration(specs)?;
        let mut config: Config = url.parse().map_err(|error| error::not_an_address(&error))?;
        config.connect_timeout(options.connect_timeout);
        if config.get_ssl_mode() == tokio_postgres::config::SslMode::Require {
            let feature = "connections over TLS to PostgreSQL".to_owned();
            return Err(StoreError::Unsupported { feature });
        }
        let tables = Tables::new(&options.schema, specs)?;
        let place = error::place_of(&config);
        let shared = Arc::new(Shared { config, options, tables, place });
        let writer = Writer::open(&shared)?;
        Ok(Self { pool: Arc::new(Pool::new(shared.clone())), writer: Mutex::new(writer), shared })
    }
}

impl Store for PostgresStore {
    fn features(&self) -> &Features {
        &FEATURES
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(PostgresSnapshot::open(&self.pool)?))
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        batch.check(self.shared.tables.count())?;
        self.writer.lock().commit(batch)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        let (commits, conflicts) = self.writer.lock().counts();
        let open_snapshots = self.pool.taken.load(Ordering::Relaxed);
        let data_bytes = self.pool.with(|connection| connection.number(self.shared.tables.size()))?;
        let data_bytes = data_bytes.unsigned_abs();
        Ok(StoreStats { data_bytes, commits, conflicts, open_snapshots, ..StoreStats::default() })
    }

    fn name(&self) -> &'static str {
        "postgres"
    }
}
