//! PUT and DELETE of a file.
//!
//! The bytes go into the store as they come, in no commit, and in parts: so memory does not grow with the file, and who sends
//! faster than the store takes waits. When all of them are there, and are what was told of them, one transaction makes a file
//! of them. What does not come to that is taken out of the store again at once, and if the process ends before, by the
//! next start or by the sweep.
//!
//! Invariant: once a transaction is on its way that may make a file of an upload, nobody here takes it away, unless it is
//! known that it did not.

use std::sync::Arc;
use std::sync::OnceLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, Response, StatusCode, header, request};
use corollary_engine::files::{BlobId, Received, Upload, digest_text};
use corollary_engine::reply::Wants;
use corollary_engine::working::Working;
use corollary_engine::{Committed, Decision, Edit, EngineError, Transaction, Write};
use corollary_value::Value;
use futures_util::StreamExt;
use jiff::Timestamp;
use parking_lot::Mutex;
use smol_str::SmolStr;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use uuid::Uuid;

use super::headers::{ANY_TYPE, MAX_TYPE_BYTES, digest, file_name, is_accepted, media_type, text};
use super::{Conditions, Place, check_parameters, find, held, path_of, problem, tag};
use crate::http::body::Held;
use crate::http::commit::{self, Manner, Told};
use crate::http::{App, Call, Reader, etag, idempotency};
use crate::json::encode::Encoder;
use crate::path;
use crate::problem::{Problem, SUPERSEDED};
use crate::site::Site;

/// Bytes that are gathered before they are handed to a thread that may wait for the store.
const GATHERED_BYTES: usize = 256 << 10;

/// The parameters of a write of a file.
const PARAMETERS: [&str; 2] = ["wait", "dry_run"];

/// Reads a body that is refused up to the limit of bodies, and drops it, so that a client which sends before it reads hears why.
pub(super) async fn drain(sent: Body, app: &App) {
    let gone = async {
        let (mut parts, mut read) = (sent.into_data_stream(), 0);
        while let Some(Ok(part)) = parts.next().await {
            read += part.len();
            if read > app.limits.body_bytes {
                return;
            }
        }
    };
    // Who sends it slowly has heard nothing so far, and hears it then.
    let _ = timeout(app.limits.waiting(), gone).await;
}

/// Receives a file, and makes it that of its field.
pub(super) async fn put(
    site: &Site,
    mut app: Arc<App>,
    head: &request::Parts,
    sent: Body,
    mut place: Place,
) -> Result<Response<Body>, Problem> {
    let wanted = match Wanted::of(&app, head, &place) {
        Ok(wanted) => wanted,
        Err(problem) => {
            drain(sent, &app).await;
            return Err(problem);
        }
    };
    let mut upload = Staged::new(&app, wanted.length)?;
    let received = match timeout(app.limits.waiting(), upload.receive(sent, &app, &wanted)).await {
        Ok(received) => received,
        Err(_) => {
            let detail = format!("the file did not come within {} s", app.limits.waiting().as_secs());
            Err(problem(StatusCode::REQUEST_TIMEOUT, "body-time", detail))
        }
    };
    let received = Arc::new(received?);
    app.node.counts().file_received(received.size);
    loop {
        let outcome = commit(&app, head, &place, Some(received.clone()), &mut upload).await;
        match outcome {
            Err(problem) if problem.code == SUPERSEDED && site.next(&app).await => {
                app = site.current();
                place = find(&app, head.uri.path(), &Reader::of(&app.limits, &head.headers)?)?
                    .ok_or_else(|| gone(head))?;
                // What is accepted may be less by now.
                Wanted::of(&app, head, &place)?.check_size(received.size)?;
            }
            outcome => return outcome,
        }
    }
}

/// Takes a file away.
pub(super) async fn delete(
    site: &Site,
    mut app: Arc<App>,
    head: &request::Parts,
    mut place: Place,
) -> Result<Response<Body>, Problem> {
    check_parameters(head.uri.query(), &PARAMETERS)?;
    loop {
        let mut nothing = Staged::nothing();
        match commit(&app, head, &place, None, &mut nothing).await {
            Err(problem) if problem.code == SUPERSEDED && site.next(&app).await => {
                app = site.current();
                place = find(&app, head.uri.path(), &Reader::of(&app.limits, &head.headers)?)?
                    .ok_or_else(|| gone(head))?;
            }
            outcome => return outcome,
        }
    }
}

/// The schema that is served by now has no such file.
fn gone(head: &request::Parts) -> Problem {
    Problem::not_found(format!("`{}` is no file any more", head.uri.path()))
}

/// What is told of a file before it comes, and what it may be.
struct Wanted {
    media_type: SmolStr,
    name: Option<SmolStr>,
    digest: Option<[u8; 32]>,
    /// Bytes that it is said to have.
    length: Option<u64>,
    /// Bytes that it may have, and who says so.
    limit: u64,
    limited_by: String,
}

