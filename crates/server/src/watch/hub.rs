//! Who is told of which commit.
//!
//! A thread of its own takes each commit from the executor and hands it to the watches of the resources that it
//! changed and of their types; the others cost nothing. Every watch has a bounded queue: one that is too slow is
//! dropped and learns that it has missed something, and nobody waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use corollary_engine::{Change, Commit, Engine, Key};
use corollary_schema::TypeIx;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::event;
use crate::mounts;

/// Commits that wait for a watch; one more and it has missed something.
const WATCH_QUEUE_COMMITS: usize = 1_024;

/// Commits that wait to be told; past that the executor waits.
const FEED_COMMITS: usize = 16_384;

/// A commit with the parts of its events that are the same for all watches, made once.
pub struct Published {
    /// The commit.
    pub commit: Arc<Commit>,
    bodies: Vec<OnceLock<Bytes>>,
    /// The same for all watches of a mount, by its path and the change.
    mounted: Mutex<HashMap<(String, usize), Bytes>>,
}

impl Published {
    /// Nothing rendered yet.
    pub fn new(commit: Arc<Commit>) -> Published {
        let bodies = commit.changes.iter().map(|_| OnceLock::new()).collect();
        Published { commit, bodies, mounted: Mutex::default() }
    }

    /// The change at a position, with what every watch shows of it.
    pub fn change(&self, engine: &Engine, at: usize) -> (&Change, Bytes) {
        let change = &self.commit.changes[at];
        let body = self.bodies[at].get_or_init(|| event::body(engine, &self.commit, change, None));
        (change, body.clone())
    }

    /// The same with what every watch of a mount shows of it.
    pub fn change_in(&self, engine: &Engine, at: usize, scope: &Arc<mounts::Scope>) -> (&Change, Bytes) {
        let change = &self.commit.changes[at];
        let known = self.mounted.lock().get(&(scope.base().to_string(), at)).cloned();
        let body = known.unwrap_or_else(|| {
            let body = event::body(engine, &self.commit, change, Some(scope));
            self.mounted.lock().insert((scope.base().to_string(), at), body.clone());
            body
        });
        (change, body)
    }
}

/// What a watch is of.
#[derive(Clone, Debug)]
pub enum Scope {
    /// One resource.
    Resource(Key),
    /// All resources of some types; the watch itself looks which of them it is about.
    Types(Vec<TypeIx>),
}

struct Watch {
    number: u64,
    queue: mpsc::Sender<Arc<Published>>,
    missed: Arc<AtomicBool>,
}

#[derive(Default)]
struct Registry {
    /// Does nobody hear of anything any more?
    closed: bool,
    by_key: HashMap<Key, Vec<Watch>>,
    /// There are no more of these than kinds of lists in the schema.
    by_types: HashMap<Vec<TypeIx>, Vec<Watch>>,
}

/// What the thread is given, in order.
enum Fed {
    Commit(Arc<Commit>),
    /// There were commits that nobody can tell any more.
    Gap,
    /// Nothing more is told.
    End,
}

/// See the module.
pub struct Hub {
    registry: Arc<Mutex<Registry>>,
    count: AtomicUsize,
    next: AtomicU64,
    feed: SyncSender<Fed>,
    engine: Arc<Engine>,
}

/// A place in the hub, given up when dropped.
pub struct Subscription {
    hub: Arc<Hub>,
    scope: Scope,
    number: u64,
    queue: mpsc::Receiver<Arc<Published>>,
    missed: Arc<AtomicBool>,
}

impl Hub {
    /// A hub without watches, and its thread.
    pub fn new(engine: Arc<Engine>) -> Hub {
        let (feed, commits) = sync_channel::<Fed>(FEED_COMMITS);
        let registry: Arc<Mutex<Registry>> = Arc::default();
        let told = registry.clone();
        // The thread ends with the hub, which holds the other end.
        let started = thread::Builder::new().name("watches".into()).spawn(move || {
            for fed in commits {
                match fed {
                    Fed::Commit(commit) => tell(&mut told.lock(), &Arc::new(Published::new(commit))),
                    Fed::Gap => lose(&mut told.lock()),
                    Fed::End => *told.lock() = Registry { closed: true, ..Registry::default() },
                }
            }
        });
        if let Err(error) = started {
            // Without it no watch hears of anything; better to say so at once.
            panic!("the thread of the watches could not be started: {error}");
        }
        Hub { registry, count: AtomicUsize::new(0), next: AtomicU64::new(0), feed, engine }
    }

