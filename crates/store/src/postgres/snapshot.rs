//! What a reader sees: a read-only transaction at isolation level repeatable read, on a connection of its own.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_postgres::Row;

use super::connection::{Connection, Parameter};
use super::layout::{Where, is_short, split};
use super::pool::Pool;
use crate::{Direction, KeyRange, Keyspace, Snapshot, StoreError, Visit};

/// Rows of the first part of a scan: most scans end early.
const FIRST_ROWS: usize = 64;

/// Rows of a later part, at most.
const MOST_ROWS: usize = 2_048;

/// The transaction sees what is committed when its first statement begins; so there is one at once.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT 1";

/// See the module.
pub struct PostgresSnapshot {
    pool: Arc<Pool>,
    /// There until it is dropped.
    connection: Mutex<Option<Connection>>,
}

impl PostgresSnapshot {
    /// What is committed now.
    pub fn open(pool: &Arc<Pool>) -> Result<PostgresSnapshot, StoreError> {
        let (connection, ()) = pool.begin(&mut |connection| connection.batch(BEGIN))?;
        Ok(PostgresSnapshot { pool: pool.clone(), connection: Mutex::new(Some(connection)) })
    }

    fn query(&self, text: String, parameters: Vec<Parameter>) -> Result<Vec<Row>, StoreError> {
        match &*self.connection.lock() {
            Some(connection) => connection.query(text, parameters),
            None => Ok(Vec::new()),
        }
    }

    fn get_long(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let (head, rest) = split(key);
        let parameters = vec![Parameter::Bytes(head.to_vec()), Parameter::Bytes(rest.to_vec())];
        let rows = self.query(self.pool.shared.tables.get_long(keyspace), parameters)?;
        Ok(rows.first().map(|row| row.get(0)))
    }
}

/// The values of short keys, by key.
pub fn values(rows: Vec<Row>) -> HashMap<Vec<u8>, Vec<u8>> {
    rows.into_iter().map(|row| (row.get(0), row.get(1))).collect()
}

impl Snapshot for PostgresSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get_many(keyspace, &[key])?.pop().flatten())
    }

    fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let tables = &self.pool.shared.tables;
        tables.check(keyspace)?;
        let short: Vec<Vec<u8>> = keys.iter().filter(|key| is_short(key)).map(|key| key.to_vec()).collect();
        let found = match short.is_empty() {
            true => HashMap::new(),
            false => values(self.query(tables.get(keyspace), vec![Parameter::Many(short)])?),
        };
        keys.iter()
            .map(|key| match is_short(key) {
                true => Ok(found.get(*key).cloned()),
                false => self.get_long(keyspace, key),
            })
            .collect()
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let tables = &self.pool.shared.tables;
        tables.check(keyspace)?;
        let (mut range, mut left, mut rows_wanted) = (range.clone(), limit, FIRST_ROWS);
        while left > 0 && !range.is_empty() {
            let condition = Where::of(&range);
            let text = tables.scan(keyspace, &condition, direction);
            let wanted = rows_wanted.min(left);
            let mut parameters: Vec<Parameter> =
                condition.parameters.into_iter().map(Parameter::Bytes).collect();
            parameters.push(Parameter::Number(wanted as i64));
            let rows = self.query(text, parameters)?;
            let complete = rows.len() < wanted;
            let mut last = Vec::new();
            for row in rows {
                let (head, rest, value): (&[u8], &[u8], &[u8]) = (row.get(0), row.get(1), row.get(2));
                last.clear();
                last.extend_from_slice(head);
                last.extend_from_slice(rest);
                if visit(&last, value).is_break() {
                    return Ok(());
                }
                left -= 1;
            }
            if complete {
                return Ok(());
            }
            range = match direction {
                Direction::Forward => range.resume_after(last),
                Direction::Backward => range.resume_before(last),
            };
            rows_wanted = (rows_wanted * 4).min(MOST_ROWS);
        }
        Ok(())
    }
}

impl Drop for PostgresSnapshot {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.lock().take() {
            connection.batch_later("ROLLBACK");
            self.pool.give_back(connection);
        }
    }
}
