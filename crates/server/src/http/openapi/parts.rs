//! What many operations of the document have in common: parameters, bodies, replies.

use corollary_engine::receipt::MAX_KEY_BYTES;
use serde_json::{Map, Value as Json, json};

use crate::http::params::{DEFAULT_LIMIT, MAX_LIMIT};

pub(super) fn text_parameter(name: &str) -> Json {
    json!({"name": name, "in": "query", "schema": {"type": "string"}})
}

pub(super) fn flag_parameter(name: &str) -> Json {
    json!({"name": name, "in": "query", "schema": {"type": "boolean"}})
}

/// What every write takes.
pub(super) fn write_parameters() -> Json {
    let of = |name: &str| json!({"$ref": format!("#/components/parameters/{name}")});
    json!([of("wait"), of("dry_run"), of("idempotency_key")])
}

/// The parameters that many requests take.
pub(super) fn shared_parameters() -> Json {
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
pub(super) fn or_dry_run(mut responses: Json) -> Json {
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

pub(super) fn watch_parameter() -> Json {
    flag_parameter("watch")
}

pub(super) fn since_parameter() -> Json {
    text_parameter("since")
}

pub(super) fn why_parameter() -> Json {
    let mut why = text_parameter("why");
    why["description"] = "The derived field of which it is told why it is what it is".into();
    why
}

/// The responses of a read, and that of one that asks why.
pub(super) fn or_why(mut responses: Json) -> Json {
    let schema = &mut responses["200"]["content"]["application/json"]["schema"];
    *schema = json!({"oneOf": [schema.take(), reference("Why")]});
    responses
}

/// The responses of what creates one resource, or all of a list.
pub(super) fn or_several(mut responses: Json) -> Json {
    let schema = &mut responses["201"]["content"]["application/json"]["schema"];
    let one = schema.take();
    *schema = json!({"oneOf": [one, {"type": "array", "items": one}]});
    responses
}

/// The responses of a read that may be watched: then its events come as they happen.
pub(super) fn watched(mut responses: Json) -> Json {
    let content = &mut responses["200"]["content"];
    // Some take the shape of a stream for that of all of it, and some for that of each event: so there is none.
    let events = "Events; the data of each is JSON with a `type` and a `revision`";
    content["text/event-stream"] = json!({"schema": {"description": events}});
    content["application/x-ndjson"] = json!({"schema": {"type": "string"}});
    responses
}

/// The responses of a list that may be watched, or told line by line.
pub(super) fn in_lines(responses: Json) -> Json {
    let mut responses = watched(responses);
    responses["200"]["content"]["application/x-ndjson"]["schema"]["description"] =
        "All that is found, a resource a line; of a watch its events, an event a line".into();
    responses
}

pub(super) fn at_parameter() -> Json {
    let mut at = text_parameter("at");
    at["description"] = "The revision as at which it is read".into();
    at
}

pub(super) fn limit_parameter() -> Json {
    json!({
        "name": "limit", "in": "query",
        "description": "Items of a page; told line by line, a list has no page, and any number of lines",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    })
}

pub(super) fn explain_parameter() -> Json {
    let mut explain = flag_parameter("explain");
    explain["description"] = "It is told how the list would be found, instead of what is found".into();
    explain
}

pub(super) fn plain(summary: &str) -> Json {
    json!({"summary": summary, "responses": {"200": {"description": "It is"}, "default": problem()}})
}

/// A parameter of the path that is a text.
pub(super) fn id(name: &str) -> Json {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
}

fn content(schema: Json) -> Json {
    json!({"application/json": {"schema": schema}})
}

/// An operation with a body, and the replies that are told by their status.
pub(super) fn writes(summary: &str, body: Json, replies: &[(&str, &str, Json)]) -> Json {
    let mut responses = Map::new();
    for (status, what, schema) in replies {
        responses.insert((*status).into(), json!({"description": what, "content": content(schema.clone())}));
    }
    responses.insert("default".into(), problem());
    json!({
        "summary": summary,
        "requestBody": {"required": true, "content": content(body)},
        "responses": responses,
    })
}

/// One that removes.
pub(super) fn removes(summary: &str) -> Json {
    json!({"summary": summary, "responses": {"204": {"description": "It is gone"}, "default": problem()}})
}

pub(super) fn body(schema: Json) -> Json {
    json!({"required": true, "content": {"application/json": {"schema": schema}}})
}

pub(super) fn responses(status: &str, names: &[&str]) -> Json {
    let mut responses = Map::new();
    let content = json!({"application/json": {"schema": one_of(names, "")}});
    responses.insert(status.into(), json!({"description": "The resource", "content": content}));
    responses.insert("default".into(), problem());
    Json::Object(responses)
}

pub(super) fn problem() -> Json {
    let content = json!({"application/problem+json": {"schema": reference("Problem")}});
    json!({"description": "What is wrong", "content": content})
}

pub(super) fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// One of the schemas of some types, each with the same ending.
pub(super) fn one_of(names: &[&str], ending: &str) -> Json {
    match names {
        [name] => reference(&format!("{name}{ending}")),
        names => Json::from_iter([(
            "oneOf".to_string(),
            names.iter().map(|name| reference(&format!("{name}{ending}"))).collect::<Json>(),
        )]),
    }
}
