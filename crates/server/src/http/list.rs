//! Lists: a page of what a query finds, and the creation of many at once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode, header};
use corollary_engine::query::{self, Query};
use corollary_engine::reply::Wants;
use corollary_engine::working::Working;
use corollary_engine::{Committed, EngineError, Key, Transaction, Write};
use corollary_schema::typed::Expr;
use corollary_schema::{Schema, TypeIx};
use corollary_value::Id;
use foldhash::fast::FixedState;
use serde_json::{Map, Value as Json};
use tokio::task::block_in_place;

use super::commit::{self, Manner, Told};
use super::explain;
use super::history::read_at;
use super::params::Params;
use super::reader::{check_expressions, granted};
use super::resource::{body_json, parse_json};
use super::several;
use super::updates;
use super::write::{self, Prepared, Replies};
use super::{Call, Fault, READS_HEADER, REVISION_HEADER, json, read, with_header};
use crate::json::encode::{Encoder, Shape};
use crate::json::links;
use crate::mounts::{Scope, names_of, narrowed};
use crate::path::{self, List, Post, PostSeveral, Several, Target};
use crate::problem::Problem;

/// Items of a page that may be read where it is asked for.
const SHORT_ITEMS: usize = 100;

/// Resources that are visited for it at most; where that is not enough it is read as a long one.
const SHORT_VISITS: usize = 256;

/// How a reply says where the next page is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// As the path to GET.
    Path,
    /// As the token to ask the same with.
    Token,
}

/// What is asked of a list.
pub(crate) struct Asked<'a, F = Option<Expr>> {
    /// Order, limit, page, shape.
    pub params: &'a Params,
    /// The condition; of a list of several types one for each.
    pub filter: F,
    /// How many items to leave out at the beginning.
    pub start: usize,
    /// Where the next page is.
    pub next: Next,
}

/// A list, and the fields that decided what it is and of which some value may be behind.
pub(crate) struct Found {
    /// The list.
    pub list: List,
    /// The fields.
    pub by: BTreeSet<String>,
}

/// The list at a path that has been one before.
pub(crate) fn again(working: &Working<'_>, segments: &[String]) -> Result<Found, Fault> {
    match path::resolve(working, segments)? {
        Target::List(list) => Ok(Found { list, by: BTreeSet::new() }),
        _ => Err(Problem::not_found("the list is gone").into()),
    }
}

/// Refuses a read that is to be exact where what it finds goes by values that an update has yet to reach; whoever called
/// waits for the update, and reads again.
pub(crate) fn wait_for(exact: bool, by: &BTreeSet<String>) -> Result<(), Problem> {
    if !exact || by.is_empty() {
        return Ok(());
    }
    // It waits, and is not worth its while before.
    let fields: Vec<&str> = by.iter().map(String::as_str).collect();
    let problem = Problem::unavailable(format!("{} is being brought up to date", fields.join(", ")));
    Err(Problem { code: "pending", ..problem })
}

/// A page of what a path leads to, as the parameters of a GET ask; nothing where that is one resource.
pub(crate) fn serve(
    call: &Call<'_>,
    segments: &[String],
    params: &Params,
    target: &Target,
) -> Result<Option<Response<Body>>, Problem> {
    let schema = call.app.node.engine().schema();
    let page = match target {
        Target::List(list) => {
            let filter = params.filter(names_of(list.scope.as_ref(), schema), list.ty)?;
            let asked = Asked { params, filter, start: 0, next: Next::Path };
            page(call, &|working| again(working, segments), list, &asked)?
        }
        Target::Several(several) => {
            let filters = several.lists.iter().map(|(ty, _)| params.filter(schema, *ty));
            let filter = filters.collect::<Result<_, _>>()?;
            let asked = Asked { params, filter, start: 0, next: Next::Path };
            block_in_place(|| several::page(call, segments, &asked))?
        }
        Target::Resource { .. } | Target::Linked { .. } => return Ok(None),
    };
    Ok(Some(page))
}