impl Wanted {
    fn of(app: &App, head: &request::Parts, place: &Place) -> Result<Wanted, Problem> {
        let (schema, headers) = (app.node.engine().schema(), &head.headers);
        check_parameters(head.uri.query(), &PARAMETERS)?;
        Conditions::of_write(headers, &app.limits)?;
        if headers.contains_key(idempotency::HEADER) {
            let detail = "a PUT of a file may be sent again as it is: it takes no `Idempotency-Key`";
            return Err(Problem::malformed("idempotency-key", detail));
        }
        if headers.contains_key(header::CONTENT_RANGE) {
            let detail = "a file is sent as a whole: there is no `Content-Range` of a PUT";
            return Err(Problem::malformed("content-range", detail));
        }
        if text(headers, header::CONTENT_ENCODING)
            .is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"))
        {
            let detail = "a file is sent as it is, without a `Content-Encoding`".to_string();
            return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail));
        }
        let field = place.field(schema);
        let given = match headers.get(header::CONTENT_TYPE) {
            None => Some(ANY_TYPE.to_string()),
            Some(given) => given.to_str().ok().and_then(media_type),
        };
        let given = given.ok_or_else(|| {
            let detail = format!("`Content-Type` is no media type of at most {MAX_TYPE_BYTES} bytes");
            Problem::malformed("media-type", detail)
        })?;
        let accepted = &field.rules.accept;
        if !accepted.is_empty() && !is_accepted(&given, accepted) {
            let accepted: Vec<&str> = accepted.iter().map(SmolStr::as_str).collect();
            let detail = format!("`{}` accepts {}, and this is {given}", field.name, accepted.join(", "));
            return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
        }
        let (own, server) = (field.rules.max_bytes.unwrap_or(u64::MAX), app.limits.file_bytes);
        let limited_by = match own <= server {
            true => format!("`{}`", field.name),
            false => "a file of this server".to_string(),
        };
        let length = text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let name = headers.get(header::CONTENT_DISPOSITION).and_then(|it| file_name(it.as_bytes()));
        let wanted = Wanted {
            media_type: given.into(),
            name: name.map(SmolStr::from),
            digest: digest(headers)?,
            length,
            limit: own.min(server),
            limited_by,
        };
        wanted.check_size(length.unwrap_or(0))?;
        Ok(wanted)
    }

    fn check_size(&self, bytes: u64) -> Result<(), Problem> {
        if bytes <= self.limit {
            return Ok(());
        }
        let detail = format!("{} has at most {} bytes", self.limited_by, self.limit);
        Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "file-limit", detail))
    }
}

