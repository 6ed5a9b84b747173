//! What the fixed seeds must have come to, so that what they hold says something.

use std::collections::BTreeSet;

use super::request::{ACTIONS, Body, Expected, JSON_PATCH, Request};

/// What has been asked for and has happened: kinds of requests that were done, and codes of those that were not.
pub type Seen = BTreeSet<String>;

const WANTED: [&str; 60] = [
    "GET",
    "HEAD",
    "GET not modified",
    "GET lines",
    "GET behind",
    "GET expand",
    "GET in mount",
    "POST",
    "POST many",
    "POST lines",
    "POST in mount",
    "PUT",
    "PUT created",
    "PUT in mount",
    "PATCH",
    "PATCH in mount",
    "PATCH json-patch",
    "PATCH actions",
    "DELETE",
    "DELETE in mount",
    "_batch",
    "_move",
    "_query",
    "_count",
    "_update",
    "_delete",
    "dry run of POST",
    "dry run of PUT",
    "dry run of PATCH",
    "dry run of DELETE",
    "with key",
    "if-match",
    "append-only",
    "body",
    "denied",
    "enum",
    "exists",
    "id",
    "immutable",
    "json",
    "limit",
    "link",
    "max",
    "max_length",
    "media-type",
    "method-not-allowed",
    "min",
    "mount",
    "move",
    "move-cycle",
    "not-found",
    "parameter",
    "pointer",
    "precondition",
    "read-only",
    "required",
    "restrict",
    "test",
    "type",
    "unique",
];

/// Notes what a request has come to.
pub fn note(seen: &mut Seen, request: &Request, expected: &Expected) {
    if let Some(code) = expected.code {
        seen.insert(code.into());
        seen.extend(expected.wrong.iter().map(|wrong| wrong.code.to_string()));
        return;
    }
    let last = request.path.rsplit('/').next().unwrap_or_default();
    let what = if last.starts_with('_') { last } else { request.method };
    seen.insert(what.into());
    let in_mount = super::paths::mount(&super::paths::segments(&request.path)).is_some();
    let more = [
        (in_mount, "in mount"),
        (expected.status == 304, "not modified"),
        (expected.status == 201 && request.method == "PUT", "created"),
        (request.in_lines, "lines"),
        (matches!(request.body, Body::Lines(_)), "lines"),
        (matches!(&request.body, Body::Json(json) if json.is_array()), "many"),
        (request.behind.is_some(), "behind"),
        (!request.view.expand.is_empty(), "expand"),
        (request.content == JSON_PATCH, "json-patch"),
        (request.content == ACTIONS, "actions"),
    ];
    seen.extend(more.iter().filter(|(is, _)| *is).map(|(_, more)| format!("{what} {more}")));
    if request.dry_run {
        seen.insert(format!("dry run of {}", request.method));
    }
    seen.extend(request.key.iter().map(|_| "with key".to_string()));
    seen.extend(request.if_match.iter().map(|_| "if-match".to_string()));
}

/// What has not happened, and should have.
pub fn missing(seen: &Seen) -> Vec<&'static str> {
    WANTED.into_iter().filter(|wanted| !seen.contains(*wanted)).collect()
}
