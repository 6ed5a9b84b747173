//! Hooks over HTTP: `/api/_hooks`. What they do is the business of [`crate::hooks`].
//!
//! | request | what it does |
//! |---|---|
//! | `GET /api/_hooks`, `GET …/ID` | hooks, with how far each has come |
//! | `POST /api/_hooks`, `PUT …/ID`, `PATCH …/ID`, `DELETE …/ID` | declare, change, remove |
//! | `GET …/ID/deliveries` | the last attempts |
//! | `GET …/ID/letters`, `DELETE …/ID/letters[/LETTER]` | what was given up |
//! | `POST …/ID/replay` | has letters sent again |

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::State as Extracted;
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use corollary_engine::EngineError;
use corollary_engine::records::Records;
use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;
use tokio::task::block_in_place;

use super::records::{invalid, no_content, no_parameters, object, read_id};
use super::{App, Reader, json, with_header};
use crate::hooks::hook::{HOOK, Hook};
use crate::hooks::letters::{self, LETTER};
use crate::hooks::state::{STATE, State};
use crate::hooks::target::Target;
use crate::hooks::{MAX_HOOKS, MAX_LETTERS};
use crate::path::PREFIX;
use crate::problem::Problem;
use crate::site::Site;

/// Letters of a page, unless another number is asked for, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// Letters that are read or changed in one step.
const LETTERS_AT_A_TIME: usize = 1_000;

/// The watch of a path behind a revision, as lines of NDJSON, for who follows it within this server.
///
/// # Errors
///
/// Why there is nothing to follow.
pub async fn follow(site: &Site, path: &str, filter: Option<&str>, since: u64) -> Result<Body, String> {
    let query = {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("watch", "true").append_pair("since", &since.to_string());
        if let Some(filter) = filter {
            query.append_pair("filter", filter);
        }
        query.finish()
    };
    // What administrators have declared reads what they may.
    let request = Request::get(format!("{PREFIX}{path}?{query}"))
        .extension(Reader::Everything)
        .header(header::ACCEPT, HeaderValue::from_static("application/x-ndjson"))
        .body(Body::empty())
        .map_err(|error| format!("`{path}` is no path: {error}"))?;
    let response = super::answer(super::Face::Resources, site.clone(), request).await;
    if response.status() == StatusCode::OK {
        return Ok(response.into_body());
    }
    let status = response.status();
    let body = to_bytes(response.into_body(), 64 << 10).await.unwrap_or_default();
    let problem: Json = serde_json::from_slice(&body).unwrap_or_default();
    let detail = problem["errors"][0]["message"].as_str().or(problem["detail"].as_str());
    Err(detail.map_or_else(|| status.to_string(), str::to_owned))
}

/// Serves `/api/_hooks` and all below.
pub async fn handle(Extracted(site): Extracted<Site>, request: Request<Body>) -> Response<Body> {
    serve(site, request).await.unwrap_or_else(|problem| problem.response())
}

async fn serve(site: Site, request: Request<Body>) -> Result<Response<Body>, Problem> {
    let app = site.current();
    let (head, sent) = request.into_parts();
    let below = head.uri.path().strip_prefix(PREFIX).and_then(|path| path.strip_prefix("/_hooks"));
    let segments: Vec<&str> =
        below.unwrap_or_default().split('/').filter(|segment| !segment.is_empty()).collect();
    let query = head.uri.query().unwrap_or_default();
    match (&segments[..], &head.method) {
        ([], &Method::GET | &Method::HEAD) => list(&app, query),
        ([], &Method::POST) => declare(&site, &app, object(sent, &app).await?, None).await,
        ([], _) => Err(Problem::not_allowed("GET,HEAD,POST")),
        ([id], &Method::GET | &Method::HEAD) => one(&app, query, id),
        ([id], &Method::PUT) => declare(&site, &app, object(sent, &app).await?, Some(id)).await,
        ([id], &Method::PATCH) => patch(&site, &app, id, object(sent, &app).await?).await,
        ([id], &Method::DELETE) => remove(&app, id).await,
        ([_], _) => Err(Problem::not_allowed("DELETE,GET,HEAD,PATCH,PUT")),
        ([id, "deliveries"], &Method::GET | &Method::HEAD) => deliveries(&app, query, id),
        ([_, "deliveries"], _) => Err(Problem::not_allowed("GET,HEAD")),
        ([id, "letters"], &Method::GET | &Method::HEAD) => page(&app, id, query),
        ([id, "letters"], &Method::DELETE) => drop_letters(&app, id, None).await,
        ([_, "letters"], _) => Err(Problem::not_allowed("DELETE,GET,HEAD")),
        ([id, "letters", letter], &Method::DELETE) => drop_letters(&app, id, Some(letter)).await,
        ([_, "letters", _], _) => Err(Problem::not_allowed("DELETE")),
        ([id, "replay"], &Method::POST) => replay(&app, id, &object(sent, &app).await?).await,
        ([_, "replay"], _) => Err(Problem::not_allowed("POST")),
        _ => Err(Problem::not_found("of a hook there is `deliveries`, `letters` and `replay`")),
    }
}

