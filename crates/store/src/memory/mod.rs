//! The store in memory: for tests and simulation. What it holds is lost with it.
//!
//! All keyspaces are maps that share what they have in common (`map`), so that a snapshot is one reference count
//! and a commit copies only what it touches and a snapshot still holds. Invariant: `Live::maps` is always the state
//! after a whole number of commits.
//!
//! Several may share one ([`SharedMemoryStore`]), as nodes share a database.
//!
//! For simulation it fails on demand ([`MemoryStore::fail_commit`]) and shows what a restart would find
//! ([`MemoryStore::crash_image`]).

mod map;
mod shared;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::batch::Settled;
use crate::{
    Batch, Direction, Feature, Features, Harden, KeyRange, Keyspace, KeyspaceSpec, Precommit, Snapshot,
    Store, StoreError, StoreStats, Transactions, Visit, check_declaration,
};
use map::Map;
pub use shared::SharedMemoryStore;

const FEATURES: Features =
    Features { transactions: Transactions::Serial, available: &[Feature::Snapshot, Feature::Backup] };

/// A failure to be simulated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The commit fails with [`StoreError::Full`]. Nothing is written, the store goes on.
    Full,
    /// The commit fails with a [`StoreError::Failed`] that is not fatal. Nothing is written, the store goes on.
    Io,
    /// The commit fails with a fatal [`StoreError::Failed`] and the store refuses commits from then on, as after a
    /// failed sync. Snapshots do not see the batch; [`MemoryStore::crash_image`] has it if it `survives`.
    Sync {
        /// Whether the batch is there after a restart.
        survives: bool,
    },
}

/// A [`Store`] in memory.
pub struct MemoryStore {
    live: Arc<Latched>,
    open_snapshots: Arc<AtomicU64>,
}

/// What is there, and who waits for what is staged.
struct Latched {
    live: Mutex<Live>,
    /// Nothing is staged any more, or nothing ever will be.
    moved: Condvar,
}

struct Live {
    /// One map per keyspace.
    maps: Arc<Vec<Map>>,
    /// The maps with the batch that is to be hardened.
    staged: Option<Arc<Vec<Map>>>,
    /// What a restart would find, where that is not `maps`: set by [`Fault::Sync`].
    survivor: Option<Arc<Vec<Map>>>,
    stopped: bool,
    /// Faults by the number of the attempt to commit that they hit.
    faults: BTreeMap<u64, Fault>,
    attempts: u64,
    commits: u64,
    conflicts: u64,
}

impl Live {
    fn with(maps: Arc<Vec<Map>>) -> Self {
        Self {
            maps,
            staged: None,
            survivor: None,
            stopped: false,
            faults: BTreeMap::new(),
            attempts: 0,
            commits: 0,
            conflicts: 0,
        }
    }

    fn check_conditions(&mut self, batch: &Batch) -> Result<(), StoreError> {
        for (position, condition) in batch.conditions().iter().enumerate() {
            let found = self.maps[condition.keyspace.index()].get(&condition.key);
            if found.map(|value| &**value) != condition.expected.as_deref() {
                self.conflicts += 1;
                return Err(condition.conflict(position));
            }
        }
        Ok(())
    }
}

/// Applies the writes of a batch to `maps`, copying what others still hold.
fn apply(maps: &mut Arc<Vec<Map>>, settled: &Settled<'_>) {
    if settled.ranges.is_empty() && settled.points.is_empty() {
        return;
    }
    let maps = Arc::make_mut(maps);
    for (keyspace, range) in &settled.ranges {
        maps[keyspace.index()].remove_range(range);
    }
    for point in &settled.points {
        let map = &mut maps[point.keyspace.index()];
        match point.value {
            Some(value) => map.insert(point.key, value),
            None => map.remove(point.key),
        }
    }
}

