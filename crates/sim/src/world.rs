//! One run: the engine, the model beside it, and a group of transactions after the other.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use corollary_engine::eval::View;
use corollary_engine::reply::{Request, Wants};
use corollary_engine::{
    Commit, Committed, Engine, EngineError, EngineOptions, Executor, Key, Refusal, Transaction, open, receipt,
};
use corollary_store::{Fault, Store};
use jiff::{SignedDuration, Timestamp};

use crate::draft::{Draft, Fact, FieldDraft, FieldKind, TypeDraft};
use crate::fold::Fold;
use crate::judge::{self, State};
use crate::make;
use crate::model::{Facts, Place, Setting, Step};
use crate::nodes::Node;
use crate::plan::Plan;
use crate::random::Random;
use crate::receipts::{Receipts, Ticket};
use crate::rules::Codes;
use crate::store::SimStore;
use crate::translate::{shown, transaction};
use crate::workload::Workload;
use crate::{Notes, Report, ask, names, urls};

/// Of transactions: what each did, or why not.
type Outcomes = Vec<Result<Committed, EngineError>>;

/// See the module.
pub struct World {
    pub(crate) random: Random,
    pub(crate) draft: Arc<Draft>,
    /// The text of the draft.
    pub text: String,
    pub(crate) store: Arc<SimStore>,
    pub(crate) executor: RefCell<Executor>,
    pub(crate) model: Facts,
    /// Of each resource.
    pub(crate) revisions: BTreeMap<Place, u64>,
    /// Of the last commit.
    pub(crate) revision: u64,
    pub(crate) fold: Fold,
    receipts: Receipts,
    /// What the clock shows; it may go back.
    clock: Timestamp,
    /// Of the last commit.
    pub(crate) last: Timestamp,
    /// Over the same store, those whose turn it is not.
    pub(crate) others: Vec<Node>,
    /// By how many seconds the clock of the one whose turn it is is wrong.
    pub(crate) skew: i64,
    /// Has the one whose turn it is yet to learn what others did?
    pub(crate) late: bool,
    /// How many nodes have been given a name.
    pub(crate) named: usize,
    /// Was an update open before the group that is judged, or did it begin one? Then a transaction that changes no fact may
    /// still bring values that were behind.
    behind: bool,
    /// What was done so far.
    pub report: Report,
    /// What was done last.
    pub notes: Notes,
    /// The derived fields that the first schema had, as `Type.field`.
    pub first_derived: Vec<String>,
    /// How many writes each step tried.
    pub writes: BTreeMap<usize, usize>,
}

/// What happens while a group is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    /// Nothing.
    Calm,
    /// Somebody reads just before and just after the store has it.
    Watched,
    /// Somebody begins to read before, and ends after.
    AmidARead,
    /// The store fails.
    Fault(Fault),
    /// The node dies, and others go on.
    Death {
        /// Is the group there?
        survives: bool,
    },
}

/// Which step of a plan it is.
struct At<'a> {
    step: usize,
    /// Is this write of it left out?
    dropped: &'a dyn Fn(usize) -> bool,
}

/// The facts that each type of a draft declares.
pub(crate) fn declared(draft: &Draft) -> Vec<Vec<Fact<'_>>> {
    (0..draft.types.len()).map(|ty| draft.facts(ty)).collect()
}

/// What a reader saw: the revision, and some documents.
type Seen = (u64, Vec<(Key, Option<Arc<corollary_engine::Doc>>)>);

