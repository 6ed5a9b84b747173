//! The OpenAPI 3.1 document of a schema: its resources, what may be written, and every path that this version serves.

use corollary_engine::order;
use corollary_engine::receipt::MAX_KEY_BYTES;
use corollary_schema::typed::Kind;
use corollary_schema::{
    DefaultValue, Field, FieldKind, FieldRef, Member, ResourceType, Rules, Schema, Slot, TypeIx, ValueType,
};
use corollary_value::Value;
use serde_json::{Map, Value as Json, json};

use super::dry_run::MAX_LISTED;
use super::params::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::json::encode::target_of;
use crate::patch::{self, MAX_OPERATIONS};
use crate::path::PREFIX;

/// The document.
pub fn document(schema: &Schema) -> Json {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for (ty, resource) in schema.types().filter(|(_, resource)| resource.visible()) {
        schemas.insert(resource.name.to_string(), shown(schema, ty, resource));
        schemas.insert(format!("{}Facts", resource.name), facts(schema, resource, true));
        schemas.insert(format!("{}Patch", resource.name), facts(schema, resource, false));
    }
    schemas.insert("Link".into(), link_schema());
    schemas.insert("JsonPatch".into(), json_patch_schema());
    schemas.insert("UpdateActions".into(), actions_schema());
    schemas.insert("Condition".into(), condition_schema());
    schemas.insert("DryRun".into(), dry_run_schema());
    schemas.insert("Why".into(), why_schema());
    schemas.insert("Problem".into(), problem_schema());
    for (ty, resource) in schema.types() {
        let Some(root) = &resource.root else { continue };
        let base = format!("{PREFIX}/{root}");
        collection(schema, &Members::of(schema, ty), &base, &[], &mut paths);
    }
    for (root, types) in &schema.abstract_roots {
        let names: Vec<&str> = types.iter().map(|ty| schema.ty(*ty).name.as_str()).collect();
        let base = format!("{PREFIX}/{root}");
        paths.insert(base.clone(), json!({"get": list(&names)}));
        let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
        let one = "Read the resource of whichever type has the id; what changes it goes there";
        paths.insert(format!("{base}/{{id}}"), json!({"parameters": [id], "get": plain(one)}));
    }
    paths.insert(format!("{PREFIX}/_batch"), json!({"post": batch()}));
    paths.insert(format!("{PREFIX}/_move"), json!({"post": moves()}));
    paths.insert(
        format!("{PREFIX}/_updates"),
        json!({
            "get": plain("What is being brought up to date, and what was not long ago; as events until the end"),
            "patch": plain("How fast that goes: `batch` and `rate`"),
        }),
    );
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    paths.insert(
        format!("{PREFIX}/_updates/{{id}}"),
        json!({
            "parameters": [id],
            "get": plain("One update; as events until its end"),
            "patch": plain("Has an update that waits after a failure go on at once: `{\"state\": \"running\"}`"),
        }),
    );
    paths.insert(format!("{PREFIX}/_schema"), json!({"get": plain("The schema, as it was written")}));
    paths.insert(format!("{PREFIX}/_features"), json!({"get": plain("What the store can do")}));
    paths.insert(format!("{PREFIX}/_openapi.json"), json!({"get": plain("This document")}));
    paths.insert("/healthz".into(), json!({"get": plain("Is the server alive?")}));
    paths.insert("/readyz".into(), json!({"get": plain("Can it read?")}));
    json!({
        "openapi": "3.1.0",
        "info": {"title": schema.name.as_str(), "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"schemas": schemas, "parameters": shared_parameters()},
    })
}

/// The members of a list: what types they have, and what their id is called.
#[derive(Clone)]
struct Members {
    types: Vec<TypeIx>,
    id: String,
}

impl Members {
    /// Of a list of one type.
    fn of(schema: &Schema, ty: TypeIx) -> Members {
        Members { types: vec![ty], id: format!("{}_id", schema.ty(ty).name.to_lowercase()) }
    }

    /// Of a collection.
    fn in_collection(schema: &Schema, resource: &ResourceType, field: &Field) -> Option<Members> {
        match &field.kind {
            FieldKind::Collection { child, .. } if !field.is_part() => Some(Members::of(schema, *child)),
            FieldKind::Several { parts, owned: true } => {
                let child = |part: &Slot| match resource.field(*part).kind {
                    FieldKind::Collection { child, .. } => Some(child),
                    _ => None,
                };
                let types = parts.iter().filter_map(child).collect();
                Some(Members { types, id: format!("{}_id", field.name) })
            }
            _ => None,
        }
    }

    fn names<'s>(&self, schema: &'s Schema) -> Vec<&'s str> {
        self.types.iter().map(|ty| schema.ty(*ty).name.as_str()).collect()
    }

    fn parameter(&self) -> Json {
        json!({"name": self.id, "in": "path", "required": true, "schema": {"type": "string"}})
    }
}

