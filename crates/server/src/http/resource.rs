//! Requests for one resource or one list: GET in all its forms, POST, PUT, PATCH, DELETE.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode, header};
use corollary_engine::reply::Wants;
use corollary_engine::updates::Settled;
use corollary_engine::working::Working;
use corollary_engine::{Committed, EngineError, Key, Transaction};
use serde_json::Value as Json;

use super::commit::{self, Manner, Told};
use super::params::Params;
use super::updates;
use super::write::{self, Conditions, Prepared, Replies};
use super::{
    Call, Fault, READS_HEADER, REVISION_HEADER, accept, by_query, etag, etags, history, json, lines, list,
    read, values, watch, why, with_header,
};
use crate::json::encode::{Encoder, Shape};
use crate::mounts::permit::permit;
use crate::mounts::{Scope, names_of};
use crate::patch::Kind;
use crate::path::{self, Target};
use crate::problem::Problem;

/// Serves a request.
pub(crate) async fn serve(call: &Call<'_>) -> Result<Response<Body>, Problem> {
    let segments = path::segments(call.uri.path())?;
    permit(call.app.node.engine().schema(), &segments, &call.method, &call.headers)?;
    if let Some((verb, list)) = segments.split_last().filter(|(verb, _)| by_query::is_verb(verb)) {
        return Box::pin(by_query::serve(call, list, verb)).await;
    }
    if let Some((verb, resource)) = segments.split_last().filter(|(verb, _)| history::is_verb(verb)) {
        return Box::pin(history::serve(call, resource, verb)).await;
    }
    if let Some(last) = segments.last().filter(|last| last.starts_with('_')) {
        return Err(Problem::not_found(format!("there is no `{last}` in this version")));
    }
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    let in_lines = reads && lines::are_wanted(&call.headers);
    let query = call.uri.query();
    let params = if in_lines { Params::of_lines(query)? } else { Params::parse(query)? };
    let params = params.within(&call.app.limits)?;
    if let (&Method::GET | &Method::HEAD, Some(revision)) = (&call.method, params.at) {
        if call.app.node.engine().schema().mounts.iter().any(|mount| mount.begins(&segments)) {
            let detail = "`at` is asked at the resource's own path: a mount shows what is there now";
            return Err(Problem::malformed("parameter", detail));
        }
        return history::at(call, &segments, &params, revision);
    }
    if let (Some(_), false) = (&params.why, reads) {
        return Err(Problem::malformed("parameter", "`why` asks of what is there, and a write changes that"));
    }
    match call.method {
        Method::GET | Method::HEAD if params.wait.is_some() => {
            Err(Problem::malformed("parameter", "`wait` is for writes; a read has `Consistency: exact`"))
        }
        _ if params.at.is_some() && !reads => {
            Err(Problem::malformed("parameter", "`at` is for reads: the past is not written"))
        }
        Method::GET | Method::HEAD if params.dry_run.is_some() => {
            Err(Problem::malformed("parameter", "`dry_run` is for writes; a read changes nothing"))
        }
        Method::GET | Method::HEAD if call.exact => {
            Box::pin(updates::exact(call, || get(call, &segments, &params, in_lines))).await
        }
        Method::GET | Method::HEAD => get(call, &segments, &params, in_lines),
        Method::POST if list::is_bulk(call) => Box::pin(list::create_many(call, &segments)).await,
        _ => change(call, &segments).await,
    }
}

