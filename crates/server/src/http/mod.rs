//! The REST face: routes, limits, and how a request becomes a reply.
//!
//! Reads run on one consistent state; writes become one transaction of the node. What a path names is the
//! business of [`crate::path`], JSON that of [`crate::json`], errors that of [`crate::problem`].

pub mod accept;
pub mod actor;
pub mod backup;
mod batch;
mod body;
mod by_query;
mod check;
mod commit;
mod dry_run;
mod expand;
mod explain;
pub mod files;
mod grants;
mod guard;
mod history;
mod hooks;
mod idempotency;
pub mod lines;
mod list;
pub mod log;
mod moves;
pub mod openapi;
pub mod params;
mod pipe;
mod processors;
pub(crate) mod reader;
pub(crate) mod records;
mod resource;
mod schema;
mod several;
mod sql;
mod steer;
mod system;
pub mod updates;
mod values;
mod watch;
mod why;
mod write;

pub use body::Bodies;
pub use hooks::follow;
pub(crate) use reader::{Reader, Reads, read};
pub(crate) use schema::tag;
pub use updates::Wait;
pub(crate) use values::{MAX_VALUES, held};
pub use write::{Conditions, fresh_id, taken};

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::IntoHeaderName;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use axum::routing::{any, get};
use corollary_engine::EngineError;
use corollary_engine::working::Working;
use smol_str::SmolStr;
use tokio::sync::{RwLock, Semaphore};
use tower::ServiceExt as _;

use body::Held;
use idempotency::Before;

use crate::hooks::Hooks;
use crate::json::encode::Encoder;
use crate::mounts::proxy::{self, Proxies};
use crate::node::Node;
use crate::path::{PREFIX, PathError};
use crate::problem::{Problem, SUPERSEDED};
use crate::review::ask::Reviews;
use crate::site::Site;

/// The header that carries the revision of a write.
pub const REVISION_HEADER: HeaderName = HeaderName::from_static("corollary-revision");

/// The header that says how often a read of resources asked the store; what is in the cache is not asked for.
pub const READS_HEADER: HeaderName = HeaderName::from_static("corollary-store-reads");

/// The header by which a request waits for a revision.
const AT_LEAST_HEADER: HeaderName = HeaderName::from_static("corollary-at-least");

/// What a request may be.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of a file; a field may have a lower limit of its own.
    pub file_bytes: u64,
    /// Bytes of a path.
    pub path_bytes: usize,
    /// Bytes of an expression: a filter, an order, what is expanded or shown, a condition as a tree.
    pub expression_bytes: usize,
    /// Writes of a batch, resources of a bulk POST.
    pub batch_writes: usize,
    /// How long a reply may take to begin. Who wants to wait for something is answered a moment before.
    pub time: Duration,
    /// How long whoever reads a long reply may take nothing of it; then it is broken off, and what it reads from let go.
    pub stall: Duration,
    /// Lists that are told [line by line](lines) at a time.
    pub lines: usize,
    /// Subscriptions of one WebSocket.
    pub subscriptions: usize,
    /// Has whoever replaces, patches or deletes a resource to say what is there (`If-Match`)?
    pub conditions: bool,
    /// The header in which a proxy says [who asks](actor).
    pub actor_header: Option<HeaderName>,
    /// The actors who may do everything, where others may do what grants say; without them everybody may.
    pub administrators: Option<Arc<[SmolStr]>>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_bytes: 8 << 20,
            file_bytes: 64 << 20,
            path_bytes: 8 << 10,
            expression_bytes: 16 << 10,
            batch_writes: 10_000,
            time: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            lines: 32,
            subscriptions: 1_000,
            conditions: false,
            actor_header: None,
            administrators: None,
        }
    }
}

impl Limits {
    /// Refuses a path that is too long.
    pub fn check_path(&self, path: &str) -> Result<(), Problem> {
        if path.len() <= self.path_bytes {
            return Ok(());
        }
        Err(Problem::malformed("path", format!("a path has at most {} bytes", self.path_bytes)))
    }

    /// How long a request may wait for something: it has a reply before its time is up.
    pub fn waiting(&self) -> Duration {
        self.time - self.time / 20
    }
}

