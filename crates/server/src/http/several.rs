//! Lists of resources of several types: the root collection of an abstract type, collections and inverses of several types,
//! and links to several types.
//!
//! A condition and an order are typed by each of the types, each type is asked by itself as far as the page goes, and what
//! is found is merged. Behind the values of the order stand the id and the type, so that no two resources share a place;
//! a page token has all three.

use std::cmp::Ordering;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use corollary_engine::Key;
use corollary_engine::query::{self, Item, Position, Query};
use corollary_engine::working::{Working, targets};
use corollary_schema::typed::Expr;
use corollary_schema::{Schema, TypeIx};
use corollary_value::{Id, Value, compare};

use super::history::read_at;
use super::list::{self, Asked};
use super::updates;
use super::{Call, Fault, REVISION_HEADER, json, read, with_header};
use crate::json::encode::Shape;
use crate::path::{self, Several, Target};
use crate::problem::Problem;

/// What is asked of each type.
type AskedOfEach<'a> = Asked<'a, Vec<Option<Expr>>>;

/// The list at a path that has been one of several types before.
fn again(working: &Working<'_>, segments: &[String]) -> Result<Several, Fault> {
    match path::resolve(working, segments)? {
        Target::Several(several) => Ok(several),
        _ => Err(Problem::not_found("the list is gone").into()),
    }
}

/// One page of a list.
pub(crate) fn page(
    call: &Call<'_>,
    segments: &[String],
    asked: &AskedOfEach<'_>,
) -> Result<Response<Body>, Problem> {
    let params = asked.params;
    if params.explain {
        let detail = "`explain` is told of lists of one type; ask it of the list of each";
        return Err(Problem::malformed("parameter", detail));
    }
    let page = read_at(call.reads(), params.at, |working| {
        let several = again(working, segments)?;
        let place = Place::read(call, working.schema, params, &several)?;
        let queries = queries(working.schema, &several, asked, &place)?;
        let parts =
            queries.iter().flat_map(|query| query.filter.iter().chain(query.order.iter().map(|it| &it.0)));
        let by = updates::behind(working, parts);
        list::wait_for(call.exact, &by)?;
        let (items, more) = merged(working, &queries, &place)?;
        let count = if params.count { Some(counted(working, &queries)?) } else { None };
        let shapes = queries.iter().map(|query| {
            params
                .shape(working.schema, working.schema, query.ty)
                .map(|shape| (query.ty, Shape { typed: true, ..shape }))
        });
        let shapes: Vec<(TypeIx, Shape)> = shapes.collect::<Result<_, _>>()?;
        let mut encoder = call.encoder(working);
        encoder.out.extend_from_slice(b"{\"results\":[");
        for (ty, shape) in &shapes {
            let shown = items.iter().skip(asked.start).filter(|item| item.key.ty == *ty);
            let ids: Vec<&Id> = shown.map(|item| &item.key.id).collect();
            encoder.ahead(*ty, &ids, shape)?;
        }
        let mut first = true;
        for item in items.iter().skip(asked.start) {
            let Some((_, shape)) = shapes.iter().find(|(ty, _)| *ty == item.key.ty) else { continue };
            if !std::mem::take(&mut first) {
                encoder.out.push(b',');
            }
            encoder.resource(&item.key, &item.doc, shape)?;
        }
        encoder.out.push(b']');
        let last = items.last().filter(|_| more);
        let token = last.map(|last| params.token(call.uri.path(), &place_of(working.schema, last)));
        Ok(list::close(call, encoder, token, asked.next, count, by))
    })?;
    Ok(page.response(call))
}

/// How many resources a condition finds.
pub(crate) fn count(
    call: &Call<'_>,
    segments: &[String],
    asked: &AskedOfEach<'_>,
) -> Result<Response<Body>, Problem> {
    let (count, revision, pending) = read(call.reads(), |working| {
        let several = again(working, segments)?;
        let queries = queries(working.schema, &several, asked, &Place::default())?;
        let pending = updates::behind(working, queries.iter().flat_map(|query| &query.filter));
        Ok((counted(working, &queries)?, working.base.revision(), pending))
    })?;
    let body = serde_json::json!({"count": count, "revision": revision.to_string()});
    let response = updates::marked(json(StatusCode::OK, body.to_string()), &pending);
    Ok(with_header(response, REVISION_HEADER, &revision.to_string()))
}

/// Behind which place the page begins: that of a resource of one of the types.
#[derive(Default)]
struct Place {
    after: Option<(Position, TypeIx)>,
}

