//! One step of the updater: a part of one open update, as one ordinary commit.
//!
//! The values of the batch, what follows from them, the place of the walk and the counts are in one atomic batch; so an
//! update that is cut short at any instant goes on from where it was. Values are computed from what is stored at that
//! moment: doing a batch twice does no harm, and the newest facts win. What a batch leads to that is too large for it
//! is left to updates of its own.
//!
//! Open updates take turns, all of them or as many as may be under way at once. Before the first batch an update is counted, some steps ahead of the work if it is large.
//! Groups that are filled are made empty first, which counts for nothing; then the members are counted. Where that goes,
//! the members are gathered first, without a commit ([`super::gather`]).

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;

use corollary_schema::Schema;
use corollary_schema::plan::{Hop, PlanNode};
use corollary_store::StoreError;
use corollary_value::SumState;
use jiff::{SignedDuration, Timestamp};
use tracing::debug_span;

use super::estimate::count_step;
use super::gather::OWNER_COST;
use super::lag::lags;
use super::ledger::{Ledger, Target, Update};
use super::record::{LEASE, State, Task, UpdateId};
use super::walk::{Part, Place, walk};
use crate::clock;
use crate::engine::{Executor, Finished, Kept, Put, finish};
use crate::error::EngineError;
use crate::group;
use crate::keys;
use crate::log::Commit;
use crate::propagate::{Work, empty_result, put_groups, recompute};
use crate::spans;
use crate::working::Working;

/// How long an update waits after a batch that failed; after each further one twice as long.
pub const RETRY_AFTER: SignedDuration = SignedDuration::from_secs(1);

/// How long it waits at most.
pub const MAX_RETRY_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// How long an update waits after so many batches that failed, one after the other.
fn pause(failures: u32) -> SignedDuration {
    let doubled = RETRY_AFTER.checked_mul(1 << failures.saturating_sub(1).min(16));
    doubled.unwrap_or(MAX_RETRY_AFTER).min(MAX_RETRY_AFTER)
}

/// What a step did.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Of which update.
    pub id: UpdateId,
    /// Was it the last one?
    pub ended: bool,
    /// Resources that were evaluated again.
    pub visited: usize,
    /// Sources and links that were followed to find them, what was evaluated among them.
    pub walked: usize,
    /// What changed; nothing where nothing did.
    pub commit: Option<Arc<Commit>>,
    /// Has it stored more than how far it is? Entries of an index are no change.
    pub stored: bool,
}

impl Executor {
    /// Does a part of an open update: at most about so many resources. None where nothing is open, or all that is open
    /// waits after a failure.
    ///
    /// # Errors
    ///
    /// A batch that could not be written or was refused; it changed nothing and is tried again after [`RETRY_AFTER`], or
    /// later the more of them have failed.
    pub fn update_step(&mut self, now: Timestamp, limit: usize) -> Result<Option<Progress>, EngineError> {
        self.update_step_told(now, limit, &mut || ())
    }

    /// The same, and `worked_out` is called when all is worked out and only the store has yet to take it: how long either takes
    /// is for others to measure.
    ///
    /// # Errors
    ///
    /// As [`Executor::update_step`].
    pub fn update_step_told(
        &mut self,
        now: Timestamp,
        limit: usize,
        worked_out: &mut dyn FnMut(),
    ) -> Result<Option<Progress>, EngineError> {
        let mut limit = limit;
        self.contend(|executor| {
            let outcome = executor.update_step_once(now, limit, worked_out);
            // A smaller part is sooner done than others commit.
            limit = limit.div_ceil(2);
            outcome
        })
    }

    fn update_step_once(
        &mut self,
        now: Timestamp,
        limit: usize,
        worked_out: &mut dyn FnMut(),
    ) -> Result<Option<Progress>, EngineError> {
        let now = self.time(now);
        let engine = self.engine().clone();
        let ledger = engine.updates();
        let ready = self.ready(&ledger, now);
        let behind = ready.iter().find(|it| self.turn.is_none_or(|turn| it.record.id > turn));
        // Who has more than its share is relieved of the newest of it.
        let mut newest = ledger.open.iter().rev();
        let of_another = newest.find(|it| ledger.is_due(it, now) && engine.may_relieve(&ledger, it, now));
        let next = || behind.or(ready.first()).copied();
        let Some(update) = of_another.or_else(next) else { return Ok(None) };
        let id = update.record.id;
        self.turn = Some(id);
        self.gatherings.keep_open(&ledger);
        let mut limit = limit.max(1);
        let outcome = loop {
            match self.advance(&ledger, update, now, limit, worked_out) {
                // One of them is to blame, or all of them together: those before it go on.
                Err(EngineError::Refused(_) | EngineError::Store(StoreError::TooLarge { .. }))
                    if limit > 1 =>
                {
                    limit /= 2;
                }
                outcome => break outcome,
            }
        };
        if let Err(error) = &outcome
            && !matches!(error, EngineError::Moved)
        {
            let mut failed = Ledger::clone(&engine.updates());
            if let Some(update) = failed.open.iter_mut().find(|it| it.record.id == id) {
                let update = Arc::make_mut(update);
                update.record.state = State::Failed;
                update.record.error = Some(error.to_string());
                update.failures += 1;
                update.not_before = now.checked_add(pause(update.failures)).unwrap_or(Timestamp::MAX);
            }
            engine.note_updates(&self.head, failed);
        }
        outcome.map(Some)
    }

