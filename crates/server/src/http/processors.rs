//! Processors over HTTP: `/api/_processors`. What they do with writes is the engine's business
//! ([`corollary_engine::processors`]).
//!
//! | request | what it does |
//! |---|---|
//! | `GET /api/_processors`, `GET …/ID` | the line, in its order |
//! | `POST /api/_processors`, `PUT …/ID`, `PATCH …/ID`, `DELETE …/ID` | declare, change, remove |

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode};
use corollary_engine::processors::{MAX_PROCESSORS, PROCESSOR};
use corollary_engine::records::Records;
use corollary_engine::{EngineError, Refusal};
use corollary_schema::Schema;
use corollary_schema::processors::{OPERATIONS, check_rule, selected};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;
use tokio::task::block_in_place;

use super::records::{merged, no_content, no_parameters, object, read_id, wrong};
use super::{App, json, with_header};
use crate::path::PREFIX;
use crate::problem::Problem;
use crate::review::webhook::Webhook;

/// Bytes of a rule.
const MAX_RULE: usize = 16 << 10;

/// The place of one in the line that says nothing of it.
const ORDER: i64 = 100;

const MEMBERS: [&str; 8] = ["_id", "on", "order", "path", "paused", "rule", "type", "webhook"];

/// Serves `/api/_processors` and all below.
pub async fn handle(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    serve(app, request).await.unwrap_or_else(|problem| problem.response())
}

async fn serve(app: Arc<App>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let (head, sent) = request.into_parts();
    let below = head.uri.path().strip_prefix(PREFIX).and_then(|path| path.strip_prefix("/_processors"));
    let segments: Vec<&str> =
        below.unwrap_or_default().split('/').filter(|segment| !segment.is_empty()).collect();
    no_parameters(head.uri.query())?;
    match (&segments[..], &head.method) {
        ([], &Method::GET | &Method::HEAD) => list(&app),
        ([], &Method::POST) => declare(&app, object(sent, &app).await?, None).await,
        ([], _) => Err(Problem::not_allowed("GET,HEAD,POST")),
        ([id], &Method::GET | &Method::HEAD) => {
            Ok(json(StatusCode::OK, shown(&app, &load(&app, id)?, false).to_string()))
        }
        ([id], &Method::PUT) => declare(&app, object(sent, &app).await?, Some(id)).await,
        ([id], &Method::PATCH) => patch(&app, id, object(sent, &app).await?).await,
        ([id], &Method::DELETE) => remove(&app, id).await,
        ([_], _) => Err(Problem::not_allowed("DELETE,GET,HEAD,PATCH,PUT")),
        _ => Err(Problem::not_found("behind a processor there is nothing")),
    }
}

fn none(id: &str) -> Problem {
    Problem::not_found(format!("there is no processor `{id}`"))
}

fn decoded(bytes: &[u8]) -> Result<Map<String, Json>, EngineError> {
    serde_json::from_slice(bytes).map_err(|error| EngineError::Corrupt(format!("a processor: {error}")))
}

fn load(app: &App, id: &str) -> Result<Map<String, Json>, Problem> {
    let engine = app.node.engine();
    let found = block_in_place(|| {
        engine.records(Timestamp::now(), |records| {
            records.get(PROCESSOR, id.as_bytes())?.map(|bytes| decoded(&bytes)).transpose()
        })
    })?;
    found.ok_or_else(|| none(id))
}

fn list(app: &App) -> Result<Response<Body>, Problem> {
    let rows = block_in_place(|| {
        app.node
            .engine()
            .records(Timestamp::now(), |records| records.list(PROCESSOR, &[], None, MAX_PROCESSORS))
    })?;
    let mut line = rows.iter().map(|(_, bytes)| decoded(bytes)).collect::<Result<Vec<_>, _>>()?;
    // As writes pass them; those of one place by their ids.
    line.sort_by_key(|declared| declared["order"].as_i64());
    let results: Vec<Json> = line.iter().map(|declared| shown(app, declared, false)).collect();
    Ok(json(StatusCode::OK, json!({ "results": results }).to_string()))
}

/// One as it is shown: as it was declared, and whether it fits the schema; the secret of a webhook only where it is to be.
fn shown(app: &App, declared: &Map<String, Json>, secret: bool) -> Json {
    let mut shown = declared.clone();
    let id = declared["_id"].as_str().unwrap_or_default();
    shown.insert("_self".into(), format!("{PREFIX}/_processors/{id}").into());
    let errors = misfits(app.node.engine().schema(), declared);
    let status = match () {
        () if declared["paused"] == json!(true) => "paused",
        () if errors.is_empty() => "active",
        () => "unfit",
    };
    shown.insert("status".into(), status.into());
    if let Some(webhook) = Webhook::kept(&declared["webhook"]) {
        shown.insert("webhook".into(), webhook.to_json(secret));
    }
    // One of the two says what it does.
    shown.retain(|_, value| !value.is_null());
    if let Some(error) = errors.first() {
        shown.insert("error".into(), error.message.as_str().into());
    }
    Json::Object(shown)
}