/// One of the schemas of some types, each with the same ending.
fn one_of(names: &[&str], ending: &str) -> Json {
    match names {
        [name] => reference(&format!("{name}{ending}")),
        names => Json::from_iter([(
            "oneOf".to_string(),
            names.iter().map(|name| reference(&format!("{name}{ending}"))).collect::<Json>(),
        )]),
    }
}

/// What creates a resource in a list: where it is of several types, with the one that it has.
fn created(names: &[&str]) -> Json {
    let [_] = names else {
        let of = |name: &&str| {
            let named = json!({"required": ["_type"], "properties": {"_type": {"const": name}}});
            json!({"allOf": [reference(&format!("{name}Facts")), named]})
        };
        return json!({"oneOf": names.iter().map(of).collect::<Json>()});
    };
    one_of(names, "Facts")
}

/// A list and its members; owned children below each, as deep as types do not repeat.
fn collection(
    schema: &Schema,
    members: &Members,
    base: &str,
    above: &[Members],
    paths: &mut Map<String, Json>,
) {
    let names = members.names(schema);
    let name = &names.join(" or ");
    let parameters: Vec<Json> = above.iter().map(Members::parameter).collect();
    let id = format!("{{{}}}", members.id);
    paths.insert(
        base.to_string(),
        json!({
            "parameters": parameters,
            "get": list(&names),
            "post": {
                "summary": format!("Create a {name}; a list, or lines of NDJSON, creates all or none"),
                "parameters": write_parameters(),
                "requestBody": body(json!({"oneOf": [
                    created(&names),
                    {"type": "array", "items": created(&names)},
                ]})),
                "responses": or_dry_run(responses("201", &names)),
            },
        }),
    );
    by_query(base, &parameters, &names, paths);
    let mut here = above.to_vec();
    here.push(members.clone());
    let parameters: Vec<Json> = here.iter().map(Members::parameter).collect();
    let one = format!("{base}/{id}");
    paths.insert(
        one.clone(),
        json!({
            "parameters": parameters,
            "get": {
                "summary": format!("Read a {name}, or watch it"),
                "parameters": [text_parameter("expand"), text_parameter("fields"), watch_parameter(), since_parameter(), at_parameter(), why_parameter()],
                "responses": or_why(responses("200", &names)),
            },
            "put": {
                "summary": format!("Replace a {name}; with `If-None-Match: *`, create it with this id"),
                "parameters": write_parameters(),
                "requestBody": body(one_of(&names, "Facts")),
                "responses": or_dry_run(responses("200", &names)),
            },
            "patch": {
                "summary": format!("Change a {name} by a merge patch, a JSON Patch, or update actions"),
                "parameters": write_parameters(),
                "requestBody": {"required": true, "content": {
                    "application/json": {"schema": one_of(&names, "Patch")},
                    "application/merge-patch+json": {"schema": one_of(&names, "Patch")},
                    "application/json-patch+json": {"schema": reference("JsonPatch")},
                    "application/vnd.corollary.update+json": {"schema": reference("UpdateActions")},
                }},
                "responses": or_dry_run(responses("200", &names)),
            },
            "delete": {
                "summary": format!("Delete a {name}, its children, and what its links say"),
                "parameters": write_parameters(),
                "responses": or_dry_run(json!({"204": {"description": "It is gone"}, "default": problem()})),
            },
        }),
    );
    past(schema, members, &one, &parameters, paths);
    for ty in &members.types {
        let resource = schema.ty(*ty);
        for field in &resource.fields {
            let Some(mut below) = Members::in_collection(schema, resource, field) else { continue };
            below.types.retain(|child| !here.iter().any(|above| above.types.contains(child)));
            if !below.types.is_empty() {
                collection(schema, &below, &format!("{one}/{}", field.name), &here, paths);
            }
        }
    }
}

