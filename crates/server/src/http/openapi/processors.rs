//! Processors in the OpenAPI document.

use corollary_schema::processors::OPERATIONS;
use serde_json::{Value as Json, json};

use super::names::Paths;
use super::parts::{id, item, plain, removes, told, writes};
use crate::path::PREFIX;
use crate::review::ask::MAX_ITEMS;
use crate::review::webhook::MAX_TIMEOUT_SECONDS;

/// What a webhook is asked before a write, and what it says.
pub fn asked() -> Json {
    let item = json!({
        "type": "object",
        "required": ["operation", "type", "path", "old", "new"],
        "properties": {
            "operation": {"type": "string", "enum": OPERATIONS},
            "type": {"type": "string"},
            "path": {"type": "string"},
            "old": {"type": ["object", "null"], "description": "As it was; null where it is new"},
            "new": {"type": ["object", "null"], "description": "As it would be; null where it goes"},
        },
    });
    let answer = json!({
        "type": "object",
        "required": ["allowed"],
        "properties": {
            "allowed": {"type": "boolean"},
            "message": {"type": "string", "description": "What whoever writes is told"},
            "set": {"type": "object", "description": "A merge patch, from one that mutates"},
        },
    });
    let question = json!({
        "type": "object",
        "required": ["id", "processor", "dry_run", "items"],
        "properties": {
            "id": {"type": "string"},
            "processor": {"type": "string"},
            "dry_run": {"type": "boolean"},
            "items": {"type": "array", "items": item, "maxItems": MAX_ITEMS},
        },
    });
    let each = json!({
        "type": "object",
        "required": ["items"],
        "properties": {"items": {"type": "array", "items": answer}},
    });
    json!({
        "operationId": "onQuestion",
        "summary": "May this be written? A processor asks before a write",
        "requestBody": {"required": true, "content": {"application/json": {"schema": question}}},
        "responses": {
            "200": {
                "description": "For all items, or for each in their order",
                "content": {"application/json": {"schema": {"oneOf": [answer, each]}}},
            },
        },
    })
}

/// Adds their paths.
pub fn add(paths: &mut Paths) {
    let base = format!("{PREFIX}/_processors");
    let properties = json!({
        "_id": {"type": "string"},
        "type": {"type": "string", "description": "The type of the resources"},
        "path": {"type": "string", "description": "Instead of a type: the collection that holds them, as /divisions/*/sections"},
        "on": {"type": ["array", "null"], "items": {"type": "string", "enum": OPERATIONS}},
        "rule": {"type": "string", "description": "deny when CONDITION, message \"TEXT\"; or set FIELD := EXPRESSION"},
        "webhook": {
            "type": "object",
            "description": "Instead of a rule: who is asked before each write",
            "properties": {
                "url": {"type": "string", "format": "uri"},
                "secret": {"type": ["string", "null"]},
                "headers": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
                "timeout_seconds": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_SECONDS},
                "on_failure": {"type": ["string", "null"], "enum": ["deny", "allow", null]},
                "mutates": {"type": ["boolean", "null"]},
            },
        },
        "order": {"type": ["integer", "null"], "format": "int64"},
        "paused": {"type": ["boolean", "null"]},
    });
    let declared = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    let changed = json!({"type": "object", "additionalProperties": false, "properties": properties});
    let mut shown = properties;
    shown["_self"] = json!({"type": "string"});
    shown["status"] = json!({"type": "string", "enum": ["active", "paused", "unfit"]});
    shown["error"] = json!({"type": "string"});
    let shown = json!({
        "type": "object",
        "required": ["_id", "_self", "on", "order", "paused", "status"],
        "properties": shown,
    });
    let list = plain("readProcessors", "The line that writes pass, in its order");
    let is_declared = [("201", "It is declared", shown.clone())];
    let declare = writes("declareProcessor", "Declare a processor", declared.clone(), &is_declared);
    paths.add(base.clone(), item(&[], [("get", list), ("post", declare)]));
    let replaced = [("200", "It is replaced", shown.clone()), ("201", "It is declared", shown.clone())];
    let is_changed = [("200", "It is changed", shown.clone())];
    let one = [
        ("get", told("readProcessor", "One processor", shown)),
        ("put", writes("replaceProcessor", "Declare a processor, or replace it", declared, &replaced)),
        ("patch", writes("changeProcessor", "Change a processor, by a merge patch", changed, &is_changed)),
        ("delete", removes("removeProcessor", "Remove a processor")),
    ];
    paths.add(format!("{base}/{{id}}"), item(&[id("id")], one));
}
