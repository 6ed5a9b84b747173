//! Lazy fields: derived fields that are stored nowhere and computed whenever somebody reads them.
//!
//! What reads a lazy field within the schema has its expression in its own, so nothing here has a part in keeping values
//! true. Here a resource that is to be shown gets the values of its lazy fields, each in its slot, where those who write
//! replies look for it like for any other; such a document is never stored. What many of them read is loaded first, a
//! step of all their paths at a time ([`prefetch`]), so that a page of resources is no read of the store for each.
//! Read next: [`crate::eval`], and [`crate::updates::settled`] for values that updates have yet to reach.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corollary_schema::plan::reads::{fields, reads};
use corollary_schema::plan::{Hop, Start};
use corollary_schema::typed::Expr;
use corollary_schema::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_value::{Id, Value};

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::updates::Update;
use crate::working::{Working, linked};

/// Resources that are loaded ahead along one step of a path; what is beyond is loaded when it is read.
const MAX_AHEAD: usize = 20_000;

/// The expression of a lazy field.
pub fn expression(schema: &Schema, field: FieldRef) -> Option<&Expr> {
    match &schema.field(field).kind {
        FieldKind::Derived { expr, lazy: true, .. } => Some(expr),
        _ => None,
    }
}

/// The value of a field's expression as a document holds it.
pub(crate) fn held(value: Value) -> Value {
    if value.is_null() { Value::Absent } else { value }
}

/// A resource with those of its lazy fields that are wanted; fields of its own are read from the document.
pub fn filled<'d>(
    working: &Working<'_>,
    key: &Key,
    mut doc: Cow<'d, Doc>,
    wanted: &dyn Fn(Slot) -> bool,
) -> Result<Cow<'d, Doc>, EngineError> {
    for slot in working.schema.ty(key.ty).lazy.iter().filter(|slot| wanted(**slot)) {
        let Some(expr) = expression(working.schema, FieldRef { ty: key.ty, slot: *slot }) else { continue };
        let value = held(working.unveiled(|| Eval::of(working, &key.id, &doc).value(expr))?);
        doc.to_mut().set(*slot, value);
    }
    Ok(doc)
}

/// The lazy fields of a type that read what some updates may leave behind.
pub fn slots_behind(schema: &Schema, updates: &[Arc<Update>], ty: TypeIx) -> Vec<Slot> {
    let is_behind = |slot: &Slot| {
        let expr = expression(schema, FieldRef { ty, slot: *slot });
        let read = expr.map(fields).unwrap_or_default();
        read.iter().any(|field| updates.iter().any(|update| update.concerns(*field)))
    };
    schema.ty(ty).lazy.iter().copied().filter(is_behind).collect()
}

/// Loads what the wanted lazy fields of some resources of a type read.
pub fn prefetch(
    working: &Working<'_>,
    ty: TypeIx,
    ids: &[&Id],
    wanted: &dyn Fn(Slot) -> bool,
) -> Result<(), EngineError> {
    let slots = working.schema.ty(ty).lazy.iter().filter(|slot| wanted(**slot));
    let expressions = slots.filter_map(|slot| expression(working.schema, FieldRef { ty, slot: *slot }));
    let mut steps = Steps::default();
    for read in expressions.flat_map(|expr| reads(expr, ty)) {
        let ends = match read.start {
            Start::Changed => Some(read.field.ty),
            Start::Targets => None,
        };
        steps.add(&read.path, ends);
    }
    working.unveiled(|| steps.load(working, &ids.iter().map(|id| (*id).clone()).collect()))
}

/// The steps that lead on from some resources, each with those behind it.
#[derive(Default)]
struct Steps {
    /// The type of the resources, where their documents are read.
    read: Option<TypeIx>,
    next: BTreeMap<(bool, FieldRef), Steps>,
}

impl Steps {
    /// A path; at its end the documents of a type are read.
    fn add(&mut self, path: &[Hop], ends: Option<TypeIx>) {
        match path.split_first() {
            None => self.read = self.read.or(ends),
            Some((Hop::Link(field), rest)) => {
                self.read = Some(field.ty);
                self.next.entry((false, *field)).or_default().add(rest, ends);
            }
            Some((Hop::Reverse(field), rest)) => {
                self.next.entry((true, *field)).or_default().add(rest, ends);
            }
            // What is the same for all is loaded once anyway.
            Some((Hop::Everywhere(_), _)) => {}
        }
    }

    /// Loads these resources together, then those that each step leads to.
    fn load(&self, working: &Working<'_>, ids: &BTreeSet<Id>) -> Result<(), EngineError> {
        if let Some(ty) = self.read {
            let keys: Vec<Key> = ids.iter().map(|id| Key::new(ty, id.clone())).collect();
            working.prefetch(keys.iter())?;
        }
        for ((reverse, field), steps) in &self.next {
            let mut next = BTreeSet::new();
            for id in ids {
                match reverse {
                    true => next.extend(working.referrers(*field, id)?),
                    false => {
                        if let Some(doc) = working.after(&Key::new(field.ty, id.clone()))? {
                            next.extend(linked(working.schema, *field, &doc));
                        }
                    }
                }
                if next.len() > MAX_AHEAD {
                    break;
                }
            }
            steps.load(working, &next)?;
        }
        Ok(())
    }
}
