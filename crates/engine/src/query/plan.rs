//! Which paths of access a query may take, the best first.
//!
//! A path is worth trying where an index answers a part of the condition that has to hold, or yields the order that is
//! asked for. What is not exact is a superset: the whole condition is checked on what a path yields. Where several parts
//! have an index, the one with the fewest rows is taken, by counting some rows of each. Read next: `conditions`, `access`.

use corollary_schema::typed::{Expr, Node};
use corollary_schema::{FieldId, FieldRef, SearchBy, TypeIx};
use corollary_store::{Direction, KeyRange};
use corollary_syntax::ast::BinaryOp;
use corollary_value::{Id, Value};

use super::access::{IdAt, Path, Rows, Scan, Source, Trail};
use super::composite::{self, over_several};
use super::conditions::{
    Comparison, behind_link, comparison, constants, own_field, own_id, ranges, search, split,
};
use super::usable::Usable;
use super::{From, Query};
use crate::error::EngineError;
use crate::eval::View;
use crate::keys;
use crate::order::siblings;
use crate::working::Working;

/// Rows that are counted of each path to choose one of them; what has more is not told apart.
const COUNTED: usize = 256;

/// Rows that are counted at most for those who ask how a query is answered.
const EXPLAINED: usize = 10_000;

/// How the candidates of a query are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// All resources of the type, by id.
    All,
    /// A list that is given: links, a derived list.
    Listed,
    /// Those that refer by this field to one resource.
    References(FieldRef),
    /// The children of an ordered collection as they stand, by their link to the parent.
    Siblings(FieldRef),
    /// A part of the index of a field.
    Index(FieldRef),
    /// A part of an index over several fields of a type: the one with this number.
    Composite(TypeIx, FieldId),
    /// The index of a search.
    Search(FieldRef),
    /// Those whose links lead, one after the other, to what the index or the references of the last field have.
    Through(Vec<FieldRef>),
    /// Several parts of indexes together.
    Union(Vec<FieldRef>),
}

/// How a query is answered.
#[derive(Clone, Debug)]
pub struct Explained {
    /// What is walked.
    pub access: Access,
    /// Does that come in the order that is asked for? Otherwise all that is found is sorted.
    pub ordered: bool,
    /// How many candidates there are, counted as far as [`Explained::counted`] says.
    pub candidates: usize,
    /// Are these all of them?
    pub complete: bool,
    /// How far candidates are counted.
    pub counted: usize,
    /// What else could have been walked, in the order in which it would be tried.
    pub others: Vec<Access>,
    /// The numbers of the indexes that would be among these, and that an update has yet to fill.
    pub building: Vec<FieldId>,
}

/// How a query would be answered.
pub fn explain(working: &Working<'_>, query: &Query) -> Result<Explained, EngineError> {
    let usable = Usable::new(working);
    let mut paths = ranked(&usable, query)?.of_page().into_iter();
    let Some(path) = paths.next() else { return Err(EngineError::corrupt("a plan without a path")) };
    let candidates = path.rows.estimate(working, EXPLAINED)?;
    Ok(Explained {
        access: path.access,
        ordered: path.ordered,
        candidates,
        complete: candidates < EXPLAINED,
        counted: EXPLAINED,
        others: paths.map(|path| path.access).collect(),
        building: usable.missed(),
    })
}

/// The paths worth trying, the most selective first; the last is the one that must do.
pub(super) fn paths(working: &Working<'_>, query: &Query) -> Result<Vec<Path>, EngineError> {
    Ok(ranked(&Usable::new(working), query)?.paths)
}

/// The same for one page, with which a walk in order ends: those that come in order go before all others but those that are
/// known to be few. Such a walk may give way to one of the others (`rivals`).
pub(super) fn paths_of_page(working: &Working<'_>, query: &Query) -> Result<Vec<Path>, EngineError> {
    Ok(ranked(&Usable::new(working), query)?.of_page())
}

/// Paths, the most selective first.
struct Ranked {
    paths: Vec<Path>,
    /// So many at the beginning are known to be few rows.
    few: usize,
}

impl Ranked {
    /// In the order in which they are tried for a page.
    fn of_page(self) -> Vec<Path> {
        let mut paths: Vec<(usize, Path)> = self.paths.into_iter().enumerate().collect();
        paths.sort_by_key(|(at, path)| (*at >= self.few, *at >= self.few && !path.ordered));
        paths.into_iter().map(|(_, path)| path).collect()
    }
}

