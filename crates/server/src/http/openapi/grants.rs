//! Grants in the OpenAPI document.

use corollary_engine::grants::May;
use serde_json::json;

use super::names::Paths;
use super::parts::{id, item, plain, removes, told, writes};
use crate::path::PREFIX;

/// Adds their paths.
pub fn add(paths: &mut Paths) {
    let base = format!("{PREFIX}/_grants");
    let may = May::ALL.map(|(name, _)| name);
    let properties = json!({
        "_id": {"type": "string"},
        "path": {"type": "string", "description": "What is granted: a path of collections, as /divisions[head = ego]/*/sections, and all that is below; / for everything"},
        "to": {"type": ["array", "null"], "items": {"type": "string"}, "minItems": 1, "description": "The names of the actors; everybody without it"},
        "may": {"type": ["array", "null"], "items": {"type": "string", "enum": may}, "minItems": 1, "description": "What they may do there; read, where it says nothing"},
        "description": {"type": ["string", "null"]},
        "paused": {"type": ["boolean", "null"]},
    });
    let declared = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["path"],
        "properties": properties,
    });
    let changed = json!({"type": "object", "additionalProperties": false, "properties": properties});
    let mut shown = properties;
    shown["_self"] = json!({"type": "string"});
    shown["status"] = json!({"type": "string", "enum": ["active", "paused", "unfit"]});
    shown["error"] = json!({"type": "string"});
    let shown = json!({
        "type": "object",
        "required": ["_id", "_self", "path", "may", "paused", "status"],
        "properties": shown,
    });
    let list = plain("readGrants", "Who may do what, by their ids");
    let is_declared = [("201", "It is declared", shown.clone())];
    let declare = writes("declareGrant", "Declare a grant", declared.clone(), &is_declared);
    paths.add(base.clone(), item(&[], [("get", list), ("post", declare)]));
    let replaced = [("200", "It is replaced", shown.clone()), ("201", "It is declared", shown.clone())];
    let is_changed = [("200", "It is changed", shown.clone())];
    let one = [
        ("get", told("readGrant", "One grant", shown)),
        ("put", writes("replaceGrant", "Declare a grant, or replace it", declared, &replaced)),
        ("patch", writes("changeGrant", "Change a grant, by a merge patch", changed, &is_changed)),
        ("delete", removes("removeGrant", "Remove a grant")),
    ];
    paths.add(format!("{base}/{{id}}"), item(&[id("id")], one));
}
