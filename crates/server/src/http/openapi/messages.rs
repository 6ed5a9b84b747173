//! Shapes that are the same whatever the schema: conditions, patches, what dry runs and `why` tell, problems.

use serde_json::{Value as Json, json};

use super::parts::{object, reference};
use crate::http::by_query::MAX_START;
use crate::http::dry_run::MAX_LISTED;
use crate::http::params::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::patch::{Kind, MAX_OPERATIONS};

/// The condition tree.
pub(super) fn condition_schema() -> Json {
    let one = reference("Condition");
    let many = json!({"type": "array", "minItems": 1, "items": one});
    let on = |members: Json| json!({"type": "object", "required": ["key"], "properties": members});
    let (key, flag) = (json!({"type": "string"}), json!({"type": "boolean"}));
    json!({
        "type": ["object", "string", "null"],
        "maxProperties": 1,
        "additionalProperties": false,
        "properties": {
            "and": many,
            "or": many,
            "not": one,
            "kv": on(json!({"key": key, "value": {}, "equals": flag})),
            "kvs": on(json!({"key": key, "values": {"type": "array"}, "includes": flag})),
            "exist": on(json!({"key": key})),
            "nonexistent": on(json!({"key": key})),
            "greater": on(json!({"key": key, "value": {}, "equals": flag})),
            "lesser": on(json!({"key": key, "value": {}, "equals": flag})),
            "expr": {"type": "string"},
        },
    })
}

/// What a dry run tells.
pub(super) fn dry_run_schema() -> Json {
    let (text, number, flag) =
        (json!({"type": "string"}), json!({"type": "integer"}), json!({"type": "boolean"}));
    let texts = json!({"type": "array", "items": text});
    let change = json!({"type": "object", "properties": {"old": {}, "new": {}}});
    let changes = json!({"type": "object", "additionalProperties": change});
    let list = |members: Json| {
        let one = json!({"type": "object", "required": ["type"], "properties": members});
        let resources = json!({"type": "array", "items": one, "maxItems": MAX_LISTED});
        json!({"type": "object", "required": ["count", "resources"], "properties": {"count": number, "resources": resources}})
    };
    let update = json!({"type": "object", "properties": {
        "_id": text, "type": text, "field": text, "estimated": number, "complete": flag,
        "cause": {"type": "object"},
    }});
    json!({
        "type": "object",
        "required": ["dry_run", "status", "revision", "created", "changed", "deleted", "updates"],
        "properties": {
            "dry_run": {"const": true},
            "status": number,
            "revision": text,
            "created": list(json!({"type": text, "resource": {"type": "object"}})),
            "changed": list(json!({
                "type": text, "_id": text, "_self": text, "_revision": text,
                "moved": change, "unlinked": texts, "facts": changes, "derived": changes, "_pending": texts,
            })),
            "deleted": list(json!({"type": text, "_id": text, "_self": text, "_revision": text})),
            "updates": {"type": "array", "items": update},
            "reply": {},
        },
    })
}

/// What is told of why a value is what it is.
pub(super) fn why_schema() -> Json {
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer"}));
    let texts = json!({"type": "array", "items": text});
    let input = json!({"type": "object", "required": ["count", "sample"], "properties": {
        "field": text, "referring_by": text, "all": text, "to": number, "count": number,
        "sample": {"type": "array"},
    }});
    let step = json!({"type": "object", "properties": {
        "path": text, "field": text, "expression": text, "error": text, "made_by": text,
    }});
    json!({
        "type": "object",
        "required": ["field", "value", "expression", "explain", "inputs", "complete", "updates", "changed"],
        "properties": {
            "_self": text, "_revision": text, "revision": text, "field": text, "value": {}, "_pending": texts,
            "expression": text, "explain": texts, "complete": {"type": "boolean"}, "now": text,
            "inputs": {"type": "array", "items": input},
            "error": {"type": "array", "items": step},
            "updates": {"type": "array", "items": {"type": "object"}},
            "changed": {"type": ["object", "null"], "properties": {
                "revision": text, "time": text, "old": {}, "new": {}, "facts": {"type": "object"}, "not_after": text,
            }},
        },
    })
}

pub(super) fn json_patch_schema() -> Json {
    json!({
        "type": "array",
        "maxItems": MAX_OPERATIONS,
        "items": {
            "type": "object",
            "required": ["op", "path"],
            "properties": {
                "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
                "path": {"type": "string"},
                "from": {"type": "string"},
                "value": {},
            },
        },
    })
}