/// One page of a list; `again` is what finds it in the state that is read.
pub(crate) fn page(
    call: &Call<'_>,
    again: &dyn Fn(&Working<'_>) -> Result<Found, Fault>,
    list: &List,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Problem> {
    let engine = call.app.node.engine();
    let schema = names_of(list.scope.as_ref(), engine.schema());
    let params = asked.params;
    let order = match params.order {
        Some(_) => params.order(schema, list.ty)?,
        None => query::natural_order(schema, &list.from),
    };
    let path = call.uri.path();
    let query = Query {
        ty: list.ty,
        from: list.from.clone(),
        filter: narrowed(list.scope.as_ref(), asked.filter.clone()),
        after: params.after(path, order.len())?,
        order,
        limit: asked.start + params.limit,
        scan_limit: params.scan_limit(),
    };
    if params.explain {
        return explain::reply(call, again, &query);
    }
    let shape = Shape { scope: list.scope.clone(), ..params.shape(schema, engine.schema(), list.ty)? };
    let read = |scan_limit| {
        read_at(call.reads(), params.at, |working| {
            // What the path leads to is read again, so that all of the reply is of one revision.
            let Found { list, mut by } = again(working)?;
            let query = granted(working, Query { from: list.from, scan_limit, ..query.clone() })?;
            check_expressions(working, shape.expressions())?;
            by.extend(updates::behind(
                working,
                query.filter.iter().chain(query.order.iter().map(|(key, _)| key)),
            ));
            wait_for(call.exact, &by)?;
            let page = query::run(working, &query)?;
            let mut encoder = call.encoder(working);
            encoder.out.extend_from_slice(b"{\"results\":[");
            let ids: Vec<&Id> = page.items.iter().skip(asked.start).map(|item| &item.key.id).collect();
            encoder.ahead(list.ty, &ids, &shape)?;
            for (at, item) in page.items.iter().skip(asked.start).enumerate() {
                if at > 0 {
                    encoder.out.push(b',');
                }
                encoder.resource(&item.key, &item.doc, &shape)?;
            }
            encoder.out.push(b']');
            let count = if params.count { Some(query::count(working, &query)?) } else { None };
            let last = page.items.last().filter(|_| page.more);
            let next = last.map(|last| params.token(path, &last.position));
            Ok(close(call, encoder, next, asked.next, count, by))
        })
    };
    let within = SHORT_VISITS.min(query.scan_limit);
    let tried = is_short(engine.schema(), list.ty, asked).then(|| read(within));
    let page = match tried {
        Some(Err(problem)) if problem.code == "scan-limit" && within < query.scan_limit => None,
        tried => tried,
    };
    // It may be long, and others do not wait for it.
    let page = page.unwrap_or_else(|| block_in_place(|| read(query.scan_limit)))?;
    Ok(page.response(call))
}

/// May a page be read where it is asked for, as one resource is, should it be found at once? That spares giving the thread's other
/// work away, which costs more than such a page does, and the more the more of them are read at a time.
fn is_short(schema: &Schema, ty: TypeIx, asked: &Asked<'_>) -> bool {
    let params = asked.params;
    asked.start + params.limit <= SHORT_ITEMS
        && params.expand.is_none()
        && !params.count
        && params.at.is_none()
        && schema.ty(ty).lazy.is_empty()
}

/// Says behind the items of a page where the next is, how many there are in all, the revision, and the values that an
/// update has yet to reach (`by` are those that decide what is found).
pub(crate) fn close(
    call: &Call<'_>,
    encoder: Encoder<'_, '_>,
    token: Option<String>,
    next: Next,
    count: Option<u64>,
    by: BTreeSet<String>,
) -> Closed {
    let (revision, reads) = (encoder.working().revision(), encoder.working().base.reads());
    let Encoder { mut out, mut pending, .. } = encoder;
    out.extend_from_slice(b",\"next\":");
    match (token, next) {
        (Some(token), Next::Path) => {
            let mut next = form_urlencoded::Serializer::new(String::new());
            let given = form_urlencoded::parse(call.uri.query().unwrap_or_default().as_bytes());
            next.extend_pairs(given.filter(|(name, _)| name != "page_token"));
            next.append_pair("page_token", &token);
            out.extend_from_slice(format!("\"{}?{}\"", call.uri.path(), next.finish()).as_bytes());
        }
        (Some(token), Next::Token) => out.extend_from_slice(format!("\"{token}\"").as_bytes()),
        (None, _) => out.extend_from_slice(b"null"),
    }
    if let Some(count) = count {
        out.extend_from_slice(format!(",\"count\":{count}").as_bytes());
    }
    let tag = format!("W/\"l{:016x}\"", FixedState::default().hash_one(&out));
    out.extend_from_slice(format!(",\"revision\":\"{revision}\"").as_bytes());
    if !by.is_empty() {
        // Which resources are found, and in which order, goes by stored values.
        out.extend_from_slice(b",\"_pending\":");
        out.extend_from_slice(Json::from_iter(by.iter().cloned()).to_string().as_bytes());
    }
    out.push(b'}');
    pending.extend(by);
    Closed { body: out, tag, pending, revision, reads }
}

/// A page, written to its end.
pub(crate) struct Closed {
    body: Vec<u8>,
    /// Of what is in it, whatever the revision: it says the same where it is the same.
    tag: String,
    pending: BTreeSet<String>,
    revision: u64,
    reads: u64,
}

impl Closed {
    /// The reply; 304 where a GET says that it has this page.
    pub(crate) fn response(self, call: &Call<'_>) -> Response<Body> {
        let asks = matches!(call.method, Method::GET | Method::HEAD);
        let tags = call.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let plain = |tag: &str| tag.trim().trim_start_matches("W/").to_string();
        let mut tags = tags.flat_map(|tags| tags.split(','));
        let is_known = tags.any(|tag| plain(tag) == plain(&self.tag));
        let response = if asks && is_known && self.pending.is_empty() {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            updates::marked(json(StatusCode::OK, self.body), &self.pending)
        };
        let response = match asks {
            // The same list is told line by line to others.
            true => with_header(with_header(response, "etag", &self.tag), "vary", "accept"),
            false => response,
        };
        let response = with_header(response, READS_HEADER, &self.reads.to_string());
        with_header(response, REVISION_HEADER, &self.revision.to_string())
    }
}

/// Is it a POST of many?
pub(crate) fn is_bulk(call: &Call<'_>) -> bool {
    is_ndjson(call) || call.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

fn is_ndjson(call: &Call<'_>) -> bool {
    let kind = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/x-ndjson"))
}

/// Creates many: all or none.
pub(crate) async fn create_many(call: &Call<'_>, segments: &[String]) -> Result<Response<Body>, Problem> {
    let node = &call.app.node;
    let target = read(call.reads(), |working| match path::resolve(working, segments)? {
        Target::List(List { post: Post::ReadOnly, .. }) => Err(write::read_only().into()),
        Target::Several(several) => match several.post {
            PostSeveral::Child(_) => Ok(Destination::Several(several)),
            PostSeveral::Roots => Err(write::roots(working.schema, &several).into()),
            PostSeveral::Link(..) => Err(Problem::not_allowed("GET, and POST of one link").into()),
            PostSeveral::ReadOnly => Err(write::read_only().into()),
        },
        Target::List(list) => Ok(Destination::One(list)),
        _ => Err(Problem::not_allowed("GET, PUT, PATCH, DELETE").into()),
    })?;
    let items: Vec<Json> = if is_ndjson(call) {
        let lines = call.body.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.iter().all(u8::is_ascii_whitespace));
        lines
            .map(|(at, line)| {
                parse_json(line).map_err(|problem| Problem {
                    detail: format!("line {}: {}", at + 1, problem.detail),
                    ..problem
                })
            })
            .collect::<Result<_, _>>()?
    } else {
        match body_json(call)? {
            Json::Array(items) => items,
            _ => return Err(Problem::malformed("body", "the body is a list of resources")),
        }
    };
    let limit = call.app.limits.batch_writes;
    if items.len() > limit {
        let detail = format!("at most {limit} resources are created at once, and these are {}", items.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "batch-limit", detail));
    }
    let items = read(call.reads(), |working| {
        let mut items = items.clone();
        for members in items.iter_mut().filter_map(Json::as_object_mut) {
            // A mistake in it is told with the place of the item.
            if let Ok(list) = target.list(working.schema, members) {
                let names = names_of(list.scope.as_ref(), working.schema);
                links::by_path(working, names, list.ty, members)?;
            }
        }
        Ok(items)
    })?;
    let mut writes = Vec::with_capacity(items.len());
    let mut keys: Vec<Key> = Vec::with_capacity(items.len());
    // Where links that are added lead.
    let mut linked: Vec<Key> = Vec::new();
    // What is asked of each when all are there.
    let mut ensured = Vec::new();
    let mut errors = Vec::new();
    for (at, item) in items.into_iter().enumerate() {
        let schema = node.engine().schema();
        let prepared = write::object(item).and_then(|members| {
            let list = target.list(schema, &members)?;
            write::creation(schema, &list, &members)
        });
        match prepared {
            Ok(Prepared { writes: its, key, replies: Replies::Created }) => {
                let (its, asked): (Vec<_>, Vec<_>) =
                    its.into_iter().partition(|write| !matches!(write, Write::Ensure(..)));
                writes.extend(its);
                ensured.extend(asked);
                keys.push(key);
            }
            Ok(Prepared { writes: its, .. }) => {
                if let Destination::One(list) = &target {
                    linked.extend(write::linked(list.ty, &its));
                }
                writes.extend(its);
            }
            Err(problem) if problem.errors.is_empty() => {
                let detail = format!("item {at}: {}", problem.detail);
                return Err(Problem { detail, ..problem });
            }
            Err(mut problem) => {
                problem.errors.iter_mut().for_each(|refusal| refusal.write = Some(at));
                errors.extend(problem.errors);
            }
        }
    }
    if !errors.is_empty() {
        return Err(Problem::refused(errors));
    }
    let manner = Manner::of(call)?;
    // A POST to links is told nothing of who has them.
    let wants = if keys.is_empty() { Wants::nothing() } else { Wants::results() };
    let (of, scope) = (keys.clone(), target.scope());
    let tell = {
        let scope = scope.clone();
        move |working: &Working<'_>, committed: &Committed| created(working, &of, scope.as_ref(), committed)
    };
    let items = writes.len();
    writes.extend(ensured);
    let transaction = Transaction { writes };
    let done = commit::carry_out(call.app, manner, transaction, wants, Arc::new(tell)).await;
    let done = done.map_err(|mut problem| {
        for refusal in &mut problem.errors {
            // One is ensured for each item.
            refusal.write = refusal.write.map(|write| if write < items { write } else { write - items });
        }
        scope.iter().for_each(|scope| scope.tell_problem(&mut problem));
        problem
    });
    match done {
        Err(problem) if problem.code == "exists" => {
            let taken = read(call.reads(), |working| Ok(write::taken(working, &keys)?))?;
            Err(if taken.is_empty() { problem } else { Problem::refused(taken) })
        }
        // All of them are writes of the one resource that has the links.
        Err(problem) if problem.code == "link" && !linked.is_empty() => {
            let place = problem.errors.first().and_then(|refusal| refusal.path.clone()).unwrap_or_default();
            let missing = read(call.reads(), |working| Ok(write::missing(working, &linked, &place)?))?;
            Err(if missing.is_empty() { problem } else { Problem::refused(missing) })
        }
        outcome => outcome,
    }
}

/// The list that many go into.
enum Destination {
    One(List),
    /// Children of several types, each with its `_type`.
    Several(Several),
}

impl Destination {
    fn scope(&self) -> Option<Arc<Scope>> {
        match self {
            Destination::One(list) => list.scope.clone(),
            Destination::Several(_) => None,
        }
    }

    /// The list of its own type that an item goes into.
    fn list(&self, schema: &Schema, item: &Map<String, Json>) -> Result<Cow<'_, List>, Problem> {
        match self {
            Destination::One(list) => Ok(Cow::Borrowed(list)),
            Destination::Several(several) => write::list_of_child(schema, several, item).map(Cow::Owned),
        }
    }
}

/// What the creation of many tells.
fn created(
    working: &Working<'_>,
    keys: &[Key],
    scope: Option<&Arc<Scope>>,
    committed: &Committed,
) -> Result<Told, EngineError> {
    let mut encoder = Encoder::of_results(working);
    encoder.out.push(b'[');
    for (at, (key, shown)) in keys.iter().zip(&committed.results).enumerate() {
        if at > 0 {
            encoder.out.push(b',');
        }
        if let Some(shown) = shown {
            encoder.result(key, shown, scope)?;
        }
    }
    encoder.out.push(b']');
    Ok(Told { status: StatusCode::CREATED, headers: Vec::new(), body: Some(encoder.out) })
}