    /// Has an update that waits after a failure go on at once; false where it does not wait.
    pub fn retry_update(&mut self, id: UpdateId) -> bool {
        let engine = self.engine().clone();
        let mut ledger = Ledger::clone(&engine.updates());
        let waits = |it: &&mut Arc<Update>| it.record.id == id && it.record.state == State::Failed;
        let Some(update) = ledger.open.iter_mut().find(waits) else { return false };
        Arc::make_mut(update).not_before = Timestamp::MIN;
        engine.note_updates(&self.head, ledger);
        true
    }

    /// Is an update open that may be worked on?
    pub fn has_update_step(&self, now: Timestamp) -> bool {
        !self.ready(&self.engine().updates(), self.time(now)).is_empty()
    }

    /// From now on so many updates are under way at a time, those that began first; without a number all that are open. They
    /// take turns, so fewer end sooner, one after the other, and more of them each a little later.
    pub fn set_updates_at_once(&mut self, at_once: Option<NonZeroUsize>) {
        self.at_once = at_once.map_or(usize::MAX, NonZeroUsize::get);
    }

    /// The updates that may go on now, in the order in which they began: one that waits, for a time or for another one, is no
    /// reason for the next to wait.
    fn ready<'l>(&self, ledger: &'l Ledger, now: Timestamp) -> Vec<&'l Arc<Update>> {
        let may = |it: &&Arc<Update>| ledger.is_due(it, now) && self.engine().may_take(ledger, it, now);
        ledger.open.iter().filter(may).take(self.at_once).collect()
    }

    /// Works until nothing is open.
    ///
    /// # Errors
    ///
    /// The first batch that fails.
    pub fn finish_updates(&mut self, now: Timestamp, limit: usize) -> Result<(), EngineError> {
        while !self.engine().updates().open.is_empty() {
            let later = self.time(now).checked_add(MAX_RETRY_AFTER).unwrap_or(Timestamp::MAX);
            self.update_step(if self.has_update_step(now) { now } else { later }, limit)?;
        }
        Ok(())
    }

    fn advance(
        &mut self,
        ledger: &Arc<Ledger>,
        update: &Arc<Update>,
        now: Timestamp,
        limit: usize,
        worked_out: &mut dyn FnMut(),
    ) -> Result<Progress, EngineError> {
        let engine = self.engine().clone();
        let id = update.record.id;
        let _update = debug_span!(target: spans::UPDATE, "update", %id, limit).entered();
        let Some(target) = &update.target else {
            return Err(EngineError::corrupt("an open update has no plan"));
        };
        let base = engine.base();
        base.pass();
        if !Arc::ptr_eq(&base.updates(), ledger) {
            // A reader has followed another node since the update was chosen.
            return Err(EngineError::Moved);
        }
        // Timers are let come by commits of their own.
        let time = self.time_before_timers(now);
        let mut working = engine.working(&base, time);
        working.gathered = self.gatherings.reaches();
        // What is found as at this time, and then stands without a timer, may be other than as at the last commit's.
        working.keeps_time = time > self.last() && engine.schema().plan.nodes.iter().any(PlanNode::is_timed);
        let mut ledger = Ledger::clone(ledger);
        let position = ledger.open.iter().position(|it| it.record.id == id);
        let at = position.ok_or_else(|| EngineError::corrupt("an update that is not open"))?;
        let mut next = Update::clone(update);
        next.record.error = None;
        next.failures = 0;
        if let Some(mut place) = next.counting.take() {
            let (counted, complete) = count_step(&working, &next, &mut place)?;
            let known = if place_is_new(update) { next.record.visited } else { next.record.estimated };
            next.record.estimated = known + counted;
            if !complete {
                next.counting = Some(place);
                ledger.open[at] = Arc::new(next);
                engine.note_updates(&self.head, ledger);
                return Ok(Progress { id, ended: false, visited: 0, walked: 0, commit: None, stored: false });
            }
        }
        if next.record.task == Task::Gather
            && let Target::Edge(edge) = target
            && let Some(progress) = self.gather(&working, &mut next, edge.node, limit)?
        {
            ledger.open[at] = Arc::new(next);
            engine.note_updates(&self.head, ledger);
            worked_out();
            return Ok(progress);
        }
        let task = next.record.task;
        let limit = if task == Task::Gather { limit.div_ceil(OWNER_COST) } else { limit };
        let (path, mut place) = (path(&working, target, task), next.record.place.clone());
        let Part { subjects, walked, complete } = walk(&mut working, id, &path, &mut place, limit)?;
        // Who is made empty is visited again, and of whom something was gathered has been.
        let visited = if matches!(task, Task::Empty | Task::Gather) { 0 } else { subjects.len() };
        let ended = complete && task != Task::Empty;
        let record = &mut next.record;
        record.place = place;
        if complete && task == Task::Empty {
            (record.task, record.place) = (Task::Fill, Place::default());
            working.put_row(keys::UPDATE, keys::source(id, &Schema::shared_id()), Vec::new());
        }
        record.state = if ended { State::Done } else { State::Running };
        let next_is_repair = record.cause.repair;
        ledger.open[at] = Arc::new(next);
        // From a revision on that is told to all, an index is whole.
        working.keeps_time |= ended && task == Task::Index;
        let work = match (task, target) {
            (_, Target::Index(index)) => {
                index.enter(&mut working, &subjects)?;
                Work::default()
            }
            (Task::Index, Target::Edge(_)) => return Err(EngineError::corrupt("the task of an update")),
            (Task::Empty, Target::Edge(edge)) => {
                put_groups(&mut working, edge.node, subjects, &|group, _| group::Place {
                    state: SumState::default(),
                    result: empty_result(group),
                })?
            }
            (Task::Gather, Target::Edge(edge)) => {
                let gathered = &self.gatherings;
                put_groups(&mut working, edge.node, subjects, &|group, owner| {
                    gathered.part(edge.node, owner).place(group)
                })?
            }
            (Task::Follow | Task::Fill, Target::Edge(edge)) => {
                let mut behind = lags(working.schema, &ledger.open);
                working.passing = Some((edge.node, behind.remove(&edge.node)));
                // The rows of the timers that a repair has to do with are gone: they are set whatever is kept of them.
                let timed = if next_is_repair { subjects.clone() } else { Vec::new() };
                let work = recompute(&mut working, edge.node, subjects)?;
                clock::set_again(&mut working, edge.node, &timed)?;
                work
            }
        };
        let record = &mut Arc::make_mut(&mut ledger.open[at]).record;
        record.visited += visited as u64;
        record.changed += work.changed;
        record.estimated = record.estimated.max(record.visited);
        if ended {
            record.estimated = record.visited;
            record.ended = Some(now);
        }
        record.heartbeat = now;
        if record.owner != engine.node_name() {
            // Whoever held it before may write nothing any more: its commit comes behind this one.
            record.owner = engine.node_name().into();
            record.token += 1;
        }
        record.lease = now.checked_add(LEASE).unwrap_or(Timestamp::MAX);
        let from = self.revision();
        let Finished { revision, commit, .. } = finish(&mut working, &[], from, &mut ledger, Some(id))?;
        let next = Arc::make_mut(&mut ledger.open[at]);
        if let Some(commit) = &commit {
            next.record.tally(working.schema, commit);
        }
        // Where nobody sees a change, only later revisions are sure to have what was done.
        next.trail.note(if commit.is_some() { revision } else { revision + 1 }, &next.record.place);
        working.put_row(keys::UPDATE, keys::update(id), next.record.encode());
        let upto = next.record.place.cursor.clone();
        if ended {
            ledger.end(&mut working, id, revision);
        }
        // Rows of members may have come where no document changed.
        working.check_keys()?;
        working.keep();
        let mut kept = Kept::of(working, from, revision);
        kept.put = Put::Known;
        drop(base);
        worked_out();
        self.put(kept, ledger, time)?;
        if let (Task::Gather, Target::Edge(edge)) = (task, target) {
            self.gatherings.written(edge.node, upto.as_ref().filter(|_| !ended));
        }
        let stored = commit.is_some() || task == Task::Index;
        Ok(Progress { id, ended, visited, walked, commit, stored })
    }
}

/// The way from a source to the subjects of an update, backwards, by what it does with them.
fn path<'t>(working: &Working<'_>, target: &'t Target, task: Task) -> Cow<'t, [Hop]> {
    let Target::Edge(edge) = target else { return target.path() };
    let owner = working.schema.plan.nodes[edge.node].result.ty;
    let way = match task {
        // The one that keeps what is the same for all is there before it is stored; it is the source itself.
        Task::Gather if working.schema.shared == Some(owner) => Vec::new(),
        Task::Empty | Task::Gather => vec![Hop::Everywhere(owner)],
        Task::Follow | Task::Fill | Task::Index => return target.path(),
    };
    Cow::Owned(way)
}

/// Has counting not yet begun?
fn place_is_new(update: &Update) -> bool {
    update.counting.as_ref().is_some_and(|place| *place == Place::default())
}
