//! The store of a run: it fails when it is told to, and lets a reader look at the engine in the middle of a commit. It may be
//! shared by several nodes, of which one can die within a commit while the others go on.
//!
//! What fails does so here, above the store that keeps the rows ([`Ground`]): so it is the same over memory and over a
//! database. Nodes run one after the other, so nobody ever waits for a turn: whoever finds it taken would wait for ever.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corollary_engine::keys;
use corollary_store::{
    Batch, Direction, Fault, Feature, Features, Harden, KeyRange, Keyspace, Looked, MemoryStore, Precommit,
    Snapshot, Store, StoreError, StoreStats, Transactions, Turn, Values,
};

use crate::ground::{Ground, Opening};

/// What happens in the middle of a commit.
pub type Watcher = Arc<dyn Fn() + Send + Sync>;

const SHARED: Features = Features {
    transactions: Transactions::Optimistic,
    available: &[Feature::Snapshot, Feature::Shared, Feature::Turns],
};

/// One opening of a store by one node. See the module.
pub struct SimStore {
    inner: Opening,
    shared: bool,
    /// All openings of a store have these in common.
    common: Arc<Common>,
}

#[derive(Default)]
struct Common {
    plan: Mutex<Plan>,
    /// Has a node its turn?
    taken: AtomicBool,
}

#[derive(Default)]
struct Plan {
    /// After so many further commits, one fails.
    fault: Option<(u64, Fault)>,
    /// Whoever commits next dies; what it commits is there, or not.
    death: Option<bool>,
    watcher: Option<Watcher>,
    /// After a failed sync nobody commits any more.
    stopped: bool,
    /// What was in that commit, where a restart finds it.
    left: Option<Batch>,
}

impl Common {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimStore {
    /// An empty one.
    pub fn new(ground: &Ground, shared: bool) -> Result<SimStore, StoreError> {
        Ok(SimStore { inner: ground.empty()?, shared, common: Arc::default() })
    }

    /// The same store as a further node opens it.
    pub fn beside(self: &Arc<Self>) -> Result<Arc<SimStore>, StoreError> {
        Ok(match self.inner.beside()? {
            Some(inner) => Arc::new(SimStore { inner, shared: self.shared, common: self.common.clone() }),
            None => self.clone(),
        })
    }

    /// May several nodes commit to it?
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// What a restart finds. Over a database it is the same rows: nobody goes on with this store from then on, unless it only
    /// looks.
    pub fn crash_image(&self) -> Result<SimStore, StoreError> {
        let left = self.common.plan().left.take();
        if let Some(batch) = left {
            self.inner.store().commit(&batch)?;
        }
        Ok(SimStore { inner: self.inner.again()?, shared: self.shared, common: Arc::default() })
    }

    /// All that is stored, in memory and by itself, for who tries something.
    pub fn copy(&self) -> Result<SimStore, StoreError> {
        let copy = MemoryStore::new(&keys::KEYSPACES)?;
        let snapshot = self.snapshot()?;
        for spec in keys::KEYSPACES {
            let mut batch = Batch::new();
            let rows = &mut |key: &[u8], value: &[u8]| {
                batch.put(spec.keyspace, key, value);
                ControlFlow::Continue(())
            };
            snapshot.scan(spec.keyspace, &KeyRange::all(), Direction::Forward, usize::MAX, rows)?;
            copy.commit(&batch)?;
        }
        Ok(SimStore { inner: Opening::Memory(copy), shared: self.shared, common: Arc::default() })
    }

    /// Lets a commit fail, after so many that do not. None takes that back.
    pub fn fail(&self, fault: Option<(u64, Fault)>) {
        self.common.plan().fault = fault;
    }

    /// Lets whoever commits next die of it, where the store itself goes on. None takes that back.
    pub fn kill(&self, survives: Option<bool>) {
        self.common.plan().death = survives;
    }

    /// Calls this before each commit, and after it before anybody knows of it.
    pub fn watch(&self, watcher: Option<Watcher>) {
        self.common.plan().watcher = watcher;
    }

