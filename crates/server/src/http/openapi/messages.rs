//! Shapes that are the same whatever the schema: conditions, patches, what dry runs and `why` tell, problems.

use serde_json::{Value as Json, json};

use super::parts::reference;
use crate::http::dry_run::MAX_LISTED;
use crate::patch::MAX_OPERATIONS;

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
    let key = json!({"type": "string"});
    let values = json!({"type": "array"});
    let place = json!({"type": "integer", "minimum": 0});
    let action = |members: Json| json!({"type": "object", "required": ["key"], "properties": members});
    json!({
        "type": "array",
        "maxItems": MAX_OPERATIONS,
        "items": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
            "properties": {
                "set": action(json!({"key": key, "value": {}})),
                "clear": action(json!({"key": key})),
                "inc": action(json!({"key": key, "by": {}, "limit": {}, "clamp": {"type": "boolean"}})),
                "push": action(json!({"key": key, "value": {}, "values": values, "position": place})),
                "pop": action(json!({"key": key, "head": {"type": "boolean"}})),
                "move": action(json!({"key": key, "from": place, "value": {}, "position": place})),
                "add": action(json!({"key": key, "value": {}, "values": values})),
                "remove": action(json!({"key": key, "value": {}, "values": values})),
            },
        },
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
