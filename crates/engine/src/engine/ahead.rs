//! A group that is worked out and not durable yet, while the next one is worked out over it.
//!
//! ```text
//! executor:       work out N | precommit N | work out N+1 over the tip | (N is hardened) | precommit N+1 | …
//! who has N:                               | sync, cache, publish N, tell              |
//! ```
//!
//! [`Executor::execute_ahead`](super::Executor::execute_ahead) leaves a group at the tip of the store, which only the executor reads, and
//! gives a [`Pending`]. Whoever hardens that has all of it that readers go by: it is durable, then in the cache, then published. What
//! is worked out meanwhile finds documents of the group here, and everything else at the tip.
//!
//! What always holds: nothing is told of a group that is not hardened, nor of what was worked out over it; of groups that are not
//! hardened there is one at most; and the executor does anything else but groups only when there is none. Read next:
//! [`corollary_store::precommit`].

use std::path::PathBuf;
use std::sync::Arc;
use std::vec::IntoIter;

use corollary_store::{Precommit, StoreError};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tracing::{Span, debug_span};

use super::executor::Put;
use super::{Engine, Executor};
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::updates::Ledger;

/// What a group made of documents; none of one that it removed.
pub(crate) type Docs = HashMap<Key, Option<Arc<Doc>>, RandomState>;

/// What a group has left to be made durable, if anything; nothing of the group may be told before.
#[must_use = "nothing else is committed before it is hardened"]
pub struct Pending(Option<Arc<Group>>);

impl Pending {
    /// Of a group that is durable already, or changed nothing.
    pub(super) fn hardened() -> Pending {
        Pending(None)
    }

    /// Is there nothing left to do?
    pub fn is_hardened(&self) -> bool {
        self.0.as_ref().is_none_or(|group| group.is_hardened())
    }

    /// Makes it durable and shows it, unless the executor has done so because it had nothing else to do.
    ///
    /// # Errors
    ///
    /// The store's. Each is [fatal](EngineError::is_fatal): the executor does nothing any more.
    pub fn harden(self) -> Result<(), EngineError> {
        self.0.map_or(Ok(()), |group| group.harden())
    }
}

/// A group that is settled: see the module.
pub(crate) struct Group {
    engine: Arc<Engine>,
    state: Mutex<State>,
    /// As of its revision.
    pub(crate) docs: Docs,
    /// Its revision.
    pub(crate) revision: u64,
    time: Timestamp,
    put: Put,
    /// The updates as they were before.
    before: Arc<Ledger>,
    /// The group before, of which nothing is needed any more: to give up all its documents takes a while, and the executor has more to do.
    spent: Mutex<Option<Arc<Group>>>,
}

enum State {
    Settled(Precommit, Scope),
    Hardened,
    Lost(StoreError),
}

/// The spans that a sync belongs to, from the outside in, where somebody collects [`crate::spans`]: it is told within them, on
/// whichever thread it is done.
pub(super) struct Scope(Vec<Span>);

impl Scope {
    /// Of the one that is entered, and of the request for which it was.
    pub(super) fn of(request: Option<&Span>, group: Span, commit: &Span) -> Scope {
        match commit.is_disabled() {
            true => Scope(Vec::new()),
            false => Scope(request.cloned().into_iter().chain([group, commit.clone()]).collect()),
        }
    }

    fn enter<T>(self, sync: impl FnOnce() -> T) -> T {
        within(self.0.into_iter(), sync)
    }
}

/// Does it within spans, each of which ends within those before it.
fn within<T>(mut spans: IntoIter<Span>, sync: impl FnOnce() -> T) -> T {
    match spans.next() {
        Some(span) => span.in_scope(|| within(spans, sync)),
        None => debug_span!(target: crate::spans::COMMIT, "sync").in_scope(sync),
    }
}

impl Group {
    pub(super) fn new(
        engine: Arc<Engine>,
        (precommit, scope): (Precommit, Scope),
        (docs, put): (Docs, Put),
        (revision, time): (u64, Timestamp),
        before: Arc<Ledger>,
        spent: Option<Arc<Group>>,
    ) -> Group {
        let state = Mutex::new(State::Settled(precommit, scope));
        Group { engine, state, docs, revision, time, put, before, spent: Mutex::new(spent) }
    }

    /// Waits for whoever does it already.
    fn harden(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        // In case that it panics in the midst.
        let lost =
            State::Lost(StoreError::Stopped { path: PathBuf::new(), why: "a commit was cut short".into() });
        match std::mem::replace(&mut *state, lost) {
            State::Settled(precommit, scope) => {
                if let Err(error) = scope.enter(|| precommit.harden()) {
                    self.engine.publish_updates(self.before.clone());
                    *state = State::Lost(error);
                } else {
                    self.show();
                    *state = State::Hardened;
                    drop(self.spent.lock().take());
                }
            }
            ended => *state = ended,
        }
        match &*state {
            State::Lost(error) => Err(error.clone().into()),
            _ => Ok(()),
        }
    }

    fn show(&self) {
        let engine = &self.engine;
        for (key, doc) in &self.docs {
            match self.put {
                Put::All => engine.cache.put(key, doc.clone(), self.revision),
                Put::Known => engine.cache.put_if_known(key, doc.clone(), self.revision),
            }
        }
        engine.revisions.publish(self.revision);
        engine.pass(self.time);
    }

    fn is_hardened(&self) -> bool {
        self.state.try_lock().is_some_and(|state| matches!(*state, State::Hardened))
    }
}

impl Executor {
    /// Sees to it that all that was worked out is durable and published: whatever is not a group goes by that.
    ///
    /// # Errors
    ///
    /// As of [`Pending::harden`], again and again.
    pub(crate) fn settle(&mut self) -> Result<(), EngineError> {
        self.settled().map(drop)
    }

    /// The same; with the group that was the last, if it was still known.
    pub(super) fn settled(&mut self) -> Result<Option<Arc<Group>>, EngineError> {
        if let Some(group) = &self.ahead {
            group.harden()?;
        }
        Ok(self.ahead.take())
    }

    /// From now on groups are worked out over this one.
    pub(super) fn go_ahead(&mut self, group: Group) -> Pending {
        let group = Arc::new(group);
        self.ahead = Some(group.clone());
        Pending(Some(group))
    }

    /// The group that the next one is worked out over, unless it is hardened by now.
    pub(super) fn ahead(&mut self) -> Option<Arc<Group>> {
        if self.ahead.as_ref().is_some_and(|group| group.is_hardened()) {
            self.ahead = None;
        }
        self.ahead.clone()
    }
}
