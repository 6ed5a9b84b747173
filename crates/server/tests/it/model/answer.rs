//! What the model answers to a request, and the state that comes of it.

use super::batch;
use super::patches;
use super::paths::{self, List, Place, Post};
use super::reads;
use super::request::{Body, Early, Expected, Made, Request, Tag};
use super::schema::Type;
use super::state::{Held, Key, State};
use super::values::Wrong;
use super::work::Work;
use super::writes::{self, Conditions, Done, Given, Replies};
use crate::common::{Json, json};

/// The reply, and the state behind it where something was written.
#[derive(Debug)]
pub struct Answer {
    pub expected: Expected,
    pub after: Option<State>,
}

pub fn answer(state: &State, request: &Request, made: &mut Made) -> Answer {
    let answer =
        ask(state, request, made).unwrap_or_else(|expected| Answer { expected: *expected, after: None });
    match answer.after {
        Some(after) if request.dry_run => {
            Answer { expected: super::dry_run::told(state, &after, &answer.expected), after: None }
        }
        _ => answer,
    }
}

fn ask(state: &State, request: &Request, made: &mut Made) -> Early<Answer> {
    if matches!(request.path.as_str(), "/api/_batch" | "/api/_move") {
        if request.method != "POST" {
            return Err(Expected::not_allowed("POST"));
        }
        let body = body(request)?;
        return match request.path.as_str() {
            "/api/_batch" => batch::batch(state, &body, made),
            _ => moves(state, request, &body),
        };
    }
    let segments = paths::segments(&request.path);
    writes::permit(&segments, request.method, request.if_none_match.is_some())?;
    if let Some((verb, list)) = segments.split_last().filter(|(verb, _)| verb.starts_with('_')) {
        return by_condition(state, request, list, verb);
    }
    if request.reads() {
        if request.extra.is_some() {
            return Err(Expected::refused(400, "parameter"));
        }
        let expected = reads::read(state, request)?;
        return Ok(Answer { expected, after: None });
    }
    if request.extra.is_some() {
        return Err(Expected::refused(400, "parameter"));
    }
    let many = match &request.body {
        Body::Lines(_) => true,
        Body::Json(json) => json.is_array(),
        Body::Raw(kind, text) => *kind == "application/x-ndjson" || text.trim_start().starts_with('['),
        Body::None => false,
    };
    if request.method == "POST" && many {
        return create_many(state, request, &segments, made);
    }
    let place = paths::resolve(state, &segments)?;
    let given = given(state, request, &place);
    let mut work = Work::on(state);
    let done = writes::one(&mut work, place, &given, made)?;
    let through = done.through.clone();
    let after = work
        .finish(|state| writes::ends(state, &done))
        .map_err(|wrong| writes::by_names(through.as_ref(), wrong))?;
    Ok(Answer { expected: replied(&after, &done), after: Some(after) })
}

/// What a request gives to a write of what is at a place.
fn given<'r>(state: &State, request: &'r Request, place: &Place) -> Given<'r> {
    let key = match place {
        Place::One { key, .. } | Place::List(List { post: Post::Link(key, _), .. }) => Some(key),
        Place::Linked { owner, .. } if request.method == "DELETE" => Some(owner),
        Place::Linked { key, .. } => Some(key),
        Place::List(_) => None,
    };
    let revision = match (&request.if_match, key) {
        (Some(Tag::Current), Some(key)) => Some(state.docs.get(key).map_or(u64::MAX, |doc| doc.revision)),
        (Some(Tag::Stale), _) => Some(u64::MAX),
        _ => None,
    };
    let conditions = Conditions {
        revision,
        exists: request.if_match == Some(Tag::Any),
        absent: request.if_none_match == Some(Tag::Any),
    };
    Given { method: request.method, body: body(request), content: request.content, conditions }
}

/// The JSON of a body, by its kind.
fn body(request: &Request) -> Early<Json> {
    let accepted: &[&str] = match request.method {
        "PATCH" => &[
            "application/json",
            "application/merge-patch+json",
            super::request::JSON_PATCH,
            super::request::ACTIONS,
        ],
        "POST" => &["application/json", "application/x-ndjson"],
        _ => &["application/json"],
    };
    match &request.body {
        Body::Json(_) if !accepted.contains(&request.content) => Err(Expected::refused(415, "media-type")),
        Body::Json(json) => Ok(json.clone()),
        Body::Raw(kind, _) if !accepted.contains(kind) => Err(Expected::refused(415, "media-type")),
        _ => Err(Expected::refused(400, "json")),
    }
}

/// The reply to one write.
fn replied(after: &State, done: &Done) -> Expected {
    let revision = after.revision.to_string();
    if done.replies == Replies::Nothing {
        return Expected { status: 204, ..Expected::default() }.and("corollary-revision", revision);
    }
    let shown = after.shown(&done.key, done.through.as_ref());
    let path = shown["_self"].as_str().unwrap().to_string();
    let (etag, tag) = Expected::etag(after.docs[&done.key].revision);
    let status = if done.replies == Replies::Created { 201 } else { 200 };
    let expected = Expected::json(status, shown).and("corollary-revision", revision).and(etag, tag);
    if status == 201 { expected.and("location", path) } else { expected }
}

