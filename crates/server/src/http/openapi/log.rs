//! The log in the OpenAPI document.

use serde_json::{Map, Value as Json, json};

use super::parts::{flag_parameter, limit_parameter, problem, text_parameter, watched};
use crate::path::PREFIX;

/// Adds its path.
pub fn add(paths: &mut Map<String, Json>) {
    let text = json!({"type": "string"});
    let object = json!({"type": "object"});
    let change = json!({
        "type": "object",
        "required": ["type", "path", "_type", "_id", "changed"],
        "properties": {
            "type": {"enum": ["added", "modified", "removed", "left"]},
            "path": text, "_type": text, "_id": text,
            "changed": {"type": "array", "items": text},
            "old": object, "new": object,
        },
    });
    let commit = json!({
        "type": "object",
        "required": ["revision", "time", "changes"],
        "properties": {
            "revision": text, "time": {"type": "string", "format": "date-time"}, "actor": text,
            "changes": {"type": "array", "items": change},
        },
    });
    let page = json!({
        "type": "object",
        "required": ["results", "next", "revision"],
        "properties": {
            "results": {"type": "array", "items": commit},
            "next": {"type": ["string", "null"]},
            "revision": text,
        },
    });
    let told = |name: &str, what: &str| {
        let mut parameter = text_parameter(name);
        parameter["description"] = what.into();
        parameter
    };
    let mut order = told("order", "`-revision` is the latest first, as without `since`");
    order["schema"]["enum"] = json!(["revision", "-revision"]);
    let mut watch = flag_parameter("watch");
    watch["description"] = "Goes on with what is to come; line by line only".into();
    let mut responses = watched(json!({
        "200": {"description": "A page of commits; or a commit a line", "content": {"application/json": {"schema": page}}},
        "default": problem(),
    }));
    if let Some(content) = responses["200"]["content"].as_object_mut() {
        content.remove("text/event-stream");
    }
    let get = json!({
        "summary": "Who changed what when",
        "parameters": [
            told("since", "Behind this revision"),
            told("until", "Up to this revision"),
            told("path", "Of this resource, or of this list"),
            told("actor", "Made by this one"),
            order, limit_parameter(), watch,
        ],
        "responses": responses,
    });
    paths.insert(format!("{PREFIX}/_log"), json!({"get": get}));
}