impl World {
    /// The beginning of a run: a schema, and nothing in it.
    pub fn new(plan: &Plan) -> Result<World, String> {
        let mut random = plan.chance(0);
        let mut draft = make::draft(&mut random);
        let name_of = |ty: &TypeDraft, field: &FieldDraft| format!("{}.{}", ty.name, field.name);
        for ty in &mut draft.types {
            let fields = std::mem::take(&mut ty.fields);
            let kept = |field: &FieldDraft| {
                !matches!(field.kind, FieldKind::Derived(_)) || !plan.without.contains(&name_of(ty, field))
            };
            ty.fields = fields.into_iter().filter(kept).collect();
        }
        let mut report = Report::default();
        report.written.derived = draft.derived().count();
        let text = make::settle(&mut draft, None, &mut report.written)?;
        let first_derived = draft.derived().map(|(ty, field, _)| name_of(&draft.types[ty], field)).collect();
        let store = Arc::new(SimStore::new(plan.nodes > 0).map_err(|error| error.to_string())?);
        let options = EngineOptions { node: "n1".into(), ..options(&mut random) };
        let executor = open(store.clone(), &text, &options, Timestamp::UNIX_EPOCH, &mut |_| {})
            .map_err(|error| format!("an empty store cannot be opened: {error}"))?;
        Ok(World {
            random,
            draft: Arc::new(draft),
            text,
            store,
            executor: RefCell::new(executor),
            model: Facts::default(),
            revisions: BTreeMap::new(),
            revision: 0,
            fold: Fold::default(),
            receipts: Receipts::default(),
            clock: Timestamp::UNIX_EPOCH,
            last: Timestamp::MIN,
            others: Vec::new(),
            skew: 0,
            late: false,
            named: 1,
            behind: false,
            report,
            notes: Notes::default(),
            first_derived,
            writes: BTreeMap::new(),
        })
    }

    pub(crate) fn engine(&self) -> Arc<Engine> {
        self.executor.borrow().engine().clone()
    }

    /// The time of what comes next.
    pub(crate) fn now(&mut self) -> Timestamp {
        let by = match self.random.below(100) {
            0..6 => -90,
            // Past what many windows wait for.
            6..16 => self.random.between(0, 30) * 3_600,
            _ => self.random.between(0, 30),
        };
        let moved = self.clock.checked_add(SignedDuration::from_secs(by));
        self.clock = moved.unwrap_or(self.clock);
        self.clock.checked_add(SignedDuration::from_secs(self.skew)).unwrap_or(self.clock)
    }

    pub(crate) fn state(&self) -> Result<State, String> {
        judge::state(&self.engine(), self.clock)
    }

    /// One group of transactions, or something else that happens.
    pub fn step(&mut self, plan: &Plan, step: usize) -> Result<(), String> {
        self.random = plan.chance(step);
        self.report.steps += 1;
        let dropped = |write: usize| plan.dropped.contains(&(step, write));
        let at = At { step, dropped: &dropped };
        self.turn(plan, step)?;
        let what = self.random.weighted(&[56, 8, 8, 5, 4, 4, 7, 4, 4, 20]);
        if !matches!(what, 0 | 9) {
            self.learn()?;
        }
        match what {
            0 => self.group(Around::Calm, &at)?,
            1 => self.group(Around::Watched, &at)?,
            2 => self.group(Around::AmidARead, &at)?,
            3 => {
                let fault = *self.random.pick(&[Fault::Full, Fault::Io]);
                self.group(Around::Fault(fault), &at)?;
            }
            4 => {
                let survives = self.random.percent(50);
                let dies = plan.nodes > 0 && plan.chance(usize::MAX / 2 - step).percent(60);
                let around =
                    if dies { Around::Death { survives } } else { Around::Fault(Fault::Sync { survives }) };
                self.group(around, &at)?;
            }
            5 => self.crash()?,
            6 => self.change_schema()?,
            7 => self.change_schema_cut_short()?,
            8 => self.trim()?,
            _ => {
                let steps = 1 + self.random.below(12);
                self.update(steps)?;
            }
        }
        self.report.resources = self.report.resources.max(self.model.records.len());
        let every = |random: &mut Random| random.percent(40);
        let (facts, derived, log) =
            (every(&mut self.random), every(&mut self.random), self.random.percent(20));
        let queries = if self.random.percent(35) { 3 } else { 0 };
        self.look(facts, derived, log, queries)
    }

