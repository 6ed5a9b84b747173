//! The engine over one store: readers of what is published, and one executor that commits ([`Executor`]).
//!
//! What a commit wrote goes into the cache, then its revision is published; so a reader never sees half a commit. Reads block
//! nobody.

mod ahead;
mod executor;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use corollary_schema::Schema;
use corollary_schema::plan::follows::DEFAULT_BUDGET;
use corollary_store::{Batch, Direction, Feature, KeyRange, Snapshot, Store, StoreError};
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use smol_str::SmolStr;
use tracing::debug_span;

use crate::base::{Base, Revisions};
use crate::cache::{Cache, CacheStats};
use crate::doc::Layout;
use crate::error::EngineError;
use crate::grants::{Grants, Veil};
use crate::keys;
use crate::loaded::Loaded;
use crate::log::{self, Commit};
use crate::nodes::{Head, Nodes};
use crate::processors::Processors;
use crate::spans;
use crate::updates::budget::Budgets;
use crate::updates::gather::GATHERED_OWNERS;
use crate::updates::lag::lags;
use crate::updates::ledger::KnownRows;
use crate::updates::{Ledger, OwnBudget};
use crate::working::Working;

pub(crate) use self::ahead::Group;
pub use self::ahead::Pending;
pub use self::executor::{Committed, Executor, Tick, Transaction};
pub(crate) use self::executor::{Finished, Kept, Put, finish, let_come, run, stored_time};

/// What can be set about an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bytes of decoded documents in memory, about.
    pub cache_bytes: usize,
    /// Resources that one change may reach at each step of the way within its commit; what is beyond is left to an update.
    pub update_budget: usize,
    /// What is otherwise for some types and fields; the last word on each counts.
    pub own_budgets: Vec<OwnBudget>,
    /// The name under which updates are worked on; where nodes share a store each has its own.
    pub node: SmolStr,
    /// Owners whose sums and counts an update that fills them gathers in memory, before it writes any, at most; beyond it
    /// the groups are filled member by member.
    pub gathered_owners: usize,
    /// Goes on with what another node has begun to build over a shared store, which must not work on it any more: it would
    /// be stopped.
    pub take_over: bool,
    /// The text in whose place the schema is served: who opens the data with it again means what is served by now. Of a
    /// server whose schema was changed since it was started with a file.
    pub instead_of: Option<String>,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions {
            cache_bytes: 128 << 20,
            update_budget: DEFAULT_BUDGET,
            own_budgets: Vec::new(),
            gathered_owners: GATHERED_OWNERS,
            node: "local".into(),
            take_over: false,
            instead_of: None,
        }
    }
}

/// What all share: the store, the schema, the cache, and the revision that readers see.
pub struct Engine {
    pub(crate) store: Arc<dyn Store>,
    schema: Arc<Schema>,
    pub(crate) layouts: Arc<[Layout]>,
    pub(crate) cache: Cache,
    pub(crate) revisions: Revisions,
    /// What is known of other nodes; none where there can be none.
    pub(crate) nodes: Option<Nodes>,
    budgets: Budgets,
    pub(crate) gathered_owners: usize,
    node: SmolStr,
    updates: RwLock<Arc<Ledger>>,
    known: Mutex<KnownRows>,
    /// See [`Engine::time`].
    time: Mutex<Timestamp>,
    /// Is another engine to take the place of this one?
    retired: AtomicBool,
    /// Held by reads: whoever retires the engine waits for them.
    reading: RwLock<()>,
    /// What writes pass.
    pub(crate) line: Loaded<Processors>,
    /// Who may do what.
    pub(crate) grants: Loaded<Grants>,
}

