//! `GET` of a list with `Accept: application/x-ndjson`: all that is found, a resource (or a value) a line, sent while it is
//! read.
//!
//! A thread reads one state and waits for whoever takes the lines, so a reply holds a chunk of resources and a few parts,
//! however many it tells. Nothing else waits for it, a change of the schema neither. What is found is the business of
//! [`Cursor`], what a resource looks like that of the encoder, how a reply is broken off that of `pipe`.
//!
//! All that can be said against a request is said before the first line. What goes wrong behind that is told by a last line
//! `{"error": …}`, and the reply does not end as a whole one does.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::mem::take;
use std::sync::Arc;
use std::vec;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response};
use bytes::Bytes;
use corollary_engine::EngineError;
use corollary_engine::query::{self, Cursor, From, Item, Query};
use corollary_engine::working::Working;
use corollary_schema::TypeIx;
use corollary_schema::typed::Expr;
use corollary_value::{Id, Value};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::params::Params;
use super::pipe::{Pipe, pipe};
use super::reader::granted;
use super::values::{self, All};
use super::{App, Call, Fault, REVISION_HEADER, Reader, Reads, accept, list, several, updates, with_header};
use crate::json::encode::{Encoder, Shape};
use crate::mounts::{names_of, narrowed};
use crate::path::behind::{self, Cut};
use crate::path::{self, Target};
use crate::problem::Problem;

/// The content type.
pub const CONTENT_TYPE: &str = "application/x-ndjson";

/// Bytes that are sent together.
const PART_BYTES: usize = 64 << 10;

/// Candidates that are looked at together, so that the first line comes soon.
const FIRST_CHUNK: usize = 16;

/// Candidates that are looked at together later, at most; fewer where they are large.
const MAX_CHUNK: usize = 256;

/// Is a list to be told line by line? Where more is accepted, what is named with the highest weight decides, then what is
/// named first.
pub(crate) fn are_wanted(headers: &HeaderMap) -> bool {
    accept::named(headers).is_some_and(|kind| kind == CONTENT_TYPE)
}

/// What a thread is given to tell.
struct Job {
    app: Arc<App>,
    segments: Vec<String>,
    cuts: Vec<Cut>,
    params: Params,
    exact: bool,
    reader: Reader,
    /// Is nothing wanted but that it could be told?
    head: bool,
}

/// What is known before the first line.
struct Begun {
    revision: u64,
    /// The fields by which it is decided what is found, and of which some value may be behind.
    by: BTreeSet<String>,
}

type Begins = oneshot::Sender<Result<Begun, Problem>>;

/// Tells a list; none where the path leads to one resource or one value. May wait.
pub(crate) fn serve(
    call: &Call<'_>,
    segments: &[String],
    params: &Params,
) -> Result<Option<Response<Body>>, Problem> {
    let cuts = behind::cuts(call.uri.path())?;
    if !super::read(call.reads(), |working| values::is_list(working, segments, &cuts))? {
        return Ok(None);
    }
    params.only_for_lines()?;
    let limits = &call.app.limits;
    let place = call.app.lines.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{} lists are being told line by line already", limits.lines);
        Problem { code: "busy", ..Problem::unavailable(detail) }
    })?;
    let job = Job {
        app: call.app.clone(),
        segments: segments.to_vec(),
        cuts,
        params: params.clone(),
        exact: call.exact,
        reader: call.reader.clone(),
        head: call.method == Method::HEAD,
    };
    let (pipe, body) = pipe(limits.stall);
    let (begins, begun) = oneshot::channel();
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(|| run(&job, begins, pipe, place)));
    let begun = tokio::task::block_in_place(|| begun.blocking_recv());
    let Begun { revision, by } = begun.unwrap_or_else(|_| Err(Problem::unavailable("the server stops")))?;
    let response = with_header(Response::new(body), "content-type", CONTENT_TYPE);
    let response = with_header(response, "vary", "accept");
    let response = with_header(response, REVISION_HEADER, &revision.to_string());
    Ok(Some(updates::marked(response, &by)))
}

/// Why no more is told.
enum End {
    /// Whoever asked is gone, or takes nothing.
    Gone(String),
    /// It cannot be told.
    Fault(Fault),
}

impl<F: Into<Fault>> std::convert::From<F> for End {
    fn from(fault: F) -> End {
        End::Fault(fault.into())
    }
}

