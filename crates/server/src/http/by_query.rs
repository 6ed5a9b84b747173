//! What is asked with a body: `POST …/_query`, `_count`, `_update` and `_delete` of a list.
//!
//! `_query` is GET with its parameters in a body, answered by the same code. `_update` and `_delete` find the resources
//! first, and look at each again when they are executed: what no longer matches then is left alone. All of them happen
//! or none.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use corollary_engine::eval::Eval;
use corollary_engine::query::{self, Query};
use corollary_engine::reply::Wants;
use corollary_engine::working::Working;
use corollary_engine::{Committed, Decision, Doc, EngineError, Key, Refusal, Transaction, Write};
use corollary_schema::typed::Expr;
use corollary_schema::{Schema, TypeIx};
use corollary_syntax::nearest;
use hashbrown::HashSet;
use parking_lot::Mutex;
use serde_json::{Map, Value as Json};

use super::commit::{self, Manner, Told};
use super::list::{self, Asked, Next};
use super::params::{DEFAULT_LIMIT, MAX_LIMIT, Params};
use super::reader::granted;
use super::resource::body_json;
use super::updates;
use super::{Call, REVISION_HEADER, idempotency, json, read, several, with_header};
use crate::condition;
use crate::json::decode;
use crate::mounts::{Scope, names_of, narrowed};
use crate::patch::{Kind, Patch};
use crate::path::{self, List, Post, Target};
use crate::problem::Problem;

/// The most resources that `start` and `size` together go through; behind them a `page_token` leads on.
pub const MAX_START: usize = 10_000;

/// What can be asked, and what each takes.
const VERBS: [(&str, &[&str]); 4] = [
    (
        "_query",
        &[
            "where",
            "order",
            "start",
            "size",
            "page_token",
            "fields",
            "expand",
            "count",
            "allow_scan",
            "explain",
        ],
    ),
    ("_count", &["where", "allow_scan"]),
    ("_update", &["where", "patch", "content_type", "allow_scan"]),
    ("_delete", &["where", "allow_scan"]),
];

/// Is it something that a list can be asked?
pub(crate) fn is_verb(segment: &str) -> bool {
    VERBS.iter().any(|(verb, _)| *verb == segment)
}

/// Serves a request to a list at `segments`.
pub(crate) async fn serve(
    call: &Call<'_>,
    segments: &[String],
    verb: &str,
) -> Result<Response<Body>, Problem> {
    if call.method != Method::POST {
        return Err(Problem::not_allowed("POST"));
    }
    let changes = matches!(verb, "_update" | "_delete");
    let query = call.uri.query();
    if !changes {
        idempotency::refuse(call, "a question")?;
    }
    if changes {
        commit::check_parameters(query, &format!("`{verb}` takes what it is asked in its body"))?;
    } else if query.is_some_and(|query| !query.is_empty()) {
        let detail = format!("`{verb}` takes what it is asked in its body, and no parameters");
        return Err(Problem::malformed("parameter", detail));
    }
    let body = if call.body.is_empty() { Json::Object(Map::new()) } else { body_json(call)? };
    let Json::Object(body) = body else {
        return Err(Problem::malformed("body", format!("`{verb}` takes an object")));
    };
    let takes = VERBS.iter().find(|(known, _)| *known == verb).map_or(&[][..], |(_, takes)| takes);
    for name in body.keys() {
        if !takes.contains(&name.as_str()) {
            let near = nearest(name, takes.iter().copied());
            let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(refused(name, format!("`{verb}` takes no `{name}`{help}")));
        }
    }
    let engine = call.app.node.engine();
    let target = read(call.reads(), |working| Ok(path::resolve(working, segments)?))?;
    let scope = target.scope().cloned();
    let names = names_of(scope.as_ref(), engine.schema());
    let typed = |ty: TypeIx| match body.get("where") {
        None => Ok(None),
        Some(tree) => condition::typed(names, ty, tree, "where").map_err(|errors| {
            let detail = errors.first().map_or_else(String::new, |first| first.message.clone());
            Problem { errors, ..Problem::malformed("filter", detail) }
        }),
    };
    let list = match target {
        Target::List(list) => list,
        Target::Several(several) => {
            let params = params(&body)?.within(&call.app.limits)?;
            let filter = several.lists.iter().map(|(ty, _)| typed(*ty)).collect::<Result<_, _>>()?;
            let start = start(&body, &params)?;
            let asked = Asked { filter, start, next: Next::Token, params: &params };
            return match verb {
                "_query" => read_as_asked(call, || several::page(call, segments, &asked)).await,
                "_count" => read_as_asked(call, || several::count(call, segments, &asked)).await,
                _ => Err(Problem {
                    detail: format!("`{verb}` is asked of a list of one type, and this is of several"),
                    ..Problem::not_allowed("GET")
                }),
            };
        }
        _ => {
            return Err(Problem::not_found(format!("`{verb}` is asked of a list, and this is one resource")));
        }
    };
    let params = params(&body)?.within(&call.app.limits)?;
    let filter = typed(list.ty)?;
    match verb {
        "_query" => {
            let asked = Asked { filter, start: start(&body, &params)?, next: Next::Token, params: &params };
            read_as_asked(call, || list::page(call, &|working| list::again(working, segments), &list, &asked))
                .await
        }
        "_count" => read_as_asked(call, || count(call, segments, &list, &filter, &params)).await,
        _ => change(call, verb, &list, filter, &params, &body).await,
    }
}

