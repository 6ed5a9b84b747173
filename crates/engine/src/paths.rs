//! Paths over many resources: evaluated a step at a time, each step for all resources that the one before led to.
//!
//! What a step reads is loaded together, so a path costs some reads of the store for each of its steps and not for each
//! resource; an index serves a condition on a root collection. Each step itself is the evaluator's ([`crate::eval`]): the
//! steps before it are put in as a constant. Resources that are visited on the way count against a limit.

use std::cell::Cell;
use std::collections::BTreeSet;

use corollary_schema::TypeIx;
use corollary_schema::typed::{Expr, Node};
use corollary_value::{Id, Value};

use crate::doc::Key;
use crate::error::EngineError;
use crate::eval::Eval;
use crate::members;
use crate::query::{self, From, Query};
use crate::working::Working;

/// Owners whose members are read together.
const OWNERS: usize = 256;

/// The value of a path that begins at a resource (`self`) or at a root collection, and visits so many resources at most.
pub fn value(working: &Working<'_>, owner: &Id, path: &Expr, limit: usize) -> Result<Value, EngineError> {
    Walk { working, owner, limit, left: Cell::new(limit) }.step(path)
}

struct Walk<'w, 'a> {
    working: &'w Working<'a>,
    owner: &'w Id,
    limit: usize,
    /// Resources that may still be visited.
    left: Cell<usize>,
}

impl Walk<'_, '_> {
    fn step(&self, path: &Expr) -> Result<Value, EngineError> {
        match &path.node {
            Node::All(ty) => self.all(*ty, None),
            Node::Filter(base, condition) if matches!(base.node, Node::All(_)) => match base.ty.resource() {
                Some(ty) => self.all(ty, Some(of_self(condition.as_ref().clone(), 0, ty))),
                None => self.evaluate(path),
            },
            Node::Reverse(base, of) => {
                let from = self.step(base)?;
                let mut found = BTreeSet::new();
                let owners: Vec<&Id> = references(&from).collect();
                for some in owners.chunks(OWNERS) {
                    let lists = members::of_many(self.working, *of, some, self.left.get() + 1)?;
                    self.visit(lists.iter().map(Vec::len).sum())?;
                    found.extend(lists.into_iter().flatten());
                }
                Ok(Value::List(found.into_iter().map(Value::Ref).collect()))
            }
            Node::Get(base, _)
            | Node::Each(base, ..)
            | Node::Member(base, _)
            | Node::IdOf(base)
            | Node::Extend(base, _)
            | Node::Filter(base, _)
            | Node::Order(base, _)
            | Node::At(base, _)
            | Node::Slice(base, ..) => {
                let from = self.step(base)?;
                if let Some(ty) = base.ty.resource() {
                    self.load(ty, &from)?;
                }
                let from = Expr { node: Node::Const(from), ty: base.ty.clone() };
                let mut from = Some(from);
                // The first part of a step is what it goes on from.
                let last = path.clone().map_parts(&mut |part, _| from.take().unwrap_or(part));
                self.evaluate(&last)
            }
            _ => self.evaluate(path),
        }
    }

    fn evaluate(&self, expr: &Expr) -> Result<Value, EngineError> {
        Eval::new(self.working, self.owner).value(expr)
    }

    /// The resources of a type, or those for which a condition holds.
    fn all(&self, ty: TypeIx, filter: Option<Expr>) -> Result<Value, EngineError> {
        let left = self.left.get();
        let order = Vec::new();
        let query = Query { ty, from: From::All, filter, order, limit: left, after: None, scan_limit: left };
        let page = query::run(self.working, &query)?;
        self.visit(page.items.len() + usize::from(page.more))?;
        Ok(Value::List(page.items.into_iter().map(|item| Value::Ref(item.key.id)).collect()))
    }

    /// Loads the resources that a step goes on from.
    fn load(&self, ty: TypeIx, from: &Value) -> Result<(), EngineError> {
        let keys: Vec<Key> = references(from).map(|id| Key::new(ty, id.clone())).collect();
        self.visit(keys.len())?;
        self.working.prefetch(keys.iter())
    }

    fn visit(&self, resources: usize) -> Result<(), EngineError> {
        match self.left.get().checked_sub(resources) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                let message = format!(
                    "the path visits more than {} resources; narrow it by a condition in brackets",
                    self.limit
                );
                Err(EngineError::refused("scan-limit", None, message))
            }
        }
    }
}

/// What a value refers to.
fn references(value: &Value) -> impl Iterator<Item = &Id> {
    let elements = match value {
        Value::List(elements) => &elements[..],
        one => std::slice::from_ref(one),
    };
    elements.iter().filter_map(|element| match element {
        Value::Ref(id) => Some(id),
        _ => None,
    })
}

/// A condition on the items of a list as one on resources of a type.
fn of_self(condition: Expr, depth: u32, ty: TypeIx) -> Expr {
    if condition.node == Node::Item(depth) {
        return Expr::owner(ty);
    }
    condition.map_parts(&mut |part, deeper| of_self(part, depth + deeper, ty))
}