fn ranked(usable: &Usable<'_, '_>, query: &Query) -> Result<Ranked, EngineError> {
    let working = usable.working;
    let by_id = query.order.is_empty();
    let listed = match &query.from {
        From::Listed(ids) => Some(ids.clone()),
        // There are no indexes of the past.
        From::All if working.is_past() => Some(working.all(query.ty)?),
        From::Referring(field, target) if working.is_past() => Some(working.referrers(*field, target)?),
        From::All | From::Referring(..) => None,
    };
    if let Some(mut ids) = listed {
        ids.sort();
        ids.dedup();
        let (rows, direction) = (Rows::Trail(Trail::Listed(ids.into_iter())), Direction::Forward);
        let paths = vec![Path { rows, direction, ordered: by_id, access: Access::Listed }];
        return Ok(Ranked { paths, few: 1 });
    }
    let (conjuncts, comparisons) = said(query);
    let mut choice = Choice::default();
    for over in over_several(usable, query, &conjuncts, &comparisons) {
        match (over.fixed, over.path.ordered) {
            _ if over.direct => choice.certain.push(over.path),
            (1.., _) => choice.selective.push(over.path),
            (0, true) => choice.ordered.push(over.path),
            (0, false) => choice.ranges.push(over.path),
        }
    }
    if let From::Referring(field, target) = &query.from {
        choice.selective.push(references(working, *field, target, query));
        return choice.fewest_first(working, false);
    }
    let by_field = match &query.order[..] {
        [(key, descending)] => {
            let indexed = own_field(key).filter(|field| usable.by_value(*field));
            indexed.map(|field| (field, *descending))
        }
        _ => None,
    };
    let ordered = by_field.map(|(field, descending)| {
        in_order(working, query, field, bounds(working, field, &comparisons), descending)
    });
    choice.ordered.extend(ordered);
    let (unique, selective) = selective(usable, query, &conjuncts, &comparisons);
    choice.certain.splice(0..0, unique);
    choice.selective.extend(selective);
    choice.ranges.extend(ranged(usable, &comparisons, by_field.map(|(field, _)| field)));
    let Ranked { mut paths, few } = choice.fewest_first(working, by_id)?;
    let mut range = KeyRange::prefix(keys::docs_of(working.schema.ty(query.ty).id));
    if let (true, Some(after)) = (by_id, &query.after) {
        range = range.resume_after(keys::doc(working.schema.ty(query.ty).id, &after.id));
    }
    let (rows, direction) = (Rows::Trail(Trail::Docs(range)), Direction::Forward);
    paths.push(Path { rows, direction, ordered: by_id, access: Access::All });
    Ok(Ranked { paths, few })
}

/// What all has to hold, and what of that is a comparison.
fn said(query: &Query) -> (Vec<&Expr>, Vec<Comparison>) {
    let mut conjuncts = Vec::new();
    if let Some(filter) = &query.filter {
        split(filter, &mut conjuncts);
    }
    let comparisons = conjuncts.iter().filter_map(|it| comparison(it)).collect();
    (conjuncts, comparisons)
}

/// The paths that there are, by what is known of them.
#[derive(Default)]
struct Choice {
    /// One row at most, or no more rows than the page has.
    certain: Vec<Path>,
    /// Values or targets are named.
    selective: Vec<Path>,
    /// They come in the order that is asked for.
    ordered: Vec<Path>,
    /// A range of values is left.
    ranges: Vec<Path>,
}

