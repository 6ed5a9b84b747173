//! Parameters, headers and replies that many operations have, told once and referred to.

use corollary_engine::receipt::MAX_KEY_BYTES;
use serde_json::{Map, Value as Json, json};

use super::parts::reference;
use crate::http::params::{DEFAULT_LIMIT, MAX_LIMIT};

/// What every write takes.
pub(super) const WRITES: [&str; 5] = ["wait", "dry_run", "idempotency_key", "prefer", "at_least"];

/// What every read takes.
pub(super) const READS: [&str; 2] = ["consistency", "at_least"];

/// What may be wrong with a read.
pub(super) const READ_PROBLEMS: [&str; 10] =
    ["400", "401", "403", "404", "405", "406", "409", "410", "503", "504"];

/// What may be wrong with a write.
pub(super) const WRITE_PROBLEMS: [&str; 14] =
    ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "503", "504"];

/// Replies that are problems: status, name, what it means.
const PROBLEMS: [(&str, &str, &str); 15] = [
    ("400", "BadRequest", "The request is malformed, or goes past a limit of what is read"),
    ("401", "Unauthorized", "No grant allows it to whoever is not known"),
    ("403", "Forbidden", "No grant allows it"),
    ("404", "NotFound", "The path leads nowhere, or what it names is gone"),
    ("405", "MethodNotAllowed", "There is no such method here; `Allow` names those that there are"),
    ("406", "NotAcceptable", "`Accept` rules out all that the reply may be"),
    ("409", "Conflict", "It is there already, a value is taken, or a link is in the way"),
    ("410", "Gone", "The log does not go back so far"),
    ("412", "PreconditionFailed", "`If-Match` or `If-None-Match` does not hold"),
    ("413", "ContentTooLarge", "The body, or what it would do, is too large"),
    ("415", "UnsupportedMediaType", "The body has a content type that is not taken here"),
    ("422", "Unprocessable", "A value breaks a rule; `errors` has each with its place"),
    ("428", "PreconditionRequired", "The server asks for `If-Match`"),
    ("503", "Unavailable", "Not now: `Retry-After` says when to try again"),
    ("504", "GatewayTimeout", "What was waited for has not come in time"),
];

/// References to shared parameters.
pub(super) fn parameters(names: &[&str]) -> Vec<Json> {
    names.iter().map(|name| json!({"$ref": format!("#/components/parameters/{name}")})).collect()
}

/// What a write takes, with what it takes besides.
pub(super) fn write_parameters(more: &[&str]) -> Vec<Json> {
    parameters(&[&WRITES[..], more].concat())
}

/// What a read takes, with what it takes besides.
pub(super) fn read_parameters(more: &[&str]) -> Vec<Json> {
    parameters(&[more, &READS[..]].concat())
}

/// A reference to a shared reply.
pub(super) fn reply(name: &str) -> Json {
    json!({"$ref": format!("#/components/responses/{name}")})
}

/// Replies with the problems that there may be beside them.
pub(super) fn or_problems(mut replies: Json, statuses: &[&str]) -> Json {
    for (status, name, _) in PROBLEMS.iter().filter(|(status, ..)| statuses.contains(status)) {
        replies[*status] = reply(name);
    }
    replies["default"] = reply("Problem");
    replies
}

/// References to shared headers.
pub(super) fn headers(names: &[&str]) -> Json {
    let named = |name: &&str| (name.to_string(), json!({"$ref": format!("#/components/headers/{name}")}));
    Json::Object(names.iter().map(named).collect())
}

fn query(name: &str, schema: &Json, what: &str) -> Json {
    json!({"name": name, "in": "query", "description": what, "schema": schema})
}

fn header(name: &str, schema: &Json, example: &str, what: &str) -> Json {
    json!({"name": name, "in": "header", "description": what, "schema": schema, "example": example})
}

