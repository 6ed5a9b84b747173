//! A store in memory that fails when it is told to, and lets a reader look at the engine in the middle of a commit. It may be
//! shared by several nodes, of which one can die within a commit while the others go on.

use std::sync::{Arc, Mutex, PoisonError};

use corollary_engine::keys;
use corollary_store::{
    Batch, Fault, Feature, Features, MemoryStore, Snapshot, Store, StoreError, StoreStats, Transactions,
};

/// What happens in the middle of a commit.
pub type Watcher = Arc<dyn Fn() + Send + Sync>;

const SHARED: Features =
    Features { transactions: Transactions::Optimistic, available: &[Feature::Snapshot, Feature::Shared] };

/// See the module.
pub struct SimStore {
    inner: MemoryStore,
    shared: bool,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    /// After so many further commits, one fails.
    fault: Option<(u64, Fault)>,
    /// Whoever commits next dies; what it commits is there, or not.
    death: Option<bool>,
    watcher: Option<Watcher>,
}

impl SimStore {
    /// An empty one.
    pub fn new(shared: bool) -> Result<SimStore, StoreError> {
        Ok(SimStore::over(MemoryStore::new(&keys::KEYSPACES)?, shared))
    }

    fn over(inner: MemoryStore, shared: bool) -> SimStore {
        SimStore { inner, shared, plan: Mutex::default() }
    }

    /// May several nodes commit to it?
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// What a restart would find.
    pub fn crash_image(&self) -> SimStore {
        SimStore::over(self.inner.crash_image(), self.shared)
    }

    /// Lets a commit fail, after so many that do not. None takes that back.
    pub fn fail(&self, fault: Option<(u64, Fault)>) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).fault = fault;
    }

    /// Lets whoever commits next die of it, where the store itself goes on. None takes that back.
    pub fn kill(&self, survives: Option<bool>) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).death = survives;
    }

    /// Calls this before each commit, and after it before anybody knows of it.
    pub fn watch(&self, watcher: Option<Watcher>) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).watcher = watcher;
    }

    /// The fault of the next commit, if it has one, and the watcher.
    fn next(&self) -> (Option<Fault>, Option<Watcher>) {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
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
}

impl Store for SimStore {
    fn features(&self) -> &Features {
        if self.shared { &SHARED } else { self.inner.features() }
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.inner.snapshot()
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let death = self.plan.lock().unwrap_or_else(PoisonError::into_inner).death.take();
        if let Some(survives) = death {
            if survives {
                self.inner.commit(batch)?;
            }
            let (path, message) = ("(memory)".into(), "the node dies".to_owned());
            return Err(StoreError::Failed { path, message, fatal: true });
        }
        let (fault, watcher) = self.next();
        if let Some(fault) = fault {
            self.inner.fail_next_commit(fault);
        }
        let look = || watcher.iter().for_each(|watcher| watcher());
        look();
        let outcome = self.inner.commit(batch);
        look();
        outcome
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.inner.stats()
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}
