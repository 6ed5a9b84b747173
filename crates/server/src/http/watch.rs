//! What a request to watch asks for: the same path and parameters as those of a GET, and what of them can be watched.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, State};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use corollary_engine::Key;
use corollary_engine::query::{self, From};
use corollary_engine::reach::asks_for_time;
use corollary_engine::working::Working;
use corollary_schema::typed::{Expr, Kind, Many, Node, Type};
use corollary_schema::{FieldKind, FieldRef, Schema, TypeIx};

use super::params::Params;
use super::reader::check_granted;
use super::{Call, Fault, Reader, Reads, accept, lines, read, values, with_header};
use crate::front::listen::Caller;
use crate::json::encode::Shape;
use crate::mounts::permit::permit;
use crate::mounts::{Scope, names_of, narrowed, proxy};
use crate::path::behind;
use crate::path::{self, Target};
use crate::problem::Problem;
use crate::site::Site;
use crate::watch::by;
use crate::watch::event::Format;
use crate::watch::hub::Hub;
use crate::watch::socket::{self, Face};
use crate::watch::stream;
use crate::watch::watched::{Led, Of, Ordered, Watched, WatchedList, Which};

/// How the events of a request are written; nothing where it is no watch.
pub(super) fn format(headers: &HeaderMap, params: &Params) -> Option<Format> {
    let named = accept::named(headers);
    if !params.watch && named.as_deref() != Some(accept::EVENTS) {
        return None;
    }
    Some(if named.as_deref() == Some(lines::CONTENT_TYPE) { Format::Ndjson } else { Format::Sse })
}

/// Begins the watch that a request asks for.
pub(super) fn begin(
    call: &Call<'_>,
    segments: &[String],
    params: &Params,
    format: Format,
) -> Result<Response<Body>, Problem> {
    let node = &call.app.node;
    let resumed = call.headers.get("last-event-id").map(|value| {
        let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        id.ok_or_else(|| Problem::malformed("last-event-id", "`Last-Event-ID` is a revision"))
    });
    let since = resumed.transpose()?.or(params.since);
    tokio::task::block_in_place(|| {
        let watched = watched(call.reads(), call.uri.path(), segments, params)?;
        stream::begin(&node.hub, Arc::new(watched), since, format)
    })
}

/// `GET /api/_watch`: a WebSocket for many watches.
pub(super) async fn socket(State(site): State<Site>, request: Request<Body>) -> Response<Body> {
    if request.method() != Method::GET {
        return Problem::not_allowed("GET").response();
    }
    let limits = &site.current().limits;
    let most = limits.subscriptions;
    let reader = match Reader::of(limits, request.headers()) {
        Ok(reader) => reader,
        Err(problem) => return problem.response(),
    };
    let (mut head, _) = request.into_parts();
    // The connection counts as one as long as it is there.
    let room = head.extensions.get::<Caller>().map(|caller| caller.room.clone());
    match WebSocketUpgrade::from_request_parts(&mut head, &()).await {
        Ok(upgrade) => upgrade
            .max_message_size(socket::MAX_MESSAGE_BYTES)
            .max_frame_size(socket::MAX_MESSAGE_BYTES)
            .write_buffer_size(socket::WRITE_BUFFER_BYTES)
            .on_upgrade(move |connection| async move {
                socket::serve(connection, Arc::new(Subscriptions(site, reader)), most).await;
                drop(room);
            }),
        Err(rejection) => {
            let detail = format!("here many lists are watched over one WebSocket: {rejection}");
            let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade", detail);
            with_header(problem.response(), "upgrade", "websocket")
        }
    }
}

/// What can be subscribed to by whom: what the version has that is served.
struct Subscriptions(Site, Reader);

impl Face for Subscriptions {
    fn watched(&self, path: &str, query: &str) -> Result<(Arc<Hub>, Watched), Problem> {
        let app = self.0.current();
        let engine = app.node.engine();
        let segments = path::segments(path)?;
        if proxy::at(engine.schema(), path).is_some() {
            let detail = "what is on another server is watched by a GET of its path, which goes through";
            return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "watch-proxy", detail));
        }
        permit(engine.schema(), &segments, &Method::GET, &HeaderMap::new())?;
        if let Some(verb) = segments.last().filter(|last| last.starts_with('_')) {
            return Err(Problem::not_found(format!("`{verb}` cannot be watched")));
        }
        let params = Params::parse(Some(query))?;
        let reads = Reads { engine, reader: &self.1 };
        let watched = watched(reads, path, &segments, &params)?;
        Ok((app.node.hub.clone(), watched))
    }
}

