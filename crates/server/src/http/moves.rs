//! `POST /api/_move`: one resource, those of a list that a condition finds, or all of it go to another parent.
//!
//! Which resources move is found first, and looked at again when the transaction runs: what is no longer in the list, or
//! no longer matches, is left alone. All of them move or none. Read next: `corollary_engine::moves`, which does it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use corollary_engine::query::{self, From, Query};
use corollary_engine::reply::Wants;
use corollary_engine::working::{Working, targets};
use corollary_engine::{
    Committed, Decision, Destination, Doc, EngineError, Key, Refusal, Transaction, Write, order,
};
use corollary_schema::typed::Expr;
use corollary_schema::{Schema, TypeIx};
use corollary_syntax::nearest;
use hashbrown::HashSet;
use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};

use super::by_query;
use super::commit::{self, Manner, Told};
use super::params::Params;
use super::resource::{self, body_json};
use super::write::{Conditions, Replies};
use super::{Call, Fault, read};
use crate::path::{self, List, PathError, Post, PostSeveral, Several, Target};
use crate::problem::Problem;

/// Its path behind [`path::PREFIX`].
pub(crate) const NAME: &str = "_move";

const MEMBERS: [&str; 3] = ["from", "to", "position"];

/// The place of a list's end, wherever that is.
const END: u64 = i64::MAX as u64;

/// What is asked for.
pub(crate) struct Asked {
    /// The path of what moves.
    pub from: String,
    /// The path of a collection.
    pub to: String,
    position: Option<u64>,
}

impl Asked {
    /// From the body of a request.
    pub(crate) fn parse(body: &Map<String, Json>) -> Result<Asked, Problem> {
        let mut errors = Vec::new();
        for name in body.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
            let near = nearest(name, MEMBERS);
            let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            errors.push(refuse(name, format!("a move has no `{name}`{help}")));
        }
        let mut path = |name: &str, what: &str| match body.get(name) {
            Some(Json::String(path)) => path.clone(),
            _ => {
                errors.push(refuse(name, format!("`{name}` is the path of {what}, and has to be there")));
                String::new()
            }
        };
        let from = path("from", "a resource or a list");
        let to = path("to", "a collection");
        let position = body.get("position").filter(|position| !position.is_null());
        let place = position.and_then(Json::as_u64).filter(|place| *place < END);
        if position.is_some() && place.is_none() {
            errors.push(refuse("position", "`position` is a place counted from 0".into()));
        }
        if errors.is_empty() { Ok(Asked { from, to, position: place }) } else { Err(malformed(errors)) }
    }
}

fn refuse(name: &str, message: String) -> Refusal {
    Refusal::new("move", Some(name), message)
}

fn malformed(errors: Vec<Refusal>) -> Problem {
    let detail = errors.first().map_or_else(String::new, |first| first.message.clone());
    Problem { errors, ..Problem::malformed("move", detail) }
}

/// A path of the body that does not do, with its place.
fn at(name: &str, error: PathError) -> Fault {
    match error {
        PathError::Engine(error) => error.into(),
        error => {
            let problem = Problem::from(error);
            let message = format!("`{name}`: {}", problem.detail);
            let errors = vec![Refusal::new(problem.code, Some(name), message.clone())];
            Problem { errors, detail: message, ..problem }.into()
        }
    }
}

/// What moves.
pub(crate) enum Movers {
    /// One resource.
    One(Key),
    /// Those of a list, or those of them for which a condition holds.
    List(List, Option<Expr>),
}

impl Movers {
    fn ty(&self) -> TypeIx {
        match self {
            Movers::One(key) => key.ty,
            Movers::List(list, _) => list.ty,
        }
    }
}

/// What moves, and where to; some resources count as there that are about to be created.
pub(crate) fn find(
    working: &Working<'_>,
    asked: &Asked,
    created: &dyn Fn(&Key) -> bool,
) -> Result<(Movers, Destination), Fault> {
    let schema = working.schema;
    let movers = movers(working, &asked.from, created)?;
    let segments = path::segments(&asked.to).map_err(|error| at("to", error))?;
    outside_of_mounts(schema, "to", &segments)?;
    let to = Ok(segments).and_then(|to| path::resolve_among(working, &to, created));
    let to = match to.map_err(|error| at("to", error))? {
        // In a collection of several types each goes to those of its own.
        Target::Several(several) => {
            several.list_of(movers.ty()).map_or(Target::Several(several), Target::List)
        }
        to => to,
    };
    let (ty, under) = match to {
        Target::Several(Several { lists, post: PostSeveral::Child(_) }) => {
            let names = lists.iter().map(|(ty, _)| schema.ty(*ty).name.as_str());
            let (is, holds) = (&schema.ty(movers.ty()).name, names.collect::<Vec<_>>().join(" and "));
            let message = format!("{} holds {holds}, and what is to move there is {is}", asked.to);
            return Err(Problem::refused(vec![refuse("to", message)]).into());
        }
        Target::List(List { ty, post: Post::Root, .. }) => (ty, None),
        Target::List(List { ty, post: Post::Child(slot, parent), .. }) => (ty, Some((slot, parent.id))),
        _ => {
            let message = format!("`to` is a collection, and {} is none", asked.to);
            return Err(Problem::refused(vec![refuse("to", message)]).into());
        }
    };
    if movers.ty() != ty {
        let (is, holds) = (&schema.ty(movers.ty()).name, &schema.ty(ty).name);
        let message = format!("{} holds {holds}, and what is to move there is {is}", asked.to);
        return Err(Problem::refused(vec![refuse("to", message)]).into());
    }
    Ok((movers, Destination { under, at: asked.position }))
}

