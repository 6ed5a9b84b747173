//! Where the rows of a run are: in memory, or in a PostgreSQL database, in which each node has an opening of its own, as
//! servers have.
//!
//! Invariant: a run begins with an empty store, and no two runs at a time are in one schema of a database: each takes one
//! that is free, empties it, and leaves it to the next ([`Home`]). Read next: [`crate::store`], which is what nodes see.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use corollary_engine::keys;
use corollary_store::postgres::testing::Server;
use corollary_store::postgres::{PostgresOptions, PostgresStore};
use corollary_store::{Batch, KeyRange, Keyspace, MemoryStore, Store, StoreError, Turn, Values};

use crate::plan::Plan;

/// See the module.
#[derive(Clone, Debug, Default)]
pub enum Ground {
    /// Nothing is left of it.
    #[default]
    Memory,
    /// A database.
    Postgres(Arc<Database>),
}

/// A database for runs, in schemas that are named `corollary_sim_0` and so on.
pub struct Database {
    url: String,
    /// The server, where it is one of this process.
    _server: Option<Arc<Server>>,
    homes: Mutex<Homes>,
}

#[derive(Default)]
struct Homes {
    made: usize,
    free: Vec<usize>,
}

/// A schema of a database that one run has for itself.
pub struct Home {
    database: Arc<Database>,
    number: usize,
}

/// One opening of the store of a run.
pub enum Opening {
    /// All nodes have the same.
    Memory(MemoryStore),
    /// Each node has its own.
    Postgres(PostgresStore, Arc<Home>),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database")
    }
}

impl Ground {
    /// By its name: `memory`, `postgres` for a server of this process, or the address of a database that nothing else is in.
    pub fn named(name: &str) -> Ground {
        let of = |url: String, server| {
            Ground::Postgres(Arc::new(Database { url, _server: server, homes: Mutex::default() }))
        };
        match name {
            "memory" => Ground::Memory,
            "postgres" => {
                let server = Server::new();
                of(server.url(), Some(server))
            }
            url => of(url.to_owned(), None),
        }
    }

    /// A plan as it is run here: a database is shared in any case, by one node at least.
    pub fn fitted(&self, plan: &Plan) -> Plan {
        let least = usize::from(matches!(self, Ground::Postgres(_)));
        Plan { nodes: plan.nodes.max(least), ..plan.clone() }
    }

    /// An empty store.
    pub(crate) fn empty(&self) -> Result<Opening, StoreError> {
        let database = match self {
            Ground::Memory => return Ok(Opening::Memory(MemoryStore::new(&keys::KEYSPACES)?)),
            Ground::Postgres(database) => database,
        };
        let number = {
            let mut homes = database.homes.lock().unwrap_or_else(PoisonError::into_inner);
            homes.free.pop().unwrap_or_else(|| {
                homes.made += 1;
                homes.made - 1
            })
        };
        let home = Arc::new(Home { database: database.clone(), number });
        let store = home.open()?;
        let mut batch = Batch::new();
        for spec in keys::KEYSPACES {
            batch.delete_range(spec.keyspace, KeyRange::all());
        }
        store.commit(&batch)?;
        Ok(Opening::Postgres(store, home))
    }
}

impl Home {
    fn open(&self) -> Result<PostgresStore, StoreError> {
        let schema = format!("corollary_sim_{}", self.number);
        let options = PostgresOptions { schema, ..PostgresOptions::default() };
        PostgresStore::open(&self.database.url, &keys::KEYSPACES, options)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mut homes = self.database.homes.lock().unwrap_or_else(PoisonError::into_inner);
        homes.free.push(self.number);
    }
}

impl Opening {
    pub(crate) fn store(&self) -> &dyn Store {
        match self {
            Opening::Memory(store) => store,
            Opening::Postgres(store, _) => store,
        }
    }

    /// A turn, where the store has any, and the values of keys.
    pub(crate) fn turn_and_get(
        &self,
        keyspace: Keyspace,
        keys: &[&[u8]],
    ) -> Result<(Turn, Values), StoreError> {
        match self {
            Opening::Memory(store) => Ok((Turn::new(|| {}), store.snapshot()?.get_many(keyspace, keys)?)),
            Opening::Postgres(store, _) => store.turn_and_get(keyspace, keys),
        }
    }

    /// The same store, opened by another node; none where nodes have one opening in common.
    pub(crate) fn beside(&self) -> Result<Option<Opening>, StoreError> {
        match self {
            Opening::Memory(_) => Ok(None),
            Opening::Postgres(..) => self.again().map(Some),
        }
    }

    /// What is stored, opened anew; in memory a store of its own.
    pub(crate) fn again(&self) -> Result<Opening, StoreError> {
        Ok(match self {
            Opening::Memory(store) => Opening::Memory(store.crash_image()),
            Opening::Postgres(_, home) => Opening::Postgres(home.open()?, home.clone()),
        })
    }
}
