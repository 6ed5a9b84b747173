//! Snapshots: the layers of the overlay as they were, over the database as a reading connection sees it.
//!
//! Invariant: a connection in `idle` has no open transaction; one outside has exactly one, which began before
//! [`Store::snapshot`](crate::Store::snapshot) returned and sees no commit that is not in the layers taken before, or in
//! what they lie over. Read next: [`overlay`](super::overlay), [`sql`].

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, Row, Statement};

use super::error::During;
use super::merge::Merged;
use super::overlay::Layers;
use super::sql::{self, KeyspaceSql};
use super::{Shared, format};
use crate::{Direction, KeyRange, Keyspace, Snapshot, StoreError, Visit, VisitKeys};

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

/// Opens a connection for reading.
pub(super) fn open(shared: &Shared) -> rusqlite::Result<Connection> {
    let connection = format::open_reader(&shared.folder, &shared.options)?;
    // Every statement that there is, and those that begin, pin and end.
    connection.set_prepared_statement_cache_capacity(shared.sql.len() * KeyspaceSql::READ_STATEMENTS + 3);
    Ok(connection)
}

/// Begins a transaction. Returns the last commit that it sees.
fn begin(connection: &Connection) -> rusqlite::Result<u64> {
    connection.prepare_cached(sql::BEGIN_READ)?.execute([])?;
    connection.prepare_cached(sql::READ_APPLIED)?.query_row([], |row| row.get(0))
}

fn end(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached(sql::COMMIT)?.execute([]).map(drop)
}

/// What a snapshot shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// What is durable.
    Durable,
    /// What is staged, too.
    Tip,
}

/// A [`Snapshot`] of an embedded store.
pub(super) struct EmbeddedSnapshot {
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    layers: Layers,
    slot: Slot,
}

impl EmbeddedSnapshot {
    /// A snapshot of now, if it is not past the `limit` of those open at once.
    pub(super) fn begin(shared: &Arc<Shared>, limit: usize, shows: Shows) -> Result<Self, StoreError> {
        let slot = Slot::take(shared, limit)?;
        let waiting = shared.readers.idle.lock().pop();
        let start = || {
            let connection = match waiting {
                Some(connection) => connection,
                None => open(shared)?,
            };
            loop {
                let layers = match shows {
                    Shows::Durable => shared.overlay.layers(),
                    Shows::Tip => shared.overlay.tip(),
                };
                if begin(&connection)? <= layers.sequence {
                    return Ok((connection, layers));
                }
                // Commits that are not in these layers have been applied meanwhile.
                end(&connection)?;
            }
        };
        let (connection, layers) = start().map_err(|error| shared.translate(&error, During::Work))?;
        Ok(Self { connection: Some(connection), layers, slot })
    }

    /// Bytes of the data file and the bytes within that hold nothing.
    pub(super) fn sizes(&self) -> Result<(u64, u64), StoreError> {
        let sizes = |connection: &Connection| {
            let page_bytes = format::pragma(connection, "page_size")?;
            let pages = format::pragma(connection, "page_count")?;
            let free = format::pragma(connection, "freelist_count")?;
            Ok((pages * page_bytes, free * page_bytes))
        };
        sizes(self.connection()).map_err(|error| self.failed(&error))
    }

