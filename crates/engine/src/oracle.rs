//! The oracle: every derived value from facts alone, as naively as can be.
//!
//! It reads documents only, finds referrers by looking at every document, and follows derived fields by evaluating
//! their expressions as they were written, never their plan. It shares no code with propagation.

use std::cell::RefCell;
use std::sync::Arc;

use corollary_schema::typed::Many;
use corollary_schema::{FieldKind, FieldRef, TypeIx};
use corollary_value::{Id, Value, compare};
use hashbrown::HashMap;
use jiff::Timestamp;

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View};
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

/// All facts, in memory, with derived values filled in as they are asked for.
struct Facts<'a> {
    working: &'a Working<'a>,
    docs: HashMap<Key, Arc<Doc>>,
    ids: HashMap<TypeIx, Vec<Id>>,
    derived: RefCell<HashMap<Key, Arc<Doc>>>,
}

impl Facts<'_> {
    fn derive(&self, key: &Key, facts: &Doc) -> Result<Doc, EngineError> {
        let mut doc = facts.clone();
        let ty = self.working.schema.ty(key.ty);
        for (slot, field) in ty.slots() {
            if let FieldKind::Derived { expr, .. } = &field.kind {
                let value = Eval { view: self, owner: &key.id }.value(expr)?;
                let value = match value {
                    Value::Null => Value::Absent,
                    Value::List(elements) if expr.ty.many == Many::Set => {
                        let mut elements = elements.to_vec();
                        if !matches!(expr.node, corollary_schema::typed::Node::Order(..)) {
                            elements.sort_by(compare);
                        }
                        Value::List(elements.into())
                    }
                    value => value,
                };
                doc.set(slot, value);
            }
        }
        Ok(doc)
    }
}

impl View for Facts<'_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        let key = Key::new(ty, id.clone());
        let Some(facts) = self.docs.get(&key) else { return Ok(None) };
        if let Some(doc) = self.derived.borrow().get(&key) {
            return Ok(Some(doc.clone()));
        }
        // While its derived fields are computed, only its facts can be seen; the second pass sees all of them.
        self.derived.borrow_mut().insert(key.clone(), facts.clone());
        Ok(Some(facts.clone()))
    }

    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError> {
        let ids = self.ids.get(&of.ty).map_or(&[][..], Vec::as_slice);
        let refers = |id: &&Id| {
            let doc = self.docs.get(&Key::new(of.ty, (*id).clone()));
            doc.is_some_and(|doc| targets(doc.get(of.slot)).contains(target))
        };
        Ok(ids.iter().filter(refers).cloned().collect())
    }

    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        Ok(self.ids.get(&ty).cloned().unwrap_or_default())
    }

    fn now(&self) -> Timestamp {
        self.working.now()
    }
}

/// Compares every stored derived value with what follows from the facts.
pub fn check(working: &Working<'_>) -> Result<Vec<Difference>, EngineError> {
    let schema = working.schema;
    let mut facts = Facts { working, docs: HashMap::new(), ids: HashMap::new(), derived: RefCell::default() };
    let mut stored: Vec<(Key, Arc<Doc>)> = Vec::new();
    for (ty, _) in schema.types() {
        let ids = working.all(ty)?;
        for id in &ids {
            let key = Key::new(ty, id.clone());
            if let Some(doc) = working.after(&key)? {
                let mut only_facts = Doc::new(schema, ty);
                for (slot, _) in schema.ty(ty).slots().filter(|(_, field)| field.is_fact()) {
                    only_facts.set(slot, doc.get(slot).clone());
                }
                facts.docs.insert(key.clone(), Arc::new(only_facts));
                stored.push((key, doc));
            }
        }
        facts.ids.insert(ty, ids);
    }
    // Naive: evaluate all fields of all resources again and again, until nothing changes. Fields do not depend on
    // themselves, so as many rounds as there are derived fields are enough.
    loop {
        let mut settled = true;
        for (key, _) in &stored {
            let Some(only_facts) = facts.docs.get(key).cloned() else { continue };
            let doc = facts.derive(key, &only_facts)?;
            let mut derived = facts.derived.borrow_mut();
            if derived.get(key).is_none_or(|old| **old != doc) {
                settled = false;
                derived.insert(key.clone(), Arc::new(doc));
            }
        }
        if settled {
            break;
        }
    }
    let derived = facts.derived.into_inner();
    let mut differences = Vec::new();
    for (key, doc) in stored {
        let Some(expected) = derived.get(&key) else { continue };
        for (slot, field) in schema.ty(key.ty).slots() {
            if matches!(field.kind, FieldKind::Derived { .. }) && doc.get(slot) != expected.get(slot) {
                differences.push(Difference {
                    key: key.clone(),
                    field: FieldRef { ty: key.ty, slot },
                    stored: doc.get(slot).clone(),
                    expected: expected.get(slot).clone(),
                });
            }
        }
    }
    Ok(differences)
}
