//! `POST /api/_check`: looks for what does not follow from the facts while the server serves, and mends it by updates.
//!
//! What is found is told line by line as it is found (NDJSON); the last line says what was looked at, which updates mend
//! it, and what has to be built with the server stopped. An audit ([`corollary_engine::audit`]) reads over snapshots of
//! its own, on a thread of its own, so writers and readers go on; there is one at a time, and who hangs up ends it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use corollary_engine::audit::{Audit, Finding};
use corollary_engine::entries::MENDED_TOGETHER;
use corollary_engine::rebuild::{Structure, with_dependents};
use corollary_engine::repair::{Apart, Cure, Cures, MAX_ROWS};
use corollary_engine::{Engine, EngineError, UpdateId, catalog, side_state};
use corollary_schema::Schema;
use futures_util::StreamExt;
use serde_json::{Map, Value as Json, json};
use tokio::runtime::Handle;
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::{App, why};
use crate::node::Node;
use crate::path;
use crate::problem::Problem;

/// Findings that are told one by one; the rest is counted.
const MAX_TOLD: u64 = 1_000;

/// Lines that wait for a client that reads slowly; then the audit waits, too.
const QUEUE_LINES: usize = 64;

/// Bytes of decoded documents in memory while the rows that are wrong are listed, about.
const CACHE_BYTES: usize = 64 << 20;

/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// The members of the object that says what is to be done.
const MEMBERS: [&str; 2] = ["repair", "sample"];

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    /// Is what is wrong to be mended?
    repair: bool,
    /// Values of about so many resources of each type, and nothing beside them; all without it.
    sample: Option<usize>,
}

/// `POST /api/_check`.
pub async fn handle(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    serve(app, request).await.unwrap_or_else(|problem| problem.response())
}

async fn serve(app: Arc<App>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    if *request.method() != Method::POST {
        return Err(Problem::not_allowed("POST"));
    }
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
        let detail = format!("a check takes no parameters, and `{query}` is one");
        return Err(Problem::malformed("parameter", detail));
    }
    let body = super::body::read(request.into_body(), &app).await?;
    let wanted = wanted(&body)?;
    let turn = app.checking.clone().try_lock_owned().map_err(|_| {
        let detail = "a check is running already; there is one at a time";
        Problem::new(StatusCode::CONFLICT, "checking", detail)
    })?;
    let (lines, told) = mpsc::channel(QUEUE_LINES);
    let node = app.node.clone();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || run(&node, wanted, &Lines(lines), &runtime, turn));
    let parts = tokio_stream(told).map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(parts));
    let ndjson = header::HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
    Ok(response)
}

fn tokio_stream(lines: mpsc::Receiver<Bytes>) -> impl futures_util::Stream<Item = Bytes> {
    futures_util::stream::unfold(lines, |mut lines| async move { Some((lines.recv().await?, lines)) })
}

fn wanted(body: &[u8]) -> Result<Wanted, Problem> {
    if body.is_empty() {
        return Ok(Wanted::default());
    }
    let json: Json = serde_json::from_slice(body)
        .map_err(|error| Problem::malformed("json", format!("the body is no JSON: {error}")))?;
    let Json::Object(members) = json else {
        return Err(Problem::malformed("json", "the body is not a JSON object"));
    };
    let invalid = |detail: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail);
    let mut wanted = Wanted::default();
    for (name, value) in &members {
        match (name.as_str(), value) {
            ("repair", Json::Bool(repair)) => wanted.repair = *repair,
            ("sample", Json::Null) => wanted.sample = None,
            ("sample", value) => {
                let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
                let number = number.filter(|number| *number > 0);
                let number = number.ok_or_else(|| {
                    invalid(format!("`sample` is a number from 1 on, or null, not {value}"))
                })?;
                wanted.sample = Some(number);
            }
            ("repair", value) => return Err(invalid(format!("`repair` is true or false, not {value}"))),
            (name, _) => {
                let near = corollary_syntax::nearest(name, MEMBERS);
                let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(invalid(format!("there is `repair` and `sample`, and no `{name}`{help}")));
            }
        }
    }
    Ok(wanted)
}

/// The way to the client.
struct Lines(mpsc::Sender<Bytes>);

impl Lines {
    /// Tells a line; false where nobody reads any more.
    fn tell(&self, line: &Json) -> bool {
        self.0.blocking_send(Bytes::from(format!("{line}\n"))).is_ok()
    }
}

/// Looks, tells, and mends; the turn is given back at the end.
fn run(node: &Arc<Node>, wanted: Wanted, lines: &Lines, runtime: &Handle, turn: OwnedMutexGuard<()>) {
    let outcome = audit(node, wanted, lines, runtime);
    if let Err(error) = outcome {
        // Whoever asked may be gone.
        lines.tell(&json!({ "event": "failed", "detail": error.to_string() }));
    }
    drop(turn);
}