/// What all requests share.
pub struct App {
    /// The node.
    pub node: Arc<Node>,
    /// The limits.
    pub limits: Limits,
    /// Room for bodies.
    pub bodies: Arc<Bodies>,
    /// Where tables in SQL are, where there are any.
    pub sql: Option<Arc<crate::sql::Place>>,
    /// Room for [backups](backup).
    pub backups: Arc<Semaphore>,
    /// Room for lists that are told [line by line](lines).
    pub lines: Arc<Semaphore>,
    /// The way to other servers.
    pub proxies: Arc<Proxies>,
    /// Who is told of changes by HTTP.
    pub hooks: Arc<Hooks>,
    /// Who is asked before writes.
    pub reviews: Arc<Reviews>,
    /// The text of the schema.
    pub schema_text: String,
    /// Whose turn it is to look for what is wrong.
    pub checking: Arc<tokio::sync::Mutex<()>>,
    /// Held by each request as long as it needs this version.
    pub busy: RwLock<()>,
}

impl App {
    /// The same with another node, which has another schema.
    pub fn with(&self, node: Arc<Node>, schema_text: String) -> App {
        let (limits, bodies, checking) = (self.limits.clone(), self.bodies.clone(), self.checking.clone());
        let (backups, lines, sql) = (self.backups.clone(), self.lines.clone(), self.sql.clone());
        let (proxies, hooks, reviews) = (self.proxies.clone(), self.hooks.clone(), self.reviews.clone());
        App {
            node,
            limits,
            bodies,
            sql,
            backups,
            lines,
            proxies,
            hooks,
            reviews,
            schema_text,
            checking,
            busy: RwLock::default(),
        }
    }
}

/// All routes of the API.
///
/// Most requests are for resources, and what their paths mean is found by [`crate::path`]: they are told by their first letters. The
/// rest goes through a router.
pub struct Routes {
    site: Site,
    rest: Router,
}

impl Routes {
    /// Of what is served; `more` adds those that are not the API's.
    pub fn new(site: Site, more: impl FnOnce(Router) -> Router) -> Routes {
        Routes { rest: more(router(site.clone())), site }
    }

    /// The reply to a request.
    pub async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        if path == "/healthz" && matches!(*request.method(), Method::GET | Method::HEAD) {
            return system::alive().await;
        }
        let face = match path.strip_prefix("/api/") {
            Some("_batch") => Some(Face::Batch),
            Some(path) if !path.is_empty() && !path.starts_with('_') => Some(Face::Resources),
            _ => None,
        };
        match face {
            // On the heap, so that it is not moved again and again on the way to the connection.
            Some(face) => Box::pin(answer(face, self.site.clone(), request)).await,
            None => Box::pin(self.others(request)).await,
        }
    }
}

/// What is there for everybody, of all that is for no resource: who is not served it has nothing to lose by it. The rest is for
/// administrators, or asks who may by itself.
const OPEN: [&str; 5] = ["/healthz", "/readyz", "/metrics", "/docs", "/api/_watch"];

impl Routes {
    /// Refuses what is for administrators.
    fn admit(&self, request: &Request<Body>) -> Result<(), Problem> {
        let path = request.uri().path();
        let answered = ["/api/_batch", "/api/_log", "/api/_move"];
        if OPEN.contains(&path) || answered.contains(&path) {
            return Ok(());
        }
        let limits = &self.site.current().limits;
        Reader::of(limits, request.headers())?.administers("this")
    }

    /// What is for no resource.
    async fn others(&self, request: Request<Body>) -> Response<Body> {
        if let Err(problem) = self.admit(&request) {
            return problem.response();
        }
        let is_api = request.uri().path().starts_with(PREFIX);
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let accepted = request.headers().get(header::ACCEPT).is_some().then(|| request.headers().clone());
        let accepted = accepted.filter(|_| is_api);
        if let (Some(accepted), false) = (&accepted, reads)
            && let Err(problem) = accept::check(accepted, &[accept::JSON, lines::CONTENT_TYPE])
        {
            return problem.response();
        }
        let Ok(response) = self.rest.clone().oneshot(request).await;
        match accepted.filter(|_| reads) {
            Some(accepted) => accept::checked(&accepted, response),
            None => response,
        }
    }
}

