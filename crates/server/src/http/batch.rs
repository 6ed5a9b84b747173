//! `POST /api/_batch`: an ordered list of writes and reads in one transaction, with references to earlier results.
//!
//! `"$0._id"` and `"$0._self"`, in a path or as a value of a body, stand for the resource of item 0: its id is known
//! before anything is written, since the server makes ids itself.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use corollary_engine::reply::Wants;
use corollary_engine::working::Working;
use corollary_engine::{Committed, EngineError, Key, Refusal, Transaction, Write};
use hashbrown::HashSet;
use serde_json::{Map, Value as Json};

use super::commit::{self, Manner, Told};
use super::write::{self, Conditions, Replies};
use super::{Call, Fault, Limits, moves, read};
use crate::json::encode::Encoder;
use crate::mounts::Scope;
use crate::mounts::permit::permit;
use crate::patch::Kind;
use crate::path::{self, List, Post, PostSeveral, Several, Target};
use crate::problem::Problem;

/// Serves a batch.
pub(crate) async fn serve(call: &Call<'_>) -> Result<Response<Body>, Problem> {
    let manner = Manner::of(call)?;
    let Json::Array(items) = super::resource::body_json(call)? else {
        return Err(Problem::malformed("body", "a batch is a list of {\"method\", \"path\", \"body\"}"));
    };
    run(call, &items, manner).await
}

/// The items that come before another.
#[derive(Default)]
struct Earlier {
    steps: Vec<Step>,
    /// What is where its path says because of one of them.
    new: HashSet<Key>,
}

/// One item, ready to be written.
struct Step {
    writes: Vec<Write>,
    key: Key,
    replies: Replies,
    /// Its path, for references: known at once where it is not owned by something else.
    path: String,
    /// Is it where its path says because of this item?
    new: bool,
    /// The mount that it went through.
    scope: Option<Arc<Scope>>,
    /// Is it a move?
    moves: bool,
}

async fn run(call: &Call<'_>, items: &[Json], manner: Manner) -> Result<Response<Body>, Problem> {
    let app = call.app;
    let limit = app.limits.batch_writes;
    if items.len() > limit {
        let detail = format!("a batch has at most {limit} items, and this has {}", items.len());
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "batch-limit", detail));
    }
    let mut steps = read(call.reads(), |working| {
        let mut earlier = Earlier::default();
        let mut errors: Vec<Problem> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match step(working, &app.limits, item, &earlier) {
                Ok(step) => {
                    if step.new {
                        earlier.new.insert(step.key.clone());
                    }
                    earlier.steps.push(step);
                }
                Err(Fault::Engine(error)) => return Err(error.into()),
                Err(Fault::Problem(mut problem)) => {
                    if problem.errors.is_empty() {
                        let refusal = Refusal::new(problem.code, None, problem.detail.clone());
                        problem.errors.push(refusal);
                    }
                    problem.errors.iter_mut().for_each(|refusal| refusal.write = Some(at));
                    problem.detail = format!("item {at}: {}", problem.detail);
                    // Later items may refer to this one, so what they say is of no use.
                    errors.push(*problem);
                    break;
                }
            }
        }
        match errors.pop() {
            Some(problem) => Err(problem.into()),
            None => Ok(earlier.steps),
        }
    })?;
    let mut writes = Vec::with_capacity(steps.len());
    // Behind the writes of each item.
    let mut ends = Vec::with_capacity(steps.len());
    for step in &mut steps {
        writes.append(&mut step.writes);
        ends.push(writes.len());
    }
    let steps = Arc::new(steps);
    let tell = {
        let (steps, ends) = (steps.clone(), ends.clone());
        move |working: &Working<'_>, committed: &Committed| told(working, &steps, &ends, committed)
    };
    let transaction = Transaction { writes };
    let done = commit::carry_out(app, manner, transaction, Wants::results(), Arc::new(tell)).await;
    done.map_err(|mut problem| {
        for refusal in &mut problem.errors {
            let item = refusal.write.map(|write| ends.partition_point(|end| *end <= write));
            refusal.write = item.filter(|at| *at < steps.len());
            match refusal.write.map(|at| &steps[at]) {
                Some(Step { scope: Some(scope), .. }) => scope.tell(std::slice::from_mut(refusal)),
                Some(Step { moves: true, .. }) => moves::by_its_body(std::slice::from_mut(refusal)),
                _ => {}
            }
        }
        if let Some(at) = problem.errors.first().and_then(|refusal| refusal.write) {
            if let [one] = &problem.errors[..] {
                problem.detail.clone_from(&one.message);
            }
            problem.detail = format!("item {at}: {}", problem.detail);
        }
        problem
    })
}

