//! The one that writes: transactions in groups, with one atomic and durable batch a group.
//!
//! Each transaction of a group works on what the ones before it left; one that is refused is undone alone. What is kept of a
//! group ([`Kept`]) is put into the store, then into the cache, then published.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_store::{Batch, Direction, KeyRange, Snapshot};
use jiff::Timestamp;
use tracing::{Span, debug_span};

use super::Engine;
use super::ahead::{Docs, Group, Pending, Scope};
use crate::base::Base;
use crate::clock;
use crate::error::EngineError;
use crate::eval::View;
use crate::files;
use crate::grants::Veil;
use crate::group::Shift;
use crate::history;
use crate::index;
use crate::keys;
use crate::log::{self, Commit};
use crate::nodes::{Head, Rivals};
use crate::origin;
use crate::processors;
use crate::propagate::{Work, propagate};
use crate::receipt;
use crate::reply::{self, Request, Shown};
use crate::spans;
use crate::updates::gather::Gatherings;
use crate::updates::lag::lags;
use crate::updates::{Ledger, UpdateId};
use crate::working::Working;
use crate::write::{self, Write};

/// Resources that a group loads at a time, before the first of its transactions runs: a transaction that writes to many does that for
/// itself.
const PREFETCHED: usize = 1_024;

/// Writes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// In order.
    pub writes: Vec<Write>,
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its revision; that of the commit before it where it changed nothing.
    pub revision: u64,
    /// What changed, facts and all that follows; nothing where nothing did.
    pub commit: Option<Arc<Commit>>,
    /// For each write, the resource as it is after the transaction; none where nobody wants them.
    pub results: Vec<Option<Shown>>,
    /// What it took.
    pub work: Work,
    /// The updates that it began, or that have more to do because of it.
    pub updates: Vec<UpdateId>,
    /// The reply that is kept of it. It may be that of an earlier transaction, of which this is a repetition: then nothing
    /// was done.
    pub reply: Option<Vec<u8>>,
}

/// What the clock did: resources that expired, and derived values that are others by now.
#[derive(Clone, Debug)]
pub struct Tick {
    /// As the log tells it.
    pub commit: Arc<Commit>,
    /// What it took.
    pub work: Work,
    /// The updates that it began, or that have more to do because of it.
    pub updates: Vec<UpdateId>,
}

/// The one that writes.
pub struct Executor {
    engine: Arc<Engine>,
    /// The last commit: its revision, and its time, since time never runs backwards and all that is stored is right as at
    /// it. The rest is for stores that nodes share.
    pub(crate) head: Head,
    /// The update that had its turn last.
    pub(crate) turn: Option<UpdateId>,
    /// Updates that are under way at a time, at most.
    pub(crate) at_once: usize,
    /// Other executors, where nodes share the store.
    pub(crate) rivals: Rivals,
    /// What updates have gathered in memory.
    pub(crate) gatherings: Gatherings,
    /// No timer is due before. There may be none at it either.
    next_due: Option<Timestamp>,
    tick: Option<Tick>,
    /// Which documents the cache gets of what is committed.
    put: Put,
    /// The last group, while it may not be durable yet.
    pub(super) ahead: Option<Arc<Group>>,
}

impl Executor {
    /// Over a store that is as in a snapshot.
    pub(crate) fn new(engine: Arc<Engine>, snapshot: &dyn Snapshot) -> Result<Executor, EngineError> {
        let head = Head::read(snapshot)?;
        let next_due = clock::first(snapshot, &engine.schema)?;
        engine.pass(head.time);
        let (rivals, gatherings) = (Rivals::default(), Gatherings::default());
        Ok(Executor {
            engine,
            head,
            next_due,
            tick: None,
            turn: None,
            at_once: usize::MAX,
            rivals,
            gatherings,
            put: Put::All,
            ahead: None,
        })
    }