/// The routes, one by one.
fn router(site: Site) -> Router {
    Router::new()
        .route("/healthz", get(system::alive))
        .route("/readyz", get(system::ready))
        .route("/api", get(system::index))
        .route("/api/", get(system::index))
        .route("/api/_schema", any(schema::serve))
        .route("/api/_schema/plan", any(schema::plan))
        .route("/api/_features", get(system::features))
        .route("/api/_openapi.json", get(system::openapi))
        .route("/api/_sql", get(sql::handle))
        .route("/api/_backup", get(backup::handle))
        .route("/api/_batch", any(|State(site), request| answer(Face::Batch, site, request)))
        .route("/api/_check", any(check::handle))
        .route("/api/_grants", any(grants::handle))
        .route("/api/_grants/{*rest}", any(grants::handle))
        .route("/api/_hooks", any(hooks::handle))
        .route("/api/_hooks/{*rest}", any(hooks::handle))
        .route("/api/_log", any(|State(site), request| answer(Face::Log, site, request)))
        .route("/api/_move", any(|State(site), request| answer(Face::Moves, site, request)))
        .route("/api/_processors", any(processors::handle))
        .route("/api/_processors/{*rest}", any(processors::handle))
        .route("/api/_watch", any(watch::socket))
        .route("/api/_updates", any(updates::list))
        .route("/api/_updates/{id}", any(updates::one))
        .route("/api/{*path}", any(|State(site), request| answer(Face::Resources, site, request)))
        .fallback(|| async { Problem::not_found("the API is under /api").response() })
        .method_not_allowed_fallback(|| async { Problem::not_allowed("GET,HEAD").response() })
        .with_state(site)
}

/// One request for a resource or a list, its body read.
pub(crate) struct Call<'a> {
    pub app: &'a Arc<App>,
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Held,
    /// Is nothing to be shown that may be behind?
    pub exact: bool,
    /// Who asks.
    pub reader: Reader,
}

impl Call<'_> {
    /// What is read, for who asks.
    pub(crate) fn reads(&self) -> Reads<'_> {
        Reads { engine: self.app.node.engine(), reader: &self.reader }
    }

    /// What writes the reply to a read.
    pub(crate) fn encoder<'w, 'a>(&self, working: &'w Working<'a>) -> Encoder<'w, 'a> {
        match (working.is_past(), self.exact) {
            (true, _) => Encoder::past(working),
            (false, true) => Encoder::exact(working),
            (false, false) => Encoder::new(working),
        }
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    Resources,
    Batch,
    Moves,
    Log,
}

/// Answers a request by the version that is served; by the next one, where it finds that this one is gone before it has done
/// anything.
///
/// What is rare lies on the heap, here and below: a future has room for all that it may come to wait for, and is moved whole, by each that
/// waits for it.
async fn answer(face: Face, site: Site, request: Request<Body>) -> Response<Body> {
    let reply = async {
        let (head, sent) = request.into_parts();
        if matches!(face, Face::Batch | Face::Moves) && head.method != Method::POST {
            return Err(Problem::not_allowed("POST"));
        }
        let mut app = site.current();
        app.limits.check_path(head.uri.path())?;
        // The server itself asks for what it tells hooks.
        let reader = match head.extensions.get::<Reader>() {
            Some(reader) => reader.clone(),
            None => Reader::of(&app.limits, &head.headers)?,
        };
        match face {
            Face::Resources | Face::Batch | Face::Moves => {}
            Face::Log => reader.administers("the log")?,
        }
        if face == Face::Resources
            && let Some(mount) = proxy::at(app.node.engine().schema(), head.uri.path())
        {
            reader.administers("what another server has")?;
            return Box::pin(proxy::forward(&app.proxies, app.limits.waiting(), &mount, &head, sent)).await;
        }
        check_headers(&head.headers, &app).await?;
        match face {
            Face::Resources | Face::Log => {}
            Face::Batch => {
                commit::check_parameters(head.uri.query(), "a batch takes its items in its body")?;
            }
            Face::Moves => commit::check_parameters(head.uri.query(), "a move is told in the body")?,
        }
        let exact = updates::is_exact(&head.headers)?;
        let sent = match face {
            Face::Resources => match files::answer(&site, &head, sent, &reader).await {
                files::Answer::Reply(reply) => return reply,
                files::Answer::NoFile(sent) => sent,
            },
            _ => sent,
        };
        match (face, &head.method) {
            (Face::Resources | Face::Log, &Method::GET | &Method::HEAD) => {
                accept::check(&head.headers, accept::READS)?;
            }
            // It has nothing to tell.
            (_, &Method::DELETE) => {}
            _ => accept::check(&head.headers, &[accept::JSON])?,
        }
        let body = match head.method {
            Method::GET | Method::HEAD | Method::DELETE => Held::default(),
            _ => {
                body::check_coding(&head.headers)?;
                body::read(sent, &app).await?
            }
        };
        let (mut method, mut uri, mut headers, mut body) = (head.method, head.uri, head.headers, body);
        loop {
            let call = Call { app: &app, method, uri, headers, body, exact, reader: reader.clone() };
            let busy = app.busy.read().await;
            let outcome = match idempotency::before(&call) {
                Err(problem) => Err(problem),
                Ok(Before::Served(reply)) => Ok(reply),
                Ok(Before::Nothing(keyed)) => {
                    let outcome = match face {
                        Face::Resources => resource::serve(&call).await,
                        Face::Batch => batch::serve(&call).await,
                        Face::Moves => Box::pin(moves::serve(&call)).await,
                        Face::Log => log::serve(&call, &site),
                    };
                    idempotency::behind(&call, keyed.as_ref(), outcome)
                }
            };
            drop(busy);
            let is_gone = match &outcome {
                Err(problem) if problem.code == SUPERSEDED => true,
                // A read that waited for the executor.
                Err(problem) => {
                    let reads = matches!(call.method, Method::GET | Method::HEAD);
                    reads && problem.status == StatusCode::SERVICE_UNAVAILABLE && app.node.is_replaced()
                }
                Ok(_) => false,
            };
            if !is_gone || !site.next(&app).await {
                return outcome;
            }
            Call { method, uri, headers, body, .. } = call;
            app = site.current();
        }
    };
    reply.await.unwrap_or_else(|problem: Problem| problem.response())
}

