//! Hooks in the OpenAPI document.

use serde_json::{Value as Json, json};

use super::names::Paths;
use super::parts::{id, item, object, plain, removes, told, writes};
use super::shared::parameters;
use crate::hooks::hook::{EVENTS, MAX_PARALLEL};
use crate::path::PREFIX;

/// What a hook is declared by.
fn declared() -> Json {
    let seconds = |most: f64| json!({"type": "number", "exclusiveMinimum": 0, "maximum": most});
    json!({
        "type": "object",
        "required": ["path", "url"],
        "additionalProperties": false,
        "properties": {
            "_id": {"type": "string"},
            "path": {"type": "string", "description": "What is watched, as /orders"},
            "filter": {"type": ["string", "null"], "description": "A condition over what is there"},
            "events": {"type": ["array", "null"], "items": {"type": "string", "enum": EVENTS}},
            "url": {"type": "string", "description": "https://…, nats://host:port/SUBJECT, or file:NAME"},
            "secret": {"type": ["string", "null"], "description": "whsec_ and 24 to 64 bytes in base64"},
            "headers": {"type": ["object", "null"], "additionalProperties": {"type": "string"}, "maxProperties": 16},
            "paused": {"type": ["boolean", "null"]},
            "parallel": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_PARALLEL},
            "timeout_seconds": seconds(60.0),
            "retry": {
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": {
                    "first_seconds": seconds(3_600.0),
                    "most_seconds": seconds(86_400.0),
                    "give_up_seconds": seconds(2_592_000.0),
                },
            },
            "since": {"type": ["string", "null"], "description": "The revision behind which it begins"},
        },
    })
}

/// A hook as it is shown.
fn shown() -> Json {
    json!({
        "type": "object",
        "required": ["_id", "_self", "path", "url", "paused", "state"],
        "properties": {
            "_id": {"type": "string"},
            "_self": {"type": "string"},
            "path": {"type": "string"},
            "url": {"type": "string"},
            "paused": {"type": "boolean"},
            "state": {
                "type": "object",
                "required": ["status", "cursor", "lag", "delivered", "failures", "letters"],
                "properties": {
                    "status": {"type": "string", "enum": ["active", "failing", "paused", "stuck", "waiting"]},
                    "cursor": {"type": "string"},
                    "lag": {"type": "integer"},
                    "delivered": {"type": "integer"},
                    "failures": {"type": "integer"},
                    "letters": {"type": "integer"},
                },
            },
        },
    })
}

/// What a hook sends.
pub fn sent() -> Json {
    let event = json!({
        "type": "object",
        "required": ["type", "revision"],
        "properties": {
            "type": {"type": "string", "enum": ["added", "modified", "removed", "left", "expired"]},
            "revision": {"type": "string"},
            "path": {"type": "string"},
            "resource": {"type": ["object", "null"]},
            "changed": {"type": "array", "items": {"type": "string"}},
            "old": {"type": "object", "description": "Of what has changed the values before"},
        },
    });
    json!({
        "operationId": "onEvent",
        "summary": "Something has changed that a hook is about",
        "requestBody": {"required": true, "content": {"application/json": {"schema": event}}},
        "responses": {
            "2XX": {"description": "It is taken"},
            "410": {"description": "Nothing more is wanted: the hook pauses"},
            "default": {"description": "It is sent again"},
        },
    })
}

/// Adds their paths.
pub fn add(paths: &mut Paths) {
    let base = format!("{PREFIX}/_hooks");
    let mut changed = declared();
    if let Some(members) = changed.as_object_mut() {
        members.remove("required");
    }
    let list = plain("readHooks", "The hooks: who is told of changes, and how far each has come");
    let declare = writes("declareHook", "Declare a hook", declared(), &[("201", "It is declared", shown())]);
    paths.add(base.clone(), item(&[], [("get", list), ("post", declare)]));
    let replaced = [("200", "It is replaced", shown()), ("201", "It is declared", shown())];
    let is_changed = [("200", "It is changed", shown())];
    let one = [
        ("get", told("readHook", "One hook", shown())),
        ("put", writes("replaceHook", "Declare a hook, or replace it", declared(), &replaced)),
        ("patch", writes("changeHook", "Change a hook, by a merge patch", changed, &is_changed)),
        ("delete", removes("removeHook", "Remove a hook")),
    ];
    paths.add(format!("{base}/{{id}}"), item(&[id("id")], one));
    let deliveries = plain("readDeliveries", "The last attempts, the latest first");
    paths.add(format!("{base}/{{id}}/deliveries"), item(&[id("id")], [("get", deliveries)]));
    let mut letters = plain("readLetters", "What a hook gave up, by pages");
    letters["parameters"] = parameters(&["limit", "page_token"]).into();
    let methods = [("get", letters), ("delete", removes("dropLetters", "Drop all letters"))];
    paths.add(format!("{base}/{{id}}/letters"), item(&[id("id")], methods));
    let drop = removes("dropLetter", "Drop a letter");
    let parameters = [id("id"), id("letter")];
    paths.add(format!("{base}/{{id}}/letters/{{letter}}"), item(&parameters, [("delete", drop)]));
    let ids = object(&["ids"], json!({"ids": {"type": "array", "items": {"type": "string"}}}));
    let wanted = json!({"oneOf": [ids, object(&["all"], json!({"all": {"const": true}}))]});
    let told = json!({"type": "object", "properties": {"letters": {"type": "integer"}}});
    let replies = [("202", "They are sent again", told)];
    let replay = writes("replayLetters", "Have letters sent again", wanted, &replies);
    paths.add(format!("{base}/{{id}}/replay"), item(&[id("id")], [("post", replay)]));
}
