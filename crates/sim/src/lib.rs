//! The simulator: random schemas, random transactions, failures, crashes and other versions of the schema, all from
//! one number, and judges that look after every group at what must always hold.
//!
//! It runs the real engine over a store in memory or in PostgreSQL ([`ground`]) that fails on demand ([`store`]). The same seed gives the same run, on
//! any machine; a run that fails is made smaller ([`shrink`](mod@shrink)). Start with [`run()`]; then [`world`] (one group of transactions, and what may happen around it) and
//! [`event`] (crashes and openings) and [`nodes`] (several over one store). [`make`], [`express`] and [`workload`] make what is run; [`model`] with [`rules`]
//! predicts it; [`judge`], `fold` and `ask` hold the engine to it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use corollary_store::Fault;

pub mod among;
mod ask;
pub mod draft;
pub mod elements;
pub mod event;
pub mod express;
pub mod files;
mod fold;
pub mod ground;
pub mod history;
pub mod indexes;
pub mod judge;
pub mod lifetime;
pub mod make;
pub mod model;
pub mod names;
pub mod nodes;
pub mod origins;
pub mod owners;
pub mod plan;
pub mod processors;
pub mod random;
pub mod receipts;
pub mod rules;
pub mod saved;
pub mod shrink;
pub mod store;
mod summary;
pub mod translate;
pub mod union;
pub mod urls;
pub mod values;
pub mod workload;
pub mod world;

#[cfg(test)]
mod coverage;
#[cfg(test)]
mod mending;
#[cfg(test)]
mod tampering;

use ground::Ground;
use history::Checked;
use make::Written;
use plan::Plan;
use world::World;

/// Steps of a run that says nothing else.
pub const DEFAULT_STEPS: usize = 60;

/// Faults of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// It was full.
    pub full: usize,
    /// A write failed.
    pub failed: usize,
    /// A sync failed, and what it was about is lost.
    pub sync_lost: usize,
    /// A sync failed, and a restart finds what it was about.
    pub sync_kept: usize,
}

impl Faults {
    /// Counts one.
    pub fn count(&mut self, fault: Fault) {
        let count = match fault {
            Fault::Full => &mut self.full,
            Fault::Io => &mut self.failed,
            Fault::Sync { survives: false } => &mut self.sync_lost,
            Fault::Sync { survives: true } => &mut self.sync_kept,
        };
        *count += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Faults) {
        self.full += other.full;
        self.failed += other.failed;
        self.sync_lost += other.sync_lost;
        self.sync_kept += other.sync_kept;
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Groups of transactions and other events.
    pub steps: usize,
    /// Transactions that were tried.
    pub transactions: usize,
    /// Those that were refused, as the model said.
    pub refused: usize,
    /// Those that were told from the receipt of an earlier one, or refused because of it, or done already where they come from.
    pub repeated: usize,
    /// What the checker of histories has found right.
    pub checked: Checked,
    /// Processors that writes had to pass.
    pub processors: usize,
    /// Those that changed something.
    pub commits: usize,
    /// Groups that were worked out over one that was not durable yet.
    pub ahead: usize,
    /// Groups whose batch the store refused.
    pub failures: usize,
    /// Faults of the store that somebody met, by kind.
    pub faults: Faults,
    /// Commits of the clock.
    pub ticks: usize,
    /// Resources that the clock deleted.
    pub expired: usize,
    /// Steps of updates.
    pub update_steps: usize,
    /// Updates that came to their end.
    pub updates: usize,
    /// Those of them that filled an index.
    pub indexes: usize,
    /// Turns that went to another node.
    pub turns: usize,
    /// Nodes that died while others went on.
    pub deaths: usize,
    /// Times that the judges asked a node whose turn it was not.
    pub other_looks: usize,
    /// Restarts from a crash image.
    pub crashes: usize,
    /// Openings with another schema that were accepted.
    pub versions: usize,
    /// Openings that were refused, as they had to be.
    pub refused_versions: usize,
    /// Openings in which the store failed.
    pub cut_short: usize,
    /// Queries that were answered.
    pub queries: usize,
    /// Those that were while an index was being filled.
    pub queries_without: usize,
    /// Queries that the checker refused.
    pub refused_queries: usize,
    /// Times that all derived values were compared with the oracle's.
    pub oracles: usize,
    /// The most resources there were.
    pub resources: usize,
    /// Derived fields.
    pub written: Written,
    /// Of all that is stored in the end; the same for the same seed.
    pub digest: u64,
}

impl Report {
    /// Adds another run's numbers.
    pub fn add(&mut self, other: &Report) {
        self.steps += other.steps;
        self.transactions += other.transactions;
        self.refused += other.refused;
        self.repeated += other.repeated;
        self.commits += other.commits;
        self.ahead += other.ahead;
        self.failures += other.failures;
        self.checked.add(&other.checked);
        self.processors += other.processors;
        self.faults.add(&other.faults);
        self.ticks += other.ticks;
        self.expired += other.expired;
        self.update_steps += other.update_steps;
        self.updates += other.updates;
        self.indexes += other.indexes;
        self.turns += other.turns;
        self.deaths += other.deaths;
        self.other_looks += other.other_looks;
        self.crashes += other.crashes;
        self.versions += other.versions;
        self.refused_versions += other.refused_versions;
        self.cut_short += other.cut_short;
        self.queries += other.queries;
        self.queries_without += other.queries_without;
        self.refused_queries += other.refused_queries;
        self.oracles += other.oracles;
        self.resources = self.resources.max(other.resources);
        self.written.derived += other.written.derived;
        self.written.refused += other.written.refused;
        self.written.members += other.written.members;
        self.digest ^= other.digest;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} steps, {} transactions ({} refused, {} repeated), {} commits, {} of the clock ({} expired), {} groups ahead, {} failed groups, {} updates in {} steps ({} of indexes), {} crashes, \
             {} turns of nodes ({} deaths, {} looks at others), \
             {} schema versions ({} refused, {} cut short), {} derived fields, {} queries ({} while indexes were filled), {} looks of the oracle, \
             at most {} resources, digest {:016x}",
            self.steps,
            self.transactions,
            self.refused,
            self.repeated,
            self.commits,
            self.ticks,
            self.expired,
            self.ahead,
            self.failures,
            self.updates,
            self.update_steps,
            self.indexes,
            self.crashes,
            self.turns,
            self.deaths,
            self.other_looks,
            self.versions,
            self.refused_versions,
            self.cut_short,
            self.written.derived - self.written.refused,
            self.queries,
            self.queries_without,
            self.oracles,
            self.resources,
            self.digest,
        )
    }
}

