//! What a reader sees: a read-only transaction at isolation level repeatable read, on a connection of its own.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_postgres::Row;

use super::connection::{Connection, Parameter, Step};
use super::layout::{Tables, Where, is_short, split};
use super::pool::Pool;
use crate::{Direction, KeyRange, Keyspace, Looked, Snapshot, StoreError, Visit};

/// Rows of the first part of a scan: most scans end early.
const FIRST_ROWS: usize = 64;

/// Rows of a later part, at most.
const MOST_ROWS: usize = 2_048;

/// The transaction sees what is committed when its first statement begins; so there is one at once.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SELECT 1";

/// The same where the first statement follows.
const BEGIN_WITH: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// See the module.
pub struct PostgresSnapshot {
    pool: Arc<Pool>,
    /// There until it is dropped.
    connection: Mutex<Option<Connection>>,
}

impl PostgresSnapshot {
    /// What is committed now.
    pub fn open(pool: &Arc<Pool>) -> Result<PostgresSnapshot, StoreError> {
        let (connection, ()) =
            pool.begin(&mut |connection| connection.batch_within(pool.shared.options.answer_timeout, BEGIN))?;
        Ok(PostgresSnapshot { pool: pool.clone(), connection: Mutex::new(Some(connection)) })
    }

    /// What is committed now, and the values of keys in it, in one round trip.
    pub fn open_and_get(pool: &Arc<Pool>, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Looked, StoreError> {
        let tables = &pool.shared.tables;
        tables.check(keyspace)?;
        if keys.is_empty() {
            return Ok((Box::new(Self::open(pool)?), Vec::new()));
        }
        let (connection, answers) = pool.begin(&mut |connection| {
            let questions = Questions::new(tables, keys.iter().map(|key| (keyspace, *key)));
            let limit = pool.shared.options.answer_timeout;
            let answers = connection.begin_within(limit, BEGIN_WITH, questions.queries.clone());
            // What was refused has not ended the transaction.
            let answers = answers.inspect_err(|_| connection.batch_later("ROLLBACK"))?;
            Ok(questions.answered(&mut answers.into_iter()))
        })?;
        let snapshot = PostgresSnapshot { pool: pool.clone(), connection: Mutex::new(Some(connection)) };
        Ok((Box::new(snapshot), answers))
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

/// Queries for the values of keys of any keyspaces, to be sent with others; and what their answers say.
pub struct Questions<'k> {
    keys: Vec<(Keyspace, &'k [u8])>,
    /// The keyspaces whose short keys are asked for by one query each.
    asked: Vec<Keyspace>,
    /// One query for each of these, then one for each long key.
    pub queries: Vec<Step>,
}

impl<'k> Questions<'k> {
    /// For the values of these.
    pub fn new(tables: &Tables, keys: impl Iterator<Item = (Keyspace, &'k [u8])>) -> Questions<'k> {
        let keys: Vec<_> = keys.collect();
        let (mut asked, mut queries) = (Vec::new(), Vec::new());
        for (keyspace, _) in keys.iter().filter(|(_, key)| is_short(key)) {
            if !asked.contains(keyspace) {
                asked.push(*keyspace);
                let of = keys.iter().filter(|(other, key)| other == keyspace && is_short(key));
                let of = of.map(|(_, key)| key.to_vec()).collect();
                queries.push((tables.get(*keyspace), vec![Parameter::Many(of)]));
            }
        }
        for (keyspace, key) in keys.iter().filter(|(_, key)| !is_short(key)) {
            let (head, rest) = split(key);
            let parts = vec![Parameter::Bytes(head.to_vec()), Parameter::Bytes(rest.to_vec())];
            queries.push((tables.get_long(*keyspace), parts));
        }
        Questions { keys, asked, queries }
    }

    /// The values, in the order of the keys, from the answers to the queries.
    pub fn answered(&self, answers: &mut dyn Iterator<Item = Vec<Row>>) -> Vec<Option<Vec<u8>>> {
        let mut found = HashMap::new();
        for keyspace in &self.asked {
            found.insert(*keyspace, values(answers.next().unwrap_or_default()));
        }
        let value = |(keyspace, key): &(Keyspace, &[u8])| match is_short(key) {
            true => found.get(keyspace).and_then(|found| found.get(*key)).cloned(),
            false => answers.next().and_then(|rows| rows.first().map(|row| row.get(0))),
        };
        self.keys.iter().map(value).collect()
    }
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
