//! How fast updates go: a part of one whenever nothing waits, and behind each group.
//!
//! A part is as large as takes a moment to work out, by what the last ones took: whoever writes meanwhile waits for one of
//! them at most. What the store takes to make it durable is measured apart, or a slow disk would make parts small, and
//! then nearly all of the time would go to the disk. And while somebody writes, parts that are stored have a share of the
//! time only: what they store has to be put into its place by other threads too, and these have the same cores. Where these
//! cannot keep up, parts wait until the store has room again, which is kept for those who write. A rate can hold all of
//! them back.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corollary_engine::{EngineError, Executor, UpdateId};
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::node::Feed;

/// What working out a part may take while nobody writes; as long as the store takes, where that is more.
const IDLE_STEP: Duration = Duration::from_millis(4);

/// The most of it, however slow the store.
const MAX_IDLE_STEP: Duration = Duration::from_millis(8);

/// What it may take while somebody writes.
const BUSY_STEP: Duration = Duration::from_millis(1);

/// So long after a write somebody may be about to write again: who waits for each reply is in no queue just then.
const QUIET: Duration = Duration::from_millis(100);

/// The smallest part, or the sync would cost more than the work.
const MIN_BATCH: usize = 32;

/// How long updates rest where none of them may go on and it is not known when one may.
const REST: Duration = Duration::from_millis(1);

/// How long they rest at most before they look whether another pace is wished for.
const MAX_REST: Duration = Duration::from_millis(10);

/// How full the store may be ([`Store::pressure`](corollary_store::Store::pressure)) for a part to be begun: the rest is for those
/// who write, or they would wait until the store has put into its place what an update has filled it with.
const MAX_PRESSURE: f32 = 0.75;

/// Of how many parts the cost of one resource is the mean, about.
const REMEMBERED: u32 = 4;

/// Resources of one part at most, whatever is set.
pub const MAX_BATCH: u32 = 100_000;

/// What can be set about updates, also while they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Resources of one part at most.
    pub batch: usize,
    /// Resources in a second at most; none for as many as go.
    pub per_second: Option<u32>,
    /// Updates that are under way at a time at most, taking turns; none for all that are open.
    pub at_once: Option<NonZeroUsize>,
    /// Of a hundred parts of the time, how many they may store something in while somebody writes.
    pub share: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { batch: 4_096, per_second: None, at_once: None, share: 20 }
    }
}

/// What others tell the one who works on updates.
#[derive(Debug)]
pub(crate) struct Wishes {
    /// How fast they are to go.
    pub pace: Mutex<Pace>,
    /// Which are to be tried again at once.
    pub retries: Mutex<Vec<UpdateId>>,
}

impl Wishes {
    pub(crate) fn new(pace: Pace) -> Wishes {
        Wishes { pace: Mutex::new(pace), retries: Mutex::default() }
    }
}

/// See the module.
pub(crate) struct Updater {
    wishes: Arc<Wishes>,
    /// What was wished for last.
    pace: Pace,
    /// Of working out one resource; zero before anything is known.
    cost: Duration,
    /// Of making a part durable.
    store: Duration,
    /// Not before this, for the sake of the rate.
    not_before: Instant,
    /// While somebody writes not before this, for the sake of the share.
    gives_way_until: Instant,
    /// When somebody wrote last.
    written: Option<Instant>,
}

impl Updater {
    pub(crate) fn new(wishes: Arc<Wishes>) -> Updater {
        let pace = wishes.pace.lock().clone();
        let (cost, store) = (Duration::ZERO, Duration::ZERO);
        let now = Instant::now();
        Updater { wishes, pace, cost, store, not_before: now, gives_way_until: now, written: None }
    }

    /// Somebody has written.
    pub(crate) fn wrote(&mut self) {
        self.written = Some(Instant::now());
    }

    /// Is an update open?
    pub(crate) fn is_needed(&self, executor: &Executor) -> bool {
        !executor.engine().updates().open.is_empty()
    }

    /// Goes on as was wished for last.
    fn listen(&mut self) {
        let wished = self.wishes.pace.lock().clone();
        if wished != self.pace {
            // What it has to wait for was told by another pace.
            let now = Instant::now();
            (self.pace, self.not_before, self.gives_way_until) = (wished, now, now);
        }
    }

    /// Is nobody about to write?
    fn is_quiet(&self, now: Instant) -> bool {
        self.written.is_none_or(|written| now.saturating_duration_since(written) >= QUIET)
    }

    /// How long no part is to be done yet.
    fn held_back(&self, now: Instant) -> Duration {
        let for_rate = self.not_before.saturating_duration_since(now);
        match self.is_quiet(now) {
            true => for_rate,
            false => for_rate.max(self.gives_way_until.saturating_duration_since(now)),
        }
    }

