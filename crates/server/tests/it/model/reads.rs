//! What reads show: resources, lists and their pages, values at paths.

use super::filter::{at, order};
use super::paths::{self, List, Place};
use super::request::{Behind, Early, Expand, Expected, Request, Tag, View};
use super::schema::Kind;
use super::state::{Key, Object, State, Through};
use crate::common::{Json, json};

pub fn read(state: &State, request: &Request) -> Early<Expected> {
    let segments = paths::segments(&request.path);
    let place = paths::resolve(state, &segments)?;
    if let Some(behind) = &request.behind {
        return value(state, place, behind, request);
    }
    let revision = state.revision.to_string();
    let (key, through) = match place {
        Place::List(list) if request.in_lines => return lines(state, &list, &request.view),
        Place::List(list) => return Ok(page(state, &list, &request.view).and("corollary-revision", revision)),
        Place::Linked { linked: false, .. } => return Err(Expected::not_found()),
        Place::Linked { key, .. } => (key, None),
        Place::One { key, through, .. } => (key, through),
    };
    let Some(doc) = state.docs.get(&key) else { return Err(Expected::not_found()) };
    let (etag, tag) = Expected::etag(doc.revision);
    let expands = !request.view.expand.is_empty();
    if matches!(request.if_none_match, Some(Tag::Any | Tag::Current)) && !expands {
        return Ok(Expected { status: 304, ..Expected::default() }.and(etag, tag));
    }
    let shown = resource(state, &key, through.as_ref(), &request.view);
    let path = shown["_self"].as_str().unwrap().to_string();
    let mut expected = Expected::json(200, shown).and("corollary-revision", revision);
    if !expands {
        expected = expected.and(etag, tag);
    }
    if through.is_some() || segments.len() > 2 || doc.held.is_some() {
        expected = expected.and("content-location", path);
    }
    Ok(expected)
}

/// A resource, with the fields and what is expanded.
fn resource(state: &State, key: &Key, through: Option<&Through>, view: &View) -> Object {
    let mut shown = state.shown(key, through);
    if view.fields == ["_facts"] {
        let is_fact =
            |name: &str| super::bodies::named(key.ty, through, name).is_none_or(|field| field.is_fact());
        shown.retain(|name, _| is_fact(name));
    } else if !view.fields.is_empty() {
        let always = ["_id", "_self", "_revision", "_position"];
        shown.retain(|name, _| always.contains(&name.as_str()) || view.fields.contains(name));
    }
    expand(state, key, through, &view.expand, &mut shown);
    shown
}

fn expand(state: &State, key: &Key, through: Option<&Through>, expands: &[Expand], shown: &mut Object) {
    for step in expands {
        let field = super::bodies::named(key.ty, through, &step.name).unwrap();
        let view = View { fields: step.fields.clone(), expand: step.inner.clone(), ..View::default() };
        let one = |key: &Key| Json::from(resource(state, key, None, &view));
        let ids = |target| -> Vec<Key> {
            let value = state.value(key, field.name);
            let ids = value.as_array().into_iter().flatten();
            ids.map(|id| Key::new(target, id.as_str().unwrap())).collect()
        };
        let many = match field.kind {
            Kind::Collection(_) => state.children(key, field.name),
            Kind::Inverse(ty, link) => state.referring(ty, link, key),
            Kind::Links(target, _) => {
                if !state.is_shown(key, field.name) {
                    continue;
                }
                ids(target)
            }
            Kind::Derived => ids(super::schema::Type::Order),
            Kind::Link(target, _) => {
                if let Some(id) = state.value(key, field.name).as_str() {
                    shown.insert(step.name.clone(), one(&Key::new(target, id)));
                }
                continue;
            }
            other => panic!("{other:?} expanded"),
        };
        shown.insert(step.name.clone(), many.iter().map(one).collect());
    }
}

/// All that is found of a list, in order.
pub fn found(state: &State, list: &List, view: &View) -> Vec<Key> {
    let through = list.through.as_ref();
    let holds = |key: &&Key| view.filter.as_ref().is_none_or(|filter| filter.holds(state, key, through));
    let mut found: Vec<Key> = list.members.iter().filter(holds).cloned().collect();
    if view.order.is_empty() {
        if !matches!(list.members.first(), Some(key) if state.position(key).is_some()) {
            found.sort();
        }
        return found;
    }
    found.sort_by(|left, right| {
        let parts = view.order.iter().map(|(path, descends)| {
            let by = order(&at(state, left, through, path), &at(state, right, through, path));
            if *descends { by.reverse() } else { by }
        });
        let ties = left.cmp(right);
        let ties =
            if view.order.last().is_some_and(|(_, descends)| *descends) { ties.reverse() } else { ties };
        parts.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then).then(ties)
    });
    found
}

