//! What many operations of the document are made of.

use serde_json::{Map, Value as Json, json};

use super::shared::{or_problems, reply};

/// An operation: what it is called, and what it does.
pub(super) fn operation(id: &str, summary: &str) -> Json {
    json!({"operationId": id, "summary": summary})
}

/// A question whose reply is an object that is told nowhere else.
pub(super) fn plain(id: &str, summary: &str) -> Json {
    told(id, summary, json!({"type": "object"}))
}

/// A question whose reply has a shape.
pub(super) fn told(id: &str, summary: &str, schema: Json) -> Json {
    let mut operation = operation(id, summary);
    operation["responses"] = or_problems(json!({"200": told_as(summary, "application/json", schema)}), &[]);
    operation
}

/// A reply with one content type.
pub(super) fn told_as(what: &str, kind: &str, schema: Json) -> Json {
    json!({"description": what, "content": {kind: {"schema": schema}}})
}

/// A parameter of the path that is a text.
pub(super) fn id(name: &str) -> Json {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
}

/// A parameter of the path, with an example.
pub(super) fn id_as(name: &str, example: &str) -> Json {
    let mut id = id(name);
    id["example"] = example.into();
    id
}

/// An operation with a body, and the replies that are told by their status.
pub(super) fn writes(id: &str, summary: &str, sent: Json, replies: &[(&str, &str, Json)]) -> Json {
    let of = |(status, what, schema): &(&str, &str, Json)| {
        ((*status).to_string(), told_as(what, "application/json", schema.clone()))
    };
    let mut operation = operation(id, summary);
    operation["requestBody"] = body(sent);
    operation["responses"] = or_problems(Json::Object(replies.iter().map(of).collect()), &[]);
    operation
}

/// One that removes.
pub(super) fn removes(id: &str, summary: &str) -> Json {
    let mut operation = operation(id, summary);
    operation["responses"] = json!({"204": {"description": "It is gone"}, "default": reply("Problem")});
    operation
}

pub(super) fn body(schema: Json) -> Json {
    json!({"required": true, "content": {"application/json": {"schema": schema}}})
}

/// An object with these members and no others.
pub(super) fn object(required: &[&str], members: Json) -> Json {
    let mut object = json!({"type": "object", "properties": members, "additionalProperties": false});
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

/// A page of what has a shape.
pub(super) fn page_of(one: Json) -> Json {
    json!({
        "type": "object",
        "required": ["results", "next", "revision"],
        "properties": {
            "results": {"type": "array", "items": one},
            "next": {"type": ["string", "null"]},
            "count": {"type": "integer"},
            "revision": {"type": "string"},
            "_pending": {"type": "array", "items": {"type": "string"}},
        },
    })
}

pub(super) fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Any of the schemas of some types, each with the same ending: what one of them allows another may allow as well.
pub(super) fn any_of(names: &[&str], ending: &str) -> Json {
    match names {
        [name] => reference(&format!("{name}{ending}")),
        names => {
            json!({"anyOf": names.iter().map(|name| reference(&format!("{name}{ending}"))).collect::<Vec<_>>()})
        }
    }
}

/// The methods of a path, with the parameters that it has.
pub(super) fn item<const N: usize>(parameters: &[Json], methods: [(&str, Json); N]) -> Json {
    let mut item = Map::new();
    if !parameters.is_empty() {
        item.insert("parameters".into(), parameters.into());
    }
    item.extend(methods.map(|(method, operation)| (method.to_string(), operation)));
    item.into()
}
