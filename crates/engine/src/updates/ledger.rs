//! All updates that are open, and those that have ended not long ago.
//!
//! The executor has the only ledger that counts; readers see the last one that it published. It is published before the
//! commit that it belongs to, and each update tells from which revision on, and up to which, it was open: so a reader
//! takes from whatever ledger what holds at its own revision.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_schema::plan::Hop;
use corollary_schema::plan::follows::linked_type;
use corollary_schema::{FieldId, FieldRef, Schema, Slot, TypeIx};
use corollary_store::{Batch, Direction, KeyRange, Snapshot};
use corollary_value::Id;
use hashbrown::{HashMap, HashSet};
use jiff::{SignedDuration, Timestamp};

use super::budget::{Deferred, Edge, Left};
use super::indexing::{self, Indexed};
use super::lag;
use super::record::{Record, State, Task, UpdateId};
use super::trail::Trail;
use super::walk::Place;
use crate::doc::{Doc, Key, Layout};
use crate::error::EngineError;
use crate::keys;
use crate::nodes::Head;
use crate::working::Working;

/// Updates of one edge that are open at a time; what comes beyond them joins the last.
pub const OPEN_PER_EDGE: usize = 4;

/// How long the record of an update is kept after its end.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// How many records are kept after their end at most.
pub const KEPT: usize = 1_000;

/// Updates that one came of, which are remembered; the oldest are forgotten first.
const KNOWN_ORIGINS: usize = 16;

/// Sources of an update that are kept in memory; of one with more it is not known whom it reaches.
const KNOWN_SOURCES: usize = 64;

/// What an update brings about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// What follows along an edge of the plan.
    Edge(Edge),
    /// The entries of an index.
    Index(Indexed),
}

impl Target {
    /// The way from a source to those who are visited, to be walked backwards.
    pub(crate) fn path(&self) -> Cow<'_, [Hop]> {
        match self {
            Target::Edge(edge) => Cow::Borrowed(&edge.path),
            Target::Index(index) => Cow::Owned(index.path()),
        }
    }
}

/// An update, and what is known of it in memory.
#[derive(Clone, Debug)]
pub struct Update {
    /// As it is stored.
    pub record: Record,
    /// What it brings about; none for one of a schema that is no more.
    pub target: Option<Target>,
    /// From where it comes; none where there are too many to know.
    pub sources: Option<BTreeSet<Id>>,
    /// The revision that its values have to be marked up to; none as long as it is open.
    pub closed: Option<u64>,
    /// Where groups follow a change: what changed, and how it was before.
    pub(crate) image: Option<(Key, Arc<Doc>)>,
    /// How far its resources have been counted; none where nothing is left to count.
    pub(crate) counting: Option<Place>,
    /// Not before this time is it worked on; later than now where it waits after a batch that failed.
    pub not_before: Timestamp,
    /// Batches that have failed since the last that did not.
    pub failures: u32,
    /// Whom it has passed.
    pub(crate) trail: Trail,
    /// By type and slot: what is computed from its node, and its node's result.
    behind: Arc<Vec<Vec<bool>>>,
}

impl Update {
    /// Is it open for a reader of a revision?
    pub fn is_open_at(&self, revision: u64) -> bool {
        self.record.id.revision <= revision && self.closed.is_none_or(|closed| closed > revision)
    }

    /// It has to do with what came of these too.
    fn came_of(&mut self, origins: &[UpdateId]) {
        let known = &mut self.record.origins;
        for id in origins {
            if !known.contains(id) && *id != self.record.id {
                known.push(*id);
            }
        }
        known.drain(..known.len().saturating_sub(KNOWN_ORIGINS));
    }

    /// Its edge in the plan; none where it is of no plan, or of one that is no more.
    pub fn edge(&self) -> Option<&Edge> {
        match &self.target {
            Some(Target::Edge(edge)) => Some(edge),
            Some(Target::Index(_)) | None => None,
        }
    }

