//! Queries: the resources of a type (or of a list) for which a condition holds, in an order, a page at a time.
//!
//! A query walks one path of access: an index, the references to a resource, a given list, or all resources of the
//! type. What a path yields is always checked against the whole condition, so a path only ever saves work. Where the
//! path's order is the one asked for, the walk ends with the page; otherwise all are visited, and no more of them are kept
//! than the page needs (`first`). A walk in order that finds little on its way gives way to a path with fewer rows (`rivals`). A
//! walk that would visit more resources than its limit is refused, and the refusal names
//! the index that would help.
//!
//! Which path that is the planner says (`plan`), from what the condition compares (`conditions`); `access` walks it. Who
//! wants all that is found, however much it is, takes it from a [`Cursor`].
//!
//! A page goes on behind a [`Position`]: the last item's values of the order, and its id. So what is written meanwhile
//! moves no item from one page to another, unless its own place in the order changes.

mod access;
mod composite;
mod conditions;
mod cursor;
mod first;
mod plan;
mod rivals;
pub mod select;
mod usable;

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use corollary_schema::typed::{Expr, Kind, Node, Type};
use corollary_schema::{FieldRef, Schema, TypeIx};
use corollary_value::codec::{self, DecodeError};
use corollary_value::{Id, Value, compare};
use tracing::debug_span;

use self::access::{Path, Rows, Trail, each};
use self::first::First;
use self::plan::{paths, paths_of_page, too_far};
use self::rivals::Rivals;
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, Over, View};
use crate::spans;
use crate::working::Working;

pub use self::cursor::{Cursor, MAX_SORTED};
pub use self::plan::{Access, Explained, explain};

/// Resources that a query may visit unless it says otherwise.
pub const DEFAULT_SCAN_LIMIT: usize = 100_000;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Query {
    /// The type of the resources.
    pub ty: TypeIx,
    /// Where they come from.
    pub from: From,
    /// A condition; `self` is the resource.
    pub filter: Option<Expr>,
    /// The order, true is descending. Ties are in the order of ids, in the direction of the last part.
    pub order: Vec<(Expr, bool)>,
    /// The most items of a page.
    pub limit: usize,
    /// Behind which item the page begins.
    pub after: Option<Position>,
    /// Resources that may be visited.
    pub scan_limit: usize,
}

/// Where the resources of a query come from.
#[derive(Clone, Debug)]
pub enum From {
    /// All of the type.
    All,
    /// Those whose field refers to a resource: a collection, an inverse.
    Referring(FieldRef, Id),
    /// These: links, derived lists.
    Listed(Vec<Id>),
}

/// A place in a query's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// One for each part of the order.
    pub values: Vec<Value>,
    /// Of the item.
    pub id: Id,
}

impl Position {
    /// For a page token.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut parts = self.values.clone();
        parts.push(Value::Ref(self.id.clone()));
        codec::encode(&Value::List(parts.into()), out);
    }

    /// From a page token.
    pub fn decode(bytes: &mut &[u8]) -> Result<Position, DecodeError> {
        let Value::List(parts) = codec::decode(bytes)? else { return Err(DecodeError) };
        match parts.split_last() {
            Some((Value::Ref(id), values)) => Ok(Position { values: values.to_vec(), id: id.clone() }),
            _ => Err(DecodeError),
        }
    }
}

/// A resource that a query found.
#[derive(Clone, Debug)]
pub struct Item {
    /// Which.
    pub key: Key,
    /// As it is.
    pub doc: Arc<Doc>,
    /// Where it stands.
    pub position: Position,
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// In order.
    pub items: Vec<Item>,
    /// Are there more behind the last?
    pub more: bool,
}

/// The order in which a list stands by itself: of the children of an ordered collection their places, of others their ids.
pub fn natural_order(schema: &Schema, from: &From) -> Vec<(Expr, bool)> {
    let From::Referring(via, _) = from else { return Vec::new() };
    schema.position_of(*via).map(by_position).into_iter().collect()
}

/// The part of an order that is by a position.
pub fn by_position(position: FieldRef) -> (Expr, bool) {
    let node = Node::Get(Box::new(Expr::owner(position.ty)), position);
    (Expr { node, ty: Type::one(Kind::Str) }, false)
}

/// Runs a query.
pub fn run(working: &Working<'_>, query: &Query) -> Result<Page, EngineError> {
    let paths = debug_span!(target: spans::READ, "plan").in_scope(|| paths_of_page(working, query))?;
    let mut paths = VecDeque::from(paths);
    while let Some(path) = paths.pop_front() {
        let _walk = debug_span!(target: spans::READ, "walk", access = ?path.access).entered();
        let ends = path.ordered;
        let mut rivals = Rivals::of(&path, paths.make_contiguous());
        let again = (!rivals.are_none()).then(|| path.clone());
        if let Some(page) = walk(working, query, path, query.limit, ends, &mut rivals)? {
            return Ok(page);
        }
        if let Some(better) = rivals.better() {
            let better = paths.remove(better);
            // Its rows were counted; should they lead to more, the walk has to do without it.
            again.into_iter().chain(better).for_each(|path| paths.push_front(path));
        }
    }
    Err(too_far(working, query))
}