/// A mount has no say in where a resource stands.
fn outside_of_mounts(schema: &Schema, name: &str, segments: &[String]) -> Result<(), Fault> {
    match schema.mounts.iter().find(|mount| mount.begins(segments)) {
        Some(mount) => {
            let message = format!(
                "`{name}` is a path in the mount `{}`: move by the resource's own path",
                mount.name()
            );
            Err(Problem::refused(vec![refuse(name, message)]).into())
        }
        None => Ok(()),
    }
}

fn movers(working: &Working<'_>, from: &str, created: &dyn Fn(&Key) -> bool) -> Result<Movers, Fault> {
    let schema = working.schema;
    let (list, condition) = path::condition(from).map_err(|error| at("from", error))?;
    let segments = path::segments(list).map_err(|error| at("from", error))?;
    outside_of_mounts(schema, "from", &segments)?;
    let target = path::resolve_among(working, &segments, created).map_err(|error| at("from", error))?;
    match (target, condition) {
        (Target::List(list), condition) => {
            let params = Params { filter: condition, ..Params::default() };
            let filter = params.filter(schema, list.ty)?;
            Ok(Movers::List(list, filter))
        }
        (Target::Several(_), _) => {
            let message = "`from` is a list of several types; move those of each type by their own list";
            Err(Problem::refused(vec![refuse("from", message.into())]).into())
        }
        (_, Some(_)) => {
            let message = "`from` is one resource, and a condition is for lists";
            Err(Problem::refused(vec![refuse("from", message.into())]).into())
        }
        (target, None) => match target.resource(schema).map_err(|error| at("from", error))? {
            Some(key) if created(key) || working.after(key)?.is_some() => Ok(Movers::One(key.clone())),
            Some(key) => {
                let message = format!("there is no {} {}", schema.ty(key.ty).name, key.id);
                Err(at("from", PathError::NotFound(message)))
            }
            None => Err(at("from", PathError::NotFound(format!("{from} is no resource")))),
        },
    }
}

/// Serves a move.
pub(crate) async fn serve(call: &Call<'_>) -> Result<Response<Body>, Problem> {
    let Json::Object(body) = body_json(call)? else {
        return Err(Problem::malformed("body", "a move is an object with `from` and `to`"));
    };
    let asked = Asked::parse(&body)?;
    call.app.limits.check_path(&asked.from)?;
    call.app.limits.check_path(&asked.to)?;
    let conditions = Conditions::of(&call.headers)?;
    if conditions.absent {
        return Err(Problem::malformed("if-none-match", "a move takes no `If-None-Match`"));
    }
    let manner = Manner::of(call)?;
    let (movers, to) = read(call.reads(), |working| find(working, &asked, &|_| false))?;
    match movers {
        Movers::List(..) if !call.reader.is_everything() => Err(call
            .reader
            .administers("a move of all that match")
            .err()
            .unwrap_or_else(|| Problem::not_found(""))),
        Movers::One(key) => one(call, manner, key, to, &conditions).await,
        Movers::List(..) if conditions.revisions.is_some() || conditions.exists => {
            let detail = "`If-Match` is the revision of one resource, and `from` is a list";
            Err(Problem::malformed("etag", detail))
        }
        Movers::List(list, filter) => many(call, manner, &list, filter, to).await,
    }
}

/// The writes that move one resource; the last of them shows it.
pub(crate) fn writes_of_one(key: &Key, to: Destination, conditions: &Conditions) -> Vec<Write> {
    let moved = Write::Move(key.clone(), to);
    match &conditions.revisions {
        Some(revisions) => vec![Write::Require(key.clone(), revisions.clone()), moved],
        None => vec![moved],
    }
}

async fn one(
    call: &Call<'_>,
    manner: Manner,
    key: Key,
    to: Destination,
    conditions: &Conditions,
) -> Result<Response<Body>, Problem> {
    let transaction = Transaction { writes: writes_of_one(&key, to, conditions) };
    let tell = move |working: &Working<'_>, committed: &Committed| {
        let mut told = resource::told(working, &key, None, Replies::Resource, committed)?;
        if let Some(Some(shown)) = committed.results.last() {
            told.headers.push((header::CONTENT_LOCATION, path::canonical(working, &key, Some(&shown.doc))?));
        }
        Ok(told)
    };
    let done = commit::carry_out(call.app, manner, transaction, Wants::results(), Arc::new(tell)).await;
    done.map_err(|mut problem| {
        // Which write it was is of no use to who asked for one thing.
        problem.errors.iter_mut().for_each(|refusal| refusal.write = None);
        by_its_body(&mut problem.errors);
        problem
    })
}

