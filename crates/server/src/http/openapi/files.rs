//! The paths of files: bytes in and out, and the headers that go with them.

use corollary_schema::{Field, FieldKind, ResourceType, TypeIx, ValueType};
use serde_json::{Map, Value as Json, json};

use super::Document;
use super::names::{Noun, component, pascal};
use super::parts::{item, operation, reference};
use super::shared::{self, READ_PROBLEMS, WRITE_PROBLEMS, WRITTEN, headers, or_problems, reply};

/// Adds the paths of the files of a resource at a path.
pub(super) fn add(document: &mut Document<'_>, ty: TypeIx, one: &str, parameters: &[Json], noun: &Noun) {
    let resource = document.schema.ty(ty);
    let shape = component(document.schema, ty);
    for (_, field) in resource.files() {
        let item = path(resource, &shape, field, parameters, noun);
        document.paths.add(format!("{one}/{}", field.name), item);
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

fn path(resource: &ResourceType, shape: &str, field: &Field, parameters: &[Json], noun: &Noun) -> Json {
    let of = format!("`{}` of a {}", field.name, resource.name);
    let called = |verb: &str| format!("{verb}{}{}", noun.one, pascal(&field.name));
    let bytes = json!({"schema": {}});
    let accepted: Map<String, Json> = match field.rules.accept.as_slice() {
        [] => Map::from_iter([("*/*".to_string(), bytes.clone())]),
        accepted => accepted.iter().map(|kind| (kind.to_string(), bytes.clone())).collect(),
    };
    let read = json!({
        "ETag": header("Its digest, in quotes"),
        "Repr-Digest": header("Its digest: sha-256=:BASE64:"),
        "Accept-Ranges": header("bytes"),
        "Content-Disposition": header("Its name; `inline` where a browser may show it"),
        "Last-Modified": header("Since when it is there"),
        "Content-Range": header("bytes FIRST-LAST/SIZE, of a part"),
        "X-Content-Type-Options": header("nosniff"),
        "Content-Security-Policy": header("default-src 'none'; sandbox"),
    });
    let content = Json::Object(accepted.clone());
    let mut written = headers(&WRITTEN);
    written["ETag"] = header("Its digest, in quotes; of the resource, where that is preferred, its revision");
    written["Preference-Applied"] = header("return=representation");
    for name in ["Content-Location", "Location"] {
        written[name] = headers(&[name])[name].take();
    }
    let if_match = asked("If-Match", "Only if the file that is there has this digest");
    let taken =
        |own: Vec<Json>, shared: &[&str]| -> Json { [own, shared::parameters(shared)].concat().into() };
    let json_of = |schema: Json| json!({"application/json": {"schema": schema}});
    let shown = json!({"oneOf": [reference(shape), reference("DryRun")]});
    let mut put = operation(&called("upload"), &format!("Send {of}, as a whole"));
    put["parameters"] = taken(
        vec![
            if_match.clone(),
            asked("If-None-Match", "`*`: only if there is none"),
            asked("Content-Disposition", "attachment; filename=\"…\""),
            asked("Repr-Digest", "sha-256=:BASE64:, which the bytes are held to"),
            asked("Prefer", "return=representation: the reply has the resource; wait=SECONDS"),
        ],
        &["wait", "dry_run", "at_least"],
    );
    put["requestBody"] = json!({"required": true, "content": content});
    let what = "The resource, where that is preferred; or what it would do";
    let replies = json!({
        "200": {"description": what, "headers": written, "content": json_of(shown)},
        "201": {"description": "There was none before", "headers": written, "content": json_of(reference(shape))},
        "204": {"description": "It took the place of another", "headers": written},
    });
    put["responses"] = or_problems(replies, &WRITE_PROBLEMS);
    if let Some(most) = field.rules.max_bytes {
        put["description"] = format!("At most {most} bytes").into();
    }
    let mut get = operation(&called("download"), &format!("The bytes of {of}, or a part of them"));
    get["parameters"] = taken(
        vec![
            asked("Range", "bytes=FIRST-LAST"),
            asked("If-Range", "A tag or a time"),
            asked("If-None-Match", "Not if it has this digest"),
            if_match.clone(),
        ],
        &["at", "at_least"],
    );
    let replies = json!({
        "200": {"description": "All of it", "headers": read, "content": content},
        "206": {"description": "A part", "headers": read, "content": content},
        "304": {"description": "It is the same"},
        "412": reply("PreconditionFailed"),
        "416": reply("Problem"),
    });
    get["responses"] = or_problems(replies, &READ_PROBLEMS);
    let mut delete = operation(&called("clear"), &format!("Take {of} away"));
    delete["parameters"] = taken(vec![if_match], &["wait", "dry_run", "at_least"]);
    let replies = json!({"200": reply("DryRun"), "204": reply("Deleted")});
    delete["responses"] = or_problems(replies, &WRITE_PROBLEMS);
    item(parameters, [("get", get), ("put", put), ("delete", delete)])
}
