//! What a dry run tells: what would be created, changed and deleted, and the reply.

use super::request::Expected;
use super::schema::Kind;
use super::state::{Key, Object, State};
use crate::common::{Json, json};

pub fn told(before: &State, after: &State, expected: &Expected) -> Expected {
    let is_new = |key: &&Key| !before.docs.contains_key(*key);
    let changed =
        |key: &&Key| before.docs.get(*key).is_some_and(|doc| doc.revision != after.docs[*key].revision);
    let list = |resources: Vec<Json>| json!({"count": resources.len(), "resources": resources});
    let created = after.docs.keys().filter(is_new);
    let created = created.map(|key| json!({"type": format!("{:?}", key.ty), "_id": key.id()})).collect();
    let gone: Vec<&Key> = before.docs.keys().filter(|key| !after.docs.contains_key(*key)).collect();
    let deleted = gone.iter().map(|key| json!({"type": format!("{:?}", key.ty), "_id": key.id()})).collect();
    let changed = after.docs.keys().filter(changed).map(|key| change(before, after, key)).collect();
    let mut body = json!({
        "dry_run": true,
        "status": expected.status,
        "revision": before.revision.to_string(),
        "created": list(created),
        "changed": list(changed),
        "deleted": list(deleted),
        "updates": [],
    });
    if let Some(reply) = &expected.body {
        body["reply"] = reply.clone();
    }
    Expected::json(200, body)
}

fn change(before: &State, after: &State, key: &Key) -> Json {
    let mut told = json!({"type": format!("{:?}", key.ty), "_id": key.id()});
    let (old, new) = (before.path(key), after.path(key));
    if before.docs[key].held != after.docs[key].held {
        told["moved"] = json!({"old": old, "new": new});
    }
    let (mut facts, mut derived) = (Object::new(), Object::new());
    for field in key.ty.fields() {
        if !field.is_fact() && field.kind != Kind::Derived {
            continue;
        }
        if before.value(key, field.name) != after.value(key, field.name)
            || before.is_shown(key, field.name) != after.is_shown(key, field.name)
        {
            let (old, new) = (before.shown_value(key, field.name), after.shown_value(key, field.name));
            let into = if field.is_fact() { &mut facts } else { &mut derived };
            into.insert(field.name.into(), json!({"old": old, "new": new}));
        }
    }
    let (old, new) = (before.position(key), after.position(key));
    let is_elsewhere = after.moved.contains(key) || before.docs[key].held != after.docs[key].held;
    if is_elsewhere && old != new {
        facts.insert("_position".into(), json!({"old": old, "new": new}));
    }
    for (name, members) in [("facts", facts), ("derived", derived)] {
        if !members.is_empty() {
            told[name] = members.into();
        }
    }
    told
}

/// What is there of a dry run's reply that the model tells too.
pub fn comparable(mut reply: Json) -> Json {
    let only = |json: &mut Json, names: &[&str]| {
        if let Json::Object(members) = json {
            members.retain(|name, _| names.contains(&name.as_str()));
        }
    };
    for list in ["created", "changed", "deleted"] {
        let Some(resources) = reply[list]["resources"].as_array_mut() else { continue };
        for resource in resources.iter_mut() {
            if let Some(id) = resource["resource"]["_id"].as_str() {
                resource["_id"] = id.into();
            }
            only(resource, &["type", "_id", "facts", "derived", "moved"]);
        }
        resources.sort_by_key(|resource| format!("{} {}", resource["type"], resource["_id"]));
    }
    reply
}