    /// The judgement of all.
    pub fn finish(&mut self, plan: &Plan) -> Result<(), String> {
        self.random = plan.chance(plan.steps + 1);
        self.look(true, true, true, 10)?;
        self.finish_updates()?;
        self.look(true, true, true, 0)?;
        self.crash()?;
        self.look(true, true, true, 0)?;
        let written = self.report.written;
        if written.derived >= 40 && written.refused * 4 > written.derived * 3 {
            return Err(format!("of {} derived fields, {} were refused", written.derived, written.refused));
        }
        self.report.digest = self.digest()?;
        Ok(())
    }

    /// Asks the judges.
    fn look(&mut self, facts: bool, derived: bool, log: bool, queries: usize) -> Result<(), String> {
        self.learn()?;
        let (engine, draft) = (self.engine(), self.draft.clone());
        if engine.revision() != self.revision {
            return Err(format!("the revision is {}, and should be {}", engine.revision(), self.revision));
        }
        if facts || log {
            let state = self.state()?;
            judge::facts(engine.schema(), &draft, &declared(&draft), &self.model, &state)?;
            judge::strict(engine.schema(), &state, self.revision)?;
            if let Some(wrong) = judge::read(&engine, self.clock, receipt::check)? {
                return Err(wrong);
            }
            let model = &self.model;
            judge::read(&engine, self.clock, |working| names::lead(working, &draft, model))??;
            judge::read(&engine, self.clock, |working| urls::lead(working, &draft, &state))??;
            if log {
                self.fold.check(&engine, &state)?;
            }
        }
        if derived {
            self.report.oracles += 1;
            judge::derived(&engine)?;
        }
        self.look_at_others()?;
        for _ in 0..queries {
            if ask::ask(&engine, &draft, &mut self.random, self.clock)? {
                self.report.queries += 1;
            } else {
                self.report.refused_queries += 1;
            }
        }
        Ok(())
    }

