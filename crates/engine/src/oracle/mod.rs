//! The oracle: every derived value from facts alone, as naively as can be.
//!
//! It reads the facts of documents only, finds referrers by looking at every document, and computes derived fields by
//! evaluating their expressions as they were written, never their plan. It shares no code with propagation and reads
//! none of the rows that propagation keeps. What is kept beside the values is the business of [`crate::side_state`].
//!
//! A lazy field is judged like a stored one: what a read shows of it is compared.
//!
//! What a field that depends on itself means is defined here. A value reads another if the evaluation of its expression
//! asks for it: a conditional evaluates only the branch that it takes, `else` its right side only where it is needed.
//! Values that read each other in a circle, or one that reads itself, are `#cycle`, whatever their expressions would
//! catch, and are seen as that by whoever reads them. Whoever merely reads from a circle is evaluated as always.
//!
//! What a query should find is in [`queries`].

pub mod queries;

use std::cell::RefCell;
use std::sync::Arc;

use corollary_schema::{FieldKind, FieldRef, ResourceType, Slot, TypeIx};
use corollary_value::{ErrorValue, Id, Value};
use hashbrown::HashMap;
use jiff::Timestamp;

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::reply::Shown;
use crate::updates::settled::{READ_LIMIT, Settled, SettledDoc};
use crate::working::{Working, targets};

/// A stored value that is not what follows from the facts.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Whose.
    pub key: Key,
    /// Which field.
    pub field: FieldRef,
    /// What is stored.
    pub stored: Value,
    /// What follows.
    pub expected: Value,
}

/// Who refers to a target, by target.
type Referrers = HashMap<Id, Vec<Id>>;

/// A derived value: whose, and of which field.
type Place = (Key, Slot);

/// What is known of an open value.
struct Open {
    /// Its number, in the order in which the values were begun.
    index: usize,
    /// The least number of an open value that is reached from here.
    low: usize,
    /// The value of the expression, once it has one.
    value: Option<Value>,
}

/// The facts, with derived values computed as they are asked for.
struct Facts<'a> {
    working: &'a Working<'a>,
    derived: RefCell<HashMap<Place, Value>>,
    /// Values that are being computed, or were computed and may be part of a circle whose end is not known yet.
    open: RefCell<HashMap<Place, Open>>,
    /// The open values that the current evaluation has read.
    met: RefCell<Vec<Place>>,
    /// The values that have to be computed before the current evaluation can go on.
    awaited: RefCell<Vec<Place>>,
    referrers: RefCell<HashMap<FieldRef, Arc<Referrers>>>,
    ids: RefCell<HashMap<TypeIx, Arc<Vec<Id>>>>,
}

impl<'a> Facts<'a> {
    fn new(working: &'a Working<'a>) -> Facts<'a> {
        Facts {
            working,
            derived: RefCell::default(),
            open: RefCell::default(),
            met: RefCell::default(),
            awaited: RefCell::default(),
            referrers: RefCell::default(),
            ids: RefCell::default(),
        }
    }

    fn ids(&self, ty: TypeIx) -> Result<Arc<Vec<Id>>, EngineError> {
        if let Some(ids) = self.ids.borrow().get(&ty) {
            return Ok(ids.clone());
        }
        let ids = Arc::new(self.working.all(ty)?);
        self.ids.borrow_mut().insert(ty, ids.clone());
        Ok(ids)
    }

    /// The value of a derived field.
    ///
    /// An expression that asks for what is not known yet is put off until that is computed, and then evaluated again from
    /// the start; so a chain of resources may be as long as it likes. The circles are found as Tarjan's algorithm finds
    /// them: a value that is still open when it is asked for is part of a circle with the one that asks.
    fn derive(&self, key: &Key, slot: Slot) -> Result<Value, EngineError> {
        let wanted = (key.clone(), slot);
        let (mut walk, mut stack) = (vec![wanted.clone()], Vec::new());
        while let Some(at) = walk.last().cloned() {
            let is_known = self.derived.borrow().contains_key(&at)
                || self.open.borrow().get(&at).is_some_and(|open| open.value.is_some());
            if is_known {
                walk.pop();
                continue;
            }
            let index = self.open.borrow().get(&at).map_or(stack.len(), |open| open.index);
            if index == stack.len() {
                stack.push(at.clone());
                self.open.borrow_mut().insert(at.clone(), Open { index, low: index, value: None });
            }
            self.met.borrow_mut().clear();
            let value = match self.evaluate(&at) {
                Err(EngineError::Awaited) => {
                    walk.append(&mut self.awaited.borrow_mut());
                    continue;
                }
                value => value?,
            };
            walk.pop();
            let met = self.met.borrow();
            let mut open = self.open.borrow_mut();
            let low = met.iter().filter_map(|it| open.get(it)).map(|it| it.low).min().unwrap_or(index);
            let low = low.min(index);
            if let Some(at) = open.get_mut(&at) {
                (at.low, at.value) = (low, Some(value));
            }
            if low < index {
                continue;
            }
            // Nothing here reads what was begun before: these read each other, or this one is by itself.
            let circle = stack.split_off(index);
            let is_circle = circle.len() > 1 || met.contains(&at);
            for at in circle {
                let value = open.remove(&at).and_then(|open| open.value).unwrap_or_default();
                let value = if is_circle { Value::Error(ErrorValue::Cycle) } else { value };
                self.derived.borrow_mut().insert(at, value);
            }
        }
        Ok(self.derived.borrow().get(&wanted).cloned().unwrap_or_default())
    }

    /// The value of an expression, if all that it asks for is there.
    fn evaluate(&self, (key, slot): &Place) -> Result<Value, EngineError> {
        let field = self.working.schema.field(FieldRef { ty: key.ty, slot: *slot });
        let FieldKind::Derived { expr, .. } = &field.kind else { return Ok(Value::Absent) };
        // Resources come in the order of their ids, unless the expression puts them in another.
        Ok(match Eval::new(self, &key.id).value(expr)? {
            Value::Null => Value::Absent,
            value => value,
        })
    }
}

