//! What is behind, and the updates that bring it up to date: `/api/_updates` (how fast they go: `steer`), `Prefer: wait`,
//! `Consistency: exact`.
//!
//! A reply to a write names the updates that it began in `Corollary-Updates`; one that was asked to wait comes when they
//! and all that follows from them have ended, or the time is up, and names those that still run. A reply to a read names
//! in `Corollary-Pending` the fields of which it may show, or may have gone by, an older value; `Consistency: exact` has
//! it wait until there are none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use corollary_engine::reply::{Shown, Wants};
use corollary_engine::updates::State as UpdateState;
use corollary_engine::updates::settled::READ_LIMIT;
use corollary_engine::updates::{Record, Settled, Target, Update, UpdateId};
use corollary_engine::working::Working;
use corollary_engine::{Committed, Engine, EngineError, Key, Transaction, index};
use corollary_schema::plan::reads::fields as fields_read;
use corollary_schema::typed::Expr;
use corollary_schema::{FieldId, FieldRef, Schema, Slot};
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::{App, Call, REVISION_HEADER, Reads, accept, json, read, steer, with_header};
use crate::path;
use crate::problem::{Problem, SUPERSEDED};
use crate::review;

/// Names the updates that a write began and that have not ended.
pub const UPDATES_HEADER: HeaderName = HeaderName::from_static("corollary-updates");

/// Names the fields that an update has yet to bring up to date, where a reply depends on them.
pub const PENDING_HEADER: HeaderName = HeaderName::from_static("corollary-pending");

/// Asks for nothing that may be behind.
const CONSISTENCY_HEADER: HeaderName = HeaderName::from_static("consistency");

/// How long a reply waits at most, whatever is asked for.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// How long a read waits for a revision that has not happened yet.
const REVISION_WAIT: Duration = Duration::from_secs(5);

/// How long one that waits for updates lets them go on before it looks again.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// After so long without progress a comment keeps the stream alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a write waits for what follows from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wait(Option<Duration>);

impl Wait {
    /// From `Prefer: wait=SECONDS` and `?wait=true`.
    ///
    /// # Errors
    ///
    /// Something else than a number of seconds, or than true and false.
    pub fn of(headers: &HeaderMap, query: Option<&str>) -> Result<Wait, Problem> {
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match (&*name, &*value) {
                ("wait", "true" | "1" | "") => return Ok(Wait(Some(MAX_WAIT))),
                ("wait", "false" | "0") => return Ok(Wait(None)),
                ("wait", value) => {
                    let detail = format!("`wait` is true or false, and \"{value}\" is neither");
                    return Err(Problem::malformed("parameter", detail));
                }
                _ => {}
            }
        }
        let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for preference in preferences.flat_map(|value| value.split(',')) {
            let Some(seconds) = preference.trim().strip_prefix("wait=") else { continue };
            let seconds: u64 = seconds.trim_matches('"').parse().map_err(|_| {
                Problem::malformed("prefer", "`Prefer: wait=` is followed by a number of seconds")
            })?;
            return Ok(Wait(Some(Duration::from_secs(seconds).min(MAX_WAIT))));
        }
        Ok(Wait(None))
    }

    /// How long that is, [`MAX_WAIT`] at most; none where it waits for nothing.
    pub fn time(self) -> Option<Duration> {
        self.0
    }
}

/// Commits, and waits for what follows as long as is asked for. The results are true as of the commit; of one that waited,
/// as of the end of that.
pub(crate) async fn commit(
    app: &App,
    transaction: Transaction,
    wants: Wants,
    wait: Wait,
) -> Result<Committed, Problem> {
    // A reply that is kept was made with the commit.
    let keys: Vec<Key> = match wants.results && wants.kept.is_none() {
        true => transaction.writes.iter().map(|write| write.key().clone()).collect(),
        false => Vec::new(),
    };
    let mut moved = app.node.moved();
    let mut committed = review::commit(app, transaction, wants).await?;
    let Some(wait) = wait.0.filter(|_| !committed.updates.is_empty()) else { return Ok(committed) };
    let engine = app.node.engine();
    let deadline = Instant::now() + wait.min(app.limits.waiting());
    loop {
        moved.mark_unchanged();
        let running = running(engine, &committed.updates);
        if running.is_empty() || !again(&mut moved, deadline).await {
            committed.updates = running;
            break;
        }
    }
    // What of it is shown to whom is decided where it is written.
    let now = read(Reads::own(engine), |working| {
        let settled = Settled::new(working);
        let shown = |key: &Key| {
            let Some(doc) = working.after(key)? else { return Ok(None) };
            Ok(Some(Shown::of(&doc, settled.doc(key, &doc, READ_LIMIT)?)))
        };
        keys.iter().map(shown).collect::<Result<Vec<_>, super::Fault>>()
    });
    let now = match now {
        // What it is by now is shown by another version of the schema.
        Err(problem) if problem.code == SUPERSEDED => return Ok(committed),
        now => now?,
    };
    // What somebody else deleted meanwhile is shown as the commit left it.
    for (result, now) in committed.results.iter_mut().zip(now) {
        if result.is_some() && now.is_some() {
            *result = now;
        }
    }
    Ok(committed)
}

