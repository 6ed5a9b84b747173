//! The executor's queue: how what is asked for comes into groups.
//!
//! It is bounded: what finds no room is refused at once, and what has waited too long takes itself back ([`Claim`]). The executor takes
//! all that waits as one group, up to limits, with what else it is to do between. What always holds: each task is in one group, once,
//! and then its reply is that of the executor; or it is in none, and whoever asked is told that.
//!
//! `tests/queue_orders` tries orders of those who ask and of the executor.

use std::time::Duration;

use super::claim::Claim;
use super::sync::{mpsc, oneshot, timeout};

/// A task that waits, and who waits for it.
pub(crate) struct Asked<T, A> {
    task: T,
    claim: Claim,
    reply: oneshot::Sender<A>,
}

/// What the executor is to do.
pub(crate) enum Job<T, A, O> {
    /// With others, as a group.
    Run(Asked<T, A>),
    /// By itself.
    Other(O),
    /// The end: what waits already is done, nothing more is accepted.
    Stop,
}

/// Why something is in no group, and never will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// So many wait already.
    Full(usize),
    /// It was not begun in time.
    TooLate,
    /// There is no executor any more, or there was none when its turn came.
    Stopped,
}

/// Asks for a task to be done, which is begun within a time or not at all; what came of it.
pub(crate) async fn ask<T, A, O>(
    jobs: &mpsc::Sender<Job<T, A, O>>,
    task: T,
    wait: Duration,
) -> Result<A, Refused> {
    let (reply, mut replied) = oneshot::channel();
    let claim = Claim::default();
    match jobs.try_send(Job::Run(Asked { task, claim: claim.clone(), reply })) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(_)) => return Err(Refused::Full(jobs.max_capacity())),
        Err(mpsc::error::TrySendError::Closed(_)) => return Err(Refused::Stopped),
    }
    let outcome = match timeout(wait, &mut replied).await {
        Ok(outcome) => outcome,
        Err(_) if claim.take() => return Err(Refused::TooLate),
        // What is begun comes to an end.
        Err(_) => replied.await,
    };
    outcome.map_err(|_| Refused::Stopped)
}

/// What is done together, each with the way back to whoever asked.
pub(crate) struct Group<T, A> {
    pub(crate) tasks: Vec<T>,
    pub(crate) replies: Vec<oneshot::Sender<A>>,
}

impl<T, A> Default for Group<T, A> {
    fn default() -> Group<T, A> {
        Group { tasks: Vec::new(), replies: Vec::new() }
    }
}

/// How large a group may be. One task has room however heavy it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) tasks: usize,
    pub(crate) weight: usize,
}

impl<T, A> Group<T, A> {
    /// Takes a job and all that wait behind it, up to the limits; does what is no task. The error is that of the latter, and ends it.
    pub(crate) fn gather<O, E>(
        &mut self,
        first: Job<T, A, O>,
        waiting: &mut mpsc::Receiver<Job<T, A, O>>,
        limits: Limits,
        weight_of: impl Fn(&T) -> usize,
        mut other: impl FnMut(O) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut weight = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Run(asked) if asked.claim.take() => {
                    weight += weight_of(&asked.task);
                    self.tasks.push(asked.task);
                    self.replies.push(asked.reply);
                }
                // Nobody waits for it any more.
                Job::Run(_) => {}
                Job::Other(what) => other(what)?,
                Job::Stop => waiting.close(),
            }
            let more = self.tasks.len() < limits.tasks && weight < limits.weight;
            next = if more { waiting.try_recv().ok() } else { None };
        }
        Ok(())
    }

    /// Behind the replies.
    pub(crate) fn clear(&mut self) {
        self.tasks.clear();
        self.replies.clear();
    }
}