/// What does not hold, and how it came to that.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Of the run.
    pub plan: Plan,
    /// In which it was seen.
    pub step: usize,
    /// In one text.
    pub what: String,
    /// The schema of that moment.
    pub schema: String,
    /// The last things that were done.
    pub last: Vec<String>,
    /// The derived fields that the first schema had, as `Type.field`.
    pub derived: Vec<String>,
    /// How many writes each step tried.
    pub writes: BTreeMap<usize, usize>,
}

impl Default for Failure {
    fn default() -> Failure {
        let (step, what, schema, last, derived, writes) = Default::default();
        Failure { plan: Plan::whole(0, 0), step, what, schema, last, derived, writes }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the run \"{}\" fails in step {}: {}\n", self.plan, self.step, self.what)?;
        writeln!(f, "the schema:\n{}\nthe last operations:", self.schema)?;
        self.last.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// The last operations, as text.
#[derive(Debug, Default)]
pub struct Notes(VecDeque<String>);

/// Operations that are told of after a failure.
const NOTES: usize = 24;

/// Characters of one of them, at most.
const NOTE_CHARS: usize = 4_000;

impl Notes {
    /// Writes down what is about to be done.
    pub fn add(&mut self, mut note: String) {
        if let Some((at, _)) = note.char_indices().nth(NOTE_CHARS) {
            note.truncate(at);
            note.push('…');
        }
        if self.0.len() == NOTES {
            self.0.pop_front();
        }
        self.0.push_back(note);
    }
}

impl Report {
    /// What was run, what happened on the way and what was found right, line by line.
    pub fn table(&self) -> String {
        summary::table(self)
    }
}

/// Runs so many steps from a seed, and judges the end.
pub fn run(ground: &Ground, seed: u64, steps: usize) -> Result<Report, Box<Failure>> {
    run_plan(ground, &Plan::whole(seed, steps))
}

/// Makes the plan of a failure as small as it can.
pub fn shrink(ground: &Ground, failure: Box<Failure>) -> Box<Failure> {
    shrink::shrink(failure, &mut |plan| run_plan(ground, plan))
}

/// Runs a plan, and judges the end.
pub fn run_plan(ground: &Ground, plan: &Plan) -> Result<Report, Box<Failure>> {
    let plan = &ground.fitted(plan);
    let mut world = None;
    let mut guarded = |step: usize, f: &mut dyn FnMut(&mut Option<World>) -> Result<(), String>| {
        let outcome = catch_unwind(AssertUnwindSafe(|| f(&mut world)));
        let what = match outcome {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(what)) => what,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                format!("a panic: {}", text.unwrap_or("of unknown kind"))
            }
        };
        let mut failure = Failure { plan: plan.clone(), step, what, ..Failure::default() };
        if let Some(world) = &world {
            failure.schema = world.text.clone();
            failure.last = world.notes.0.iter().cloned().collect();
            failure.derived = world.first_derived.clone();
            failure.writes = world.writes.clone();
        }
        Err(Box::new(failure))
    };
    guarded(0, &mut |world| {
        *world = Some(World::new(plan, ground)?);
        Ok(())
    })?;
    let world_of = |world: &mut Option<World>, f: &dyn Fn(&mut World) -> Result<(), String>| {
        world.as_mut().map_or(Ok(()), f)
    };
    for step in plan.remaining() {
        guarded(step, &mut |world| world_of(world, &|world| world.step(plan, step)))?;
    }
    guarded(plan.steps, &mut |world| world_of(world, &|world| world.finish(plan)))?;
    Ok(world.map(|world| world.report).unwrap_or_default())
}