/// Waits until something has moved on; false where the time is up before.
async fn again(moved: &mut tokio::sync::watch::Receiver<u64>, deadline: Instant) -> bool {
    match tokio::time::timeout_at(deadline, moved.changed()).await {
        Ok(Ok(())) => {
            tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_EVERY)).await;
            true
        }
        // The executor has stopped: nothing moves any more.
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Which of some updates, and of those that came of them, are open for a reader.
fn running(engine: &Engine, ids: &[UpdateId]) -> Vec<UpdateId> {
    let of_them = |update: &&Arc<Update>| {
        let record = &update.record;
        ids.contains(&record.id) || record.origins.iter().any(|origin| ids.contains(origin))
    };
    // The ledger is there before the commit in which an update ends.
    let revision = engine.revision();
    engine.updates().open_at(revision).iter().filter(of_them).map(|update| update.record.id).collect()
}

/// The names of updates, for the header of the reply to a write.
pub(crate) fn names(updates: &[UpdateId]) -> String {
    let names: Vec<String> = updates.iter().map(UpdateId::to_string).collect();
    names.join(",")
}

/// Adds the names of fields that may be behind to the reply to a read.
pub(crate) fn marked(response: Response<Body>, pending: &BTreeSet<String>) -> Response<Body> {
    if pending.is_empty() {
        return response;
    }
    let names: Vec<&str> = pending.iter().map(String::as_str).collect();
    with_header(response, PENDING_HEADER, &names.join(","))
}

/// The fields that some expressions read, and of which some value may be behind.
pub(crate) fn behind<'e>(
    working: &Working<'_>,
    expressions: impl Iterator<Item = &'e Expr>,
) -> BTreeSet<String> {
    let settled = Settled::new(working);
    if settled.is_trivial() {
        return BTreeSet::new();
    }
    let schema = working.schema;
    let fields = expressions.flat_map(fields_read);
    let behind = fields.filter(|field| settled.is_field_behind(*field));
    behind.map(|field| format!("{}.{}", schema.ty(field.ty).name, schema.field(field).name)).collect()
}

/// Is `Consistency: exact` asked for?
pub(crate) fn is_exact(headers: &HeaderMap) -> Result<bool, Problem> {
    match headers.get(CONSISTENCY_HEADER).map(|value| value.to_str().unwrap_or_default().trim()) {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("exact") => Ok(true),
        Some(value) => {
            let detail = format!("`Consistency: {value}` is not known; there is `exact`");
            Err(Problem::malformed("consistency", detail))
        }
    }
}

/// Repeats a read until its reply depends on nothing that may be behind.
pub(crate) async fn exact(
    call: &Call<'_>,
    read: impl Fn() -> Result<Response<Body>, Problem>,
) -> Result<Response<Body>, Problem> {
    let waiting = call.app.limits.waiting();
    let deadline = Instant::now() + waiting;
    let mut moved = call.app.node.moved();
    loop {
        moved.mark_unchanged();
        let pending = match read() {
            Ok(response) => match response.headers().get(PENDING_HEADER) {
                Some(pending) => pending.to_str().unwrap_or_default().to_string(),
                None => return Ok(response),
            },
            Err(problem) if problem.code == "pending" => problem.detail,
            Err(problem) => return Err(problem),
        };
        if !again(&mut moved, deadline).await {
            let seconds = waiting.as_secs();
            let detail = format!("not up to date within {seconds} s: {pending}");
            return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "consistency", detail));
        }
    }
}