fn no_hook(id: &str) -> Problem {
    Problem::not_found(format!("there is no hook `{id}`"))
}

/// Reads records.
fn read<T>(app: &App, f: impl FnOnce(&Records<'_>) -> Result<T, EngineError>) -> Result<T, Problem> {
    Ok(block_in_place(|| app.node.engine().records(Timestamp::now(), f))?)
}

/// A hook with how far it has come.
fn shown(app: &App, hook: &Hook, state: Option<&State>, secret: bool) -> Map<String, Json> {
    let mut shown = hook.to_json(secret);
    if let Some(state) = state {
        let state = state.shown(app.node.engine().revision(), hook.paused, Timestamp::now());
        shown.insert("state".into(), state);
    }
    shown
}

fn list(app: &App, query: &str) -> Result<Response<Body>, Problem> {
    no_parameters(Some(query))?;
    let hooks = read(app, |records| {
        let hooks = Hook::all(records)?;
        hooks
            .into_iter()
            .map(|hook| Ok((State::load(records, &hook.id)?, hook)))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let results: Vec<Json> =
        hooks.iter().map(|(state, hook)| Json::Object(shown(app, hook, state.as_ref(), false))).collect();
    Ok(json(StatusCode::OK, json!({ "results": results }).to_string()))
}

/// A hook and its state.
fn load(app: &App, id: &str) -> Result<(Hook, State), Problem> {
    let found = read(app, |records| Ok((Hook::load(records, id)?, State::load(records, id)?)))?;
    match found {
        (Some(hook), state) => Ok((hook, state.unwrap_or_else(|| State::new(0)))),
        (None, _) => Err(no_hook(id)),
    }
}

fn one(app: &App, query: &str, id: &str) -> Result<Response<Body>, Problem> {
    no_parameters(Some(query))?;
    let (hook, state) = load(app, id)?;
    Ok(json(StatusCode::OK, Json::Object(shown(app, &hook, Some(&state), false)).to_string()))
}

/// The revision behind which a hook is to begin, where it is said.
fn since(app: &App, members: &mut Map<String, Json>) -> Result<Option<u64>, Problem> {
    let given = match members.remove("since") {
        None | Some(Json::Null) => return Ok(None),
        Some(given) => given,
    };
    let revision = given.as_u64().or_else(|| given.as_str()?.parse().ok());
    let revision = revision.ok_or_else(|| invalid("since", "`since` is a revision, as \"123\""))?;
    let last = app.node.engine().revision();
    if revision > last {
        let message = format!("revision {revision} has not happened yet; the last is {last}");
        return Err(invalid("since", message));
    }
    Ok(Some(revision))
}

/// Refuses what cannot be followed, or not be written.
async fn check(site: &Site, hook: &Hook) -> Result<(), Problem> {
    let is_file = matches!(Target::parse(&hook.url), Ok(Target::File(_)));
    if is_file && !site.current().hooks.writes_files() {
        let message = "this server writes no files: it is to be started with `--sink-folder`";
        return Err(EngineError::refused("sink-folder", Some("url"), message).into());
    }
    let revision = site.current().node.engine().revision();
    let followed = follow(site, &hook.path, hook.filter.as_deref(), revision).await;
    followed.map(drop).map_err(|detail| {
        let of = if hook.filter.is_some() { "what `path` and `filter` name" } else { "what `path` names" };
        invalid("path", format!("{of} cannot be watched: {detail}"))
    })
}

/// Refuses a file that another hook writes.
fn alone(records: &Records<'_>, hook: &Hook) -> Result<(), EngineError> {
    if !matches!(Target::parse(&hook.url), Ok(Target::File(_))) {
        return Ok(());
    }
    match Hook::all(records)?.into_iter().find(|other| other.url == hook.url && other.id != hook.id) {
        Some(other) => {
            let message = format!("`{}` is the file of the hook `{}`", hook.url, other.id);
            Err(EngineError::refused("invalid", Some("url"), message))
        }
        None => Ok(()),
    }
}

/// `POST` and `PUT`.
async fn declare(
    site: &Site,
    app: &Arc<App>,
    mut members: Map<String, Json>,
    put: Option<&str>,
) -> Result<Response<Body>, Problem> {
    let since = since(app, &mut members)?;
    let id = read_id(&members, put)?;
    let keeps_secret = members.get("secret").is_none_or(Json::is_null);
    let hook = Hook::read(&members, id, Timestamp::now())?;
    check(site, &hook).await?;
    let from = since.unwrap_or_else(|| app.node.engine().revision());
    let kept = hook.clone();
    let may_replace = put.is_some();
    let step = move |records: &mut Records<'_>| {
        let mut hook = kept.clone();
        let before = Hook::load(records, &hook.id)?;
        match &before {
            Some(_) if !may_replace => {
                let message = format!("there is a hook `{}` already", hook.id);
                return Err(EngineError::refused("exists", Some("_id"), message));
            }
            Some(before) => {
                hook.created = before.created;
                if keeps_secret {
                    hook.secret = before.secret.clone();
                }
            }
            None if Hook::all(records)?.len() >= MAX_HOOKS => {
                let message = format!("a server has at most {MAX_HOOKS} hooks");
                return Err(EngineError::refused("hook-limit", None, message));
            }
            None => {}
        }
        alone(records, &hook)?;
        let mut state = State::load(records, &hook.id)?.unwrap_or_else(|| State::new(from));
        if let Some(since) = since {
            state.begin_at(since);
        }
        state.keep(records, &hook.id);
        hook.keep(records);
        Ok((before.is_none(), hook, state))
    };
    let (new, hook, state) = app.node.records(step).await?;
    app.hooks.change();
    // Nobody could know the secret that was made here otherwise.
    let body = Json::Object(shown(app, &hook, Some(&state), new && keeps_secret)).to_string();
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let response = json(status, body);
    Ok(if new {
        with_header(response, "location", &format!("{PREFIX}/_hooks/{}", hook.id))
    } else {
        response
    })
}

async fn patch(
    site: &Site,
    app: &Arc<App>,
    id: &str,
    mut members: Map<String, Json>,
) -> Result<Response<Body>, Problem> {
    let since = since(app, &mut members)?;
    let (hook, _) = load(app, id)?;
    let now = Timestamp::now();
    check(site, &hook.patched(&members, now)?).await?;
    let id = hook.id;
    let step = move |records: &mut Records<'_>| {
        // Somebody else may have changed it meanwhile: other members stay as they are by now.
        let Some(hook) = Hook::load(records, &id)? else { return Ok(None) };
        let was_signed = hook.is_signed();
        let hook = hook.patched(&members, now).map_err(EngineError::Refused)?;
        alone(records, &hook)?;
        let mut state = State::load(records, &id)?.unwrap_or_else(|| State::new(0));
        if let Some(since) = since {
            state.begin_at(since);
        }
        state.keep(records, &id);
        hook.keep(records);
        // Nobody could know the secret that was made here otherwise.
        let is_fresh = hook.is_signed() && !was_signed && !members.contains_key("secret");
        Ok(Some((hook, state, is_fresh)))
    };
    let changed = app.node.records(step).await?;
    let (hook, state, is_fresh) = changed.ok_or_else(|| Problem::not_found("the hook is gone"))?;
    app.hooks.change();
    Ok(json(StatusCode::OK, Json::Object(shown(app, &hook, Some(&state), is_fresh)).to_string()))
}

async fn remove(app: &Arc<App>, id: &str) -> Result<Response<Body>, Problem> {
    let id = SmolStr::from(id);
    let of = id.clone();
    let step = move |records: &mut Records<'_>| {
        if Hook::load(records, &of)?.is_none() {
            return Ok(false);
        }
        for (key, _) in letters::list(records, &of, None, MAX_LETTERS as usize)? {
            records.delete(LETTER, &key);
        }
        records.delete(STATE, of.as_bytes());
        records.delete(HOOK, of.as_bytes());
        Ok(true)
    };
    if !app.node.records(step).await? {
        return Err(no_hook(&id));
    }
    app.hooks.change();
    Ok(no_content())
}