/// What does not fit the schema.
fn misfits(schema: &Schema, declared: &Map<String, Json>) -> Vec<Refusal> {
    let mut errors = Vec::new();
    let ty = match (declared["path"].as_str(), declared["type"].as_str()) {
        (Some(path), _) => match selected(schema, path) {
            Ok(selected) => selected.ty,
            Err(why) => {
                wrong(&mut errors, "path", "path", why);
                return errors;
            }
        },
        (None, name) => {
            let name = name.unwrap_or_default();
            let found = schema.type_named(name).filter(|ty| schema.ty(*ty).visible());
            let Some(ty) = found else {
                let names = schema.types().filter(|(_, ty)| ty.visible()).map(|(_, ty)| ty.name.as_str());
                let help =
                    nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                wrong(&mut errors, "unknown-type", "type", format!("there is no type `{name}`{help}"));
                return errors;
            };
            ty
        }
    };
    let Some(text) = declared["rule"].as_str() else { return errors };
    if let Err(found) = check_rule(schema, ty, text) {
        for Diagnostic { message, span, help, .. } in found {
            let before = text.get(..span.start as usize).unwrap_or(text);
            let column = before.chars().count() + 1;
            let help = help.map_or(String::new(), |help| format!(" ({help})"));
            wrong(&mut errors, "rule", "rule", format!("column {column}: {message}{help}"));
        }
    }
    errors
}

/// One as it is kept: all members, those that were left out with their defaults; the secret of a webhook is the one `before`
/// where none is given.
fn checked(
    schema: &Schema,
    members: &Map<String, Json>,
    id: &str,
    before: Option<&Map<String, Json>>,
) -> Result<Map<String, Json>, Vec<Refusal>> {
    let mut errors = Vec::new();
    for name in members.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
        let help = nearest(name, MEMBERS).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        wrong(&mut errors, "unknown-field", name, format!("a processor has no `{name}`{help}"));
    }
    let given = |name: &str| members.get(name).filter(|value| !value.is_null());
    for name in ["type", "path", "rule"] {
        match given(name).map(Json::as_str) {
            Some(Some(text)) if text.len() <= MAX_RULE => {}
            Some(_) => {
                wrong(&mut errors, "type", name, format!("`{name}` is a text of at most {MAX_RULE} bytes"))
            }
            None => {}
        }
    }
    match (given("type"), given("path")) {
        (None, None) => wrong(&mut errors, "required", "type", "a `type` or a `path` is required"),
        (Some(_), Some(_)) => {
            wrong(
                &mut errors,
                "invalid",
                "path",
                "a processor is for a `type` or for a `path`, not for both",
            );
        }
        _ => {}
    }
    let webhook = match (given("rule"), given("webhook")) {
        (Some(_), None) => None,
        (None, Some(Json::Object(webhook))) => {
            let before = before.and_then(|before| Webhook::kept(before.get("webhook")?));
            Webhook::read(webhook, before.as_ref(), &mut errors)
        }
        (None, Some(_)) => {
            wrong(&mut errors, "type", "webhook", "`webhook` is an object");
            None
        }
        (Some(_), Some(_)) => {
            wrong(&mut errors, "invalid", "webhook", "a processor has a `rule` or a `webhook`, not both");
            None
        }
        (None, None) => {
            wrong(&mut errors, "required", "rule", "a `rule` or a `webhook` is required");
            None
        }
    };
    let mut on: Vec<&str> = Vec::new();
    match given("on") {
        None => on.extend(OPERATIONS),
        Some(Json::Array(wanted)) => {
            for (at, wanted) in wanted.iter().enumerate() {
                match OPERATIONS.into_iter().find(|name| wanted == name) {
                    Some(name) if !on.contains(&name) => on.push(name),
                    Some(_) => {}
                    None => {
                        let message = format!("there are {}, and no {wanted}", OPERATIONS.join(", "));
                        wrong(&mut errors, "enum", &format!("on/{at}"), message);
                    }
                }
            }
        }
        Some(_) => wrong(&mut errors, "type", "on", format!("`on` is a list of {}", OPERATIONS.join(", "))),
    }
    let order = given("order").map_or(Some(ORDER), Json::as_i64);
    if order.is_none() {
        wrong(&mut errors, "type", "order", "`order` is a whole number");
    }
    let paused = given("paused").map_or(Some(false), Json::as_bool);
    if paused.is_none() {
        wrong(&mut errors, "type", "paused", "`paused` is true or false");
    }
    let mut kept = Map::new();
    kept.insert("_id".into(), id.into());
    kept.insert("type".into(), members.get("type").cloned().unwrap_or_default());
    kept.insert("path".into(), members.get("path").cloned().unwrap_or_default());
    kept.insert("on".into(), json!(on));
    kept.insert("order".into(), order.unwrap_or(ORDER).into());
    kept.insert("paused".into(), paused.unwrap_or(false).into());
    kept.insert("rule".into(), members.get("rule").cloned().unwrap_or_default());
    kept.insert("webhook".into(), webhook.map_or(Ok(Json::Null), serde_json::to_value).unwrap_or_default());
    if errors.is_empty() {
        errors = misfits(schema, &kept);
    }
    if errors.is_empty() { Ok(kept) } else { Err(errors) }
}

