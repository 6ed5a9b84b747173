//! The thread that makes groups durable and tells what came of them, while the executor works out the next one.
//!
//! It has one group at a time. The executor hands over what is worth it: who is alone, or asks for little, would only wait for this thread
//! to wake up, too. What always holds: groups are told in their order, each when it is durable; and whatever tells anything else
//! waits for that first ([`Hardener::wait`]).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use corollary_engine::{Committed, EngineError, Pending};
use tokio::sync::oneshot;

use crate::node::Feed;
use crate::problem::Problem;

/// The way back to whoever asked.
pub(crate) type Reply = oneshot::Sender<Result<Committed, Problem>>;

/// A group that was worked out, and who waits for it.
pub(crate) struct Parcel {
    /// What is left to do of it.
    pub pending: Pending,
    /// Of each task.
    pub outcomes: Vec<Result<Committed, EngineError>>,
    /// To whoever asked for each.
    pub replies: Vec<Reply>,
    /// When it was begun.
    pub begun: Instant,
}

impl Parcel {
    /// Makes it durable, tells the watches, and replies. The error is one after which nothing may be written any more.
    pub(crate) fn deliver(self, feed: &Feed) -> Result<(), EngineError> {
        if let Err(error) = self.pending.harden() {
            return refuse(error, self.replies);
        }
        feed.counts.group(&self.outcomes, self.begun.elapsed());
        for (reply, outcome) in self.replies.into_iter().zip(self.outcomes) {
            if let Ok(Committed { commit: Some(commit), .. }) = &outcome {
                feed.publish(commit);
            }
            // Whoever asked may be gone.
            let _ = reply.send(outcome.map_err(Problem::from));
        }
        feed.moved();
        Ok(())
    }
}

/// Tells all of a group that it failed. The error is one after which nothing may be written any more.
pub(crate) fn refuse(
    error: EngineError,
    replies: impl IntoIterator<Item = Reply>,
) -> Result<(), EngineError> {
    let (problem, stopped) = if matches!(error, EngineError::Superseded) {
        (EngineError::Superseded.into(), Err(error))
    } else if error.is_fatal() {
        (Problem::unavailable(error.to_string()), Err(error))
    } else {
        (Problem::from(error), Ok(()))
    };
    for reply in replies {
        let _ = reply.send(Err(problem.clone()));
    }
    stopped
}

/// See the module.
pub(crate) struct Hardener {
    /// None only while it ends.
    parcels: Option<Sender<Parcel>>,
    done: Receiver<Result<(), EngineError>>,
    /// Has it one?
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Hardener {
    /// Starts the thread; `wake` is called after a failure, since the executor may be waiting for something else.
    pub(crate) fn start(feed: Arc<Feed>, wake: impl Fn() + Send + 'static) -> std::io::Result<Hardener> {
        let (parcels, waiting) = channel::<Parcel>();
        let (tell, done) = channel();
        let thread = thread::Builder::new().name("hardener".into()).spawn(move || {
            for parcel in waiting {
                let delivered = parcel.deliver(&feed);
                let failed = delivered.is_err();
                if tell.send(delivered).is_err() {
                    return;
                }
                if failed {
                    wake();
                }
            }
        })?;
        Ok(Hardener { parcels: Some(parcels), done, busy: false, thread: Some(thread) })
    }

    /// Has it deliver a group; it must have none.
    pub(crate) fn hand(&mut self, parcel: Parcel) {
        debug_assert!(!self.busy, "it has one at a time");
        self.busy = true;
        // If it is gone, that is found when it is waited for, and whoever asked learns that nobody replies.
        let _ = self.parcels.as_ref().map(|parcels| parcels.send(parcel));
    }

    /// Waits until it has delivered what it has. The error is one after which nothing may be written any more.
    pub(crate) fn wait(&mut self) -> Result<(), EngineError> {
        if !std::mem::take(&mut self.busy) {
            return Ok(());
        }
        self.done.recv().unwrap_or_else(|_| Err(gone()))
    }

    /// The same, where it has done so by now.
    pub(crate) fn look(&mut self) -> Result<(), EngineError> {
        if !self.busy {
            return Ok(());
        }
        let delivered = match self.done.try_recv() {
            Ok(delivered) => delivered,
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err(gone()),
        };
        self.busy = false;
        delivered
    }
}

fn gone() -> EngineError {
    EngineError::Corrupt("the thread that makes groups durable panicked".into())
}

impl Drop for Hardener {
    fn drop(&mut self) {
        drop(self.parcels.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been told to whoever waited.
            let _ = thread.join();
        }
    }
}