    /// A part that took so long was stored: as long as somebody writes the rest of the time is not for updates.
    fn give_way(&mut self, ended: Instant, spent: Duration) {
        let share = self.pace.share.clamp(1, 100);
        self.gives_way_until = ended + spent * (100 - share) / share;
    }

    /// How long at least no update may go on; it is worth looking again after that.
    pub(crate) fn rest(&mut self, executor: &Executor) -> Duration {
        self.listen();
        let wait = self.held_back(Instant::now());
        let is_held_up = || !executor.has_update_step(Timestamp::now()) || is_full(executor);
        match wait.is_zero() && is_held_up() {
            true => REST,
            // Another pace may be wished for meanwhile.
            false => wait.min(MAX_REST),
        }
    }

    /// Does a part of an update, if it is time. The error is one after which nothing may be written any more; what else
    /// fails stands in the record, and is tried again.
    pub(crate) fn step(
        &mut self,
        executor: &mut Executor,
        feed: &Feed,
        nobody_waits: bool,
    ) -> Result<(), EngineError> {
        for id in std::mem::take(&mut *self.wishes.retries.lock()) {
            // One that does not wait any more goes on in any case.
            executor.retry_update(id);
        }
        // Behind each group too: whoever writes without pause gives it no rest.
        self.listen();
        executor.set_updates_at_once(self.pace.at_once);
        if !self.held_back(Instant::now()).is_zero() || is_full(executor) {
            return Ok(());
        }
        if executor.has_update_step(Timestamp::now()) {
            // How long other servers take is no measure of the work. An error comes again with the commit.
            let _ = executor.await_turn();
        }
        let begun = Instant::now();
        let idle = nobody_waits && self.is_quiet(begun);
        let mut worked = Duration::ZERO;
        let outcome =
            executor.update_step_told(Timestamp::now(), self.batch(idle), &mut || worked = begun.elapsed());
        match &outcome {
            Ok(None) => {}
            Ok(progress) => feed.counts.step(progress.as_ref(), begun.elapsed()),
            Err(_) => feed.counts.step(None, begun.elapsed()),
        }
        match outcome {
            Ok(None) => {}
            Ok(Some(progress)) => {
                let ended = Instant::now();
                if let Some(commit) = &progress.commit {
                    feed.publish(commit);
                }
                if progress.stored {
                    self.give_way(ended, ended - begun);
                }
                self.learn(progress.walked, worked, (ended - begun).saturating_sub(worked));
                if let Some(rate) = self.pace.per_second {
                    self.not_before = begun + Duration::from_secs(1) * progress.walked as u32 / rate.max(1);
                }
            }
            Err(error) if error.is_fatal() => return Err(error),
            Err(_) => {}
        }
        feed.moved();
        Ok(())
    }

    fn learn(&mut self, walked: usize, worked: Duration, stored: Duration) {
        if walked == 0 || worked.is_zero() {
            return;
        }
        let mean = |mean: Duration, new: Duration| match mean {
            Duration::ZERO => new,
            mean => (mean * (REMEMBERED - 1) + new) / REMEMBERED,
        };
        self.cost = mean(self.cost, worked / walked as u32);
        self.store = mean(self.store, stored);
    }

    /// Resources of the next part.
    fn batch(&self, idle: bool) -> usize {
        let target = if idle { self.store.clamp(IDLE_STEP, MAX_IDLE_STEP) } else { BUSY_STEP };
        let fitting = target.as_nanos() / self.cost.as_nanos().max(1);
        let fitting = if self.cost.is_zero() { MIN_BATCH } else { fitting as usize };
        let rated = self.pace.per_second.map_or(usize::MAX, |rate| (rate as usize / 20).max(1));
        fitting.max(MIN_BATCH).min(self.pace.batch.max(1)).min(rated)
    }
}

/// Is what the store can take up left to others?
fn is_full(executor: &Executor) -> bool {
    executor.engine().store().pressure() > MAX_PRESSURE
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPENT: Duration = Duration::from_millis(4);

    /// How long nothing is done behind a part, by the share of the time and how long ago somebody wrote.
    fn held_back(share: u32, written: Option<Duration>) -> Duration {
        let mut updater = Updater::new(Arc::new(Wishes::new(Pace { share, ..Pace::default() })));
        let ended = Instant::now() + QUIET;
        updater.give_way(ended, SPENT);
        updater.written = written.map(|ago| ended - ago);
        updater.held_back(ended)
    }

    #[test]
    fn updates_have_their_share_of_the_time_while_somebody_writes() {
        let just_now = Some(Duration::from_millis(1));
        let waits = [1, 20, 50, 80, 100].map(|share| held_back(share, just_now));
        assert_eq!(waits, [SPENT * 99, SPENT * 4, SPENT, SPENT / 4, Duration::ZERO]);
    }

    #[test]
    fn where_nobody_writes_they_have_all_of_it() {
        assert_eq!(held_back(20, None), Duration::ZERO);
        assert_eq!(held_back(20, Some(QUIET)), Duration::ZERO);
    }
}