/// What is asked of a resource about its past.
fn past(schema: &Schema, members: &Members, one: &str, parameters: &[Json], paths: &mut Map<String, Json>) {
    let names = members.names(schema);
    let name = names.join(" or ");
    let revision = json!({"oneOf": [{"type": "string"}, {"type": "integer"}]});
    let to = json!({"type": "object", "required": ["to"], "properties": {"to": revision}, "additionalProperties": false});
    paths.insert(
        format!("{one}/_revert"),
        json!({"parameters": parameters, "post": {
            "summary": format!("Write the facts that a {name} had at a revision; one that is gone is created again"),
            "parameters": write_parameters(),
            "requestBody": body(to),
            "responses": or_dry_run(responses("200", &names)),
        }}),
    );
    let kept = members.types.iter().map(|ty| schema.ty(*ty)).filter(|resource| resource.history.is_some());
    let kept: Vec<&str> = kept.map(|resource| resource.name.as_str()).collect();
    if kept.is_empty() {
        return;
    }
    let version = json!({"type": "object", "required": ["revision", "type"], "properties": {
        "revision": {"type": "string"},
        "type": {"enum": ["found", "created", "modified", "deleted"]},
        "time": {"type": "string", "format": "date-time"},
        "changed": {"type": "array", "items": {"type": "string"}},
        "resource": one_of(&kept, ""),
    }});
    let page = json!({"type": "object", "required": ["results", "next", "revision"], "properties": {
        "results": {"type": "array", "items": version},
        "next": {"type": ["string", "null"]},
        "revision": {"type": "string"},
    }});
    let content = json!({"application/json": {"schema": page}});
    paths.insert(
        format!("{one}/_versions"),
        json!({"parameters": parameters, "get": {
            "summary": format!("What a {} was, the latest first", kept.join(" or ")),
            "parameters": [limit_parameter(), text_parameter("page_token")],
            "responses": {"200": {"description": "A page of versions", "content": content}, "default": problem()},
        }}),
    );
}

/// Moves to another parent.
fn moves() -> Json {
    let path = |what: &str| json!({"type": "string", "description": what});
    let members = json!({
        "from": path("A resource, a list, or a list with a condition in brackets"),
        "to": path("A collection"),
        "position": {"type": ["integer", "null"], "minimum": 0},
    });
    let request = json!({"type": "object", "required": ["from", "to"], "properties": members, "additionalProperties": false});
    let number = json!({"type": "integer"});
    let text = json!({"type": "string"});
    let one = json!({"type": "object", "required": ["_id", "_self", "_revision"], "properties": {"_id": text, "_self": text, "_revision": text}});
    let many = json!({"type": "object", "required": ["matched", "changed", "revision"], "properties": {"matched": number, "changed": number, "revision": text}});
    let content = json!({"application/json": {"schema": {"anyOf": [one, many]}}});
    json!({
        "summary": "Move a resource, some of a list, or all of it to another parent; what stands below comes along",
        "parameters": write_parameters(),
        "requestBody": body(request),
        "responses": or_dry_run(json!({
            "200": {"description": "The resource where it is now; of a list how many were found and have changed", "content": content},
            "default": problem(),
        })),
    })
}

