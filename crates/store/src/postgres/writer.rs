//! Commits: one transaction each, in two round trips (conditions, then all that is written together with the commit).
//!
//! Invariant: what this says of a commit is so. When the connection breaks in the middle the commit may be there or not;
//! then the counter of commits, which each raises in its own transaction, tells, as soon as the server answers again.

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

/// See the module.
pub struct Writer {
    shared: Arc<Shared>,
    /// None after it broke.
    connection: Option<Connection>,
    /// Of all commits ever, as the database counts them.
    counter: i64,
    commits: u64,
    conflicts: u64,
    /// Why there are no more commits.
    stopped: Option<String>,
}

impl Writer {
    /// Takes the store: its lock, its tables.
    pub fn open(shared: &Arc<Shared>) -> Result<Writer, StoreError> {
        let connection = shared.connect()?;
        lock(shared, &connection)?;
        let version = match connection.number(shared.tables.exist())? {
            0 => VERSION,
            _ => connection.number(shared.tables.version())?,
        };
        if let Some(found) = Some(version).filter(|found| *found > VERSION) {
            let (found, supported) = (u32::try_from(found).unwrap_or(u32::MAX), VERSION as u32);
            return Err(StoreError::NewerVersion { path: shared.place.clone().into(), found, supported });
        }
        connection.batch(shared.tables.create())?;
        let counter = connection.number(shared.tables.counter())?;
        let (commits, conflicts, stopped) = (0, 0, None);
        Ok(Writer {
            shared: shared.clone(),
            connection: Some(connection),
            counter,
            commits,
            conflicts,
            stopped,
        })
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
        let outcome = self.ready(batch).and_then(|()| self.write(batch));
        match &outcome {
            Ok(()) => self.commits += 1,
            Err(StoreError::Conflict { .. }) => self.conflicts += 1,
            Err(error) if error.is_fatal() => self.stopped = Some(error.to_string()),
            Err(_) => {}
        }
        outcome
    }

    /// Sees to a connection, and that the conditions of a batch hold. One that broke while nobody used it shows by its
    /// first answer, and is replaced.
    fn ready(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut fresh = false;
        loop {
            if self.connection.is_none() {
                self.connect()?;
                fresh = true;
            }
            let Some(connection) = &self.connection else { return Ok(()) };
            let checked = match batch.conditions() {
                [] => connection.batch("SELECT 1"),
                conditions => check_conditions(&self.shared, connection, conditions),
            };
            match checked {
                Err(error) if !matches!(error, StoreError::Conflict { .. }) && !connection.is_open() => {
                    self.connection = None;
                    if fresh {
                        return Err(error);
                    }
                }
                checked => return checked,
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let Some(connection) = &self.connection else { return Ok(()) };
        let mut steps = steps(&self.shared, batch);
        if steps.is_empty() {
            return Ok(());
        }
        steps.push((self.shared.tables.count_commit(), vec![Parameter::Number(self.counter + 1)]));
        match connection.transaction(steps) {
            Outcome::Done => {
                self.counter += 1;
                Ok(())
            }
            Outcome::Refused(error) => Err(error),
            Outcome::Unknown(why) => self.resolve(&why),
        }
    }

    /// A connection that has the lock.
    fn connect(&mut self) -> Result<(), StoreError> {
        let connection = self.shared.connect()?;
        lock(&self.shared, &connection)?;
        if connection.number(self.shared.tables.counter())? != self.counter {
            let why = "another process has written to the store meanwhile";
            let error = failed(&self.shared.place, why, true);
            self.stopped = Some(why.to_owned());
            return Err(error);
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Asks what became of a commit, as after a connection that broke.
    #[cfg(test)]
    pub fn resolve_for_test(&mut self, why: &str) -> Result<(), StoreError> {
        self.resolve(why)
    }

    /// What became of a commit whose connection broke.
    fn resolve(&mut self, why: &str) -> Result<(), StoreError> {
        self.connection = None;
        let deadline = Instant::now() + self.shared.options.resolve_timeout;
        let ask = || -> Result<(Connection, i64), StoreError> {
            let connection = self.shared.connect()?;
            lock(&self.shared, &connection)?;
            let counter = connection.number(self.shared.tables.counter())?;
            Ok((connection, counter))
        };
        loop {
            match ask() {
                Ok((connection, counter)) if counter == self.counter || counter == self.counter + 1 => {
                    self.connection = Some(connection);
                    let committed = counter != self.counter;
                    self.counter = counter;
                    return if committed { Ok(()) } else { Err(failed(&self.shared.place, why, false)) };
                }
                Ok(_) => {
                    let why = format!("{why}; and another process has written to the store since");
                    return Err(failed(&self.shared.place, why, true));
                }
                Err(error) if Instant::now() >= deadline => {
                    let why = format!("{why}; whether the commit is there is open: {error}");
                    return Err(failed(&self.shared.place, why, true));
                }
                Err(_) => std::thread::sleep(RETRY_EVERY),
            }
        }
    }
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

fn check_conditions(
    shared: &Shared,
    connection: &Connection,
    conditions: &[Condition],
) -> Result<(), StoreError> {
    let mut found = std::collections::HashMap::new();
    for keyspace in (0..shared.tables.count()).map(|at| Keyspace(at as u8)) {
        let of = conditions.iter().filter(|it| it.keyspace == keyspace && is_short(&it.key));
        let keys: Vec<Vec<u8>> = of.map(|condition| condition.key.clone()).collect();
        if !keys.is_empty() {
            let rows = connection.query(shared.tables.get(keyspace), vec![Parameter::Many(keys)])?;
            found.insert(keyspace, values(rows));
        }
    }
    for (at, condition) in conditions.iter().enumerate() {
        let long;
        let value = if is_short(&condition.key) {
            found.get(&condition.keyspace).and_then(|found| found.get(&condition.key))
        } else {
            let rows = connection.query(shared.tables.get_long(condition.keyspace), parts(&condition.key))?;
            long = rows.first().map(|row| row.get::<_, Vec<u8>>(0));
            long.as_ref()
        };
        if value != condition.expected.as_ref() {
            return Err(condition.conflict(at));
        }
    }
    Ok(())
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
