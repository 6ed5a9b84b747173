//! Who is told of which commit: the feed of commits, and the places of those who watch.
//!
//! A thread of its own ([`super::teller`]) takes each commit from the executor and finds what it means for whom; the others cost
//! nothing. What it has found waits in the queue of whoever watches ([`super::queue`]): one that is too slow is dropped and
//! learns that it has missed something, and nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use corollary_engine::{Commit, Engine};
use parking_lot::Mutex;

use super::published::Delivery;
use super::queue::{Entrance, Handed};
use super::teller::Teller;
use super::tracker::Tracker;

/// Commits that wait to be told; past that the executor waits.
const FEED_COMMITS: usize = 16_384;

/// Why a watch has missed something that the log does not tell any more.
pub const TOO_OLD: &str = "the log no longer goes back that far (410): list again, and watch from there";

/// What the thread is given, in order.
pub(super) enum Fed {
    Commit(Arc<Commit>),
    /// Somebody came or went; and there may be commits that nobody was told of.
    Look,
    /// There were commits that nobody can tell any more.
    Gap,
    /// Nothing more is told.
    End,
}

/// Who comes and who goes.
pub(super) enum Wish {
    /// A watch that is to hear of all commits after a revision.
    Come(u64, Tracker, u64, Outlet),
    Go(u64),
}

/// The way to a watch.
pub(super) struct Outlet {
    number: u64,
    entrance: Entrance,
    entered: Arc<AtomicBool>,
}

impl Outlet {
    /// From now on it is told of each commit with all others.
    pub(super) fn enter(&self) {
        self.entered.store(true, Ordering::Release);
    }

    /// Hands something over; false where there is no room, or nobody any more.
    pub(super) fn hand(&self, delivery: Arc<Delivery>) -> bool {
        self.entrance.hand(self.number, delivery)
    }

    /// The last word, for which there is always room.
    pub(super) fn end(&self, last: Handed) {
        self.entrance.end(self.number, last);
    }
}

/// A place in the hub, given up when dropped.
pub struct Place {
    hub: Arc<Hub>,
    /// The number under which it is handed something.
    pub number: u64,
    entered: Arc<AtomicBool>,
}

impl Place {
    /// The revision up to which all has been handed over; nothing before it has its turn.
    pub fn told(&self) -> u64 {
        match self.entered.load(Ordering::Acquire) {
            true => self.hub.told.load(Ordering::Acquire),
            false => 0,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.wishes.lock().push(Wish::Go(self.number));
        self.hub.look();
        self.hub.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// See the module.
pub struct Hub {
    wishes: Arc<Mutex<Vec<Wish>>>,
    count: AtomicUsize,
    next: AtomicU64,
    /// Up to where all have been told.
    told: Arc<AtomicU64>,
    feed: SyncSender<Fed>,
    engine: Arc<Engine>,
}

impl Hub {
    /// A hub without watches, and its thread.
    pub fn new(engine: Arc<Engine>) -> Hub {
        let (feed, fed) = sync_channel::<Fed>(FEED_COMMITS);
        let wishes: Arc<Mutex<Vec<Wish>>> = Arc::default();
        let told = Arc::new(AtomicU64::new(0));
        let mut teller = Teller::new(&engine, wishes.clone(), told.clone());
        // The thread ends with the hub, which holds the other end.
        let started = thread::Builder::new().name("watches".into()).spawn(move || teller.run(&fed));
        if let Err(error) = started {
            // Without it no watch hears of anything; better to say so at once.
            panic!("the thread of the watches could not be started: {error}");
        }
        Hub { wishes, count: AtomicUsize::new(0), next: AtomicU64::new(1), told, feed, engine }
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
        // A watch counts before the thread looks for what it has to be told, so a commit that this passes over is found there.
        // Both sides write first and read then; the fences keep it so.
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

    /// Has a watch hear of all commits after a revision.
    pub fn enter(self: &Arc<Hub>, tracker: Tracker, after: u64, entrance: &Entrance) -> Place {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entered: Arc<AtomicBool> = Arc::default();
        let outlet = Outlet { number, entrance: entrance.clone(), entered: entered.clone() };
        self.count.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.wishes.lock().push(Wish::Come(number, tracker, after, outlet));
        if !self.look() {
            // It would wait for nothing.
            let detail = "the thread of the watches has ended".into();
            entrance.end(number, Handed::Failed(detail));
        }
        Place { hub: self.clone(), number, entered }
    }

    /// Has the thread look at the wishes; false where there is none any more. Where its feed is full it will look anyway.
    fn look(&self) -> bool {
        !matches!(self.feed.try_send(Fed::Look), Err(TrySendError::Disconnected(_)))
    }
}