/// Waits for the revision that `Corollary-At-Least` asks for.
pub(crate) async fn at_least(app: &App, wanted: u64) -> Result<(), Problem> {
    let engine = app.node.engine();
    let mut moved = app.node.moved();
    let deadline = Instant::now() + REVISION_WAIT;
    if wanted > engine.revision() && engine.is_shared() {
        // Whoever asks has it from another server: it is there already, whether this one has heard of it or not.
        let engine = engine.clone();
        let caught_up = tokio::task::spawn_blocking(move || engine.catch_up()).await;
        caught_up.unwrap_or_else(|error| Err(EngineError::Corrupt(error.to_string())))?;
    }
    loop {
        moved.mark_unchanged();
        let last = engine.revision();
        if wanted <= last {
            return Ok(());
        }
        if !matches!(tokio::time::timeout_at(deadline, moved.changed()).await, Ok(Ok(()))) {
            let detail = format!("revision {wanted} has not happened yet; the last is {last}");
            return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "corollary-at-least", detail));
        }
    }
}

/// An update as JSON.
pub(crate) fn shown(engine: &Engine, update: &Update) -> Json {
    let record = &update.record;
    let cause = engine.read(Timestamp::now(), |working| Ok(cause(working, record)));
    let mut shown = json!({
        "_id": record.id.to_string(),
        "_self": format!("{}/_updates/{}", path::PREFIX, record.id),
        "state": record.state.name(),
        "task": record.task.name(),
        "type": record.ty.as_str(),
        "field": record.field.as_str(),
        "cause": cause.unwrap_or_default(),
        "estimated": record.estimated,
        "visited": record.visited,
        "changed": record.changed,
        "fields": fields(engine.schema(), record),
        "started_at": record.started.to_string(),
    });
    if let Some(members) = shown.as_object_mut() {
        // One that the schema has no more is known by its fields alone.
        if let Some(Target::Index(index)) = &update.target {
            let index = index::describe(engine.schema(), index.at, index.by);
            members.insert("index".into(), index.into());
        }
        if let Some(ended) = record.ended {
            members.insert("ended_at".into(), ended.to_string().into());
        } else {
            members.insert("heartbeat_at".into(), record.heartbeat.to_string().into());
        }
        if !record.owner.is_empty() {
            members.insert("node".into(), record.owner.as_str().into());
        }
        if let Some(error) = &record.error {
            members.insert("error".into(), error.as_str().into());
        }
        if record.state == UpdateState::Failed {
            members.insert("failures".into(), update.failures.into());
            members.insert("retry_at".into(), update.not_before.to_string().into());
        }
    }
    shown
}

/// How many values of which fields an update has changed: its own, and those that follow. A field that the schema has no
/// more is left out.
fn fields(schema: &Schema, record: &Record) -> Vec<Json> {
    let named = |(id, count): &(FieldId, u64)| {
        let (ty, resource) = schema.types().find(|(_, ty)| ty.slots().any(|(_, field)| field.id == *id))?;
        let (slot, _) = resource.slots().find(|(_, field)| field.id == *id)?;
        // Of objects with derived members it is these that have changed.
        let extended = |other: &Slot| *other != slot && resource.shown(*other) == slot;
        let shown = resource.slots().map(|(slot, _)| slot).find(extended);
        let field = schema.field(FieldRef { ty, slot: shown.unwrap_or(slot) });
        let follows = (&*resource.name, &*field.name) != (&*record.ty, &*record.field);
        field.visible().then(|| {
            json!({ "type": &*resource.name, "field": &*field.name, "changed": count, "follows": follows })
        })
    };
    record.fields.iter().filter_map(named).collect()
}

/// What began an update: the change, with the path of the resource if it is still there, or that the schema changed, or that
/// something is mended.
pub(crate) fn cause(working: &Working<'_>, record: &Record) -> Json {
    let schema = working.schema;
    let cause = &record.cause;
    let mut shown = json!({ "revision": cause.revision.to_string() });
    let Some(change) = &cause.change else {
        shown[if cause.repair { "repair" } else { "schema" }] = true.into();
        return shown;
    };
    let Some((ty, resource)) = schema.types().find(|(_, ty)| ty.id == change.ty) else { return shown };
    let Some(members) = shown.as_object_mut() else { return shown };
    if let Some(field) = resource.fields.iter().find(|field| field.id == change.field && field.visible()) {
        members.insert("field".into(), field.name.as_str().into());
    }
    let key = Key::new(ty, change.id.clone());
    let doc = working.after(&key);
    let path = doc.and_then(|doc| doc.map(|doc| path::canonical(working, &key, Some(&doc))).transpose());
    if let Ok(Some(path)) = path {
        members.insert("path".into(), path.into());
    }
    shown
}

