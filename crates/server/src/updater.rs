//! How fast updates go: a part of one whenever nothing waits, and behind each group.
//!
//! A part is as large as takes a moment to work out, by what the last ones took: whoever writes meanwhile waits for one of
//! them at most. What the store takes to make it durable is measured apart, or a slow disk would make parts small, and
//! then nearly all of the time would go to the disk. A rate can hold all of them back.

use std::sync::Arc;
use std::thread;
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

/// How long the executor rests where updates have to wait and nothing else is to be done.
const REST: Duration = Duration::from_millis(1);

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
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { batch: 4_096, per_second: None }
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
    /// When somebody wrote last.
    written: Option<Instant>,
}

impl Updater {
    pub(crate) fn new(wishes: Arc<Wishes>) -> Updater {
        let pace = wishes.pace.lock().clone();
        let (cost, store) = (Duration::ZERO, Duration::ZERO);
        Updater { wishes, pace, cost, store, not_before: Instant::now(), written: None }
    }

    /// Somebody has written.
    pub(crate) fn wrote(&mut self) {
        self.written = Some(Instant::now());
    }

    /// Is an update open?
    pub(crate) fn is_needed(&self, executor: &Executor) -> bool {
        !executor.engine().updates().open.is_empty()
    }

    /// Waits a moment, where no update may go on yet.
    pub(crate) fn rest(&mut self, executor: &Executor) {
        let wished = self.wishes.pace.lock().clone();
        if wished != self.pace {
            // What it has to wait for was told by another rate.
            (self.pace, self.not_before) = (wished, Instant::now());
        }
        let wait = self.not_before.saturating_duration_since(Instant::now());
        if !wait.is_zero() || !executor.has_update_step(Timestamp::now()) {
            thread::sleep(if wait.is_zero() { REST } else { wait.min(REST) });
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
        let begun = Instant::now();
        if begun < self.not_before {
            return Ok(());
        }
        let idle = nobody_waits && self.written.is_none_or(|written| begun - written >= QUIET);
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
                if let Some(commit) = &progress.commit {
                    feed.publish(commit);
                }
                self.learn(progress.walked, worked, begun.elapsed().saturating_sub(worked));
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
