//! What a reply will show, loaded before it is written: level by level, each level for all resources of the page at once.
//!
//! So a page costs a read of the store for each field that is expanded and not for each resource of it: the members of all
//! collections with one, the documents of all members or targets with another, and what stands above them in their paths.
//! Only ever work is saved here: what was not loaded is read when it is written. Read next: [`super::encode`].

use std::collections::BTreeSet;

use corollary_engine::eval::{Eval, View};
use corollary_engine::members;
use corollary_engine::working::targets;
use corollary_engine::{EngineError, Key};
use corollary_schema::{Field, FieldKind, FieldRef, TypeIx};
use corollary_value::{Id, Value, compare};

use super::encode::{Encoder, MAX_EXPANDED_MEMBERS, MAX_EXPANDED_RESOURCES, Selection, Shape, target_of};

/// The most members of one list that are looked at to choose among them.
pub const MAX_EXPANDED_VISITED: usize = 10_000;

impl Encoder<'_, '_> {
    /// Loads what resources of a type show, with all that is expanded.
    pub fn ahead(&mut self, ty: TypeIx, ids: &[&Id], shape: &Shape) -> Result<(), EngineError> {
        let (working, schema) = (self.working(), self.working().schema);
        if ids.len() == 1 && !shape.leads_to_many(schema, ty) {
            // One after the other is how it is read anyway.
            return Ok(());
        }
        let keys: Vec<Key> = ids.iter().map(|id| Key::new(ty, (*id).clone())).collect();
        let expands_within = shape.within.iter().any(|(_, within)| within.expands());
        if !shape.expand.is_empty() || expands_within || !schema.ty(ty).parents.is_empty() {
            // A list may have been read past the cache.
            working.prefetch(keys.iter())?;
        }
        self.above(keys)?;
        self.prefetch(ty, ids, shape)?;
        for (slot, inner) in &shape.expand {
            let at = FieldRef { ty, slot: *slot };
            let Some(target) = target_of(schema, at) else { continue };
            let field = schema.field(at);
            let via = match field.kind {
                FieldKind::Collection { via, .. } => Some(via),
                FieldKind::Inverse { of } => Some(of),
                _ => None,
            };
            let mut next = BTreeSet::new();
            match via {
                Some(via) => {
                    let limit = match &inner.selection {
                        Some(selection) => selection.visits(),
                        None => MAX_EXPANDED_MEMBERS,
                    };
                    let lists = members::of_many(working, via, ids, limit + 1)?;
                    if inner.selection.as_ref().is_some_and(Selection::looks) {
                        let all: Vec<Key> =
                            lists.iter().flatten().map(|id| Key::new(target, id.clone())).collect();
                        working.prefetch(all.iter())?;
                    }
                    for (owner, members) in ids.iter().zip(lists) {
                        let members = self.chosen(target, members, field, inner)?;
                        next.extend(members.iter().cloned());
                        self.members.insert((at, (*owner).clone()), members);
                    }
                }
                None => {
                    for id in ids {
                        if let Some(doc) = working.after(&Key::new(ty, (*id).clone()))? {
                            next.extend(targets(doc.get(schema.ty(ty).shown(*slot))));
                        }
                    }
                }
            }
            // What is more than that is refused when it is written.
            let next: Vec<&Id> = next.iter().take(MAX_EXPANDED_RESOURCES).collect();
            let keys: Vec<Key> = next.iter().map(|id| Key::new(target, (*id).clone())).collect();
            working.prefetch(keys.iter())?;
            self.ahead(target, &next, inner)?;
        }
        self.ahead_within(ty, ids, shape)
    }

    /// Loads what stands above resources: their paths run through it.
    pub(super) fn above(&self, mut level: Vec<Key>) -> Result<(), EngineError> {
        let working = self.working();
        while !level.is_empty() {
            let mut parents = BTreeSet::new();
            for key in level.iter().filter(|key| !working.schema.ty(key.ty).parents.is_empty()) {
                let Some(doc) = working.after(key)? else { continue };
                if let Some((collection, id)) = doc.parent(working.schema, key.ty) {
                    parents.insert(Key::new(collection.ty, id.clone()));
                }
            }
            working.prefetch(parents.iter())?;
            level = parents.into_iter().collect();
        }
        Ok(())
    }

    /// The members of a list that a shape shows, in its order.
    pub(super) fn chosen(
        &self,
        ty: TypeIx,
        ids: Vec<Id>,
        field: &Field,
        shape: &Shape,
    ) -> Result<Vec<Id>, EngineError> {
        let ids = match &shape.selection {
            Some(selection) => self.selected(ty, ids, field, selection)?,
            None => ids,
        };
        if ids.len() > MAX_EXPANDED_MEMBERS {
            let message = format!(
                "`{0}` has more than {MAX_EXPANDED_MEMBERS} members to expand; choose some (`{0}[limit 100]`), or read it page by page",
                field.name
            );
            return Err(EngineError::refused("expand-limit", None, message));
        }
        Ok(ids)
    }

    fn selected(
        &self,
        ty: TypeIx,
        mut ids: Vec<Id>,
        field: &Field,
        selection: &Selection,
    ) -> Result<Vec<Id>, EngineError> {
        if selection.looks() {
            if ids.len() > MAX_EXPANDED_VISITED {
                let message = format!(
                    "`{}` has more than {MAX_EXPANDED_VISITED} members to choose from; read it page by page",
                    field.name
                );
                return Err(EngineError::refused("expand-limit", None, message));
            }
            let working = self.working();
            let keys: Vec<Key> = ids.iter().map(|id| Key::new(ty, id.clone())).collect();
            working.prefetch(keys.iter())?;
            let mut found: Vec<(Vec<Value>, Id)> = Vec::new();
            for key in keys {
                let Some(doc) = working.doc(key.ty, &key.id)? else { continue };
                let eval = Eval::of(working, &key.id, &doc);
                if let Some(filter) = &selection.filter
                    && !eval.holds(filter)?
                {
                    continue;
                }
                let values: Result<_, _> = selection.order.iter().map(|(by, _)| eval.value(by)).collect();
                found.push((values?, key.id.clone()));
            }
            // Those that are alike stay as they stand.
            found.sort_by(|(left, _), (right, _)| {
                let parts = left.iter().zip(right).zip(&selection.order);
                let orders = parts.map(|((left, right), (_, descending))| {
                    let order = compare(left, right);
                    if *descending { order.reverse() } else { order }
                });
                orders.fold(std::cmp::Ordering::Equal, |all, next| all.then(next))
            });
            ids = found.into_iter().map(|(_, id)| id).collect();
        }
        ids.truncate(selection.limit.unwrap_or(usize::MAX));
        Ok(ids)
    }
}
