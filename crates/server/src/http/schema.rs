//! `/api/_schema`: the schema as it is; another one, applied while the data is served, or only looked at (`_schema/plan`).

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use corollary_engine::Refusal;
use corollary_engine::catalog::plan::{Class, Planned};
use corollary_syntax::diagnostic::{Diagnostic, Severity};
use corollary_syntax::{LineIndex, is_json, json_to_schema, schema_to_json};
use foldhash::fast::FixedState;
use serde_json::{Value as Json, json};
use std::hash::BuildHasher as _;

use super::{App, REVISION_HEADER, body, check_headers, json, with_header};
use crate::problem::Problem;
use crate::site::{Site, Unserved};

/// What a body may be.
const KINDS: [&str; 3] = ["text/plain", "application/json", "application/vnd.corollary.schema"];

/// The tag of a schema: of its text, whatever the revision.
pub(crate) fn tag(text: &str) -> String {
    format!("\"s{:016x}\"", FixedState::default().hash_one(text))
}

/// Shows the schema, or has another one take its place.
pub async fn serve(State(site): State<Site>, request: Request<Body>) -> Response<Body> {
    let reply = match *request.method() {
        Method::GET | Method::HEAD => Ok(shown_now(&site.current())),
        Method::PUT => apply(&site, request).await,
        _ => Err(Problem::not_allowed("GET, PUT")),
    };
    reply.unwrap_or_else(|problem: Problem| problem.response())
}

/// The schema: as it was written, and as a tree.
fn shown_now(app: &App) -> Response<Body> {
    let (name, text) = (json!(app.node.engine().schema().name.as_str()), json!(app.schema_text));
    // What is served was checked, so it has a form; it may nest deeper than other JSON, so it goes out as it is.
    let form = schema_to_json(&app.schema_text).unwrap_or_else(|_| "null".into());
    let shown = format!("{{\"name\":{name},\"text\":{text},\"json\":{}}}", form.trim_end());
    with_header(json(StatusCode::OK, shown), "etag", &tag(&app.schema_text))
}

/// Tells what a schema would change.
pub async fn plan(State(site): State<Site>, request: Request<Body>) -> Response<Body> {
    let reply = async {
        if request.method() != Method::POST {
            return Err(Problem::not_allowed("POST"));
        }
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Err(Problem::malformed("parameter", "a plan takes no parameters"));
        }
        let (_, text) = sent(&site, request).await?;
        let planned = site.plan(text).await.map_err(problem)?;
        Ok(json(StatusCode::OK, shown(&planned).to_string()))
    };
    reply.await.unwrap_or_else(|problem: Problem| problem.response())
}

async fn apply(site: &Site, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let dry_run = is_dry_run(request.uri().query())?;
    let (headers, text) = sent(site, request).await?;
    let planned = site.plan(text.clone()).await.map_err(problem)?;
    let mut told = shown(&planned);
    if dry_run {
        told["applied"] = json!(false);
        return Ok(json(StatusCode::OK, told.to_string()));
    }
    let expected = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok()).map(str::to_string);
    let applied = site.change(text, expected).await.map_err(problem)?;
    told["applied"] = json!(applied);
    let app = site.current();
    let engine = app.node.engine();
    let updates: Vec<Json> =
        engine.updates_to_tell().open.iter().map(|update| json!(update.record.id.to_string())).collect();
    told["updates"] = json!(updates);
    let reply = with_header(json(StatusCode::OK, told.to_string()), "etag", &tag(&app.schema_text));
    Ok(with_header(reply, REVISION_HEADER, &engine.revision().to_string()))
}

/// The schema that a request has, as text: it may be given as that, as its JSON form, or as `GET /api/_schema` shows it.
async fn sent(site: &Site, request: Request<Body>) -> Result<(HeaderMap, String), Problem> {
    let (head, body) = request.into_parts();
    let app = site.current();
    check_headers(&head.headers, &app).await?;
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase());
    if kind.as_ref().is_some_and(|kind| !KINDS.contains(&kind.as_str())) {
        let detail = format!("a schema is one of {}", KINDS.join(", "));
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
    }
    let body = body::read(body, &app).await?;
    let text = std::str::from_utf8(&body)
        .map_err(|error| Problem::malformed("body", format!("the schema is not UTF-8: {error}")))?;
    if text.trim().is_empty() {
        return Err(Problem::malformed("body", "the body is a schema, and this is empty"));
    }
    let text = match (is_json(text), kind.as_deref()) {
        (false, Some("application/json")) => {
            return Err(Problem::malformed("json", "the body is not JSON; a schema's text is `text/plain`"));
        }
        (false, _) => text.to_string(),
        (true, _) => match serde_json::from_str::<Json>(text) {
            Ok(Json::Object(shown)) if shown.get("text").is_some_and(Json::is_string) => {
                shown["text"].as_str().unwrap_or_default().to_string()
            }
            // What is wrong with it is told with its place in the JSON.
            _ => json_to_schema(text).map_err(|mistakes| mistaken(&mistakes, text))?,
        },
    };
    Ok((head.headers, text))
}

/// What a change does, as JSON.
fn shown(planned: &Planned) -> Json {
    let changes: Vec<Json> = planned
        .changes
        .iter()
        .map(|change| json!({"class": change.class.name(), "of": change.of.as_str(), "what": change.what}))
        .collect();
    let is_same = planned.class() == Class::Same && planned.build.is_empty() && planned.fill.is_empty();
    json!({
        "class": planned.class().name(),
        "changes": changes,
        "fill": planned.fill,
        "build": planned.build,
        "refused": planned.refused,
        "same": is_same,
    })
}

fn problem(unserved: Unserved) -> Problem {
    match unserved {
        Unserved::Mistakes(mistakes, text) => mistaken(&mistakes, &text),
        Unserved::Unfit(reasons) => {
            let errors =
                reasons.iter().map(|reason| Refusal::new("schema-unfit", None, reason.clone())).collect();
            let detail =
                format!("the data does not fit the schema, and nothing was changed: {}", reasons.join("; "));
            Problem { errors, ..Problem::new(StatusCode::CONFLICT, "schema-unfit", detail) }
        }
        Unserved::Another(tag) => {
            let detail = format!("the schema that is served has the tag {tag}");
            Problem::new(StatusCode::PRECONDITION_FAILED, "precondition", detail)
        }
        Unserved::Failed(why) => Problem::unavailable(why),
    }
}

/// Mistakes in a schema, each with line and column.
fn mistaken(mistakes: &[Diagnostic], text: &str) -> Problem {
    let lines = LineIndex::new(text);
    let errors: Vec<Refusal> = mistakes
        .iter()
        .filter(|mistake| mistake.severity == Severity::Error)
        .map(|mistake| {
            let (line, column) = lines.line_column(mistake.span.start);
            let help = mistake.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
            let message = format!("line {line}, column {column}: {}{help}", mistake.message);
            Refusal::new(mistake.code, None, message)
        })
        .collect();
    let detail = match errors.as_slice() {
        [one] => one.message.clone(),
        errors => format!("the schema has {} mistakes", errors.len()),
    };
    Problem { errors, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "schema", detail) }
}

fn is_dry_run(query: Option<&str>) -> Result<bool, Problem> {
    let mut dry_run = false;
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        dry_run = match (&*name, &*value) {
            ("dry_run", "true" | "1" | "") => true,
            ("dry_run", "false" | "0") => false,
            _ => {
                let detail =
                    format!("`dry_run=true` is the only parameter here, and `{name}={value}` is not that");
                return Err(Problem::malformed("parameter", detail));
            }
        };
    }
    Ok(dry_run)
}
