//! What may not be read is not there, whichever way somebody comes to it.

use super::*;

#[test]
fn nothing_is_there_for_who_has_no_grant() {
    let world = World::filled();
    let mut ann = world.of("ann");
    for path in ["/api/teams", "/api/people", "/api/teams?count=true", "/api/teams?watch=true"] {
        ann.get(path).problem(403, "not-granted");
    }
    // Who is not known is asked who they are.
    world.of("").get("/api/teams").problem(401, "not-granted");
    // What is not to be read is told from nothing by nobody.
    for path in ["/api/teams/t1", "/api/teams/none"] {
        ann.get(path).problem(404, "not-found");
    }
    assert_eq!(world.of("root").ids("/api/teams"), ["t1", "t2"]);
}

#[test]
fn a_grant_covers_a_collection_and_all_that_is_owned() {
    let world = World::filled();
    world.grant("g", "/teams", &["read"], Some(&["ann"]));
    let mut ann = world.of("ann");
    assert_eq!(ann.ids("/api/teams"), ["t1", "t2"]);
    assert_eq!(ann.ids("/api/teams/t2/tasks"), ["a2", "b2"]);
    assert_eq!(ann.read("/api/teams/t1/tasks/a1/notes/n1")["text"], json!("deep"));
    // Other roots, and what is linked to, are not.
    ann.get("/api/people").problem(403, "not-granted");
    ann.get("/api/teams/t1/boss").problem(404, "not-found");
    ann.get("/api/people/ann").problem(404, "not-found");
    // A link is a value of what has it.
    let team = ann.read("/api/teams/t1");
    assert_eq!(team["boss"], json!({"_id": "ann", "_self": "/api/people/ann"}));
    // What follows is what it is, whoever looks: a sum over tasks, and a lazy field with a name that may not be read.
    assert_eq!((&team["cost"], &team["said"]), (&json!(7), &json!("led by Ann")));
    // Expanded it stays a link.
    assert_eq!(ann.read("/api/teams/t1?expand=boss")["boss"], team["boss"]);
    world.of("bob").get("/api/teams").problem(403, "not-granted");
}

#[test]
fn ego_is_who_asks() {
    let world = World::filled();
    world.grant("lead", "/teams[boss = ego]", &["read"], None);
    world.grant("own", "/teams/*/tasks[owner = ego]", &["read"], None);
    let mut ann = world.of("ann");
    assert_eq!(ann.ids("/api/teams"), ["t1"]);
    assert_eq!(ann.read("/api/teams?count=true")["count"], json!(1));
    assert_eq!(ann.ids("/api/teams/t1/tasks"), ["a1", "b1"]);
    // A task of one's own may be read at its place, where the team may not.
    ann.get("/api/teams/t2").problem(404, "not-found");
    assert_eq!(ann.ids("/api/teams/t1/tasks?order=-cost"), ["b1", "a1"]);
    let mut bob = world.of("bob");
    assert_eq!(bob.ids("/api/teams"), ["t2"]);
    assert_eq!(bob.ids("/api/teams/t2/tasks"), ["a2", "b2"]);
    // Who is nobody in the data is not whoever has nobody in a field.
    world.of("root").send("PATCH", "/api/teams/t1", &json!({"boss": null})).expect(200);
    assert!(ann.ids("/api/teams").is_empty());
    world.of("cyd").get("/api/teams").problem(403, "not-granted");
    world.of("").get("/api/teams").problem(401, "not-granted");
}

#[test]
fn what_may_not_be_read_decides_nothing() {
    let world = World::filled();
    world.grant("lead", "/teams[boss = ego]", &["read"], None);
    world.grant("people", "/people", &["read"], None);
    let mut ann = world.of("ann");
    let none = |list: Vec<String>| assert!(list.is_empty(), "{list:?}");
    none(ann.ids(&format!("/api/teams?filter={}", encoded("secret = 8"))));
    assert_eq!(ann.ids(&format!("/api/teams?filter={}", encoded("secret > 0"))), ["t1"]);
    // Through a link that leads to it, back from it, and counted.
    none(ann.ids(&format!("/api/people?filter={}", encoded("max(boss_of.secret) = 8"))));
    none(ann.ids(&format!("/api/people?filter={}", encoded("count(boss_of) = 1 & name = 'Bob'"))));
    assert_eq!(ann.ids(&format!("/api/people?filter={}", encoded("count(boss_of) = 1"))), ["ann"]);
    let query = json!({"where": {"expr": "max(boss_of.secret) > 0"}, "order": "name"});
    let found = ann.send("POST", "/api/people/_query", &query).expect(200);
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
    let counted = ann.send("POST", "/api/teams/_count", &json!({})).expect(200);
    assert_eq!(counted["count"], json!(1));
    let shown = ann.read("/api/people?expand=boss_of&order=name");
    assert_eq!(shown["results"][1]["boss_of"], json!([]));
    assert_eq!(shown["results"][0]["boss_of"][0]["secret"], json!(7));
    // In lines it is the same.
    let lines = ann.with("GET", "/api/teams", &[("accept", "application/x-ndjson")], &json!(null));
    assert_eq!(lines.text().lines().count(), 1);
    // A type of which nothing may be read is not asked about.
    let filter = encoded("count(tasks.notes.text) > 0");
    assert_eq!(ann.ids(&format!("/api/teams?filter={filter}")), ["t1"]);
    world.revoke("lead");
    world.grant("teams", "/teams/t1", &["read"], None);
    ann.get(&format!("/api/teams?filter={}", encoded("count(people.name) > 0"))).expect(200);
    world.revoke("people");
    ann.get(&format!("/api/teams?filter={}", encoded("boss.name = 'Ann'"))).problem(403, "not-granted");
    ann.get("/api/teams?order=boss.name").problem(403, "not-granted");
}

