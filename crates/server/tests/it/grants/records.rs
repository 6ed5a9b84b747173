//! Grants as records: declared, changed, removed, refused; and kept.

use super::*;
use crate::common::receiver::Receiver;

#[test]
fn a_grant_is_told_as_it_was_declared() {
    let world = World::new();
    let mut root = world.of("root");
    let grant = json!({"_id": "g", "path": "/teams[boss = ego]/*/tasks", "may": ["update", "read"], "to": ["ann"], "description": "who leads"});
    let made = root.send("POST", "/api/_grants", &grant);
    assert_eq!(made.header("location"), Some("/api/_grants/g"));
    let shown = made.expect(201);
    assert_eq!(shown["may"], json!(["read", "update"]));
    assert_eq!((&shown["status"], &shown["to"]), (&json!("active"), &json!(["ann"])));
    root.send("POST", "/api/_grants", &grant).problem(409, "exists");
    let patched = root.send("PATCH", "/api/_grants/g", &json!({"paused": true, "to": null})).expect(200);
    assert_eq!((&patched["status"], patched.get("to")), (&json!("paused"), None));
    assert_eq!(root.read("/api/_grants")["results"].as_array().unwrap().len(), 1);
    assert_eq!(root.read("/api/_grants/g"), patched);
    root.send("DELETE", "/api/_grants/g", &json!(null)).expect_status(204);
    root.send("DELETE", "/api/_grants/g", &json!(null)).problem(404, "not-found");
    root.get("/api/_grants/g").problem(404, "not-found");
    // Each change has a revision of its own.
    let first = root.send("PUT", "/api/_grants/h", &json!({"path": "/"})).revision();
    assert_eq!(root.send("PATCH", "/api/_grants/h", &json!({"paused": true})).revision(), first + 1);
    assert_eq!(root.send("DELETE", "/api/_grants/h", &json!(null)).revision(), first + 2);
}

#[test]
fn what_is_wrong_with_a_grant_is_told() {
    let world = World::new();
    let mut root = world.of("root");
    for (grant, place, said) in [
        (json!({}), "/path", "required"),
        (json!({"path": "teams"}), "/path", "begins with `/`"),
        (json!({"path": "/team"}), "/path", "did you mean `teams`?"),
        (json!({"path": "/teams/*/task"}), "/path", "did you mean `tasks`?"),
        (json!({"path": "/teams/*/people"}), "/path", "no collection of one type"),
        (json!({"path": "/teams[nam = 'x']"}), "/path", "column 1"),
        (json!({"path": "/teams[name = 'x'"}), "/path", "ends without `]`"),
        (json!({"path": "/teams[name]"}), "/path", "true or false"),
        (json!({"path": "/teams//tasks"}), "/path", "`*` or an id"),
        (json!({"path": "/teams/*/"}), "/path", "the name of a collection"),
        (json!({"path": "/people[login < now()]"}), "/path", ""),
        (json!({"path": "/teams", "may": ["rule"]}), "/may/0", "read, create, update, delete"),
        (json!({"path": "/teams", "may": []}), "/may", "a list"),
        (json!({"path": "/teams", "to": []}), "/to", "1 to"),
        (json!({"path": "/teams", "to": [""]}), "/to/0", "1 to"),
        (json!({"path": "/teams", "whom": "x"}), "/whom", "no `whom`"),
        (json!({"path": "/teams", "paused": 1}), "/paused", "true or false"),
    ] {
        let reply = root.send("POST", "/api/_grants", &grant);
        let problem = reply.json();
        assert_eq!(reply.status, 422, "{grant}: {problem}");
        let error = &problem["errors"][0];
        assert_eq!(error["path"], json!(place), "{grant}: {problem}");
        assert!(error["message"].as_str().unwrap().contains(said), "{grant}: {problem}");
    }
    assert!(root.read("/api/_grants")["results"].as_array().unwrap().is_empty());
}

#[test]
fn grants_are_kept_and_let_nobody_in_who_does_not_fit() {
    let World { place, server } = World::filled();
    let world = World { place, server };
    world.grant("red", "/teams[name = 'red']", &["read"], None);
    world.grant("pages", "/pages", &["read"], None);
    let World { place, server } = world;
    server.kill();
    let options = ["--actor-header", WHO, "--administrator", "root"];
    let world = World { server: Server::start(&place, &options), place };
    assert_eq!(world.of("ann").ids("/api/teams"), ["t1"]);
    // Under a schema in which the path means nothing, nothing is covered; and what was declared is there still.
    let schema = SCHEMA.replace("name: str index\n", "title: str\n");
    let applied = world.of("root").with(
        "PUT",
        "/api/_schema?accept_loss=true",
        &[("content-type", "text/plain")],
        &json!(null),
    );
    drop(applied);
    let mut root = world.of("root");
    let headers = [(WHO, "root"), ("content-type", "text/plain")];
    let planned = root.client.request("POST", "/api/_schema/plan", &headers, schema.as_bytes());
    assert_eq!(planned.status, 200, "{}", planned.text());
}

#[test]
fn who_may_do_everything_is_named_with_the_header() {
    let place = Place::new(SCHEMA);
    let told = Server::try_start(&place, &["--administrator", "root"]).map(drop).unwrap_err();
    assert!(told.contains("--actor-header"), "{told}");
    // Without administrators grants are kept, and hold nobody.
    let server = Server::start(&place, &["--actor-header", WHO]);
    let world = World { place, server };
    world.grant("g", "/pages", &["read"], Some(&["bob"]));
    assert!(world.of("").ids("/api/teams").is_empty());
}

/// Hooks asked for what they tell as nobody does, and were told that nobody may.
#[test]
fn a_hook_tells_all_that_it_was_declared_for() {
    let world = World::filled();
    let receiver = Receiver::new();
    let hook = json!({"_id": "h", "path": "/teams", "url": receiver.url()});
    let mut root = world.of("root");
    root.send("POST", "/api/_hooks", &hook).expect(201);
    root.send("PATCH", "/api/teams/t2", &json!({"secret": 9})).expect(200);
    let told = receiver.until("the change", |came| !came.is_empty());
    assert_eq!(told[0].event["resource"]["secret"], json!(9));
    assert_eq!(root.read("/api/_hooks/h")["state"]["status"], json!("active"));
}

/// Commands that ask a running server were nobody, and could do nothing where grants hold.
#[test]
fn a_command_says_who_asks() {
    let world = World::filled();
    let rows = world.place.write("more.ndjson", "{\"_id\": \"p2\", \"name\": \"more\", \"text\": \"x\"}\n");
    let schema = world.place.schema();
    let url = world.server.url();
    let import = ["import", "Page", &rows, "--url", &url, "--schema", schema.to_str().unwrap()];
    let refused = run(&import);
    assert!(!refused.status.success(), "{}", stdout(&refused));
    assert!(stderr(&refused).contains("administrators"), "{}", stderr(&refused));
    let mut as_root = import.to_vec();
    as_root.extend(["--header", "X-Forwarded-User: root"]);
    let done = run(&as_root);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(world.of("root").ids("/api/pages"), ["p1", "p2"]);
    let backup = world.place.path("all.backup");
    let to = backup.to_str().unwrap();
    assert!(!run(&["backup", to, "--server", &url]).status.success());
    let done = run(&["--header", "X-Forwarded-User: root", "backup", to, "--server", &url]);
    assert!(done.status.success(), "{}", stderr(&done));
    let wrong = run(&["--header", "root", "updates"]);
    assert!(stderr(&wrong).contains("Name: value"), "{}", stderr(&wrong));
}
