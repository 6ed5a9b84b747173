//! What a changed schema brings about while it is served: new and changed derived fields over data that is there, and
//! indexes of it.
//!
//! A definition that is not in the data yet is *filled* by an update, in the order of keys, or *built* before anything is
//! served. Filled is what is too large to be built at once, unless something has to be right from the first moment on.
//! From the first moment on its values are maintained like all others: what is stored of it is what it was, or nothing,
//! and the update brings it about; so what is computed from it follows in the same way, and needs no work of its own. An
//! index of a large type gets its entries so, where nobody has to rely on them before ([`super::indexing`]).
//!
//! What always holds: what is stored of a field that is filled is of the kind that the field has. So whoever reads it goes
//! on from what it gives, whether it is replaced already or not.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use corollary_schema::plan::follows::held;
use corollary_schema::plan::{PlanNode, Rule, Timer};
use corollary_schema::typed::{Kind, Type};
use corollary_schema::{Field, FieldId, FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_store::{Batch, Direction, KeyRange, Snapshot};
use hashbrown::HashMap;
use jiff::Timestamp;

use super::indexing::{self, Indexed};
use super::record::{Record, UpdateId};
use crate::error::EngineError;
use crate::index;
use crate::keys;
use crate::rebuild::{self, Structure};

/// What the data was kept with before.
pub(crate) struct Before<'a> {
    /// Its schema; none where that cannot be read any more.
    pub schema: Option<&'a Schema>,
    /// What is there of it.
    pub have: &'a BTreeSet<Structure>,
    /// The highest number that it has given to anything.
    pub highest: u32,
}

/// How what is missing comes about.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Before anything is served.
    pub build: BTreeSet<Structure>,
    /// By updates: positions in the plan.
    pub fill: Vec<usize>,
    /// By updates: the numbers of indexes.
    pub index: Vec<FieldId>,
}

impl Plan {
    /// Does an update bring it about?
    pub fn fills(&self, schema: &Schema, structure: Structure) -> bool {
        match structure {
            Structure::Definition(id) => self.fill.iter().any(|at| schema.plan.nodes[*at].definition == id),
            Structure::Index(number) => self.index.contains(&number),
            Structure::References(_) => false,
        }
    }

    /// The numbers of the definitions and indexes that are brought about in either way.
    pub fn anew(&self, schema: &Schema) -> BTreeSet<FieldId> {
        let built = self.build.iter().filter_map(|it| match it {
            Structure::Definition(id) | Structure::Index(id) => Some(*id),
            Structure::References(_) => None,
        });
        let filled = self.fill.iter().map(|at| schema.plan.nodes[*at].definition);
        built.chain(filled).chain(self.index.iter().copied()).collect()
    }
}

/// What may stand where a field's values are going to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// Nothing.
    Nothing,
    /// Values of its kind.
    Alike,
    /// Nobody knows.
    Anything,
}

/// Decides how what is missing comes about, together with all that is computed from it.
pub(crate) fn plan(
    schema: &Schema,
    snapshot: &dyn Snapshot,
    before: &Before<'_>,
    missing: &BTreeSet<Structure>,
    budget: usize,
) -> Result<Plan, EngineError> {
    let held = held(schema);
    let mut sizes = Sizes { schema, snapshot, budget, known: HashMap::new() };
    let is_definition = |it: &&Structure| matches!(it, Structure::Definition(_));
    let build = missing.iter().filter(|it| !is_definition(it)).copied().collect();
    let mut plan = Plan { build, ..Plan::default() };
    // Nodes that read what is brought about without their being told.
    let mut upset = BTreeSet::new();
    let is_due = |at: usize, upset: &BTreeSet<usize>| {
        upset.contains(&at) || missing.contains(&Structure::Definition(schema.plan.nodes[at].definition))
    };
    for (at, node) in schema.plan.nodes.iter().enumerate() {
        let stratum = schema.plan.stratum(at);
        let due = match stratum {
            // They are built together, with the first of them; what upsets any of them comes before all.
            Some(stratum) => stratum.nodes.clone().any(|at| is_due(at, &upset)),
            None => is_due(at, &upset),
        };
        if !due {
            continue;
        }
        let stored = before.stored(schema, node);
        let may_wait = stratum.is_none() && !held[at] && stored != Stored::Anything;
        let fills = may_wait && before.may_keep_time(schema, node) && sizes.is_large(node)?;
        if fills {
            plan.fill.push(at);
        } else {
            plan.build.insert(Structure::Definition(node.definition));
            let field = schema.field(node.result);
            plan.build.extend(index::made_of(schema, node.result).map(Structure::Index));
            if field.reference_index {
                plan.build.insert(Structure::References(field.id));
            }
        }
        if !(fills && stored == Stored::Alike) {
            upset.extend(schema.plan.readers(node.result).iter().map(|reader| reader.node));
        }
    }
    for structure in plan.build.clone() {
        let Structure::Index(number) = structure else { continue };
        let Some((at, _)) = rebuild::indexed_by(schema, number) else { continue };
        if indexing::may_fill(schema, number) && sizes.has_many(at.ty)? {
            plan.build.remove(&structure);
            plan.index.push(number);
        }
    }
    Ok(plan)
}

