//! Every route has a case here: what it says to somebody who has been granted nothing but to read one team, and to nobody in particular. One that
//! has none fails.

use std::collections::BTreeSet;

use super::*;

/// What a route says to Ann, who may read the first team, and to whom nobody knows. A path, and what is sent there.
struct Case {
    route: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
    /// Her status, and that of nobody.
    told: (u16, u16),
}

const fn case(
    route: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
    told: (u16, u16),
) -> Case {
    Case { route, method, path, body, told }
}

/// Administrators alone.
const CLOSED: (u16, u16) = (403, 401);

/// Everybody.
const OPEN: (u16, u16) = (200, 200);

const CASES: &[Case] = &[
    case("/healthz", "GET", "/healthz", "", OPEN),
    case("/readyz", "GET", "/readyz", "", OPEN),
    case("/metrics", "GET", "/metrics", "", OPEN),
    case("/docs", "GET", "/docs", "", OPEN),
    case("/api", "GET", "/api", "", CLOSED),
    case("/api/", "GET", "/api/", "", CLOSED),
    case("/api/_schema", "GET", "/api/_schema", "", CLOSED),
    case("/api/_schema", "PUT", "/api/_schema", "type T in ts { a: int }", CLOSED),
    case("/api/_schema/plan", "POST", "/api/_schema/plan", "type T in ts { a: int }", CLOSED),
    case("/api/_features", "GET", "/api/_features", "", CLOSED),
    case("/api/_openapi.json", "GET", "/api/_openapi.json", "", CLOSED),
    case("/api/_sql", "GET", "/api/_sql", "", CLOSED),
    case("/api/_backup", "GET", "/api/_backup", "", CLOSED),
    case("/api/_batch", "POST", "/api/_batch", r#"[{"method":"GET","path":"/teams/t2"}]"#, (404, 404)),
    case("/api/_batch", "POST", "/api/_batch", r#"[{"method":"GET","path":"/teams/t1"}]"#, (200, 404)),
    case("/api/_batch", "POST", "/api/_batch", r#"[{"method":"DELETE","path":"/teams/t1"}]"#, (403, 404)),
    case("/api/_check", "POST", "/api/_check", "{}", CLOSED),
    case("/api/_grants", "GET", "/api/_grants", "", CLOSED),
    case("/api/_grants", "POST", "/api/_grants", r#"{"path":"/","to":["ann"]}"#, CLOSED),
    case("/api/_grants/{*rest}", "PUT", "/api/_grants/g", r#"{"path":"/"}"#, CLOSED),
    case("/api/_grants/{*rest}", "DELETE", "/api/_grants/g", "", CLOSED),
    case("/api/_hooks", "GET", "/api/_hooks", "", CLOSED),
    case("/api/_hooks", "POST", "/api/_hooks", r#"{"path":"/teams","url":"http://127.0.0.1:9"}"#, CLOSED),
    case("/api/_hooks/{*rest}", "GET", "/api/_hooks/x/letters", "", CLOSED),
    case("/api/_log", "GET", "/api/_log?since=0", "", CLOSED),
    case("/api/_log", "GET", "/api/_log?since=0&path=/teams/t1", "", CLOSED),
    case(
        "/api/_move",
        "POST",
        "/api/_move",
        r#"{"from":"/teams/t2/tasks/a2","to":"/teams/t1/tasks"}"#,
        (404, 404),
    ),
    case(
        "/api/_move",
        "POST",
        "/api/_move",
        r#"{"from":"/teams/t1/tasks/a1","to":"/teams/t2/tasks"}"#,
        (404, 404),
    ),
    case(
        "/api/_processors",
        "POST",
        "/api/_processors",
        r#"{"type":"Team","rule":"deny when false"}"#,
        CLOSED,
    ),
    case("/api/_processors/{*rest}", "GET", "/api/_processors/x", "", CLOSED),
    case("/api/_updates", "GET", "/api/_updates", "", CLOSED),
    case("/api/_updates/{id}", "GET", "/api/_updates/1", "", CLOSED),
    // Each subscription is asked about by itself; this is no WebSocket.
    case("/api/_watch", "GET", "/api/_watch", "", (426, 426)),
    case("/api/{*path}", "GET", "/api/teams", "", (200, 401)),
    case("/api/{*path}", "GET", "/api/teams/t1", "", (200, 404)),
    case("/api/{*path}", "HEAD", "/api/teams/t2", "", (404, 404)),
    case("/api/{*path}", "GET", "/api/teams/t2", "", (404, 404)),
    case("/api/{*path}", "GET", "/api/people", "", CLOSED),
    case("/api/{*path}", "GET", "/api/teams/t1.name", "", (403, 404)),
    case("/api/{*path}", "GET", "/api/teams.name", "", CLOSED),
    case("/api/{*path}", "GET", "/api/teams/t1?why=cost", "", CLOSED),
    case("/api/{*path}", "GET", "/api/teams/t1?at=2", "", CLOSED),
    case("/api/{*path}", "GET", "/api/teams/t2/_versions", "", CLOSED),
    case("/api/{*path}", "POST", "/api/teams/t1/_revert", r#"{"to":2}"#, CLOSED),
    case("/api/{*path}", "POST", "/api/teams/_query", r#"{"where":{"expr":"secret = 8"}}"#, (200, 401)),
    case("/api/{*path}", "POST", "/api/people/_count", "{}", CLOSED),
    case(
        "/api/{*path}",
        "POST",
        "/api/teams/_update",
        r#"{"where":{"expr":"true"},"patch":{"secret":0}}"#,
        CLOSED,
    ),
    case("/api/{*path}", "POST", "/api/teams/_delete", r#"{"where":{"expr":"true"}}"#, CLOSED),
    case("/api/{*path}", "GET", "/api/people?watch=true", "", CLOSED),
    case("/api/{*path}", "POST", "/api/teams", r#"{"name":"x"}"#, (403, 401)),
    case("/api/{*path}", "POST", "/api/teams/t1/tasks", r#"{"title":"x"}"#, (403, 404)),
    case("/api/{*path}", "POST", "/api/teams/t1/tasks", r#"[{"title":"x"}]"#, (403, 404)),
    case("/api/{*path}", "PUT", "/api/teams/t1", r#"{"name":"x"}"#, (403, 404)),
    case("/api/{*path}", "PATCH", "/api/teams/t1", r#"{"name":"x"}"#, (403, 404)),
    case("/api/{*path}", "PATCH", "/api/teams/t1?dry_run=true", r#"{"name":"x"}"#, (403, 404)),
    case("/api/{*path}", "DELETE", "/api/teams/t1", "", (403, 404)),
    case("/api/{*path}", "DELETE", "/api/teams/t2", "", (404, 404)),
    case("/api/{*path}", "GET", "/api/teams/t2/tasks/a2/photo", "", (404, 404)),
    // Written otherwise it is the same.
    case("/api/{*path}", "GET", "/api/%5Fgrants", "", (404, 404)),
    case("/api/{*path}", "GET", "/api/%5Flog?since=0", "", (404, 404)),
];

/// All routes, as the server declares them.
fn routes() -> BTreeSet<String> {
    let sources = [include_str!("../../../src/http/mod.rs"), include_str!("../../../src/front/mod.rs")];
    let mut found = BTreeSet::new();
    for source in sources {
        for behind in source.split(".route(\"").skip(1) {
            found.insert(behind.split('"').next().unwrap().to_string());
        }
    }
    found
}

#[test]
fn every_route_says_who_may() {
    let covered: BTreeSet<String> = CASES.iter().map(|case| case.route.to_string()).collect();
    assert_eq!(routes(), covered, "each route has a case, and each case a route");
    let world = World::filled();
    world.grant("red", "/teams/t1", &["read"], Some(&["ann"]));
    for (at, who) in ["ann", ""].into_iter().enumerate() {
        let mut asker = world.of(who);
        for Case { method, path, body, told, .. } in CASES {
            let mut headers = vec![];
            if body.starts_with(['{', '[']) {
                headers.push(("content-type", "application/json"));
            } else if !body.is_empty() {
                headers.push(("content-type", "text/plain"));
            }
            if !who.is_empty() {
                headers.push((WHO, who));
            }
            let reply = asker.client.request(method, path, &headers, body.as_bytes());
            let expected = if at == 0 { told.0 } else { told.1 };
            assert_eq!(reply.status, expected, "`{who}` {method} {path} {body}: {}", reply.text());
            // Nothing of what may not be read stands in any reply, nor that it is there.
            let text = reply.text();
            for secret in ["blue", "Bob", "lift"] {
                assert!(path == &"/metrics" || !text.contains(secret), "`{who}` {method} {path}: {text}");
            }
        }
    }
    // Nothing was written by any of it.
    let mut root = world.of("root");
    assert_eq!(root.ids("/api/teams"), ["t1", "t2"]);
    assert_eq!(root.read("/api/teams/t1")["name"], json!("red"));
    assert_eq!(root.read("/api/_grants")["results"].as_array().unwrap().len(), 1);
}