/// Errors with their places in the body of a move, which calls a place among siblings otherwise than a resource does.
pub(crate) fn by_its_body(errors: &mut [Refusal]) {
    for refusal in errors.iter_mut().filter(|refusal| refusal.path.as_deref() == Some(order::NAME)) {
        refusal.path = Some("position".into());
    }
}

async fn many(
    call: &Call<'_>,
    manner: Manner,
    list: &List,
    filter: Option<Expr>,
    to: Destination,
) -> Result<Response<Body>, Problem> {
    let engine = call.app.node.engine();
    let schema = engine.schema();
    by_query::settle(call, filter.as_ref()).await?;
    let limit = call.app.limits.batch_writes;
    let query = Query {
        order: query::natural_order(schema, &list.from),
        ..by_query::query_of(list, filter, &Params::default(), limit)
    };
    let keys = by_query::found(call, &query)?;
    let moving = Arc::<Mutex<Moving>>::default();
    let writes = writes(&keys, &query, &moving, to);
    let tell = move |_: &Working<'_>, committed: &Committed| {
        let moving = moving.lock();
        let changes = committed.commit.iter().flat_map(|commit| &commit.changes);
        let changed = changes.filter(|change| moving.matching.contains(&change.key)).count();
        let revision = committed.revision.to_string();
        let body = json!({"matched": moving.matching.len(), "changed": changed, "revision": revision});
        Ok(Told { status: StatusCode::OK, headers: Vec::new(), body: Some(body.to_string().into()) })
    };
    let transaction = Transaction { writes };
    let done = commit::carry_out(call.app, manner, transaction, Wants::nothing(), Arc::new(tell)).await;
    done.map_err(|mut problem| {
        by_its_body(&mut problem.errors);
        by_query::naming(schema, &keys, problem)
    })
}

/// What a move of many has found out by the time.
#[derive(Default)]
struct Moving {
    /// Those that match when the transaction runs.
    matching: HashSet<Key>,
    /// How many of them stand in their places.
    placed: u64,
}

/// A write for each resource that still matches when its transaction runs; and where a place is asked for, one more: all go
/// to the end first, so that then each finds those that stay where they are.
fn writes(keys: &[Key], query: &Query, moving: &Arc<Mutex<Moving>>, to: Destination) -> Vec<Write> {
    let all: Arc<[Key]> = keys.into();
    let from = Arc::new((query.from.clone(), query.filter.clone()));
    let mut writes = Vec::with_capacity(keys.len() * 2);
    let first = Destination { at: to.at.map(|_| END), ..to.clone() };
    for (number, key) in keys.iter().enumerate() {
        let (all, from, moving, to) = (all.clone(), from.clone(), moving.clone(), first.clone());
        let decide = move |working: &Working<'_>, key: &Key, _: Option<&Arc<Doc>>| {
            let mut moving = moving.lock();
            if number == 0 {
                *moving = Moving { matching: matching(working, &all, &from.0, from.1.as_ref())?, placed: 0 };
            }
            Ok(moving.matching.contains(key).then(|| Write::Move(key.clone(), to.clone())))
        };
        writes.push(Write::Decide(key.clone(), Decision::new(decide)));
    }
    let Some(place) = to.at else { return writes };
    for key in keys {
        let (moving, to) = (moving.clone(), to.clone());
        let decide = move |_: &Working<'_>, key: &Key, _: Option<&Arc<Doc>>| {
            let mut moving = moving.lock();
            if !moving.matching.contains(key) {
                return Ok(None);
            }
            let at = Some(place + moving.placed);
            moving.placed += 1;
            Ok(Some(Write::Move(key.clone(), Destination { at, ..to.clone() })))
        };
        writes.push(Write::Decide(key.clone(), Decision::new(decide)));
    }
    writes
}

/// Those that are still in the list, and match.
fn matching(
    working: &Working<'_>,
    keys: &[Key],
    from: &From,
    filter: Option<&Expr>,
) -> Result<HashSet<Key>, EngineError> {
    let mut found = by_query::matches(working, keys, filter)?;
    if let From::Referring(via, owner) = from {
        for key in keys.iter().filter(|key| key.ty == via.ty) {
            let doc = working.after(key)?;
            if !doc.is_some_and(|doc| targets(doc.get(via.slot)).contains(owner)) {
                found.remove(key);
            }
        }
    }
    Ok(found)
}

/// The one resource that an item of a batch moves.
pub(crate) fn single(schema: &Schema, movers: Movers) -> Result<Key, String> {
    match movers {
        Movers::One(key) => Ok(key),
        Movers::List(list, _) => Err(format!(
            "a batch moves one {} at a time; a list is moved by a request of its own",
            schema.ty(list.ty).name
        )),
    }
}
