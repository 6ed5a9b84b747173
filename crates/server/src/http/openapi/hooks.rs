//! Hooks in the OpenAPI document.

use serde_json::{Map, Value as Json, json};

use super::parts::{id, plain, removes, writes};
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
pub fn add(paths: &mut Map<String, Json>) {
    let base = format!("{PREFIX}/_hooks");
    let mut changed = declared();
    if let Some(members) = changed.as_object_mut() {
        members.remove("required");
    }
    paths.insert(
        base.clone(),
        json!({
            "get": plain("The hooks: who is told of changes, and how far each has come"),
            "post": writes("Declare a hook", declared(), &[("201", "It is declared", shown())]),
        }),
    );
    let replaced = [("200", "It is replaced", shown()), ("201", "It is declared", shown())];
    paths.insert(
        format!("{base}/{{id}}"),
        json!({
            "parameters": [id("id")],
            "get": plain("One hook"),
            "put": writes("Declare a hook, or replace it", declared(), &replaced),
            "patch": writes("Change a hook, by a merge patch", changed, &[("200", "It is changed", shown())]),
            "delete": removes("Remove a hook"),
        }),
    );
    paths.insert(
        format!("{base}/{{id}}/deliveries"),
        json!({"parameters": [id("id")], "get": plain("The last attempts, the latest first")}),
    );
    let mut letters = plain("What a hook gave up, by pages");
    letters["parameters"] = json!([
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}},
        {"name": "page_token", "in": "query", "schema": {"type": "string"}},
    ]);
    paths.insert(
        format!("{base}/{{id}}/letters"),
        json!({"parameters": [id("id")], "get": letters, "delete": removes("Drop all letters")}),
    );
    paths.insert(
        format!("{base}/{{id}}/letters/{{letter}}"),
        json!({"parameters": [id("id"), id("letter")], "delete": removes("Drop a letter")}),
    );
    let wanted = json!({
        "oneOf": [
            {
                "type": "object",
                "required": ["ids"],
                "additionalProperties": false,
                "properties": {"ids": {"type": "array", "items": {"type": "string"}}},
            },
            {
                "type": "object",
                "required": ["all"],
                "additionalProperties": false,
                "properties": {"all": {"const": true}},
            },
        ],
    });
    let told = json!({"type": "object", "properties": {"letters": {"type": "integer"}}});
    let replies = [("202", "They are sent again", told)];
    paths.insert(
        format!("{base}/{{id}}/replay"),
        json!({"parameters": [id("id")], "post": writes("Have letters sent again", wanted, &replies)}),
    );
}
