//! What no grant allows is not written, in whatever way it is asked for; and what is written tells nothing that may not be read.

use super::*;

#[test]
fn each_kind_of_write_needs_a_grant_of_its_own() {
    let world = World::filled();
    world.grant("r", "/teams", &["read"], None);
    let mut ann = world.of("ann");
    let (task, tasks) = ("/api/teams/t1/tasks/a1", "/api/teams/t1/tasks");
    let new = json!({"_id": "x", "title": "new"});
    ann.send("POST", tasks, &new).problem(403, "not-granted");
    ann.send("PATCH", task, &json!({"title": "x"})).problem(403, "not-granted");
    ann.send("PUT", task, &json!({"title": "x"})).problem(403, "not-granted");
    ann.send("DELETE", task, &json!(null)).problem(403, "not-granted");
    // What changes nothing needs none.
    ann.send("PATCH", task, &json!({"title": "dig"})).expect(200);
    world.grant("c", "/teams/*/tasks", &["create"], None);
    ann.send("POST", tasks, &new).expect(201);
    ann.send("PATCH", "/api/teams/t1/tasks/x", &json!({"title": "y"})).problem(403, "not-granted");
    world.grant("u", "/teams/*/tasks", &["update"], None);
    ann.send("PATCH", "/api/teams/t1/tasks/x", &json!({"title": "y"})).expect(200);
    ann.send("DELETE", "/api/teams/t1/tasks/x", &json!(null)).problem(403, "not-granted");
    world.grant("d", "/teams/*/tasks", &["delete"], None);
    ann.send("DELETE", "/api/teams/t1/tasks/x", &json!(null)).expect_status(204);
    // Nothing of it was for other types.
    ann.send("POST", "/api/teams", &json!({"name": "x"})).problem(403, "not-granted");
    assert_eq!(world.of("root").ids(tasks), ["a1", "b1"]);
}

#[test]
fn a_condition_holds_before_a_write_and_behind_it() {
    let world = World::filled();
    world.grant("r", "/teams", &["read"], None);
    world.grant("p", "/people", &["read"], None);
    world.grant("own", "/teams/*/tasks[owner = ego]", &["create", "update", "delete"], None);
    let mut ann = world.of("ann");
    let tasks = "/api/teams/t1/tasks";
    ann.send("POST", tasks, &json!({"_id": "x", "owner": "bob"})).problem(403, "not-granted");
    ann.send("POST", tasks, &json!({"_id": "x"})).problem(403, "not-granted");
    ann.send("POST", tasks, &json!({"_id": "x", "owner": "ann"})).expect(201);
    ann.send("PATCH", &format!("{tasks}/b1"), &json!({"owner": "ann"})).problem(403, "not-granted");
    ann.send("PATCH", &format!("{tasks}/x"), &json!({"owner": "bob"})).problem(403, "not-granted");
    ann.send("PATCH", &format!("{tasks}/x"), &json!({"title": "mine"})).expect(200);
    // In a batch each of them, whatever stands before it; all of it or nothing.
    let batch = json!([
        {"method": "PATCH", "path": "/teams/t1/tasks/x", "body": {"title": "still mine"}},
        {"method": "PATCH", "path": "/teams/t1/tasks/b1", "body": {"owner": "ann"}},
        {"method": "PATCH", "path": "/teams/t1/tasks/b1", "body": {"title": "taken"}},
    ]);
    ann.send("POST", "/api/_batch", &batch).problem(403, "not-granted");
    assert_eq!(ann.read(&format!("{tasks}/x"))["title"], json!("mine"));
    // Many at once.
    let many = json!([{"_id": "y", "owner": "ann"}, {"_id": "z", "owner": "bob"}]);
    ann.send("POST", tasks, &many).problem(403, "not-granted");
    // To another place it takes a grant for both.
    let to = json!({"from": "/teams/t1/tasks/x", "to": "/teams/t2/tasks"});
    ann.send("POST", "/api/_move", &to).expect(200);
    world.grant("own", "/teams/t2/tasks[owner = ego]", &["create", "update", "delete"], None);
    let back = json!({"from": "/teams/t2/tasks/x", "to": "/teams/t1/tasks"});
    ann.send("POST", "/api/_move", &back).problem(403, "not-granted");
    ann.send("DELETE", "/api/teams/t2/tasks/x", &json!(null)).expect_status(204);
    assert_eq!(world.of("root").ids("/api/teams/t1/tasks"), ["a1", "b1"]);
}

