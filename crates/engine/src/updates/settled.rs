//! Reading while updates are open: what may be behind, and what it is by the facts.
//!
//! Marking is conservative: a value that is marked may be right, one that is not marked is. A value may be behind where an
//! open update is of its field, reaches its resource and has not passed it (`trail`), or where it is computed from what may be. Such a value is
//! computed from the facts when it is read, as long as that takes no more than a limit. What would take more, what
//! depends on itself, and what is found by a way back that is itself behind, keeps its stored value and is named.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_schema::plan::{Hop, Rule};
use corollary_schema::typed::Node;
use corollary_schema::{FieldKind, FieldRef, Slot, TypeIx};
use corollary_value::{Id, Value};
use hashbrown::HashMap;
use jiff::Timestamp;

use super::budget::Edge;
use super::ledger::{Update, slots_behind};
use super::record::Task;
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::lazy;
use crate::working::{Working, linked};

/// Values and resources that may be looked at to compute what is behind in one resource.
pub const READ_LIMIT: usize = 2_000;

/// Values that are computed for each other, one inside the other.
const MAX_DEPTH: usize = 64;

/// Resources that are looked at to see whether an update reaches a resource; past it, it may.
const REACH_LIMIT: usize = 64;

/// A resource as it is by the facts.
#[derive(Clone, Debug)]
pub struct SettledDoc<'d> {
    /// With the values that were computed in place of those that may be behind.
    pub doc: Cow<'d, Doc>,
    /// The derived fields whose stored values may be behind and could not be computed within the limit.
    pub pending: Vec<Slot>,
}

/// A state in which values that may be behind are computed as they are asked for, from all there is, whoever reads.
pub struct Settled<'w, 'a> {
    working: &'w Working<'a>,
    open: Vec<Arc<Update>>,
    known: RefCell<HashMap<(Key, Slot), Value>>,
    left: Cell<usize>,
    depth: Cell<usize>,
    /// Resources that were looked at to see whether updates reach others, so far.
    looked: Cell<usize>,
}

impl<'w, 'a> Settled<'w, 'a> {
    /// What a read of the state shows, by the updates that are open in it.
    pub fn new(working: &'w Working<'a>) -> Settled<'w, 'a> {
        let mut open = working.open_updates();
        // Of an index nobody reads a value.
        open.retain(|update| update.record.task != Task::Index);
        Settled {
            working,
            open,
            known: RefCell::default(),
            left: Cell::new(0),
            depth: Cell::new(0),
            looked: Cell::new(0),
        }
    }

    /// Is no update of values open? Then everything stored is right.
    pub fn is_trivial(&self) -> bool {
        self.open.is_empty()
    }

