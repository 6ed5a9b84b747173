//! Queries: the resources of a type (or of a list) for which a condition holds, in an order, a page at a time.
//!
//! A query walks one path of access: an index, the references to a resource, a given list, or all resources of the
//! type. What a path yields is always checked against the whole condition, so a path only ever saves work. Where the
//! path's order is the one asked for, the walk ends with the page; otherwise all that match are sorted. A walk that
//! would visit more resources than its limit is refused, and the refusal names the index that would help.
//!
//! A page goes on behind a [`Position`]: the last item's values of the order, and its id. So what is written meanwhile
//! moves no item from one page to another, unless its own place in the order changes.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_schema::typed::{Expr, Kind, Node, Type};
use corollary_schema::{FieldRef, Schema, SearchBy, TypeIx};
use corollary_store::{Direction, KeyRange, Keyspace};
use corollary_syntax::ast::BinaryOp;
use corollary_value::codec::{self, DecodeError};
use corollary_value::order_key::skip_order_key;
use corollary_value::{Id, Value, compare};

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, Over, View};
use crate::keys;
use crate::order::siblings;
use crate::words::{self, Wanted};
use crate::working::Working;

/// Candidates that are loaded together.
const CHUNK: usize = 256;

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

/// A walk over candidates.
#[derive(Debug)]
struct Path {
    rows: Rows,
    direction: Direction,
    /// Does it yield the order that is asked for?
    ordered: bool,
}

#[derive(Debug)]
enum Rows {
    /// Documents themselves.
    Docs(KeyRange),
    /// Rows with the id at their end, and how it is read from a key.
    Ids(Keyspace, KeyRange, fn(&[u8]) -> Option<Id>),
    /// A list, by id.
    Listed(Vec<Id>),
    /// Those behind an id that have an entry in one of the ranges of each part; parts with more than so many are too
    /// common to begin with.
    Search { parts: Vec<Vec<KeyRange>>, after: Option<Id>, limit: usize },
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
    let paths = paths(working, query);
    let last = paths.len() - 1;
    for (at, path) in paths.iter().enumerate() {
        match walk(working, query, path, query.limit)? {
            Walk::Done(page) => return Ok(page),
            Walk::TooFar if at < last => {}
            Walk::TooFar => break,
        }
    }
    Err(too_far(working, query))
}

/// How many resources a query finds, whatever its page.
pub fn count(working: &Working<'_>, query: &Query) -> Result<u64, EngineError> {
    let query = Query { order: Vec::new(), after: None, ..query.clone() };
    for path in paths(working, &query) {
        if let Walk::Done(page) = walk(working, &query, &path, usize::MAX)? {
            return Ok(page.items.len() as u64);
        }
    }
    Err(too_far(working, &query))
}

enum Walk {
    Done(Page),
    TooFar,
}

fn walk(working: &Working<'_>, query: &Query, path: &Path, limit: usize) -> Result<Walk, EngineError> {
    let mut found: Vec<Item> = Vec::new();
    let mut visited = 0;
    let mut take = |key: Key, doc: Arc<Doc>| -> Result<bool, EngineError> {
        if visited == query.scan_limit {
            return Ok(false);
        }
        visited += 1;
        let row = Row { working, key: &key, doc: &doc };
        let eval = Eval::of(&row, &key.id, &doc);
        if let Some(filter) = &query.filter
            && !eval.holds(filter)?
        {
            return Ok(true);
        }
        let mut values = Vec::with_capacity(query.order.len());
        for (key, _) in &query.order {
            let value = eval.value(key)?;
            values.push(if value.is_null() { Value::Null } else { value });
        }
        let position = Position { values, id: key.id.clone() };
        if query.after.as_ref().is_none_or(|after| by_order(query, after, &position).is_lt()) {
            found.push(Item { key, doc, position });
        }
        Ok(!(path.ordered && found.len() > limit))
    };
    let complete = each(working, query.ty, path, &mut take)?;
    if !complete && (!path.ordered || found.len() <= limit) {
        return Ok(Walk::TooFar);
    }
    if !path.ordered {
        found.sort_by(|left, right| by_order(query, &left.position, &right.position));
    }
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(Walk::Done(Page { items: found, more }))
}