fn deliveries(app: &App, query: &str, id: &str) -> Result<Response<Body>, Problem> {
    no_parameters(Some(query))?;
    let (_, state) = load(app, id)?;
    let told = state.told.iter().rev().map(|told| {
        let mut shown = json!({
            "id": told.id,
            "at": told.at.to_string(),
            "milliseconds": told.milliseconds,
            "attempt": told.attempt,
            "outcome": if told.error.is_none() { "taken" } else { "failed" },
        });
        if let Some(status) = told.status {
            shown["status"] = status.into();
        }
        if let Some(error) = &told.error {
            shown["error"] = error.as_str().into();
        }
        shown
    });
    let results: Vec<Json> = told.collect();
    Ok(json(StatusCode::OK, json!({ "results": results }).to_string()))
}

fn page(app: &App, id: &str, query: &str) -> Result<Response<Body>, Problem> {
    let (mut limit, mut after) = (PAGE, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
                let detail = || format!("`limit` is a number from 1 to {MAX_PAGE}");
                limit = number.ok_or_else(|| Problem::malformed("parameter", detail()))?;
            }
            "page_token" => {
                let token = BASE64.decode(value.as_bytes());
                after = Some(token.map_err(|_| Problem::malformed("page_token", "this is no page token"))?);
            }
            name => {
                let detail =
                    format!("letters are listed by `limit` and `page_token`, and there is no `{name}`");
                return Err(Problem::malformed("parameter", detail));
            }
        }
    }
    load(app, id)?;
    let mut found = read(app, |records| letters::list(records, id, after.as_deref(), limit + 1))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(key, _)| {
        format!("{PREFIX}/_hooks/{id}/letters?limit={limit}&page_token={}", BASE64.encode(key))
    });
    let results: Vec<Json> = found.iter().map(|(_, letter)| letter.shown()).collect();
    Ok(json(StatusCode::OK, json!({ "results": results, "next": next }).to_string()))
}

