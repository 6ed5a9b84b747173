//! Watches that are open from the beginning: each commit must be told as the model says.

use std::collections::{BTreeMap, BTreeSet};

use super::filter::Filter;
use super::paths::{self, Place};
use super::reads;
use super::request::{Request, View};
use super::state::{Key, Object, State};
use crate::common::watch::{Event, Watch};
use crate::common::{Json, json};

/// A watch, and what it has yet to tell.
struct Watched {
    path: String,
    filter: Option<Filter>,
    watch: Watch,
    /// What has been told, by id: a resource that has moved has another path.
    fold: BTreeMap<String, Json>,
    /// By revision: by id, what is told.
    waiting: BTreeMap<u64, BTreeMap<String, Wanted>>,
}

/// An event that has to come.
#[derive(Debug)]
struct Wanted {
    kind: &'static str,
    path: String,
    /// None where it is not there any more.
    resource: Option<Object>,
    /// What it was, where it was there and is.
    old: Option<Object>,
}

impl Wanted {
    fn compare(&self, event: &Event) -> Result<(), String> {
        let Some(resource) = &self.resource else { return Ok(()) };
        super::compare::same(&event.data["resource"], &resource.clone().into())?;
        let Some(old) = &self.old else { return Ok(()) };
        // A place is told where it was given, and shifts silently otherwise.
        let names = old
            .keys()
            .chain(resource.keys())
            .filter(|name| !["_revision", "_position"].contains(&name.as_str()));
        let changed: BTreeSet<&String> = names.filter(|name| old.get(*name) != resource.get(*name)).collect();
        let before: Object =
            changed.iter().filter_map(|name| Some(((*name).clone(), old.get(*name)?.clone()))).collect();
        let mut told = event.data["changed"].as_array().cloned().unwrap_or_default();
        told.retain(|name| name != "_position");
        told.sort_by_key(Json::to_string);
        super::compare::same(&told.into(), &json!(changed))?;
        super::compare::same(&event.data["old"], &before.into())
    }
}

pub struct Watches(Vec<Watched>);

impl Watches {
    pub fn begin(address: &str, state: &State) -> Result<Watches, String> {
        let over = |path: &str, least: u32| Some(Filter::Compare(path.into(), ">", json!(least)));
        let dear = || over("cost", 10);
        let lists = [
            ("/api/shops", None),
            ("/api/people", None),
            ("/api/orders", None),
            ("/api/orders", dear()),
            ("/api/desk", None),
            ("/api/desk", dear()),
            ("/api/cheap", None),
            ("/api/people/p1/orders", None),
            ("/api/shops/s0/shelves", None),
            ("/api/shops/s0/steps", None),
            ("/api/shops/s0/orders", None),
            ("/api/people/p2", None),
            // What a change of another resource brings in and takes out.
            ("/api/orders", over("buyer.spent", 10)),
            ("/api/orders", over("shop.many", 1)),
            ("/api/people", over("boss.reports", 1)),
            ("/api/desk", over("client.spent", 10)),
        ];
        let mut all = Vec::new();
        for (path, filter) in lists {
            let view = View { filter: filter.clone(), ..View::default() };
            let target = Request { view, ..Request::new("GET", path) }.target();
            let target = format!("{target}{}watch=true", if target.contains('?') { "&" } else { "?" });
            let mut watch = Watch::try_begin(address, &target, &[]).map_err(|error| error.to_string())?;
            if watch.head.status != 200 {
                return Err(format!("the watch of {target} is refused: {}", watch.head.status));
            }
            let mut fold = BTreeMap::new();
            loop {
                let event = watch.try_next().map_err(|error| error.to_string())?;
                match event.kind() {
                    "synced" => break,
                    "added" => take(&mut fold, &event)?,
                    other => return Err(format!("{other} before `synced`")),
                }
            }
            let watched = Watched { path: path.into(), filter, watch, fold, waiting: BTreeMap::new() };
            watched.holds(state)?;
            all.push(watched);
        }
        Ok(Watches(all))
    }

    /// What a commit has to tell.
    pub fn commit(&mut self, before: &State, after: &State) {
        for watched in &mut self.0 {
            let (old, new) = (watched.shown(before), watched.shown(after));
            let mut events = BTreeMap::new();
            for (id, resource) in new.iter() {
                let kind = match old.get(id) {
                    None => "added",
                    Some(old) if old["_revision"] != resource["_revision"] => "modified",
                    Some(_) => continue,
                };
                let (path, old) = (text(resource, "_self"), old.get(id).cloned());
                events.insert(id.clone(), Wanted { kind, path, resource: Some(resource.clone()), old });
            }
            for (id, resource) in old.iter().filter(|(id, _)| !new.contains_key(*id)) {
                let path = text(resource, "_self");
                let key = path_type(&path).map(|ty| Key::new(ty, id)).unwrap();
                let wanted = match after.docs.contains_key(&key) {
                    // It is told by the path that it has by now, where it has moved.
                    true if key.ty.root().is_none() => {
                        Wanted { kind: "left", path: after.path(&key), resource: None, old: None }
                    }
                    true => Wanted { kind: "left", path, resource: None, old: None },
                    false => Wanted { kind: "removed", path, resource: None, old: None },
                };
                events.insert(id.clone(), wanted);
            }
            if !events.is_empty() {
                watched.waiting.insert(after.revision, events);
            }
        }
    }