/// The parameters that many requests take.
pub(super) fn shared_parameters() -> Json {
    let (text, flag) = (json!({"type": "string"}), json!({"type": "boolean"}));
    let page = json!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT});
    let key = json!({"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES});
    let mut limit = query(
        "limit",
        &page,
        "Items of a page; told line by line, a list has no page, and any number of lines",
    );
    limit["example"] = 20.into();
    json!({
        "filter": query("filter", &text, "A condition over the item: only what it holds of"),
        "order": query("order", &text, "Expressions, separated by commas; `-` before one is descending"),
        "limit": limit,
        "page_token": query("page_token", &text, "The next page, as `next` gives it"),
        "fields": query("fields", &text, "Only these fields, separated by commas; `_facts` are all that may be written"),
        "expand": query("expand", &text, "Links, collections and inverses that are shown in full"),
        "count": query("count", &flag, "It is told how many there are on all pages"),
        "allow_scan": query("allow_scan", &flag, "Any number of resources may be visited"),
        "explain": query("explain", &flag, "It is told how the list would be found, instead of what is found"),
        "watch": query("watch", &flag, "Events as they happen, instead of what is there"),
        "since": query("since", &text, "Of a watch: the revision after which it begins"),
        "at": query("at", &text, "The revision as at which it is read"),
        "why": query("why", &text, "The derived field of which it is told why it is what it is"),
        "wait": query("wait", &flag, "The reply comes when the updates that the write began have ended"),
        "dry_run": query("dry_run", &flag, "Nothing is written: the reply tells what would be"),
        "if_match": header("If-Match", &text, "\"7\"",
            "Only where the resource is at one of these revisions, as its `ETag` says it; `*`: only where it is there"),
        "if_none_match": header("If-None-Match", &text, "\"7\"", "304 where the `ETag` is still this one"),
        "if_absent": header("If-None-Match", &json!({"const": "*"}), "*",
            "Only where it is not there: creates it with this id"),
        "prefer": header("Prefer", &text, "wait=10",
            "`wait=SECONDS`: the reply waits so long for the updates that the write began"),
        "consistency": header("Consistency", &json!({"const": "exact"}), "exact",
            "The reply waits until it depends on nothing that an update has yet to reach"),
        "at_least": header("Corollary-At-Least", &text, "1",
            "A revision that has to have happened, such as the `Corollary-Revision` of a write"),
        "last_event_id": header("Last-Event-ID", &text, "1",
            "Of a watch: the revision after which it begins; goes before `since`"),
        "idempotency_key": header("Idempotency-Key", &key, "0197f0a6-5a52-7d3a-8a60-6f2f3d1c9b10",
            "Sent again within 24 hours, the write is done once and has the first reply"),
    })
}

/// The headers that many replies have.
pub(super) fn shared_headers() -> Json {
    let header = |schema: &Json, what: &str| json!({"description": what, "schema": schema});
    let (text, number) = (json!({"type": "string"}), json!({"type": "integer"}));
    json!({
        "ETag": header(&text, "Of a resource its revision in quotes; of a page what is in it"),
        "Location": header(&text, "The path of what was created"),
        "Content-Location": header(&text, "The canonical path, where it was read by another one or is owned"),
        "Corollary-Revision": header(&text, "The revision of the commit, or the one that was read"),
        "Corollary-Store-Reads": header(&number, "How often the store was asked"),
        "Corollary-Updates": header(&text, "The updates that the write began and that have not ended"),
        "Corollary-Pending": header(&text, "Fields of which an older value may be shown"),
        "Retry-After": header(&number, "Seconds after which to try again"),
        "Allow": header(&text, "The methods that there are"),
    })
}

/// What all replies to writes have.
pub(super) const WRITTEN: [&str; 2] = ["Corollary-Revision", "Corollary-Updates"];

/// The replies that many operations have.
pub(super) fn shared_replies() -> Map<String, Json> {
    let example = json!({"problem": {"$ref": "#/components/examples/Problem"}});
    let problem = |what: &str| {
        let content =
            json!({"application/problem+json": {"schema": reference("Problem"), "examples": example}});
        json!({"description": what, "content": content})
    };
    let json_of = |what: &str, schema: Json, names: &[&str]| json!({"description": what, "headers": headers(names), "content": {"application/json": {"schema": schema}}});
    let mut replies = Map::new();
    for (status, name, what) in PROBLEMS {
        let mut reply = problem(what);
        match status {
            "405" => reply["headers"] = headers(&["Allow"]),
            "503" | "504" => reply["headers"] = headers(&["Retry-After"]),
            _ => {}
        }
        replies.insert(name.into(), reply);
    }
    replies.insert("Problem".into(), problem("What is wrong"));
    let same =
        json!({"description": "It is what it was", "headers": headers(&["ETag", "Corollary-Revision"])});
    replies.insert("NotModified".into(), same);
    let gone = json!({"description": "It is not there any more", "headers": headers(&WRITTEN)});
    replies.insert("Deleted".into(), gone);
    replies
        .insert("DryRun".into(), json_of("What it would do", reference("DryRun"), &["Corollary-Revision"]));
    replies.insert(
        "Counted".into(),
        json_of("How many there are", reference("Counted"), &["Corollary-Revision", "Corollary-Pending"]),
    );
    let changed = json!({"oneOf": [reference("Changed"), reference("DryRun")]});
    replies.insert("Changed".into(), json_of("How many were found and have changed", changed, &WRITTEN));
    replies
}