fn get(
    call: &Call<'_>,
    segments: &[String],
    params: &Params,
    in_lines: bool,
) -> Result<Response<Body>, Problem> {
    if let Some(name) = &params.why {
        return why::answer(call, segments, params, name);
    }
    if let Some(format) = watch::format(&call.headers, params) {
        accept::check(&call.headers, &[accept::EVENTS, lines::CONTENT_TYPE])?;
        return watch::begin(call, segments, params, format);
    }
    if in_lines
        && !params.explain
        && let Some(reply) = lines::serve(call, segments, params)?
    {
        return Ok(reply);
    }
    // What is asked for in lines is no list here, or is to be explained.
    if !(in_lines && params.explain) {
        accept::check(&call.headers, &[accept::JSON])?;
    }
    if let Some(reply) = values::serve(call, segments, params)? {
        return Ok(reply);
    }
    let found = read(call.reads(), |working| {
        let target = path::resolve(working, segments)?;
        let Some(key) = target.resource(working.schema)? else { return Ok(Found::List(target)) };
        params.only_for_one()?;
        let (scope, schema) = (target.scope().cloned(), working.schema);
        let shape = params.shape(names_of(scope.as_ref(), schema), schema, key.ty)?;
        one(call, working, segments, key, &Shape { scope, ..shape }).map(Found::Told)
    })?;
    match found {
        Found::Told(reply) => Ok(reply),
        Found::List(target) => {
            let page = list::serve(call, segments, params, &target)?;
            page.ok_or_else(|| Problem::not_found("the list is gone"))
        }
    }
}

/// What a path turned out to be.
enum Found {
    /// One resource: the reply.
    Told(Response<Body>),
    /// A list, which is yet to be read.
    List(Target),
}

pub(crate) fn one(
    call: &Call<'_>,
    working: &Working<'_>,
    segments: &[String],
    key: &Key,
    shape: &Shape,
) -> Result<Response<Body>, Fault> {
    let Some(doc) = working.after(key)? else {
        let name = &working.schema.ty(key.ty).name;
        return Err(Problem::not_found(format!("there is no {name} {}", key.id)).into());
    };
    if let Some(Some(revisions)) = etags(&call.headers, header::IF_MATCH)?
        && !revisions.contains(&doc.revision)
    {
        let detail = format!("{} {} is at revision {}", working.schema.ty(key.ty).name, key.id, doc.revision);
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "precondition", detail).into());
    }
    if let Some(known) = etags(&call.headers, header::IF_NONE_MATCH)?
        // While an update has yet to reach it, what follows changes without a new revision.
        && !Settled::new(working).is_behind(key)?
        && shape.expand.is_empty()
        // A lazy field has no revision: it may be another value at the same one.
        && !working.schema.ty(key.ty).lazy.iter().any(|slot| shape.shows(*slot))
        && known.is_none_or(|revisions| revisions.contains(&doc.revision))
    {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(with_header(response, header::ETAG, &etag(doc.revision)));
    }
    let by = updates::behind(working, shape.expressions().into_iter());
    list::wait_for(call.exact, &by)?;
    let mut encoder = call.encoder(working);
    encoder.ahead(key.ty, &[&key.id], shape)?;
    encoder.resource(key, &doc, shape)?;
    encoder.pending.extend(by);
    let mut response = updates::marked(json(StatusCode::OK, encoder.out), &encoder.pending);
    response.headers_mut().insert(READS_HEADER, working.base.reads().into());
    response.headers_mut().insert(REVISION_HEADER, working.base.revision().into());
    let resource = working.schema.ty(key.ty);
    let has_own = resource.path.is_some() || resource.url.is_some();
    if let Some(scope) = &shape.scope {
        response = with_header(response, header::CONTENT_LOCATION, &scope.path_of(working, key, &doc));
    } else if segments.len() > 2 || !resource.parents.is_empty() || has_own {
        response =
            with_header(response, header::CONTENT_LOCATION, &path::canonical(working, key, Some(&doc))?);
    }
    if shape.expand.is_empty() {
        // What is expanded has revisions of its own.
        return Ok(with_header(response, header::ETAG, &etag(doc.revision)));
    }
    Ok(response)
}

/// The content type of a body, without its parameters.
fn content_type<'c>(call: &'c Call<'_>) -> Option<&'c str> {
    let kind = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.map(|kind| kind.split(';').next().unwrap_or_default().trim())
}