/// What is asked of a list with a body; where it is of several types nothing that writes.
fn by_query(base: &str, parameters: &[Json], names: &[&str], paths: &mut Map<String, Json>) {
    let name = names.join(" or ");
    let condition = reference("Condition");
    let texts = json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]});
    let flag = json!({"type": "boolean"});
    let takes = |members: Json, required: &[&str]| {
        body(
            json!({"type": "object", "required": required, "properties": members, "additionalProperties": false}),
        )
    };
    let gives = |members: Json| {
        let schema = json!({"type": "object", "properties": members});
        let content = json!({"application/json": {"schema": schema}});
        json!({"200": {"description": "What was found or done", "content": content}, "default": problem()})
    };
    let number = json!({"type": "integer"});
    let done = json!({"matched": number, "changed": number, "revision": {"type": "string"}});
    let asked = [
        (
            "_query",
            format!("List {name}, asked with a body"),
            takes(
                json!({
                    "where": condition, "order": texts, "start": number, "size": number,
                    "page_token": {"type": ["string", "null"]}, "fields": texts, "expand": texts,
                    "count": flag, "allow_scan": flag, "explain": flag,
                }),
                &[],
            ),
            gives(json!({
                "results": {"type": "array", "items": one_of(names, "")}, "next": {"type": ["string", "null"]},
                "count": number, "revision": {"type": "string"},
            })),
        ),
        (
            "_count",
            format!("Count {name}"),
            takes(json!({"where": condition, "allow_scan": flag}), &[]),
            gives(json!({"count": number, "revision": {"type": "string"}})),
        ),
        (
            "_update",
            format!("Change every {name} that matches"),
            takes(
                json!({
                    "where": condition, "patch": {}, "allow_scan": flag,
                    "content_type": {"enum": patch::Kind::CONTENT_TYPES},
                }),
                &["patch"],
            ),
            gives(done.clone()),
        ),
        (
            "_delete",
            format!("Delete every {name} that matches"),
            takes(json!({"where": condition, "allow_scan": flag}), &["where"]),
            gives(done),
        ),
    ];
    for (verb, summary, request, responses) in asked {
        let changes = matches!(verb, "_update" | "_delete");
        if changes && names.len() > 1 {
            continue;
        }
        let mut post = json!({"summary": summary, "requestBody": request, "responses": responses});
        if changes {
            post["parameters"] = write_parameters();
            post["responses"] = or_dry_run(post["responses"].take());
        }
        paths.insert(format!("{base}/{verb}"), json!({"parameters": parameters, "post": post}));
    }
}

/// The condition tree.
fn condition_schema() -> Json {
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

fn text_parameter(name: &str) -> Json {
    json!({"name": name, "in": "query", "schema": {"type": "string"}})
}

fn flag_parameter(name: &str) -> Json {
    json!({"name": name, "in": "query", "schema": {"type": "boolean"}})
}

/// What every write takes.
fn write_parameters() -> Json {
    let of = |name: &str| json!({"$ref": format!("#/components/parameters/{name}")});
    json!([of("wait"), of("dry_run"), of("idempotency_key")])
}

/// The parameters that many requests take.
fn shared_parameters() -> Json {
    let told = |name: &str, what: &str| {
        let mut parameter = flag_parameter(name);
        parameter["description"] = what.into();
        parameter
    };
    json!({
        "wait": told("wait", "The reply comes when the updates that the write began have ended"),
        "dry_run": told("dry_run", "Nothing is written: the reply tells what would be"),
        "idempotency_key": {
            "name": "Idempotency-Key", "in": "header",
            "description": "Sent again within 24 hours, the write is done once and has the first reply",
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES},
        },
    })
}

/// The responses of a write, and that of a dry run of it, which is 200 whatever the write's own is.
fn or_dry_run(mut responses: Json) -> Json {
    let dry = reference("DryRun");
    match responses["200"]["content"]["application/json"]["schema"].take() {
        Json::Null => {
            let content = json!({"application/json": {"schema": dry}});
            responses["200"] = json!({"description": "What it would do", "content": content});
        }
        schema => responses["200"]["content"]["application/json"]["schema"] = json!({"oneOf": [schema, dry]}),
    }
    responses
}