/// The order of a query, which no two resources share a place in.
fn by_order(query: &Query, left: &Position, right: &Position) -> Ordering {
    let mut order = Ordering::Equal;
    for ((left, right), (_, descending)) in left.values.iter().zip(&right.values).zip(&query.order) {
        let by_value = compare(left, right);
        order = order.then(if *descending { by_value.reverse() } else { by_value });
    }
    let by_id = left.id.cmp(&right.id);
    let descending = query.order.last().is_some_and(|(_, descending)| *descending);
    order.then(if descending { by_id.reverse() } else { by_id })
}

/// Hands the candidates of a path to `take` until it has enough; true if that were all.
fn each(
    working: &Working<'_>,
    ty: TypeIx,
    path: &Path,
    take: &mut dyn FnMut(Key, Arc<Doc>) -> Result<bool, EngineError>,
) -> Result<bool, EngineError> {
    let mut failed = None;
    let mut complete = true;
    match &path.rows {
        Rows::Docs(range) => {
            let prefix = keys::docs_of(working.schema.ty(ty).id).len();
            let mut visit = |key: &[u8], value: &[u8]| -> Result<bool, EngineError> {
                let id =
                    keys::id_behind(key, prefix).ok_or_else(|| EngineError::corrupt("a document's key"))?;
                let key = Key::new(ty, id);
                match working.base.decode(&key, Some(value))? {
                    Some(doc) => take(key, doc),
                    None => Ok(true),
                }
            };
            working.base.scan(
                keys::DOC,
                range,
                path.direction,
                &mut |key, value| match visit(key, value) {
                    Ok(true) => ControlFlow::Continue(()),
                    Ok(false) => {
                        complete = false;
                        ControlFlow::Break(())
                    }
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                },
            )?;
            failed.map_or(Ok(complete), Err)
        }
        Rows::Ids(keyspace, range, id_in) => {
            let mut range = range.clone();
            loop {
                let mut chunk: Vec<Key> = Vec::with_capacity(CHUNK);
                let mut end = None;
                working.base.scan(*keyspace, &range, path.direction, &mut |key, _| {
                    match id_in(key) {
                        Some(id) => chunk.push(Key::new(ty, id)),
                        None => failed = Some(EngineError::corrupt("an index entry")),
                    }
                    if chunk.len() < CHUNK && failed.is_none() {
                        return ControlFlow::Continue(());
                    }
                    end = Some(key.to_vec());
                    ControlFlow::Break(())
                })?;
                if let Some(error) = failed {
                    return Err(error);
                }
                if !take_all(working, &chunk, take)? {
                    return Ok(false);
                }
                let Some(end) = end else { return Ok(true) };
                range = match path.direction {
                    Direction::Forward => range.resume_after(end),
                    Direction::Backward => range.resume_before(end),
                };
            }
        }
        Rows::Listed(ids) => {
            for chunk in ids.chunks(CHUNK) {
                let keys: Vec<Key> = chunk.iter().map(|id| Key::new(ty, id.clone())).collect();
                if !take_all(working, &keys, take)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Rows::Search { parts, after, limit } => {
            let Some(ids) = searched(working, parts, after.as_ref(), *limit)? else { return Ok(false) };
            for chunk in ids.chunks(CHUNK) {
                let keys: Vec<Key> = chunk.iter().map(|id| Key::new(ty, id.clone())).collect();
                if !take_all(working, &keys, take)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

/// The resources behind an id that have an entry in one of the ranges of each part, by id; none where each part has more
/// than the limit. Few are not made fewer: looking at them costs no more than reading another part.
fn searched(
    working: &Working<'_>,
    parts: &[Vec<KeyRange>],
    after: Option<&Id>,
    limit: usize,
) -> Result<Option<Vec<Id>>, EngineError> {
    let mut found: Option<BTreeSet<Id>> = None;
    for ranges in parts {
        if found.as_ref().is_some_and(|found| found.len() <= CHUNK) {
            break;
        }
        let (mut ids, mut corrupt) = (BTreeSet::new(), false);
        let wanted = |id: &Id| {
            after.is_none_or(|after| id > after) && found.as_ref().is_none_or(|found| found.contains(id))
        };
        for range in ranges {
            working.base.scan(keys::INDEX, range, Direction::Forward, &mut |key, _| {
                match behind_value(key) {
                    Some(id) if wanted(&id) => drop(ids.insert(id)),
                    Some(_) => {}
                    None => corrupt = true,
                }
                if corrupt || ids.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        if corrupt {
            return Err(EngineError::corrupt("an entry of a search"));
        }
        if ids.len() <= limit {
            found = Some(ids);
        }
    }
    Ok(found.map(|found| found.into_iter().collect()))
}

fn take_all(
    working: &Working<'_>,
    keys: &[Key],
    take: &mut dyn FnMut(Key, Arc<Doc>) -> Result<bool, EngineError>,
) -> Result<bool, EngineError> {
    working.prefetch(keys.iter())?;
    for key in keys {
        if let Some(doc) = working.after(key)?
            && !take(key.clone(), doc)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The id at the end of the key of an index entry.
fn behind_value(key: &[u8]) -> Option<Id> {
    whole_id(skip_order_key(key.get(4..)?)?)
}

/// The id at the end of the key of a reference.
fn behind_target(key: &[u8]) -> Option<Id> {
    whole_id(Id::read_key(key.get(4..)?)?.1)
}

/// The id at the end of the key of an entry of an index by parent.
fn behind_parent_and_value(key: &[u8]) -> Option<Id> {
    whole_id(skip_order_key(Id::read_key(key.get(8..)?)?.1)?)
}

fn whole_id(bytes: &[u8]) -> Option<Id> {
    Id::read_key(bytes).filter(|(_, rest)| rest.is_empty()).map(|(id, _)| id)
}

/// The paths worth trying, the most selective first; the last is the one that must do.
fn paths(working: &Working<'_>, query: &Query) -> Vec<Path> {
    let by_id = query.order.is_empty();
    let after = query.after.as_ref();
    match &query.from {
        From::Listed(ids) => {
            let mut ids = ids.clone();
            ids.sort();
            ids.dedup();
            return vec![Path { rows: Rows::Listed(ids), direction: Direction::Forward, ordered: by_id }];
        }
        From::Referring(field, target) => return vec![references(working, *field, target, query)],
        From::All => {}
    }
    let mut paths = Vec::new();
    let mut conjuncts = Vec::new();
    if let Some(filter) = &query.filter {
        split(filter, &mut conjuncts);
    }
    let comparisons: Vec<Comparison> = conjuncts.iter().filter_map(|it| comparison(it)).collect();
    let indexed = |field: FieldRef| working.schema.field(field).index;
    for (unique, it) in
        [true, false].into_iter().flat_map(|unique| comparisons.iter().map(move |it| (unique, it)))
    {
        let Comparison::Equal(field, value) = it else { continue };
        if indexed(*field) && working.schema.field(*field).rules.unique == unique {
            let prefix = keys::indexed(working.schema.field(*field).id, value);
            let mut range = KeyRange::prefix(prefix);
            if let (true, Some(after)) = (by_id, after) {
                range = range.resume_after(keys::index(working.schema.field(*field).id, value, &after.id));
            }
            paths.push(Path {
                rows: Rows::Ids(keys::INDEX, range, behind_value),
                direction: Direction::Forward,
                ordered: by_id,
            });
        }
    }
    let search = conjuncts.iter().find_map(|it| ranges(working.schema, search(it)?));
    paths.extend(search.map(|parts| Path {
        rows: Rows::Search {
            parts,
            after: after.filter(|_| by_id).map(|after| after.id.clone()),
            limit: query.scan_limit,
        },
        direction: Direction::Forward,
        ordered: by_id,
    }));
    for it in &comparisons {
        if let Comparison::LinksTo(field, target) = it
            && working.schema.field(*field).reference_index
        {
            paths.push(references(working, *field, target, query));
        }
    }
    let by_field = match &query.order[..] {
        [(key, descending)] => {
            own_field(key).filter(|field| indexed(*field)).map(|field| (field, *descending))
        }
        _ => None,
    };
    if let Some((field, descending)) = by_field {
        let id = working.schema.field(field).id;
        let mut range = bounds(id, field, &comparisons);
        let direction = if descending { Direction::Backward } else { Direction::Forward };
        if let Some(after) = after
            && let [value] = &after.values[..]
        {
            let key = keys::index(id, value, &after.id);
            range = if descending { range.resume_before(key) } else { range.resume_after(key) };
        }
        paths.push(Path { rows: Rows::Ids(keys::INDEX, range, behind_value), direction, ordered: true });
    }
    for it in &comparisons {
        if let Comparison::AtLeast(field, _) | Comparison::AtMost(field, _) = it
            && indexed(*field)
            && by_field.is_none_or(|(by, _)| by != *field)
        {
            let range = bounds(working.schema.field(*field).id, *field, &comparisons);
            let rows = Rows::Ids(keys::INDEX, range, behind_value);
            paths.push(Path { rows, direction: Direction::Forward, ordered: false });
            break;
        }
    }
    let mut range = KeyRange::prefix(keys::docs_of(working.schema.ty(query.ty).id));
    if let (true, Some(after)) = (by_id, after) {
        range = range.resume_after(keys::doc(working.schema.ty(query.ty).id, &after.id));
    }
    paths.push(Path { rows: Rows::Docs(range), direction: Direction::Forward, ordered: by_id });
    paths
}

fn references(working: &Working<'_>, field: FieldRef, target: &Id, query: &Query) -> Path {
    if let Some(path) = siblings(working, field, target, query) {
        return path;
    }
    let id = working.schema.field(field).id;
    let mut range = KeyRange::prefix(keys::references_to(id, target));
    let by_id = query.order.is_empty();
    if let (true, Some(after)) = (by_id, &query.after) {
        range = range.resume_after(keys::reference(id, target, &after.id));
    }
    Path {
        rows: Rows::Ids(keys::REFERENCE, range, behind_target),
        direction: Direction::Forward,
        ordered: by_id,
    }
}

/// The children of an ordered collection, where they are asked for in its order or against it.
fn siblings(working: &Working<'_>, via: FieldRef, parent: &Id, query: &Query) -> Option<Path> {
    let position = working.schema.position_of(via)?;
    let [(key, descending)] = &query.order[..] else { return None };
    if own_field(key) != Some(position) {
        return None;
    }
    let index = working.schema.field(position).parent_index?;
    let prefix = keys::children(index, working.schema.field(via).id, parent);
    let mut range = KeyRange::prefix(prefix.clone());
    if let Some(after) = &query.after
        && let [value] = &after.values[..]
    {
        let mut key = prefix;
        key.extend(siblings::suffix(value, &after.id));
        range = if *descending { range.resume_before(key) } else { range.resume_after(key) };
    }
    let direction = if *descending { Direction::Backward } else { Direction::Forward };
    Some(Path { rows: Rows::Ids(keys::INDEX, range, behind_parent_and_value), direction, ordered: true })
}

/// The part of an index that the comparisons leave.
fn bounds(id: corollary_schema::FieldId, field: FieldRef, comparisons: &[Comparison]) -> KeyRange {
    let mut range = KeyRange::prefix(id.0.to_be_bytes().to_vec());
    for it in comparisons {
        match it {
            Comparison::AtLeast(at, value) if *at == field => {
                range.from = std::ops::Bound::Included(keys::indexed(id, value));
            }
            Comparison::AtMost(at, value) if *at == field => {
                range.to = KeyRange::prefix(keys::indexed(id, value)).to;
            }
            _ => {}
        }
    }
    range
}

/// What a part of a condition says about a field of the resource itself.
enum Comparison {
    Equal(FieldRef, Value),
    AtLeast(FieldRef, Value),
    AtMost(FieldRef, Value),
    LinksTo(FieldRef, Id),
}

/// The parts that must all hold.
fn split<'e>(filter: &'e Expr, out: &mut Vec<&'e Expr>) {
    match &filter.node {
        Node::Binary(BinaryOp::And, left, right) => {
            split(left, out);
            split(right, out);
        }
        _ => out.push(filter),
    }
}

fn own_field(expr: &Expr) -> Option<FieldRef> {
    match &expr.node {
        Node::Get(base, field) if matches!(base.node, Node::Owner) && !expr.ty.is_many() => Some(*field),
        _ => None,
    }
}

/// A search of a field of the resource itself, and what it asks for.
fn search(expr: &Expr) -> Option<(SearchBy, FieldRef, &str)> {
    let Node::Call(function, arguments) = &expr.node else { return None };
    let (by, [text, wanted]) = (function.search()?, &arguments[..]) else { return None };
    match (&text.node, &wanted.node) {
        (Node::Get(base, field), Node::Const(Value::Str(wanted))) if matches!(base.node, Node::Owner) => {
            Some((by, *field, wanted))
        }
        _ => None,
    }
}

/// The ranges of an index that a search needs, the longest part first; none where no index has it, or nothing is asked for.
fn ranges(schema: &Schema, (by, field, wanted): (SearchBy, FieldRef, &str)) -> Option<Vec<Vec<KeyRange>>> {
    let index = schema.field(field).rules.search.filter(|search| search.by == by)?.index;
    let exactly = |part: &String| KeyRange::prefix(keys::searched(index, words::cut(part)));
    let parts = match Wanted::of(by, wanted) {
        Wanted::Beginning(beginning) if beginning.is_empty() => return None,
        Wanted::Beginning(beginning) => {
            vec![vec![KeyRange::prefix(keys::searched_from(index, words::cut(&beginning)))]]
        }
        Wanted::All(mut all) => {
            all.sort_by_key(|any| std::cmp::Reverse(any.iter().map(String::len).max()));
            all.iter().map(|any| any.iter().map(exactly).collect()).collect()
        }
    };
    Some(parts).filter(|parts: &Vec<_>| !parts.is_empty())
}

fn comparison(expr: &Expr) -> Option<Comparison> {
    let Node::Binary(op, left, right) = &expr.node else { return None };
    let (subject, op, value) = match (&left.node, &right.node) {
        (_, Node::Const(value)) => (left, *op, value),
        (Node::Const(value), _) => {
            let flipped = match op {
                BinaryOp::Less => BinaryOp::Greater,
                BinaryOp::LessEqual => BinaryOp::GreaterEqual,
                BinaryOp::Greater => BinaryOp::Less,
                BinaryOp::GreaterEqual => BinaryOp::LessEqual,
                BinaryOp::Equal => BinaryOp::Equal,
                _ => return None,
            };
            (right, flipped, value)
        }
        _ => return None,
    };
    if let (Node::IdOf(link), BinaryOp::Equal, Value::Str(text)) = (&subject.node, op, value) {
        return Some(Comparison::LinksTo(own_field(link)?, Id::parse(text).ok()?));
    }
    let field = own_field(subject)?;
    if let (Some(_), BinaryOp::Equal) = (subject.ty.resource(), op) {
        return match value {
            Value::Str(text) => Some(Comparison::LinksTo(field, Id::parse(text).ok()?)),
            Value::Ref(id) => Some(Comparison::LinksTo(field, id.clone())),
            _ => None,
        };
    }
    match op {
        BinaryOp::Equal => Some(Comparison::Equal(field, value.clone())),
        BinaryOp::Greater | BinaryOp::GreaterEqual => Some(Comparison::AtLeast(field, value.clone())),
        BinaryOp::Less | BinaryOp::LessEqual => Some(Comparison::AtMost(field, value.clone())),
        _ => None,
    }
}

fn too_far(working: &Working<'_>, query: &Query) -> EngineError {
    let ty = working.schema.ty(query.ty);
    let mut conjuncts = Vec::new();
    if let Some(filter) = &query.filter {
        split(filter, &mut conjuncts);
    }
    let compared = conjuncts.iter().filter_map(|it| match comparison(it)? {
        Comparison::Equal(field, _) | Comparison::AtLeast(field, _) | Comparison::AtMost(field, _) => {
            Some(field)
        }
        Comparison::LinksTo(..) => None,
    });
    let ordered = query.order.iter().filter_map(|(key, _)| own_field(key));
    let index = compared.chain(ordered).find(|field| !working.schema.field(*field).index);
    let index = index.map(|field| (field, "index".to_string()));
    let search = conjuncts.iter().find_map(|it| {
        let (by, field, _) = search(it)?;
        let is_there = working.schema.field(field).rules.search.is_some_and(|search| search.by == by);
        (!is_there).then(|| (field, format!("search {}", by.name())))
    });
    let help = search.or(index).map_or_else(
        || "narrow the filter by a field with an index".to_string(),
        |(field, option)| {
            format!("`{option}` on {}.{} would help", ty.name, working.schema.field(field).name)
        },
    );
    let message =
        format!("the query would visit more than {} resources of {}; {help}", query.scan_limit, ty.name);
    EngineError::refused("scan-limit", None, message)
}

/// A view in which one document is at hand.
struct Row<'r, 'a> {
    working: &'r Working<'a>,
    key: &'r Key,
    doc: &'r Arc<Doc>,
}

impl Over for Row<'_, '_> {
    fn below(&self) -> &dyn View {
        self.working
    }

    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        if ty == self.key.ty && *id == self.key.id {
            return Ok(Some(self.doc.clone()));
        }
        self.working.doc(ty, id)
    }
}