/// A read, repeated until nothing is behind where that is asked for.
async fn read_as_asked(
    call: &Call<'_>,
    read: impl Fn() -> Result<Response<Body>, Problem>,
) -> Result<Response<Body>, Problem> {
    let read = || tokio::task::block_in_place(&read);
    if call.exact { updates::exact(call, read).await } else { read() }
}

fn refused(name: &str, message: String) -> Problem {
    let errors = vec![Refusal::new("parameter", Some(name), message.clone())];
    Problem { errors, ..Problem::malformed("parameter", message) }
}

/// The parameters of a GET that a body says. Lists of texts may be written as such, or as one text.
fn params(body: &Map<String, Json>) -> Result<Params, Problem> {
    let texts = |name: &str| match body.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(Json::Array(parts)) if parts.iter().all(Json::is_string) => {
            Ok(Some(parts.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(",")))
        }
        Some(_) => Err(refused(name, format!("`{name}` is a text, or a list of texts"))),
    };
    let flag = |name: &str| match body.get(name) {
        None => Ok(false),
        Some(Json::Bool(flag)) => Ok(*flag),
        Some(_) => Err(refused(name, format!("`{name}` is true or false"))),
    };
    let limit = match body.get("size") {
        None => DEFAULT_LIMIT,
        Some(size) => match size.as_u64().and_then(|size| usize::try_from(size).ok()) {
            Some(size @ 1..=MAX_LIMIT) => size,
            _ => return Err(refused("size", format!("`size` is a number from 1 to {MAX_LIMIT}"))),
        },
    };
    let page_token = match body.get("page_token") {
        None | Some(Json::Null) => None,
        Some(Json::String(token)) => Some(token.clone()),
        Some(_) => return Err(refused("page_token", "`page_token` is a text".into())),
    };
    Ok(Params {
        // For the page token, which is for one condition only.
        filter: body.get("where").map(Json::to_string),
        order: texts("order")?,
        limit,
        page_token,
        count: flag("count")?,
        expand: texts("expand")?,
        fields: texts("fields")?,
        allow_scan: flag("allow_scan")?,
        explain: flag("explain")?,
        ..Params::default()
    })
}

fn start(body: &Map<String, Json>, params: &Params) -> Result<usize, Problem> {
    let Some(start) = body.get("start") else { return Ok(0) };
    let most = MAX_START - params.limit;
    match start.as_u64().and_then(|start| usize::try_from(start).ok()).filter(|start| *start <= most) {
        Some(start) if start > 0 && params.page_token.is_some() => {
            Err(refused("start", "a page begins at `start` or behind `page_token`, not both".into()))
        }
        Some(start) => Ok(start),
        None => {
            let message = format!(
                "`start` and `size` together are at most {MAX_START}; behind that a `page_token` leads on"
            );
            Err(refused("start", message))
        }
    }
}

pub(crate) fn query_of(list: &List, filter: Option<Expr>, params: &Params, limit: usize) -> Query {
    Query {
        ty: list.ty,
        from: list.from.clone(),
        filter: narrowed(list.scope.as_ref(), filter),
        order: Vec::new(),
        limit,
        after: None,
        scan_limit: params.scan_limit(),
    }
}