impl Choice {
    /// Paths that are few rows go first, the fewest before the others; then those that name values or targets, then those
    /// that come in order, then ranges. Of alike ones those that come in order go first. Where all resources come in order a
    /// range has these to compete with.
    fn fewest_first(self, working: &Working<'_>, all_ordered: bool) -> Result<Ranked, EngineError> {
        let Choice { certain, selective, ordered, ranges } = self;
        let competes = all_ordered && !ranges.is_empty();
        let alone = selective.len() + ranges.len() + ordered.len() + usize::from(competes) < 2;
        if !certain.is_empty() || alone {
            let few = certain.len();
            let paths = certain.into_iter().chain(selective).chain(ordered).chain(ranges).collect();
            return Ok(Ranked { paths, few });
        }
        let (mut few, mut many, mut wide) = (Vec::new(), Vec::new(), Vec::new());
        let named = selective.into_iter().map(|path| (path, true));
        for (path, names) in named.chain(ranges.into_iter().map(|path| (path, false))) {
            match (path.rows.estimate(working, COUNTED)?, names) {
                (rows, _) if rows < COUNTED => few.push((rows, path)),
                (_, true) => many.push(path),
                (_, false) => wide.push(path),
            }
        }
        few.sort_by_key(|(rows, path)| (*rows, !path.ordered));
        many.sort_by_key(|path| !path.ordered);
        let known = few.len();
        let few = few.into_iter().map(|(_, path)| path);
        let paths = few.chain(many).chain(ordered).chain(wide).collect();
        Ok(Ranked { paths, few: known })
    }
}

/// An index that yields the order that is asked for.
fn in_order(
    working: &Working<'_>,
    query: &Query,
    field: FieldRef,
    mut range: KeyRange,
    descending: bool,
) -> Path {
    let direction = if descending { Direction::Backward } else { Direction::Forward };
    if let Some(after) = &query.after
        && let [value] = &after.values[..]
    {
        let key = keys::index(working.schema.field(field).id, value, &after.id);
        range = if descending { range.resume_before(key) } else { range.resume_after(key) };
    }
    Path {
        rows: Rows::Trail(Trail::Ids(by_value(range))),
        direction,
        ordered: true,
        access: Access::Index(field),
    }
}

fn by_value(range: KeyRange) -> Scan {
    Scan { keyspace: keys::INDEX, range, id_at: IdAt::Value }
}

/// What a condition names: values of unique fields; and besides values of other indexed fields, parts of searches, targets of
/// links, and any of several of these.
fn selective(
    usable: &Usable<'_, '_>,
    query: &Query,
    conjuncts: &[&Expr],
    comparisons: &[Comparison],
) -> (Vec<Path>, Vec<Path>) {
    let working = usable.working;
    let (by_id, schema) = (query.order.is_empty(), working.schema);
    let after = || query.after.as_ref().filter(|_| by_id).map(|after| after.id.clone());
    let path = |rows, access| Path { rows, direction: Direction::Forward, ordered: by_id, access };
    let (mut certain, mut paths) = (Vec::new(), Vec::new());
    for it in comparisons {
        let (at, field, value) = match it {
            Comparison::Equal(at, value) => (*at, schema.field(*at), value),
            Comparison::Has(at, value) if schema.field(*at).indexes_elements() => {
                (*at, schema.field(*at), value)
            }
            _ => continue,
        };
        if !usable.by_value(at) {
            continue;
        }
        let mut range = KeyRange::prefix(keys::indexed(field.id, value));
        if let Some(after) = after() {
            range = range.resume_after(keys::index(field.id, value, &after));
        }
        let path = path(Rows::Trail(Trail::Ids(by_value(range))), Access::Index(at));
        if field.rules.unique { certain.push(path) } else { paths.push(path) }
    }
    let wanted: Option<(FieldRef, _)> = conjuncts.iter().find_map(|it| {
        let found: (SearchBy, FieldRef, &str) = search(it)?;
        let index = schema.field(found.1).rules.search.filter(|index| index.by == found.0)?;
        let ranges = ranges(index, found.2)?;
        usable.has(index.index).then_some((found.1, ranges))
    });
    if let Some((field, parts)) = wanted {
        let rows = Rows::Search { parts, after: after(), limit: query.scan_limit };
        paths.push(path(rows, Access::Search(field)));
    }
    for it in comparisons {
        if let Comparison::LinksTo(field, target) = it
            && schema.field(*field).reference_index
        {
            paths.push(references(working, *field, target, query));
        }
    }
    for it in conjuncts {
        let (mut sources, mut fields) = (Vec::new(), Vec::new());
        if any_of(usable, it, &mut sources, &mut fields) && !sources.is_empty() {
            fields.dedup();
            let access = match behind_link(it) {
                Some(_) => Access::Through(fields),
                None if fields.is_empty() => Access::Listed,
                None => Access::Union(fields),
            };
            paths.push(path(Rows::Union { sources, after: after(), limit: query.scan_limit }, access));
        }
    }
    (certain, paths)
}