    /// Does it commit what nobody asks for soon, such as the rows of a file? Then what is new of it takes neither memory nor the
    /// place of what is asked for in the cache.
    pub fn pass_through(&mut self, passes: bool) {
        self.put = if passes { Put::Known } else { Put::All };
    }

    /// When the clock changes something next, if nobody writes: then [`Executor::commit`] wants to be called, with or
    /// without transactions. A time that has passed where more was due than one commit goes through.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }

    /// What the clock did in the last [`Executor::commit`], before its transactions.
    pub fn tick(&self) -> Option<&Tick> {
        self.tick.as_ref()
    }

    /// Takes over the updates that are open in the store. When the store fits the schema, before anything is committed.
    pub(crate) fn take_over_updates(&mut self, now: Timestamp) -> Result<(), EngineError> {
        if self.engine.is_shared() {
            return self.load_shared_ledger(now);
        }
        let engine = &self.engine;
        let taken_by = Some(&engine.node[..]);
        let ledger = engine.load_ledger(&*engine.store.snapshot()?, taken_by, now)?;
        engine.publish_updates(Arc::new(ledger));
        Ok(())
    }

    /// A time at which all that is stored is right: this one, or, where something is due by then, the last commit's.
    pub(crate) fn time_before_timers(&self, now: Timestamp) -> Timestamp {
        if self.next_due.is_some_and(|due| due <= now) { self.head.time } else { self.time(now) }
    }

    /// The time of the last commit.
    pub(crate) fn last(&self) -> Timestamp {
        self.head.time
    }

    pub(crate) fn revision(&self) -> u64 {
        self.head.revision
    }

    /// A time that is not before the last commit's.
    pub(crate) fn time(&self, now: Timestamp) -> Timestamp {
        now.max(self.head.time)
    }

    /// What it shares with readers.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Runs transactions one after the other and makes all that succeed durable with one batch. Before them comes what the
    /// clock has to change by then, as a commit of its own ([`Executor::tick`]): all of it, or as much as
    /// [`clock::MAX_TIMERS_PER_COMMIT`] lets; in the second case time stands, for the transactions, where that ends.
    ///
    /// A transaction that is refused changes nothing and leaves the others alone. An error of the store is the error of
    /// the whole group: nothing of it happened.
    pub fn commit(
        &mut self,
        group: &[Transaction],
        now: Timestamp,
    ) -> Result<Vec<Result<Committed, EngineError>>, EngineError> {
        let group: Vec<Request<'_>> = group.iter().map(Request::new).collect();
        self.execute(&group, now)
    }

