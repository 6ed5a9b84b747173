//! The executor, those who come and go, and the thread of the watches, over many orders of their steps: the files of the inbox, of the
//! rounds and of the queue themselves, over locks, atomics and channels of which the scheduler of Shuttle decides who goes on.
//!
//! What is around them is as in the engine and in the teller, in small: a log, a published revision that may be behind it, and watches
//! that are told each commit. Whatever the order: a watch that began at a revision is handed all commits behind it, in order, none twice and
//! none missing, until it leaves or is told the end; it is not said to have been told what it does not have; nothing is left of who has left;
//! and everybody is told the end (an order in which somebody waits for ever is found as a deadlock).

#[path = "inbox.rs"]
#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)] // it is there twice on purpose
mod inbox;
#[path = "queue.rs"]
#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)] // it is there twice on purpose
mod queue;
#[path = "rounds.rs"]
#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)] // it is there twice on purpose
mod rounds;

use super::published;
use crate::tests::sync;

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use shuttle::future::block_on;
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;

use inbox::{Behind, Coming, Feeder, Outlet, Place, inbox};
use published::{Delivery, Published};
use queue::{Handed, Queue};
use rounds::{Rounds, Tells};
use sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

/// Orders that are tried of each.
const ORDERS: usize = 3_000;

const COMMITS: u64 = 4;

/// Those who watch until the last commit.
const STAYING: u64 = 2;

/// What may wait for the thread, and be gone through at once: less than there is.
const FEED: usize = 2;
const ROUND: usize = 2;

/// What is done around the inbox; all but the first is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    AsItIs,
    /// The executor feeds a commit before it is published.
    FeedsFirst,
    /// A commit is handed to all, whatever they began with.
    HandsAll,
    /// Who comes is not taken through what the others have been told.
    SkipsCatchingUp,
    /// It says to have told the commits that it was given, though it told more of them, or not all.
    SaysWhatItWasGiven,
    /// Who goes is not taken out.
    KeepsTheGone,
    /// It is looked whether something waits, and only then how far all has been handed over.
    LooksFirst,
}

/// The log, and how much of it is published.
#[derive(Default)]
struct Log {
    commits: Mutex<Vec<u64>>,
    published: AtomicU64,
    /// Is it gone?
    is_gone: AtomicBool,
    /// Can it not be read just now?
    is_away: AtomicBool,
}

impl Log {
    fn append(&self, revision: u64) {
        self.commits.lock().push(revision);
    }

    fn publish(&self, revision: u64) {
        self.published.store(revision, Ordering::SeqCst);
    }

    /// As of which revision somebody reads: of what is published, or a moment earlier, of what is in the log.
    fn read(&self) -> u64 {
        match thread_rng().gen_range(0..2) {
            0 => self.commits.lock().last().copied().unwrap_or(0),
            _ => self.published.load(Ordering::SeqCst),
        }
    }
}

/// Hands each commit to all.
struct Crowd {
    log: Arc<Log>,
    around: Around,
    watches: BTreeMap<u64, Outlet>,
}

impl Crowd {
    fn hand(&self, outlet: &Outlet, revision: u64) -> bool {
        if outlet.after >= revision && self.around != Around::HandsAll {
            return true;
        }
        outlet.hand(Arc::new(Delivery::new(Arc::new(Published::as_of(revision)), Vec::new())))
    }
}

impl Tells for Crowd {
    type Source = Log;
    type Commit = u64;
    type Watch = ();
    type Error = ();

    fn source(&self) -> Option<Arc<Log>> {
        (!self.log.is_gone.load(Ordering::SeqCst)).then(|| self.log.clone())
    }

    fn revision(commit: &u64) -> u64 {
        *commit
    }

    fn published(log: &Log) -> u64 {
        log.published.load(Ordering::SeqCst)
    }

    fn log(log: &Log, after: u64) -> Result<Option<Vec<u64>>, ()> {
        if log.is_away.load(Ordering::SeqCst) {
            return Err(());
        }
        Ok(Some(log.commits.lock().iter().copied().filter(|revision| *revision > after).collect()))
    }

    fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    fn come(&mut self, log: &Log, coming: Coming<()>, seen: u64) -> Result<(), ()> {
        let outlet = coming.outlet;
        if outlet.after < seen && self.around != Around::SkipsCatchingUp {
            let missed = Crowd::log(log, outlet.after)?.unwrap_or_default();
            for revision in missed.into_iter().filter(|revision| *revision <= seen) {
                if !self.hand(&outlet, revision) {
                    return Ok(());
                }
            }
        }
        outlet.enter();
        self.watches.insert(outlet.number, outlet);
        Ok(())
    }

    fn go(&mut self, _: &Log, number: u64) {
        if self.around != Around::KeepsTheGone {
            self.watches.remove(&number);
        }
    }

    fn tell(&mut self, log: &Log, commits: &[u64]) -> Result<Option<u64>, ()> {
        let mut all = commits.to_vec();
        if thread_rng().gen_bool(0.5) {
            // As where states are needed, which are there as far as somebody reads.
            let to = log.read();
            all = Crowd::log(log, commits[0] - 1)?.unwrap_or_default();
            all.retain(|revision| *revision <= to);
        }
        for revision in &all {
            let mut watches = std::mem::take(&mut self.watches);
            watches.retain(|_, outlet| self.hand(outlet, *revision) || self.around == Around::KeepsTheGone);
            self.watches = watches;
        }
        match self.around {
            Around::SaysWhatItWasGiven => Ok(commits.last().copied()),
            _ => Ok(Some(all.last().copied().unwrap_or(commits[0] - 1))),
        }
    }

    fn settle(&mut self, _: &Log) -> Result<(), ()> {
        Ok(())
    }

    fn last((): &()) -> (Handed, bool) {
        (Handed::Failed("the log cannot be read".into()), false)
    }

    fn end(&mut self, last: impl Fn() -> Handed) {
        self.watches.values().for_each(|outlet| outlet.end(last()));
        self.watches.clear();
    }
}

struct World {
    log: Arc<Log>,
    feeder: Arc<Feeder<u64, ()>>,
    around: Around,
    found: Found,
}

/// What is wrong, told behind the run: nobody panics while others have a place, who would need the scheduler to give it up.
#[derive(Clone, Default)]
struct Found(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

impl Found {
    fn unless(&self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.0.lock().expect("nobody panics with it").push(what());
        }
    }

    fn check(&self) {
        let found = std::mem::take(&mut *self.0.lock().expect("nobody panics with it"));
        assert!(found.is_empty(), "{found:?}");
    }
}

/// A watch that has begun.
struct Watch {
    place: Place<u64, ()>,
    queue: Queue,
    after: u64,
    /// It has been handed all up to here.
    seen: u64,
    around: Around,
    found: Found,
}

/// What a watch was handed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Took {
    Commit,
    /// That it has missed something.
    Gap,
    /// That nothing more is told.
    End,
    /// That it cannot go on: there is no thread, or the log could not be read.
    Failure,
}

impl World {
    /// With its thread, which gives back how many watches it has when it ends.
    fn begin(around: Around) -> (Arc<World>, thread::JoinHandle<usize>) {
        let log: Arc<Log> = Arc::default();
        let (feeder, inbox) = inbox(FEED, ROUND);
        let crowd = Crowd { log: log.clone(), around, watches: BTreeMap::new() };
        let thread = thread::spawn(move || {
            let mut rounds = Rounds::new(inbox, crowd, 0);
            rounds.run();
            rounds.tells.watches.len()
        });
        (Arc::new(World { log, feeder: Arc::new(feeder), around, found: Found::default() }), thread)
    }

    /// As the executor does.
    fn commit(&self, revision: u64) {
        self.log.append(revision);
        if self.around == Around::FeedsFirst {
            self.feeder.publish(revision);
            self.log.publish(revision);
        } else {
            self.log.publish(revision);
            self.feeder.publish(revision);
        }
    }

    fn watch(&self) -> Watch {
        let (queue, after) = (Queue::default(), self.log.read());
        let place = self.feeder.enter((), after, &queue.entrance());
        Watch { place, queue, after, seen: after, around: self.around, found: self.found.clone() }
    }

    /// Behind all of it: nothing was wrong, nobody counts any more, and nothing is left of anybody.
    fn end(self: Arc<World>, thread: thread::JoinHandle<usize>) {
        let (found, counted) = (self.found.clone(), self.feeder.len());
        drop(self);
        let left = thread.join().expect("the thread");
        assert_eq!((counted, left), (0, 0), "those who count, and those whom the thread has");
        found.check();
    }
}