/// `GET /api/_updates`.
pub async fn list(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    serve(app, request, None).await.unwrap_or_else(|problem| problem.response())
}

/// `GET /api/_updates/ID`.
pub async fn one(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    serve(app, request, Some(&id)).await.unwrap_or_else(|problem| problem.response())
}

async fn serve(app: Arc<App>, request: Request<Body>, id: Option<&str>) -> Result<Response<Body>, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::PATCH) {
        return Err(Problem::not_allowed("GET,HEAD,PATCH"));
    }
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
        return Err(Problem::malformed(
            "parameter",
            format!("updates take no parameters, and `{query}` is one"),
        ));
    }
    let ledger = app.node.engine().updates_to_tell();
    let of = match id {
        None => None,
        Some(id) => {
            let known = UpdateId::parse(id).filter(|id| ledger.get(*id).is_some());
            let detail = format!("there is no update {id}, or it ended long ago");
            Some(known.ok_or_else(|| Problem::not_found(detail))?)
        }
    };
    if request.method() == Method::PATCH {
        return steer::patch(app, request, of).await;
    }
    if accept::named(request.headers()).is_some_and(|kind| kind == accept::EVENTS) {
        return Ok(stream(app, of));
    }
    let engine = app.node.engine();
    let body = match of.and_then(|id| ledger.get(id)) {
        Some(update) => shown(engine, update),
        None => {
            let all: Vec<Json> =
                ledger.newest_first().into_iter().map(|update| shown(engine, update)).collect();
            json!({ "results": all, "pace": steer::shown(&app.node.pace()) })
        }
    };
    // Whoever asks another server for no less sees what the updates did.
    let revision = engine.revision().to_string();
    Ok(with_header(json(StatusCode::OK, body.to_string()), REVISION_HEADER, &revision))
}

/// What a stream of progress has told, and of what.
struct Telling {
    app: Arc<App>,
    /// None for all that are open.
    of: Option<UpdateId>,
    moved: tokio::sync::watch::Receiver<u64>,
    told: Vec<(UpdateId, String)>,
    ended: bool,
    /// Not before this is it told again.
    next: Instant,
}

impl Telling {
    /// What is new.
    fn news(&mut self) -> String {
        let engine = self.app.node.engine();
        let ledger = engine.updates_to_tell();
        let of = self.of;
        let mut out = String::new();
        // One that was open when it was last told is told its end.
        let wanted = |update: &&&Arc<Update>| match of {
            Some(id) => update.record.id == id,
            None => !update.record.is_done() || self.told.iter().any(|(id, _)| *id == update.record.id),
        };
        let mut told = Vec::new();
        let all = ledger.open.iter().chain(&*ledger.ended).collect::<Vec<_>>();
        for update in all.iter().filter(|update| wanted(update)) {
            let id = update.record.id;
            let text = shown(engine, update).to_string();
            if !self.told.iter().any(|(other, before)| *other == id && *before == text) {
                out.push_str(&format!("data: {text}\n\n"));
            }
            told.push((id, text));
        }
        self.told = told;
        self.ended = match of {
            Some(id) => ledger.get(id).is_none_or(|update| update.record.is_done()),
            None => ledger.open.is_empty(),
        };
        out
    }
}

/// Progress as server-sent events until the end: of one update, or of all that are open.
fn stream(app: Arc<App>, of: Option<UpdateId>) -> Response<Body> {
    let moved = app.node.moved();
    let telling = Telling { app, of, moved, told: Vec::new(), ended: false, next: Instant::now() };
    let parts = futures_util::stream::unfold(telling, |mut telling| async move {
        if telling.ended {
            return None;
        }
        loop {
            telling.moved.mark_unchanged();
            let news = telling.news();
            if !news.is_empty() || telling.ended {
                telling.next = Instant::now() + TELL_EVERY;
                return Some((Ok::<_, std::convert::Infallible>(Bytes::from(news)), telling));
            }
            match tokio::time::timeout(KEEP_ALIVE, telling.moved.changed()).await {
                Ok(Ok(())) => tokio::time::sleep_until(telling.next).await,
                Ok(Err(_)) => return None,
                Err(_) => return Some((Ok(Bytes::from_static(b": waiting\n\n")), telling)),
            }
        }
    });
    let mut response = Response::new(Body::from_stream(parts));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    response
}
