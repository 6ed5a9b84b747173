//! The log in the OpenAPI document.

use serde_json::json;

use super::names::Paths;
use super::parts::{item, operation, page_of, told_as};
use super::shared::{READ_PROBLEMS, headers, or_problems, parameters};
use crate::path::PREFIX;

/// Adds its path.
pub fn add(paths: &mut Paths) {
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
    let told = |name: &str, what: &str| json!({"name": name, "in": "query", "description": what, "schema": {"type": "string"}});
    let mut order = told("order", "`-revision` is the latest first, as without `since`");
    order["schema"]["enum"] = json!(["revision", "-revision"]);
    let mut watch = told("watch", "Goes on with what is to come; line by line only");
    watch["schema"] = json!({"type": "boolean"});
    let mut page = told_as("A page of commits; or a commit a line", "application/json", page_of(commit));
    page["headers"] = headers(&["Corollary-Revision"]);
    page["content"]["application/x-ndjson"] = json!({"schema": {"type": "string"}});
    let mut get = operation("readLog", "Who changed what when");
    let mut takes = vec![
        told("since", "Behind this revision"),
        told("until", "Up to this revision"),
        told("path", "Of this resource, or of this list"),
        told("actor", "Made by this one"),
        order,
        watch,
    ];
    takes.extend(parameters(&["limit", "at_least"]));
    get["parameters"] = takes.into();
    get["responses"] = or_problems(json!({"200": page}), &READ_PROBLEMS);
    paths.add(format!("{PREFIX}/_log"), item(&[], [("get", get)]));
}