impl Watch {
    /// Takes note of what it is handed.
    fn take(&mut self, (number, handed): (u64, Handed)) -> Took {
        self.found.unless(number == self.place.number, || format!("{number} is somebody else"));
        let took = match handed {
            Handed::Told(delivery) => {
                let revision = delivery.published.commit.revision;
                let (seen, after) = (self.seen, self.after);
                self.found
                    .unless(revision == seen + 1, || format!("{revision} behind {seen}, after {after}"));
                self.seen = revision;
                return Took::Commit;
            }
            Handed::Missed(_) => Took::Gap,
            Handed::Ended => Took::End,
            Handed::Failed(_) => Took::Failure,
        };
        self.found.unless(self.queue.at_hand().is_none(), || "something comes behind the last word".into());
        took
    }

    fn next(&mut self) -> Took {
        let handed = block_on(self.queue.next());
        self.take(handed)
    }

    /// Says how far it has been told, as it does from time to time when nothing waits (`stream.rs`); the end, where it is handed that.
    fn says(&mut self) -> Option<Took> {
        let (told, handed) = match self.around {
            Around::LooksFirst => {
                let handed = self.queue.at_hand();
                (self.place.told(), handed)
            }
            _ => (self.place.told(), self.queue.at_hand()),
        };
        if let Some(handed) = handed {
            return Some(self.take(handed)).filter(|took| *took != Took::Commit);
        }
        self.found.unless(told <= self.seen, || format!("it has {}, and says {told}", self.seen));
        None
    }

    /// Goes on until it has the last commit.
    fn stay(mut self) {
        while self.seen < COMMITS {
            let took = self.next();
            self.found.unless(took == Took::Commit, || "nobody ended it".into());
        }
    }

    /// Goes on until it is told the end, and says what it has been told in between; up to which revision it has been handed all.
    fn until_the_end(mut self) -> u64 {
        loop {
            let took = self.says().unwrap_or_else(|| self.next());
            if took != Took::Commit {
                self.found.unless(took == Took::End, || "it ended otherwise".into());
                return self.seen;
            }
        }
    }
}

/// Commits, while watches begin and end; then all is closed.
fn come_and_go(around: Around) {
    let (world, thread) = World::begin(around);
    let (enter, entered) = sync::sync_channel(FEED);
    let mut others: Vec<_> = (0..STAYING)
        .map(|_| {
            let (world, enter) = (world.clone(), enter.clone());
            thread::spawn(move || {
                let watch = world.watch();
                enter.send(()).expect("it is waited for");
                let seen = watch.until_the_end();
                world.found.unless(seen == COMMITS, || format!("it was handed all up to {seen} alone"));
            })
        })
        .collect();
    let leaving = world.clone();
    others.push(thread::spawn(move || {
        let mut watch = leaving.watch();
        watch.says();
        drop(watch);
        // And once more.
        leaving.watch().says();
    }));
    (1..=COMMITS).for_each(|revision| world.commit(revision));
    // Who comes later may be told the end at once.
    (0..STAYING).for_each(|_| entered.recv().expect("it comes"));
    world.feeder.then(Behind::End);
    others.into_iter().for_each(|other| other.join().expect("it watches"));
    // Who comes now is told at once.
    world.watch().until_the_end();
    world.end(thread);
}

/// The same, and nobody is told the end: all of it comes by itself.
fn stay(around: Around) {
    let (world, thread) = World::begin(around);
    let watching = || {
        let world = world.clone();
        thread::spawn(move || world.watch().stay())
    };
    let watches: Vec<_> = (0..STAYING).map(|_| watching()).collect();
    (1..=COMMITS).for_each(|revision| world.commit(revision));
    watches.into_iter().for_each(|watch| watch.join().expect("it watches"));
    world.end(thread);
}

/// Closed while commits go on: who watches then has all that was published before.
fn close() {
    let (world, thread) = World::begin(Around::AsItIs);
    let watching = || {
        let world = world.clone();
        thread::spawn(move || world.watch().until_the_end())
    };
    let watches: Vec<_> = (0..STAYING).map(|_| watching()).collect();
    (1..=2).for_each(|revision| world.commit(revision));
    let early = world.watch();
    world.feeder.then(Behind::End);
    (3..=COMMITS).for_each(|revision| world.commit(revision));
    let seen = early.until_the_end();
    world.found.unless(seen >= 2, || format!("it was handed all up to {seen} alone"));
    watches.into_iter().for_each(|watch| {
        watch.join().expect("it watches");
    });
    world.end(thread);
}