    /// Does what [`Executor::commit`] does, and tells of each transaction what is wanted.
    pub fn execute(
        &mut self,
        group: &[Request<'_>],
        now: Timestamp,
    ) -> Result<Vec<Result<Committed, EngineError>>, EngineError> {
        let (outcomes, pending) = self.execute_ahead(group, now)?;
        pending.harden()?;
        self.settle()?;
        Ok(outcomes)
    }

    /// Does what [`Executor::execute`] does but for the last of it, for which nobody else has to wait: the outcomes may be told when
    /// what is pending is hardened, and the next group may be executed before that. Whatever else the executor does waits for it.
    pub fn execute_ahead(
        &mut self,
        group: &[Request<'_>],
        now: Timestamp,
    ) -> Result<(Vec<Result<Committed, EngineError>>, Pending), EngineError> {
        match self.engine.is_shared() {
            true => self.contend(|executor| executor.execute_once(group, now)),
            false => self.execute_once(group, now),
        }
    }

    fn execute_once(
        &mut self,
        group: &[Request<'_>],
        now: Timestamp,
    ) -> Result<(Vec<Result<Committed, EngineError>>, Pending), EngineError> {
        let _first = group.first().and_then(|request| request.wants.within());
        let _group = debug_span!(target: spans::COMMIT, "group", transactions = group.len()).entered();
        let engine = self.engine.clone();
        let now = self.time(now);
        let looked = self.next_due.is_some_and(|due| due <= now);
        if looked {
            self.settle()?;
        }
        let base = match self.ahead() {
            Some(before) => Base::ahead(&engine, before),
            None => engine.base(),
        };
        let mut working = engine.working(&base, now);
        working.gathered = self.gatherings.reaches();
        working.processors = engine.processors()?.some();
        let mut ledger = Ledger::clone(&base.updates());
        let mut revision = self.head.revision;
        let mut outcomes = Vec::with_capacity(group.len());
        self.tick = None;
        let mut tick = None;
        if looked {
            tick = let_come(&mut working, self.head.time, &mut revision, &mut ledger)?;
        }
        let now = working.now();
        prefetch(&working, group)?;
        let mut receipts = false;
        let mut pending = Pending::hardened();
        for request in group {
            // A reply that cannot be kept is refused when updates have been begun.
            let before = request.wants.kept.is_some().then(|| ledger.clone());
            match run_once(&engine, &mut working, request, revision, &mut ledger) {
                Ok(committed) => {
                    revision = committed.revision;
                    receipts |= committed.reply.is_some() || request.wants.origin.is_some();
                    working.keep();
                    outcomes.push(Ok(committed));
                }
                Err(error @ EngineError::Refused(_)) => {
                    working.undo();
                    if let Some(before) = before {
                        ledger = before;
                    }
                    outcomes.push(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        // A receipt, and what is done of a source, is kept also of what changed nothing, without a revision.
        if revision != self.head.revision || receipts && working.has_kept_rows() {
            let kept = Kept { put: self.put, ..Kept::of(working, self.head.revision, revision) };
            // A snapshot that is open would keep the store from reusing its log.
            drop(base);
            let request = group.first().and_then(|request| request.wants.span.as_ref());
            pending = self.put_ahead(kept, ledger, now, request)?;
            self.tick = tick;
        } else {
            drop(working);
            drop(base);
            if !group.is_empty() {
                // What they are told is of what was before them.
                self.settle()?;
                self.confirm()?;
            }
        }
        if looked {
            self.settle()?;
            self.next_due = clock::first(&*engine.store.snapshot()?, &engine.schema)?;
        }
        Ok((outcomes, pending))
    }

    /// Makes durable what was kept, and shows it.
    pub(crate) fn put(&mut self, kept: Kept, ledger: Ledger, now: Timestamp) -> Result<(), EngineError> {
        self.put_ahead(kept, ledger, now, None)?.harden()?;
        self.settle()
    }

    /// Settles what was kept, behind what was before it; that is durable then.
    fn put_ahead(
        &mut self,
        kept: Kept,
        ledger: Ledger,
        now: Timestamp,
        request: Option<&Span>,
    ) -> Result<Pending, EngineError> {
        let spent = self.settled()?;
        let group = Span::current();
        let commit = debug_span!(target: spans::COMMIT, "commit", revision = kept.revision);
        let scope = Scope::of(request, group, &commit);
        let _commit = commit.entered();
        let engine = self.engine.clone();
        let time = if kept.revision > self.head.revision { now } else { self.head.time };
        // The cache goes by revisions (see there).
        debug_assert!(
            kept.revision > self.head.revision || kept.docs.is_empty(),
            "a document without a revision"
        );
        if engine.is_shared() {
            let of = (kept.revision, time);
            self.commit_shared(kept.batch, kept.docs, of, Some(Arc::new(ledger)))?;
            self.note_armed(kept.armed);
            return Ok(Pending::hardened());
        }
        // Before the commit: whoever sees the commit has to know what it leaves behind.
        let before = engine.updates();
        engine.publish_updates(Arc::new(ledger));
        let precommit = match engine.store.precommit(&kept.batch) {
            Ok(precommit) => precommit,
            Err(error) => {
                engine.publish_updates(before);
                return Err(error.into());
            }
        };
        (self.head.revision, self.head.time) = (kept.revision, time);
        self.note_armed(kept.armed);
        self.gatherings.follow(&engine.schema, kept.regathered);
        let docs = (kept.docs, kept.put);
        let group = Group::new(engine, (precommit, scope), docs, (kept.revision, time), before, spent);
        Ok(self.go_ahead(group))
    }

    pub(crate) fn note_armed(&mut self, armed: Option<Timestamp>) {
        self.next_due = match (self.next_due, armed) {
            (Some(due), Some(armed)) => Some(due.min(armed)),
            (due, armed) => due.or(armed),
        };
    }

    /// Makes a batch durable, and then shows it to readers.
    fn write(&mut self, batch: &Batch, kept: Docs, revision: u64) -> Result<(), EngineError> {
        self.engine.sync(batch)?;
        for (key, doc) in kept {
            self.engine.cache.put(&key, doc, revision);
        }
        self.engine.revisions.publish(revision);
        self.head.revision = revision;
        Ok(())
    }

    /// Runs a step of maintenance that no log entry tells of: a batch and a revision of its own. Returns what `f` does.
    ///
    /// Time does not go on in it: what is built is right as at the same time as all else.
    pub(crate) fn maintain<T>(
        &mut self,
        f: impl FnOnce(&mut Working<'_>, &mut Batch) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.settle()?;
        let engine = self.engine.clone();
        // What is built changes what groups have counted.
        self.gatherings = Gatherings::default();
        let base = engine.base();
        let mut working = Working::new(&engine.schema, &engine.layouts, &base, self.head.time);
        let mut extra = Batch::new();
        let done = f(&mut working, &mut extra)?;
        working.check_keys()?;
        // The log has no entry of this revision: whoever follows it has to start afresh. It tells the time otherwise.
        extra.delete_range(keys::LOG, KeyRange::all());
        extra.put(keys::META, keys::TIME, keys::time(self.head.time));
        let revision = self.head.revision + 1;
        for touched in working.touched.values_mut() {
            if let Some(doc) = &mut touched.after {
                Arc::make_mut(doc).revision = revision;
            }
        }
        working.keep();
        let mut batch = batch(&mut working, self.head.revision, revision);
        extra.append(&mut batch);
        let kept = std::mem::take(&mut working.kept);
        let armed = working.armed;
        drop(working);
        drop(base);
        match engine.is_shared() {
            true => self.commit_built(extra, kept, revision)?,
            false => self.write(&extra, kept, revision)?,
        }
        self.note_armed(armed);
        Ok(done)
    }
}

/// Loads what the transactions of a group write to: each of them asks for its own only.
fn prefetch(working: &Working<'_>, group: &[Request<'_>]) -> Result<(), EngineError> {
    match group.len() {
        0 | 1 => Ok(()),
        _ => {
            let writes = group.iter().flat_map(|request| &request.transaction.writes);
            working.prefetch(writes.take(PREFETCHED).map(Write::key))
        }
    }
}

/// What a group leaves to the store and to the cache.
pub(crate) struct Kept {
    batch: Batch,
    docs: Docs,
    revision: u64,
    armed: Option<Timestamp>,
    /// What it changes of members that are gathered.
    regathered: Vec<(usize, Shift)>,
    /// Which documents the cache gets.
    pub(crate) put: Put,
}

/// Which of the documents that a commit changes the cache gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// All of them.
    All,
    /// Those that it has already.
    Known,
}

impl Kept {
    /// All that was kept, between two revisions.
    pub(crate) fn of(mut working: Working<'_>, from: u64, to: u64) -> Kept {
        let batch = batch(&mut working, from, to);
        let regathered = working.take_regathered();
        Kept { batch, armed: working.armed, docs: working.kept, revision: to, regathered, put: Put::All }
    }

    /// The same, behind what another batch removes.
    pub(crate) fn behind(mut self, mut removed: Batch) -> Kept {
        removed.append(&mut self.batch);
        Kept { batch: removed, ..self }
    }
}

/// All that a group changed, with the revision that it goes on from as its condition.
fn batch(working: &mut Working<'_>, from: u64, to: u64) -> Batch {
    let mut batch = Batch::new();
    for (key, doc) in &working.kept {
        let at = keys::doc(working.schema.ty(key.ty).id, &key.id);
        match doc {
            Some(doc) => {
                let mut bytes = Vec::with_capacity(256);
                working.layouts[key.ty.0 as usize].encode(doc, &mut bytes);
                batch.put(keys::DOC, at, bytes);
            }
            None => batch.delete(keys::DOC, at),
        }
    }
    for ((keyspace, key), row) in working.take_kept_rows() {
        match row {
            Some(value) => batch.put(keyspace, key, value),
            None => batch.delete(keyspace, key),
        }
    }
    batch.require(keys::META, keys::REVISION, (from > 0).then(|| from.to_be_bytes().to_vec()));
    // A receipt of what changed nothing has no revision of its own.
    if to > from {
        batch.put(keys::META, keys::REVISION, to.to_be_bytes().to_vec());
    }
    batch
}

/// The time as at which all that is stored is right: that of the last commit.
pub(crate) fn stored_time(snapshot: &dyn Snapshot) -> Result<Timestamp, EngineError> {
    let mut last = keys::read_time(snapshot)?.unwrap_or(Timestamp::MIN);
    let mut corrupt = false;
    snapshot.scan(keys::LOG, &KeyRange::all(), Direction::Backward, 1, &mut |_, value| {
        match log::time_of(value) {
            Ok(time) => last = time,
            Err(_) => corrupt = true,
        }
        ControlFlow::Break(())
    })?;
    if corrupt { Err(EngineError::corrupt("the end of the log")) } else { Ok(last) }
}

/// Lets all come in a working state that is due at its time, since the time of the last commit; the state is then at the
/// time that this reached.
pub(crate) fn let_come(
    working: &mut Working<'_>,
    last: Timestamp,
    revision: &mut u64,
    ledger: &mut Ledger,
) -> Result<Option<Tick>, EngineError> {
    let due = clock::due(working, working.now())?;
    let until = due.until;
    if due.is_empty() {
        return Ok(None);
    }
    working.move_on(last, until);
    let ran = due.run(working);
    let finished = |work| Ok((finish(working, &[], *revision, ledger, None)?, work));
    match ran.and_then(finished) {
        Ok((finished, work)) => {
            *revision = finished.revision;
            working.keep();
            working.settle(until);
            let updates = finished.updates;
            Ok(finished.commit.map(|commit| Tick { commit, work, updates }))
        }
        // A value that the clock brings about is too long for its index, say. Time stands still until a write mends
        // that, and writes go on.
        Err(EngineError::Refused(_)) => {
            working.undo();
            working.settle(last);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Runs a transaction, unless it repeats one whose reply is kept.
fn run_once(
    engine: &Engine,
    working: &mut Working<'_>,
    request: &Request<'_>,
    revision: u64,
    ledger: &mut Ledger,
) -> Result<Committed, EngineError> {
    let _request = request.wants.within();
    let writes = request.transaction.writes.len();
    let _transaction = debug_span!(target: spans::COMMIT, "transaction", writes).entered();
    if let Some(origin) = &request.wants.origin {
        if origin::is_done(working, origin)? {
            let (results, work, updates) = (Vec::new(), Work::default(), Vec::new());
            return Ok(Committed { revision, commit: None, results, work, updates, reply: None });
        }
        let committed = run(working, request, revision, ledger)?;
        origin::note(working, origin)?;
        return Ok(committed);
    }
    let Some(keep) = &request.wants.kept else { return run(working, request, revision, ledger) };
    if let Some(receipt) = receipt::find(working, &keep.key)? {
        let reply = Some(receipt.reply_to(&keep.fingerprint)?);
        let (results, work, updates) = (Vec::new(), Work::default(), Vec::new());
        return Ok(Committed { revision, commit: None, results, work, updates, reply });
    }
    let mut committed = run(working, request, revision, ledger)?;
    if let Some(actor) = &request.wants.shown_to {
        let sight = engine.sight(working, actor.as_ref())?;
        working.veil = Some(Veil::new(sight));
    }
    let reply = receipt::keep(working, keep, &committed);
    working.veil = None;
    committed.reply = Some(reply?);
    Ok(committed)
}

/// Runs a transaction on a working state, which is left with it in a layer of its own.
pub(crate) fn run(
    working: &mut Working<'_>,
    request: &Request<'_>,
    revision: u64,
    ledger: &mut Ledger,
) -> Result<Committed, EngineError> {
    let transaction = request.transaction;
    let read_before = working.base.rows_read();
    working.open = Some(ledger.open.clone());
    working.actor = request.wants.actor.clone();
    working.reviewed = request.wants.reviewed.clone();
    working.keeps_time = request.wants.marks;
    let more = &request.wants.more;
    let writes: Cow<'_, [Write]> = match more.is_empty() {
        true => Cow::Borrowed(&transaction.writes),
        false => Cow::Owned(transaction.writes.iter().chain(more).cloned().collect()),
    };
    let writes = &*writes;
    debug_span!(target: spans::COMMIT, "write").in_scope(|| write::apply(working, writes))?;
    processors::mutate(working, writes)?;
    let mut work = debug_span!(target: spans::COMMIT, "evaluate").in_scope(|| propagate(working))?;
    write::ensure(working, writes)?;
    processors::validate(working, writes)?;
    let Finished { revision, commit, updates, rows_written } =
        finish(working, writes, revision, ledger, None)?;
    work.rows_written = rows_written;
    work.rows_read = working.base.rows_read() - read_before;
    let results = match request.wants.results {
        true => reply::results(working, transaction.writes.iter().map(Write::key))?,
        false => Vec::new(),
    };
    Ok(Committed { revision, commit, results, work, updates, reply: None })
}

/// What became of a transaction whose derived values are as they shall be.
pub(crate) struct Finished {
    pub revision: u64,
    pub commit: Option<Arc<Commit>>,
    pub updates: Vec<UpdateId>,
    /// Rows that go to the store, documents among them, the log's entry and versions not.
    pub rows_written: u64,
}

/// Brings indexes up to date, appends to the log, and hands what is left over to updates; `by` is the update of which this
/// is a step.
pub(crate) fn finish(
    working: &mut Working<'_>,
    writes: &[Write],
    revision: u64,
    ledger: &mut Ledger,
    by: Option<UpdateId>,
) -> Result<Finished, EngineError> {
    // What came out as it was is no change: a no-op has no revision.
    working.touched.retain(|_, touched| touched.before != touched.after);
    let mut finished = Finished { revision, commit: None, updates: Vec::new(), rows_written: 0 };
    let deferred = std::mem::take(&mut working.deferred);
    // What the clock changed may be nothing that anybody sees: it is a commit all the same, for its time.
    if !working.touched.is_empty() || working.by_clock || working.keeps_time {
        index::maintain(working, writes)?;
        files::maintain(working, writes)?;
        working.check_keys()?;
        let revision = revision + 1;
        finished.rows_written = working.changed_rows();
        let schema = working.schema;
        for (key, touched) in &mut working.touched {
            // Who only keeps a part of somebody's sum has not changed for anybody who looks.
            if touched.is_visible(schema, key)
                && let Some(doc) = &mut touched.after
            {
                Arc::make_mut(doc).revision = revision;
            }
        }
        finished.revision = revision;
        let commit = log::append(working, revision);
        history::append(working, &commit)?;
        finished.commit = Some(Arc::new(commit));
        finished.updates = ledger.take(working, deferred, revision, by)?;
        if !finished.updates.is_empty() {
            working.lags = lags(working.schema, &ledger.open);
        }
        working.open = Some(ledger.open.clone());
    }
    Ok(finished)
}