impl MemoryStore {
    /// An empty store with the given keyspaces.
    pub fn new(specs: &[KeyspaceSpec]) -> Result<Self, StoreError> {
        check_declaration(specs)?;
        Ok(Self::holding(Arc::new(vec![Map::default(); specs.len()])))
    }

    /// Lets the next commit that passes its limits fail.
    pub fn fail_next_commit(&self, fault: Fault) {
        self.fail_commit(0, fault);
    }

    /// Lets a commit fail: the next one if `after` is 0, else the one after `after` further ones. All count that
    /// pass their limits, whether or not their
    /// conditions hold; `Full` and `Io` hit before conditions are checked, `Sync` after.
    pub fn fail_commit(&self, after: u64, fault: Fault) {
        let mut live = self.live.live.lock();
        let at = live.attempts + after;
        live.faults.insert(at, fault);
    }

    /// What a restart after a crash at this moment would find, as a store of its own, without faults.
    pub fn crash_image(&self) -> Self {
        let live = self.live.live.lock();
        Self::holding(Arc::clone(live.survivor.as_ref().unwrap_or(&live.maps)))
    }

    fn holding(maps: Arc<Vec<Map>>) -> Self {
        let live = Latched { live: Mutex::new(Live::with(maps)), moved: Condvar::new() };
        Self { live: Arc::new(live), open_snapshots: Arc::default() }
    }

    fn show(&self, maps: Arc<Vec<Map>>) -> Box<dyn Snapshot> {
        self.open_snapshots.fetch_add(1, Ordering::Relaxed);
        Box::new(MemorySnapshot { maps, open_snapshots: Arc::clone(&self.open_snapshots) })
    }
}

impl Store for MemoryStore {
    fn features(&self) -> &Features {
        &FEATURES
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let maps = Arc::clone(&self.live.live.lock().maps);
        Ok(self.show(maps))
    }

    fn tip(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let live = self.live.live.lock();
        let maps = Arc::clone(live.staged.as_ref().unwrap_or(&live.maps));
        drop(live);
        Ok(self.show(maps))
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.precommit(batch)?.harden()
    }