fn create_many(state: &State, request: &Request, segments: &[&str], made: &mut Made) -> Early<Answer> {
    let list = match paths::resolve(state, segments)? {
        Place::List(List { post: Post::ReadOnly, .. }) => return Err(Expected::not_allowed("GET")),
        Place::List(list) => list,
        _ => return Err(Expected::not_allowed("GET, PUT, PATCH, DELETE")),
    };
    let items = match &request.body {
        Body::Lines(lines) => lines.clone(),
        Body::Raw(..) => return Err(Expected::refused(400, "json")),
        _ => match body(request)? {
            Json::Array(items) => items,
            _ => return Err(Expected::refused(400, "body")),
        },
    };
    if let Post::Link(_, field) = list.post {
        return add_many(state, &list, field.name, &items);
    }
    let mut work = Work::on(state);
    let (mut wrong, mut later, mut done): (Vec<Wrong>, Vec<Wrong>, Vec<Done>) = Default::default();
    for (at, item) in items.iter().enumerate() {
        let outcome = match item {
            Json::Object(members) => writes::create(&mut work, &list, members, made).map(|it| done.push(it)),
            _ => Err(Expected::refused(400, "body")),
        };
        if let Err(expected) = outcome {
            if expected.wrong.is_empty() {
                return Err(expected);
            }
            // Ids that are taken are told where nothing else is wrong.
            let into = if expected.code == Some("exists") { &mut later } else { &mut wrong };
            into.extend(expected.wrong.into_iter().map(|wrong| Wrong { item: Some(at), ..wrong }));
        }
    }
    wrong = if wrong.is_empty() { later } else { wrong };
    if !wrong.is_empty() {
        return Err(wrong.into());
    }
    let through = list.through.as_ref();
    let after = work.finish(|state| {
        let first =
            done.iter().enumerate().find_map(|(at, done)| Some((at, writes::ends(state, done).err()?)));
        first.map_or(Ok(()), |(at, wrong)| {
            Err(wrong.into_iter().map(|wrong| Wrong { item: Some(at), ..wrong }).collect())
        })
    });
    let all: Vec<&Done> = done.iter().collect();
    let after = after.map_err(|wrong| writes::by_items(&all, wrong))?;
    let shown: Json = done.iter().map(|done| Json::from(after.shown(&done.key, through))).collect();
    let expected = Expected::json(201, shown).and("corollary-revision", after.revision.to_string());
    Ok(Answer { expected, after: Some(after) })
}

/// Adds links, which are well formed, to those that there are.
fn add_many(state: &State, list: &List, field: &str, items: &[Json]) -> Early<Answer> {
    let mut work = Work::on(state);
    let mut missing = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let (body, conditions) = (Ok(item.clone()), Conditions::default());
        let given = Given { method: "POST", body, content: super::request::MERGE, conditions };
        let added = writes::one(&mut work, Place::List(list.clone()), &given, &mut Made::default());
        added.map_err(|mut expected| {
            expected.wrong.iter_mut().for_each(|wrong| wrong.item = Some(at));
            expected
        })?;
        let to = Key::new(list.ty, item["_id"].as_str().unwrap_or_default());
        if !state.docs.contains_key(&to) {
            missing.push(Wrong { item: Some(at), ..Wrong::at("link", field) });
        }
    }
    if !missing.is_empty() {
        return Err(missing.into());
    }
    let after = work.finish(|_| Ok(()))?;
    let expected = Expected::json(201, json!([])).and("corollary-revision", after.revision.to_string());
    Ok(Answer { expected, after: Some(after) })
}