/// What a dry run tells.
fn dry_run_schema() -> Json {
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

fn watch_parameter() -> Json {
    flag_parameter("watch")
}

fn since_parameter() -> Json {
    text_parameter("since")
}

fn why_parameter() -> Json {
    let mut why = text_parameter("why");
    why["description"] = "The derived field of which it is told why it is what it is".into();
    why
}

/// The responses of a read, and that of one that asks why.
fn or_why(mut responses: Json) -> Json {
    let schema = &mut responses["200"]["content"]["application/json"]["schema"];
    *schema = json!({"oneOf": [schema.take(), reference("Why")]});
    responses
}

/// What is told of why a value is what it is.
fn why_schema() -> Json {
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

fn at_parameter() -> Json {
    let mut at = text_parameter("at");
    at["description"] = "The revision as at which it is read".into();
    at
}

fn limit_parameter() -> Json {
    json!({
        "name": "limit", "in": "query",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    })
}

fn list(names: &[&str]) -> Json {
    let page = json!({
        "type": "object",
        "required": ["results", "next", "revision"],
        "properties": {
            "results": {"type": "array", "items": one_of(names, "")},
            "next": {"type": ["string", "null"]},
            "count": {"type": "integer"},
            "revision": {"type": "string"},
        },
    });
    let explained = json!({
        "type": "object",
        "required": ["explain", "revision"],
        "properties": {"explain": {"type": "object"}, "revision": {"type": "string"}},
    });
    json!({
        "summary": format!("List or watch {}", names.join(" and ")),
        "parameters": [
            text_parameter("filter"), text_parameter("order"), limit_parameter(), text_parameter("page_token"),
            text_parameter("fields"), text_parameter("expand"), flag_parameter("count"),
            flag_parameter("allow_scan"), explain_parameter(), watch_parameter(), since_parameter(),
        ],
        "responses": {
            "200": {"description": "A page", "content": {"application/json": {"schema": {"oneOf": [page, explained]}}}},
            "default": problem(),
        },
    })
}

fn explain_parameter() -> Json {
    let mut explain = flag_parameter("explain");
    explain["description"] = "It is told how the list would be found, instead of what is found".into();
    explain
}

fn batch() -> Json {
    json!({
        "summary": "Several writes and reads in one transaction",
        "parameters": write_parameters(),
        "requestBody": body(json!({"type": "array", "items": {
            "type": "object",
            "required": ["method", "path"],
            "properties": {
                "method": {"enum": ["GET", "POST", "PUT", "PATCH", "DELETE"]},
                "path": {"type": "string"},
                "body": {},
                "content_type": {"enum": patch::Kind::CONTENT_TYPES},
                "if_match": {"type": "string"},
            },
        }})),
        "responses": or_dry_run(json!({
            "200": {"description": "What each did", "content": {"application/json": {"schema": {
                "type": "array",
                "items": {"type": "object", "properties": {"status": {"type": "integer"}, "body": {"type": "object"}}},
            }}}},
            "default": problem(),
        })),
    })
}

fn plain(summary: &str) -> Json {
    json!({"summary": summary, "responses": {"200": {"description": "It is"}, "default": problem()}})
}

fn body(schema: Json) -> Json {
    json!({"required": true, "content": {"application/json": {"schema": schema}}})
}

fn responses(status: &str, names: &[&str]) -> Json {
    let mut responses = Map::new();
    let content = json!({"application/json": {"schema": one_of(names, "")}});
    responses.insert(status.into(), json!({"description": "The resource", "content": content}));
    responses.insert("default".into(), problem());
    Json::Object(responses)
}

fn problem() -> Json {
    let content = json!({"application/problem+json": {"schema": reference("Problem")}});
    json!({"description": "What is wrong", "content": content})
}

fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn link_schema() -> Json {
    json!({
        "type": "object",
        "required": ["_id"],
        "properties": {"_id": {"type": "string"}, "_self": {"type": "string"}},
    })
}

fn json_patch_schema() -> Json {
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

fn actions_schema() -> Json {
    let key = json!({"type": "string"});
    let values = json!({"type": "array"});
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
                "push": action(json!({"key": key, "value": {}, "values": values, "position": {"type": "integer", "minimum": 0}})),
                "pop": action(json!({"key": key, "head": {"type": "boolean"}})),
                "add": action(json!({"key": key, "value": {}, "values": values})),
                "remove": action(json!({"key": key, "value": {}, "values": values})),
            },
        },
    })
}