/// How many resources a query finds, whatever its page.
pub fn count(working: &Working<'_>, query: &Query) -> Result<u64, EngineError> {
    let query = Query { order: Vec::new(), after: None, ..query.clone() };
    let paths = debug_span!(target: spans::READ, "plan").in_scope(|| paths(working, &query))?;
    for path in paths {
        let _walk = debug_span!(target: spans::READ, "walk", access = ?path.access).entered();
        if let Some(count) = counted(working, &query, path)? {
            return Ok(count);
        }
    }
    Err(too_far(working, &query))
}

/// How many a path finds; none where it visits more than the limit.
fn counted(working: &Working<'_>, query: &Query, path: Path) -> Result<Option<u64>, EngineError> {
    if let (None, Rows::Trail(Trail::Docs(_) | Trail::Ids(_)), false) =
        (&query.filter, &path.rows, working.hides(query.ty))
    {
        // A row stands for a resource, and none has to be looked at.
        let rows = path.rows.estimate(working, query.scan_limit.saturating_add(1))?;
        return Ok((rows <= query.scan_limit).then_some(rows as u64));
    }
    let (mut visited, mut count) = (0, 0);
    let complete = each(working, query.ty, path, usize::MAX, &mut |key, doc| {
        if visited == query.scan_limit {
            return Ok(false);
        }
        visited += 1;
        count += u64::from(holds(working, query, &key, &doc)?);
        Ok(true)
    })?;
    Ok(complete.then_some(count))
}

/// The first so many that a path finds; none where it visits more than the limit. A walk that `ends` does so when it has
/// found one more than is wanted; one with rivals when one of them is better, with no page then.
fn walk(
    working: &Working<'_>,
    query: &Query,
    path: Path,
    limit: usize,
    ends: bool,
    rivals: &mut Rivals<'_>,
) -> Result<Option<Page>, EngineError> {
    let (mut first, mut visited) = (First::new(query, path.ordered, limit), 0);
    // What ends with the page reads no more than that, where all of it is found.
    let together = if ends { limit.saturating_add(1) } else { usize::MAX };
    let complete = each(working, query.ty, path, together, &mut |key, doc| {
        if visited == query.scan_limit {
            return Ok(false);
        }
        visited += 1;
        if let Some(item) = item(working, query, key, doc)? {
            first.add(item);
        }
        let ended = ends && first.is_full() || rivals.are_better(working, query, visited)?;
        Ok(!ended)
    })?;
    Ok((complete || (ends && first.is_full())).then(|| first.page()))
}

/// Does the condition hold of a resource?
fn holds(view: &dyn View, query: &Query, key: &Key, doc: &Arc<Doc>) -> Result<bool, EngineError> {
    let Some(filter) = &query.filter else { return Ok(true) };
    Eval::of(&Row { view, key, doc }, &key.id, doc).holds(filter)
}

/// A candidate with its place in the order, where it is found: the condition holds, and it stands behind where the page
/// begins. Where it comes from is not asked.
pub fn item(view: &dyn View, query: &Query, key: Key, doc: Arc<Doc>) -> Result<Option<Item>, EngineError> {
    if !holds(view, query, &key, &doc)? {
        return Ok(None);
    }
    let row = Row { view, key: &key, doc: &doc };
    let eval = Eval::of(&row, &key.id, &doc);
    let mut values = Vec::with_capacity(query.order.len());
    for (by, _) in &query.order {
        let value = eval.value(by)?;
        values.push(if value.is_null() { Value::Null } else { value });
    }
    let position = Position { values, id: key.id.clone() };
    let is_behind = query.after.as_ref().is_none_or(|after| by_order(query, after, &position).is_lt());
    Ok(is_behind.then_some(Item { key, doc, position }))
}

/// The order of a query, which no two resources share a place in.
pub fn by_order(query: &Query, left: &Position, right: &Position) -> Ordering {
    let turned = |order: Ordering, descending: bool| if descending { order.reverse() } else { order };
    for ((left, right), (_, descending)) in left.values.iter().zip(&right.values).zip(&query.order) {
        let by_value = compare(left, right);
        if by_value.is_ne() {
            return turned(by_value, *descending);
        }
    }
    let descending = query.order.last().is_some_and(|(_, descending)| *descending);
    turned(left.id.cmp(&right.id), descending)
}

/// A view in which one document is at hand.
struct Row<'r> {
    view: &'r dyn View,
    key: &'r Key,
    doc: &'r Arc<Doc>,
}

impl Over for Row<'_> {
    fn below(&self) -> &dyn View {
        self.view
    }

    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        if ty == self.key.ty && *id == self.key.id {
            return Ok(Some(self.doc.clone()));
        }
        self.view.doc(ty, id)
    }
}