/// Puts the records of fillings into the batch that makes their schema the current one.
pub(crate) fn begin(
    schema: &Schema,
    snapshot: &dyn Snapshot,
    plan: &Plan,
    now: Timestamp,
    batch: &mut Batch,
) -> Result<(), EngineError> {
    let revision = keys::read_revision(snapshot)?;
    let (mut number, mut corrupt) = (0, false);
    let range = KeyRange::prefix(keys::UPDATE_RECORDS);
    snapshot.scan(keys::UPDATE, &range, Direction::Backward, 1, &mut |key, _| {
        match UpdateId::read_key(key) {
            Some(last) if last.revision == revision => number = last.number + 1,
            Some(_) => {}
            None => corrupt = true,
        }
        ControlFlow::Break(())
    })?;
    if corrupt {
        return Err(EngineError::corrupt("the key of an update"));
    }
    let mut ids = (number..).map(|number| UpdateId { revision, number });
    let mut records = Vec::with_capacity(plan.fill.len() + plan.index.len());
    for (node, id) in plan.fill.iter().zip(&mut ids) {
        let record = Record::filling(schema, id, *node, now);
        if let Rule::Group(_) = schema.plan.nodes[*node].rule {
            rebuild::drop_rows(Structure::Definition(record.definition), batch);
        }
        records.push(record);
    }
    for (index, id) in plan.index.iter().filter_map(|number| Indexed::of(schema, *number)).zip(&mut ids) {
        // Of what it was before, nothing may stand among its entries.
        rebuild::drop_rows(Structure::Index(index.number), batch);
        records.push(Record::indexing(schema, id, &index, now));
    }
    for record in records {
        batch.put(keys::UPDATE, keys::source(record.id, &Schema::shared_id()), Vec::new());
        batch.put(keys::UPDATE, keys::update(record.id), record.encode());
    }
    Ok(())
}

impl Before<'_> {
    /// What stands where the results of a node are going to be.
    fn stored(&self, schema: &Schema, node: &PlanNode) -> Stored {
        let field = schema.field(node.result);
        if field.id.0 > self.highest {
            return Stored::Nothing;
        }
        let Some(old) = self.schema else { return Stored::Anything };
        let was = old.plan.nodes.iter().find(|was| old.field(was.result).id == field.id);
        let is_alike = was.is_some_and(|was| {
            let same = |was: TypeIx, is: TypeIx| old.ty(was).id == schema.ty(is).id;
            self.have.contains(&Structure::Definition(was.definition))
                && match (type_of(old.field(was.result)), type_of(field)) {
                    (Some(was), Some(is)) => was.many == is.many && alike(&was.kind, &is.kind, &same),
                    _ => false,
                }
        });
        if is_alike { Stored::Alike } else { Stored::Anything }
    }

    /// Is what owners keep of their timers theirs, or nothing? What expires has to be known at once.
    fn may_keep_time(&self, schema: &Schema, node: &PlanNode) -> bool {
        let Rule::Evaluate(evaluate) = &node.rule else { return true };
        match evaluate.timer {
            None => true,
            Some(Timer::Expires) => false,
            Some(Timer::Changes(slot)) => {
                self.is_new(schema, node.result.ty, slot)
                    || self.have.contains(&Structure::Definition(node.definition))
            }
        }
    }

    fn is_new(&self, schema: &Schema, ty: TypeIx, slot: Slot) -> bool {
        schema.field(FieldRef { ty, slot }).id.0 > self.highest
    }
}

/// The type of what a derived field holds.
fn type_of(field: &Field) -> Option<&Type> {
    match &field.kind {
        FieldKind::Derived { expr, .. } => Some(&expr.ty),
        FieldKind::Aggregate { ty, .. } => Some(ty),
        _ => None,
    }
}

/// Is a kind the same in two schemas? One that holds links is taken for another.
fn alike(was: &Kind, is: &Kind, same: &dyn Fn(TypeIx, TypeIx) -> bool) -> bool {
    match (was, is) {
        (Kind::Resource(was), Kind::Resource(is)) => same(*was, *is),
        (Kind::Object(was), Kind::Object(is)) => {
            was == is && !is.iter().any(|member| member.ty.holds_links())
        }
        (Kind::Map(was), Kind::Map(is)) => was == is && !is.holds_links(),
        _ => was == is,
    }
}

/// How many resources there are, as far as that matters.
struct Sizes<'a> {
    schema: &'a Schema,
    snapshot: &'a dyn Snapshot,
    budget: usize,
    known: HashMap<TypeIx, bool>,
}

impl Sizes<'_> {
    /// Is more to be visited for a node than the budget lets?
    fn is_large(&mut self, node: &PlanNode) -> Result<bool, EngineError> {
        Ok(self.has_many(node.subject())? || self.has_many(node.result.ty)?)
    }

    fn has_many(&mut self, ty: TypeIx) -> Result<bool, EngineError> {
        if let Some(many) = self.known.get(&ty) {
            return Ok(*many);
        }
        let limit = self.budget.saturating_add(1);
        let mut count = 0;
        let range = KeyRange::prefix(keys::docs_of(self.schema.ty(ty).id));
        self.snapshot.scan(keys::DOC, &range, Direction::Forward, limit, &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        let many = count == limit;
        self.known.insert(ty, many);
        Ok(many)
    }
}