    /// May the stored value of a field be behind?
    pub fn may_be_behind(&self, field: FieldRef, id: &Id) -> Result<bool, EngineError> {
        let _all = self.working.lift();
        for update in &self.open {
            if self.may_come(update, field, id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The updates because of which it may be.
    pub fn updates_before(&self, field: FieldRef, id: &Id) -> Result<Vec<Arc<Update>>, EngineError> {
        let _all = self.working.lift();
        let mut found = Vec::new();
        for update in &self.open {
            if self.may_come(update, field, id)? {
                found.push(update.clone());
            }
        }
        Ok(found)
    }

    /// May an update come to a value yet, or to one that it is computed from?
    fn may_come(&self, update: &Update, field: FieldRef, id: &Id) -> Result<bool, EngineError> {
        if !update.concerns(field) {
            return Ok(false);
        }
        let Some(edge) = update.edge() else { return Ok(true) };
        let result = self.working.schema.plan.nodes[edge.node].result;
        Ok(result != field || self.reaches(update, edge, id)?)
    }

    /// Lets what is evaluated through this view look at so many values and resources from now on.
    pub(crate) fn allow(&self, limit: usize) {
        self.left.set(limit);
        self.depth.set(0);
    }

    /// May the stored value of any derived field of a resource be behind?
    pub fn is_behind(&self, key: &Key) -> Result<bool, EngineError> {
        for slot in self.slots_behind(key.ty) {
            if self.may_be_behind(FieldRef { ty: key.ty, slot }, &key.id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The fields of a type of which some value may be behind.
    pub fn slots_behind(&self, ty: TypeIx) -> Vec<Slot> {
        if self.open.is_empty() { Vec::new() } else { slots_behind(self.working.schema, &self.open, ty) }
    }

    /// May any stored value of a field be behind?
    pub fn is_field_behind(&self, field: FieldRef) -> bool {
        self.open.iter().any(|update| update.concerns(field))
    }

    /// A resource by the facts, looking at no more than `limit` values and resources for each of its fields.
    pub fn doc<'d>(&self, key: &Key, doc: &'d Doc, limit: usize) -> Result<SettledDoc<'d>, EngineError> {
        self.settle(key, doc, &mut || limit, &mut |_| ())
    }

    /// A resource by the facts, looking at no more than what is left of an allowance that many resources share, and at no
    /// more than `limit` for each field. Where nothing is left, all that may be behind is named.
    pub fn doc_within<'d>(
        &self,
        key: &Key,
        doc: &'d Doc,
        limit: usize,
        allowance: &Cell<usize>,
    ) -> Result<SettledDoc<'d>, EngineError> {
        let spend = &mut |spent| allowance.set(allowance.get().saturating_sub(spent));
        self.settle(key, doc, &mut || limit.min(allowance.get()), spend)
    }

    /// `limit` says how much a field may look at, and `spend` is told how much it did; a limit of nothing leaves a field
    /// that may be behind unlooked at.
    fn settle<'d>(
        &self,
        key: &Key,
        doc: &'d Doc,
        limit: &mut dyn FnMut() -> usize,
        spend: &mut dyn FnMut(usize),
    ) -> Result<SettledDoc<'d>, EngineError> {
        let _all = self.working.lift();
        let mut settled = SettledDoc { doc: Cow::Borrowed(doc), pending: Vec::new() };
        for slot in self.slots_behind(key.ty) {
            let field = FieldRef { ty: key.ty, slot };
            if !matches!(self.working.schema.field(field).kind, FieldKind::Derived { .. }) {
                continue;
            }
            let limit = limit();
            if limit == 0 {
                settled.pending.push(slot);
                continue;
            }
            self.looked.set(0);
            self.left.set(limit);
            if self.may_be_behind(field, &key.id)? {
                match self.derive(key, slot) {
                    Ok(value) if value == *settled.doc.get(slot) => {}
                    Ok(value) => {
                        settled.doc.to_mut().set(slot, value);
                    }
                    Err(EngineError::Unsettled) => settled.pending.push(slot),
                    Err(error) => return Err(error),
                }
                self.depth.set(0);
            }
            spend(limit - self.left.get() + self.looked.get());
        }
        Ok(settled)
    }