/// What is watched at a path.
pub(crate) fn watched(
    reads: Reads<'_>,
    path: &str,
    segments: &[String],
    params: &Params,
) -> Result<Watched, Problem> {
    let refused = [
        ("expand", params.expand.is_some()),
        ("page_token", params.page_token.is_some()),
        ("count", params.count),
        ("explain", params.explain),
    ];
    if let Some((name, _)) = refused.into_iter().find(|(_, given)| *given) {
        return Err(Problem::malformed("parameter", format!("a watch takes no `{name}`")));
    }
    let cuts = behind::cuts(path)?;
    // Before what may be read is found out: a change in between is seen as one.
    let changes = reads.engine.grant_changes();
    read(reads, |working| {
        let found = if cuts.is_empty() { None } else { values::find(working, segments, &cuts)? };
        let watched = match found {
            Some(found) => led(working, path, found, params),
            None => named(working, segments, params),
        }?;
        match (reads.reader, working.sight()) {
            (Reader::Granted(actor), Some(sight)) => {
                for list in watched.lists() {
                    check_granted(working, list.ty)?;
                }
                Ok(by::veiled(watched, working.schema, sight, actor.clone(), changes)?)
            }
            _ => Ok(watched),
        }
    })
}

/// What a path leads to that goes on behind a name.
fn led(working: &Working<'_>, path: &str, found: values::Path, params: &Params) -> Result<Watched, Fault> {
    found.is_of_one_type()?;
    timeless(&found.expr)?;
    let values::Path { owner, expr } = found;
    let (ty, is_many) = (expr.ty.resource(), expr.ty.is_many());
    let led = Led::new(owner, expr, params.scan_limit());
    let Some(ty) = ty else {
        params.only_for_values()?;
        params.only_for_whole()?;
        let of = Of::Value(led, path.into());
        return Ok(Watched {
            of,
            typed: false,
            scope: None,
            shapes: Vec::new(),
            manner: "".into(),
            by: None,
        });
    };
    if !is_many {
        params.only_for_one()?;
        params.only_for_whole()?;
    }
    of_list(working.schema, params, None, ty, Which::Led(led))
}

/// What segments name.
fn named(working: &Working<'_>, segments: &[String], params: &Params) -> Result<Watched, Fault> {
    let schema = working.schema;
    let target = path::resolve(working, segments)?;
    match target {
        Target::Linked { linked: false, .. } => Err(Problem::not_found("it is not linked here").into()),
        Target::Resource { ref key, .. } | Target::Linked { ref key, .. } => {
            if params.filter.is_some() {
                let detail = "a watch of one resource takes no `filter`";
                return Err(Problem::malformed("parameter", detail).into());
            }
            params.only_for_whole()?;
            of_list(schema, params, target.scope(), key.ty, Which::One(key.clone()))
        }
        Target::List(list) => {
            let which = match list.from {
                From::All => Which::All,
                From::Referring(field, id) => Which::Referring(field, id),
                From::Listed(_) => Which::Led(links(working, segments, params)?),
            };
            of_list(schema, params, list.scope.as_ref(), list.ty, which)
        }
        Target::Several(several) => {
            params.only_for_whole()?;
            let mut lists = Vec::with_capacity(several.lists.len());
            let mut shapes = Vec::new();
            for (ty, from) in several.lists {
                let which = match from {
                    From::All => Which::All,
                    From::Referring(field, id) => Which::Referring(field, id),
                    From::Listed(_) => Which::Led(links_to(working, segments, ty, params)?),
                };
                let filter = watchable(params.filter(schema, ty)?)?;
                lists.push(WatchedList::new(ty, which, filter, &[]));
                shapes.extend(shape(schema, schema, params, ty)?);
            }
            let manner = manner(None, params);
            Ok(Watched { of: Of::Lists(lists), typed: true, scope: None, shapes, manner, by: None })
        }
    }
}