fn problem_schema() -> Json {
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

/// A resource as it is read.
fn shown(schema: &Schema, ty: TypeIx, resource: &ResourceType) -> Json {
    let mut properties = Map::new();
    for name in ["_id", "_self", "_revision"] {
        properties.insert(name.into(), json!({"type": "string"}));
    }
    if resource.fields.iter().any(|field| matches!(field.kind, FieldKind::Derived { .. })) {
        let what = "The derived fields whose values an update has yet to bring up to date; left out where there are none";
        let names =
            json!({"type": "array", "items": {"type": "string"}, "readOnly": true, "description": what});
        properties.insert("_pending".into(), names);
    }
    if !resource.positions.is_empty() {
        properties.insert(order::NAME.into(), place());
    }
    for (slot, field) in resource.slots().filter(|(_, field)| field.visible()) {
        let at = FieldRef { ty, slot };
        let many = match &field.kind {
            FieldKind::Links { .. }
            | FieldKind::Collection { .. }
            | FieldKind::Inverse { .. }
            | FieldKind::Several { .. } => true,
            FieldKind::Derived { expr, .. } => expr.ty.is_many(),
            FieldKind::Among { many, .. } => *many,
            _ => false,
        };
        let one = match (&field.kind, target_of(schema, at)) {
            (FieldKind::Collection { .. } | FieldKind::Inverse { .. }, Some(target)) => {
                reference(&schema.ty(target).name)
            }
            (FieldKind::Several { parts, .. }, _) => {
                let part = |part: &Slot| target_of(schema, FieldRef { ty, slot: *part });
                let names = parts.iter().filter_map(part).map(|of| schema.ty(of).name.as_str());
                one_of(&names.collect::<Vec<_>>(), "")
            }
            (FieldKind::Among { targets, .. }, _) => {
                let targets = targets.iter().map(|target| reference(&schema.ty(*target).name));
                let any: Vec<Json> = [reference("Link")].into_iter().chain(targets).collect();
                json!({"anyOf": any})
            }
            (_, Some(target)) => json!({"anyOf": [reference("Link"), reference(&schema.ty(target).name)]}),
            (FieldKind::Stored(ty), None) => match field.extended.map(|slot| &resource.field(slot).kind) {
                Some(FieldKind::Derived { expr, .. }) => {
                    let one = kind(&expr.ty.kind);
                    if expr.ty.is_many() { json!({"type": "array", "items": one}) } else { one }
                }
                _ => value(ty, &field.rules),
            },
            (FieldKind::Derived { expr, .. }, None) => or_error(match &expr.ty.kind {
                // A value of a map may be an error by itself.
                Kind::Map(of) => {
                    let entry = or_error(value(of, &Rules::default()));
                    json!({"type": "object", "additionalProperties": entry})
                }
                plain => kind(plain),
            }),
            _ => json!({}),
        };
        let mut property = match &field.kind {
            // So may a list be as a whole.
            FieldKind::Derived { .. } if many => or_error(json!({"type": "array", "items": one})),
            _ if many => json!({"type": "array", "items": one}),
            _ => one,
        };
        let read_only = matches!(field.kind, FieldKind::Derived { .. }) || field.rules.kept.is_some();
        if let (true, Some(members)) = (read_only, property.as_object_mut()) {
            members.insert("readOnly".into(), true.into());
            if field.is_lazy() && field.rules.description.is_none() {
                let what = "Computed by each read; it may change without a new revision";
                members.insert("description".into(), what.into());
            }
        }
        properties.insert(field.name.to_string(), property);
    }
    json!({"type": "object", "required": ["_id", "_self", "_revision"], "properties": properties})
}

/// The place among the children of an ordered collection.
fn place() -> Json {
    json!({"type": "integer", "minimum": 0})
}

/// May a collection of several types hold it, whose children say their type when they are created?
fn is_one_of_several(schema: &Schema, resource: &ResourceType) -> bool {
    let mut collections = resource.parents.iter().filter_map(|slot| match resource.field(*slot).kind {
        FieldKind::Parent { collection } => Some(schema.field(collection)),
        _ => None,
    });
    collections.any(Field::is_part)
}

/// What may be written of a resource: all of it, or a patch.
fn facts(schema: &Schema, resource: &ResourceType, whole: bool) -> Json {
    let mut properties = Map::new();
    if whole {
        properties.insert("_id".into(), json!({"type": "string"}));
        if is_one_of_several(schema, resource) {
            properties.insert("_type".into(), json!({"const": resource.name.as_str()}));
        }
    }
    if !resource.positions.is_empty() {
        properties.insert(order::NAME.into(), place());
    }
    let mut required = Vec::new();
    for field in resource.fields.iter().filter(|field| field.visible() && field.is_written()) {
        properties.insert(field.name.to_string(), written(field, whole));
        if whole && field.rules.required && field.rules.default.is_none() {
            required.push(field.name.to_string());
        }
    }
    let mut facts = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        facts["required"] = required.into();
    }
    facts
}

fn written(field: &Field, whole: bool) -> Json {
    let link = json!({"anyOf": [reference("Link"), {"type": "string"}]});
    let schema = match &field.kind {
        FieldKind::Link { .. } | FieldKind::Among { many: false, .. } => link,
        FieldKind::Links { .. } | FieldKind::Among { .. } => json!({"type": "array", "items": link}),
        FieldKind::Stored(ty) => value(ty, &field.rules),
        _ => json!({}),
    };
    if whole && !field.rules.nullable { schema } else { json!({"anyOf": [schema, {"type": "null"}]}) }
}