#[test]
fn names_and_paths_behind_them_lead_to_nothing_hidden() {
    let world = World::filled();
    world.grant("other", "/pages[text = 'elsewhere']", &["read"], None);
    world.grant("red", "/teams/t1", &["read"], None);
    let mut ann = world.of("ann");
    let (there, not) = (ann.get("/api/pages/home"), ann.get("/api/pages/nothing"));
    assert_eq!((there.status, not.status), (404, 404));
    assert_eq!(there.text().replace("home", "nothing"), not.text());
    // A path that gathers values of many is for whoever may read all of them.
    ann.get("/api/teams.secret").problem(403, "not-granted");
    ann.get("/api/teams/t1.secret").problem(403, "not-granted");
    world.grant("all", "/teams", &["read"], None);
    assert_eq!(ann.read("/api/teams.secret")["results"], json!([7, 8]));
    assert_eq!(ann.get("/api/teams/t1/tasks.cost").expect(200)["results"], json!([3, 4]));
}

#[test]
fn pages_have_what_may_be_read_and_no_holes() {
    let world = World::new();
    let mut root = world.of("root");
    root.send("POST", "/api/people", &json!([{"_id": "ann", "login": "ann"}])).expect(201);
    let teams: Vec<Json> = (0..60)
        .map(|at| {
            let team = json!({"_id": format!("t{at:02}"), "name": format!("n{}", at % 7)});
            let led = json!({"_id": format!("t{at:02}"), "name": format!("n{}", at % 7), "boss": "ann"});
            if at % 3 == 0 { led } else { team }
        })
        .collect();
    root.send("POST", "/api/teams", &json!(teams)).expect(201);
    world.grant("lead", "/teams[boss = ego]", &["read"], None);
    let mut ann = world.of("ann");
    let (mut all, mut path) = (Vec::new(), "/api/teams?limit=7&order=name".to_string());
    loop {
        let page = ann.read(&path);
        let ids: Vec<String> =
            page["results"].as_array().unwrap().iter().map(|it| it["_id"].as_str().unwrap().into()).collect();
        assert!(ids.len() == 7 || page["next"].is_null(), "{page}");
        all.extend(ids);
        match page["next"].as_str() {
            Some(next) => path = next.into(),
            None => break,
        }
    }
    assert_eq!(all.len(), 20);
    // It is found by the index of what the grant asks for: a page costs what it has.
    let page = ann.with("GET", "/api/teams?limit=5", &[], &json!(null));
    assert_eq!(page.expect(200)["results"].as_array().unwrap().len(), 5);
}

#[test]
fn a_change_of_who_somebody_is_counts_at_once() {
    let world = World::filled();
    world.grant("lead", "/teams[boss = ego]", &["read"], None);
    let (mut ann, mut root) = (world.of("ann"), world.of("root"));
    assert_eq!(ann.ids("/api/teams"), ["t1"]);
    root.send("PATCH", "/api/people/ann", &json!({"login": "anna"})).expect(200);
    ann.get("/api/teams").problem(403, "not-granted");
    assert_eq!(world.of("anna").ids("/api/teams"), ["t1"]);
    root.send("PATCH", "/api/people/bob", &json!({"login": "ann"})).expect(200);
    assert_eq!(ann.ids("/api/teams"), ["t2"]);
}

#[test]
fn files_go_with_what_has_them() {
    let world = World::filled();
    let mut root = world.of("root");
    let photo = [("content-type", "image/png"), (WHO, "root")];
    root.client.request("PUT", "/api/teams/t1/tasks/a1/photo", &photo, b"png").expect_status(201);
    let mut ann = world.of("ann");
    ann.get("/api/teams/t1/tasks/a1/photo").problem(404, "not-found");
    world.grant("red", "/teams/t1", &["read"], None);
    assert_eq!(ann.get("/api/teams/t1/tasks/a1/photo").expect_status(200).text(), "png");
    let photo = [("content-type", "image/png"), (WHO, "ann")];
    ann.client.request("PUT", "/api/teams/t1/tasks/a1/photo", &photo, b"other").problem(403, "not-granted");
    ann.client.request("PUT", "/api/teams/t2/tasks/a2/photo", &photo, b"other").problem(404, "not-found");
    assert_eq!(ann.get("/api/teams/t1/tasks/a1/photo").text(), "png");
}