impl Place {
    fn read(
        call: &Call<'_>,
        schema: &Schema,
        params: &super::params::Params,
        several: &Several,
    ) -> Result<Place, Problem> {
        let Some((first, _)) = several.lists.first() else { return Ok(Place::default()) };
        let parts = params.order(schema, *first)?.len();
        let Some(mut position) = params.after(call.uri.path(), parts + 1)? else {
            return Ok(Place::default());
        };
        let ty = match position.values.pop() {
            Some(Value::Int(id)) => schema.types().find(|(_, ty)| i64::from(ty.id.0) == id).map(|(ty, _)| ty),
            _ => None,
        };
        let ty = ty.ok_or_else(|| {
            Problem::malformed("page-token", "`page_token` is not one that this query gave")
        })?;
        Ok(Place { after: Some((position, ty)) })
    }
}

/// The place of an item, for a page token.
fn place_of(schema: &Schema, item: &Item) -> Position {
    let mut values = item.position.values.clone();
    values.push(Value::Int(schema.ty(item.key.ty).id.0.into()));
    Position { values, id: item.position.id.clone() }
}

/// One query of each type.
fn queries(
    schema: &Schema,
    several: &Several,
    asked: &AskedOfEach<'_>,
    place: &Place,
) -> Result<Vec<Query>, Problem> {
    let params = asked.params;
    let each = several.lists.iter().zip(&asked.filter).map(|((ty, from), filter)| {
        Ok(Query {
            ty: *ty,
            from: from.clone(),
            filter: filter.clone(),
            order: params.order(schema, *ty)?,
            limit: asked.start + params.limit,
            after: place.after.as_ref().map(|(position, _)| position.clone()),
            scan_limit: params.scan_limit(),
        })
    });
    each.collect()
}

fn counted(working: &Working<'_>, queries: &[Query]) -> Result<u64, Fault> {
    let mut count = 0;
    for query in queries {
        count += query::count(working, query)?;
    }
    Ok(count)
}

/// What all of them find, in order; and whether there is more.
fn merged(working: &Working<'_>, queries: &[Query], place: &Place) -> Result<(Vec<Item>, bool), Fault> {
    let Some(Query { limit, .. }) = queries.first() else { return Ok((Vec::new(), false)) };
    let (mut items, mut more) = (Vec::new(), false);
    for query in queries {
        let page = query::run(working, query)?;
        more |= page.more;
        items.extend(page.items);
        items.extend(beside(working, query, place)?);
    }
    let descending: Vec<bool> = queries[0].order.iter().map(|(_, descending)| *descending).collect();
    items.sort_by(|left, right| by_order(left, right, &descending));
    more |= items.len() > *limit;
    items.truncate(*limit);
    Ok((items, more))
}

/// A resource of this type that has the values and the id of the place at which the page begins, and stands behind it by
/// its type alone.
fn beside(working: &Working<'_>, query: &Query, place: &Place) -> Result<Option<Item>, Fault> {
    let Some((position, _)) = place.after.as_ref().filter(|(_, ty)| *ty < query.ty) else { return Ok(None) };
    let among = match &query.from {
        query::From::All => true,
        query::From::Listed(ids) => ids.contains(&position.id),
        query::From::Referring(via, target) => {
            let doc = working.after(&Key::new(query.ty, position.id.clone()))?;
            doc.is_some_and(|doc| targets(doc.get(via.slot)).contains(target))
        }
    };
    if !among {
        return Ok(None);
    }
    let one = Query {
        from: query::From::Listed(vec![position.id.clone()]),
        after: None,
        limit: 1,
        ..query.clone()
    };
    let page = query::run(working, &one)?;
    let is_there = |item: &Item| {
        let mut values = item.position.values.iter().zip(&position.values);
        values.all(|(here, there)| compare(here, there).is_eq())
    };
    Ok(page.items.into_iter().find(is_there))
}

/// The order of a query, then of ids in the direction of its last part, then of types.
pub(super) fn by_order(left: &Item, right: &Item, descending: &[bool]) -> Ordering {
    let mut order = Ordering::Equal;
    for ((left, right), descending) in left.position.values.iter().zip(&right.position.values).zip(descending)
    {
        let by_value = compare(left, right);
        order = order.then(if *descending { by_value.reverse() } else { by_value });
    }
    let by_id = left.key.id.cmp(&right.key.id);
    let by_id = if descending.last() == Some(&true) { by_id.reverse() } else { by_id };
    order.then(by_id).then(left.key.ty.cmp(&right.key.ty))
}