impl Engine {
    /// Over a store that is as in a snapshot.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        schema: Arc<Schema>,
        options: &EngineOptions,
        snapshot: &dyn Snapshot,
    ) -> Result<Engine, EngineError> {
        let layouts = Layout::of(&schema).into();
        Engine::with_layouts(store, schema, layouts, options, snapshot)
    }

    /// The same where another engine of the schema has made its layouts.
    pub(crate) fn with_layouts(
        store: Arc<dyn Store>,
        schema: Arc<Schema>,
        layouts: Arc<[Layout]>,
        options: &EngineOptions,
        snapshot: &dyn Snapshot,
    ) -> Result<Engine, EngineError> {
        let revisions = Revisions::new(keys::read_revision(snapshot)?);
        let shared = store.features().has(Feature::Shared);
        let nodes = shared.then(|| Head::read(snapshot)).transpose()?.map(Nodes::new);
        let budgets = Budgets::new(&schema, options.update_budget, &options.own_budgets);
        Ok(Engine {
            store,
            schema,
            layouts,
            cache: Cache::new(options.cache_bytes),
            revisions,
            nodes,
            budgets,
            gathered_owners: options.gathered_owners,
            node: options.node.clone(),
            updates: RwLock::default(),
            known: Mutex::default(),
            time: Mutex::new(Timestamp::MIN),
            retired: AtomicBool::new(false),
            reading: RwLock::default(),
            line: Loaded::default(),
            grants: Loaded::default(),
        })
    }

    /// From now on nothing is read here: the data is going to be opened with another schema, and what this one means by it is
    /// not there any more. Returns when all reads that have begun have ended; later ones are [`EngineError::Superseded`].
    /// The executor has to be gone.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        drop(self.reading.write());
    }

    /// Held as long as something is read.
    pub(crate) fn reader(&self) -> Result<RwLockReadGuard<'_, ()>, EngineError> {
        // A read may be part of another one.
        let reading = self.reading.read_recursive();
        if self.retired.load(Ordering::SeqCst) { Err(EngineError::Superseded) } else { Ok(reading) }
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How documents are stored.
    pub fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What the cache of decoded documents holds, and how often it helped.
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// The last published revision.
    pub fn revision(&self) -> u64 {
        self.revisions.published()
    }

    /// The time as at which all that is stored is right: that of the last commit. It is right at any later time as well
    /// that is before [`Executor::next_due`].
    pub fn time(&self) -> Timestamp {
        *self.time.lock()
    }

    /// The updates that are open, and those that have ended not long ago. They may be ahead of what is published: the commit
    /// in which one ends may be on its way ([`Engine::updates_to_tell`]).
    pub fn updates(&self) -> Arc<Ledger> {
        self.updates.read().clone()
    }

    /// The updates as they stand in a store; `taken_by` says which node takes all of them over, if one does.
    pub(crate) fn load_ledger(
        &self,
        snapshot: &dyn Snapshot,
        taken_by: Option<&str>,
        now: Timestamp,
    ) -> Result<Ledger, EngineError> {
        Ledger::load(snapshot, &self.schema, &self.layouts, taken_by, now, &mut self.known.lock())
    }

    /// The updates as another node, whose head this is, has left them, with what this one alone knows.
    pub(crate) fn load_ledger_again(
        &self,
        snapshot: &dyn Snapshot,
        before: &Ledger,
        head: &Head,
    ) -> Result<Ledger, EngineError> {
        before.load_again(snapshot, &self.schema, &self.layouts, head, &mut self.known.lock())
    }

    /// The updates as they may be told to others: of one that has ended, every read that begins later shows what it did.
    pub fn updates_to_tell(&self) -> Arc<Ledger> {
        let revision = self.revision();
        self.updates().as_of(revision)
    }

    /// Makes a batch durable.
    pub(crate) fn sync(&self, batch: &Batch) -> Result<(), StoreError> {
        let _sync = debug_span!(target: spans::COMMIT, "sync").entered();
        self.store.commit(batch)
    }

    /// Shows updates to readers.
    pub(crate) fn publish_updates(&self, ledger: Arc<Ledger>) {
        *self.updates.write() = ledger;
    }

    /// The name under which updates are worked on.
    pub fn node_name(&self) -> &str {
        &self.node
    }

    pub(crate) fn base(&self) -> Base<'_> {
        Base::new(self)
    }

    /// Tells readers as at which time all is right.
    pub(crate) fn pass(&self, time: Timestamp) {
        *self.time.lock() = time;
    }

    /// A working state in which what is beyond the budget is left to updates. By what updates are open it goes from the
    /// start, so the base cannot take up what others commit any more.
    pub(crate) fn working<'a>(&'a self, base: &'a Base<'a>, now: Timestamp) -> Working<'a> {
        let mut working = Working::new(&self.schema, &self.layouts, base, now);
        working.budgets = Some(&self.budgets);
        working.lags = lags(&self.schema, &base.updates().open);
        working
    }

    /// Reads one consistent state, as of the last published revision or a later one, and of no earlier one than any read
    /// that has ended. `f` may be run twice.
    pub fn read<T>(
        &self,
        now: Timestamp,
        f: impl Fn(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.read_veiled(now, &|_| Ok(None), f)
    }

    /// The same, under what is to hide a part of it.
    pub(crate) fn read_veiled<T>(
        &self,
        now: Timestamp,
        veil: &dyn Fn(&Working<'_>) -> Result<Option<Veil>, EngineError>,
        f: impl Fn(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let _read = debug_span!(target: spans::READ, "read").entered();
        let _reading = self.reader()?;
        let base = self.base();
        base.catch_up()?;
        let read = |base: &Base<'_>| {
            let mut working = Working::new(&self.schema, &self.layouts, base, now);
            working.veil = veil(&working)?;
            f(&working)
        };
        match read(&base) {
            Err(EngineError::Moved) => {
                let base = self.base();
                base.snapshot()?;
                read(&base)
            }
            outcome => outcome,
        }
    }

    /// Reads one consistent state for as long as that takes, as of the last published revision or a later one. It keeps what a
    /// snapshot sees, and nobody waits for it: whoever retires the engine goes on, and `f` reads what was there before. What
    /// is gone through is not put into the cache where it is asked for together.
    pub fn walk<T>(
        &self,
        now: Timestamp,
        f: impl FnOnce(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.walk_veiled(now, |_| Ok(None), f)
    }

    /// The same, under what is to hide a part of it.
    pub(crate) fn walk_veiled<T>(
        &self,
        now: Timestamp,
        veil: impl FnOnce(&Working<'_>) -> Result<Option<Veil>, EngineError>,
        f: impl FnOnce(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let _read = debug_span!(target: spans::READ, "read").entered();
        let base = self.settled_base()?;
        base.pass();
        let mut working = Working::new(&self.schema, &self.layouts, &base, now);
        working.veil = veil(&working)?;
        f(&working)
    }

    /// One consistent state, as of the last published revision or a later one, for as long as it is held.
    pub(crate) fn settled_base(&self) -> Result<Base<'_>, EngineError> {
        let _reading = self.reader()?;
        let base = self.base();
        base.snapshot()?;
        Ok(base)
    }

    /// A working state that is to become one of the past.
    pub(crate) fn past<'a>(&'a self, base: &'a Base<'a>, revision: u64, time: Timestamp) -> Working<'a> {
        let mut working = Working::new(&self.schema, &self.layouts, base, time);
        working.past = Some(revision);
        // Nothing of then is brought up to date any more.
        working.open = Some(Vec::new());
        working
    }

    /// Visits the commits after a revision, in order, until `visit` breaks. False where the log no longer goes back
    /// that far: then nothing was visited.
    pub fn commits_after(
        &self,
        revision: u64,
        visit: &mut dyn FnMut(Commit) -> ControlFlow<()>,
    ) -> Result<bool, EngineError> {
        let _reading = self.reader()?;
        let (snapshot, head) = self.look()?;
        self.follow_to(&head, &*snapshot)?;
        let last = head.revision;
        // What is told from here on must be there for every later read, though it may not be published yet.
        self.revisions.show(last);
        let mut corrupt = false;
        let mut complete = revision >= last;
        let range = KeyRange::from(keys::log(revision.saturating_add(1)));
        let mut expected = revision.saturating_add(1);
        snapshot.scan(keys::LOG, &range, Direction::Forward, usize::MAX, &mut |key, value| {
            let at = key.try_into().map(u64::from_be_bytes);
            let commit = at.ok().and_then(|at| log::decode(&self.schema, &self.layouts, at, value).ok());
            match commit {
                Some(commit) if commit.revision == expected => {
                    (complete, expected) = (true, expected + 1);
                    visit(commit)
                }
                // The log begins later.
                Some(_) if !complete => ControlFlow::Break(()),
                _ => {
                    corrupt = true;
                    ControlFlow::Break(())
                }
            }
        })?;
        if corrupt { Err(EngineError::corrupt(format!("the log at {expected}"))) } else { Ok(complete) }
    }
}
