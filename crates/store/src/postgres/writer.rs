//! Commits: one transaction each, in two round trips: the turn and the conditions, then all that is written together with
//! the commit.
//!
//! Every transaction begins by changing the one row that counts commits, and so the transactions of all processes are one
//! after the other: what the conditions are compared with is what the commit before has left, and nothing changes it
//! until the commit. A process that stops between its two round trips is cut off by the server
//! ([`TURN_TIMEOUT_MS`]), and nothing of its transaction is there.
//!
//! Invariant: what this says of a commit is so. When the connection breaks in the middle the commit may be there or not;
//! then the number of its transaction tells, as soon as the server answers again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::connection::{Connection, Outcome, Parameter, Step};
use super::error::failed;
use super::layout::{VERSION, Where, is_short, split};
use super::snapshot::values;
use crate::{Batch, Condition, Keyspace, StoreError};

/// How long the session of a process that has just ended may keep its lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Between two attempts to reach the server.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// Bytes of keys and values of one statement, about, at most.
const STATEMENT_BYTES: usize = 16 << 20;

/// How long a process may leave its transaction alone while others wait for their turn, in milliseconds.
const TURN_TIMEOUT_MS: u64 = 5_000;

/// See the module.
pub struct Writer {
    shared: Arc<Shared>,
    /// None after it broke.
    connection: Option<Connection>,
    commits: u64,
    conflicts: u64,
    /// Why there are no more commits.
    stopped: Option<String>,
}

impl Writer {
    /// Takes the store: its lock, its tables.
    pub fn open(shared: &Arc<Shared>) -> Result<Writer, StoreError> {
        let connection = connect(shared)?;
        let version = match connection.number(shared.tables.exist())? {
            0 => VERSION,
            _ => connection.number(shared.tables.version())?,
        };
        if let Some(found) = Some(version).filter(|found| *found > VERSION) {
            let (found, supported) = (u32::try_from(found).unwrap_or(u32::MAX), VERSION as u32);
            return Err(StoreError::NewerVersion { path: shared.place.clone().into(), found, supported });
        }
        connection.batch(shared.tables.create())?;
        let (commits, conflicts, stopped) = (0, 0, None);
        Ok(Writer { shared: shared.clone(), connection: Some(connection), commits, conflicts, stopped })
    }

    /// Commits, and conflicts, since it was opened.
    pub fn counts(&self) -> (u64, u64) {
        (self.commits, self.conflicts)
    }

    /// See [`crate::Store::commit`].
    pub fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if let Some(why) = &self.stopped {
            return Err(StoreError::Stopped { path: self.shared.place.clone().into(), why: why.clone() });
        }
        let outcome = self.run(batch);
        match &outcome {
            Ok(()) => self.commits += 1,
            Err(StoreError::Conflict { .. }) => self.conflicts += 1,
            Err(error) if error.is_fatal() => self.stopped = Some(error.to_string()),
            Err(_) => {}
        }
        outcome
    }

    fn run(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let number = self.begin(batch)?;
        let Some(connection) = &self.connection else { return Ok(()) };
        let steps = steps(&self.shared, batch);
        if steps.is_empty() {
            connection.batch_later(ROLLBACK);
            return Ok(());
        }
        match connection.finish(steps) {
            Outcome::Done => Ok(()),
            Outcome::Refused(error) => Err(error),
            Outcome::Unknown(why) => self.resolve(number, &why),
        }
    }

    /// Takes the turn, and sees that the conditions of a batch hold; the number of the transaction, which is open then. A
    /// connection that broke while nobody used it shows by its first answer, and is replaced.
    fn begin(&mut self, batch: &Batch) -> Result<i64, StoreError> {
        let mut fresh = false;
        loop {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => {
                    fresh = true;
                    connect(&self.shared)?
                }
            };
            let begun = take_turn(&self.shared, &connection, batch.conditions());
            match begun {
                Err(error) if !matches!(error, StoreError::Conflict { .. }) && !connection.is_open() => {
                    if fresh {
                        return Err(error);
                    }
                }
                begun => {
                    if begun.is_err() {
                        connection.batch_later(ROLLBACK);
                    }
                    self.connection = Some(connection);
                    return begun;
                }
            }
        }
    }

    /// Asks what became of a commit, as after a connection that broke.
    #[cfg(test)]
    pub fn resolve_for_test(&mut self, number: i64, why: &str) -> Result<(), StoreError> {
        self.resolve(number, why)
    }

    /// What became of a transaction whose connection broke.
    fn resolve(&mut self, number: i64, why: &str) -> Result<(), StoreError> {
        self.connection = None;
        let deadline = Instant::now() + self.shared.options.resolve_timeout;
        let ask = || -> Result<(Connection, Option<i64>), StoreError> {
            let connection = connect(&self.shared)?;
            let rows = connection.query(self.shared.tables.fate(), vec![Parameter::Number(number)])?;
            let fate = rows.first().and_then(|row| row.get::<_, Option<i64>>(0));
            Ok((connection, fate))
        };
        loop {
            let open = match ask() {
                Ok((connection, Some(fate))) => {
                    self.connection = Some(connection);
                    return if fate == 1 { Ok(()) } else { Err(failed(&self.shared.place, why, false)) };
                }
                Ok((_, None)) => "the server has not ended it yet".to_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                let why = format!("{why}; whether the commit is there is open: {open}");
                return Err(failed(&self.shared.place, why, true));
            }
            std::thread::sleep(RETRY_EVERY);
        }
    }
}

