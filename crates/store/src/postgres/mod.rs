//! The store in a PostgreSQL database (15 or later): one table for each keyspace, in a schema of its own.
//!
//! - [`layout`](self) of tables and statements: `layout`;
//! - whom an address means, and how connections are protected: `address`, `tls`;
//! - one connection, with a thread of its own that talks to the server: `connection`;
//! - connections for readers: `pool`, and what a reader sees: `snapshot`;
//! - commits, and what became of one whose connection broke: `writer`;
//! - what the database tells of the commits of others: `listener`;
//! - connections for what is beside the store in its database: `session`.
//!
//! Invariants: several processes may have the store open, and their commits are one after the other all the same, since
//! each changes the same row before all else; conditions are compared behind that. After a broken connection the database
//! itself tells whether the commit is there: its number stands in a row that each opening of the store has, written with the
//! commit. Nothing in it depends on what another process does, or stops doing.

mod address;
mod connection;
mod error;
mod layout;
mod listener;
mod pool;
mod session;
mod snapshot;
#[cfg(all(unix, any(test, feature = "conformance")))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
pub use session::Gate;
pub use tokio_postgres;
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    Batch, Bell, Feature, Features, Keyspace, KeyspaceSpec, Looked, Snapshot, Store, StoreError, StoreStats,
    Transactions, Turn, Values, check_declaration,
};
use address::Address;
use connection::Connection;
use layout::Tables;
use listener::Listener;
use pool::Pool;
use snapshot::PostgresSnapshot;
use writer::Writer;

const FEATURES: Features = Features {
    transactions: Transactions::Optimistic,
    available: &[
        Feature::Snapshot,
        Feature::Durable,
        Feature::Shared,
        Feature::Turns,
        Feature::Notify,
        Feature::Backup,
    ],
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
    /// How long a connection may take to come about, for each of the hosts of the address.
    pub connect_timeout: Duration,
    /// How long the server may take to answer who begins to read. Past that the connection is given up.
    pub answer_timeout: Duration,
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
            answer_timeout: Duration::from_secs(5),
            resolve_timeout: Duration::from_secs(60),
        }
    }
}

/// What all parts share.
struct Shared {
    config: Config,
    tls: MakeRustlsConnect,
    options: PostgresOptions,
    tables: Tables,
    /// The database, for messages; without the password.
    place: String,
}

impl Shared {
    fn connect(&self) -> Result<Connection, StoreError> {
        Connection::open(&self.config, &self.tls, &self.place)
    }
}

/// A [`Store`] in PostgreSQL. See the module.
pub struct PostgresStore {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    writer: Arc<Mutex<Writer>>,
    /// They end with it.
    listeners: Mutex<Vec<Listener>>,
}

impl PostgresStore {
    /// Opens the store in the database at `url` (`postgres://user:password@host:port/database`, or the words of a
    /// connection string), and creates its tables where they are missing.
    ///
    /// Of several hosts (`host1:port1,host2:port2`) the first one is meant that takes writes. `sslmode` is `disable`,
    /// `prefer` (unless it is given), `require`, or with `sslrootcert=FILE` also `verify-ca` and `verify-full`, the latter
    /// with `sslrootcert=system` too. `sslcert=FILE` and `sslkey=FILE` say what the server takes this one by.
    pub fn open(url: &str, specs: &[KeyspaceSpec], options: PostgresOptions) -> Result<Self, StoreError> {
        check_declaration(specs)?;
        let Address { mut config, protection } = Address::parse(url)?;
        config.connect_timeout(options.connect_timeout);
        let tls = tls::connector(&protection)?;
        let tables = Tables::new(&options.schema, specs)?;
        let place = error::place_of(&config);
        let shared = Arc::new(Shared { config, tls, options, tables, place });
        let writer = Writer::open(&shared)?;
        let (pool, writer) = (Arc::new(Pool::new(shared.clone())), Arc::new(Mutex::new(writer)));
        Ok(Self { pool, writer, listeners: Mutex::default(), shared })
    }

    fn take_turn(&self, keys: &[(Keyspace, &[u8])]) -> Result<(Turn, Values), StoreError> {
        let (number, values) = self.writer.lock().turn(keys)?;
        let writer = self.writer.clone();
        Ok((Turn::new(move || writer.lock().end_turn(number)), values))
    }
}

impl Store for PostgresStore {
    fn features(&self) -> &Features {
        &FEATURES
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(PostgresSnapshot::open(&self.pool)?))
    }

    fn snapshot_and_get(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Looked, StoreError> {
        PostgresSnapshot::open_and_get(&self.pool, keyspace, keys)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        batch.check(self.shared.tables.count())?;
        self.writer.lock().commit(batch)
    }

    fn turn(&self) -> Result<Turn, StoreError> {
        self.take_turn(&[]).map(|(turn, _)| turn)
    }

    fn turn_and_get(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<(Turn, Values), StoreError> {
        self.shared.tables.check(keyspace)?;
        let keys: Vec<_> = keys.iter().map(|key| (keyspace, *key)).collect();
        self.take_turn(&keys)
    }

    fn listen(&self, bell: &Bell) -> Result<(), StoreError> {
        let mut listeners = self.listeners.lock();
        // Those whose bell nobody holds any more.
        listeners.retain(Listener::is_wanted);
        listeners.push(Listener::start(&self.shared, bell)?);
        Ok(())
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
