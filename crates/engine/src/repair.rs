//! Mending what is found wrong, while everything goes on.
//!
//! Values and what groups keep beside them are mended by updates: in one batch the rows that cannot be trusted go, and an
//! update is begun for each definition ([`crate::updates`]) that brings it about for all resources, as one does that fills
//! a new field. So a repair has a record, a place that it has come to and a progress; whoever opens the data after a crash goes
//! on with it; what it has yet to come to is computed or marked for readers, and writes meanwhile are counted as they
//! should be.
//!
//! Entries of indexes and of references are mended row by row ([`crate::entries`]), before all values, which are computed by
//! way of them; nothing has to be on record for that, since what is left of it is found again.
//!
//! What cannot be mended in either way is told apart ([`Cure`]), and is built anew with nobody else at work
//! ([`crate::rebuild`]), on record, so that a build that is cut short is taken up by the next opening.
//!
//! What always holds: what is mended is a function of facts, as everything derived is. A document that cannot be read, or a
//! fact, is none, and nothing here touches one.

use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_schema::plan::Rule;
use corollary_schema::plan::follows::held;
use corollary_schema::{FieldId, Schema};
use corollary_store::Batch;
use jiff::Timestamp;

use crate::catalog;
use crate::engine::{Executor, Kept};
use crate::entries::Entries;
use crate::error::EngineError;
use crate::keys;
use crate::order;
use crate::rebuild::{self, Structure};
use crate::updates::ledger::{self, Ledger};
use crate::updates::record::{Record, State, UpdateId};
use crate::updates::walk::Place;
use crate::working::Working;

/// Rows of one structure that are mended one by one; where more are wrong it is built.
pub const MAX_ROWS: usize = 100_000;

/// Why the record of an update says that it is done where a repair does its work anew.
const SUPERSEDED: &str = "superseded: a repair brings all of it about anew";

/// How a structure is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// By an update, of the node at this position in the plan.
    Update(usize),
    /// Row by row, those that are wrong.
    Rows,
    /// It is built anew, with nobody else at work; the reason, as the end of a sentence.
    Build(&'static str),
}

/// How each structure of a schema is mended.
pub struct Cures<'s> {
    schema: &'s Schema,
    held: Vec<bool>,
}

impl<'s> Cures<'s> {
    /// Of a schema.
    pub fn of(schema: &'s Schema) -> Cures<'s> {
        Cures { schema, held: held(schema) }
    }

    /// Of one structure.
    pub fn of_one(&self, structure: Structure) -> Cure {
        let plan = &self.schema.plan;
        let id = match structure {
            Structure::Definition(id) => id,
            _ if Entries::of(self.schema, structure).is_some() => return Cure::Rows,
            Structure::References(_) | Structure::Index(_) => {
                return Cure::Build("its rows count each other, and every place is found by them");
            }
        };
        let Some(at) = plan.nodes.iter().position(|node| node.definition == id) else {
            return Cure::Build("the schema has it no more");
        };
        match &plan.nodes[at].rule {
            _ if plan.stratum(at).is_some() => {
                Cure::Build("it depends on itself, so all of it is computed together")
            }
            // While its groups are empty a write could be refused that should not be.
            Rule::Group(_) if self.held[at] => Cure::Build("writes may be refused because of it"),
            Rule::Group(_) | Rule::Evaluate(_) => Cure::Update(at),
        }
    }

    /// Some structures apart, and with them what is computed from wrong values. That may be right, from before they were
    /// damaged; and where the facts become what the damage says, nothing changes that it could follow.
    pub fn apart(&self, wrong: &BTreeSet<Structure>) -> Apart {
        let plan = &self.schema.plan;
        let mut apart = Apart::default();
        let mut all = wrong.clone();
        for node in plan.nodes.iter().filter(|node| wrong.contains(&Structure::Definition(node.definition))) {
            let readers = plan.readers(node.result).iter();
            all.extend(readers.map(|reader| Structure::Definition(plan.nodes[reader.node].definition)));
        }
        for structure in all {
            match self.of_one(structure) {
                Cure::Update(at) => apart.nodes.push(at),
                Cure::Rows => apart.rows.push(structure),
                Cure::Build(_) => drop(apart.build.insert(structure)),
            }
        }
        apart.nodes.sort_unstable();
        apart
    }
}

/// Structures by how they are mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apart {
    /// By updates of these nodes of the plan.
    pub nodes: Vec<usize>,
    /// Row by row.
    pub rows: Vec<Structure>,
    /// By building them.
    pub build: BTreeSet<Structure>,
}

