//! The one connection that writes.
//!
//! Invariant: outside of [`Writer::commit`] no transaction is open. A commit is one SQLite transaction, made durable
//! by the sync of the log that COMMIT ends with. Read next: [`checkpoint`](super::checkpoint), which keeps that log
//! short.

use std::cell::Cell;
use std::ffi::c_int;

use rusqlite::{CachedStatement, Connection};

use super::error::During;
use super::reader::blob;
use super::sql::{self, KeyspaceSql};
use crate::batch::Settled;
use crate::{Batch, Condition, StoreError};

thread_local! {
    /// Pages in the log after the last commit on this thread. SQLite tells it to a plain function, on the thread
    /// that commits, so this is how it gets to the caller of COMMIT.
    static LOG_PAGES: Cell<Option<u64>> = const { Cell::new(None) };
}

fn note_log_pages(_: &rusqlite::hooks::Wal, pages: c_int) -> rusqlite::Result<()> {
    LOG_PAGES.set(u64::try_from(pages).ok());
    Ok(())
}

/// How a transaction failed.
pub(super) enum Failure {
    /// A condition did not hold.
    Conflict(StoreError),
    /// SQLite failed.
    Sqlite(rusqlite::Error, During),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error, During::Work)
    }
}

/// The connection that writes.
pub(super) struct Writer {
    connection: Connection,
}

impl Writer {
    /// Takes over a connection that `format` has opened, for `keyspaces` keyspaces.
    pub(super) fn new(connection: Connection, keyspaces: usize) -> Self {
        // Every statement that there is, and those that begin and end.
        connection.set_prepared_statement_cache_capacity(keyspaces * KeyspaceSql::WRITE_STATEMENTS + 2);
        connection.wal_hook(Some(note_log_pages));
        Self { connection }
    }

    /// Writes the batch. Returns the pages in the log afterwards, if the batch wrote any.
    pub(super) fn commit(
        &self,
        sql: &[KeyspaceSql],
        batch: &Batch,
        settled: &Settled<'_>,
    ) -> Result<Option<u64>, Failure> {
        self.connection.prepare_cached(sql::BEGIN_WRITE)?.execute([])?;
        let result = self.write(sql, batch, settled);
        // SQLite ends the transaction by itself after some errors, and goes on after others.
        if result.is_err() && !self.connection.is_autocommit() {
            self.connection
                .execute_batch("ROLLBACK")
                .map_err(|error| Failure::Sqlite(error, During::Commit))?;
        }
        result
    }

    fn write(
        &self,
        sql: &[KeyspaceSql],
        batch: &Batch,
        settled: &Settled<'_>,
    ) -> Result<Option<u64>, Failure> {
        self.check_conditions(sql, batch.conditions())?;
        self.apply(sql, settled)?;
        LOG_PAGES.set(None);
        self.connection
            .prepare_cached(sql::COMMIT)?
            .execute([])
            .map_err(|error| Failure::Sqlite(error, During::Commit))?;
        Ok(LOG_PAGES.take())
    }

    fn check_conditions(&self, sql: &[KeyspaceSql], conditions: &[Condition]) -> Result<(), Failure> {
        for (position, condition) in conditions.iter().enumerate() {
            let mut get = self.connection.prepare_cached(&sql[condition.keyspace.index()].get)?;
            get.raw_bind_parameter(1, &condition.key)?;
            let mut rows = get.raw_query();
            let found = rows.next()?.map(|row| blob(row, 0)).transpose()?;
            if found != condition.expected.as_deref() {
                return Err(Failure::Conflict(condition.conflict(position)));
            }
        }
        Ok(())
    }

    fn apply(&self, sql: &[KeyspaceSql], settled: &Settled<'_>) -> rusqlite::Result<()> {
        for (keyspace, range) in &settled.ranges {
            let mut delete = self.connection.prepare_cached(sql[keyspace.index()].delete_range(range))?;
            sql::bind_range(&mut delete, range)?;
            delete.raw_execute()?;
        }
        for points in settled.points.chunk_by(|a, b| a.keyspace == b.keyspace) {
            let sql = &sql[points[0].keyspace.index()];
            let (mut put, mut delete) = (None, None);
            for point in points {
                match point.value {
                    Some(value) => {
                        let put = self.statement(&mut put, &sql.put)?;
                        put.raw_bind_parameter(1, point.key)?;
                        put.raw_bind_parameter(2, value)?;
                        put.raw_execute()?;
                    }
                    None => {
                        let delete = self.statement(&mut delete, &sql.delete)?;
                        delete.raw_bind_parameter(1, point.key)?;
                        delete.raw_execute()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The statement in `slot`, put there at the first call.
    fn statement<'s, 'c>(
        &'c self,
        slot: &'s mut Option<CachedStatement<'c>>,
        text: &str,
    ) -> rusqlite::Result<&'s mut CachedStatement<'c>> {
        match slot {
            Some(statement) => Ok(statement),
            None => Ok(slot.insert(self.connection.prepare_cached(text)?)),
        }
    }
}