    /// A group of transactions.
    fn group(&mut self, around: Around, at: &At<'_>) -> Result<(), String> {
        let draft = self.draft.clone();
        let declared = declared(&draft);
        let now = self.now();
        // What the clock changes comes with a group, or by itself before one whose end is predicted.
        if !matches!(around, Around::Calm) || self.random.percent(50) {
            self.tick(now)?;
        }
        let time = now.max(self.last);
        let strict = draft.derived().any(|(_, _, derived)| derived.strict);
        // Whether a strict field refuses is not predicted: alone in its group, a transaction shows it.
        let fails = matches!(around, Around::Fault(_) | Around::Death { .. });
        let count = if strict && fails { 1 } else { 1 + self.random.below(4) };
        let mut predicted = self.model.clone();
        predicted.expire(&Setting { draft: &draft, facts: &declared, now: time, revisions: &self.revisions });
        let (mut changes, mut writes) = (0, 0);
        let mut group: Vec<Vec<Step>> = Vec::with_capacity(count);
        let with_keys = matches!(around, Around::Calm) && self.random.percent(25);
        let mut tickets = Vec::new();
        for _ in 0..count {
            let revisions = &self.revisions;
            let random = &mut self.random;
            let (stored, created) = (&predicted, BTreeSet::new());
            let mut steps = Workload { draft: &draft, facts: &declared, stored, revisions, random, created }
                .transaction();
            tickets.push(with_keys.then(|| self.receipts.ticket(&mut self.random, &draft, &mut steps)));
            steps.retain(|_| {
                writes += 1;
                !(at.dropped)(writes - 1)
            });
            if fails && !group.is_empty() {
                // Nor is at which revision derived values let a resource be after the transactions before.
                steps.retain(|step| !matches!(step, Step::Require(..)));
            }
            let setting = Setting { draft: &draft, facts: &declared, now: time, revisions };
            changes += usize::from(predicted.run(&setting, &steps) == Ok(true));
            if !steps.is_empty() {
                self.notes.add(format!("{around:?} at {now}: {}", shown(&draft, &steps)));
            }
            group.push(steps);
        }
        self.writes.insert(at.step, writes);
        if group.iter().all(Vec::is_empty) {
            return Ok(());
        }
        self.report.transactions += count;
        let engine = self.engine();
        // One that is late does not know what is open.
        self.behind = self.late || !engine.updates().open.is_empty();
        let transactions: Result<Vec<Transaction>, String> =
            group.iter().map(|steps| transaction(engine.schema(), &draft, steps)).collect();
        let transactions = transactions?;
        let shadow = strict.then(|| self.store.crash_image());
        let judged = Judged {
            draft: &draft,
            declared: &declared,
            group: &group,
            transactions: &transactions,
            tickets: &tickets,
            time,
            shadow,
        };
        match around {
            Around::Calm => {
                let first = transactions.first().filter(|_| !self.late && !with_keys);
                let tried = first.map(|first| judge::tried(&engine, first, now));
                let outcomes = self.execute(&transactions, &tickets, now)?;
                if let (Some(tried), Some(outcome)) = (tried, outcomes.first()) {
                    judge::kept_its_word(&tried?, outcome)?;
                }
                self.accept(&judged, outcomes)
            }
            Around::Watched => self.watched(&judged, now),
            Around::AmidARead => self.amid_a_read(&judged, now),
            Around::Death { survives } => {
                self.store.kill(Some(survives));
                let outcome = self.executor.borrow_mut().commit(&transactions, now);
                self.store.kill(None);
                match outcome {
                    // There was nothing to commit.
                    Ok(outcomes) if engine.revision() == self.revision => self.accept(&judged, outcomes),
                    Err(EngineError::Store(error)) if error.is_fatal() && (changes > 0 || self.behind) => {
                        let kept = World::stored_revision(&*self.store)?;
                        self.keep(&judged, predicted, if survives { Some(kept) } else { None }, changes)?;
                        self.succeed()
                    }
                    outcome => Err(format!("the node died, and the group is {outcome:?}")),
                }
            }
            Around::Fault(fault) => {
                let before = self.state()?;
                self.store.fail(Some((0, fault)));
                let outcome = self.executor.borrow_mut().commit(&transactions, now);
                self.store.fail(None);
                match outcome {
                    // There was nothing to commit.
                    Ok(outcomes) if engine.revision() == self.revision => self.accept(&judged, outcomes),
                    Ok(_) => Err("the store failed, and the group did not".into()),
                    Err(EngineError::Store(_)) if changes > 0 || self.behind => {
                        self.report.failures += 1;
                        if engine.revision() != self.revision {
                            return Err(format!("a group that failed is published as {}", engine.revision()));
                        }
                        judge::same_state(
                            "before it was",
                            &before,
                            "after the group failed",
                            &self.state()?,
                        )?;
                        match fault {
                            Fault::Sync { survives } => {
                                self.crash_in_commit(&judged, predicted, survives, changes)
                            }
                            _ => Ok(()),
                        }
                    }
                    Err(error) => Err(format!("the group failed: {error}")),
                }
            }
        }
    }

    fn commit(&self, transactions: &[Transaction], now: Timestamp) -> Result<Outcomes, String> {
        let outcome = self.executor.borrow_mut().commit(transactions, now);
        outcome.map_err(|error| format!("the group failed: {error}"))
    }

    /// A group, some of whose requests come with keys.
    fn execute(
        &self,
        transactions: &[Transaction],
        tickets: &[Option<Ticket>],
        now: Timestamp,
    ) -> Result<Outcomes, String> {
        let of = |ticket: &Option<Ticket>| ticket.as_ref().map_or(Wants::results(), Ticket::wants);
        let wants: Vec<Wants> = tickets.iter().map(of).collect();
        let group: Vec<Request<'_>> = transactions
            .iter()
            .zip(&wants)
            .map(|(transaction, wants)| Request { transaction, wants })
            .collect();
        let outcome = self.executor.borrow_mut().execute(&group, now);
        outcome.map_err(|error| format!("the group failed: {error}"))
    }