fn audit(node: &Arc<Node>, wanted: Wanted, lines: &Lines, runtime: &Handle) -> Result<(), EngineError> {
    let engine = node.engine();
    let Some(audit) = look(node, wanted, lines, MAX_TOLD)? else { return Ok(()) };
    let mut end = json!({
        "event": "end",
        "resources": audit.resources,
        "values": audit.values,
        "pending": audit.pending,
        "findings": audit.findings,
    });
    let schema = engine.schema();
    let mut apart = Cures::of(schema).apart(&audit.wrong);
    if wanted.repair {
        let mut mended = match mend_rows(node, &mut apart, runtime)? {
            Ok(mended) => mended,
            Err(problem) => return gave_up(lines, &problem),
        };
        if !mended.is_empty() && !apart.holds_values_up() {
            // What was computed by way of them may be wrong only now, or be right again.
            let Some(again) = look(node, wanted, lines, 0)? else { return Ok(()) };
            apart = Apart { rows: Vec::new(), ..Cures::of(schema).apart(&again.wrong) };
        }
        if wanted.sample.is_some() {
            // Where not all was looked at, what is made of a wrong value may be wrong as well.
            let nodes = apart.nodes.iter().map(|at| Structure::Definition(schema.plan.nodes[*at].definition));
            let wrong = with_dependents(schema, &nodes.collect());
            apart.nodes = Cures::of(schema).apart(&wrong).nodes;
        }
        if !audit.faults.is_empty() {
            match runtime.block_on(node.mend_files(audit.faults)) {
                Ok(count) => drop(mended.insert("files".into(), count.into())),
                Err(problem) => return gave_up(lines, &problem),
            }
        }
        let nodes = if apart.holds_values_up() { Vec::new() } else { std::mem::take(&mut apart.nodes) };
        let ids = match runtime.block_on(node.repair(nodes)) {
            Ok(ids) => ids,
            Err(problem) => return gave_up(lines, &problem),
        };
        end["mended_rows"] = Json::Object(mended);
        end["updates"] = ids.iter().map(UpdateId::to_string).collect();
    }
    end["to_build"] = to_build(schema, &apart).into();
    lines.tell(&end);
    Ok(())
}

/// Looks at everything, and tells so many findings; none where nobody listens any more.
fn look(node: &Node, wanted: Wanted, lines: &Lines, most: u64) -> Result<Option<Audit>, EngineError> {
    let engine = node.engine();
    let mut audit = Audit::new(engine.clone(), wanted.sample)?;
    let (mut told, mut last) = (0, Instant::now());
    while let Some(findings) = audit.step()? {
        // What is stored is read by a schema that it may not have any more.
        if node.is_replaced() {
            return Err(EngineError::Superseded);
        }
        for finding in findings {
            told += 1;
            if told <= most && !lines.tell(&shown(engine, &finding)?) {
                return Ok(None);
            }
        }
        if last.elapsed() >= TELL_EVERY {
            last = Instant::now();
            let (done, of) = audit.progress();
            let line = json!({ "event": "progress", "done": done, "of": of, "resources": audit.resources });
            if !lines.tell(&line) {
                return Ok(None);
            }
        }
    }
    Ok(Some(audit))
}

fn gave_up(lines: &Lines, problem: &Problem) -> Result<(), EngineError> {
    lines.tell(&json!({ "event": "failed", "detail": problem.detail }));
    Ok(())
}

/// Mends the rows that are wrong of what is mended row by row; tells how many of what. What has too many is to be built.
fn mend_rows(
    node: &Arc<Node>,
    apart: &mut Apart,
    runtime: &Handle,
) -> Result<Result<Map<String, Json>, Problem>, EngineError> {
    let engine = node.engine();
    let mut mended = Map::new();
    for structure in apart.rows.clone() {
        let wrong =
            engine.alone(CACHE_BYTES, |working| side_state::wrong_rows(working, structure, MAX_ROWS))?;
        let Some(wrong) = wrong else {
            apart.build_instead(structure);
            continue;
        };
        for rows in wrong.chunks(MENDED_TOGETHER) {
            if let Err(problem) = runtime.block_on(node.mend(structure, rows.to_vec())) {
                return Ok(Err(problem));
            }
        }
        mended.insert(catalog::describe(engine.schema(), structure), wrong.len().into());
    }
    Ok(Ok(mended))
}

/// What has to be built with nobody at work, and why.
fn to_build(schema: &Schema, apart: &Apart) -> Vec<Json> {
    let cures = Cures::of(schema);
    let build = apart.build.iter().map(|structure| {
        let why = match cures.of_one(*structure) {
            Cure::Build(why) => why.to_string(),
            Cure::Rows => format!("more than {MAX_ROWS} of its rows are wrong"),
            Cure::Update(_) => "what it is computed by way of has to be built first".to_string(),
        };
        json!({
            "what": catalog::describe(schema, *structure),
            "why": why,
            "how": "stop the server and run `corollary check --repair`",
        })
    });
    build.collect()
}

/// What was found, as a line.
fn shown(engine: &Engine, finding: &Finding) -> Result<Json, EngineError> {
    let schema = engine.schema();
    Ok(match finding {
        Finding::Value(it) => {
            let (ty, field) = (schema.ty(it.key.ty), schema.field(it.field));
            let (place, stored, expected) = engine.alone(0, |working| {
                // It may be gone by now.
                let place = path::canonical(working, &it.key, None).ok();
                let stored = why::value(working, it.field, &it.stored);
                // What was tampered with may be no value of the field.
                let stored = stored.unwrap_or_else(|_| it.stored.to_string().into());
                Ok((place, stored, why::value(working, it.field, &it.expected)?))
            })?;
            json!({
                "event": "found",
                "type": ty.name.as_str(),
                "field": field.name.trim_start_matches('#'),
                "_id": it.key.id.to_string(),
                "_self": place,
                "stored": stored,
                "expected": expected,
            })
        }
        Finding::Kept(structure, message) => json!({
            "event": "found",
            "what": catalog::describe(schema, *structure),
            "detail": message,
        }),
        Finding::File(fault) => json!({
            "event": "found",
            "what": "files",
            "detail": fault.message,
            "can_be_mended": fault.can_be_mended(),
        }),
        Finding::Past(message) => {
            json!({ "event": "found", "what": "what is kept of the past", "detail": message })
        }
    })
}