impl View for Facts<'_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        self.working.after(&Key::new(ty, id.clone()))
    }

    fn value(&self, field: FieldRef, id: &Id) -> Result<Option<Value>, EngineError> {
        let key = Key::new(field.ty, id.clone());
        let Some(doc) = self.working.after(&key)? else { return Ok(None) };
        if self.working.schema.field(field).is_fact() {
            return Ok(Some(doc.get(field.slot).clone()));
        }
        let at = (key, field.slot);
        if let Some(value) = self.derived.borrow().get(&at) {
            return Ok(Some(value.clone()));
        }
        if self.open.borrow().contains_key(&at) {
            self.met.borrow_mut().push(at);
            return Ok(Some(Value::Error(ErrorValue::Cycle)));
        }
        self.awaited.borrow_mut().push(at);
        Err(EngineError::Awaited)
    }

    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError> {
        let known = self.referrers.borrow().get(&of).cloned();
        let all = match known {
            Some(all) => all,
            None => {
                let mut all = Referrers::new();
                for id in self.ids(of.ty)?.iter() {
                    let targets = match self.working.schema.field(of).kind {
                        FieldKind::Embedded { of: holder, .. } => {
                            let holder = FieldRef { ty: of.ty, slot: holder };
                            let value = self.value(holder, id)?.unwrap_or_default();
                            self.working.schema.embedded(of, &value)
                        }
                        _ => targets(&self.value(of, id)?.unwrap_or_default()),
                    };
                    for target in targets {
                        let sources = all.entry(target).or_default();
                        if sources.last() != Some(id) {
                            sources.push(id.clone());
                        }
                    }
                }
                let all = Arc::new(all);
                self.referrers.borrow_mut().insert(of, all.clone());
                all
            }
        };
        Ok(all.get(target).cloned().unwrap_or_default())
    }

    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        Ok(self.ids(ty)?.to_vec())
    }

    fn now(&self) -> Timestamp {
        self.working.now()
    }

    fn holds_many(&self, field: FieldRef) -> bool {
        self.working.holds_many(field)
    }
}

/// What a check looked at and found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Resources looked at.
    pub resources: u64,
    /// Derived values compared.
    pub values: u64,
    /// Those that an update has yet to reach, and that a read marks.
    pub pending: u64,
    /// Those that are wrong.
    pub differences: Vec<Difference>,
}

/// Compares derived values as a read shows them with what follows from the facts: all, or those of about `sample`
/// resources of each type, spread evenly. A read shows what is stored; while an update is open, what may be behind is
/// computed, or marked.
pub fn check(working: &Working<'_>, sample: Option<usize>) -> Result<Checked, EngineError> {
    let schema = working.schema;
    let facts = Facts::new(working);
    let settled = Settled::new(working);
    let mut checked = Checked::default();
    for (ty, resource) in schema.types() {
        let derived = derived(resource);
        if derived.is_empty() {
            continue;
        }
        let ids = facts.ids(ty)?;
        let step = sample.map_or(1, |sample| (ids.len() / sample.max(1)).max(1));
        for id in ids.iter().step_by(step) {
            let key = Key::new(ty, id.clone());
            let Some(doc) = working.after(&key)? else { continue };
            let shown = settled.doc(&key, &doc, READ_LIMIT)?;
            let SettledDoc { doc, pending } = settled.fill(&key, shown, READ_LIMIT, &|_| true)?;
            one(&facts, &key, &doc, &pending, &derived, &mut checked)?;
        }
    }
    Ok(checked)
}

/// Compares what a transaction tells of its resources with what follows from the facts, in the state that it left.
pub fn check_results(working: &Working<'_>, results: &[(Key, Shown)]) -> Result<Checked, EngineError> {
    let facts = Facts::new(working);
    let mut checked = Checked::default();
    for (key, Shown { doc, pending }) in results {
        let resource = working.schema.ty(key.ty);
        let mut derived = derived(resource);
        // Lazy ones are computed when the reply is written.
        derived.retain(|slot| !resource.field(*slot).is_lazy());
        one(&facts, key, doc, pending, &derived, &mut checked)?;
    }
    Ok(checked)
}

fn derived(resource: &ResourceType) -> Vec<Slot> {
    let derived = resource.slots().filter(|(_, field)| matches!(field.kind, FieldKind::Derived { .. }));
    derived.map(|(slot, _)| slot).collect()
}

/// Compares the derived values of one resource that are not marked.
fn one(
    facts: &Facts<'_>,
    key: &Key,
    doc: &Doc,
    pending: &[Slot],
    derived: &[Slot],
    checked: &mut Checked,
) -> Result<(), EngineError> {
    checked.resources += 1;
    for slot in derived {
        checked.values += 1;
        if pending.contains(slot) {
            checked.pending += 1;
            continue;
        }
        let expected = facts.derive(key, *slot)?;
        if *doc.get(*slot) != expected {
            checked.differences.push(Difference {
                key: key.clone(),
                field: FieldRef { ty: key.ty, slot: *slot },
                stored: doc.get(*slot).clone(),
                expected,
            });
        }
    }
    Ok(())
}
