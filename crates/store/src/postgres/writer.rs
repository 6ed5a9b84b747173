//! Commits: one transaction each, in two round trips: the turn and the conditions, then all that is written together with
//! the commit. Who has taken the turn before has the second one alone, if its conditions are on what it read with the turn.
//!
//! Every transaction begins by waiting for its turn, in the order in which they come, and then changes the one row that counts
//! commits. By that row the transactions of all processes are one after the other: what the conditions are compared with is
//! what the commit before has left, and nothing changes it until the commit. Who asks for the turn first, to work out what
//! it commits meanwhile, has its transaction begin there, that row included: so what it reads with the turn stays as it is. A process that stops in the middle of one is cut off by the
//! server ([`TURN_TIMEOUT_MS`]), and nothing of its transaction is there.
//!
//! Invariant: what this says of a commit is so. When the connection breaks in the middle the commit may be there or not;
//! then the row of this opening of the store tells, as soon as a server answers again, be it another one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::connection::{Connection, Outcome, Parameter, Step};
use super::error::failed;
use super::layout::{VERSION, Where, is_short, split};
use super::snapshot::Questions;
use crate::{Batch, Condition, Keyspace, StoreError, Values};

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
    /// How many turns were taken so far, without the commit that they are for.
    turns: u64,
    /// The last of them, if it is not over. Then its transaction is open.
    turn: Option<Held>,
    commits: u64,
    conflicts: u64,
    /// Why there are no more commits.
    stopped: Option<String>,
}