/// Tells a list, on a thread that may wait.
fn run(job: &Job, begins: Begins, pipe: Pipe, place: OwnedSemaphorePermit) {
    let mut begins = Some(begins);
    let reads = Reads { engine: job.app.node.engine(), reader: &job.reader };
    let told = reads.walk(|working| Ok(tell(job, working, &mut begins, &pipe)));
    // Whoever waits for room finds the snapshot gone as well.
    drop(place);
    let problem = match told {
        Ok(Ok(())) => return pipe.end(),
        Ok(Err(End::Gone(why))) => return tracing::debug!("a list was not told to its end: {why}"),
        Ok(Err(End::Fault(Fault::Problem(problem)))) => *problem,
        Ok(Err(End::Fault(Fault::Engine(error)))) | Err(error) => error.into(),
    };
    match begins.take() {
        // Whoever asked may be gone.
        Some(begins) => drop(begins.send(Err(problem))),
        None => {
            tracing::warn!("a list was broken off: {}", problem.detail);
            let line = format!("{}\n", json!({"error": problem.to_json()}));
            let _ = pipe.send(Bytes::from(line));
        }
    }
}

fn tell(job: &Job, working: &Working<'_>, begins: &mut Option<Begins>, pipe: &Pipe) -> Result<(), End> {
    let (source, by) = find(job, working)?;
    let begun = Begun { revision: working.base.revision(), by };
    if let Some(begins) = begins.take()
        && begins.send(Ok(begun)).is_err()
    {
        return Err(End::Gone("whoever asked for it is gone".into()));
    }
    match source {
        _ if job.head => Ok(()),
        Source::Resources(lists) => resources(job, working, lists, pipe),
        Source::Values(values, expr) => each_value(job, working, values, &expr, pipe),
    }
}

/// Where lines come from.
enum Source {
    Resources(Lists),
    Values(vec::IntoIter<Value>, Expr),
}

/// What a path leads to, and the fields that decide what is found and of which some value may be behind.
fn find(job: &Job, working: &Working<'_>) -> Result<(Source, BTreeSet<String>), Fault> {
    let (schema, params) = (working.schema, &job.params);
    let mut by = BTreeSet::new();
    let mut scope = None;
    let lists = match values::all(working, &job.segments, &job.cuts, params)? {
        Some((All::Values(values, expr), behind)) => {
            params.only_for_values()?;
            list::wait_for(job.exact, &behind)?;
            return Ok((Source::Values(values.into_iter(), expr), behind));
        }
        Some((All::Resources(ty, ids), behind)) => {
            by = behind;
            vec![(ty, From::Listed(ids))]
        }
        None => match path::resolve(working, &job.segments)? {
            Target::List(list) => {
                scope = list.scope;
                vec![(list.ty, list.from)]
            }
            Target::Several(several) => several.lists,
            Target::Resource { .. } | Target::Linked { .. } => {
                return Err(Problem::not_found("the list is gone").into());
            }
        },
    };
    let names = names_of(scope.as_ref(), schema);
    let typed = lists.len() > 1;
    let mut queries = Vec::with_capacity(lists.len());
    for (ty, from) in lists {
        let order = match &params.order {
            Some(_) => params.order(names, ty)?,
            None if typed => Vec::new(),
            None => query::natural_order(names, &from),
        };
        let query = Query {
            ty,
            filter: narrowed(scope.as_ref(), params.filter(names, ty)?),
            order,
            from,
            limit: params.limit,
            after: None,
            scan_limit: params.scan_limit(),
        };
        let query = granted(working, query)?;
        queries.push((query, Shape { typed, scope: scope.clone(), ..params.shape(names, schema, ty)? }));
    }
    let read = queries.iter().flat_map(|(query, shape)| {
        let by = query.filter.iter().chain(query.order.iter().map(|(key, _)| key));
        by.chain(shape.expressions())
    });
    by.extend(updates::behind(working, read));
    list::wait_for(job.exact, &by)?;
    let descending = queries.first().map(|(query, _)| query.order.iter().map(|(_, down)| *down).collect());
    let open = |(query, shape): (Query, Shape)| {
        let (ty, cursor) = (query.ty, Cursor::open(working, query)?);
        Ok(List { ty, shape, cursor: Some(cursor), ahead: VecDeque::new() })
    };
    let lists = queries.into_iter().map(open).collect::<Result<_, EngineError>>()?;
    let lists = Lists { lists, descending: descending.unwrap_or_default(), left: params.limit };
    Ok((Source::Resources(lists), by))
}

/// A list of one type.
struct List {
    ty: TypeIx,
    shape: Shape,
    /// None when it has given all.
    cursor: Option<Cursor>,
    /// What was found, and stands behind something of another type.
    ahead: VecDeque<Item>,
}

/// The lists of one type or several, as one.
struct Lists {
    lists: Vec<List>,
    descending: Vec<bool>,
    /// Items that are still wanted.
    left: usize,
}