    /// Lets the clock do what is due.
    fn tick(&mut self, now: Timestamp) -> Result<(), String> {
        self.commit(&[], now)?;
        self.ticked()
    }

    /// Lets the model go on to a time.
    fn expire(&mut self, draft: &Draft, now: Timestamp) {
        let declared = declared(draft);
        let setting = Setting { draft, facts: &declared, now, revisions: &self.revisions };
        self.model.expire(&setting);
    }

    /// Follows what the clock did before the last group.
    fn ticked(&mut self) -> Result<(), String> {
        let Some(commit) = self.executor.borrow().tick().map(|tick| tick.commit.clone()) else {
            return Ok(());
        };
        if commit.revision != self.revision + 1 || commit.time < self.last {
            return Err(format!("the clock commits {} at {}", commit.revision, commit.time));
        }
        let (engine, draft) = (self.engine(), self.draft.clone());
        let there = self.model.records.len();
        self.expire(&draft, commit.time);
        let mut gone = there - self.model.records.len();
        for change in &commit.changes {
            let place = judge::place(engine.schema(), &draft, &change.key);
            match (&change.before, &change.after) {
                (Some(_), Some(doc)) => drop(self.revisions.insert(place, doc.revision)),
                (Some(_), None) if gone > 0 && !self.model.has(&place) => {
                    gone -= 1;
                    self.report.expired += 1;
                    self.revisions.remove(&place);
                }
                _ => return Err(format!("the clock made or deleted {}", change.key.id)),
            }
        }
        if gone > 0 {
            return Err(format!("{gone} resources have come to their end, and are there"));
        }
        self.notes.add(format!("the clock, at {}", commit.time));
        self.report.ticks += 1;
        self.went_on(commit.revision, commit.time);
        Ok(())
    }

    /// A group during which readers look at what it is about.
    fn watched(&mut self, judged: &Judged<'_>, now: Timestamp) -> Result<(), String> {
        let before = self.state()?;
        let engine = self.reader()?;
        let keys = self.keys_about(judged);
        let seen: Arc<Mutex<Vec<Result<Seen, String>>>> = Arc::default();
        let (weak, store_of_seen) = (Arc::downgrade(&engine), seen.clone());
        self.store.watch(Some(Arc::new(move || {
            let Some(engine) = weak.upgrade() else { return };
            // One that looks into the store, then all of them from wherever they are, then one alone.
            for (lists, count) in [(true, 1), (false, keys.len()), (false, 1)] {
                let looked = judge::read(&engine, now, |working| {
                    if lists {
                        working.all(keys[0].ty)?;
                    }
                    let mut docs = Vec::new();
                    for key in &keys[..count] {
                        docs.push((key.clone(), working.after(key)?));
                    }
                    Ok((working.base.revision(), docs))
                });
                store_of_seen.lock().unwrap_or_else(PoisonError::into_inner).push(looked);
            }
        })));
        let outcomes = self.commit(judged.transactions, now);
        self.store.watch(None);
        self.accept(judged, outcomes?)?;
        let after = self.state()?;
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let mut newest = 0;
        for looked in seen {
            let (revision, docs) = looked?;
            if revision < newest {
                return Err(format!("a reader saw {newest}, and then {revision}"));
            }
            newest = revision;
            self.check_seen((revision, docs), &before, &after)?;
        }
        Ok(())
    }

