//! The one connection that writes to SQLite.
//!
//! Invariant: outside of its methods no transaction is open; every transaction that changes entries sets
//! `state.applied` too. Read next: [`applier`](super::applier).

use std::cell::Cell;
use std::ffi::c_int;

use rusqlite::{CachedStatement, Connection};

use super::error::During;
use super::format;
use super::overlay::Frozen;
use super::sql::{self, KeyspaceSql};
use crate::batch::Settled;

thread_local! {
    /// Pages in the log after the last commit on this thread. SQLite tells it to a plain function, on the thread
    /// that commits, so this is how it gets to the caller of COMMIT.
    static LOG_PAGES: Cell<Option<u64>> = const { Cell::new(None) };
}

fn note_log_pages(_: &rusqlite::hooks::Wal, pages: c_int) -> rusqlite::Result<()> {
    LOG_PAGES.set(u64::try_from(pages).ok());
    Ok(())
}

/// How a transaction failed, and in which part.
#[derive(Debug)]
pub(super) struct Failure(pub(super) rusqlite::Error, pub(super) During);

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self(error, During::Work)
    }
}

/// The connection that writes.
pub(super) struct Writer {
    connection: Connection,
    /// The most pages that the data file may have, if that is limited.
    max_pages: Option<u64>,
}

impl Writer {
    /// Takes over a connection that `format` has opened.
    pub(super) fn new(connection: Connection, keyspaces: usize, max_pages: Option<u64>) -> Self {
        // Every statement that there is, and those that begin, note and end.
        connection.set_prepared_statement_cache_capacity(keyspaces * KeyspaceSql::WRITE_STATEMENTS + 3);
        connection.wal_hook(Some(note_log_pages));
        Self { connection, max_pages }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Puts a layer into the database. Returns the pages in the log afterwards, if it wrote any.
    ///
    /// That is not limited: what is in a layer has been let in with regard to the limit.
    pub(super) fn apply(&self, sql: &[KeyspaceSql], layer: &Frozen) -> Result<Option<u64>, Failure> {
        self.transaction(layer.through, || {
            let mut statements =
                Statements { connection: &self.connection, sql, keyspace: None, put: None, delete: None };
            layer.view.all().try_for_each(|(key, value)| statements.write(key[0].into(), &key[1..], value))
        })
    }

    /// Puts a batch into the database, durably and within the limit, as the commit `sequence`. Returns the pages in the
    /// log afterwards, if it wrote any.
    pub(super) fn apply_directly(
        &self,
        sql: &[KeyspaceSql],
        settled: &Settled<'_>,
        sequence: u64,
    ) -> Result<Option<u64>, Failure> {
        format::set_durable_commits(&self.connection, true)?;
        let result = self.limit(self.max_pages).map_err(Failure::from).and_then(|()| {
            self.transaction(sequence, || {
                for (keyspace, range) in &settled.ranges {
                    let mut delete =
                        self.connection.prepare_cached(sql[keyspace.index()].delete_range(range))?;
                    sql::bind_range(&mut delete, range)?;
                    delete.raw_execute()?;
                }
                let mut statements =
                    Statements { connection: &self.connection, sql, keyspace: None, put: None, delete: None };
                settled
                    .points
                    .iter()
                    .try_for_each(|point| statements.write(point.keyspace.index(), point.key, point.value))
            })
        });
        // A failure here would make the next transactions slower, or limited, and not wrong.
        let _ = self.limit(None);
        let _ = format::set_durable_commits(&self.connection, false);
        result
    }

    /// Pages by which the data file may still grow.
    pub(super) fn free_pages(&self) -> rusqlite::Result<u64> {
        let Some(most) = self.max_pages else { return Ok(u64::MAX) };
        let pages = format::pragma(&self.connection, "page_count")?;
        let free = format::pragma(&self.connection, "freelist_count")?;
        Ok((most + free).saturating_sub(pages))
    }

    /// Limits the data file to so many pages, or to what SQLite can handle.
    fn limit(&self, pages: Option<u64>) -> rusqlite::Result<()> {
        if self.max_pages.is_none() {
            return Ok(());
        }
        // SQLite takes a number over its own limit for that.
        let pages =
            pages.map_or(i64::from(u32::MAX - 1), |pages| i64::try_from(pages.max(1)).unwrap_or(i64::MAX));
        self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }

    /// One transaction, after which the database has everything up to the commit `sequence`.
    fn transaction(
        &self,
        sequence: u64,
        write: impl FnOnce() -> rusqlite::Result<()>,
    ) -> Result<Option<u64>, Failure> {
        self.connection.prepare_cached(sql::BEGIN_WRITE)?.execute([])?;
        let run = || {
            write()?;
            self.connection.prepare_cached(sql::SET_APPLIED)?.execute([sequence])?;
            LOG_PAGES.set(None);
            self.connection
                .prepare_cached(sql::COMMIT)?
                .execute([])
                .map_err(|error| Failure(error, During::Commit))?;
            Ok(LOG_PAGES.take())
        };
        let result = run();
        // SQLite ends the transaction by itself after some errors, and goes on after others.
        if result.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK").map_err(|error| Failure(error, During::Commit))?;
        }
        result
    }
}

/// The statements for the points of one keyspace after the other, each looked up when it is first needed.
struct Statements<'a> {
    connection: &'a Connection,
    sql: &'a [KeyspaceSql],
    keyspace: Option<usize>,
    put: Option<CachedStatement<'a>>,
    delete: Option<CachedStatement<'a>>,
}

impl Statements<'_> {
    fn write(&mut self, keyspace: usize, key: &[u8], value: Option<&[u8]>) -> rusqlite::Result<()> {
        if self.keyspace != Some(keyspace) {
            (self.keyspace, self.put, self.delete) = (Some(keyspace), None, None);
        }
        let sql = &self.sql[keyspace];
        let (slot, text) = match value {
            Some(_) => (&mut self.put, &sql.put),
            None => (&mut self.delete, &sql.delete),
        };
        let statement = match slot {
            Some(statement) => statement,
            None => slot.insert(self.connection.prepare_cached(text)?),
        };
        statement.raw_bind_parameter(1, key)?;
        if let Some(value) = value {
            statement.raw_bind_parameter(2, value)?;
        }
        statement.raw_execute().map(drop)
    }
}