/// What has to be looked at for a condition that is an `or` of parts with an index, `in` some values, one on the id, or one on what a
/// link leads to; false where a part of it has none.
fn any_of(
    usable: &Usable<'_, '_>,
    condition: &Expr,
    sources: &mut Vec<Source>,
    fields: &mut Vec<FieldRef>,
) -> bool {
    match &condition.node {
        Node::Binary(BinaryOp::Or, left, right) => {
            part(usable, left, sources, fields) && part(usable, right, sources, fields)
        }
        Node::Binary(BinaryOp::In, ..) if comparison(condition).is_none() => {
            part(usable, condition, sources, fields)
        }
        _ if own_id(condition).is_some() => part(usable, condition, sources, fields),
        _ => behind_link(condition).is_some() && part(usable, condition, sources, fields),
    }
}

/// The rows that hold all for which a part of a condition can hold.
fn part(
    usable: &Usable<'_, '_>,
    condition: &Expr,
    sources: &mut Vec<Source>,
    fields: &mut Vec<FieldRef>,
) -> bool {
    let working = usable.working;
    let schema = working.schema;
    if let Some((link, inner)) = behind_link(condition) {
        let so_far = sources.len();
        fields.push(link);
        if !schema.field(link).reference_index || !part(usable, &inner, sources, fields) {
            return false;
        }
        sources[so_far..].iter_mut().for_each(|source| source.back.push(schema.field(link).id));
        return true;
    }
    match &condition.node {
        Node::Binary(BinaryOp::Or, left, right) => {
            return part(usable, left, sources, fields) && part(usable, right, sources, fields);
        }
        Node::Binary(BinaryOp::And, left, right) => {
            let so_far = (sources.len(), fields.len());
            return part(usable, left, sources, fields) || {
                sources.truncate(so_far.0);
                fields.truncate(so_far.1);
                part(usable, right, sources, fields)
            };
        }
        Node::Binary(BinaryOp::In, subject, list) if own_field(subject).is_some() => {
            let field =
                own_field(subject).filter(|field| subject.ty.resource().is_none() && usable.by_value(*field));
            let (Some(field), Some(values)) = (field, constants(list)) else { return false };
            let id = schema.field(field).id;
            let values = values.into_iter().filter(|value| !value.is_null());
            let scan = |value: Value| by_value(KeyRange::prefix(keys::indexed(id, &value)));
            sources.extend(values.map(|value| Source::own(scan(value))));
            fields.push(field);
            return true;
        }
        _ => {}
    }
    if let Some((ty, id)) = own_id(condition) {
        let range = KeyRange::only(keys::doc(schema.ty(ty).id, &id));
        sources.push(Source::own(Scan { keyspace: keys::DOC, range, id_at: IdAt::Type }));
        return true;
    }
    let Some(compared) = comparison(condition) else { return false };
    let (scan, field) = match &compared {
        Comparison::Equal(field, value) if usable.by_value(*field) => {
            (by_value(KeyRange::prefix(keys::indexed(schema.field(*field).id, value))), *field)
        }
        Comparison::Has(field, value) if usable.by_element(*field) => {
            (by_value(KeyRange::prefix(keys::indexed(schema.field(*field).id, value))), *field)
        }
        Comparison::AtLeast(field, _) | Comparison::AtMost(field, _) if usable.by_value(*field) => {
            let field = *field;
            (by_value(bounds(working, field, std::slice::from_ref(&compared))), field)
        }
        Comparison::LinksTo(field, target) if schema.field(*field).reference_index => {
            (Scan::referring(schema.field(*field).id, target), *field)
        }
        _ => return false,
    };
    sources.push(Source::own(scan));
    fields.push(field);
    true
}

/// Ranges of indexes that a condition leaves, of other fields than the one that is walked in order.
fn ranged(usable: &Usable<'_, '_>, comparisons: &[Comparison], but: Option<FieldRef>) -> Vec<Path> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for it in comparisons {
        if let Comparison::AtLeast(field, _) | Comparison::AtMost(field, _) = it
            && but != Some(*field)
            && usable.by_value(*field)
            && !fields.contains(field)
        {
            fields.push(*field);
        }
    }
    let path = |field: FieldRef| Path {
        rows: Rows::Trail(Trail::Ids(by_value(bounds(usable.working, field, comparisons)))),
        direction: Direction::Forward,
        ordered: false,
        access: Access::Index(field),
    };
    fields.into_iter().map(path).collect()
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
        rows: Rows::Trail(Trail::Ids(Scan { keyspace: keys::REFERENCE, range, id_at: IdAt::Target })),
        direction: Direction::Forward,
        ordered: by_id,
        access: Access::References(field),
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
    let rows = Rows::Trail(Trail::Ids(Scan { keyspace: keys::INDEX, range, id_at: IdAt::ParentAndValue }));
    Some(Path { rows, direction, ordered: true, access: Access::Siblings(via) })
}