#[test]
fn what_may_not_be_read_is_not_there_for_a_write_either() {
    let world = World::filled();
    // She may do everything with tasks of her own, and see no others.
    let all = ["read", "create", "update", "delete"];
    world.grant("red", "/teams[name = 'red']/t1", &["read"], Some(&["cyd"]));
    world.grant("own", "/teams/*/tasks[owner = ego]", &all, None);
    world.grant("teams", "/teams[boss = ego]", &["read", "update"], None);
    world.grant("wide", "/teams/*/tasks", &["update", "delete", "create"], None);
    let mut bob = world.of("bob");
    // The first team and what is in it, but for his own, is hidden from Bob, though he may change all tasks.
    for (method, path, body) in [
        ("PATCH", "/api/teams/t1", json!({"name": "x"})),
        ("PATCH", "/api/teams/t1/tasks/a1", json!({"title": "x"})),
        ("DELETE", "/api/teams/t1/tasks/a1", json!(null)),
        ("PUT", "/api/teams/t1/tasks/a1", json!({"title": "x"})),
    ] {
        bob.send(method, path, &body).problem(404, "not-found");
    }
    // A link to it is one to nothing.
    let hidden = bob.send("PATCH", "/api/teams/t2/tasks/b2", &json!({"after": "a1"}));
    let missing = bob.send("PATCH", "/api/teams/t2/tasks/b2", &json!({"after": "nothing"}));
    hidden.problem(422, "link");
    assert_eq!(hidden.text().replace("a1", "nothing"), missing.text());
    bob.send("PATCH", "/api/teams/t2/tasks/b2", &json!({"after": "a2"})).expect(200);
    // What forbids a deletion is not named by what may not be read.
    world.of("root").send("PATCH", "/api/teams/t1/tasks/a1", &json!({"after": "b2"})).expect(200);
    let refused = bob.send("DELETE", "/api/teams/t2/tasks/b2", &json!(null));
    refused.problem(409, "restrict");
    assert!(!refused.text().contains("a1"), "{}", refused.text());
}

#[test]
fn what_may_be_written_and_not_read_is_not_shown() {
    let world = World::filled();
    world.grant("box", "/pages", &["create", "update"], None);
    let mut ann = world.of("ann");
    let made = ann.send("POST", "/api/pages", &json!({"_id": "p9", "name": "news", "text": "x"})).expect(201);
    assert_eq!(made, json!({"_id": "p9", "_self": "/api/pages/news"}));
    // Once more with the same key: the same reply.
    let key = [("idempotency-key", "k")];
    let body = json!({"_id": "p10", "name": "more", "text": "x"});
    let first = ann.with("POST", "/api/pages", &key, &body).expect(201);
    assert_eq!(first, json!({"_id": "p10", "_self": "/api/pages/more"}));
    assert_eq!(ann.with("POST", "/api/pages", &key, &body).expect(201), first);
    let batch =
        json!([{"method": "POST", "path": "/pages", "body": {"_id": "p11", "name": "last", "text": "x"}}]);
    let told = ann.send("POST", "/api/_batch", &batch).expect(200);
    assert!(!told.to_string().contains("text"), "{told}");
    // It may not be changed where it is not there.
    ann.send("PATCH", "/api/pages/p9", &json!({"text": "y"})).problem(404, "not-found");
    let taken = ann.send("POST", "/api/pages", &json!({"name": "home"}));
    taken.problem(409, "unique");
    assert!(!taken.text().contains("p1"), "{}", taken.text());
}

#[test]
fn what_looks_at_all_there_is_is_for_administrators() {
    let world = World::filled();
    world.grant("all", "/", &["read", "create", "update", "delete"], Some(&["ann"]));
    let (mut ann, mut root) = (world.of("ann"), world.of("root"));
    for (method, path, body) in [
        ("GET", "/api/teams/t1?why=cost", json!(null)),
        ("GET", "/api/teams?explain=true", json!(null)),
        ("GET", "/api/teams/t1?at=3", json!(null)),
        ("GET", "/api/teams?at=3", json!(null)),
        ("PATCH", "/api/teams/t1?dry_run=true", json!({"name": "x"})),
        ("POST", "/api/teams/_update", json!({"where": {"expr": "true"}, "patch": {"secret": 0}})),
        ("POST", "/api/_move", json!({"from": "/teams/t1/tasks[cost > 3]", "to": "/teams/t2/tasks"})),
    ] {
        ann.send(method, path, &body).problem(403, "not-granted");
        root.send(method, path, &body).expect(200);
    }
    // All the rest she may.
    ann.send("PATCH", "/api/teams/t1", &json!({"name": "x"})).expect(200);
    ann.send("DELETE", "/api/teams/t1", &json!(null)).expect_status(204);
}