/// `_query`, `_count`, `_update` and `_delete`.
fn by_condition(state: &State, request: &Request, list: &[&str], verb: &str) -> Early<Answer> {
    if !["_query", "_count", "_update", "_delete"].contains(&verb) {
        return Err(Expected::not_found());
    }
    if request.method != "POST" {
        return Err(Expected::not_allowed("POST"));
    }
    let Place::List(list) = paths::resolve(state, list)? else { return Err(Expected::not_found()) };
    let body = body(request)?;
    let revision = state.revision.to_string();
    let read = |expected: Expected| {
        Ok(Answer { expected: expected.and("corollary-revision", revision.clone()), after: None })
    };
    let found = reads::found(state, &list, &request.view);
    match verb {
        "_query" => return read(reads::page(state, &list, &request.view)),
        "_count" => return read(Expected::json(200, json!({"count": found.len(), "revision": revision}))),
        _ => {}
    }
    let mut work = Work::on(state);
    if verb == "_delete" {
        if request.view.filter.is_none() {
            return Err(Expected::refused(400, "empty-condition"));
        }
        if matches!(list.post, Post::Link(..)) {
            return Err(Expected::not_allowed("GET, POST"));
        }
        work.delete(&found)?;
    } else {
        let content = body["content_type"].as_str().unwrap_or(super::request::MERGE);
        let patch = &body["patch"];
        if content == super::request::ACTIONS {
            patches::actions(list.ty, list.through.as_ref(), patch)?;
        }
        for key in &found {
            let conditions = Conditions::default();
            let given = Given { method: "PATCH", body: Ok(patch.clone()), content, conditions };
            let place = Place::One { key: key.clone(), under: None, through: list.through.clone() };
            writes::one(&mut work, place, &given, &mut Made::default())?;
        }
    }
    let through = list.through.clone();
    let ends = |state: &State| {
        let done =
            |key: &Key| Done { key: key.clone(), replies: Replies::Resource, through: through.clone() };
        found.iter().try_for_each(|key| writes::ends(state, &done(key)))
    };
    let after = work.finish(ends).map_err(|wrong| writes::by_names(through.as_ref(), wrong))?;
    let differs = |key: &&Key| {
        state.docs.get(key).map(|doc| doc.revision) != after.docs.get(key).map(|doc| doc.revision)
    };
    let changed = found.iter().filter(differs).count();
    let revision = after.revision.to_string();
    let body = json!({"matched": found.len(), "changed": changed, "revision": revision});
    Ok(Answer { expected: Expected::json(200, body).and("corollary-revision", revision), after: Some(after) })
}

/// What moves, with the path of the list or the resource.
fn movers(state: &State, request: &Request, from: &str) -> Early<(Type, Vec<Key>, bool)> {
    let (path, condition) = from.split_once('[').map_or((from, false), |(path, _)| (path, true));
    let segments = paths::segments(path);
    if paths::mount(&segments).is_some() {
        return Err(vec![Wrong::at("move", "from")].into());
    }
    let nowhere = |_| Box::<Expected>::from(vec![Wrong::at("not-found", "from")]);
    match paths::resolve(state, &segments).map_err(nowhere)? {
        Place::List(list) => Ok((list.ty, reads::found(state, &list, &request.view), false)),
        _ if condition => Err(vec![Wrong::at("move", "from")].into()),
        Place::One { key, .. } | Place::Linked { key, linked: true, .. } if state.docs.contains_key(&key) => {
            Ok((key.ty, vec![key], true))
        }
        _ => Err(vec![Wrong::at("not-found", "from")].into()),
    }
}

/// Takes resources to another parent; gives which, and whether that is one that was named.
pub fn carry(work: &mut Work<'_>, request: &Request, body: &Json) -> Early<(Vec<Key>, bool)> {
    let state = work.state.clone();
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let (ty, keys, is_one) = movers(&state, request, text("from"))?;
    let position = body["position"].as_u64().map(|at| at as usize);
    let to = paths::segments(text("to"));
    if paths::mount(&to).is_some() {
        return Err(vec![Wrong::at("move", "to")].into());
    }
    let held = match paths::resolve(&state, &to) {
        Err(_) => return Err(vec![Wrong::at("not-found", "to")].into()),
        Ok(Place::List(List { ty: of, post: Post::Child(held), .. })) if of == ty => Some(held),
        Ok(Place::List(List { ty: of, post: Post::Root, .. })) if of == ty => None,
        Ok(_) => return Err(vec![Wrong::at("move", "to")].into()),
    };
    for key in keys.iter().filter(|_| is_one) {
        let given = given(&state, request, &Place::One { key: key.clone(), under: None, through: None });
        writes::condition(&state, key, &given)?;
    }
    for (nth, key) in keys.iter().enumerate() {
        if let Some(held) = &held {
            work.carry(key, held.clone(), position.map(|at| at + nth))?;
        }
        let is_ordered = held.as_ref().is_some_and(|Held { collection, .. }| *collection == "steps");
        if position.is_some() && !is_ordered {
            return Err(vec![Wrong::at("position", "position")].into());
        }
    }
    Ok((keys, is_one))
}

fn moves(state: &State, request: &Request, body: &Json) -> Early<Answer> {
    let mut work = Work::on(state);
    let (keys, is_one) = carry(&mut work, request, body)?;
    let after = work.finish(|_| Ok(()))?;
    let revision = after.revision.to_string();
    let expected = if is_one {
        let shown = after.shown(&keys[0], None);
        let path = shown["_self"].as_str().unwrap().to_string();
        let (etag, tag) = Expected::etag(after.docs[&keys[0]].revision);
        Expected::json(200, shown).and(etag, tag).and("content-location", path)
    } else {
        let changed =
            keys.iter().filter(|key| state.docs[*key].revision != after.docs[*key].revision).count();
        Expected::json(200, json!({"matched": keys.len(), "changed": changed, "revision": revision}))
    };
    Ok(Answer { expected: expected.and("corollary-revision", revision), after: Some(after) })
}
