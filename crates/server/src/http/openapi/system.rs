//! What is asked of the server itself: batches, moves, checks, updates, the schema, what it is and how it does.

use serde_json::{Value as Json, json};

use super::names::Paths;
use super::parts::{body, id, item, object, operation, plain, reference, told, told_as};
use super::shared::{WRITE_PROBLEMS, headers, or_problems, parameters, write_parameters};
use crate::http::backup;
use crate::path::PREFIX;

/// Adds all of it.
pub(super) fn add(paths: &mut Paths) {
    let api = |path: &str| format!("{PREFIX}/{path}");
    paths.add(PREFIX.into(), item(&[], [("get", index())]));
    paths.add(api("_batch"), item(&[], [("post", batch())]));
    paths.add(api("_check"), item(&[], [("post", check())]));
    paths.add(api("_move"), item(&[], [("post", moves())]));
    updates(paths);
    let schema = plain("readSchema", "The schema: its name, its text, its JSON form");
    paths.add(api("_schema"), item(&[], [("get", schema), ("put", schema_change(true))]));
    paths.add(api("_schema/plan"), item(&[], [("post", schema_change(false))]));
    let what = "A WebSocket for many watches; see the documentation of watches for its messages";
    let mut socket = operation("watchMany", what);
    socket["responses"] = or_problems(json!({"101": {"description": "It is one from here on"}}), &[]);
    paths.add(api("_watch"), item(&[], [("get", socket)]));
    paths.add(api("_features"), item(&[], [("get", plain("readFeatures", "What the store can do"))]));
    let what = "How far the tables in SQL are, and the changes made there that were refused";
    paths.add(api("_sql"), item(&[], [("get", plain("readTables", what))]));
    let binary = json!({"type": "string", "format": "binary"});
    let mut copy = operation("backUp", "Everything at one revision, as a file for `corollary restore`");
    let mut file = told_as("The backup", backup::CONTENT_TYPE, binary);
    file["headers"] = headers(&["Corollary-Revision"]);
    copy["responses"] = or_problems(json!({"200": file}), &["503"]);
    paths.add(api("_backup"), item(&[], [("get", copy)]));
    paths.add(api("_openapi.json"), item(&[], [("get", plain("readDocument", "This document"))]));
    for (path, id, what, kind) in [
        ("/docs", "readPage", "This document as a page to read", "text/html"),
        ("/metrics", "readMetrics", "What the server does, for Prometheus", "application/openmetrics-text"),
        ("/healthz", "isAlive", "Is the server alive?", "text/plain"),
    ] {
        let mut get = operation(id, what);
        get["responses"] = json!({"200": told_as(what, kind, json!({"type": "string"}))});
        paths.add(path.into(), item(&[], [("get", get)]));
    }
    let mut ready = operation("isReady", "Should requests go here? Not where it cannot read, or is stopping");
    ready["responses"] = or_problems(json!({"200": {"description": "They should"}}), &["503"]);
    paths.add("/readyz".into(), item(&[], [("get", ready)]));
}

/// What there is.
fn index() -> Json {
    let text = json!({"type": "string"});
    let place = json!({"type": "object", "required": ["path"], "properties": {"type": text, "path": text}});
    let places = json!({"type": "array", "items": place});
    let shape = json!({"type": "object", "required": ["schema", "collections", "revision"], "properties": {
        "schema": text, "revision": text, "collections": places, "mounts": places,
    }});
    told("readIndex", "The root collections and the mounts, the name of the schema, the revision", shape)
}

fn batch() -> Json {
    let mut post = operation("runBatch", "Several writes and reads in one transaction");
    post["parameters"] = write_parameters(&[]).into();
    let mut sent = body(json!({"type": "array", "items": reference("BatchItem")}));
    sent["content"]["application/json"]["examples"] =
        json!({"batch": {"$ref": "#/components/examples/Batch"}});
    post["requestBody"] = sent;
    let done = json!({"type": "object", "required": ["status"], "properties": {
        "status": {"type": "integer"}, "body": {"type": "object"},
    }});
    post["responses"] = or_problems(
        json!({"200": or_dry_run("What each did", json!({"type": "array", "items": done}))}),
        &WRITE_PROBLEMS,
    );
    post
}

