//! A batch: writes one after the other on one state, each told as it is at the end.

use super::answer::Answer;
use super::paths::{self, Place, Post};
use super::request::{Early, Expected, Made, Request};
use super::state::State;
use super::values::Wrong;
use super::work::Work;
use super::writes::{self, Conditions, Done, Given, Replies};
use crate::common::{Json, json};

/// An item that has been done, with the path by which later ones may refer to it.
struct Earlier {
    done: Done,
    path: String,
    /// Is it where its path says because of this item?
    new: bool,
}

/// Texts that refer to earlier items, as what they refer to.
fn refer(json: &Json, earlier: &[Earlier]) -> Json {
    match json {
        Json::String(text) => {
            let parts = text.strip_prefix('$').and_then(|rest| rest.split_once('.'));
            let Some((at, part)) = parts else { return json.clone() };
            let item = &earlier[at.parse::<usize>().unwrap()];
            if part == "_id" { item.done.key.id().into() } else { item.path.clone().into() }
        }
        Json::Array(elements) => elements.iter().map(|element| refer(element, earlier)).collect(),
        Json::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), refer(value, earlier))).collect()
        }
        other => other.clone(),
    }
}

fn refer_in_path(path: &str, earlier: &[Earlier]) -> String {
    let segments = path.split('/').map(|segment| match refer(&segment.into(), earlier) {
        Json::String(text) => text,
        _ => segment.into(),
    });
    segments.collect::<Vec<_>>().join("/")
}

pub fn batch(state: &State, body: &Json, made: &mut Made) -> Early<Answer> {
    let Json::Array(items) = body else { return Err(Expected::refused(400, "body")) };
    let mut work = Work::on(state);
    let mut done: Vec<Earlier> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        done.push(one(&mut work, state, item, &done, made).map_err(|mut expected| {
            expected.wrong.iter_mut().for_each(|wrong| wrong.item = Some(at));
            // What can be told of a later item before anything is executed is told first.
            expected.or_behind = (items.len() > 1).then_some(at);
            expected
        })?);
    }
    let ends = |state: &State| {
        let mut all = done.iter().enumerate().filter(|(_, item)| item.done.replies != Replies::Nothing);
        all.try_for_each(|(at, item)| {
            writes::ends(state, &item.done)
                .map_err(|wrong| wrong.into_iter().map(|wrong| Wrong { item: Some(at), ..wrong }).collect())
        })
    };
    let all: Vec<&Done> = done.iter().map(|item| &item.done).collect();
    let after = work.finish(ends).map_err(|wrong| writes::by_items(&all, wrong))?;
    let shown: Json = done
        .iter()
        .map(|Earlier { done, .. }| match done.replies {
            Replies::Nothing => json!({"status": 204}),
            _ if !after.docs.contains_key(&done.key) => json!({"status": 204}),
            replies => {
                let status = if replies == Replies::Created { 201 } else { 200 };
                json!({"status": status, "body": after.shown(&done.key, done.through.as_ref())})
            }
        })
        .collect();
    let expected = Expected::json(200, shown).and("corollary-revision", after.revision.to_string());
    Ok(Answer { expected, after: Some(after) })
}

/// An item that moves one resource.
fn carry(work: &mut Work<'_>, body: &Json, earlier: &[Earlier]) -> Early<Earlier> {
    let mut body = body.clone();
    for name in ["from", "to"] {
        body[name] = refer_in_path(body[name].as_str().unwrap(), earlier).into();
    }
    let (keys, is_one) = super::answer::carry(work, &Request::new("POST", "/api/_move"), &body)?;
    if !is_one {
        return Err(Expected::refused(400, "batch"));
    }
    let done = Done { key: keys[0].clone(), replies: Replies::Resource, through: None };
    let path = format!("{}/{}", body["to"].as_str().unwrap(), keys[0].id());
    Ok(Earlier { done, path, new: true })
}

/// A path leads where it led before the batch, or to what has come there by it.
fn place_of(now: &State, before: &State, segments: &[&str], earlier: &[Earlier]) -> Early<Place> {
    let nowhere = match paths::resolve(before, segments) {
        Ok(place) => return Ok(place),
        Err(nowhere) => nowhere,
    };
    let place = paths::resolve(now, segments).map_err(|_| nowhere)?;
    let of = match &place {
        Place::One { key, .. } | Place::Linked { owner: key, .. } => Some(key),
        Place::List(list) => match &list.post {
            Post::Child(held) => Some(&held.by),
            Post::Link(owner, _) => Some(owner),
            Post::Root | Post::ReadOnly => None,
        },
    };
    let is_new = earlier.iter().any(|item| item.new && Some(&item.done.key) == of);
    if is_new { Ok(place) } else { Err(nowhere.into()) }
}

fn one(
    work: &mut Work<'_>,
    before: &State,
    item: &Json,
    earlier: &[Earlier],
    made: &mut Made,
) -> Early<Earlier> {
    let path = refer_in_path(item["path"].as_str().unwrap(), earlier);
    let method = item["method"].as_str().unwrap();
    let segments = paths::segments(&path);
    if segments == ["_move"] {
        return carry(work, &item["body"], earlier);
    }
    writes::permit(&segments, method, false)?;
    let place = place_of(&work.state, before, &segments, earlier)?;
    let key = match &place {
        Place::One { key, .. } | Place::List(paths::List { post: Post::Link(key, _), .. }) => {
            Some(key.clone())
        }
        Place::Linked { key, .. } => Some(key.clone()),
        Place::List(_) => None,
    };
    let there = key.as_ref().and_then(|key| before.docs.get(key)).map(|doc| doc.revision);
    let revision = item.get("if_match").map(|_| there.unwrap_or(u64::MAX));
    if method == "GET" {
        let Some(key) = key.filter(|_| !matches!(place, Place::List(_))) else {
            return Err(Expected::refused(400, "batch"));
        };
        if !work.state.docs.contains_key(&key) || matches!(place, Place::Linked { linked: false, .. }) {
            return Err(Expected::not_found());
        }
        let through = match place {
            Place::One { through, .. } => through,
            _ => None,
        };
        let done = Done { key, replies: Replies::Resource, through };
        return Ok(Earlier { done, path, new: false });
    }
    let body = item.get("body").map_or_else(|| json!({}), |body| refer(body, earlier));
    let is_list = matches!(place, Place::List(_));
    let content = item["content_type"].as_str().unwrap_or(super::request::MERGE);
    let given = Given {
        method,
        body: Ok(body),
        content,
        conditions: Conditions { revision, ..Conditions::default() },
    };
    let done = writes::one(work, place, &given, made)?;
    let path =
        if is_list && done.replies == Replies::Created { format!("{path}/{}", done.key.id()) } else { path };
    let new = done.replies == Replies::Created;
    Ok(Earlier { done, path, new })
}
