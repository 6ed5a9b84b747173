//! Connections for readers: opened when they are needed, kept when they are not, never more than the limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::Shared;
use super::connection::{Connection, waiting};
use crate::StoreError;

/// See the module.
pub struct Pool {
    /// What the connections are of.
    pub shared: Arc<Shared>,
    /// Connections that somebody has.
    pub taken: AtomicU64,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    /// Idle or taken.
    open: usize,
}

impl Pool {
    /// No connection yet.
    pub fn new(shared: Arc<Shared>) -> Pool {
        Pool { shared, taken: AtomicU64::new(0), state: Mutex::default(), returned: Condvar::new() }
    }

    /// A connection of one's own, to be [returned](Pool::give_back) or [lost](Pool::lose), and whether it is new.
    fn take(&self) -> Result<(Connection, bool), StoreError> {
        let limit = self.shared.options.readers;
        let deadline = Instant::now() + self.shared.options.wait_for_reader;
        let mut state = self.state.lock();
        loop {
            if let Some(connection) = state.idle.pop() {
                self.taken.fetch_add(1, Ordering::Relaxed);
                return Ok((connection, false));
            }
            if state.open < limit {
                state.open += 1;
                break;
            }
            if waiting(|| self.returned.wait_until(&mut state, deadline)).timed_out() {
                return Err(StoreError::TooManySnapshots { limit });
            }
        }
        drop(state);
        self.taken.fetch_add(1, Ordering::Relaxed);
        let connected = self.shared.connect().inspect_err(|_| self.lose());
        connected.map(|connection| (connection, true))
    }

    /// Back for others.
    pub fn give_back(&self, connection: Connection) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.state.lock().idle.push(connection);
        self.returned.notify_one();
    }

    /// A taken connection is no more.
    fn lose(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.state.lock().open -= 1;
        self.returned.notify_one();
    }

    /// Does something with a connection. One that had broken before is replaced by a new one, once.
    pub fn with<T>(&self, mut f: impl FnMut(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.begin(&mut f).map(|(connection, done)| {
            self.give_back(connection);
            done
        })
    }

    /// The same, and the connection stays taken.
    pub fn begin<T>(
        &self,
        f: &mut dyn FnMut(&Connection) -> Result<T, StoreError>,
    ) -> Result<(Connection, T), StoreError> {
        loop {
            let (connection, fresh) = self.take()?;
            match f(&connection) {
                Ok(done) => return Ok((connection, done)),
                Err(error) if connection.is_open() => {
                    self.give_back(connection);
                    return Err(error);
                }
                Err(error) => {
                    let silent = connection.is_silent();
                    drop(connection);
                    self.lose();
                    // All idle ones were connected to what has gone away with this one; the next is new.
                    let stale = {
                        let mut state = self.state.lock();
                        let stale = std::mem::take(&mut state.idle);
                        state.open -= stale.len();
                        stale
                    };
                    if silent {
                        // What they were asked last may be without an answer too.
                        stale.iter().for_each(Connection::abandon);
                    }
                    drop(stale);
                    // Who has waited once does not wait for a new one too.
                    if fresh || silent {
                        return Err(error);
                    }
                }
            }
        }
    }
}