    /// May a field be behind as long as it is open?
    pub fn concerns(&self, field: FieldRef) -> bool {
        let ty = self.behind.get(field.ty.0 as usize);
        ty.and_then(|ty| ty.get(field.slot.0 as usize)).copied().unwrap_or(false)
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// In the order in which they began.
    pub open: Vec<Arc<Update>>,
    /// In the order in which they ended. Shared, since every commit takes the ledger over.
    pub ended: Arc<Vec<Arc<Update>>>,
}

/// Updates by the rows that they were read from: a row that is as it was is not decoded once more, by whoever loads the
/// ledger of a schema again and again.
#[derive(Debug, Default)]
pub(crate) struct KnownRows(HashMap<UpdateId, (Box<[u8]>, Known)>);

/// What a row of an update says by a schema.
#[derive(Debug)]
enum Known {
    /// What has ended is all that is known of it.
    Ended(Arc<Update>),
    Open(Arc<(Record, Target)>),
}

impl KnownRows {
    /// What a row says; decoded where it is not known.
    fn read(
        &mut self,
        schema: &Schema,
        key: &[u8],
        row: &[u8],
        now: Timestamp,
    ) -> Result<&Known, EngineError> {
        let id = UpdateId::read_key(key).ok_or_else(|| EngineError::corrupt("the id of an update"))?;
        let known = |(known, _): &(Box<[u8]>, Known)| **known == *row;
        if !self.0.get(&id).is_some_and(known) {
            let record = Record::decode(key, row)?;
            let target = record.target(schema);
            let read = if record.is_done() {
                let closed = Some(record.id.revision);
                Known::Ended(Arc::new(Update { closed, ..update(schema, record, target, now) }))
            } else {
                let target = target.ok_or_else(|| EngineError::corrupt("an update of an unknown field"))?;
                Known::Open(Arc::new((record, target)))
            };
            self.0.insert(id, (row.into(), read));
        }
        Ok(&self.0[&id].1)
    }
}

impl Ledger {
    /// An update, open or ended.
    pub fn get(&self, id: UpdateId) -> Option<&Arc<Update>> {
        self.open.iter().chain(&*self.ended).find(|update| update.record.id == id)
    }

    /// All of them, the newest first.
    pub fn newest_first(&self) -> Vec<&Arc<Update>> {
        let mut all: Vec<&Arc<Update>> = self.open.iter().chain(&*self.ended).collect();
        all.sort_unstable_by_key(|update| std::cmp::Reverse(update.record.id));
        all
    }

    /// As it was at a revision: what began after it is not there yet, and what ended after it is still at work. Counts of
    /// what is done may be those of the batch that is on its way.
    pub(crate) fn as_of(self: Arc<Ledger>, revision: u64) -> Arc<Ledger> {
        let began = |update: &&Arc<Update>| update.record.id.revision <= revision;
        let ended_later = |update: &&Arc<Update>| update.closed > Some(revision);
        let later = self.ended.iter().rev().take_while(ended_later).count();
        if later == 0 && self.open.iter().all(|update| began(&update)) {
            return self;
        }
        let (ended, later) = self.ended.split_at(self.ended.len() - later);
        let reopened = later.iter().map(|update| {
            let mut update = Update::clone(update);
            (update.record.state, update.record.ended) = (State::Running, None);
            Arc::new(update)
        });
        let open = self.open.iter().cloned().chain(reopened);
        let mut open: Vec<Arc<Update>> = open.filter(|update| began(&update)).collect();
        open.sort_unstable_by_key(|update| update.record.id);
        Arc::new(Ledger { open, ended: Arc::new(ended.to_vec()) })
    }

    /// Is a repair open that another ledger does not know? Then what is stored is not what is remembered of it.
    pub(crate) fn repairs_more_than(&self, before: &Ledger) -> bool {
        let mut repairs = self.open.iter().filter(|it| it.record.cause.repair);
        repairs.any(|it| before.get(it.record.id).is_none())
    }