/// Nobody waits for it, and if it is not done the connection is no more.
const ROLLBACK: &str = "ROLLBACK";

/// A connection for commits.
fn connect(shared: &Shared) -> Result<Connection, StoreError> {
    let connection = shared.connect()?;
    lock(shared, &connection)?;
    connection.batch(format!("SET idle_in_transaction_session_timeout = {TURN_TIMEOUT_MS}"))?;
    Ok(connection)
}

/// Takes the lock of the store for the session.
fn lock(shared: &Shared, connection: &Connection) -> Result<(), StoreError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    while connection.number(shared.tables.lock())? != 1 {
        if Instant::now() >= deadline {
            return Err(StoreError::InUse { path: shared.place.clone().into() });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Begins a transaction, which waits for its turn, and compares the conditions with what is there then.
fn take_turn(shared: &Shared, connection: &Connection, conditions: &[Condition]) -> Result<i64, StoreError> {
    let tables = &shared.tables;
    let mut queries: Vec<Step> = vec![(tables.take_turn(), Vec::new())];
    let mut asked = Vec::new();
    for keyspace in (0..tables.count()).map(|at| Keyspace(at as u8)) {
        let of = conditions.iter().filter(|it| it.keyspace == keyspace && is_short(&it.key));
        let keys: Vec<Vec<u8>> = of.map(|condition| condition.key.clone()).collect();
        if !keys.is_empty() {
            asked.push(keyspace);
            queries.push((tables.get(keyspace), vec![Parameter::Many(keys)]));
        }
    }
    for condition in conditions.iter().filter(|it| !is_short(&it.key)) {
        queries.push((tables.get_long(condition.keyspace), parts(&condition.key)));
    }
    let mut answers = connection.begin(queries)?.into_iter();
    let number = answers.next().and_then(|rows| rows.first().map(|row| row.get::<_, i64>(0)));
    let number = number
        .ok_or_else(|| failed(&shared.place, "the tables of the store have been emptied by others", true))?;
    let mut found = HashMap::new();
    for keyspace in asked {
        found.insert(keyspace, values(answers.next().unwrap_or_default()));
    }
    for (at, condition) in conditions.iter().enumerate() {
        let long;
        let value = if is_short(&condition.key) {
            found.get(&condition.keyspace).and_then(|found| found.get(&condition.key))
        } else {
            long = answers.next().and_then(|rows| rows.first().map(|row| row.get::<_, Vec<u8>>(0)));
            long.as_ref()
        };
        if value != condition.expected.as_ref() {
            return Err(condition.conflict(at));
        }
    }
    Ok(number)
}

fn parts(key: &[u8]) -> Vec<Parameter> {
    let (head, rest) = split(key);
    vec![Parameter::Bytes(head.to_vec()), Parameter::Bytes(rest.to_vec())]
}

/// What a batch writes, as statements: ranges first, then each keyspace's keys together.
fn steps(shared: &Shared, batch: &Batch) -> Vec<Step> {
    let tables = &shared.tables;
    let settled = batch.settle();
    let mut steps: Vec<Step> = Vec::new();
    for (keyspace, range) in &settled.ranges {
        let condition = Where::of(range);
        let text = tables.delete_range(*keyspace, &condition);
        steps.push((text, condition.parameters.into_iter().map(Parameter::Bytes).collect()));
    }
    let (mut puts, mut deletes) = (Puts::default(), Vec::new());
    let mut points = settled.points.iter().peekable();
    while let Some(point) = points.next() {
        let keyspace = point.keyspace;
        match (point.value, is_short(point.key)) {
            (Some(value), true) => puts.add(point.key, value),
            (None, true) => deletes.push(point.key.to_vec()),
            (Some(value), false) => {
                let mut parameters = parts(point.key);
                parameters.push(Parameter::Bytes(value.to_vec()));
                steps.push((tables.put_long(keyspace), parameters));
            }
            (None, false) => steps.push((tables.delete_long(keyspace), parts(point.key))),
        }
        let ends = points.peek().is_none_or(|next| next.keyspace != keyspace);
        if (ends || puts.bytes > STATEMENT_BYTES) && !puts.keys.is_empty() {
            let puts = std::mem::take(&mut puts);
            let parameters = vec![Parameter::Many(puts.keys), Parameter::Many(puts.values)];
            steps.push((tables.put(keyspace), parameters));
        }
        if ends && !deletes.is_empty() {
            steps.push((tables.delete(keyspace), vec![Parameter::Many(std::mem::take(&mut deletes))]));
        }
    }
    steps
}

#[derive(Default)]
struct Puts {
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
    bytes: usize,
}

impl Puts {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.bytes += key.len() + value.len();
        self.keys.push(key.to_vec());
        self.values.push(value.to_vec());
    }
}
