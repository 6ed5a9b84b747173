//! The life of one watch: what is there (or what it missed), then every commit that concerns it, in order.
//!
//! It subscribes first and reads then, so nothing falls between; what it read already is passed over by its revision.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::{Bytes, BytesMut};
use corollary_engine::eval::{Eval, View};
use corollary_engine::query::{self, From, Query};
use corollary_engine::working::targets;
use corollary_engine::{Commit, Doc, Engine, EngineError, Key};
use corollary_schema::typed::Expr;
use corollary_schema::{FieldRef, Schema, TypeIx};
use corollary_value::Id;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::event::{self, Format, Happened};
use super::hub::{Hub, Published, Scope, Subscription};
use crate::json::encode::Encoder;
use crate::mounts;
use crate::problem::Problem;

/// At least this often something is said, so that both ends know that the other lives.
const BOOKMARK_EVERY: Duration = Duration::from_secs(15);

/// The most resources that a watch lists when it begins.
pub const MAX_INITIAL_RESOURCES: usize = 10_000;

/// Parts of a reply that wait for a slow client.
const BODY_QUEUE_PARTS: usize = 16;

/// How long a client that reads nothing is waited for when it has to be told that it has missed something.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What is watched: one list, or the list of each of several types.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Of each type, one at least.
    pub lists: Vec<WatchedList>,
    /// Does each event say the type of its resource?
    pub typed: bool,
    /// The mount by whose names it is told.
    pub scope: Option<Arc<mounts::Scope>>,
}

/// Resources of one type that are watched.
#[derive(Clone, Debug)]
pub struct WatchedList {
    /// The type of the resources.
    pub ty: TypeIx,
    /// Which of them.
    pub which: Which,
    /// A condition on the resource's own fields.
    pub filter: Option<Expr>,
}

/// Which resources of a type.
#[derive(Clone, Debug)]
pub enum Which {
    /// One.
    One(Key),
    /// All.
    All,
    /// Those whose field refers to this one.
    Referring(FieldRef, Id),
}

impl Watched {
    fn scope(&self) -> Scope {
        match &self.lists[..] {
            [WatchedList { which: Which::One(key), .. }] => Scope::Resource(key.clone()),
            lists => Scope::Types(lists.iter().map(|list| list.ty).collect()),
        }
    }

    /// The name of its type, where events tell it.
    fn type_name<'s>(&self, schema: &'s Schema, key: &Key) -> Option<&'s str> {
        self.typed.then(|| schema.ty(key.ty).name.as_str())
    }

    fn holds(&self, key: &Key, doc: &Arc<Doc>) -> Result<bool, EngineError> {
        self.lists.iter().find(|list| list.ty == key.ty).map_or(Ok(false), |list| list.holds(key, doc))
    }
}

impl WatchedList {
    /// Is a resource, as it is here, among those that are watched?
    fn holds(&self, key: &Key, doc: &Arc<Doc>) -> Result<bool, EngineError> {
        let among = match &self.which {
            Which::One(one) => one == key,
            Which::All => self.ty == key.ty,
            Which::Referring(field, target) => {
                self.ty == key.ty && targets(doc.get(field.slot)).contains(target)
            }
        };
        match &self.filter {
            Some(filter) if among => Eval::of(&Own { key, doc }, &key.id, doc).holds(filter),
            _ => Ok(among),
        }
    }

    fn query(&self) -> Query {
        let from = match &self.which {
            Which::One(key) => From::Listed(vec![key.id.clone()]),
            Which::All => From::All,
            Which::Referring(field, target) => From::Referring(*field, target.clone()),
        };
        Query {
            ty: self.ty,
            from,
            filter: self.filter.clone(),
            order: Vec::new(),
            limit: MAX_INITIAL_RESOURCES,
            after: None,
            scan_limit: query::DEFAULT_SCAN_LIMIT,
        }
    }
}

/// A view of one document alone.
struct Own<'d> {
    key: &'d Key,
    doc: &'d Arc<Doc>,
}

