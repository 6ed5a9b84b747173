//! The rounds of the thread of the watches: who comes and goes, and which commits are gone through for whom.
//!
//! It takes commits in rounds, all that wait at once, and goes through them in order.
//!
//! What always holds: each watch is taken through every commit behind the revision from which it began, once, in order, until its
//! last word. A commit that was not fed, because nobody was there to hear of it, is read from the log. What commits mean for whom is
//! the business of who `Tells`: the `teller`.
//!
//! `inbox_orders.rs` tries orders of the thread, of the executor, and of those who come and go.

use super::inbox::{Behind, Coming, Inbox, Round, Wish};
use super::queue::Handed;
use super::sync::Arc;

/// Why a watch has missed something that the log does not tell any more.
pub const TOO_OLD: &str = "the log no longer goes back that far (410): list again, and watch from there";

/// What commits mean for those who watch, who are told.
pub(super) trait Tells {
    /// Where commits are published and kept.
    type Source;
    type Commit;
    /// What is watched.
    type Watch;
    type Error;

    /// Nothing where it is gone.
    fn source(&self) -> Option<Arc<Self::Source>>;

    fn revision(commit: &Self::Commit) -> u64;

    /// The last revision that is published.
    fn published(source: &Self::Source) -> u64;

    /// All commits behind a revision that are stored, which may be more than are published; nothing where the log no longer has them.
    fn log(source: &Self::Source, after: u64) -> Result<Option<Vec<Self::Commit>>, Self::Error>;

    /// Does nobody watch?
    fn is_empty(&self) -> bool;

    /// Somebody comes: takes it through what is behind its revision up to `seen`, which the others have been told, and lets it be told
    /// with them, unless that ended it. The error is its own: the others have been told all that.
    fn come(
        &mut self,
        source: &Self::Source,
        coming: Coming<Self::Watch>,
        seen: u64,
    ) -> Result<(), Self::Error>;

    /// Somebody goes, who may have ended.
    fn go(&mut self, source: &Self::Source, number: u64);

    /// Takes all through some commits, in order, as far as their states are there, which may be further than these or not as far; returns
    /// the revision of the last that it came to, and nothing where what has to be known of them is not any more.
    fn tell(&mut self, source: &Self::Source, commits: &[Self::Commit]) -> Result<Option<u64>, Self::Error>;

    /// Behind the commits of a round.
    fn settle(&mut self, source: &Self::Source) -> Result<(), Self::Error>;

    /// What those are told who cannot go on for this reason, and is that the end of all?
    fn last(error: &Self::Error) -> (Handed, bool);

    /// Ends all watches with this, one by one.
    fn end(&mut self, last: impl Fn() -> Handed);
}

/// See the module.
pub(super) struct Rounds<T: Tells> {
    inbox: Inbox<T::Commit, T::Watch>,
    pub(super) tells: T,
    /// All up to here has been gone through.
    seen: u64,
    closed: bool,
}

impl<T: Tells> Rounds<T> {
    /// Nobody watches yet, and all up to a revision is behind those who come.
    pub(super) fn new(inbox: Inbox<T::Commit, T::Watch>, tells: T, seen: u64) -> Rounds<T> {
        Rounds { inbox, tells, seen, closed: false }
    }

    /// Goes on until the other end is gone, or the source.
    pub(super) fn run(&mut self) {
        while let Some(round) = self.inbox.round() {
            let Some(source) = self.tells.source() else { return };
            self.go_round(&source, round);
        }
    }

    fn go_round(&mut self, source: &T::Source, round: Round<T::Commit>) {
        let behind = round.behind;
        self.come_and_go(source);
        let outcome = self.go_through(source, round).and_then(|()| self.tells.settle(source));
        match outcome {
            Ok(()) => self.inbox.has_told(self.seen),
            Err(error) => {
                self.closed |= T::last(&error).1;
                self.tells.end(|| T::last(&error).0);
            }
        }
        match behind {
            Some(Behind::Gap) => self.lose(),
            Some(Behind::End) => {
                self.closed = true;
                self.tells.end(|| Handed::Ended);
            }
            None => {}
        }
    }

    /// Lets come and go who wants to.
    fn come_and_go(&mut self, source: &T::Source) {
        for wish in self.inbox.wishes() {
            match wish {
                Wish::Go(number) => self.tells.go(source, number),
                Wish::Come(coming) if self.closed => coming.outlet.end(Handed::Ended),
                Wish::Come(coming) => {
                    if self.tells.is_empty() {
                        // Nobody was told of what has been until then.
                        self.seen = self.seen.max(coming.outlet.after);
                    }
                    let outlet = coming.outlet.clone();
                    if let Err(error) = self.tells.come(source, coming, self.seen) {
                        outlet.end(T::last(&error).0);
                    }
                }
            }
        }
    }

    /// Goes through the commits that were fed, or through the log where that has others.
    fn go_through(&mut self, source: &T::Source, round: Round<T::Commit>) -> Result<(), T::Error> {
        let Round { mut commits, looks, .. } = round;
        if self.tells.is_empty() {
            if let Some(last) = commits.last() {
                self.seen = self.seen.max(T::revision(last));
            }
            return Ok(());
        }
        commits.retain(|commit| T::revision(commit) > self.seen);
        let follows = commits.first().is_none_or(|first| T::revision(first) == self.seen + 1);
        if !follows || (commits.is_empty() && looks && T::published(source) > self.seen) {
            let Some(found) = T::log(source, self.seen)? else {
                self.lose();
                return Ok(());
            };
            commits = found;
        }
        if commits.is_empty() {
            return Ok(());
        }
        match self.tells.tell(source, &commits)? {
            Some(last) => self.seen = last,
            None => self.lose(),
        }
        Ok(())
    }

    fn lose(&mut self) {
        self.tells.end(|| Handed::Missed(TOO_OLD.into()));
    }
}

/// However the thread ends, nobody waits for it.
impl<T: Tells> Drop for Rounds<T> {
    fn drop(&mut self) {
        for wish in self.inbox.end() {
            if let Wish::Come(coming) = wish {
                coming.outlet.end(Handed::Ended);
            }
        }
        self.tells.end(|| Handed::Ended);
    }
}
