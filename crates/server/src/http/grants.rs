//! Grants over HTTP: `/api/_grants`. What they come to is the engine's business ([`corollary_engine::grants`]).
//!
//! | request | what it does |
//! |---|---|
//! | `GET /api/_grants`, `GET …/ID` | all, by their ids |
//! | `POST /api/_grants`, `PUT …/ID`, `PATCH …/ID`, `DELETE …/ID` | declare, change, remove |
//!
//! A change of them is a commit of its own, in which nothing else changes: so it has a revision, and who watches is told what they see
//! from there on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode};
use corollary_engine::grants::{CHANGED, GRANT, MAX_GRANTS, May};
use corollary_engine::records::Records;
use corollary_engine::reply::Wants;
use corollary_engine::{EngineError, Refusal, Transaction};
use corollary_schema::Schema;
use corollary_schema::grants::covers;
use corollary_syntax::nearest;
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;
use tokio::task::block_in_place;

use super::actor::{MAX_ACTOR_BYTES, asks};
use super::records::{merged, no_content, no_parameters, object, read_id, wrong};
use super::{App, REVISION_HEADER, json, with_header};
use crate::path::PREFIX;
use crate::problem::Problem;
use crate::site::Site;

/// Bytes of a path.
const MAX_PATH: usize = 16 << 10;

/// Actors that one grant names.
const MAX_ACTORS: usize = 10_000;

/// Bytes of a description.
const MAX_DESCRIPTION: usize = 1 << 10;

const MEMBERS: [&str; 6] = ["_id", "description", "may", "path", "paused", "to"];

/// Serves `/api/_grants` and all below.
pub async fn handle(State(site): State<Site>, request: Request<Body>) -> Response<Body> {
    serve(&site.current(), request).await.unwrap_or_else(|problem| problem.response())
}

async fn serve(app: &Arc<App>, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let (head, sent) = request.into_parts();
    let below = head.uri.path().strip_prefix(PREFIX).and_then(|path| path.strip_prefix("/_grants"));
    let segments: Vec<&str> =
        below.unwrap_or_default().split('/').filter(|segment| !segment.is_empty()).collect();
    no_parameters(head.uri.query())?;
    let actor = asks(&app.limits, &head.headers)?;
    match (&segments[..], &head.method) {
        ([], &Method::GET | &Method::HEAD) => list(app),
        ([], &Method::POST) => declare(app, actor, object(sent, app).await?, None).await,
        ([], _) => Err(Problem::not_allowed("GET,HEAD,POST")),
        ([id], &Method::GET | &Method::HEAD) => {
            Ok(json(StatusCode::OK, shown(app, &load(app, id)?).to_string()))
        }
        ([id], &Method::PUT) => declare(app, actor, object(sent, app).await?, Some(id)).await,
        ([id], &Method::PATCH) => patch(app, actor, id, object(sent, app).await?).await,
        ([id], &Method::DELETE) => remove(app, actor, id).await,
        ([_], _) => Err(Problem::not_allowed("DELETE,GET,HEAD,PATCH,PUT")),
        _ => Err(Problem::not_found("behind a grant there is nothing")),
    }
}

fn none(id: &str) -> Problem {
    Problem::not_found(format!("there is no grant `{id}`"))
}

fn decoded(bytes: &[u8]) -> Result<Map<String, Json>, EngineError> {
    serde_json::from_slice(bytes).map_err(|error| EngineError::Corrupt(format!("a grant: {error}")))
}

fn load(app: &App, id: &str) -> Result<Map<String, Json>, Problem> {
    let engine = app.node.engine();
    let found = block_in_place(|| {
        engine.records(Timestamp::now(), |records| {
            records.get(GRANT, id.as_bytes())?.map(|bytes| decoded(&bytes)).transpose()
        })
    })?;
    found.ok_or_else(|| none(id))
}

fn list(app: &App) -> Result<Response<Body>, Problem> {
    let rows = block_in_place(|| {
        app.node.engine().records(Timestamp::now(), |records| records.list(GRANT, &[], None, MAX_GRANTS))
    })?;
    let all = rows.iter().map(|(_, bytes)| decoded(bytes)).collect::<Result<Vec<_>, _>>()?;
    let results: Vec<Json> = all.iter().map(|declared| shown(app, declared)).collect();
    Ok(json(StatusCode::OK, json!({ "results": results }).to_string()))
}