pub(super) fn actions_schema() -> Json {
    let (key, flag) = (json!({"type": "string"}), json!({"type": "boolean"}));
    let (values, place) = (json!({"type": "array"}), json!({"type": "integer", "minimum": 0}));
    let position = json!({"type": ["integer", "null"], "minimum": 0});
    // With one of two members, and not with both.
    let either = |left: &str, right: &str, members: Json| {
        let mut action = object(&["key"], members);
        action["oneOf"] = json!([{"required": [left]}, {"required": [right]}]);
        action
    };
    let by =
        json!({"description": "A number; of a datetime or a duration a duration, which has to be there"});
    let mut inc = object(&["key"], json!({"key": key, "by": by, "limit": {}, "clamp": flag}));
    inc["dependentRequired"] = json!({"clamp": ["limit"]});
    let elements = json!({"key": key, "value": {}, "values": values});
    let mut pushed = elements.clone();
    pushed["position"] = position.clone();
    let actions = [
        ("set", object(&["key", "value"], json!({"key": key, "value": {}}))),
        ("clear", object(&["key"], json!({"key": key}))),
        ("inc", inc),
        ("push", either("value", "values", pushed)),
        ("pop", object(&["key"], json!({"key": key, "head": flag}))),
        (
            "move",
            either("from", "value", json!({"key": key, "from": place, "value": {}, "position": position})),
        ),
        ("add", either("value", "values", elements.clone())),
        ("remove", either("value", "values", elements)),
    ];
    let one = |(name, takes): (&str, Json)| object(&[name], json!({name: takes}));
    json!({"type": "array", "maxItems": MAX_OPERATIONS, "items": {"oneOf": actions.map(one)}})
}

/// An item of a batch.
pub(super) fn batch_item_schema() -> Json {
    object(
        &["method", "path"],
        json!({
            "method": {"enum": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
            "path": {"type": "string"},
            "body": {},
            "content_type": {"enum": Kind::CONTENT_TYPES},
            "if_match": {"type": "string"},
        }),
    )
}

/// What a list is asked with a body.
pub(super) fn query_schema() -> Json {
    let texts = json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]});
    let flag = json!({"type": "boolean"});
    object(
        &[],
        json!({
            "where": reference("Condition"), "order": texts,
            "start": {"type": "integer", "minimum": 0, "maximum": MAX_START},
            "size": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
            "page_token": {"type": ["string", "null"]}, "fields": texts, "expand": texts,
            "count": flag, "allow_scan": flag, "explain": flag,
        }),
    )
}

/// How a list would be found.
pub(super) fn explained_schema() -> Json {
    json!({
        "type": "object",
        "required": ["explain", "revision"],
        "properties": {"explain": {"type": "object"}, "revision": {"type": "string"}},
    })
}

/// How many there are.
pub(super) fn counted_schema() -> Json {
    json!({
        "type": "object",
        "required": ["count", "revision"],
        "properties": {"count": {"type": "integer"}, "revision": {"type": "string"}},
    })
}

/// How many were found, and have changed.
pub(super) fn changed_schema() -> Json {
    let number = json!({"type": "integer"});
    json!({
        "type": "object",
        "required": ["matched", "changed", "revision"],
        "properties": {"matched": number, "changed": number, "revision": {"type": "string"}},
    })
}

pub(super) fn problem_schema() -> Json {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
            "errors": {"type": "array", "items": {"type": "object", "properties": {
                "path": {"type": "string"},
                "code": {"type": "string"},
                "message": {"type": "string"},
                "item": {"type": "integer"},
            }}},
        },
    })
}

/// What a schema changes.
pub(super) fn schema_plan_schema() -> Json {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let class = json!({"enum": ["same", "derived", "additive", "breaking"]});
    let change = json!({
        "type": "object",
        "required": ["class", "of", "what"],
        "properties": {"class": class, "of": {"type": "string"}, "what": {"type": "string"}},
    });
    json!({
        "type": "object",
        "required": ["class", "changes", "fill", "build", "refused", "same"],
        "properties": {
            "class": class,
            "changes": {"type": "array", "items": change},
            "fill": texts,
            "build": texts,
            "refused": texts,
            "same": {"type": "boolean"},
            "applied": {"type": "boolean"},
            "updates": texts,
        },
    })
}