/// Headers that ask for something: what cannot be done is refused, not passed over.
pub(crate) async fn check_headers(headers: &HeaderMap, app: &App) -> Result<(), Problem> {
    if let Some(value) = headers.get(AT_LEAST_HEADER) {
        let wanted: Option<u64> = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        let wanted = wanted
            .ok_or_else(|| Problem::malformed("corollary-at-least", "`Corollary-At-Least` is a revision"))?;
        updates::at_least(app, wanted).await?;
    }
    Ok(())
}

/// Why a read gives no reply.
pub(crate) enum Fault {
    /// The engine's error, which it may have to see itself.
    Engine(EngineError),
    /// Something to tell.
    Problem(Box<Problem>),
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Fault {
        Fault::Engine(error)
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        Fault::Problem(Box::new(problem))
    }
}

impl From<PathError> for Fault {
    fn from(error: PathError) -> Fault {
        match error {
            PathError::Engine(error) => Fault::Engine(error),
            error => Problem::from(error).into(),
        }
    }
}

/// A reply with JSON in it.
pub(crate) fn json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Adds a header whose value is made of letters and digits.
pub(crate) fn with_header(
    mut response: Response<Body>,
    name: impl IntoHeaderName,
    value: &str,
) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The entity tag of a revision.
pub(crate) fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

/// The revisions that an entity tag header names in all of its lines, the inner none where it is `*`; nothing where it is not
/// there.
pub(crate) fn etags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Option<Vec<u64>>>, Problem> {
    if !headers.contains_key(&name) {
        return Ok(None);
    }
    let mut revisions = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(Some(None));
        }
        for tag in text.split(',') {
            let tag = tag.trim();
            let tag = tag.strip_prefix("W/").unwrap_or(tag);
            let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let Some(inner) = inner else {
                let detail = format!("`{tag}` is no entity tag: write it as \"123\"");
                return Err(Problem::malformed("etag", detail));
            };
            // A tag that this server cannot have made, such as "+7", matches nothing.
            let revision = inner.parse().ok().filter(|revision: &u64| revision.to_string() == inner);
            revisions.push(revision.unwrap_or(u64::MAX));
        }
    }
    Ok(Some(Some(revisions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"+7"` and `"007"` were read as revision 7, though no server writes it so.
    #[test]
    fn a_tag_that_is_none_of_this_server_matches_nothing() {
        let revisions = |text: &str| {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, text.parse().unwrap())]);
            etags(&headers, header::IF_MATCH)
        };
        assert_eq!(revisions("\"7\", \"0\"").unwrap(), Some(Some(vec![7, 0])));
        assert_eq!(revisions("\"+7\", \"007\", \"\", \"x\"").unwrap(), Some(Some(vec![u64::MAX; 4])));
        assert_eq!(revisions("*").unwrap(), Some(None));
        assert!(revisions("7").is_err());
    }
}