fn shown(state: &State, list: &List, view: &View, keys: &[Key]) -> Vec<Json> {
    keys.iter().map(|key| resource(state, key, list.through.as_ref(), view).into()).collect()
}

/// The first page of a list.
pub fn page(state: &State, list: &List, view: &View) -> Expected {
    let found = found(state, list, view);
    let shown = shown(state, list, view, &found[..found.len().min(view.limit.unwrap_or(100))]);
    let more = shown.len() < found.len();
    let mut body = json!({"results": shown, "next": null, "revision": state.revision.to_string()});
    if view.count {
        body["count"] = found.len().into();
    }
    Expected { more, ..Expected::json(200, body) }
}

/// All pages of a list, one after the other.
pub fn found_pages(state: &State, request: &Request) -> Option<Vec<Json>> {
    let Ok(Place::List(list)) = paths::resolve(state, &paths::segments(&request.path)) else { return None };
    let found = found(state, &list, &request.view);
    Some(shown(state, &list, &request.view, &found))
}

fn lines(state: &State, list: &List, view: &View) -> Early<Expected> {
    if view.count {
        return Err(Expected::refused(400, "parameter"));
    }
    let found = found(state, list, view);
    let lines = shown(state, list, view, &found[..found.len().min(view.limit.unwrap_or(usize::MAX))]);
    let expected = Expected { status: 200, lines: Some(lines), ..Expected::default() };
    Ok(expected.and("corollary-revision", state.revision.to_string()))
}

/// The elements of lists: a list that is not there has none, and is null among others.
fn elements(lists: &[Json], is_one: bool) -> Vec<Json> {
    let elements = |value: &Json| match value {
        Json::Array(elements) => elements.clone(),
        Json::Null if is_one => Vec::new(),
        value => vec![value.clone()],
    };
    lists.iter().flat_map(elements).collect()
}

/// Where links lead, each once.
fn leading(links: &[Json], target: super::schema::Type) -> Vec<Key> {
    let mut found: Vec<Key> = Vec::new();
    for link in links {
        for id in link.as_array().unwrap_or(&vec![link.clone()]).iter().filter_map(Json::as_str) {
            let key = Key::new(target, id);
            if !found.contains(&key) {
                found.push(key);
            }
        }
    }
    found
}

/// What a path goes on to, behind a name.
fn value(state: &State, place: Place, behind: &Behind, request: &Request) -> Early<Expected> {
    let (mut at, mut is_one) = match place {
        Place::List(list) => {
            let holds = |key: &&Key| behind.filter.as_ref().is_none_or(|it| it.holds(state, key, None));
            (list.members.iter().filter(holds).cloned().collect::<Vec<Key>>(), false)
        }
        Place::Linked { linked: false, .. } => return Err(Expected::not_found()),
        Place::One { key, .. } | Place::Linked { key, .. } => {
            if !state.docs.contains_key(&key) {
                return Err(Expected::not_found());
            }
            (vec![key], true)
        }
    };
    let revision = state.revision.to_string();
    for (step, name) in behind.steps.iter().enumerate() {
        let Some(first) = at.first() else { break };
        let ids = at.iter().map(|key| state.value(key, name));
        let field = first.ty.field(name).unwrap();
        let (target, many) = match field.kind {
            Kind::Link(target, _) => (target, false),
            Kind::Links(target, _) => (target, true),
            _ => {
                assert_eq!(step + 1, behind.steps.len(), "a value is the last");
                let values: Vec<Json> = at.iter().map(|key| state.shown_value(key, name)).collect();
                let is_list = matches!(field.kind, Kind::List(_) | Kind::Set);
                return Ok(if is_one && !is_list {
                    Expected::json(200, values[0].clone())
                } else {
                    let values = if is_list { elements(&values, is_one) } else { values };
                    Expected::json(200, json!({"results": values, "next": null, "revision": revision}))
                });
            }
        };
        let mut next = leading(&ids.collect::<Vec<_>>(), target);
        if many || !is_one {
            next.sort();
        }
        is_one = is_one && !many;
        at = next;
    }
    let last = behind.steps.last();
    match (is_one, at.first(), last) {
        (true, Some(key), _) => Ok(Expected::json(200, resource(state, key, None, &request.view))),
        // A link that is empty leads to nothing; a value behind one is null.
        (true, None, Some(last)) if is_value(last) => Ok(Expected::json(200, Json::Null)),
        (true, None, _) => Err(Expected::not_found()),
        (false, _, _) => {
            let ty = at.first().map_or(super::schema::Type::Shop, |key| key.ty);
            let list = List { ty, members: at, post: paths::Post::ReadOnly, through: None };
            Ok(page(state, &list, &request.view))
        }
    }
}

/// Is it a value that stands last in a path, and no link?
fn is_value(name: &str) -> bool {
    !matches!(name, "boss" | "buyer" | "partner" | "shop")
}
