//! The paths of files: bytes in and out, and the headers that go with them.

use corollary_schema::{Field, FieldKind, ResourceType, ValueType};
use serde_json::{Map, Value as Json, json};

use super::parts::{at_parameter, one_of, problem, reference};

/// The paths of the files of a resource at a path.
pub(super) fn paths(resource: &ResourceType, one: &str, parameters: &[Json], paths: &mut Map<String, Json>) {
    for (_, field) in resource.files() {
        paths.insert(format!("{one}/{}", field.name), path(resource, field, parameters));
    }
}

/// Is a field one of files? Its path is among those of its resource, and its value is never written with it.
pub(super) fn is_file(field: &Field) -> bool {
    matches!(&field.kind, FieldKind::Stored(ty @ ValueType::Object(_)) if ty.is_file())
}

fn header(description: &str) -> Json {
    json!({"description": description, "schema": {"type": "string"}})
}

fn asked(name: &str, description: &str) -> Json {
    json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}})
}

fn path(resource: &ResourceType, field: &Field, parameters: &[Json]) -> Json {
    let of = format!("`{}` of a {}", field.name, resource.name);
    let bytes = json!({"schema": {}});
    let accepted: Map<String, Json> = match field.rules.accept.as_slice() {
        [] => Map::from_iter([("*/*".to_string(), bytes.clone())]),
        accepted => accepted.iter().map(|kind| (kind.to_string(), bytes.clone())).collect(),
    };
    let headers = json!({
        "ETag": header("Its digest, in quotes"),
        "Repr-Digest": header("Its digest: sha-256=:BASE64:"),
        "Accept-Ranges": header("bytes"),
        "Content-Disposition": header("Its name; `inline` where a browser may show it"),
        "Last-Modified": header("Since when it is there"),
    });
    let content = Json::Object(accepted.clone());
    let tag = json!({"ETag": header("Its digest, in quotes")});
    let wait = json!({"$ref": "#/components/parameters/wait"});
    let dry_run = json!({"$ref": "#/components/parameters/dry_run"});
    let if_match = asked("If-Match", "Only if the file that is there has this digest");
    let shown = json!({"application/json": {"schema": {"oneOf": [one_of(&[&resource.name], ""), reference("DryRun")]}}});
    let dry = json!({"application/json": {"schema": reference("DryRun")}});
    let mut put = json!({
        "summary": format!("Send {of}, as a whole"),
        "parameters": [
            if_match, asked("If-None-Match", "`*`: only if there is none"),
            asked("Content-Disposition", "attachment; filename=\"…\""),
            asked("Repr-Digest", "sha-256=:BASE64:, which the bytes are held to"),
            asked("Prefer", "return=representation: the reply has the resource"), wait, dry_run,
        ],
        "requestBody": {"required": true, "content": content},
        "responses": {
            "200": {"description": "The resource, where that is preferred; or what it would do", "content": shown},
            "201": {"description": "There was none before", "headers": tag},
            "204": {"description": "It took the place of another", "headers": tag},
            "413": problem(), "415": problem(), "default": problem(),
        },
    });
    if let Some(most) = field.rules.max_bytes {
        put["description"] = format!("At most {most} bytes").into();
    }
    json!({
        "parameters": parameters,
        "get": {
            "summary": format!("The bytes of {of}, or a part of them"),
            "parameters": [
                at_parameter(), asked("Range", "bytes=FIRST-LAST"), asked("If-Range", "A tag or a time"),
                asked("If-None-Match", "Not if it has this digest"), if_match,
            ],
            "responses": {
                "200": {"description": "All of it", "headers": headers, "content": content},
                "206": {"description": "A part", "headers": headers, "content": content},
                "304": {"description": "It is the same"},
                "416": problem(), "default": problem(),
            },
        },
        "put": put,
        "delete": {
            "summary": format!("Take {of} away"),
            "parameters": [if_match, wait, dry_run],
            "responses": {
                "200": {"description": "What it would do", "content": dry},
                "204": {"description": "There is none"}, "default": problem(),
            },
        },
    })
}