impl View for Own<'_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        Ok((ty == self.key.ty && *id == self.key.id).then(|| self.doc.clone()))
    }

    fn referrers(&self, _of: FieldRef, _target: &Id) -> Result<Vec<Id>, EngineError> {
        Ok(Vec::new())
    }

    fn all(&self, _ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        Ok(Vec::new())
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// Begins a watch, after a revision or with what is there; the reply goes on until one side ends it.
pub fn begin(
    hub: &Arc<Hub>,
    watched: Watched,
    since: Option<u64>,
    format: Format,
) -> Result<Response<Body>, Problem> {
    let subscription = hub.subscribe(watched.scope());
    let engine = hub.engine().clone();
    let mut opening = BytesMut::new();
    let seen = match since {
        None => list(&engine, &watched, format, &mut opening)?,
        Some(since) => {
            // Not what is published: a read may have shown a commit a moment before that.
            let mut last = engine.read(Timestamp::now(), |working| Ok(working.base.revision()))?;
            if since > last {
                // Another server may have told it.
                engine.catch_up()?;
                last = engine.revision();
            }
            if since > last {
                let detail = format!("revision {since} has not happened yet; the last is {last}");
                return Err(Problem::malformed("since", detail));
            }
            since
        }
    };
    let (parts, body) = mpsc::channel::<Result<Bytes, std::convert::Infallible>>(BODY_QUEUE_PARTS);
    tokio::spawn(async move {
        // An error here is a client that has gone.
        let _ = run(engine, subscription, watched, since, seen, format, opening, parts).await;
    });
    let stream = futures_util::stream::unfold(body, |mut body| async {
        let part = body.recv().await?;
        Some((part, body))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let kind = match format {
        Format::Sse => "text/event-stream",
        Format::Ndjson => "application/x-ndjson",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Tells what is there; returns the revision it is as of.
fn list(engine: &Engine, watched: &Watched, format: Format, out: &mut BytesMut) -> Result<u64, Problem> {
    let (revision, bodies) = engine.read(Timestamp::now(), |working| {
        let revision = working.base.revision();
        let (mut items, mut more) = (Vec::new(), false);
        for list in &watched.lists {
            let page = query::run(working, &list.query())?;
            more |= page.more;
            items.extend(page.items);
        }
        if more || items.len() > MAX_INITIAL_RESOURCES {
            let message = format!(
                "a watch lists at most {MAX_INITIAL_RESOURCES} resources when it begins; filter more, or list first and watch with `since`"
            );
            return Err(EngineError::refused("watch-limit", None, message));
        }
        // Those of each type are in the order of ids.
        items.sort_by(|left, right| left.key.id.cmp(&right.key.id));
        let mut bodies = Vec::with_capacity(items.len());
        for item in &items {
            let mut encoder = Encoder::of_commit(working, working.open_updates());
            event::present(&mut encoder, revision, &item.key, &item.doc, watched.scope.as_ref())?;
            bodies.push((item.key.clone(), Bytes::from(encoder.out)));
        }
        Ok((revision, bodies))
    })?;
    for (key, body) in bodies {
        let name = watched.type_name(engine.schema(), &key);
        format.change(Happened::Added, name, &body, None, out);
    }
    format.note("synced", revision, None, out);
    Ok(revision)
}

type Parts = mpsc::Sender<Result<Bytes, std::convert::Infallible>>;

/// The client has gone.
struct Gone;

#[expect(clippy::too_many_arguments, reason = "the parts of one watch, each of which it alone owns")]
async fn run(
    engine: Arc<Engine>,
    mut subscription: Subscription,
    watched: Watched,
    since: Option<u64>,
    mut seen: u64,
    format: Format,
    opening: BytesMut,
    parts: Parts,
) -> Result<(), Gone> {
    let send = async |out: BytesMut| parts.send(Ok(out.freeze())).await.map_err(|_| Gone);
    if !opening.is_empty() {
        send(opening).await?;
    }
    if since.is_some() {
        loop {
            let missed = missed(&engine, &watched, seen, format);
            match missed {
                Ok(Missed::Events(out, to)) => {
                    let caught_up = to == seen;
                    seen = to;
                    if !out.is_empty() {
                        send(out).await?;
                    }
                    if caught_up {
                        break;
                    }
                }
                Ok(Missed::Expired) => {
                    let mut out = BytesMut::new();
                    let detail =
                        "the log no longer goes back that far (410): list again, and watch from there";
                    format.note("expired", engine.revision(), Some(detail), &mut out);
                    return send(out).await;
                }
                Err(error) => {
                    let mut out = BytesMut::new();
                    format.note("error", seen, Some(&error.to_string()), &mut out);
                    return send(out).await;
                }
            }
        }
        let mut out = BytesMut::new();
        format.note("synced", seen, None, &mut out);
        send(out).await?;
    }
    let mut bookmark = Instant::now() + BOOKMARK_EVERY;
    loop {
        let next = tokio::select! {
            next = timeout_at(bookmark, subscription.next()) => next,
            () = parts.closed() => return Err(Gone),
        };
        let mut out = BytesMut::new();
        match next {
            Ok(Some(published)) => {
                if published.commit.revision > seen {
                    seen = published.commit.revision;
                    if let Err(error) = events(&engine, &watched, &published, format, &mut out) {
                        format.note("error", seen, Some(&error.to_string()), &mut out);
                        return send(out).await;
                    }
                }
            }
            // The server stops; the client may resume where it was.
            Ok(None) if !subscription.missed() => return Ok(()),
            Ok(None) => {
                let detail = "the watch was too slow; list again, or resume from the last revision seen";
                format.note("expired", seen, Some(detail), &mut out);
                let last_word = tokio::time::timeout(LAST_WORD, send(out)).await;
                return last_word.unwrap_or(Err(Gone));
            }
            Err(_) => format.note("bookmark", seen, None, &mut out),
        }
        if !out.is_empty() {
            send(out).await?;
            bookmark = Instant::now() + BOOKMARK_EVERY;
        }
    }
}

enum Missed {
    /// What happened, up to a revision.
    Events(BytesMut, u64),
    /// The log does not go back that far.
    Expired,
}

/// Commits read from the log at a time.
const CATCH_UP_COMMITS: usize = 256;

/// What happened after a revision, from the log; at most so much at a time.
fn missed(engine: &Engine, watched: &Watched, seen: u64, format: Format) -> Result<Missed, EngineError> {
    let mut commits: Vec<Commit> = Vec::new();
    let complete = engine.commits_after(seen, &mut |commit| {
        commits.push(commit);
        if commits.len() < CATCH_UP_COMMITS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if !complete {
        return Ok(Missed::Expired);
    }
    let mut out = BytesMut::new();
    let mut to = seen;
    for commit in commits {
        to = commit.revision;
        events(engine, watched, &Published::new(Arc::new(commit)), format, &mut out)?;
    }
    Ok(Missed::Events(out, to))
}

/// The events of one commit, closed by its revision.
fn events(
    engine: &Engine,
    watched: &Watched,
    published: &Published,
    format: Format,
    out: &mut BytesMut,
) -> Result<(), EngineError> {
    let mut found: Vec<(Happened, usize)> = Vec::new();
    for (at, change) in published.commit.changes.iter().enumerate() {
        let holds = |doc: &Option<Arc<Doc>>| match doc {
            Some(doc) => watched.holds(&change.key, doc),
            None => Ok(false),
        };
        let happened = match (holds(&change.before)?, holds(&change.after)?) {
            (false, false) => continue,
            (false, true) => Happened::Added,
            (true, true) => Happened::Modified,
            (true, false) if change.after.is_none() => Happened::Removed,
            (true, false) => Happened::Left,
        };
        found.push((happened, at));
    }
    let last = found.len().saturating_sub(1);
    for (position, (happened, at)) in found.into_iter().enumerate() {
        let (change, body) = match &watched.scope {
            Some(scope) => published.change_in(engine, at, scope),
            None => published.change(engine, at),
        };
        let revision = published.commit.revision;
        let name = watched.type_name(engine.schema(), &change.key);
        format.change(happened, name, &body, (position == last).then_some(revision), out);
        if position == last && format == Format::Ndjson {
            // Lines have no ids: this is what tells that the commit is complete, and where to resume.
            format.note("bookmark", revision, None, out);
        }
    }
    Ok(())
}