/// Changes the letters of a hook that are wanted, some at a time; how many they were. `change` says whether one is gone.
async fn each_letter(
    app: &Arc<App>,
    id: &str,
    wanted: Option<Vec<String>>,
    again: bool,
) -> Result<u64, Problem> {
    load(app, id)?;
    let (mut after, mut count): (Option<Vec<u8>>, u64) = (None, 0);
    loop {
        let (id, wanted, from) = (SmolStr::from(id), wanted.clone(), after.clone());
        let step = move |records: &mut Records<'_>| {
            let page = letters::list(records, &id, from.as_deref(), LETTERS_AT_A_TIME)?;
            let last = page.last().map(|(key, _)| key.clone());
            let is_wanted =
                |letter: &letters::Letter| wanted.as_ref().is_none_or(|ids| ids.contains(&letter.id));
            let mut changed = 0;
            for (key, mut letter) in page.into_iter().filter(|(_, letter)| is_wanted(letter)) {
                changed += 1;
                if again {
                    letter.again = true;
                    letter.keep(records, &id)?;
                } else {
                    records.delete(LETTER, &key);
                }
            }
            if changed > 0
                && let Some(mut state) = State::load(records, &id)?
            {
                match again {
                    true => state.again = true,
                    false => state.letters = state.letters.saturating_sub(changed),
                }
                state.keep(records, &id);
            }
            Ok((last, changed))
        };
        let (last, changed) = app.node.records(step).await?;
        count += changed;
        match last {
            Some(last) => after = Some(last),
            None => return Ok(count),
        }
    }
}

async fn drop_letters(app: &Arc<App>, id: &str, letter: Option<&str>) -> Result<Response<Body>, Problem> {
    let dropped = each_letter(app, id, letter.map(|letter| vec![letter.to_owned()]), false).await?;
    match letter {
        Some(letter) if dropped == 0 => Err(Problem::not_found(format!("the hook has no letter `{letter}`"))),
        _ => Ok(no_content()),
    }
}

async fn replay(app: &Arc<App>, id: &str, body: &Map<String, Json>) -> Result<Response<Body>, Problem> {
    let ids = match (body.get("ids"), body.get("all"), body.len()) {
        (Some(Json::Array(ids)), None, 1) => {
            let ids: Option<Vec<String>> = ids.iter().map(|id| id.as_str().map(str::to_owned)).collect();
            Some(ids.ok_or_else(|| invalid("ids", "`ids` are the ids of letters"))?)
        }
        (None, Some(Json::Bool(true)), 1) => None,
        _ => {
            let detail = "write {\"ids\": [\"…\"]} for some letters, or {\"all\": true}";
            return Err(Problem::malformed("replay", detail));
        }
    };
    let count = each_letter(app, id, ids, true).await?;
    app.hooks.change();
    Ok(json(StatusCode::ACCEPTED, json!({ "letters": count }).to_string()))
}