    /// Reads what there has to be, and holds what has been told by then to what is there.
    pub fn check(&mut self, state: &State) -> Result<(), String> {
        for watched in &mut self.0 {
            watched.catch_up().map_err(|error| format!("the watch of {}: {error}", watched.path))?;
            watched.holds(state)?;
        }
        Ok(())
    }
}

fn text(resource: &Object, name: &str) -> String {
    resource[name].as_str().unwrap().to_string()
}

/// Takes an event into what has been told; it must make sense after those before it.
fn take(fold: &mut BTreeMap<String, Json>, event: &Event) -> Result<(), String> {
    let resource = event.data["resource"].clone();
    let id = event.path().rsplit('/').next().unwrap_or_default().to_string();
    let before = match event.kind() {
        "added" | "modified" => fold.insert(id, resource),
        "left" | "removed" => fold.remove(&id),
        other => return Err(format!("an event of type {other}")),
    };
    if before.is_some() == (event.kind() == "added") {
        Err(format!("it makes no sense: {event:?}"))
    } else {
        Ok(())
    }
}

/// The type of what stands at a path of a list that is watched.
fn path_type(path: &str) -> Option<super::schema::Type> {
    use super::schema::Type;
    let segments = paths::segments(path);
    match segments[..] {
        ["shops", _] => Some(Type::Shop),
        ["people", _] => Some(Type::Person),
        ["orders" | "desk" | "cheap", _] | ["people", _, "orders", _] => Some(Type::Order),
        [.., "steps", _] => Some(Type::Step),
        [.., "shelves" | "cellar", _] => Some(Type::Shelf),
        _ => None,
    }
}

impl Watched {
    /// What the watch is about, by id.
    fn shown(&self, state: &State) -> BTreeMap<String, Object> {
        let segments = paths::segments(&self.path);
        let view = View { filter: self.filter.clone(), ..View::default() };
        let (keys, through) = match paths::resolve(state, &segments) {
            Ok(Place::List(list)) => (reads::found(state, &list, &view), list.through),
            Ok(Place::One { key, .. }) if state.docs.contains_key(&key) => (vec![key], None),
            _ => return BTreeMap::new(),
        };
        let shown = keys.iter().map(|key| state.shown(key, through.as_ref()));
        shown.map(|shown| (text(&shown, "_id"), shown)).collect()
    }

    fn catch_up(&mut self) -> Result<(), String> {
        for (revision, events) in std::mem::take(&mut self.waiting) {
            let mut told: BTreeMap<String, Event> = BTreeMap::new();
            while told.len() < events.len() {
                let event = self.watch.try_next().map_err(|error| {
                    format!(
                        "{error}: at revision {revision} {:?} are missing",
                        events.keys().collect::<Vec<_>>()
                    )
                })?;
                if event.kind() == "bookmark" {
                    continue;
                }
                if event.revision() != revision {
                    return Err(format!("wants {events:?} at revision {revision}, and there is {event:?}"));
                }
                take(&mut self.fold, &event)?;
                told.insert(event.path().rsplit('/').next().unwrap_or_default().into(), event);
            }
            for (id, wanted) in events {
                let Some(event) = told.get(&id) else {
                    return Err(format!("nothing of {id} at revision {revision}, but {told:?}"));
                };
                if event.kind() != wanted.kind || event.path() != wanted.path {
                    return Err(format!("{wanted:?} is wanted, and there is {event:?}"));
                }
                wanted
                    .compare(event)
                    .map_err(|error| format!("{} {id} at {revision}: {error}", wanted.kind))?;
            }
        }
        Ok(())
    }

    /// What has been told comes to what is there.
    fn holds(&self, state: &State) -> Result<(), String> {
        let without_place = |shown: &Json| {
            let mut shown = shown.clone();
            // The places of others shift silently.
            shown.as_object_mut().map(|members| members.remove("_position"));
            shown
        };
        let found: Json = self.fold.iter().map(|(id, it)| (id.clone(), without_place(it))).collect();
        let wanted: Json =
            self.shown(state).into_iter().map(|(id, it)| (id, without_place(&it.into()))).collect();
        super::compare::same(&found, &wanted).map_err(|error| format!("the fold of {}: {error}", self.path))
    }
}