    /// Those that are open for a reader of a revision.
    pub fn open_at(&self, revision: u64) -> Vec<Arc<Update>> {
        let later = self.ended.iter().rev().take_while(|update| update.closed > Some(revision));
        let open = self.open.iter().chain(later).filter(|update| update.is_open_at(revision));
        let as_of = |update: &Arc<Update>| match update.trail.holds_at(revision) {
            true => update.clone(),
            false => Arc::new(Update { trail: update.trail.as_of(revision), ..Update::clone(update) }),
        };
        open.map(as_of).collect()
    }

    /// The numbers of the indexes that have yet to be filled for a reader of a revision. None of them is whole again for an
    /// earlier one.
    pub(crate) fn filling_at(&self, revision: u64) -> Vec<FieldId> {
        let later = self.ended.iter().rev().take_while(|update| update.closed > Some(revision));
        indexing::filling(self.open.iter().chain(later).filter(|update| update.is_open_at(revision)))
    }

    /// What stands in a store; `taken_by` says which node takes all of it over, if one does, and `known` what was read before.
    pub(crate) fn load(
        snapshot: &dyn Snapshot,
        schema: &Schema,
        layouts: &[Layout],
        taken_by: Option<&str>,
        now: Timestamp,
        known: &mut KnownRows,
    ) -> Result<Ledger, EngineError> {
        let mut ledger = Ledger::default();
        let (mut ended, mut open) = (Vec::new(), Vec::new());
        let (mut found, records) = (Ok(()), KeyRange::prefix(keys::UPDATE_RECORDS));
        snapshot.scan(keys::UPDATE, &records, Direction::Forward, usize::MAX, &mut |key, row| {
            match known.read(schema, key, row, now) {
                Ok(Known::Ended(update)) => ended.push(update.clone()),
                Ok(Known::Open(read)) => open.push(read.clone()),
                Err(error) => {
                    found = Err(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        found?;
        if known.0.len() > ended.len() + open.len() {
            let ids = ended.iter().map(|update| update.record.id);
            let there: HashSet<UpdateId> = ids.chain(open.iter().map(|read| read.0.id)).collect();
            known.0.retain(|id, _| there.contains(id));
        }
        for read in open {
            let (mut record, target) = (*read).clone();
            if let Some(node) = taken_by {
                // Whoever held it before may write nothing any more.
                record.owner = node.into();
                record.token += 1;
            }
            let mut sources = BTreeSet::new();
            let prefix = keys::sources_of(record.id);
            let (length, mut corrupt) = (prefix.len(), false);
            let via = match &target {
                Target::Edge(edge) => edge.link_of_members(schema).filter(|_| record.task == Task::Follow),
                Target::Index(_) => None,
            };
            let of = via.and_then(|via| linked_type(schema, via));
            let mut image = None;
            let range = KeyRange::prefix(prefix);
            snapshot.scan(
                keys::UPDATE,
                &range,
                Direction::Forward,
                KNOWN_SOURCES + 1,
                &mut |key, value| {
                    let Some(id) = keys::id_behind(key, length) else {
                        corrupt = true;
                        return ControlFlow::Break(());
                    };
                    if let Some(of) = of {
                        match layouts[of.0 as usize].decode(value) {
                            Ok(doc) => image = Some((Key::new(of, id.clone()), Arc::new(doc))),
                            Err(_) => corrupt = true,
                        }
                    }
                    sources.insert(id);
                    ControlFlow::Continue(())
                },
            )?;
            if corrupt {
                return Err(EngineError::corrupt("a source of an update"));
            }
            // Where the walk has left sources behind that it did not begin with, those that it began with are gone.
            let mut is_known = sources.len() <= KNOWN_SOURCES;
            let range = KeyRange::prefix(keys::frontier_of(record.id));
            snapshot.scan(keys::UPDATE, &range, Direction::Forward, 1, &mut |_, _| {
                is_known = false;
                ControlFlow::Break(())
            })?;
            let sources = Some(sources).filter(|_| is_known);
            let counting = (record.state == State::Waiting).then(Place::default);
            let update = update(schema, record, Some(target), now);
            ledger.open.push(Arc::new(Update { sources, image, counting, ..update }));
        }
        ended.sort_by_key(|update: &Arc<Update>| update.record.ended);
        ledger.ended = Arc::new(ended);
        Ok(ledger)
    }

    /// What stands in a store that another node has written to, at its head; with what this node alone knows. Readers may
    /// be at any revision since the ledger that this one takes the place of.
    pub(crate) fn load_again(
        &self,
        snapshot: &dyn Snapshot,
        schema: &Schema,
        layouts: &[Layout],
        head: &Head,
        known: &mut KnownRows,
    ) -> Result<Ledger, EngineError> {
        let mut ledger = Ledger::load(snapshot, schema, layouts, None, head.time, known)?;
        for update in &mut ledger.open {
            let id = update.record.id;
            let update = Arc::make_mut(update);
            match self.open.iter().find(|old| old.record.id == id) {
                Some(old) => {
                    (update.not_before, update.failures) = (old.not_before, old.failures);
                    if update.counting.is_some() && old.counting.is_some() {
                        update.counting = old.counting.clone();
                        update.record.estimated = old.record.estimated;
                    }
                    // Before a source was struck out its resources were behind.
                    update.sources =
                        old.sources.as_ref().zip(update.sources.take()).and_then(|(old, new)| {
                            let known: BTreeSet<Id> = old.union(&new).cloned().collect();
                            (known.len() <= KNOWN_SOURCES).then_some(known)
                        });
                }
                None if update.record.state != State::Waiting => update.sources = None,
                None => {}
            }
        }
        let ended = Arc::make_mut(&mut ledger.ended);
        let before: HashMap<UpdateId, &Arc<Update>> =
            self.ended.iter().map(|old| (old.record.id, old)).collect();
        for update in ended.iter_mut() {
            match before.get(&update.record.id) {
                Some(old) => *update = Arc::clone(old),
                // It may have been open up to now.
                None => Arc::make_mut(update).closed = Some(head.revision),
            }
        }
        ended.sort_by_key(|update| update.closed);
        Ok(ledger)
    }

    /// Begins updates for what a transaction leaves, or a step of the update `by`, or has open ones take it over; tells
    /// which.
    pub(crate) fn take(
        &mut self,
        working: &mut Working<'_>,
        deferred: Deferred,
        revision: u64,
        by: Option<UpdateId>,
    ) -> Result<Vec<UpdateId>, EngineError> {
        let origins = match by.and_then(|id| self.get(id)) {
            Some(by) => by.record.origins.iter().copied().chain([by.record.id]).collect(),
            None => Vec::new(),
        };
        let mut ids = Vec::new();
        let mut number = 0;
        for (edge, left) in deferred.0 {
            if let Some(via) = edge.link_of_members(working.schema) {
                let taken =
                    self.take_for_groups(working, (&edge, via), &left, revision, &mut number, &origins)?;
                ids.extend(taken);
                continue;
            }
            let Left { mut sources, cause } = left;
            let is_same = |at: &usize| {
                let update = &self.open[*at];
                update.edge() == Some(&edge) && !update.record.is_done()
            };
            let same: Vec<usize> = (0..self.open.len()).filter(is_same).collect();
            // What is to be walked already begins anew, so that the newest facts win.
            for at in &same {
                let id = self.open[*at].record.id;
                let mut known = Vec::new();
                for source in &sources {
                    if working.row(keys::UPDATE, keys::source(id, source))?.is_some() {
                        known.push(source.clone());
                    }
                }
                if known.is_empty() {
                    continue;
                }
                known.iter().for_each(|source| {
                    sources.remove(source);
                });
                ids.push(id);
                let update = Arc::make_mut(&mut self.open[*at]);
                update.came_of(&origins);
                let place = &mut update.record.place;
                if place.level == 0 && place.source.as_ref().is_some_and(|at| known.contains(at)) {
                    place.cursor = None;
                    update.trail.note(revision, place);
                    update.counting = (edge.path.len() == 1).then(Place::default);
                }
                working.put_row(keys::UPDATE, keys::update(id), update.record.encode());
            }
            if sources.is_empty() {
                continue;
            }
            let most = if edge.path.is_empty() { 1 } else { OPEN_PER_EDGE };
            // Who has walked on from one of them, and not yet come to the end of the path, walks from it once more: what
            // waits on the way waits once.
            let is_on_way = |at: &&usize| {
                let known = self.open[**at].sources.as_ref();
                edge.path.len() > 1 && known.is_some_and(|known| !known.is_disjoint(&sources))
            };
            let at = match (same.iter().find(is_on_way), same.last()) {
                (Some(at), _) => *at,
                (None, Some(at)) if same.len() >= most => *at,
                _ => {
                    let id = UpdateId { revision, number };
                    number += 1;
                    let record = Record::new(working.schema, id, &edge, &cause, working.now);
                    let target = Some(Target::Edge(edge.clone()));
                    let mut update = update(working.schema, record, target, working.now);
                    update.sources = Some(BTreeSet::new());
                    update.counting = (!edge.path.is_empty()).then(Place::default);
                    self.open.push(Arc::new(update));
                    self.open.len() - 1
                }
            };
            let update = Arc::make_mut(&mut self.open[at]);
            let id = update.record.id;
            for source in &sources {
                working.put_row(keys::UPDATE, keys::source(id, source), Vec::new());
            }
            update.came_of(&origins);
            update.record.estimated += sources.len() as u64;
            update.sources = update.sources.take().and_then(|mut known| {
                known.append(&mut sources);
                (known.len() <= KNOWN_SOURCES).then_some(known)
            });
            working.put_row(keys::UPDATE, keys::update(id), update.record.encode());
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Begins an update for each source that groups have to follow, or leaves it to the one that has not come to anybody
    /// yet; tells which.
    fn take_for_groups(
        &mut self,
        working: &mut Working<'_>,
        (edge, via): (&Edge, FieldRef),
        left: &Left,
        revision: u64,
        number: &mut u32,
        origins: &[UpdateId],
    ) -> Result<Vec<UpdateId>, EngineError> {
        let mut ids = Vec::new();
        for source in &left.sources {
            let Some((key, doc)) = lag::image(working, via, source)? else { continue };
            let is_left = |update: &&mut Arc<Update>| {
                let of_it = update.image.as_ref().is_some_and(|(image, _)| *image == key);
                of_it && update.edge() == Some(edge) && update.record.place.cursor.is_none()
            };
            if let Some(update) = self.open.iter_mut().find(is_left) {
                let update = Arc::make_mut(update);
                update.came_of(origins);
                working.put_row(keys::UPDATE, keys::update(update.record.id), update.record.encode());
                ids.push(update.record.id);
                continue;
            }
            let id = UpdateId { revision, number: *number };
            *number += 1;
            let record = Record::new(working.schema, id, edge, &(key.clone(), left.cause.1), working.now);
            let target = Some(Target::Edge(edge.clone()));
            let mut update = update(working.schema, record, target, working.now);
            update.sources = Some(BTreeSet::from([source.clone()]));
            update.counting = Some(Place::default());
            update.record.estimated = 1;
            update.came_of(origins);
            let mut image = Vec::new();
            working.layouts[key.ty.0 as usize].encode(&doc, &mut image);
            working.put_row(keys::UPDATE, keys::source(id, source), image);
            working.put_row(keys::UPDATE, keys::update(id), update.record.encode());
            update.image = Some((key, doc));
            self.open.push(Arc::new(update));
            ids.push(id);
        }
        Ok(ids)
    }

    /// Has an update nothing to wait for?
    pub(crate) fn is_due(&self, update: &Update, now: Timestamp) -> bool {
        update.not_before <= now && !self.is_queued(update)
    }

    /// Has an update to wait until an older one is done with the same source? What groups have counted goes from the one's
    /// image to the other's.
    pub(crate) fn is_queued(&self, update: &Update) -> bool {
        let Some((source, _)) = &update.image else { return false };
        let older = self.open.iter().take_while(|older| older.record.id < update.record.id);
        older.into_iter().any(|older| {
            older.target == update.target && older.image.as_ref().is_some_and(|(key, _)| key == source)
        })
    }

    /// Puts an open update among those that have ended, and drops records that were kept long enough.
    pub(crate) fn end(&mut self, working: &mut Working<'_>, id: UpdateId, revision: u64) {
        let Some(at) = self.open.iter().position(|update| update.record.id == id) else { return };
        let mut update = self.open.remove(at);
        Arc::make_mut(&mut update).closed = Some(revision);
        let ended = Arc::make_mut(&mut self.ended);
        ended.push(update);
        let old = working.now.checked_sub(RETENTION).unwrap_or(Timestamp::MIN);
        let surplus = ended.len().saturating_sub(KEPT);
        let expired = ended.iter().take_while(|it| it.record.ended.is_some_and(|it| it < old)).count();
        for update in ended.drain(..surplus.max(expired)) {
            working.delete_row(keys::UPDATE, keys::update(update.record.id));
        }
    }
}

/// Ends open updates in a batch that has what they would have done brought about anew; tells what that is.
pub(crate) fn supersede(
    snapshot: &dyn Snapshot,
    batch: &mut Batch,
    now: Timestamp,
    which: &dyn Fn(&Record) -> bool,
) -> Result<Vec<FieldId>, EngineError> {
    let mut definitions = Vec::new();
    for mut record in Record::all(snapshot)?.into_iter().filter(|record| !record.is_done() && which(record)) {
        definitions.push(record.definition);
        let why = match record.task {
            Task::Index => "superseded: the index is dropped, or brought about anew",
            _ => "superseded: all values of the field are brought about anew",
        };
        (record.state, record.error, record.ended) = (State::Done, Some(why.into()), Some(now));
        batch.put(keys::UPDATE, keys::update(record.id), record.encode());
        batch.delete_range(keys::UPDATE, KeyRange::prefix(keys::sources_of(record.id)));
        batch.delete_range(keys::UPDATE, KeyRange::prefix(keys::frontier_of(record.id)));
    }
    Ok(definitions)
}

/// What is known of an update by its record.
pub(crate) fn update(schema: &Schema, record: Record, target: Option<Target>, now: Timestamp) -> Update {
    let behind = Arc::new(match &target {
        Some(Target::Edge(edge)) => behind(schema, edge.node),
        Some(Target::Index(_)) | None => Vec::new(),
    });
    Update {
        record,
        target,
        sources: None,
        closed: None,
        image: None,
        counting: None,
        not_before: now,
        failures: 0,
        trail: Trail::default(),
        behind,
    }
}

/// By type and slot: the result of a node, and all that is computed from it.
fn behind(schema: &Schema, node: usize) -> Vec<Vec<bool>> {
    let mut behind: Vec<Vec<bool>> = schema.types().map(|(_, ty)| vec![false; ty.fields.len()]).collect();
    let mut nodes = vec![node];
    while let Some(at) = nodes.pop() {
        let result = schema.plan.nodes[at].result;
        let place = &mut behind[result.ty.0 as usize][result.slot.0 as usize];
        if !std::mem::replace(place, true) {
            nodes.extend(schema.plan.readers(result).iter().map(|reader| reader.node));
        }
    }
    behind
}

/// The slots of a type that some updates may leave behind.
pub fn slots_behind(schema: &Schema, updates: &[Arc<Update>], ty: TypeIx) -> Vec<Slot> {
    let slots = schema.ty(ty).slots().map(|(slot, _)| slot);
    slots.filter(|slot| updates.iter().any(|it| it.concerns(FieldRef { ty, slot: *slot }))).collect()
}