    /// A group that is committed while somebody reads.
    fn amid_a_read(&mut self, judged: &Judged<'_>, now: Timestamp) -> Result<(), String> {
        let before = self.state()?;
        let engine = self.reader()?;
        let keys = self.keys_about(judged);
        let first = self.random.below(keys.len() + 1);
        let types: Vec<_> =
            engine.schema().types().filter(|(_, ty)| ty.visible()).map(|(ty, _)| ty).collect();
        let listed = *self.random.pick(&types);
        let outcomes = Cell::new(None);
        let committed = Cell::new(false);
        let (revision, docs, listing) = judge::read(&engine, now, |working| {
            let mut docs = Vec::new();
            for (at, key) in keys.iter().enumerate() {
                if at == first && !committed.replace(true) {
                    outcomes.set(Some(self.commit(judged.transactions, now)));
                }
                docs.push((key.clone(), working.after(key)?));
            }
            if !committed.replace(true) {
                outcomes.set(Some(self.commit(judged.transactions, now)));
            }
            let listing = working.all(listed)?;
            Ok((working.base.revision(), docs, listing))
        })?;
        let outcomes = outcomes.take().unwrap_or_else(|| Err("the read did not commit".into()))?;
        let old = self.revision;
        self.accept(judged, outcomes)?;
        let after = self.state()?;
        self.check_seen((revision, docs), &before, &after)?;
        let state = if revision == old { &before } else { &after };
        let expected = state.keys().filter(|key| key.ty == listed).map(|key| key.id.clone());
        if !listing.iter().eq(expected.collect::<Vec<_>>().iter()) {
            return Err(format!("a reader of revision {revision} was told of {listing:?}"));
        }
        Ok(())
    }

    /// The resources that a group is about, and some that they refer to.
    fn keys_about(&mut self, judged: &Judged<'_>) -> Vec<Key> {
        let engine = self.engine();
        let key = |place: &Place| judge::key(engine.schema(), judged.draft, place);
        let mut keys: Vec<Key> = judged.group.iter().flatten().map(|step| key(step.place())).collect();
        let others = self.model.records.keys().step_by(1 + self.model.records.len() / 10);
        keys.extend(others.map(key));
        keys.sort();
        keys.dedup();
        self.random.shuffle(&mut keys);
        keys.truncate(40);
        keys
    }

    /// Is what a reader saw all of one revision?
    fn check_seen(&self, seen: Seen, before: &State, after: &State) -> Result<(), String> {
        let (revision, docs) = seen;
        // The states before and after the group; between them nothing was ever visible.
        let state = if revision == self.revision { after } else { before };
        for (key, doc) in docs {
            if state.get(&key) != doc.as_ref() {
                return Err(format!(
                    "a reader of revision {revision} saw {} as {doc:?}, and it was {:?}",
                    key.id,
                    state.get(&key)
                ));
            }
        }
        Ok(())
    }

    /// Compares what the engine said of each transaction with the model, and goes on from there.
    fn accept(&mut self, judged: &Judged<'_>, outcomes: Outcomes) -> Result<(), String> {
        self.ticked()?;
        let mut accepted: Vec<Transaction> = Vec::new();
        let mut last = Vec::new();
        for (at, outcome) in outcomes.into_iter().enumerate() {
            let steps = &judged.group[at];
            let ticket = judged.tickets[at];
            let told = ticket.and_then(|ticket| self.receipts.judge(&ticket, judged.time, &outcome));
            if let Some(told) = told {
                told?;
                self.report.repeated += 1;
                continue;
            }
            let setting = Setting {
                draft: judged.draft,
                facts: judged.declared,
                now: judged.time,
                revisions: &self.revisions,
            };
            let mut next = self.model.clone();
            let verdict = next.run(&setting, steps);
            let about = || shown(judged.draft, steps);
            match (verdict, outcome) {
                (Ok(changed), Ok(committed)) => {
                    self.follow(judged, steps, &next, changed, &committed)
                        .map_err(|what| format!("{what}: {}", about()))?;
                    self.model = next;
                    if let Some(ticket) = &ticket {
                        let asked = (self.draft.clone(), steps.clone());
                        self.receipts.keep(ticket, judged.time, &committed, asked)?;
                    }
                    let transaction = &judged.transactions[at];
                    let keys = transaction.writes.iter().map(|write| write.key().clone());
                    let results = keys.zip(committed.results);
                    last = results.filter_map(|(key, result)| Some((key, result?))).collect();
                    accepted.push(transaction.clone());
                }
                (Err(codes), Err(EngineError::Refused(refusals))) if codes == codes_of(&refusals) => {
                    self.report.refused += 1;
                }
                (_, Err(EngineError::Refused(refusals)))
                    if codes_of(&refusals) == Codes::from(["strict"]) =>
                {
                    self.report.refused += 1;
                    judged
                        .check_strict(&accepted, &judged.transactions[at])
                        .map_err(|what| format!("{what}: {}", about()))?;
                }
                (verdict, Err(error)) => {
                    return Err(format!("the model says {verdict:?}, and the engine {error:?}: {}", about()));
                }
                (Err(codes), Ok(_)) => {
                    return Err(format!(
                        "the engine accepts what should be refused with {codes:?}: {}",
                        about()
                    ));
                }
            }
        }
        if !accepted.is_empty() && self.engine().revision() != self.revision {
            return Err(format!(
                "{} is published, and {} was committed",
                self.engine().revision(),
                self.revision
            ));
        }
        // The state is the one that the last of them left.
        judge::results(&self.engine(), judged.time, &last)
    }