    /// The keys of a range, in order; `None` if there are more than `most`.
    pub(super) fn keys(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        most: usize,
    ) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let mut keys = Vec::new();
        let mut complete = true;
        self.scan_keys(keyspace, range, Direction::Forward, &mut |key| {
            complete = keys.len() < most;
            if !complete {
                return ControlFlow::Break(());
            }
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        Ok(complete.then_some(keys))
    }

    /// Visits a range, with the values or without.
    fn walk(
        &self,
        (keyspace, range): (Keyspace, &KeyRange),
        direction: Direction,
        values: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let sql = self.sql(keyspace)?;
        let text = if values { sql.scan(range, direction) } else { sql.scan_keys(range, direction) };
        if range.is_empty() {
            return Ok(());
        }
        let mut merged = Merged::new(&self.layers, keyspace, range, direction);
        let mut read = || -> rusqlite::Result<ControlFlow<()>> {
            let mut statement = self.connection().prepare_cached(text)?;
            sql::bind_range(&mut statement, range)?;
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                let (key, value) = (blob(row, 0)?, if values { blob(row, 1)? } else { &[] });
                if merged.below(key, value, visit).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        };
        let rest = read().map_err(|error| self.failed(&error))?;
        if rest.is_continue() {
            // A break is the visitor's wish to end, and nothing more to do here.
            let _ = merged.rest(visit);
        }
        Ok(())
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
fn blob<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob()?)
}

/// Whether the statement, which selects a value by key, finds exactly `expected`.
pub(super) fn matches(
    statement: &mut Statement<'_>,
    key: &[u8],
    expected: Option<&[u8]>,
) -> rusqlite::Result<bool> {
    statement.raw_bind_parameter(1, key)?;
    let mut rows = statement.raw_query();
    let found = rows.next()?.map(|row| blob(row, 0)).transpose()?;
    Ok(found == expected)
}

/// Where the database has no keys, as far as was seen: whoever asks for many keys in their order asks once for all that are in
/// one gap. New resources mostly come behind all that are there.
#[derive(Default)]
struct Gap {
    /// A key that is not there; none where no gap has been seen.
    from: Option<Vec<u8>>,
    /// The next one that is; none where there is none.
    to: Option<Vec<u8>>,
}

impl Gap {
    /// Is a key in it?
    fn has(&self, key: &[u8]) -> bool {
        self.from.as_ref().is_some_and(|from| &**from <= key) && self.to.as_ref().is_none_or(|to| key < &**to)
    }

    /// The value of a key by a statement that gives all rows from it on. Where there is none the gap is around the key.
    fn read(&mut self, statement: &mut Statement<'_>, key: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
        statement.raw_bind_parameter(1, key)?;
        let mut rows = statement.raw_query();
        let to = match rows.next()? {
            Some(row) if blob(row, 0)? == key => return blob(row, 1).map(|value| Some(value.to_vec())),
            row => row.map(|row| blob(row, 0).map(<[u8]>::to_vec)).transpose()?,
        };
        (self.from, self.to) = (Some(key.to_vec()), to);
        Ok(None)
    }
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
        if let Some(value) = self.layers.get(keyspace, key) {
            return Ok(value.map(<[u8]>::to_vec));
        }
        let read = || read_value(&mut *self.connection().prepare_cached(&sql.get)?, key);
        read().map_err(|error| self.failed(&error))
    }

    fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let sql = self.sql(keyspace)?;
        let read = || -> rusqlite::Result<Vec<Option<Vec<u8>>>> {
            let mut statement = self.connection().prepare_cached(sql.from())?;
            let mut gap = Gap::default();
            let mut read = |key: &&[u8]| match self.layers.get(keyspace, key) {
                Some(value) => Ok(value.map(<[u8]>::to_vec)),
                None if gap.has(key) => Ok(None),
                None => gap.read(&mut statement, key),
            };
            keys.iter().map(&mut read).collect()
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
        if limit == 0 {
            return self.sql(keyspace).map(drop);
        }
        let mut left = limit;
        self.walk((keyspace, range), direction, true, &mut |key, value| {
            left -= 1;
            if visit(key, value).is_break() || left == 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    fn scan_keys(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut VisitKeys<'_>,
    ) -> Result<(), StoreError> {
        self.walk((keyspace, range), direction, false, &mut |key, _| visit(key))
    }
}

impl Drop for EmbeddedSnapshot {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let ended = end(&connection).is_ok();
        let shared = &self.slot.0;
        let mut idle = shared.readers.idle.lock();
        // A connection that cannot end its transaction is closed instead of kept.
        if ended && idle.len() < shared.options.read_connections {
            idle.push(connection);
        }
    }
}