/// The reply to a write, or that to a dry run of it.
fn or_dry_run(what: &str, schema: Json) -> Json {
    let mut reply = told_as(what, "application/json", json!({"oneOf": [schema, reference("DryRun")]}));
    reply["headers"] = headers(&super::shared::WRITTEN);
    reply
}

/// Moves to another parent.
fn moves() -> Json {
    let path = |what: &str| json!({"type": "string", "description": what});
    let mut post = operation(
        "moveResources",
        "Move a resource, some of a list, or all of it to another parent; what stands below comes along",
    );
    post["parameters"] = write_parameters(&["if_match"]).into();
    post["requestBody"] = body(object(
        &["from", "to"],
        json!({
            "from": path("A resource, a list, or a list with a condition in brackets"),
            "to": path("A collection"),
            "position": {"type": ["integer", "null"], "minimum": 0},
        }),
    ));
    let text = json!({"type": "string"});
    let one = json!({"type": "object", "required": ["_id", "_self", "_revision"], "properties": {
        "_id": text, "_self": text, "_revision": text,
    }});
    let done = json!({"anyOf": [one, reference("Changed")]});
    let what = "The resource where it is now; of a list how many were found and have changed";
    let mut done = or_dry_run(what, done);
    for name in ["ETag", "Content-Location"] {
        done["headers"][name] = headers(&[name])[name].take();
    }
    post["responses"] = or_problems(json!({"200": done}), &WRITE_PROBLEMS);
    post
}

/// A check of all that follows from facts.
fn check() -> Json {
    let sample = "Values of about so many resources of each type only";
    let request = object(
        &[],
        json!({
            "repair": {"type": "boolean", "description": "Mend by updates what can be"},
            "sample": {"type": ["integer", "null"], "minimum": 1, "description": sample},
        }),
    );
    let mut post = operation(
        "checkData",
        "Look for what does not follow from the facts, while all goes on, and mend it",
    );
    post["requestBody"] = json!({"content": {"application/json": {"schema": request}}});
    let what = "A line of JSON for each thing that is found, for progress, and for the end";
    let lines = told_as(what, "application/x-ndjson", json!({"type": "string"}));
    post["responses"] = or_problems(json!({"200": lines}), &["409"]);
    post
}

/// Another schema: applied, or only looked at.
fn schema_change(applies: bool) -> Json {
    let mut change = match applies {
        true => operation("applySchema", "Serve the data with another schema from now on"),
        false => operation("planSchema", "What another schema would change, bring about and be refused for"),
    };
    let text = json!({"type": "string"});
    change["requestBody"] = json!({"required": true, "content": {
        "text/plain": {"schema": text},
        "application/json": {"schema": {"type": "object", "description": "Its JSON form, or what GET shows"}},
    }});
    let mut told = told_as("What it changes", "application/json", reference("SchemaPlan"));
    let mut problems = vec!["400", "413", "415", "422", "503"];
    if applies {
        told["headers"] = headers(&["ETag", "Corollary-Revision"]);
        problems.extend(["409", "412"]);
        let mut takes = parameters(&["dry_run", "at_least"]);
        takes.push(json!({"name": "If-Match", "in": "header", "schema": text, "description": "The tag of the schema that it takes the place of"}));
        change["parameters"] = takes.into();
    }
    change["responses"] = or_problems(json!({"200": told}), &problems);
    change
}

fn updates(paths: &mut Paths) {
    let or_events = |mut get: Json| {
        get["responses"]["200"]["content"]["text/event-stream"] =
            json!({"schema": {"description": "Its progress, until the end"}});
        get
    };
    let steered = |id: &str, what: &str| {
        let mut patch = plain(id, what);
        patch["requestBody"] = body(json!({"type": "object"}));
        patch
    };
    let all = "What is being brought up to date, and what was not long ago; as events until the end";
    let speed = "How fast that goes: `batch`, `rate`, `at_once` and `share`";
    let methods = [("get", or_events(plain("readUpdates", all))), ("patch", steered("steerUpdates", speed))];
    paths.add(format!("{PREFIX}/_updates"), item(&[], methods));
    let go_on = "Has an update that waits after a failure go on at once: `{\"state\": \"running\"}`";
    let one = or_events(plain("readUpdate", "One update; as events until its end"));
    let methods = [("get", one), ("patch", steered("resumeUpdate", go_on))];
    paths.add(format!("{PREFIX}/_updates/{{id}}"), item(&[id("id")], methods));
}
