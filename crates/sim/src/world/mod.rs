//! One run: the engine, the model beside it, and one step after the other: a group of transactions (`group`), judged by
//! what the engine says of it (`verdict`) and by what readers see meanwhile (`reading`), or something else that happens.

mod clients;
mod group;
mod reading;
mod verdict;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use corollary_engine::{Engine, EngineOptions, Executor, open, receipt};
use corollary_store::Fault;
use jiff::{SignedDuration, Timestamp};

use crate::draft::{Draft, Fact, FieldDraft, FieldKind, TypeDraft};
use crate::event::FEW_VISITED;
use crate::fold::Fold;
use crate::ground::Ground;
use crate::history::History;
use crate::history::facts::{Asked, Plain};
use crate::judge::{self, State};
use crate::make;
use crate::model::{Facts, Place, Setting};
use crate::nodes::Node;
use crate::origins::Origins;
use crate::plan::Plan;
use crate::processors::Line;
use crate::random::Random;
use crate::receipts::Receipts;
use crate::store::SimStore;
use crate::{Notes, Report, ask, names, urls};
use group::{Around, At};

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
    /// What clients asked and were told.
    pub(crate) history: History<Plain>,
    receipts: Receipts,
    origins: Origins,
    /// The processors that writes pass.
    pub(crate) line: Arc<Line>,
    /// Has another version of the schema been opened since the history was last checked?
    pub(crate) renewed: bool,
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
    /// The types of whose changes the times were not predicted before the version that is opened.
    pub(crate) untold: Vec<usize>,
    /// How many files have been sent.
    pub(crate) sent: u64,
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

/// The facts that each type of a draft declares.
pub(crate) fn declared(draft: &Draft) -> Vec<Vec<Fact<'_>>> {
    (0..draft.types.len()).map(|ty| draft.facts(ty)).collect()
}

impl World {
    /// The beginning of a run: a schema, and nothing in it.
    pub fn new(plan: &Plan, ground: &Ground) -> Result<World, String> {
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
        let store = Arc::new(SimStore::new(ground, plan.nodes > 0).map_err(|error| error.to_string())?);
        let options = EngineOptions { node: "n1".into(), ..options(&mut random) };
        let executor = open(store.clone(), &text, &options, Timestamp::UNIX_EPOCH, &mut |_| {})
            .map_err(|error| format!("an empty store cannot be opened: {error}"))?;
        let draft = Arc::new(draft);
        let line: Arc<Line> = Arc::default();
        let (facts, revisions) = Default::default();
        let plain = Plain { draft: draft.clone(), line: line.clone(), facts, revisions };
        Ok(World {
            random,
            draft,
            text,
            store,
            executor: RefCell::new(executor),
            model: Facts::default(),
            revisions: BTreeMap::new(),
            revision: 0,
            fold: Fold::default(),
            history: History::new(plain, 0),
            receipts: Receipts::default(),
            origins: Origins::default(),
            line,
            renewed: false,
            clock: Timestamp::UNIX_EPOCH,
            last: Timestamp::MIN,
            others: Vec::new(),
            skew: 0,
            late: false,
            untold: Vec::new(),
            sent: 0,
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
        // Chances of their own, so that what is done otherwise does not depend on them.
        let mut chance = plan.chance(usize::MAX / 3 - step);
        self.change_processors(&mut chance)?;
        let what = self.random.weighted(&plan.weights.0);
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
                self.update(steps, FEW_VISITED)?;
            }
        }
        self.clients_read(&mut chance)?;
        self.settle()?;
        self.report.resources = self.report.resources.max(self.model.records.len());
        let (facts, derived, log) =
            (self.random.percent(40), self.random.percent(20), self.random.percent(10));
        let queries = if self.random.percent(35) { 3 } else { 0 };
        self.look(facts, derived, log, queries)
    }

    /// The judgement of all.
    pub fn finish(&mut self, plan: &Plan) -> Result<(), String> {
        self.random = plan.chance(plan.steps + 1);
        self.look(true, true, true, 10)?;
        self.finish_updates()?;
        self.settle()?;
        self.look(true, true, true, 0)?;
        self.crash()?;
        self.settle()?;
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
                judge::audited(&engine)?;
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
                let filling = judge::read(&engine, self.clock, |working| Ok(working.filling()))?;
                self.report.queries_without += usize::from(!filling.is_empty());
            } else {
                self.report.refused_queries += 1;
            }
        }
        Ok(())
    }

    /// Lets the clock do what is due.
    fn tick(&mut self, now: Timestamp) -> Result<(), String> {
        self.commit(&[], now)?;
        self.ticked()
    }

    /// Lets the model go on to a time.
    fn expire(&mut self, draft: &Draft, now: Timestamp) {
        let declared = declared(draft);
        let line = self.line.clone();
        let setting = Setting { draft, facts: &declared, line: &line, now, revisions: &self.revisions };
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
        let told = Asked::clock(commit.time).with_effects(engine.schema(), &draft, &commit);
        self.history.by_itself(commit.revision, Some(told));
        self.went_on(commit.revision, commit.time);
        Ok(())
    }

    /// There was a commit.
    pub(crate) fn went_on(&mut self, revision: u64, time: Timestamp) {
        (self.revision, self.last) = (revision, time);
        self.fold.commits.push_back((revision, time));
    }
}

/// A group of transactions while nothing else happens, and so on: what a step may be, and how often without anything told.
pub const STEPS: [(&str, usize); 10] = [
    ("group", 56),
    ("watched", 8),
    ("amid-read", 8),
    ("fault", 5),
    ("sync", 4),
    ("crash", 4),
    ("schema", 7),
    ("schema-cut-short", 4),
    ("trim", 4),
    ("update", 20),
];

/// Options with a cache of any size.
pub(crate) fn options(random: &mut Random) -> EngineOptions {
    EngineOptions {
        cache_bytes: *random.pick(&[0, 1 << 13, 1 << 16, 128 << 20]),
        update_budget: *random.pick(&[0, 1, 1, 2, 3, 5, 1_000]),
        gathered_owners: *random.pick(&[0, 1, 4, 1_000, 1_000]),
        ..EngineOptions::default()
    }
}