    /// The fault of the next commit, if it has one, and the watcher.
    fn next(&self) -> (Option<Fault>, Option<Watcher>) {
        let mut plan = self.common.plan();
        let fault = match &mut plan.fault {
            Some((0, _)) => plan.fault.take().map(|(_, fault)| fault),
            Some((after, _)) => {
                *after -= 1;
                None
            }
            None => None,
        };
        (fault, plan.watcher.clone())
    }

    /// Refuses what another commit has overtaken, as the store itself would.
    fn check_conditions(&self, batch: &Batch) -> Result<(), StoreError> {
        let snapshot = self.snapshot()?;
        for (at, condition) in batch.conditions().iter().enumerate() {
            if snapshot.get(condition.keyspace, &condition.key)? != condition.expected {
                return Err(condition.conflict(at));
            }
        }
        Ok(())
    }

    /// What a commit with a fault tells.
    fn failed(&self, batch: &Batch, fault: Fault) -> Result<(), StoreError> {
        match fault {
            Fault::Full => Err(StoreError::Full { path: self.name().into(), limit: None }),
            Fault::Io => Err(self.error("a simulated fault", false)),
            Fault::Sync { survives } => {
                self.check_conditions(batch)?;
                let mut plan = self.common.plan();
                plan.stopped = true;
                plan.left = survives.then(|| batch.clone());
                Err(self.error("a simulated fault", true))
            }
        }
    }

    fn error(&self, message: &str, fatal: bool) -> StoreError {
        StoreError::Failed { path: self.name().into(), message: message.to_owned(), fatal }
    }
}

/// A commit that somebody looks at when it has been settled, and when it is durable.
struct Watched {
    precommit: Precommit,
    watcher: Option<Watcher>,
}

impl Harden for Watched {
    fn harden(self: Box<Self>) -> Result<(), StoreError> {
        let outcome = self.precommit.harden();
        self.watcher.iter().for_each(|watcher| watcher());
        outcome
    }
}

impl Store for SimStore {
    fn features(&self) -> &Features {
        if self.shared { &SHARED } else { self.inner.store().features() }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.store().snapshot()
    }

    fn snapshot_and_get(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Looked, StoreError> {
        self.inner.store().snapshot_and_get(keyspace, keys)
    }

    fn turn(&self) -> Result<Turn, StoreError> {
        self.turn_and_get(keys::META, &[]).map(|(turn, _)| turn)
    }

    fn turn_and_get(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<(Turn, Values), StoreError> {
        if !self.shared {
            return self.inner.store().turn_and_get(keyspace, keys);
        }
        if self.common.taken.swap(true, Ordering::SeqCst) {
            return Err(self.error("a node waits for a turn that another one keeps", true));
        }
        let common = self.common.clone();
        let free = Turn::new(move || common.taken.store(false, Ordering::SeqCst));
        let (turn, values) = self.inner.turn_and_get(keyspace, keys)?;
        Ok((Turn::new(move || drop((turn, free))), values))
    }

    fn tip(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.store().tip()
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.precommit(batch)?.harden()
    }

    fn precommit(&self, batch: &Batch) -> Result<Precommit, StoreError> {
        let (stopped, death) = {
            let mut plan = self.common.plan();
            (plan.stopped, plan.death.take())
        };
        if stopped {
            return Err(StoreError::Stopped { path: self.name().into(), why: "a simulated fault".into() });
        }
        if let Some(survives) = death {
            if survives {
                self.inner.store().commit(batch)?;
            }
            return Err(self.error("the node dies", true));
        }
        let (fault, watcher) = self.next();
        let look = || watcher.iter().for_each(|watcher| watcher());
        look();
        let outcome = match fault {
            Some(fault) => self.failed(batch, fault).map(|()| Precommit::hardened()),
            None => self.inner.store().precommit(batch),
        };
        look();
        Ok(Precommit::new(Watched { precommit: outcome?, watcher }))
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.inner.store().stats()
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}
