//! One store in memory that is open several times at once, as a database is by several processes.
//!
//! Invariant: all openings are of one [`MemoryStore`], so what one has committed each of them sees; a commit rings the bells
//! of all openings but its own, behind it. A commit takes the turn, or is the end of the one that its opening has. Read next:
//! [`Feature`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex};

use super::MemoryStore;
use crate::{
    Batch, Bell, Feature, Features, KeyspaceSpec, Snapshot, Store, StoreError, StoreStats, Transactions, Turn,
};

const FEATURES: Features = Features {
    transactions: Transactions::Optimistic,
    available: &[Feature::Snapshot, Feature::Shared, Feature::Turns, Feature::Notify, Feature::Backup],
};

/// One opening of a [`Store`] in memory that others have open too.
pub struct SharedMemoryStore {
    common: Arc<Common>,
    /// Tells it from the others.
    number: u64,
}

struct Common {
    store: MemoryStore,
    openings: AtomicU64,
    /// Each with the number of the opening that hung it up.
    bells: Mutex<Vec<(u64, Hung)>>,
    queue: Mutex<Queue>,
    moved: Condvar,
}

/// Who waits for the turn: each has a ticket, and they are called one after the other.
#[derive(Default)]
struct Queue {
    /// The ticket of whoever comes next.
    next: u64,
    /// The ticket that is called.
    called: u64,
    /// The opening that holds its turn beyond a commit, by its number.
    holder: Option<u64>,
}

impl Common {
    /// Waits until it is called; the ticket.
    fn take_turn(&self, holder: Option<u64>) -> u64 {
        let mut queue = self.queue.lock();
        let ticket = queue.next;
        queue.next += 1;
        while queue.called != ticket {
            self.moved.wait(&mut queue);
        }
        queue.holder = holder;
        ticket
    }

    /// Calls the next one, unless this turn is over already.
    fn end_turn(&self, ticket: u64) {
        let mut queue = self.queue.lock();
        if queue.called == ticket {
            queue.called += 1;
            queue.holder = None;
            self.moved.notify_all();
        }
    }

    /// The ticket of the turn that an opening has.
    fn turn_of(&self, number: u64) -> Option<u64> {
        let queue = self.queue.lock();
        (queue.holder == Some(number)).then_some(queue.called)
    }
}

/// A bell that somebody holds, or held.
type Hung = Weak<dyn Fn() + Send + Sync>;

impl SharedMemoryStore {
    /// An empty store with the given keyspaces, open once.
    pub fn new(specs: &[KeyspaceSpec]) -> Result<Self, StoreError> {
        let store = MemoryStore::new(specs)?;
        let (queue, moved) = (Mutex::default(), Condvar::new());
        let common = Common { store, openings: AtomicU64::new(1), bells: Mutex::default(), queue, moved };
        Ok(Self { common: Arc::new(common), number: 0 })
    }

    /// Opens the same store once more.
    #[must_use]
    pub fn beside(&self) -> Self {
        let number = self.common.openings.fetch_add(1, Ordering::Relaxed);
        Self { common: Arc::clone(&self.common), number }
    }
}

impl Store for SharedMemoryStore {
    fn features(&self) -> &Features {
        &FEATURES
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.common.store.snapshot()
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let ticket = self.common.turn_of(self.number).unwrap_or_else(|| self.common.take_turn(None));
        let outcome = self.common.store.commit(batch);
        self.common.end_turn(ticket);
        outcome?;
        // A bell may do anything but wait for a commit, so none rings under the lock.
        let bells: Vec<Bell> = {
            let mut bells = self.common.bells.lock();
            bells.retain(|(_, bell)| bell.strong_count() > 0);
            bells.iter().filter(|(of, _)| *of != self.number).filter_map(|(_, bell)| bell.upgrade()).collect()
        };
        for bell in bells {
            bell();
        }
        Ok(())
    }

    fn turn(&self) -> Result<Turn, StoreError> {
        let common = Arc::clone(&self.common);
        let ticket = common.take_turn(Some(self.number));
        Ok(Turn::new(move || common.end_turn(ticket)))
    }

    fn listen(&self, bell: &Bell) -> Result<(), StoreError> {
        self.common.bells.lock().push((self.number, Arc::downgrade(bell)));
        bell();
        Ok(())
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.common.store.stats()
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

impl Drop for SharedMemoryStore {
    fn drop(&mut self) {
        self.common.bells.lock().retain(|(of, _)| *of != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, KEYSPACES, Subject};

    struct Fresh(SharedMemoryStore);

    impl Subject for Fresh {
        fn store(&self) -> &dyn Store {
            &self.0
        }

        fn beside(&self) -> Option<Box<dyn Store>> {
            Some(Box::new(self.0.beside()))
        }
    }

    conformance::conformance_tests!(Fresh(SharedMemoryStore::new(KEYSPACES).unwrap()));
}
