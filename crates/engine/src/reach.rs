//! Whom a commit concerns: the resources for which an expression may have another value after it than before.
//!
//! What an expression reads, and by which path, is known ([`corollary_schema::plan::reads`]). From a change of a field that it
//! reads the path is walked backwards, over the state before the commit and over the one after it: whoever read the
//! changed field before, or does so now, is found. A superset: what is found is evaluated, not believed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_schema::plan::reads::{Read, reads, surveys};
use corollary_schema::plan::{Hop, Start};
use corollary_schema::typed::{Expr, Node};
use corollary_schema::{FieldKind, FieldRef, Schema, TypeIx};
use corollary_value::Id;
use hashbrown::HashMap;

use crate::doc::Doc;
use crate::error::EngineError;
use crate::log::Change;
use crate::propagate::walk_back;
use crate::replay::Step;
use crate::working::linked;

/// What has been walked: the path, where it began, and what was found; none where that was too much.
pub(crate) type Walked = RefCell<HashMap<(Vec<Hop>, BTreeSet<Id>), Option<Arc<BTreeSet<Id>>>>>;

/// What some expressions over resources of one type read of other resources.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    subject: TypeIx,
    /// Fields of others, with the way to them. What is read of the resource itself is known from its own change.
    reads: Vec<Read>,
    /// Types of which all resources are read.
    surveys: Vec<TypeIx>,
}

/// Does an expression ask for the time?
pub fn asks_for_time(expr: &Expr) -> bool {
    let mut found = matches!(expr.node, Node::Now);
    expr.for_parts(&mut |part, _| found |= asks_for_time(part));
    found
}

impl Reach {
    /// Of these expressions, whose `self` is a resource of the type.
    pub fn of<'e>(subject: TypeIx, exprs: impl IntoIterator<Item = &'e Expr>) -> Reach {
        let mut reach = Reach { subject, reads: Vec::new(), surveys: Vec::new() };
        for expr in exprs {
            reach.reads.extend(reads(expr, subject));
            reach.surveys.extend(surveys(expr));
        }
        // A reference that is read backwards is a field of others, though it leads to the resource itself.
        reach.reads.retain(|read| !read.path.is_empty() || read.start == Start::Targets);
        reach.surveys.sort_unstable();
        reach.surveys.dedup();
        reach
    }

    /// Does nothing of others decide?
    pub fn is_empty(&self) -> bool {
        self.reads.is_empty() && self.surveys.is_empty()
    }

    /// The types whose changes may concern somebody.
    pub fn types(&self) -> BTreeSet<TypeIx> {
        self.reads.iter().map(|read| read.field.ty).chain(self.surveys.iter().copied()).collect()
    }

    /// Has a commit changed anything that is read, of whomever?
    pub fn is_touched(&self, step: &Step<'_, '_>) -> bool {
        step.commit.changes.iter().any(|change| {
            let is_new = change.before.is_none() || change.after.is_none();
            let mut of_type = self.reads.iter().filter(|read| read.field.ty == change.key.ty);
            (is_new && self.surveys.contains(&change.key.ty))
                || of_type.any(|read| start(step.after.schema, read, change, is_new).is_some())
        })
    }

    /// The resources that a commit concerns by what it changed of others; none where a step of a way to them has more than
    /// `limit`.
    pub fn concerned(&self, step: &Step<'_, '_>, limit: usize) -> Result<Option<BTreeSet<Id>>, EngineError> {
        let mut found = BTreeSet::new();
        for change in &step.commit.changes {
            let is_new = change.before.is_none() || change.after.is_none();
            if is_new && self.surveys.contains(&change.key.ty) {
                let everywhere = [Hop::Everywhere(self.subject)];
                let Some(all) = walk(step, self.subject, &everywhere, [change.key.id.clone()].into(), limit)?
                else {
                    return Ok(None);
                };
                found.extend(all);
            }
            for read in self.reads.iter().filter(|read| read.field.ty == change.key.ty) {
                let Some(start) = start(step.after.schema, read, change, is_new) else { continue };
                let Some(some) = walk(step, self.subject, &read.path, start, limit)? else { return Ok(None) };
                found.extend(some);
                if found.len() > limit {
                    return Ok(None);
                }
            }
        }
        Ok(Some(found))
    }
}

/// Where the walk back from a change begins; nothing where the change is not of the field.
fn start(schema: &Schema, read: &Read, change: &Change, is_new: bool) -> Option<BTreeSet<Id>> {
    let FieldRef { slot, .. } = read.field;
    let held = |doc: &Option<Arc<Doc>>| -> Vec<Id> {
        doc.as_deref().map(|doc| linked(schema, read.field, doc)).unwrap_or_default()
    };
    let differs = match &schema.field(read.field).kind {
        FieldKind::Embedded { .. } => held(&change.before) != held(&change.after),
        _ => match (&change.before, &change.after) {
            (Some(before), Some(after)) => before.get(slot) != after.get(slot),
            _ => is_new,
        },
    };
    if !differs {
        return None;
    }
    Some(match read.start {
        Start::Changed => [change.key.id.clone()].into(),
        Start::Targets => held(&change.before).into_iter().chain(held(&change.after)).collect(),
    })
}

/// Back along a path, in the state before the commit and in the one after it.
fn walk(
    step: &Step<'_, '_>,
    subject: TypeIx,
    path: &[Hop],
    start: BTreeSet<Id>,
    limit: usize,
) -> Result<Option<BTreeSet<Id>>, EngineError> {
    // Nobody knows who holds a derived reference that has no index: then all may be concerned.
    let is_known = |hop: &Hop| match hop {
        Hop::Link(field) => step.after.schema.field(*field).reference_index,
        _ => true,
    };
    let everywhere = [Hop::Everywhere(subject)];
    let path = if path.iter().all(is_known) { path } else { &everywhere };
    let at = (path.to_vec(), start);
    if let Some(known) = step.walked.borrow().get(&at) {
        return Ok(known.as_deref().cloned().filter(|known| known.len() <= limit));
    }
    let found = match walk_back(step.before, path, at.1.clone(), limit)? {
        Some(mut found) => walk_back(step.after, path, at.1.clone(), limit)?.map(|after| {
            found.extend(after);
            found
        }),
        None => None,
    };
    step.walked.borrow_mut().insert(at, found.clone().map(Arc::new));
    Ok(found)
}
