//! Snapshots: reading connections, each with an open transaction, kept for the next when done.
//!
//! Invariant: a connection in `idle` has no open transaction; one outside has exactly one, which began before
//! [`Store::snapshot`](crate::Store::snapshot) returned. Read next: [`sql`](super::sql).

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, Row, Statement};

use super::error::During;
use super::sql::{self, KeyspaceSql};
use super::{Shared, format};
use crate::{Direction, KeyRange, Keyspace, Snapshot, StoreError, Visit};

/// The connections that wait for the next snapshot.
#[derive(Default)]
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    open: AtomicUsize,
}

impl Readers {
    /// Snapshots open now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Closes the connections that wait. Those of open snapshots are closed or kept when these end.
    pub(super) fn close_idle(&self) {
        let idle = mem::take(&mut *self.idle.lock());
        drop(idle);
    }
}

/// Counts one open snapshot for as long as it lives.
struct Slot(Arc<Shared>);

impl Slot {
    fn take(shared: &Arc<Shared>, limit: usize) -> Result<Self, StoreError> {
        let taken = shared.readers.open.fetch_add(1, Ordering::Relaxed);
        // Made before the check, so that a refusal gives the count back.
        let slot = Self(Arc::clone(shared));
        if taken < limit { Ok(slot) } else { Err(StoreError::TooManySnapshots { limit }) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.readers.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A [`Snapshot`] of an embedded store.
pub(super) struct EmbeddedSnapshot {
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    slot: Slot,
}

impl EmbeddedSnapshot {
    /// A snapshot of now, if it is not past the `limit` of those open at once.
    pub(super) fn begin(shared: &Arc<Shared>, limit: usize) -> Result<Self, StoreError> {
        let slot = Slot::take(shared, limit)?;
        let waiting = shared.readers.idle.lock().pop();
        let begin = || {
            let connection = match waiting {
                Some(connection) => connection,
                None => {
                    let connection = format::open_reader(&shared.folder, &shared.options)?;
                    // Every statement that there is, and those that begin, pin and end.
                    let statements = shared.sql.len() * KeyspaceSql::READ_STATEMENTS + 3;
                    connection.set_prepared_statement_cache_capacity(statements);
                    connection
                }
            };
            connection.prepare_cached(sql::BEGIN_READ)?.execute([])?;
            connection.prepare_cached(sql::PIN_READ)?.query_row([], |_| Ok(()))?;
            Ok(connection)
        };
        let connection = begin().map_err(|error| shared.translate(&error, During::Work))?;
        Ok(Self { connection: Some(connection), slot })
    }

    /// Bytes of the data file, and how many of them hold nothing.
    pub(super) fn sizes(&self) -> Result<(u64, u64), StoreError> {
        let sizes = |connection: &Connection| {
            let page_bytes = format::pragma(connection, "page_size")?;
            let pages = format::pragma(connection, "page_count")?;
            let free = format::pragma(connection, "freelist_count")?;
            Ok((pages * page_bytes, free * page_bytes))
        };
        sizes(self.connection()).map_err(|error| self.failed(&error))
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("the connection is there until the snapshot is dropped")
    }

    fn sql(&self, keyspace: Keyspace) -> Result<&KeyspaceSql, StoreError> {
        self.slot.0.sql.get(keyspace.index()).ok_or(StoreError::UnknownKeyspace { keyspace })
    }

    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        self.slot.0.translate(error, During::Work)
    }
}

/// The bytes in a column, valid until the next row.
pub(super) fn blob<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

/// The value that a statement, which selects it by key, finds.
fn read_value(statement: &mut Statement<'_>, key: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
    statement.raw_bind_parameter(1, key)?;
    let mut rows = statement.raw_query();
    rows.next()?.map(|row| blob(row, 0).map(<[u8]>::to_vec)).transpose()
}

impl Snapshot for EmbeddedSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = self.sql(keyspace)?;
        let read = || read_value(&mut *self.connection().prepare_cached(&sql.get)?, key);
        read().map_err(|error| self.failed(&error))
    }

    fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let sql = self.sql(keyspace)?;
        let read = || -> rusqlite::Result<Vec<Option<Vec<u8>>>> {
            let mut statement = self.connection().prepare_cached(&sql.get)?;
            keys.iter().map(|key| read_value(&mut statement, key)).collect()
        };
        read().map_err(|error| self.failed(&error))
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let sql = self.sql(keyspace)?;
        if limit == 0 || range.is_empty() {
            return Ok(());
        }
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.connection().prepare_cached(sql.scan(range, direction))?;
            sql::bind_range(&mut statement, range)?;
            let mut rows = statement.raw_query();
            let mut left = limit;
            while let Some(row) = rows.next()? {
                left -= 1;
                if visit(blob(row, 0)?, blob(row, 1)?) == ControlFlow::Break(()) || left == 0 {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|error| self.failed(&error))
    }
}

impl Drop for EmbeddedSnapshot {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let ended =
            connection.prepare_cached(sql::COMMIT).and_then(|mut statement| statement.execute([])).is_ok();
        let shared = &self.slot.0;
        let mut idle = shared.readers.idle.lock();
        // A connection that cannot end its transaction is closed instead of kept.
        if ended && idle.len() < shared.options.read_connections {
            idle.push(connection);
        }
    }
}