fn count(
    call: &Call<'_>,
    segments: &[String],
    list: &List,
    filter: &Option<Expr>,
    params: &Params,
) -> Result<Response<Body>, Problem> {
    let query = query_of(list, filter.clone(), params, 1);
    let (count, revision, pending) = read(call.reads(), |working| {
        let query = Query { from: list::again(working, segments)?.list.from, ..query.clone() };
        let query = granted(working, query)?;
        let pending = updates::behind(working, query.filter.iter());
        Ok((query::count(working, &query)?, working.base.revision(), pending))
    })?;
    let body = serde_json::json!({"count": count, "revision": revision.to_string()});
    let response = updates::marked(json(StatusCode::OK, body.to_string()), &pending);
    Ok(with_header(response, REVISION_HEADER, &revision.to_string()))
}

/// Which of the resources that were found match when the transaction runs.
type Matching = Arc<Mutex<HashSet<Key>>>;

async fn change(
    call: &Call<'_>,
    verb: &str,
    list: &List,
    filter: Option<Expr>,
    params: &Params,
    body: &Map<String, Json>,
) -> Result<Response<Body>, Problem> {
    let node = &call.app.node;
    let schema = node.engine().schema();
    let delete = verb == "_delete";
    // Whether the condition holds is found out again when the transaction runs, by all there is.
    call.reader.administers("a change of all that match")?;
    if delete && filter.is_none() {
        let detail = "`_delete` without a condition would delete all: if that is what you want, say {\"where\": {\"expr\": \"true\"}}";
        return Err(Problem::malformed("empty-condition", detail));
    }
    if delete && matches!(list.post, Post::Link(..)) {
        let detail = "links are taken out by a PATCH or by DELETE of each; `_delete` deletes resources, by their own list";
        return Err(Problem { detail: detail.into(), ..Problem::not_allowed("GET, POST") });
    }
    let change = if delete {
        Change::Delete
    } else {
        Change::update(names_of(list.scope.as_ref(), schema), list.ty, body)?
    };
    let manner = Manner::of(call)?;
    let query = query_of(list, filter, params, call.app.limits.batch_writes);
    settle(call, query.filter.as_ref()).await?;
    let keys = found(call, &query)?;
    let matching = Matching::default();
    let scope = list.scope.as_ref();
    let writes = writes(&keys, query.filter.map(Arc::new), &matching, change, scope);
    let tell = move |_: &Working<'_>, committed: &Committed| {
        let matching = matching.lock();
        let changes = committed.commit.iter().flat_map(|commit| &commit.changes);
        let changed = changes.filter(|change| matching.contains(&change.key)).count();
        let revision = committed.revision.to_string();
        let body = serde_json::json!({"matched": matching.len(), "changed": changed, "revision": revision});
        Ok(Told { status: StatusCode::OK, headers: Vec::new(), body: Some(body.to_string().into()) })
    };
    let transaction = Transaction { writes };
    let done = commit::carry_out(call.app, manner, transaction, Wants::nothing(), Arc::new(tell)).await;
    done.map_err(|mut problem| {
        scope.iter().for_each(|scope| scope.tell_problem(&mut problem));
        // What is in the way of a deletion says of which it is, and all go at once.
        let keys = if delete { &[][..] } else { &keys };
        naming(schema, keys, problem)
    })
}

/// Waits until a condition reads nothing that is behind: nothing changes because of such a value.
pub(crate) async fn settle(call: &Call<'_>, filter: Option<&Expr>) -> Result<(), Problem> {
    let Some(filter) = filter else { return Ok(()) };
    let settled = updates::exact(call, || {
        let pending = read(call.reads(), |working| Ok(updates::behind(working, std::iter::once(filter))))?;
        Ok(updates::marked(Response::new(Body::empty()), &pending))
    });
    settled.await.map(drop)
}

/// The resources that are to change; no more than one transaction takes.
pub(crate) fn found(call: &Call<'_>, query: &Query) -> Result<Vec<Key>, Problem> {
    let page = tokio::task::block_in_place(|| read(call.reads(), |working| Ok(query::run(working, query)?)))?;
    if page.more {
        let limit = query.limit;
        let detail = format!(
            "more than {limit} resources match, and at most that many change in one transaction: narrow the condition"
        );
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "batch-limit", detail));
    }
    Ok(page.items.into_iter().map(|item| item.key).collect())
}

