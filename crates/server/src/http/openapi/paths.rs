//! The paths of the document: lists, their members, and what may be asked of them.

use corollary_schema::{Field, FieldKind, ResourceType, Schema, Slot, TypeIx};
use serde_json::{Map, Value as Json, json};

use super::files;
use super::parts::{
    at_parameter, body, explain_parameter, flag_parameter, in_lines, limit_parameter, one_of, or_dry_run,
    or_several, or_why, problem, reference, responses, since_parameter, text_parameter, watch_parameter,
    watched, why_parameter, write_parameters,
};
use crate::patch;

/// The members of a list: what types they have, and what their id is called.
#[derive(Clone)]
pub(super) struct Members {
    types: Vec<TypeIx>,
    id: String,
}

impl Members {
    /// Of a list of one type.
    pub(super) fn of(schema: &Schema, ty: TypeIx) -> Members {
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

/// What creates a resource in a list: where it is of several types, with the one that it has.
pub(super) fn created(names: &[&str]) -> Json {
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
pub(super) fn collection(
    schema: &Schema,
    members: &Members,
    base: &str,
    above: &[Members],
    paths: &mut Map<String, Json>,
) {
    let names = members.names(schema);
    let parameters: Vec<Json> = above.iter().map(Members::parameter).collect();
    let id = format!("{{{}}}", members.id);
    paths.insert(base.to_string(), of_list(&names, &parameters));
    by_query(base, &parameters, &names, paths);
    let mut here = above.to_vec();
    here.push(members.clone());
    let parameters: Vec<Json> = here.iter().map(Members::parameter).collect();
    let one = format!("{base}/{id}");
    paths.insert(one.clone(), of_one(&names, &parameters));
    past(schema, members, &one, &parameters, paths);
    for ty in &members.types {
        let resource = schema.ty(*ty);
        files::paths(resource, &one, &parameters, paths);
        for field in &resource.fields {
            let Some(mut below) = Members::in_collection(schema, resource, field) else { continue };
            below.types.retain(|child| !here.iter().any(|above| above.types.contains(child)));
            if !below.types.is_empty() {
                collection(schema, &below, &format!("{one}/{}", field.name), &here, paths);
            }
        }
    }
}

/// What may be done at a list whose members have these shapes.
pub(super) fn of_list(names: &[&str], parameters: &[Json]) -> Json {
    let name = names.join(" or ");
    json!({
        "parameters": parameters,
        "get": list(names),
        "post": {
            "summary": format!("Create a {name}; a list, or lines of NDJSON, creates all or none"),
            "parameters": write_parameters(),
            "requestBody": body(json!({"oneOf": [
                created(names),
                {"type": "array", "items": created(names)},
            ]})),
            "responses": or_dry_run(or_several(responses("201", names))),
        },
    })
}

/// What may be done with one member of such a list.
pub(super) fn of_one(names: &[&str], parameters: &[Json]) -> Json {
    let name = names.join(" or ");
    json!({
        "parameters": parameters,
        "get": {
            "summary": format!("Read a {name}, or watch it"),
            "parameters": [text_parameter("expand"), text_parameter("fields"), watch_parameter(), since_parameter(), at_parameter(), why_parameter()],
            "responses": watched(or_why(responses("200", names))),
        },
        "put": {
            "summary": format!("Replace a {name}; with `If-None-Match: *`, create it with this id"),
            "parameters": write_parameters(),
            "requestBody": body(one_of(names, "Facts")),
            "responses": or_dry_run(responses("200", names)),
        },
        "patch": {
            "summary": format!("Change a {name} by a merge patch, a JSON Patch, or update actions"),
            "parameters": write_parameters(),
            "requestBody": {"required": true, "content": {
                "application/json": {"schema": one_of(names, "Patch")},
                "application/merge-patch+json": {"schema": one_of(names, "Patch")},
                "application/json-patch+json": {"schema": reference("JsonPatch")},
                "application/vnd.corollary.update+json": {"schema": reference("UpdateActions")},
            }},
            "responses": or_dry_run(responses("200", names)),
        },
        "delete": {
            "summary": format!("Delete a {name}, its children, and what its links say"),
            "parameters": write_parameters(),
            "responses": or_dry_run(json!({"204": {"description": "It is gone"}, "default": problem()})),
        },
    })
}

/// What is asked of a resource about its past.
pub(super) fn past(
    schema: &Schema,
    members: &Members,
    one: &str,
    parameters: &[Json],
    paths: &mut Map<String, Json>,
) {
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
pub(super) fn moves() -> Json {
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

/// A check of all that follows from facts.
pub(super) fn check() -> Json {
    let members = json!({
        "repair": {"type": "boolean", "description": "Mend by updates what can be"},
        "sample": {"type": ["integer", "null"], "minimum": 1, "description": "Values of about so many resources of each type only"},
    });
    let request = json!({"type": "object", "properties": members, "additionalProperties": false});
    json!({
        "summary": "Look for what does not follow from the facts, while all goes on, and mend it",
        "requestBody": {"content": {"application/json": {"schema": request}}},
        "responses": {
            "200": {
                "description": "A line of JSON for each thing that is found, for progress, and for the end",
                "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
            },
            "default": problem(),
        },
    })
}

/// Another schema: applied, or only looked at.
pub(super) fn schema_change(applies: bool) -> Json {
    let text = json!({"type": "string"});
    let kinds = json!({
        "text/plain": {"schema": text},
        "application/json": {"schema": {"type": "object", "description": "Its JSON form, or what GET shows"}},
    });
    let content = json!({"application/json": {"schema": reference("SchemaPlan")}});
    let mut change = json!({
        "requestBody": {"required": true, "content": kinds},
        "responses": {"200": {"description": "What it changes", "content": content}, "default": problem()},
    });
    if applies {
        let if_match = json!({"name": "If-Match", "in": "header", "schema": text, "description": "The tag of the schema that it takes the place of"});
        let dry_run = json!({"name": "dry_run", "in": "query", "schema": {"type": "boolean"}});
        change["parameters"] = json!([if_match, dry_run]);
        change["summary"] = "Serve the data with another schema from now on".into();
    } else {
        change["summary"] = "What another schema would change, bring about and be refused for".into();
    }
    change
}

/// What is asked of a list with a body; where it is of several types nothing that writes.
pub(super) fn by_query(base: &str, parameters: &[Json], names: &[&str], paths: &mut Map<String, Json>) {
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

pub(super) fn list(names: &[&str]) -> Json {
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
            flag_parameter("allow_scan"), explain_parameter(), watch_parameter(), since_parameter(), at_parameter(),
        ],
        "responses": in_lines(json!({
            "200": {"description": "A page; or, line by line, all of it", "content": {"application/json": {"schema": {"oneOf": [page, explained]}}}},
            "default": problem(),
        })),
    })
}

pub(super) fn batch() -> Json {
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