/// The part of an index that the comparisons leave.
fn bounds(working: &Working<'_>, field: FieldRef, comparisons: &[Comparison]) -> KeyRange {
    let id = working.schema.field(field).id;
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

/// The field that a condition compares with a value, here or behind links.
fn compared(condition: &Expr) -> Option<FieldRef> {
    if let Some((_, inner)) = behind_link(condition) {
        return compared(&inner);
    }
    match comparison(condition)? {
        Comparison::Equal(field, _)
        | Comparison::AtLeast(field, _)
        | Comparison::AtMost(field, _)
        | Comparison::Has(field, _) => Some(field),
        Comparison::LinksTo(..) => None,
    }
}

/// The refusal of a query that would visit too many, with the index that would help.
pub(super) fn too_far(working: &Working<'_>, query: &Query) -> EngineError {
    let ty = working.schema.ty(query.ty);
    if working.is_past() {
        let message = format!(
            "the query would visit more than {} resources of {}: there are no indexes of the past",
            query.scan_limit, ty.name
        );
        return EngineError::refused("scan-limit", None, message);
    }
    let (conjuncts, _) = said(query);
    let compared = conjuncts.iter().filter_map(|it| compared(it));
    let ordered = query.order.iter().filter_map(|(key, _)| own_field(key));
    let index = compared.chain(ordered).find(|field| !working.schema.field(*field).index);
    let index = index.map(|field| (field, "index".to_string()));
    let search = conjuncts.iter().find_map(|it| {
        let (by, field, _) = search(it)?;
        let is_there = working.schema.field(field).rules.search.is_some_and(|search| search.by == by);
        (!is_there).then(|| (field, format!("search {}", by.name())))
    });
    let option = |(field, option): (FieldRef, String)| {
        let (of, field) = (&working.schema.ty(field.ty).name, working.schema.field(field));
        format!("`{option}` on {of}.{}", field.name)
    };
    let declared = || search.map(option).or_else(|| over_several_would(working, query)).or(index.map(option));
    let help = being_built(working, query).or_else(|| Some(format!("{} would help", declared()?)));
    let help = help.unwrap_or_else(|| "narrow the filter by a field with an index".to_string());
    let message =
        format!("the query would visit more than {} resources of {}; {help}", query.scan_limit, ty.name);
    EngineError::refused("scan-limit", None, message)
}

/// The index over several fields that would help.
fn over_several_would(working: &Working<'_>, query: &Query) -> Option<String> {
    composite::hint(working.schema, query, &said(query).1)
}

/// That an index is being built by which the query would be answered.
fn being_built(working: &Working<'_>, query: &Query) -> Option<String> {
    let usable = Usable::new(working);
    ranked(&usable, query).ok()?;
    usable.help()
}

/// The refusal of an order that would have to be made of more than so many, with the index that would help.
pub(super) fn unsorted(working: &Working<'_>, query: &Query, most: usize) -> EngineError {
    let ty = working.schema.ty(query.ty);
    let by_one = || match &query.order[..] {
        [(key, _)] if matches!(query.from, From::All) => own_field(key)
            .filter(|field| !working.schema.field(*field).index)
            .map(|field| format!("`index` on {}.{}", ty.name, working.schema.field(field).name)),
        _ => None,
    };
    let declared = || over_several_would(working, query).or_else(by_one);
    let help = being_built(working, query).or_else(|| Some(format!("{} would help", declared()?)));
    let help = help.unwrap_or_else(|| "ask for another order, or narrow the filter".to_string());
    let message = format!(
        "more than {most} resources of {} would have to be sorted before the first is told; {help}, or a `limit` of at most {most}",
        ty.name
    );
    EngineError::refused("sort-limit", None, message)
}