/// A refusal that names the resource it is about instead of the number of its write.
pub(crate) fn naming(schema: &Schema, keys: &[Key], mut problem: Problem) -> Problem {
    let at = problem.errors.first().and_then(|refusal| refusal.write);
    // There may be more writes than one of each.
    if let Some(key) = at.and_then(|at| keys.get(at % keys.len().max(1))) {
        problem.detail = format!("{} {}: {}", schema.ty(key.ty).name, key.id, problem.detail);
    }
    problem.errors.iter_mut().for_each(|refusal| refusal.write = None);
    problem
}

/// What is done with each resource.
enum Change {
    Delete,
    Patch(Patch),
}

impl Change {
    /// The change that an `_update` asks for.
    fn update(schema: &Schema, ty: TypeIx, body: &Map<String, Json>) -> Result<Change, Problem> {
        let kind =
            Kind::named(body.get("content_type")).map_err(|message| refused("content_type", message))?;
        let patch = match (kind, body.get("patch")) {
            (_, None) => return Err(refused("patch", "`_update` needs a `patch`".into())),
            (Kind::Merge, Some(Json::Object(members))) if members.contains_key("_id") => {
                return Err(refused("patch", "`_id` does not change".into()));
            }
            (Kind::Merge, Some(Json::Object(members))) => {
                Patch::Edits(decode::merge_patch(schema, ty, members, None).map_err(Problem::refused)?)
            }
            (Kind::Merge, Some(_)) => {
                let message = "a merge patch is an object with fields and their new values";
                return Err(refused("patch", message.into()));
            }
            (kind, Some(patch)) => match Patch::parse(schema, ty, kind, patch)? {
                Patch::Moves(_) => {
                    let message = "what a collection holds has one parent: it moves by a PATCH of that, or by `/api/_move`";
                    return Err(refused("patch", message.into()));
                }
                patch => patch,
            },
        };
        Ok(Change::Patch(patch))
    }

    /// What becomes of one of those that match. The first takes all with it that are deleted: whether a link forbids it does not
    /// depend on which of them comes first.
    fn write(&self, key: &Key, matching: impl Iterator<Item = Key>, scope: Option<&Arc<Scope>>) -> Write {
        match self {
            Change::Delete => Write::DeleteAll(key.clone(), matching.collect()),
            Change::Patch(patch) => patch.write(key.clone(), scope),
        }
    }
}

/// A write for each resource that still matches when its transaction runs. All are looked at before the first changes, so
/// what happens to one does not decide about the next.
fn writes(
    keys: &[Key],
    filter: Option<Arc<Expr>>,
    matching: &Matching,
    change: Change,
    scope: Option<&Arc<Scope>>,
) -> Vec<Write> {
    let all: Arc<[Key]> = keys.into();
    let change = Arc::new(change);
    let mut writes = Vec::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        let (change, scope) = (change.clone(), scope.cloned());
        let (all, filter, matching) = (all.clone(), filter.clone(), matching.clone());
        let decide = move |working: &Working<'_>, key: &Key, _: Option<&Arc<Doc>>| {
            let mut matching = matching.lock();
            if at == 0 {
                *matching = matches(working, &all, filter.as_deref())?;
            }
            // What has gone with an earlier one of them is gone already.
            let there = matching.contains(key) && working.after(key)?.is_some();
            let those = all.iter().filter(|key| matching.contains(*key)).cloned();
            Ok(there.then(|| change.write(key, those, scope.as_ref())))
        };
        writes.push(Write::Decide(key.clone(), Decision::new(decide)));
    }
    // What has been changed is still there, in a mount; what has been left alone need not be.
    if let Some(scope) = scope {
        writes.extend(keys.iter().map(|key| {
            let matching = matching.clone();
            scope.end_of(key.clone(), move |key| matching.lock().contains(key))
        }));
    }
    writes
}

/// Those that are there, and for which the condition holds.
pub(crate) fn matches(
    working: &Working<'_>,
    keys: &[Key],
    filter: Option<&Expr>,
) -> Result<HashSet<Key>, EngineError> {
    working.prefetch(keys.iter())?;
    let mut found = HashSet::with_capacity(keys.len());
    for key in keys {
        let Some(doc) = working.after(key)? else { continue };
        let holds = match filter {
            Some(filter) => Eval::of(working, &key.id, &doc).holds(filter)?,
            None => true,
        };
        if holds {
            found.insert(key.clone());
        }
    }
    Ok(found)
}