/// The JSON of a body, by its content type.
pub(crate) fn body_json(call: &Call<'_>) -> Result<Json, Problem> {
    let kinds: &[&str] = match call.method {
        Method::PATCH => &Kind::CONTENT_TYPES,
        Method::POST => &["application/json", "application/x-ndjson"],
        _ => &["application/json"],
    };
    let kind = content_type(call);
    if kind.is_some_and(|kind| !kinds.iter().any(|accepted| accepted.eq_ignore_ascii_case(kind))) {
        let detail = format!("accepted here: {}", kinds.join(", "));
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
    }
    parse_json(&call.body)
}

/// JSON, or where it goes wrong.
pub(crate) fn parse_json(bytes: &[u8]) -> Result<Json, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::malformed("json", format!("the body is no JSON: {error}")))
}

async fn change(call: &Call<'_>, segments: &[String]) -> Result<Response<Body>, Problem> {
    let conditions = Conditions::of(&call.headers)?.asked_by(&call.app.limits);
    let body = if call.method == Method::DELETE { Ok(Json::Null) } else { body_json(call) };
    let kind = content_type(call).map_or(Kind::Merge, Kind::of);
    perform(call, segments, &call.method, &body, kind, &conditions).await
}

/// Carries out a write to what `segments` name, and replies.
pub(crate) async fn perform(
    call: &Call<'_>,
    segments: &[String],
    method: &Method,
    body: &Result<Json, Problem>,
    kind: Kind,
    conditions: &Conditions,
) -> Result<Response<Body>, Problem> {
    let node = &call.app.node;
    let (prepared, scope) = read(call.reads(), |working| {
        let target = path::resolve(working, segments)?;
        let body = body.as_ref();
        let prepared = write::prepare(working, &target, method, body, kind, conditions, &|_| false)?;
        Ok((prepared, target.scope().cloned()))
    })?;
    let Prepared { writes, key, replies } = prepared;
    let manner = Manner::of(call)?;
    let wants = if replies == Replies::Nothing { Wants::nothing() } else { Wants::results() };
    let tell = {
        let (of, scope) = (key.clone(), scope.clone());
        move |working: &Working<'_>, committed: &Committed| {
            told(working, &of, scope.as_ref(), replies, committed)
        }
    };
    let transaction = Transaction { writes };
    let done = commit::carry_out(call.app, manner, transaction, wants, Arc::new(tell)).await;
    done.map_err(|mut problem| match problem.code {
        // Somebody else was faster.
        "exists" if conditions.absent => write::there(node.engine().schema(), &key),
        _ => {
            // Which write it was is of no use to who asked for one.
            problem.errors.iter_mut().for_each(|refusal| refusal.write = None);
            scope.iter().for_each(|scope| scope.tell_problem(&mut problem));
            problem
        }
    })
}

/// What a write of one resource tells.
pub(crate) fn told(
    working: &Working<'_>,
    key: &Key,
    scope: Option<&Arc<Scope>>,
    replies: Replies,
    committed: &Committed,
) -> Result<Told, EngineError> {
    let shown = match (replies, committed.results.last()) {
        (Replies::Created | Replies::Resource, Some(Some(shown))) => shown,
        _ => return Ok(Told { status: StatusCode::NO_CONTENT, headers: Vec::new(), body: None }),
    };
    let mut encoder = Encoder::of_results(working);
    encoder.result(key, shown, scope)?;
    let mut headers = vec![(header::ETAG, etag(shown.doc.revision))];
    let status = match replies {
        Replies::Created => {
            let path = match scope {
                Some(scope) => scope.path_of(working, key, &shown.doc),
                None => path::canonical(working, key, Some(&shown.doc))?,
            };
            headers.push((header::LOCATION, path));
            StatusCode::CREATED
        }
        _ => StatusCode::OK,
    };
    Ok(Told { status, headers, body: Some(encoder.out) })
}