/// A list of one type, or a page of it.
fn of_list(
    schema: &Schema,
    params: &Params,
    scope: Option<&Arc<Scope>>,
    ty: TypeIx,
    which: Which,
) -> Result<Watched, Fault> {
    let names = names_of(scope, schema);
    let filter = watchable(narrowed(scope, params.filter(names, ty)?))?;
    let order = match params.order {
        Some(_) => params.order(names, ty)?,
        None => match &which {
            Which::Referring(field, id) => query::natural_order(schema, &From::Referring(*field, id.clone())),
            _ => Vec::new(),
        },
    };
    order.iter().try_for_each(|(by, _)| timeless(by))?;
    let is_page = params.order.is_some() || params.has_limit;
    let of = match is_page {
        true => {
            let (limit, scan_limit) = (params.limit, params.scan_limit());
            let list = WatchedList::new(ty, which, filter, &order);
            Of::Page(list, Ordered { order, limit, scan_limit })
        }
        false => Of::Lists(vec![WatchedList::new(ty, which, filter, &[])]),
    };
    let shapes = shape(names, schema, params, ty)?.into_iter().collect();
    Ok(Watched { of, typed: false, scope: scope.cloned(), shapes, manner: manner(scope, params), by: None })
}

/// What of the resources is told, where that is not all.
fn shape(
    names: &Schema,
    schema: &Schema,
    params: &Params,
    ty: TypeIx,
) -> Result<Option<(TypeIx, Shape)>, Problem> {
    if params.fields.is_none() {
        return Ok(None);
    }
    Ok(Some((ty, params.shape(names, schema, ty)?)))
}

/// Stands for how resources are told: the same text, the same events.
fn manner(scope: Option<&Arc<Scope>>, params: &Params) -> Arc<str> {
    let base = scope.map_or("", |scope| scope.base());
    match &params.fields {
        Some(fields) => format!("{base}?{fields}").into(),
        None => base.into(),
    }
}

/// The links of a resource, or a derived list, at a path whose last segment is its name.
fn links(working: &Working<'_>, segments: &[String], params: &Params) -> Result<Led, Fault> {
    let gone = || Fault::from(Problem::not_found("the list is gone"));
    let (name, above) = segments.split_last().ok_or_else(gone)?;
    let target = path::resolve(working, above)?;
    let owner = target.resource(working.schema)?.ok_or_else(gone)?.clone();
    let names = names_of(target.scope(), working.schema);
    let found = values::typed(names, Some(owner.clone()), owner.ty, &format!("self.{name}"))?;
    timeless(&found.expr)?;
    Ok(Led::new(found.owner, found.expr, params.scan_limit()))
}

/// Those of one type of the links of a resource to several.
fn links_to(working: &Working<'_>, segments: &[String], to: TypeIx, params: &Params) -> Result<Led, Fault> {
    let gone = || Fault::from(Problem::not_found("the list is gone"));
    let (name, above) = segments.split_last().ok_or_else(gone)?;
    let target = path::resolve(working, above)?;
    let owner: Key = target.resource(working.schema)?.ok_or_else(gone)?.clone();
    let names = names_of(target.scope(), working.schema);
    let (_, field) = names.ty(owner.ty).named(name).ok_or_else(gone)?;
    let FieldKind::Among { parts, targets, .. } = &field.kind else { return Err(gone()) };
    let at = targets.iter().position(|target| *target == to).ok_or_else(gone)?;
    let part = FieldRef { ty: owner.ty, slot: parts[at] };
    let node = Node::Get(Box::new(Expr::owner(owner.ty)), part);
    let expr = Expr { node, ty: Type { kind: Kind::Resource(to), many: Many::Set } };
    Ok(Led::new(Some(owner), expr, params.scan_limit()))
}

/// A condition that can be watched: it changes with commits alone.
fn watchable(filter: Option<Expr>) -> Result<Option<Expr>, Problem> {
    filter.iter().try_for_each(timeless)?;
    Ok(filter)
}

/// Refuses what asks for the time: it changes by itself, and no commit tells of it.
fn timeless(expr: &Expr) -> Result<(), Problem> {
    if !asks_for_time(expr) {
        return Ok(());
    }
    let detail = "what is watched may not ask for the time, nor may the conditions of a mount that is watched, or the lazy fields in them: derive a stored field that does";
    Err(Problem::malformed("filter", detail))
}
