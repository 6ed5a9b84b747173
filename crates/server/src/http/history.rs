//! The past of a resource: `GET …?at=REV`, `GET …/_versions`, `POST …/_revert`. That of a list: `GET …?at=REV`.
//!
//! A past resource is shown as it was kept: nothing is computed from what there is now, so its place among siblings is
//! left out. What stands in it by `expand` is shown as it was at that revision, too. A way back is an ordinary write of the facts of then, held to the rules of now.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use corollary_engine::history::{self, Came, MAX_COMMITS_READ, Past, Version};
use corollary_engine::past::Then;
use corollary_engine::working::Working;
use corollary_engine::{Doc, Engine, Key, among};
use corollary_schema::{Field, FieldKind, ResourceType, Schema, Slot};
use corollary_value::Value;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use std::io::Write as _;

use super::lines;
use super::list;
use super::params::Params;
use super::resource::{body_json, perform};
use super::write::Conditions;
use super::{Call, Fault, REVISION_HEADER, Reads, etag, json, read, with_header};
use crate::json::changes::ITSELF;
use crate::json::encode::{Encoder, Shape, bare, bare_among, text};
use crate::patch::Kind;
use crate::path::{self, Target};
use crate::problem::Problem;

/// Who may read what was there says what was granted then, which nobody knows any more.
const PAST: &str = "the past";

/// What a resource can be asked behind its path.
const VERBS: [&str; 2] = ["_versions", "_revert"];

/// Is it something that a resource can be asked about its past?
pub(crate) fn is_verb(segment: &str) -> bool {
    VERBS.contains(&segment)
}

/// Serves a request for the versions of the resource at `segments`, or for a way back to one.
pub(crate) async fn serve(
    call: &Call<'_>,
    segments: &[String],
    verb: &str,
) -> Result<Response<Body>, Problem> {
    call.reader.administers(PAST)?;
    match (verb, &call.method) {
        ("_versions", &Method::GET | &Method::HEAD) => versions(call, segments),
        ("_versions", _) => Err(Problem::not_allowed("GET")),
        (_, &Method::POST) => revert(call, segments).await,
        _ => Err(Problem::not_allowed("POST")),
    }
}

/// The resource that a path names, be it there or not.
fn named(reads: Reads<'_>, segments: &[String]) -> Result<Key, Problem> {
    read(reads, |working| match path::resolve(working, segments)? {
        Target::Resource { key, .. } | Target::Linked { key, .. } => Ok(key),
        Target::List(_) | Target::Several(_) => {
            let detail = "versions are kept of resources, and this is a list";
            Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "past-list", detail).into())
        }
    })
}

/// Reads one consistent state: that of now, or that of a revision.
pub(crate) fn read_at<T>(
    reads: Reads<'_>,
    revision: Option<u64>,
    f: impl Fn(&Working<'_>) -> Result<T, Fault>,
) -> Result<T, Problem> {
    let Some(revision) = revision else { return read(reads, f) };
    reads.reader.administers(PAST)?;
    let mut told = None;
    let then =
        corollary_engine::past::read(reads.engine, Timestamp::now(), revision, |working| match f(working) {
            Ok(found) => Ok(Some(found)),
            Err(Fault::Problem(problem)) => {
                told = Some(*problem);
                Ok(None)
            }
            Err(Fault::Engine(error)) => Err(error),
        })?;
    let gone = |detail: String| Err(Problem::new(StatusCode::GONE, "past-retention", detail));
    match (then, told) {
        (_, Some(problem)) => Err(problem),
        (Then::Was(Some(found)), None) => Ok(found),
        (Then::Was(None) | Then::Unknown, None) => {
            gone(format!("the log does not go back to revision {revision} any more"))
        }
        (Then::TooFar, None) => {
            gone(format!("more than {MAX_COMMITS_READ} commits would have to be read back"))
        }
    }
}

/// Refuses a revision that has not happened.
pub(crate) fn check_happened(engine: &Engine, revision: u64) -> Result<(), Problem> {
    if revision > engine.revision() {
        // Another server may have told it.
        engine.catch_up()?;
    }
    let last = engine.revision();
    if revision > last {
        let detail = format!("revision {revision} has not happened yet; the last is {last}");
        return Err(Problem::malformed("parameter", detail));
    }
    Ok(())
}

/// A page of a list as it was at a revision; nothing where the path led to one resource then.
fn list_at(
    call: &Call<'_>,
    segments: &[String],
    params: &Params,
    revision: u64,
) -> Result<Option<Response<Body>>, Problem> {
    let engine = call.app.node.engine();
    check_happened(engine, revision)?;
    let list = match read_at(call.reads(), Some(revision), |working| Ok(path::resolve(working, segments)?))? {
        Target::Resource { .. } | Target::Linked { .. } => return Ok(None),
        list => list,
    };
    params.only_for_past_lists()?;
    if lines::are_wanted(&call.headers) {
        let detail = "a list of the past comes in pages, not line by line";
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "past-list", detail));
    }
    list::serve(call, segments, params, &list)
}