/// One as it is shown: as it was declared, and whether it fits the schema.
fn shown(app: &App, declared: &Map<String, Json>) -> Json {
    let mut shown = declared.clone();
    let id = declared["_id"].as_str().unwrap_or_default();
    shown.insert("_self".into(), format!("{PREFIX}/_grants/{id}").into());
    let misfit = covers(app.node.engine().schema(), declared["path"].as_str().unwrap_or_default()).err();
    let status = match () {
        () if declared["paused"] == json!(true) => "paused",
        () if misfit.is_none() => "active",
        () => "unfit",
    };
    shown.insert("status".into(), status.into());
    shown.retain(|_, value| !value.is_null());
    if let Some(error) = misfit {
        shown.insert("error".into(), error.into());
    }
    Json::Object(shown)
}

/// One as it is kept: all members, those that were left out with their defaults.
fn checked(
    schema: &Schema,
    members: &Map<String, Json>,
    id: &str,
) -> Result<Map<String, Json>, Vec<Refusal>> {
    let mut errors = Vec::new();
    for name in members.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
        let help = nearest(name, MEMBERS).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        wrong(&mut errors, "unknown-field", name, format!("a grant has no `{name}`{help}"));
    }
    let given = |name: &str| members.get(name).filter(|value| !value.is_null());
    match given("path").map(Json::as_str) {
        None => wrong(&mut errors, "required", "path", "a `path` is required, as `/divisions/*/sections`"),
        Some(Some(path)) if path.len() <= MAX_PATH => {
            if let Err(why) = covers(schema, path) {
                wrong(&mut errors, "path", "path", why);
            }
        }
        Some(_) => {
            wrong(&mut errors, "type", "path", format!("`path` is a text of at most {MAX_PATH} bytes"))
        }
    }
    let names: Vec<&str> = May::ALL.iter().map(|(name, _)| *name).collect();
    let may = match given("may") {
        None => vec!["read"],
        Some(Json::Array(wanted)) if !wanted.is_empty() => {
            for (at, name) in wanted.iter().enumerate() {
                if !name.as_str().is_some_and(|name| names.contains(&name)) {
                    let message = format!("what may be done is one of {}", names.join(", "));
                    wrong(&mut errors, "enum", &format!("may/{at}"), message);
                }
            }
            // In one order, each once.
            names.into_iter().filter(|name| wanted.iter().any(|it| it == name)).collect()
        }
        Some(_) => {
            wrong(&mut errors, "type", "may", format!("`may` is a list of {}", names.join(", ")));
            Vec::new()
        }
    };
    match given("to") {
        None => {}
        Some(Json::Array(actors)) if (1..=MAX_ACTORS).contains(&actors.len()) => {
            for (at, actor) in actors.iter().enumerate() {
                let fits =
                    |actor: &str| (1..=MAX_ACTOR_BYTES).contains(&actor.len()) && actor.trim() == actor;
                if !actor.as_str().is_some_and(fits) {
                    let message = format!("the name of an actor is a text of 1 to {MAX_ACTOR_BYTES} bytes");
                    wrong(&mut errors, "type", &format!("to/{at}"), message);
                }
            }
        }
        Some(_) => {
            let message = format!(
                "`to` is a list of 1 to {MAX_ACTORS} names of actors; without it the grant is for everybody"
            );
            wrong(&mut errors, "type", "to", message);
        }
    }
    let described = given("description").map_or(Some(""), Json::as_str);
    if described.is_none_or(|text| text.len() > MAX_DESCRIPTION) {
        let message = format!("`description` is a text of at most {MAX_DESCRIPTION} bytes");
        wrong(&mut errors, "type", "description", message);
    }
    let paused = given("paused").map_or(Some(false), Json::as_bool);
    if paused.is_none() {
        wrong(&mut errors, "type", "paused", "`paused` is true or false");
    }
    let mut kept = Map::new();
    kept.insert("_id".into(), id.into());
    kept.insert("description".into(), members.get("description").cloned().unwrap_or_default());
    kept.insert("path".into(), members.get("path").cloned().unwrap_or_default());
    kept.insert("to".into(), members.get("to").cloned().unwrap_or_default());
    kept.insert("may".into(), json!(may));
    kept.insert("paused".into(), paused.unwrap_or(false).into());
    if errors.is_empty() { Ok(kept) } else { Err(errors) }
}