    /// Ends all watches when they have been told what is published, and those that begin after that.
    pub fn close(&self) {
        // The thread lives as long as the hub.
        let _ = self.feed.send(Fed::End);
    }

    /// What watches read from.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Watches now.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Is nobody watching?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is there a watch to which a commit has to be told that is published by now?
    pub fn is_heard(&self) -> bool {
        // A watch counts before it looks at the published revision, so one that this passes over will find the commit
        // in what it reads. Both sides write first and read then; the fences keep it so.
        fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Tells a commit to whom it concerns. For the executor, in the order of commits.
    pub fn publish(&self, commit: Arc<Commit>) {
        if self.is_heard() {
            // The thread lives as long as the hub.
            let _ = self.feed.send(Fed::Commit(commit));
        }
    }

    /// There were commits that cannot be told: all watches learn that they have missed something.
    pub fn skip(&self) {
        // The thread lives as long as the hub.
        let _ = self.feed.send(Fed::Gap);
    }

    /// Begins to hear of all commits from now on.
    pub fn subscribe(self: &Arc<Hub>, scope: Scope) -> Subscription {
        let (sender, queue) = mpsc::channel(WATCH_QUEUE_COMMITS);
        let missed = Arc::new(AtomicBool::new(false));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let watch = Watch { number, queue: sender, missed: missed.clone() };
        {
            let mut registry = self.registry.lock();
            match &scope {
                // The watch goes, and so its queue ends.
                _ if registry.closed => {}
                Scope::Resource(key) => registry.by_key.entry(key.clone()).or_default().push(watch),
                Scope::Types(types) => registry.by_types.entry(types.clone()).or_default().push(watch),
            }
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        Subscription { hub: self.clone(), scope, number, queue, missed }
    }
}

fn tell(registry: &mut Registry, published: &Arc<Published>) {
    let mut types: Vec<TypeIx> = Vec::new();
    for change in &published.commit.changes {
        if let Some(watches) = registry.by_key.get_mut(&change.key) {
            hand_out(watches, published);
        }
        if !types.contains(&change.key.ty) {
            types.push(change.key.ty);
        }
    }
    for (of, watches) in &mut registry.by_types {
        if of.iter().any(|ty| types.contains(ty)) {
            hand_out(watches, published);
        }
    }
}

fn hand_out(watches: &mut Vec<Watch>, published: &Arc<Published>) {
    watches.retain(|watch| match watch.queue.try_send(published.clone()) {
        Ok(()) => true,
        Err(_) => {
            watch.missed.store(true, Ordering::Release);
            false
        }
    });
}

fn lose(registry: &mut Registry) {
    let watches = registry.by_key.drain().map(|(_, watches)| watches);
    for watch in watches.chain(registry.by_types.drain().map(|(_, watches)| watches)).flatten() {
        watch.missed.store(true, Ordering::Release);
    }
}

impl Subscription {
    /// The next commit; none when it has missed one.
    pub async fn next(&mut self) -> Option<Arc<Published>> {
        self.queue.recv().await
    }

    /// Has it missed a commit, for being too slow?
    pub fn missed(&self) -> bool {
        self.missed.load(Ordering::Acquire)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.count.fetch_sub(1, Ordering::SeqCst);
        let mut registry = self.hub.registry.lock();
        let registry = &mut *registry;
        match &self.scope {
            Scope::Resource(key) => {
                if let Some(watches) = registry.by_key.get_mut(key) {
                    watches.retain(|watch| watch.number != self.number);
                    if watches.is_empty() {
                        registry.by_key.remove(key);
                    }
                }
            }
            Scope::Types(types) => {
                if let Some(watches) = registry.by_types.get_mut(types) {
                    watches.retain(|watch| watch.number != self.number);
                    if watches.is_empty() {
                        registry.by_types.remove(types);
                    }
                }
            }
        }
    }
}