/// The resource, or the page of a list, as it was at a revision.
pub(crate) fn at(
    call: &Call<'_>,
    segments: &[String],
    params: &Params,
    revision: u64,
) -> Result<Response<Body>, Problem> {
    call.reader.administers(PAST)?;
    let engine = call.app.node.engine();
    // Where a list stands, one resource stands only behind a link.
    if !segments.len().is_multiple_of(2)
        && let Some(list) = tokio::task::block_in_place(|| list_at(call, segments, params, revision))?
    {
        return Ok(list);
    }
    let key = named(call.reads(), segments)?;
    params.only_for_one()?;
    if params.watch {
        let detail = "`at` shows one resource as it was: it takes no `watch`";
        return Err(Problem::malformed("parameter", detail));
    }
    let shape = params.shape(engine.schema(), engine.schema(), key.ty)?;
    if params.expand.is_some() {
        return tokio::task::block_in_place(|| expanded_at(engine, &key, &shape, revision));
    }
    let doc = tokio::task::block_in_place(|| past(engine, &key, revision))?;
    let (body, place) = read(call.reads(), |working| {
        let mut encoder = Encoder::past(working);
        encoder.resource(&key, &doc, &shape)?;
        Ok((encoder.out, path::canonical(working, &key, Some(&doc))?))
    })?;
    let response = with_header(json(StatusCode::OK, body), REVISION_HEADER, &revision.to_string());
    Ok(with_header(with_header(response, "etag", &etag(doc.revision)), "content-location", &place))
}

/// A resource as it was, with what stood in it then: all of it is told from the log, whatever history the resource has.
fn expanded_at(engine: &Engine, key: &Key, shape: &Shape, revision: u64) -> Result<Response<Body>, Problem> {
    check_happened(engine, revision)?;
    let (body, place) = read_at(Reads::own(engine), Some(revision), |working| {
        let Some(doc) = working.after(key)? else {
            let name = &working.schema.ty(key.ty).name;
            let detail = format!("there was no {name} {} at revision {revision}", key.id);
            return Err(Problem::not_found(detail).into());
        };
        let mut encoder = Encoder::past(working);
        encoder.ahead(key.ty, &[&key.id], shape)?;
        encoder.resource(key, &doc, shape)?;
        Ok((encoder.out, path::canonical(working, key, Some(&doc))?))
    })?;
    let response = with_header(json(StatusCode::OK, body), REVISION_HEADER, &revision.to_string());
    Ok(with_header(response, "content-location", &place))
}

/// A resource as it was, or why that cannot be told.
pub(crate) fn past(engine: &Engine, key: &Key, revision: u64) -> Result<std::sync::Arc<Doc>, Problem> {
    check_happened(engine, revision)?;
    let name = &engine.schema().ty(key.ty).name;
    let gone = |detail: String| Err(Problem::new(StatusCode::GONE, "past-retention", detail));
    match history::at(engine, Timestamp::now(), key, revision)? {
        Past::Was(doc) => Ok(doc),
        Past::Nothing(None) => {
            Err(Problem::not_found(format!("there was no {name} {} at revision {revision}", key.id)))
        }
        Past::Nothing(Some(deleted)) => Err(Problem::not_found(format!(
            "there was no {name} {} at revision {revision}: it was deleted in revision {deleted}",
            key.id
        ))),
        Past::Unknown => gone(format!(
            "the log does not go back to revision {revision} any more, and no version of {name} {} is kept from then{}",
            key.id,
            advice(engine.schema(), key)
        )),
        Past::TooFar => gone(format!(
            "more than {MAX_COMMITS_READ} commits would have to be read back{}",
            advice(engine.schema(), key)
        )),
    }
}

fn advice(schema: &Schema, key: &Key) -> String {
    let resource = schema.ty(key.ty);
    match resource.history {
        Some(_) => String::new(),
        None => format!("; declare {} with `history` to keep the past from now on", resource.name),
    }
}

/// The versions of a resource, the latest first.
fn versions(call: &Call<'_>, segments: &[String]) -> Result<Response<Body>, Problem> {
    let engine = call.app.node.engine();
    let params = Params::parse(call.uri.query())?;
    params.only_for_versions()?;
    let before = params.page_token.as_ref().map(|token| {
        let refused = || Problem::malformed("page-token", "`page_token` is not one that this list gave");
        token.parse::<u64>().map_err(|_| refused())
    });
    let before = before.transpose()?;
    let key = named(call.reads(), segments)?;
    let resource = engine.schema().ty(key.ty);
    if resource.history.is_none() {
        let detail = format!("{} keeps no versions: declare it with `history`", resource.name);
        return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "no-history", detail));
    }
    let (body, revision) = read(call.reads(), |working| {
        // One more tells what the last of the page changed, and whether there is another page.
        let found = history::versions(working, &key, before, params.limit + 1)?;
        if found.is_empty() && before.is_none() {
            return Err(Problem::not_found(format!("there is no {} {}", resource.name, key.id)).into());
        }
        let mut out = b"{\"results\":[".to_vec();
        for (at, version) in found.iter().take(params.limit).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let older = found.get(at + 1).and_then(|older| older.doc.as_deref());
            head(resource, version, older, &mut out);
            if let Some(doc) = &version.doc {
                let mut encoder = Encoder::past(working);
                encoder.resource(&key, doc, &Shape::default())?;
                out.extend_from_slice(b",\"resource\":");
                out.append(&mut encoder.out);
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"],\"next\":");
        match found.get(params.limit).and_then(|_| found.get(params.limit - 1)) {
            Some(last) => {
                let (path, limit, token) = (call.uri.path(), params.limit, last.revision);
                text(&format!("{path}?limit={limit}&page_token={token}"), &mut out);
            }
            None => out.extend_from_slice(b"null"),
        }
        let revision = working.base.revision();
        let _ = write!(out, ",\"revision\":\"{revision}\"}}");
        Ok((out, revision))
    })?;
    Ok(with_header(json(StatusCode::OK, body), REVISION_HEADER, &revision.to_string()))
}