    /// Gives a resource those of its lazy fields that are wanted, looking at no more than `limit` values and resources for
    /// each; what would take more is pending.
    pub fn fill<'d>(
        &self,
        key: &Key,
        mut settled: SettledDoc<'d>,
        limit: usize,
        wanted: &dyn Fn(Slot) -> bool,
    ) -> Result<SettledDoc<'d>, EngineError> {
        if self.is_trivial() {
            settled.doc = lazy::filled(self.working, key, settled.doc, wanted)?;
            return Ok(settled);
        }
        let _all = self.working.lift();
        let schema = self.working.schema;
        for slot in schema.ty(key.ty).lazy.iter().filter(|slot| wanted(**slot)) {
            let Some(expr) = lazy::expression(schema, FieldRef { ty: key.ty, slot: *slot }) else { continue };
            self.left.set(limit);
            match Eval::new(self, &key.id).value(expr) {
                Ok(value) => {
                    settled.doc.to_mut().set(*slot, lazy::held(value));
                }
                Err(EngineError::Unsettled) => settled.pending.push(*slot),
                Err(error) => return Err(error),
            }
            self.depth.set(0);
        }
        Ok(settled)
    }

    fn derive(&self, key: &Key, slot: Slot) -> Result<Value, EngineError> {
        let at = (key.clone(), slot);
        if let Some(value) = self.known.borrow().get(&at) {
            return Ok(value.clone());
        }
        let field = FieldRef { ty: key.ty, slot };
        let FieldKind::Derived { expr, .. } = &self.working.schema.field(field).kind else {
            return Err(EngineError::Unsettled);
        };
        // What depends on itself may lie on a circle, and that is found by looking at all of it.
        if self.depth.get() == MAX_DEPTH || self.working.schema.plan.is_recursive(field) {
            return Err(EngineError::Unsettled);
        }
        self.depth.update(|depth| depth + 1);
        let value = match Eval::new(self, &key.id).value(expr)? {
            Value::Null => Value::Absent,
            value => value,
        };
        self.depth.update(|depth| depth - 1);
        self.known.borrow_mut().insert(at, value.clone());
        Ok(value)
    }

    fn spend(&self, count: usize) -> Result<(), EngineError> {
        let left = self.left.get().checked_sub(count);
        // Who asked for more than was left has looked at it all the same.
        self.left.set(left.unwrap_or(0));
        left.map(drop).ok_or(EngineError::Unsettled)
    }

    /// May the walk of an update come to a resource?
    fn reaches(&self, update: &Update, edge: &Edge, id: &Id) -> Result<bool, EngineError> {
        if let Rule::Group(group) = &self.working.schema.plan.nodes[edge.node].rule {
            // The members are walked, and it is owners that are read. Often the source itself is the owner.
            return Ok(match (&group.owner.node, &edge.path[..], &update.sources) {
                (Node::Get(of, field), [Hop::Link(via)], Some(sources))
                    if of.node == Node::Owner && field == via =>
                {
                    sources.contains(id)
                }
                _ => true,
            });
        }
        let path = &edge.path[..];
        let Some(sources) = &update.sources else { return Ok(true) };
        let only = if path.len() == 1 && sources.len() == 1 { sources.first() } else { None };
        if only.is_some_and(|source| update.trail.has_passed(source, id)) {
            return Ok(false);
        }
        let working = self.working;
        let mut at = BTreeSet::from([id.clone()]);
        for hop in path {
            let mut next = BTreeSet::new();
            for id in &at {
                match hop {
                    Hop::Link(field) => {
                        if let Some(doc) = working.after(&Key::new(field.ty, id.clone()))? {
                            next.extend(linked(working.schema, *field, &doc));
                        }
                    }
                    Hop::Everywhere(_) => return Ok(true),
                    Hop::Reverse(field) => {
                        next.extend(working.referrers_page(*field, id, None, REACH_LIMIT + 1)?);
                    }
                }
                if next.len() > REACH_LIMIT {
                    return Ok(true);
                }
            }
            self.looked.set(self.looked.get() + at.len() + next.len());
            at = next;
        }
        Ok(!at.is_disjoint(sources))
    }
}

impl View for Settled<'_, '_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        self.spend(1)?;
        self.working.after(&Key::new(ty, id.clone()))
    }

    fn value(&self, field: FieldRef, id: &Id) -> Result<Option<Value>, EngineError> {
        self.spend(1)?;
        let key = Key::new(field.ty, id.clone());
        let Some(doc) = self.working.after(&key)? else { return Ok(None) };
        if self.working.schema.field(field).is_fact() || !self.may_be_behind(field, id)? {
            return Ok(Some(doc.get(field.slot).clone()));
        }
        self.derive(&key, field.slot).map(Some)
    }

    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError> {
        if self.is_field_behind(of) {
            return Err(EngineError::Unsettled);
        }
        let limit = self.left.get().saturating_add(1);
        let found = self.working.referrers_page(of, target, None, limit)?;
        self.spend(found.len())?;
        Ok(found)
    }

    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        let limit = self.left.get().saturating_add(1);
        let found = self.working.ids_page(ty, None, limit)?;
        self.spend(found.len())?;
        Ok(found)
    }

    fn now(&self) -> Timestamp {
        self.working.now()
    }

    fn holds_many(&self, field: FieldRef) -> bool {
        self.working.holds_many(field)
    }
}