/// `POST` and `PUT`.
async fn declare(
    app: &Arc<App>,
    members: Map<String, Json>,
    put: Option<&str>,
) -> Result<Response<Body>, Problem> {
    let id = read_id(&members, put)?;
    let (of, may_replace, schema) = (id.clone(), put.is_some(), app.node.engine().schema().clone());
    let secret_is_given = members.get("webhook").is_some_and(|webhook| !webhook["secret"].is_null());
    let step = move |records: &mut Records<'_>| {
        let before = records.get(PROCESSOR, of.as_bytes())?.map(|before| decoded(&before)).transpose()?;
        if before.is_some() && !may_replace {
            let message = format!("there is a processor `{of}` already");
            return Err(EngineError::refused("exists", Some("_id"), message));
        }
        if before.is_none() && records.list(PROCESSOR, &[], None, MAX_PROCESSORS)?.len() >= MAX_PROCESSORS {
            let message = format!("there are at most {MAX_PROCESSORS} processors");
            return Err(EngineError::refused("processor-limit", None, message));
        }
        let kept = checked(&schema, &members, &of, before.as_ref()).map_err(EngineError::Refused)?;
        records.put(PROCESSOR, of.as_bytes(), Json::Object(kept.clone()).to_string().into_bytes());
        Ok((before.is_none(), kept))
    };
    let (is_new, kept) = app.node.records(step).await?;
    // Nobody could know a secret that was made here otherwise.
    let body = shown(app, &kept, is_new && !secret_is_given).to_string();
    Ok(match is_new {
        true => {
            with_header(json(StatusCode::CREATED, body), "location", &format!("{PREFIX}/_processors/{id}"))
        }
        false => json(StatusCode::OK, body),
    })
}

async fn patch(app: &Arc<App>, id: &str, members: Map<String, Json>) -> Result<Response<Body>, Problem> {
    let (id, schema) = (SmolStr::from(id), app.node.engine().schema().clone());
    if members.get("_id").is_some_and(|given| given.as_str() != Some(&id)) {
        let mut errors = Vec::new();
        wrong(&mut errors, "immutable", "_id", "the id of a processor stays");
        return Err(errors.into());
    }
    let of = id.clone();
    let step = move |records: &mut Records<'_>| {
        let Some(before) = records.get(PROCESSOR, of.as_bytes())? else { return Ok(None) };
        let before = decoded(&before)?;
        let mut declared = before.clone();
        if let Some(webhook) = Webhook::kept(&before["webhook"]) {
            declared.insert("webhook".into(), webhook.to_json(true));
        }
        let kept = checked(&schema, &merged(declared, &members), &of, Some(&before));
        let kept = kept.map_err(EngineError::Refused)?;
        records.put(PROCESSOR, of.as_bytes(), Json::Object(kept.clone()).to_string().into_bytes());
        Ok(Some(kept))
    };
    let kept = app.node.records(step).await?.ok_or_else(|| none(&id))?;
    Ok(json(StatusCode::OK, shown(app, &kept, false).to_string()))
}

async fn remove(app: &Arc<App>, id: &str) -> Result<Response<Body>, Problem> {
    let of = SmolStr::from(id);
    let step = move |records: &mut Records<'_>| {
        let is_there = records.get(PROCESSOR, of.as_bytes())?.is_some();
        records.delete(PROCESSOR, of.as_bytes());
        Ok(is_there)
    };
    if app.node.records(step).await? { Ok(no_content()) } else { Err(none(id)) }
}
