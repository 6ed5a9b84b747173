//! Who is told of which commit: the feed of commits, and the places of those who watch.
//!
//! A thread of its own takes each commit from the executor ([`super::inbox`], [`super::rounds`]) and finds what it means for whom
//! ([`super::teller`]); the others cost nothing. What it has found waits in the queue of whoever watches ([`super::queue`]): one
//! that is too slow is dropped and learns that it has missed something, and nobody waits for it.

use std::sync::Arc;
use std::thread;

use corollary_engine::{Commit, Engine};

use super::inbox::{self, Behind, Feeder, inbox};
use super::queue::Entrance;
use super::rounds::Rounds;
use super::teller::Teller;
use super::tracker::Tracker;

/// Commits that wait to be told; past that the executor waits.
const FEED_COMMITS: usize = 16_384;

/// Commits that are gone through at once.
const ROUND_COMMITS: usize = 256;

/// A place in the hub, given up when dropped.
pub type Place = inbox::Place<Arc<Commit>, Tracker>;

/// See the module.
pub struct Hub {
    feeder: Arc<Feeder<Arc<Commit>, Tracker>>,
    engine: Arc<Engine>,
}

impl Hub {
    /// A hub without watches, and its thread.
    pub fn new(engine: Arc<Engine>) -> Hub {
        let (feeder, inbox) = inbox(FEED_COMMITS, ROUND_COMMITS);
        let mut rounds = Rounds::new(inbox, Teller::new(&engine), engine.revision());
        // The thread ends with the hub and its places, which hold the other end.
        let started = thread::Builder::new().name("watches".into()).spawn(move || rounds.run());
        if let Err(error) = started {
            // Without it no watch hears of anything; better to say so at once.
            panic!("the thread of the watches could not be started: {error}");
        }
        Hub { feeder: Arc::new(feeder), engine }
    }

    /// Ends all watches when they have been told what is published, and those that begin after that.
    pub fn close(&self) {
        self.feeder.then(Behind::End);
    }

    /// What watches read from.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Watches now.
    pub fn len(&self) -> usize {
        self.feeder.len()
    }

    /// Is nobody watching?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is there a watch to which a commit has to be told that is published by now?
    pub fn is_heard(&self) -> bool {
        self.feeder.is_heard()
    }

    /// Tells a commit to whom it concerns. For the executor, in the order of commits.
    pub fn publish(&self, commit: Arc<Commit>) {
        self.feeder.publish(commit);
    }

    /// There were commits that cannot be told: all watches learn that they have missed something.
    pub fn skip(&self) {
        self.feeder.then(Behind::Gap);
    }

    /// Has a watch hear of all commits after a revision.
    pub fn enter(&self, tracker: Tracker, after: u64, entrance: &Entrance) -> Place {
        self.feeder.enter(tracker, after, entrance)
    }
}
