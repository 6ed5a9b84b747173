//! What waits for the watches of one connection, in the order in which it was handed over, whoever of them it is for.
//!
//! Every watch may have so many commits waiting, of so many bytes, and so may all of one connection together. One for which there is no
//! room any more is cut off: what waits for it is dropped at once, whether its client reads or not, and its last word, for
//! which there is always room, says that it has missed something.
//!
//! `queue_tests.rs` has what is asked of it, `queue_orders.rs` tries orders of those who hand over and of who takes out.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;

use super::published::Delivery;
use super::sync::Mutex;

/// Commits that wait for a watch; one more and it has missed something.
pub const WATCH_QUEUE_COMMITS: usize = 1_024;

/// The same in bytes of the changed resources, before and after. One commit has room however large it is.
pub const WATCH_QUEUE_BYTES: usize = 16 << 20;

/// Commits that wait for all watches of one connection, each counted for each watch that it concerns.
pub const CONNECTION_QUEUE_COMMITS: usize = 16_384;

/// The same in bytes, beyond one commit for each watch.
pub const CONNECTION_QUEUE_BYTES: usize = 64 << 20;

/// Why a watch has missed something.
pub const TOO_SLOW: &str = "the watch was too slow; list again, or resume from the last revision seen";

/// What a watch is handed.
pub enum Handed {
    /// What it is told of a commit.
    Told(Arc<Delivery>),
    /// It has missed something, for this reason, and ends.
    Missed(String),
    /// It cannot go on, and ends.
    Failed(String),
    /// Nothing more is told here; it may be resumed.
    Ended,
}

/// How much waits.
#[derive(Clone, Copy, Default)]
struct Load {
    commits: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, bytes: usize) {
        self.commits += 1;
        self.bytes += bytes;
    }

    fn take(&mut self, bytes: usize) {
        self.commits -= 1;
        self.bytes -= bytes;
    }

    /// Is there room for so many bytes more?
    fn has_room(self, bytes: usize, most: Load) -> bool {
        self.commits < most.commits && self.bytes.saturating_add(bytes) <= most.bytes
    }
}

const OF_ONE: Load = Load { commits: WATCH_QUEUE_COMMITS, bytes: WATCH_QUEUE_BYTES };
const OF_ALL: Load = Load { commits: CONNECTION_QUEUE_COMMITS, bytes: CONNECTION_QUEUE_BYTES };

#[derive(Default)]
struct State {
    /// Each with the number of its watch.
    waiting: VecDeque<(u64, Handed)>,
    /// Of the watches for which something waits.
    loads: HashMap<u64, Load>,
    together: Load,
    /// Who takes out, where that waits.
    taker: Option<Waker>,
    /// Nobody takes anything out any more.
    gone: bool,
}

impl State {
    /// Is there room for a delivery to a watch? For one there always is.
    fn has_room(&self, number: u64, bytes: usize) -> bool {
        match self.loads.get(&number) {
            Some(load) => load.has_room(bytes, OF_ONE) && self.together.has_room(bytes, OF_ALL),
            None => self.together.commits < OF_ALL.commits,
        }
    }

    fn put(&mut self, number: u64, handed: Handed) -> Option<Waker> {
        if let Handed::Told(delivery) = &handed {
            self.loads.entry(number).or_default().add(delivery.bytes);
            self.together.add(delivery.bytes);
        }
        self.waiting.push_back((number, handed));
        self.taker.take()
    }

    fn take(&mut self) -> Option<(u64, Handed)> {
        let (number, handed) = self.waiting.pop_front()?;
        if let Handed::Told(delivery) = &handed {
            self.together.take(delivery.bytes);
            if let Some(load) = self.loads.get_mut(&number) {
                load.take(delivery.bytes);
                if load.commits == 0 {
                    self.loads.remove(&number);
                }
            }
        }
        Some((number, handed))
    }

    /// Drops all that waits for a watch.
    fn drop_of(&mut self, number: u64) {
        if let Some(load) = self.loads.remove(&number) {
            self.together.commits -= load.commits;
            self.together.bytes -= load.bytes;
            self.waiting.retain(|(of, _)| *of != number);
        }
    }
}

/// See the module: the end at which all is taken out.
#[derive(Default)]
pub struct Queue(Arc<Mutex<State>>);

/// Where watches of one connection come in.
#[derive(Clone)]
pub struct Entrance(Arc<Mutex<State>>);

impl Queue {
    /// The way for those who watch.
    pub fn entrance(&self) -> Entrance {
        Entrance(self.0.clone())
    }

    /// What waits already, and the number of its watch.
    pub fn at_hand(&mut self) -> Option<(u64, Handed)> {
        self.0.lock().take()
    }

    /// The next that is handed over, and the number of its watch.
    pub fn poll_next(&mut self, context: &Context<'_>) -> Poll<(u64, Handed)> {
        let mut state = self.0.lock();
        if let Some(next) = state.take() {
            return Poll::Ready(next);
        }
        let is_known = state.taker.as_ref().is_some_and(|taker| taker.will_wake(context.waker()));
        if !is_known {
            state.taker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// The same, waiting for it.
    pub async fn next(&mut self) -> (u64, Handed) {
        poll_fn(|context| self.poll_next(context)).await
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let left = std::mem::take(&mut *state);
        state.gone = true;
        drop(state);
        drop(left);
    }
}

impl Entrance {
    /// Hands a watch something over; false where there is no room, which it is told, or nobody any more.
    pub(super) fn hand(&self, number: u64, delivery: Arc<Delivery>) -> bool {
        let mut state = self.0.lock();
        if state.gone {
            return false;
        }
        let has_room = state.has_room(number, delivery.bytes);
        let taker = match has_room {
            true => state.put(number, Handed::Told(delivery)),
            false => {
                state.drop_of(number);
                state.put(number, Handed::Missed(TOO_SLOW.into()))
            }
        };
        drop(state);
        if let Some(taker) = taker {
            taker.wake();
        }
        has_room
    }

    /// The last word, for which there is always room.
    pub(super) fn end(&self, number: u64, last: Handed) {
        let mut state = self.0.lock();
        // Whoever has gone does not mind.
        let taker = if state.gone { None } else { state.put(number, last) };
        drop(state);
        if let Some(taker) = taker {
            taker.wake();
        }
    }
}