impl Lists {
    /// The next items, in order; there may be none among so many candidates. Nothing at the end.
    fn next(&mut self, working: &Working<'_>, most: usize) -> Result<Option<Vec<Item>>, EngineError> {
        for list in &mut self.lists {
            if list.ahead.is_empty()
                && let Some(cursor) = &mut list.cursor
            {
                match cursor.next(working, most)? {
                    Some(items) => list.ahead.extend(items),
                    None => list.cursor = None,
                }
            }
        }
        let mut items = Vec::new();
        while items.len() < self.left
            && self.lists.iter().all(|list| list.cursor.is_none() || !list.ahead.is_empty())
        {
            let first = |list: &&mut List, other: &&mut List| match (list.ahead.front(), other.ahead.front())
            {
                (Some(item), Some(other)) => several::by_order(item, other, &self.descending),
                (None, other) => {
                    if other.is_some() {
                        Ordering::Greater
                    } else {
                        Ordering::Equal
                    }
                }
                (Some(_), None) => Ordering::Less,
            };
            match self.lists.iter_mut().min_by(first).and_then(|list| list.ahead.pop_front()) {
                Some(item) => items.push(item),
                None => break,
            }
        }
        self.left -= items.len();
        let ended = self.left == 0 || self.lists.iter().all(|list| list.cursor.is_none());
        Ok(if ended && items.is_empty() { None } else { Some(items) })
    }
}

fn encoder<'w, 'a>(job: &Job, working: &'w Working<'a>) -> Encoder<'w, 'a> {
    if job.exact { Encoder::exact(working) } else { Encoder::new(working) }
}

/// Sends what is written.
fn send(pipe: &Pipe, out: &mut Vec<u8>) -> Result<(), End> {
    if out.is_empty() {
        return Ok(());
    }
    pipe.send(Bytes::from(take(out))).map_err(|error| End::Gone(error.to_string()))
}

/// Tells resources, a chunk at a time.
fn resources(job: &Job, working: &Working<'_>, mut lists: Lists, pipe: &Pipe) -> Result<(), End> {
    let mut most = FIRST_CHUNK;
    while let Some(items) = lists.next(working, most)? {
        if pipe.is_closed() {
            return Err(End::Gone("whoever asked for it is gone".into()));
        }
        let mut items = &items[..];
        let mut bytes = 0;
        while !items.is_empty() {
            let (some, _) = items.split_at(items.len().min(most));
            let (told, written) = chunk(job, working, &lists.lists, some, pipe)?;
            if told < some.len() {
                // With what they expand, no more than these go together.
                most = told;
            }
            bytes += written;
            items = &items[told..];
        }
        most = match bytes {
            bytes if bytes > 4 * PART_BYTES => (most / 2).max(1),
            bytes if bytes < PART_BYTES => (most * 2).min(MAX_CHUNK),
            _ => most,
        };
    }
    Ok(())
}

/// Tells resources together; how many of them, and in how many bytes. With all that they expand they may be too many, but
/// one is told at least.
fn chunk(
    job: &Job,
    working: &Working<'_>,
    lists: &[List],
    items: &[Item],
    pipe: &Pipe,
) -> Result<(usize, usize), End> {
    let mut encoder = encoder(job, working);
    for list in lists {
        let ids: Vec<&Id> =
            items.iter().filter(|item| item.key.ty == list.ty).map(|item| &item.key.id).collect();
        if !ids.is_empty() {
            encoder.ahead(list.ty, &ids, &list.shape)?;
        }
    }
    let mut bytes = 0;
    for (at, item) in items.iter().enumerate() {
        let Some(list) = lists.iter().find(|list| list.ty == item.key.ty) else { continue };
        let whole = encoder.out.len();
        match encoder.resource(&item.key, &item.doc, &list.shape) {
            Ok(()) => {}
            Err(EngineError::Refused(errors))
                if at > 0 && errors.iter().any(|it| it.code == "expand-limit") =>
            {
                encoder.out.truncate(whole);
                bytes += whole;
                send(pipe, &mut encoder.out)?;
                return Ok((at, bytes));
            }
            Err(error) => return Err(error.into()),
        }
        list::wait_for(job.exact, &encoder.pending)?;
        encoder.out.push(b'\n');
        if encoder.out.len() >= PART_BYTES {
            bytes += encoder.out.len();
            send(pipe, &mut encoder.out)?;
        }
    }
    bytes += encoder.out.len();
    send(pipe, &mut encoder.out)?;
    Ok((items.len(), bytes))
}

/// Tells values.
fn each_value(
    job: &Job,
    working: &Working<'_>,
    values: vec::IntoIter<Value>,
    expr: &Expr,
    pipe: &Pipe,
) -> Result<(), End> {
    let held = values::held(working.schema, expr);
    let mut encoder = encoder(job, working);
    for value in values.take(job.params.limit) {
        encoder.value(&value, held)?;
        encoder.out.push(b'\n');
        if encoder.out.len() >= PART_BYTES {
            send(pipe, &mut encoder.out)?;
        }
    }
    send(pipe, &mut encoder.out)
}
