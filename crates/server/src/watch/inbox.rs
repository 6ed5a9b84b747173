//! Where those who commit, those who watch and the thread of the watches meet.
//!
//! Commits come in order, and only while somebody watches; who comes and who goes is noted beside them. A watch counts before it
//! is noted, and a commit is published before it is asked whether anybody counts: so each commit behind the revision of a watch is
//! fed, or there to be read when the thread looks. Behind the end of the thread nobody waits for it.
//!
//! `inbox_orders.rs` tries orders of all of them, with `rounds.rs`.

use std::sync::mpsc::TrySendError;

use super::published::Delivery;
use super::queue::{Entrance, Handed};
use super::sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering, Receiver, SyncSender, fence, sync_channel,
};

/// What the thread is given, in order.
enum Fed<C> {
    Commit(C),
    /// Somebody came or went; and there may be commits that nobody was told of.
    Look,
    /// See [`Behind`].
    Last(Behind),
}

/// What happens behind the commits of a round.
#[derive(Clone, Copy)]
pub(super) enum Behind {
    /// There were commits that nobody can tell any more.
    Gap,
    /// Nothing more is told.
    End,
}

/// Who comes and who goes.
pub(super) enum Wish<W> {
    /// A watch that is to hear of all commits behind a revision.
    Come(Coming<W>),
    /// That of this number.
    Go(u64),
}

type Wishes<W> = Arc<Mutex<Vec<Wish<W>>>>;

/// A watch that comes.
pub(super) struct Coming<W> {
    /// What is watched, as far as it has been told.
    pub(super) watch: W,
    /// The way to it.
    pub(super) outlet: Outlet,
}

/// The way to a watch.
#[derive(Clone)]
pub(super) struct Outlet {
    /// The number of the watch.
    pub(super) number: u64,
    /// Nothing up to this revision is told to it any more.
    pub(super) after: u64,
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

/// The end of those who commit and of those who watch.
pub(super) struct Feeder<C, W> {
    wishes: Wishes<W>,
    count: AtomicUsize,
    next: AtomicU64,
    told: Arc<AtomicU64>,
    feed: SyncSender<Fed<C>>,
}

/// The end of the thread.
pub(super) struct Inbox<C, W> {
    wishes: Wishes<W>,
    told: Arc<AtomicU64>,
    /// None behind the end.
    fed: Option<Receiver<Fed<C>>>,
    round_commits: usize,
}

/// What the thread goes through at once.
pub(super) struct Round<C> {
    /// In order.
    pub(super) commits: Vec<C>,
    /// Did somebody come or go?
    pub(super) looks: bool,
    /// What comes then.
    pub(super) behind: Option<Behind>,
}

/// Both ends. So many commits may wait to be told, past that the executor waits; so many are gone through at once.
pub(super) fn inbox<C, W>(feed_commits: usize, round_commits: usize) -> (Feeder<C, W>, Inbox<C, W>) {
    let (feed, fed) = sync_channel(feed_commits);
    let (wishes, told): (Wishes<W>, Arc<AtomicU64>) = Default::default();
    let inbox = Inbox { wishes: wishes.clone(), told: told.clone(), fed: Some(fed), round_commits };
    (Feeder { wishes, count: AtomicUsize::new(0), next: AtomicU64::new(1), told, feed }, inbox)
}

impl<C, W> Feeder<C, W> {
    /// Watches now.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Is there a watch to which a commit has to be told that is published by now?
    pub(super) fn is_heard(&self) -> bool {
        // A watch counts before the thread looks for what it has to be told, so a commit that this passes over is found there.
        // Both sides write first and read then; the fences keep it so.
        fence(Ordering::SeqCst);
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Feeds a commit that is published, if anybody is there to hear of it. In the order of commits.
    pub(super) fn publish(&self, commit: C) {
        if self.is_heard() {
            // Without the thread there is nobody who waits for it.
            let _ = self.feed.send(Fed::Commit(commit));
        }
    }

    /// Has something happen behind all that is published.
    pub(super) fn then(&self, behind: Behind) {
        // Without the thread everybody has been told the end.
        let _ = self.feed.send(Fed::Last(behind));
    }

    /// Has a watch hear of all commits behind a revision.
    pub(super) fn enter(self: &Arc<Self>, watch: W, after: u64, entrance: &Entrance) -> Place<C, W> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entered = Arc::new(AtomicBool::new(false));
        let outlet = Outlet { number, after, entrance: entrance.clone(), entered: entered.clone() };
        self.count.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.wishes.lock().push(Wish::Come(Coming { watch, outlet }));
        if !self.look() {
            self.take_back(number);
        }
        Place { feeder: self.clone(), number, entered }
    }

    /// Tells a watch that there is no thread any more, unless that told it when it ended.
    fn take_back(&self, number: u64) {
        let mut wishes = self.wishes.lock();
        let is_it = |wish: &Wish<W>| matches!(wish, Wish::Come(coming) if coming.outlet.number == number);
        let Some(at) = wishes.iter().position(is_it) else { return };
        let wish = wishes.swap_remove(at);
        drop(wishes);
        if let Wish::Come(coming) = wish {
            // It would wait for nothing.
            coming.outlet.end(Handed::Failed("the thread of the watches has ended".into()));
        }
    }

    /// Has the thread look at the wishes; false where there is none any more. Where its feed is full it will look anyway.
    fn look(&self) -> bool {
        !matches!(self.feed.try_send(Fed::Look), Err(TrySendError::Disconnected(_)))
    }
}

/// A place among those who watch, given up when dropped.
pub struct Place<C, W> {
    feeder: Arc<Feeder<C, W>>,
    /// The number under which it is handed something.
    pub number: u64,
    entered: Arc<AtomicBool>,
}

impl<C, W> Place<C, W> {
    /// The revision up to which all has been handed over; nothing before it has its turn.
    pub fn told(&self) -> u64 {
        match self.entered.load(Ordering::Acquire) {
            true => self.feeder.told.load(Ordering::Acquire),
            false => 0,
        }
    }
}

impl<C, W> Drop for Place<C, W> {
    fn drop(&mut self) {
        self.feeder.wishes.lock().push(Wish::Go(self.number));
        self.feeder.look();
        self.feeder.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<C, W> Inbox<C, W> {
    /// Waits for something to do, and takes all that waits, up to the limit; nothing where the others are gone.
    pub(super) fn round(&self) -> Option<Round<C>> {
        let fed = self.fed.as_ref()?;
        let mut next = Some(fed.recv().ok()?);
        let mut round = Round { commits: Vec::new(), looks: false, behind: None };
        while let Some(one) = next.take() {
            match one {
                Fed::Commit(commit) => round.commits.push(commit),
                Fed::Look => round.looks = true,
                Fed::Last(behind) => {
                    round.behind = Some(behind);
                    break;
                }
            }
            if round.commits.len() < self.round_commits {
                next = fed.try_recv().ok();
            }
        }
        Some(round)
    }

    /// Who came and who went since it was asked last, in order.
    pub(super) fn wishes(&self) -> Vec<Wish<W>> {
        std::mem::take(&mut *self.wishes.lock())
    }

    /// All who watch have been handed what there is up to a revision.
    pub(super) fn has_told(&self, revision: u64) {
        self.told.store(revision, Ordering::Release);
    }

    /// Nothing is taken from here on: whoever comes later learns of it by that, and those before are among the last wishes.
    pub(super) fn end(&mut self) -> Vec<Wish<W>> {
        self.fed = None;
        self.wishes()
    }
}