/// What a batch tells: of each item, behind the last of its writes.
fn told(
    working: &Working<'_>,
    steps: &[Step],
    ends: &[usize],
    committed: &Committed,
) -> Result<Told, EngineError> {
    let mut encoder = Encoder::of_results(working);
    encoder.out.push(b'[');
    for (at, (step, end)) in steps.iter().zip(ends).enumerate() {
        if at > 0 {
            encoder.out.push(b',');
        }
        // Each item has one write at least.
        let shown = committed.results.get(end - 1).and_then(Option::as_ref);
        match (step.replies, shown) {
            (Replies::Created | Replies::Resource, Some(shown)) => {
                let status: &[u8] = if step.replies == Replies::Created { b"201" } else { b"200" };
                encoder.out.extend_from_slice(b"{\"status\":");
                encoder.out.extend_from_slice(status);
                encoder.out.extend_from_slice(b",\"body\":");
                encoder.result(&step.key, shown, step.scope.as_ref())?;
                encoder.out.push(b'}');
            }
            _ => encoder.out.extend_from_slice(b"{\"status\":204}"),
        }
    }
    encoder.out.push(b']');
    Ok(Told { status: StatusCode::OK, headers: Vec::new(), body: Some(encoder.out) })
}

fn step(working: &Working<'_>, limits: &Limits, item: &Json, earlier: &Earlier) -> Result<Step, Fault> {
    let malformed = |detail: String| Fault::from(Problem::malformed("batch", detail));
    let Json::Object(members) = item else {
        return Err(malformed("an item is an object with `method`, `path` and `body`".into()));
    };
    for name in members.keys() {
        if !["method", "path", "body", "if_match", "content_type"].contains(&name.as_str()) {
            return Err(malformed(format!("an item has no `{name}`")));
        }
    }
    let text = |name: &str| match members.get(name) {
        Some(Json::String(text)) => Ok(text.as_str()),
        _ => Err(malformed(format!("`{name}` is a text, and has to be there"))),
    };
    let method = match text("method")? {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        other => {
            return Err(malformed(format!("`{other}` is no method: GET, POST, PUT, PATCH or DELETE")));
        }
    };
    let path = refer_in_path(text("path")?, &earlier.steps).map_err(malformed)?;
    let mut conditions = Conditions::default().asked_by(limits);
    if let Some(value) = members.get("if_match") {
        let revision = match value {
            Json::String(text) => text.trim_matches('"').parse().ok(),
            Json::Number(number) => number.as_u64(),
            _ => None,
        };
        match (revision, value.as_str()) {
            (Some(revision), _) => conditions.revisions = Some(vec![revision]),
            (None, Some("*")) => conditions.exists = true,
            (None, _) => return Err(malformed("`if_match` is a revision, or `*`".into())),
        }
    }
    limits.check_path(&path)?;
    let named = path::segments(&path)?;
    let created = |key: &Key| earlier.new.contains(key);
    if named == [moves::NAME] {
        if method != Method::POST {
            return Err(Problem::not_allowed("POST").into());
        }
        let Some(Json::Object(body)) = members.get("body") else {
            return Err(malformed("a move has a `body` with `from` and `to`".into()));
        };
        let mut asked = moves::Asked::parse(body)?;
        for path in [&mut asked.from, &mut asked.to] {
            *path = refer_in_path(path, &earlier.steps).map_err(malformed)?;
            limits.check_path(path)?;
        }
        let (movers, to) = moves::find(working, &asked, &created)?;
        let key = moves::single(working.schema, movers).map_err(malformed)?;
        let (writes, path) = (moves::writes_of_one(&key, to, &conditions), path::member_of(&asked.to, &key));
        return Ok(Step {
            writes,
            key,
            replies: Replies::Resource,
            path,
            new: true,
            scope: None,
            moves: true,
        });
    }
    let (nothing, mut referring);
    let body = match members.get("body") {
        Some(body) if refers(body) => {
            referring = body.clone();
            refer(&mut referring, &earlier.steps).map_err(malformed)?;
            &referring
        }
        Some(body) => body,
        None => {
            nothing = Json::Object(Map::new());
            &nothing
        }
    };
    permit(working.schema, &named, &method, &HeaderMap::new())?;
    let target = path::resolve_among(working, &named, &created)?;
    let scope = target.scope().cloned();
    if method == Method::GET {
        let Some(key) = target.resource(working.schema)?.cloned() else {
            return Err(malformed("a batch reads single resources only".into()));
        };
        let mut writes = vec![Write::Read(key.clone())];
        if let Some(scope) = &scope {
            writes.insert(0, scope.begin(key.clone()));
        }
        return Ok(Step { writes, key, replies: Replies::Resource, path, new: false, scope, moves: false });
    }
    let kind = Kind::named(members.get("content_type")).map_err(malformed)?;
    let prepared = write::prepare(working, &target, &method, Ok(body), kind, &conditions, &created)?;
    let path = match &target {
        Target::List(List { post: Post::Root | Post::Child(..), .. })
        | Target::Several(Several { post: PostSeveral::Child(_), .. }) => {
            path::member_of(&path, &prepared.key)
        }
        _ => path,
    };
    let new = prepared.replies == Replies::Created;
    Ok(Step {
        writes: prepared.writes,
        key: prepared.key,
        replies: prepared.replies,
        path,
        new,
        scope,
        moves: false,
    })
}