/// What may be an error value instead.
fn or_error(schema: Json) -> Json {
    let error = json!({"type": "object", "properties": {"_error": {"type": "string"}}});
    json!({"anyOf": [schema, error]})
}

/// A stored value.
fn value(ty: &ValueType, rules: &Rules) -> Json {
    let mut schema = match ty {
        ValueType::Str => json!({"type": "string"}),
        ValueType::Int => json!({"type": "integer", "format": "int64"}),
        ValueType::Float => json!({"type": "number", "format": "double"}),
        ValueType::Bool => json!({"type": "boolean"}),
        ValueType::Decimal => json!({"type": ["string", "number"], "format": "decimal"}),
        ValueType::Datetime => json!({"type": "string", "format": "date-time"}),
        ValueType::Date => json!({"type": "string", "format": "date"}),
        ValueType::Duration => json!({"type": "string", "format": "duration"}),
        ValueType::Uuid => json!({"type": "string", "format": "uuid"}),
        ValueType::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        ValueType::Json => json!({}),
        ValueType::Link { .. } => json!({"anyOf": [reference("Link"), {"type": "string"}]}),
        ValueType::Enum(words) => json!({"enum": words.iter().map(|word| word.as_str()).collect::<Vec<_>>()}),
        ValueType::Object(members) => object(members),
        ValueType::List(of) => json!({"type": "array", "items": value(of, &Rules::default())}),
        ValueType::Set(of) => {
            json!({"type": "array", "items": value(of, &Rules::default()), "uniqueItems": true})
        }
        ValueType::Map(of) => json!({"type": "object", "additionalProperties": value(of, &Rules::default())}),
    };
    let lengths = match ty {
        ValueType::List(_) | ValueType::Set(_) => ("minItems", "maxItems"),
        ValueType::Map(_) | ValueType::Object(_) => ("minProperties", "maxProperties"),
        _ => ("minLength", "maxLength"),
    };
    let mut add = |name: &str, value: Option<Json>| {
        if let (Some(members), Some(value)) = (schema.as_object_mut(), value) {
            members.insert(name.into(), value);
        }
    };
    add("minimum", rules.min.as_ref().and_then(number));
    add("maximum", rules.max.as_ref().and_then(number));
    add(lengths.0, rules.min_length.map(Json::from));
    add(lengths.1, rules.max_length.map(Json::from));
    add("pattern", rules.pattern.as_ref().map(|pattern| pattern.regex.as_str().into()));
    add("description", rules.description.as_ref().map(|text| text.as_str().into()));
    if let Some(DefaultValue::Constant(value)) = &rules.default {
        let mut bytes = Vec::new();
        crate::json::encode::bare(value, &mut bytes);
        add("default", serde_json::from_slice(&bytes).ok());
    }
    schema
}

fn number(value: &Value) -> Option<Json> {
    match value {
        Value::Int(value) => Some((*value).into()),
        Value::Float(value) => Some((*value).into()),
        _ => None,
    }
}

fn object(members: &[Member]) -> Json {
    let property = |member: &Member| {
        let mut property = value(&member.ty, &member.rules);
        if member.derived {
            property["readOnly"] = true.into();
        }
        (member.name.to_string(), property)
    };
    let properties: Map<String, Json> = members.iter().map(property).collect();
    let required: Vec<&str> = members
        .iter()
        .filter(|member| member.rules.required && member.rules.default.is_none())
        .map(|member| member.name.as_str())
        .collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// One element of what an expression yields.
fn kind(kind: &Kind) -> Json {
    let none = Rules::default();
    match kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Int => value(&ValueType::Int, &none),
        Kind::Float => value(&ValueType::Float, &none),
        Kind::Decimal => value(&ValueType::Decimal, &none),
        Kind::Str => json!({"type": "string"}),
        Kind::Enum(words) => value(&ValueType::Enum(words.clone()), &none),
        Kind::Bytes => value(&ValueType::Bytes, &none),
        Kind::Uuid => value(&ValueType::Uuid, &none),
        Kind::Datetime => value(&ValueType::Datetime, &none),
        Kind::Date => value(&ValueType::Date, &none),
        Kind::Duration => value(&ValueType::Duration, &none),
        Kind::Object(members) => object(members),
        Kind::Map(of) => value(&ValueType::Map(of.clone()), &none),
        Kind::Null | Kind::Json | Kind::Resource(_) | Kind::Among(_) => json!({}),
    }
}
