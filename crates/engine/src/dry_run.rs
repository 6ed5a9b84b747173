//! What a transaction would do, asked beforehand: it is run as a commit would run it, and dropped.
//!
//! It runs on a reader's state, so nobody waits for it: no revision, no log entry, no timer and no update comes of it, and
//! nothing of it reaches the cache. What the clock has to change first is let come in the same state. What it tells is true
//! as of the revision that it read; whether the real transaction then meets the same state is for `If-Match` to say.

use std::sync::Arc;

use jiff::Timestamp;

use crate::engine::{Committed, Engine, let_come, run, stored_time};
use crate::error::EngineError;
use crate::reply::Request;
use crate::updates::estimate::estimate;
use crate::updates::{Ledger, Update};
use crate::working::Working;

/// What a transaction would do.
pub struct Tried<'t, 'a> {
    /// What is there.
    pub before: &'t Working<'a>,
    /// What would be there.
    pub after: &'t Working<'a>,
    /// What would be told of it; the revision is one that somebody else may come to have.
    pub committed: &'t Committed,
    /// The updates that it would begin, or that would have more to do because of it.
    pub updates: &'t [Begun],
}

/// An update that a transaction would begin or give more to do.
#[derive(Clone, Debug)]
pub struct Begun {
    /// As it would stand in the ledger.
    pub update: Arc<Update>,
    /// Is it one that is open already?
    pub joined: bool,
    /// Resources that it would have to visit, one that it would come to twice counted twice.
    pub resources: u64,
    /// Are those all of them? Otherwise there are more, and counting stopped.
    pub complete: bool,
}

impl Engine {
    /// Runs a transaction without committing it, and has `show` look at what it did. The error is the one with which
    /// the transaction would be refused.
    pub fn dry_run<T>(
        &self,
        request: &Request<'_>,
        now: Timestamp,
        show: impl Fn(&Tried<'_, '_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let base = self.base();
        let last = stored_time(base.snapshot()?)?;
        let mut after = self.working(&base, now.max(last));
        after.processors = self.processors()?.some();
        let mut ledger = Ledger { open: base.open_updates(), ended: Arc::default() };
        let mut revision = base.revision();
        let_come(&mut after, last, &mut revision, &mut ledger)?;
        let open: Vec<_> = ledger.open.iter().map(|update| update.record.id).collect();
        let committed = run(&mut after, request, revision, &mut ledger)?;
        let begun = committed.updates.iter().filter_map(|id| ledger.get(*id)).map(|update| {
            let (resources, complete) = estimate(&after, update)?;
            let joined = open.contains(&update.record.id);
            Ok(Begun { update: update.clone(), joined, resources, complete })
        });
        let updates = begun.collect::<Result<Vec<_>, EngineError>>()?;
        let before = Working::new(self.schema(), self.layouts(), &base, after.now);
        show(&Tried { before: &before, after: &after, committed: &committed, updates: &updates })
    }
}