    /// Checks what the engine says that an accepted transaction did.
    fn follow(
        &mut self,
        judged: &Judged<'_>,
        steps: &[Step],
        next: &Facts,
        changed: bool,
        committed: &Committed,
    ) -> Result<(), String> {
        let engine = self.engine();
        let brought =
            self.behind && !changed && committed.commit.as_ref().is_some_and(|it| only_follows(&engine, it));
        let changed = changed || brought;
        self.behind |= !committed.updates.is_empty();
        let revision = self.revision + u64::from(changed);
        if committed.revision != revision || committed.commit.is_some() != changed {
            return Err(format!(
                "the revision is {} behind {}, and the facts changed: {changed}; it tells of {:?}",
                committed.revision,
                self.revision,
                committed.commit.as_ref().map(|commit| &commit.changes)
            ));
        }
        for (step, result) in steps.iter().zip(&committed.results) {
            if result.is_some() != next.has(step.place()) {
                return Err(format!("after it {:?} is {result:?}", step.place()));
            }
        }
        if let Some(commit) = &committed.commit {
            if commit.time != judged.time {
                return Err(format!("its time is {}, and should be {}", commit.time, judged.time));
            }
            if commit.changes.is_empty() || !commit.changes.is_sorted_by(|left, right| left.key < right.key) {
                return Err("its changes are none, or not in the order of keys".into());
            }
            for change in &commit.changes {
                judge::stays_strict(engine.schema(), change)?;
                let place = judge::place(engine.schema(), judged.draft, &change.key);
                match &change.after {
                    Some(doc) => drop(self.revisions.insert(place, doc.revision)),
                    None => drop(self.revisions.remove(&place)),
                }
            }
            self.report.commits += 1;
            self.went_on(revision, judged.time);
        }
        Ok(())
    }

    /// There was a commit.
    pub(crate) fn went_on(&mut self, revision: u64, time: Timestamp) {
        (self.revision, self.last) = (revision, time);
        self.fold.commits.push_back((revision, time));
    }

    /// The store has stopped within a commit: what is there after a restart?
    fn crash_in_commit(
        &mut self,
        judged: &Judged<'_>,
        predicted: Facts,
        survives: bool,
        changes: usize,
    ) -> Result<(), String> {
        let again = self.executor.borrow_mut().commit(judged.transactions, judged.time);
        if !matches!(again, Err(EngineError::Store(_))) {
            return Err(format!("after a failed sync the next group is {again:?}"));
        }
        let kept = survives.then(|| World::stored_revision(&self.store.crash_image())).transpose()?;
        self.keep(judged, predicted, kept, changes)?;
        self.restart()
    }