/// A turn that is not over.
struct Held {
    /// Of the commit that it is for.
    number: i64,
    /// What was read with it: nobody changes that before it is over.
    seen: HashMap<(Keyspace, Vec<u8>), Option<Vec<u8>>>,
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
        // Who may only use the tables that are there must not be asked to make them.
        if connection.number(shared.tables.missing())? > 0 {
            connection.batch(shared.tables.create()).map_err(owner_needed)?;
        }
        connection.batch(shared.tables.forget_openings())?;
        Ok(Writer {
            shared: shared.clone(),
            connection: Some(connection),
            turns: 0,
            turn: None,
            commits: 0,
            conflicts: 0,
            stopped: None,
        })
    }

    /// Commits, and conflicts, since it was opened.
    pub fn counts(&self) -> (u64, u64) {
        (self.commits, self.conflicts)
    }

    fn check_running(&self) -> Result<(), StoreError> {
        match &self.stopped {
            Some(why) => {
                Err(StoreError::Stopped { path: self.shared.place.clone().into(), why: why.clone() })
            }
            None => Ok(()),
        }
    }

    /// Waits for the turn; its number, for who wants to [end](Writer::end_turn) it, and the values of keys. See
    /// [`crate::Store::turn_and_get`].
    pub fn turn(&mut self, keys: &[(Keyspace, &[u8])]) -> Result<(u64, Values), StoreError> {
        self.check_running()?;
        self.end_turn(self.turns);
        let shared = self.shared.clone();
        let (number, values) = self.begin(&|connection| {
            let keys = Questions::new(&shared.tables, keys.iter().copied());
            counted(&shared, connection, &keys)
        })?;
        let named = keys.iter().map(|(keyspace, key)| (*keyspace, key.to_vec()));
        self.turn = Some(Held { number, seen: named.zip(values.iter().cloned()).collect() });
        self.turns += 1;
        Ok((self.turns, values))
    }

    /// Ends a turn, unless it is over.
    pub fn end_turn(&mut self, number: u64) {
        if self.turns == number && self.turn.take().is_some() {
            self.roll_back();
        }
    }

    fn roll_back(&self) {
        if let Some(connection) = &self.connection {
            connection.batch_later(ROLLBACK);
        }
    }

    /// See [`crate::Store::commit`].
    pub fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.check_running()?;
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
        let in_turn = self.turn.is_some();
        let number = self.number(batch)?;
        let Some(connection) = &self.connection else { return Ok(()) };
        let mut steps = steps(&self.shared, batch);
        if steps.is_empty() {
            self.roll_back();
            return Ok(());
        }
        steps.push((self.shared.tables.note_commit(), vec![Parameter::Number(number)]));
        match connection.finish(steps) {
            Outcome::Done => Ok(()),
            Outcome::Refused(error) => {
                // What the server refused before it was run has not ended the transaction.
                self.roll_back();
                Err(error)
            }
            Outcome::Unknown(why) => match self.resolve(number, &why)? {
                true => Ok(()),
                // The turn was lost, perhaps before: the conditions tell whether it matters.
                false if in_turn => self.run(batch),
                false => Err(failed(&self.shared.place, why, false)),
            },
        }
    }

    /// Sees that the conditions of a batch hold, in a turn of its own where it has none; the number of the commit, whose
    /// transaction is open then.
    fn number(&mut self, batch: &Batch) -> Result<i64, StoreError> {
        let shared = self.shared.clone();
        if let Some(held) = self.turn.take()
            && let Some(connection) = &self.connection
        {
            // Of a turn that is known to be lost nothing is sent, so that nobody has to ask what became of it.
            let checked = match connection.is_open() {
                true => held.check(&shared, connection, batch.conditions()),
                false => Err(failed(&shared.place, "the connection is closed", false)),
            };
            match checked {
                // The conditions tell whether it matters.
                Err(error) if !matches!(error, StoreError::Conflict { .. }) && !connection.is_open() => {
                    self.connection = None;
                }
                checked => {
                    if checked.is_err() {
                        self.roll_back();
                    }
                    return checked;
                }
            }
        }
        self.begin(&|connection| {
            let keys = batch.conditions().iter().map(|it| (it.keyspace, &*it.key));
            let (number, values) = counted(&shared, connection, &Questions::new(&shared.tables, keys))?;
            compare(batch.conditions(), values)?;
            Ok(number)
        })
    }

    /// Does something that begins a transaction; it is open then, unless there is an error. A connection that broke while
    /// nobody used it shows by its first answer, and is replaced.
    fn begin<T>(&mut self, run: &dyn Fn(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut fresh = false;
        loop {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => {
                    fresh = true;
                    connect(&self.shared)?
                }
            };
            match run(&connection) {
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
    pub fn resolve_for_test(&mut self, number: i64, why: &str) -> Result<bool, StoreError> {
        self.resolve(number, why)
    }

    /// Is a commit there whose connection broke?
    fn resolve(&mut self, number: i64, why: &str) -> Result<bool, StoreError> {
        self.connection = None;
        let deadline = Instant::now() + self.shared.options.resolve_timeout;
        let ask = || -> Result<(Connection, Option<i64>), StoreError> {
            let connection = connect(&self.shared)?;
            let steps = self.shared.tables.last_commit().map(|text| (text, Vec::new()));
            let answers = connection.begin(steps.into())?;
            let last = answers.last().and_then(|rows| rows.first()).map(|row| row.get::<_, i64>(0));
            connection.batch(ROLLBACK)?;
            Ok((connection, last))
        };
        loop {
            let open = match ask() {
                Ok((connection, last)) => {
                    self.connection = Some(connection);
                    return Ok(last == Some(number));
                }
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

/// Says who has to do what another may not.
fn owner_needed(error: StoreError) -> StoreError {
    match error {
        StoreError::Permission { path, why } => {
            let why = format!(
                "{why}. Tables are missing, which their owner makes: `corollary init --store …` with the address of the owner"
            );
            StoreError::Permission { path, why }
        }
        error => error,
    }
}

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

impl Held {
    /// Compares conditions with what was read with the turn, and asks for what was not; the number of the commit.
    fn check(
        self,
        shared: &Shared,
        connection: &Connection,
        conditions: &[Condition],
    ) -> Result<i64, StoreError> {
        let Held { number, mut seen } = self;
        let keys = conditions.iter().map(|it| (it.keyspace, &*it.key));
        let unseen: Vec<_> =
            keys.filter(|(keyspace, key)| !seen.contains_key(&(*keyspace, key.to_vec()))).collect();
        if !unseen.is_empty() {
            let questions = Questions::new(&shared.tables, unseen.iter().copied());
            let answers = connection.go_on(questions.queries.clone())?;
            let values = questions.answered(&mut answers.into_iter());
            seen.extend(unseen.iter().map(|(keyspace, key)| (*keyspace, key.to_vec())).zip(values));
        }
        let value = |it: &Condition| seen.get(&(it.keyspace, it.key.clone())).cloned().flatten();
        compare(conditions, conditions.iter().map(value))?;
        Ok(number)
    }
}

/// Begins a transaction that waits for its turn, counts a commit, and reads: its number, and the values as the commit
/// before has left them.
fn counted(
    shared: &Shared,
    connection: &Connection,
    keys: &Questions<'_>,
) -> Result<(i64, Values), StoreError> {
    let tables = &shared.tables;
    let mut queries: Vec<Step> =
        vec![(tables.wait_for_turn(), Vec::new()), (tables.count_commit(), Vec::new())];
    queries.extend(keys.queries.iter().cloned());
    // That the turn has come says nothing more.
    let mut answers = connection.begin(queries)?.into_iter().skip(1);
    let number = answers.next().and_then(|rows| rows.first().map(|row| row.get::<_, i64>(0)));
    let number = number
        .ok_or_else(|| failed(&shared.place, "the tables of the store have been emptied by others", true))?;
    Ok((number, keys.answered(&mut answers)))
}

/// Refuses what was not expected.
fn compare(
    conditions: &[Condition],
    values: impl IntoIterator<Item = Option<Vec<u8>>>,
) -> Result<(), StoreError> {
    for (at, (condition, value)) in conditions.iter().zip(values).enumerate() {
        if value != condition.expected {
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