/// What has come of a file, with the room that it takes in memory; what is not used by the end is taken out of the store.
struct Staged {
    /// None where there is nothing to take away, or nobody knows.
    upload: Option<Arc<Mutex<Upload>>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Staged {
    fn nothing() -> Staged {
        Staged { upload: None, _room: None }
    }

    fn new(app: &App, length: Option<u64>) -> Result<Staged, Problem> {
        // In the order of time, so that later blobs of a field are behind earlier ones.
        let blob = BlobId(Uuid::now_v7().into_bytes());
        let upload = Upload::new(app.node.engine().store().clone(), blob);
        let most = GATHERED_BYTES + Upload::BUFFER_BYTES;
        let takes = length.map_or(most, |length| most.min(usize::try_from(length).unwrap_or(most)));
        let room = app.bodies.hold(takes)?;
        Ok(Staged { upload: Some(Arc::new(Mutex::new(upload))), _room: Some(room) })
    }

    /// Takes all parts of a body.
    async fn receive(&mut self, sent: Body, app: &App, wanted: &Wanted) -> Result<Received, Problem> {
        let mut parts = sent.into_data_stream();
        let (mut gathered, mut size) = (Vec::new(), 0);
        while let Some(part) = parts.next().await {
            let part: Bytes = part.map_err(|_| Problem::malformed("body", "the body ended early"))?;
            size += part.len() as u64;
            if let Err(problem) = wanted.check_size(size) {
                drain(Body::from_stream(parts), app).await;
                return Err(problem);
            }
            gathered.extend_from_slice(&part);
            if gathered.len() >= GATHERED_BYTES {
                let bytes = std::mem::take(&mut gathered);
                gathered =
                    self.with(move |upload| upload.push(&bytes, Timestamp::now()).map(|()| bytes)).await?;
                gathered.clear();
            }
        }
        let (media_type, name) = (wanted.media_type.clone(), wanted.name.clone());
        let finish = move |upload: &mut Upload| {
            upload.push(&gathered, Timestamp::now())?;
            upload.finish(media_type, name, Timestamp::now())
        };
        let received = self.with(finish).await?;
        match wanted.digest.filter(|told| *told != received.digest) {
            None => Ok(received),
            Some(told) => {
                let (told, is) = (digest_text(&told), digest_text(&received.digest));
                let detail = format!("the file is said to be {told}, and what came is {is}");
                Err(problem(StatusCode::UNPROCESSABLE_ENTITY, "digest", detail))
            }
        }
    }

    /// Does something with the upload on a thread that may wait for the store.
    async fn with<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Upload) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Problem> {
        let Some(upload) = self.upload.clone() else {
            return Err(Problem::unavailable("the upload is over"));
        };
        let done = tokio::task::spawn_blocking(move || f(&mut upload.lock())).await;
        match done {
            Ok(done) => Ok(done?),
            Err(error) => Err(Problem::unavailable(error.to_string())),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        // Without a runtime the server is ending, and the next start finds what is left.
        let Ok(runtime) = Handle::try_current() else { return };
        // A part of it may be on its way into the store.
        runtime.spawn_blocking(move || {
            let mut upload = upload.lock();
            if let Err(error) = upload.discard() {
                tracing::warn!("an upload that came to nothing is left to the sweep: {error}");
            }
        });
    }
}

/// Commits a file, or that there is none, and replies.
async fn commit(
    app: &Arc<App>,
    head: &request::Parts,
    place: &Place,
    received: Option<Arc<Received>>,
    staged: &mut Staged,
) -> Result<Response<Body>, Problem> {
    let busy = app.busy.read().await;
    let conditions = Conditions::of_write(&head.headers, &app.limits)?;
    let call = Call {
        app,
        method: head.method.clone(),
        uri: head.uri.clone(),
        headers: head.headers.clone(),
        body: Held::default(),
        exact: false,
        reader: Reader::of(&app.limits, &head.headers)?,
    };
    let manner = Manner::of(&call)?;
    let shows = prefers_representation(&head.headers) && received.is_some();
    let edit = match &received {
        Some(received) => Edit::File(received.clone()),
        None => Edit::Set(Value::Absent),
    };
    let of = place.clone();
    let decide = move |working: &Working<'_>, key: &_, doc: Option<&Arc<_>>| {
        let Some(doc) = doc else { return Ok(Some(Write::Read(Clone::clone(key)))) };
        conditions.check(working, &of, doc)?;
        Ok(Some(Write::Update(Clone::clone(key), vec![(of.slot, edit.clone())])))
    };
    let writes = vec![Write::Decide(place.key.clone(), Decision::new(decide))];
    // Whether the upload is a file now, as soon as that is known.
    let used = Arc::new(OnceLock::new());
    let tell = {
        let (used, place, received) = (used.clone(), place.clone(), received.clone());
        move |working: &Working<'_>, committed: &Committed| {
            let _ = used.set(committed.commit.is_some());
            told(working, committed, &place, received.as_deref(), shows)
        }
    };
    let (is_tried, wants) = (manner.is_dry_run(), if shows { Wants::results() } else { Wants::nothing() });
    let upload = staged.upload.take();
    let done = commit::carry_out(app, manner, Transaction { writes }, wants, Arc::new(tell)).await;
    drop(busy);
    let is_unused = match &done {
        Ok(_) => is_tried || used.get() == Some(&false),
        Err(problem) => is_tried || problem.status.is_client_error() || problem.code == SUPERSEDED,
    };
    if is_unused {
        staged.upload = upload;
    }
    done.map_err(|mut problem| {
        problem.errors.iter_mut().for_each(|refusal| refusal.write = None);
        problem
    })
}

/// What a write of a file tells.
fn told(
    working: &Working<'_>,
    committed: &Committed,
    place: &Place,
    received: Option<&Received>,
    shows: bool,
) -> Result<Told, EngineError> {
    let Some(received) = received else {
        return Ok(Told { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: None });
    };
    let change = committed.commit.iter().flat_map(|commit| &commit.changes).find(|it| it.key == place.key);
    let before = change.and_then(|change| change.before.as_ref());
    let is_new = before.is_some_and(|before| held(before, place.slot).is_none());
    let mut headers = Vec::new();
    if is_new {
        headers.push((header::LOCATION, path_of(working, place, None)?));
    }
    if let (true, Some(Some(shown))) = (shows, committed.results.last()) {
        let mut encoder = Encoder::of_results(working);
        encoder.result(&place.key, shown, None)?;
        headers.push((header::ETAG, etag(shown.doc.revision)));
        headers.push((header::CONTENT_LOCATION, path::canonical(working, &place.key, Some(&shown.doc))?));
        headers.push((HeaderName::from_static("preference-applied"), "return=representation".to_string()));
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        return Ok(Told { status, headers, body: Some(encoder.out) });
    }
    headers.extend(tag(&received.value()).map(|tag| (header::ETAG, tag)));
    let status = if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    Ok(Told { status, headers, body: None })
}

/// Is the resource wanted in the reply to a write?
fn prefers_representation(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    preferences
        .flat_map(|value| value.split(','))
        .any(|it| it.trim().eq_ignore_ascii_case("return=representation"))
}