impl Apart {
    /// Is something of this to be built that values are computed by way of? Then no value can be mended before.
    pub fn holds_values_up(&self) -> bool {
        self.build.iter().any(|it| !matches!(it, Structure::Definition(_)))
    }

    /// A structure of which too many rows are wrong is built instead.
    pub fn build_instead(&mut self, structure: Structure) {
        self.rows.retain(|it| *it != structure);
        self.build.insert(structure);
    }
}

impl Executor {
    /// Begins an update for each node, in one batch; tells which. What open fillings of the same have done is done anew.
    ///
    /// Everything has to be among them that is not as follows from what is *stored*, and what is computed from that
    /// ([`Cures::apart`]); all else follows when it is mended.
    pub fn begin_repair(&mut self, nodes: &[usize], now: Timestamp) -> Result<Vec<UpdateId>, EngineError> {
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        self.contend(|executor| executor.begin_repair_once(nodes, now))
    }

    fn begin_repair_once(&mut self, nodes: &[usize], now: Timestamp) -> Result<Vec<UpdateId>, EngineError> {
        let engine = self.engine().clone();
        let (now, revision) = (self.time(now), self.revision());
        let base = engine.base();
        let mut working = engine.working(&base, now);
        let mut ledger = Ledger::clone(&base.updates());
        let of_this = ledger.newest_first().into_iter().filter(|it| it.record.id.revision == revision);
        let first = of_this.map(|it| it.record.id.number + 1).max().unwrap_or(0);
        let (mut ids, mut removed) = (Vec::with_capacity(nodes.len()), Batch::new());
        for (number, &node) in (first..).zip(nodes) {
            let definition = engine.schema().plan.nodes[node].definition;
            end_fillings(&mut working, &mut ledger, definition, revision);
            let id = UpdateId { revision, number };
            // Of an evaluated node these are timers, which the update sets again.
            rebuild::drop_rows(Structure::Definition(definition), &mut removed);
            let record = Record::repairing(engine.schema(), id, node, now);
            let target = record.target(engine.schema());
            working.put_row(keys::UPDATE, keys::source(id, &Schema::shared_id()), Vec::new());
            working.put_row(keys::UPDATE, keys::update(id), record.encode());
            let mut update = ledger::update(engine.schema(), record, target, now);
            update.sources = Some(BTreeSet::from([Schema::shared_id()]));
            update.counting = Some(Place::default());
            ledger.open.push(Arc::new(update));
            ids.push(id);
        }
        working.keep();
        let kept = Kept::of(working, revision, revision).behind(removed);
        drop(base);
        self.put(kept, ledger, now)?;
        // What is mended is what is stored, whatever the cache remembers of it from before it was damaged.
        engine.cache.forget_all(revision);
        Ok(ids)
    }

    /// Builds structures anew, with all that is computed from them. Nobody else may be at work: over a shared store all
    /// others stop. What is to be built is on record before anything of it is touched. `told` hears what takes its time.
    pub fn build_anew(
        &mut self,
        wrong: &BTreeSet<Structure>,
        told: &mut dyn FnMut(&str),
    ) -> Result<(), EngineError> {
        let schema = self.engine().schema().clone();
        let wrong = rebuild::with_dependents(&schema, wrong);
        if wrong.is_empty() {
            return Ok(());
        }
        catalog::note_wrong(self, &wrong)?;
        for structure in rebuild::structures(&schema).into_iter().filter(|it| wrong.contains(it)) {
            told(&catalog::describe(&schema, structure));
            rebuild::build(self, structure, order::Build::Kept)?;
            catalog::note_built(self, structure)?;
        }
        self.end_building()
    }
}

/// Ends open updates that fill a definition.
fn end_fillings(working: &mut Working<'_>, ledger: &mut Ledger, definition: FieldId, revision: u64) {
    let now = working.now;
    let fills =
        |it: &&mut Arc<ledger::Update>| it.record.definition == definition && it.record.task.is_filling();
    let mut ended = Vec::new();
    for update in ledger.open.iter_mut().filter(fills) {
        let record = &mut Arc::make_mut(update).record;
        (record.state, record.error, record.ended) = (State::Done, Some(SUPERSEDED.into()), Some(now));
        working.put_row(keys::UPDATE, keys::update(record.id), record.encode());
        // All that it begins with, and the walk of one step leaves nothing behind.
        working.delete_row(keys::UPDATE, keys::source(record.id, &Schema::shared_id()));
        ended.push(record.id);
    }
    for id in ended {
        ledger.end(working, id, revision);
    }
}