    /// Goes on from what is stored of a group whose commit told nothing, if anything is: the last revision.
    fn keep(
        &mut self,
        judged: &Judged<'_>,
        predicted: Facts,
        kept: Option<u64>,
        changes: usize,
    ) -> Result<(), String> {
        let Some(kept) = kept else { return Ok(()) };
        let kept = kept.saturating_sub(self.revision) as usize;
        // What only brings values that were behind may be a commit, too.
        if kept < changes || (kept > changes && !self.behind) {
            return Err(format!("{kept} commits are kept of a group with {changes}"));
        }
        for _ in 0..kept {
            self.report.commits += 1;
            self.went_on(self.revision + 1, judged.time);
        }
        self.model = predicted;
        Ok(())
    }
}

/// A group and what it takes to judge it.
struct Judged<'a> {
    draft: &'a Draft,
    declared: &'a [Vec<Fact<'a>>],
    group: &'a [Vec<Step>],
    transactions: &'a [Transaction],
    /// The key of each, where it has one.
    tickets: &'a [Option<Ticket>],
    /// Of the commit.
    time: Timestamp,
    /// What was stored before the group, where fields are strict.
    shadow: Option<SimStore>,
}

impl Judged<'_> {
    /// Was a transaction rightly refused because of a strict field? Where none is strict, it makes one an error.
    fn check_strict(&self, accepted: &[Transaction], refused: &Transaction) -> Result<(), String> {
        let Some(store) = &self.shadow else { return Err("it is refused, and no field is strict".into()) };
        let mut lenient = self.draft.clone();
        let mut strict = Vec::new();
        for ty in &mut lenient.types {
            for field in &mut ty.fields {
                if let FieldKind::Derived(derived) = &mut field.kind {
                    // What a strict field is computed from follows at once; without strict fields only what is not
                    // in the background does.
                    derived.background = false;
                    if std::mem::take(&mut derived.strict) {
                        strict.push((ty.name, field.name.clone()));
                    }
                }
            }
        }
        let store: Arc<dyn Store> = Arc::new(store.crash_image());
        let (text, _) = lenient.text();
        let mut executor = open(store, &text, &EngineOptions::default(), self.time, &mut |_| {})
            .map_err(|error| format!("without strict fields it does not open: {error}"))?;
        let mut group = accepted.to_vec();
        group.push(refused.clone());
        let outcomes = executor.commit(&group, self.time).map_err(|error| error.to_string())?;
        let schema = executor.engine().schema().clone();
        match outcomes.into_iter().next_back() {
            Some(Ok(committed)) => {
                let changes = committed.commit.iter().flat_map(|commit| &commit.changes);
                let is_error = |(key, doc): (&Key, &Arc<corollary_engine::Doc>)| {
                    let ty = schema.ty(key.ty);
                    let fields = strict.iter().filter(|(name, _)| *name == ty.name);
                    fields.filter_map(|(_, name)| ty.named(name)).any(|(slot, _)| doc.get(slot).is_error())
                };
                if changes.filter_map(|it| Some((&it.key, it.after.as_ref()?))).any(is_error) {
                    return Ok(());
                }
                Err("it is refused as if it made a strict field an error, which it does not".into())
            }
            // It would be refused for another reason in any case.
            Some(Err(EngineError::Refused(_))) => Ok(()),
            outcome => Err(format!("without strict fields it is {outcome:?}")),
        }
    }
}

/// Options with a cache of any size.
pub(crate) fn options(random: &mut Random) -> EngineOptions {
    EngineOptions {
        cache_bytes: *random.pick(&[0, 1 << 13, 1 << 16, 128 << 20]),
        update_budget: *random.pick(&[0, 1, 1, 2, 3, 5, 1_000]),
        ..EngineOptions::default()
    }
}

fn codes_of(refusals: &[Refusal]) -> Codes {
    refusals.iter().map(|refusal| refusal.code).collect()
}

/// Are no facts in a commit?
fn only_follows(engine: &Engine, commit: &Commit) -> bool {
    commit.changes.iter().all(|change| {
        let resource = engine.schema().ty(change.key.ty);
        change.before.is_some()
            && change.after.is_some()
            && change.changed.iter().all(|slot| !resource.field(*slot).is_fact())
    })
}