/// What `$N._id` or `$N._self` stands for; none where a text is no reference, as "$5.00".
fn referred(text: &str, earlier: &[Step]) -> Option<Result<String, String>> {
    let (number, part) = text.strip_prefix('$')?.split_once('.')?;
    let at: usize = number.parse().ok()?;
    if !part.starts_with('_') {
        return None;
    }
    let Some(step) = earlier.get(at) else {
        return Some(Err(format!("`{text}` refers to item {at}, which does not come before this one")));
    };
    match part {
        "_id" => Some(Ok(step.key.id.to_string())),
        "_self" => Some(Ok(step.path.clone())),
        _ => Some(Err(format!("`{text}`: an item can be referred to by `_id` and by `_self`"))),
    }
}

fn refer_in_path(path: &str, earlier: &[Step]) -> Result<String, String> {
    if !path.contains('$') {
        return Ok(path.into());
    }
    let segments: Result<Vec<String>, String> = path
        .split('/')
        .map(|segment| referred(segment, earlier).unwrap_or_else(|| Ok(segment.into())))
        .collect();
    Ok(segments?.join("/"))
}

/// May a text in a body be a reference?
fn refers(body: &Json) -> bool {
    match body {
        Json::String(text) => text.starts_with('$'),
        Json::Array(elements) => elements.iter().any(refers),
        Json::Object(members) => members.values().any(refers),
        _ => false,
    }
}

/// Puts into a body what its texts stand for.
fn refer(body: &mut Json, earlier: &[Step]) -> Result<(), String> {
    match body {
        Json::String(text) => {
            if let Some(referred) = referred(text, earlier) {
                *text = referred?;
            }
            Ok(())
        }
        Json::Array(elements) => elements.iter_mut().try_for_each(|element| refer(element, earlier)),
        Json::Object(members) => members.values_mut().try_for_each(|value| refer(value, earlier)),
        _ => Ok(()),
    }
}