/// A version without its resource: an object that is still open.
fn head(resource: &ResourceType, version: &Version, older: Option<&Doc>, out: &mut Vec<u8>) {
    let came = match version.came {
        Came::Found => "found",
        Came::Created => "created",
        Came::Modified => "modified",
        Came::Deleted => "deleted",
    };
    // Writing to bytes in memory does not fail.
    let _ = write!(out, "{{\"revision\":\"{}\",\"type\":\"{came}\"", version.revision);
    if let Some(time) = version.time {
        let _ = write!(out, ",\"time\":\"{time}\"");
    }
    if let Some(actor) = &version.actor {
        out.extend_from_slice(b",\"actor\":");
        text(actor, out);
    }
    if let (Some(doc), Some(older), Came::Modified) = (&version.doc, older, version.came) {
        let differs = |slot| doc.get(slot) != older.get(slot);
        let visible = resource.slots().filter(|(_, field)| field.visible());
        let differs = |slot: Slot| {
            differs(resource.shown(slot)) || resource.parts(slot).iter().any(|part| differs(*part))
        };
        let changed = visible.filter(|(slot, _)| differs(*slot));
        let moved = resource.parents.iter().any(|slot| doc.get(*slot) != older.get(*slot));
        let names = changed.map(|(_, field)| field.name.as_str());
        let changed: Vec<&str> = names.chain(moved.then_some(ITSELF)).collect();
        out.extend_from_slice(b",\"changed\":");
        out.extend_from_slice(Json::from(changed).to_string().as_bytes());
    }
}

/// Writes the facts of then: a resource that is there is replaced, one that is gone is created again.
async fn revert(call: &Call<'_>, segments: &[String]) -> Result<Response<Body>, Problem> {
    let engine = call.app.node.engine();
    let body = body_json(call)?;
    let revision = match &body {
        Json::Object(members) if members.len() == 1 => match members.get("to") {
            Some(Json::String(text)) => text.parse().ok(),
            Some(Json::Number(number)) => number.as_u64(),
            _ => None,
        },
        _ => None,
    };
    let Some(revision) = revision else {
        let detail = "`_revert` takes {\"to\": REVISION}, as `_versions` lists them";
        return Err(Problem::malformed("body", detail));
    };
    let key = named(call.reads(), segments)?;
    let doc = tokio::task::block_in_place(|| past(engine, &key, revision))?;
    let facts = facts(engine.schema(), &key, &doc)?;
    let there = read(call.reads(), |working| Ok(working.after(&key)?.is_some()))?;
    let mut conditions = Conditions::of(&call.headers)?.asked_by(&call.app.limits);
    conditions.absent |= !there;
    perform(call, segments, &Method::PUT, &Ok(Json::Object(facts)), Kind::Merge, &conditions).await
}

/// The facts of a resource as the body of a PUT.
fn facts(schema: &Schema, key: &Key, doc: &Doc) -> Result<Map<String, Json>, Problem> {
    let resource = schema.ty(key.ty);
    let mut out = b"{".to_vec();
    // Where it belongs is told by the path. Files come and go by paths of their own, and stay as they are.
    let is_own = |field: &Field| !matches!(field.kind, FieldKind::Parent { .. } | FieldKind::Position { .. });
    let is_own = |field: &Field| is_own(field) && !field.is_file();
    let is_own = |field: &Field| field.is_written() && is_own(field) && !field.is_part();
    for (slot, field) in resource.slots().filter(|(_, field)| is_own(field)) {
        let is_among = among::is_set(schema, key.ty, slot, doc);
        if !is_among && matches!(doc.get(slot), Value::Absent) {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        text(&field.name, &mut out);
        out.push(b':');
        match is_among {
            true => bare_among(schema, key.ty, slot, doc, &mut out),
            false => bare(doc.get(slot), &mut out),
        }
    }
    out.push(b'}');
    serde_json::from_slice(&out).map_err(|error| {
        Problem::malformed("version", format!("the version cannot be written back: {error}"))
    })
}