/// Notes in the same step as of which revision grants are others.
fn note(records: &mut Records<'_>) -> Result<(), EngineError> {
    let revision = records.revision()?;
    records.put(CHANGED, &[], revision.to_be_bytes().to_vec());
    Ok(())
}

/// Makes the change known to those who watch; returns its revision.
async fn mark(app: &Arc<App>, actor: Option<SmolStr>) -> Result<u64, Problem> {
    let wants = Wants { marks: true, actor, ..Wants::nothing() };
    Ok(app.node.commit(Transaction::default(), wants).await?.revision)
}

/// `POST` and `PUT`.
async fn declare(
    app: &Arc<App>,
    actor: Option<SmolStr>,
    members: Map<String, Json>,
    put: Option<&str>,
) -> Result<Response<Body>, Problem> {
    let id = read_id(&members, put)?;
    let (of, may_replace, schema) = (id.clone(), put.is_some(), app.node.engine().schema().clone());
    let step = move |records: &mut Records<'_>| {
        let is_new = records.get(GRANT, of.as_bytes())?.is_none();
        if !is_new && !may_replace {
            let message = format!("there is a grant `{of}` already");
            return Err(EngineError::refused("exists", Some("_id"), message));
        }
        if is_new && records.list(GRANT, &[], None, MAX_GRANTS)?.len() >= MAX_GRANTS {
            let message = format!("there are at most {MAX_GRANTS} grants");
            return Err(EngineError::refused("grant-limit", None, message));
        }
        let kept = checked(&schema, &members, &of).map_err(EngineError::Refused)?;
        records.put(GRANT, of.as_bytes(), Json::Object(kept.clone()).to_string().into_bytes());
        note(records)?;
        Ok((is_new, kept))
    };
    let (is_new, kept) = app.node.records(step).await?;
    let revision = mark(app, actor).await?;
    let body = shown(app, &kept).to_string();
    let reply = match is_new {
        true => with_header(json(StatusCode::CREATED, body), "location", &format!("{PREFIX}/_grants/{id}")),
        false => json(StatusCode::OK, body),
    };
    Ok(with_header(reply, REVISION_HEADER, &revision.to_string()))
}

async fn patch(
    app: &Arc<App>,
    actor: Option<SmolStr>,
    id: &str,
    members: Map<String, Json>,
) -> Result<Response<Body>, Problem> {
    let (id, schema) = (SmolStr::from(id), app.node.engine().schema().clone());
    if members.get("_id").is_some_and(|given| given.as_str() != Some(&id)) {
        let mut errors = Vec::new();
        wrong(&mut errors, "immutable", "_id", "the id of a grant stays");
        return Err(errors.into());
    }
    let of = id.clone();
    let step = move |records: &mut Records<'_>| {
        let Some(before) = records.get(GRANT, of.as_bytes())? else { return Ok(None) };
        let declared = merged(decoded(&before)?, &members);
        let kept = checked(&schema, &declared, &of).map_err(EngineError::Refused)?;
        records.put(GRANT, of.as_bytes(), Json::Object(kept.clone()).to_string().into_bytes());
        note(records)?;
        Ok(Some(kept))
    };
    let kept = app.node.records(step).await?.ok_or_else(|| none(&id))?;
    let revision = mark(app, actor).await?;
    let reply = json(StatusCode::OK, shown(app, &kept).to_string());
    Ok(with_header(reply, REVISION_HEADER, &revision.to_string()))
}

async fn remove(app: &Arc<App>, actor: Option<SmolStr>, id: &str) -> Result<Response<Body>, Problem> {
    let of = SmolStr::from(id);
    let step = move |records: &mut Records<'_>| {
        let is_there = records.get(GRANT, of.as_bytes())?.is_some();
        if is_there {
            records.delete(GRANT, of.as_bytes());
            note(records)?;
        }
        Ok(is_there)
    };
    if !app.node.records(step).await? {
        return Err(none(id));
    }
    let revision = mark(app, actor).await?;
    Ok(with_header(no_content(), REVISION_HEADER, &revision.to_string()))
}