    fn precommit(&self, batch: &Batch) -> Result<Precommit, StoreError> {
        let mut live = self.live.live.lock();
        batch.check(live.maps.len())?;
        self.live.moved.wait_while(&mut live, |live| live.staged.is_some() && !live.stopped);
        let path = PathBuf::from("(memory)");
        if live.stopped {
            return Err(StoreError::Stopped { path, why: SIMULATED.to_owned() });
        }
        let attempt = live.attempts;
        live.attempts += 1;
        let fault = live.faults.remove(&attempt);
        match fault {
            Some(Fault::Full) => return Err(StoreError::Full { path, limit: None }),
            Some(Fault::Io) => {
                return Err(StoreError::Failed { path, message: SIMULATED.to_owned(), fatal: false });
            }
            Some(Fault::Sync { .. }) | None => live.check_conditions(batch)?,
        }
        let mut staged = Arc::clone(&live.maps);
        apply(&mut staged, &batch.settle());
        live.staged = Some(staged);
        Ok(Precommit::new(Staged { live: Arc::clone(&self.live), fault, ended: false }))
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        let live = self.live.live.lock();
        Ok(StoreStats {
            data_bytes: live.maps.iter().map(Map::bytes).sum(),
            commits: live.commits,
            conflicts: live.conflicts,
            open_snapshots: self.open_snapshots.load(Ordering::Relaxed),
            ..StoreStats::default()
        })
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

/// The batch that is staged.
struct Staged {
    live: Arc<Latched>,
    fault: Option<Fault>,
    ended: bool,
}

impl Harden for Staged {
    fn harden(mut self: Box<Self>) -> Result<(), StoreError> {
        self.ended = true;
        let mut live = self.live.live.lock();
        let staged = live.staged.take();
        let failed = match self.fault {
            Some(Fault::Sync { survives }) => {
                live.survivor = staged.filter(|_| survives);
                live.stopped = true;
                Err(StoreError::Failed {
                    path: "(memory)".into(),
                    message: SIMULATED.to_owned(),
                    fatal: true,
                })
            }
            _ => {
                live.maps = staged.unwrap_or_else(|| Arc::clone(&live.maps));
                live.commits += 1;
                Ok(())
            }
        };
        drop(live);
        self.live.moved.notify_all();
        failed
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.ended {
            self.live.live.lock().stopped = true;
            self.live.moved.notify_all();
        }
    }
}

const SIMULATED: &str = "simulated failure";

struct MemorySnapshot {
    maps: Arc<Vec<Map>>,
    open_snapshots: Arc<AtomicU64>,
}

impl MemorySnapshot {
    fn map(&self, keyspace: Keyspace) -> Result<&Map, StoreError> {
        self.maps.get(keyspace.index()).ok_or(StoreError::UnknownKeyspace { keyspace })
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.map(keyspace)?.get(key).map(|value| value.to_vec()))
    }

    fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let map = self.map(keyspace)?;
        Ok(keys.iter().map(|key| map.get(key).map(|value| value.to_vec())).collect())
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.map(keyspace)?.scan(range, direction, limit, visit);
        Ok(())
    }
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        self.open_snapshots.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, KEYSPACES, ONE, Subject};

    struct Fresh(MemoryStore);

    impl Subject for Fresh {
        fn store(&self) -> &dyn Store {
            &self.0
        }
    }

    conformance::conformance_tests!(Fresh(MemoryStore::new(KEYSPACES).unwrap()));

    fn put(key: &str) -> Batch {
        let mut batch = Batch::new();
        batch.put(ONE, key, "value");
        batch
    }

    fn has(store: &MemoryStore, key: &str) -> bool {
        store.snapshot().unwrap().get(ONE, key.as_bytes()).unwrap().is_some()
    }

    #[test]
    fn a_refused_commit_leaves_the_store_usable() {
        let store = MemoryStore::new(KEYSPACES).unwrap();
        store.fail_next_commit(Fault::Full);
        store.fail_commit(2, Fault::Io);
        assert!(matches!(store.commit(&put("a")), Err(StoreError::Full { .. })));
        store.commit(&put("b")).unwrap();
        let error = store.commit(&put("c")).unwrap_err();
        assert!(matches!(error, StoreError::Failed { fatal: false, .. }), "{error}");
        store.commit(&put("d")).unwrap();
        assert_eq!(["a", "b", "c", "d"].map(|key| has(&store, key)), [false, true, false, true]);
    }

    #[test]
    fn a_failed_sync_stops_the_store_and_the_image_decides() {
        for survives in [false, true] {
            let store = MemoryStore::new(KEYSPACES).unwrap();
            store.commit(&put("a")).unwrap();
            store.fail_next_commit(Fault::Sync { survives });
            assert!(store.commit(&put("b")).unwrap_err().is_fatal());
            assert!(matches!(store.commit(&put("c")), Err(StoreError::Stopped { .. })));
            assert_eq!(["a", "b", "c"].map(|key| has(&store, key)), [true, false, false]);
            let image = store.crash_image();
            image.commit(&put("d")).unwrap();
            assert_eq!(["a", "b", "c", "d"].map(|key| has(&image, key)), [true, survives, false, true]);
            assert!(!has(&store, "d"), "an image is a store of its own");
        }
    }

    #[test]
    fn a_fault_comes_before_the_conditions() {
        let store = MemoryStore::new(KEYSPACES).unwrap();
        let mut batch = put("a");
        batch.require(ONE, "a", Some(b"else".to_vec()));
        store.fail_next_commit(Fault::Full);
        assert!(matches!(store.commit(&batch), Err(StoreError::Full { .. })));
        assert!(matches!(store.commit(&batch), Err(StoreError::Conflict { .. })));
    }
}