/// The engine is gone at some moment, and with it the thread: nobody waits for it, whenever they come.
fn source_gone() {
    let (world, thread) = World::begin(Around::AsItIs);
    let watching = || {
        let world = world.clone();
        thread::spawn(move || {
            let mut watch = world.watch();
            while watch.next() == Took::Commit {}
        })
    };
    let watches: Vec<_> = (0..STAYING).map(|_| watching()).collect();
    world.commit(1);
    world.log.is_gone.store(true, Ordering::SeqCst);
    world.commit(2);
    world.feeder.then(Behind::Gap);
    watches.into_iter().for_each(|watch| watch.join().expect("it watches"));
    thread.join().expect("the thread");
    world.found.check();
}

/// Some commits cannot be told. Who has missed them is told so and begins anew, as clients do.
fn gap() {
    let (world, thread) = World::begin(Around::AsItIs);
    let watching = world.clone();
    let watch = thread::spawn(move || {
        let mut watch = watching.watch();
        while watch.seen < COMMITS {
            match watch.next() {
                Took::Commit => {}
                Took::Gap => watch = watching.watch(),
                _ => watch.found.unless(false, || "nobody ended it".into()),
            }
        }
    });
    world.commit(1);
    world.feeder.then(Behind::Gap);
    (2..=COMMITS).for_each(|revision| world.commit(revision));
    watch.join().expect("it watches");
    world.end(thread);
}

/// What a watch has missed could not be read when it came, and so it was told nothing for ever, and those who came with it: the first
/// error was the end of what had been taken in. Now each is told, and begins anew, as clients do.
fn log_away() {
    let (world, thread) = World::begin(Around::AsItIs);
    let watching = || {
        let world = world.clone();
        thread::spawn(move || {
            let mut watch = world.watch();
            while watch.seen < COMMITS {
                match watch.next() {
                    Took::Commit => {}
                    Took::Failure => watch = world.watch(),
                    _ => watch.found.unless(false, || "nobody ended it".into()),
                }
            }
        })
    };
    let watches: Vec<_> = (0..STAYING).map(|_| watching()).collect();
    (1..=2).for_each(|revision| world.commit(revision));
    world.log.is_away.store(true, Ordering::SeqCst);
    (3..=COMMITS).for_each(|revision| world.commit(revision));
    world.log.is_away.store(false, Ordering::SeqCst);
    watches.into_iter().for_each(|watch| watch.join().expect("it watches"));
    world.end(thread);
}

fn check(play: fn()) {
    shuttle::check_random(play, ORDERS);
    shuttle::check_pct(play, ORDERS, 3);
}

#[test]
fn a_watch_is_handed_all_behind_its_revision_whatever_the_order() {
    check(|| come_and_go(Around::AsItIs));
    check(|| stay(Around::AsItIs));
}

#[test]
fn closing_ends_everybody_whatever_the_order() {
    check(close);
}

#[test]
fn nobody_waits_for_a_thread_that_has_ended() {
    check(source_gone);
}

#[test]
fn nobody_waits_for_a_log_that_was_away() {
    check(log_away);
}

#[test]
fn a_gap_is_told_to_everybody_and_no_more() {
    check(gap);
}

/// What is wrong is seen: otherwise the tests above would say nothing.
#[test]
fn what_is_wrong_around_the_inbox_is_seen() {
    for around in [
        Around::FeedsFirst,
        Around::HandsAll,
        Around::SkipsCatchingUp,
        Around::SaysWhatItWasGiven,
        Around::KeepsTheGone,
        Around::LooksFirst,
    ] {
        let play = move || match around {
            // Where all are told the end nobody is left in any case.
            Around::KeepsTheGone => stay(around),
            _ => come_and_go(around),
        };
        let found = catch_unwind(|| shuttle::check_random(play, ORDERS)).is_err()
            || catch_unwind(|| shuttle::check_pct(play, 4 * ORDERS, 3)).is_err();
        assert!(found, "{around:?} is not seen");
    }
}
