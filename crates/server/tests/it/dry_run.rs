//! `?dry_run=true` on the real binary: what is told is what the real write then does, and nothing is left of it.

use std::collections::BTreeMap;

use crate::common::*;

const SCHEMA: &str = r#"
type Firm in firms {
  name:   str required unique
  teams:  collection Team
  people: inverse Person.firm
  pets:   links Pet
  size   := count(self.people)
  cost   := sum(self.people.pay)
  rank   := self.cost / self.size
}

type Team {
  name:  str required
  tasks: ordered collection Task
  open  := count(self.tasks)
}

type Task { text: str }

type Person in people {
  name:   str required, min_length 2
  pay:    int default 0
  firm:   link Firm on delete unlink
  team:   link Team on delete cascade
  boss:   link Person on delete restrict
  lines:  [{ of: link Firm, n: int }]
  label  := upper(self.firm.name)
}

type Pet in pets { name: str, loved := count(self.link_firm_pets) }
"#;

fn company(place: &Place, more: &[&str]) -> Server {
    let server = Server::start(place, more);
    let mut client = server.client();
    client.post("/api/firms", &json!([{"_id": "f", "name": "one"}, {"_id": "g", "name": "two"}])).expect(201);
    client
        .post("/api/firms/f/teams", &json!([{"_id": "t", "name": "a"}, {"_id": "u", "name": "b"}]))
        .expect(201);
    client
        .post("/api/firms/f/teams/t/tasks", &json!([{"_id": "k0"}, {"_id": "k1"}, {"_id": "k2"}]))
        .expect(201);
    client.post("/api/pets", &json!([{"_id": "rex"}, {"_id": "tom"}])).expect(201);
    client.patch("/api/firms/f", &json!({"pets": ["rex", "tom"]})).expect(200);
    let people = json!([
        {"_id": "ann", "name": "Ann", "pay": 10, "firm": "f", "lines": [{"of": "f", "n": 1}, {"of": "g", "n": 2}]},
        {"_id": "bob", "name": "Bob", "pay": 20, "firm": "f", "boss": "ann"},
        {"_id": "cid", "name": "Cid", "pay": 30, "firm": "g", "team": "t"},
    ]);
    client.post("/api/people", &people).expect(201);
    server
}

/// All that can be read, by path.
fn all(client: &mut Client) -> BTreeMap<String, Json> {
    let mut found = BTreeMap::new();
    for root in ["/api/firms", "/api/people", "/api/pets"] {
        for item in client.list(root) {
            found.insert(item["_self"].as_str().unwrap().to_string(), item);
        }
    }
    for firm in client.ids("/api/firms") {
        for team in client.list(&format!("/api/firms/{firm}/teams")) {
            let path = team["_self"].as_str().unwrap().to_string();
            for task in client.list(&format!("{path}/tasks")) {
                found.insert(task["_self"].as_str().unwrap().to_string(), task);
            }
            found.insert(path, team);
        }
    }
    found
}

fn paths(list: &Json) -> Vec<&str> {
    let resources = list["resources"].as_array().unwrap();
    assert_eq!(list["count"], resources.len(), "{list}");
    resources.iter().map(|it| it["resource"].get("_self").unwrap_or(&it["_self"]).as_str().unwrap()).collect()
}

/// Tries a write, then does it: what was told beforehand is what happened, to the last value; returns what was told.
#[track_caller]
fn tried(client: &mut Client, method: &str, path: &str, kind: &str, body: &str) -> Json {
    let before = all(client);
    let revision = client.get("/api/firms").revision();
    let joined = if path.contains('?') { '&' } else { '?' };
    let headers = [("content-type", kind)];
    let reply = client.request(method, &format!("{path}{joined}dry_run=true"), &headers, body.as_bytes());
    let told = reply.expect(200);
    assert_eq!((&told["dry_run"], reply.revision()), (&json!(true), revision), "{told}");
    assert_eq!(all(client), before, "a dry run leaves no trace");
    assert_eq!(client.get("/api/firms").revision(), revision);

    let real = client.request(method, path, &headers, body.as_bytes());
    assert_eq!(told["status"], real.status, "{told} {}", real.text());
    let after = all(client);
    let gone: Vec<&str> =
        before.keys().filter(|path| !after.contains_key(*path)).map(String::as_str).collect();
    let mut deleted = paths(&told["deleted"]);
    deleted.sort();
    assert_eq!(deleted, gone, "{told}");
    let new: Vec<&str> =
        after.keys().filter(|path| !before.contains_key(*path)).map(String::as_str).collect();
    // What the server names itself has another name each time.
    assert_eq!(paths(&told["created"]).len(), new.len(), "{told}");
    let differs = |path: &&String| before.get(*path).is_some_and(|old| *old != after[*path]);
    let others: Vec<&str> = after.keys().filter(differs).map(String::as_str).collect();
    let mut changed = paths(&told["changed"]);
    changed.sort();
    // Neighbours in an ordered collection move up without a change of their own.
    let moved = |path: &&str| {
        let (mut old, mut new) = (before[*path].clone(), after[*path].clone());
        for it in [&mut old, &mut new] {
            it.as_object_mut().unwrap().remove("_position");
        }
        old != new
    };
    assert_eq!(changed, others.into_iter().filter(moved).collect::<Vec<_>>(), "{told}");
    for it in told["changed"]["resources"].as_array().unwrap() {
        let path = it["_self"].as_str().unwrap();
        let (old, new) = (&before[path], &after[path]);
        assert_eq!(it["_revision"], old["_revision"]);
        let mut named = BTreeMap::new();
        for kind in ["facts", "derived"] {
            let members = it.get(kind).and_then(Json::as_object).into_iter().flatten();
            named.extend(members.map(|(name, change)| (name.as_str(), change)));
        }
        for name in old.as_object().unwrap().keys().chain(new.as_object().unwrap().keys()) {
            let (old, new) = (&old[name.as_str()], &new[name.as_str()]);
            if ["_revision", "_position"].contains(&name.as_str()) {
                continue;
            }
            match named.get(name.as_str()) {
                Some(change) => assert_eq!((&change["old"], &change["new"]), (old, new), "{name} in {it}"),
                None => assert_eq!(old, new, "{name} is not in {it}"),
            }
        }
    }
    told
}

fn json_tried(client: &mut Client, method: &str, path: &str, body: &Json) -> Json {
    tried(client, method, path, "application/json", &body.to_string())
}

fn changed<'t>(told: &'t Json, path: &str) -> &'t Json {
    let resources = told["changed"]["resources"].as_array().unwrap();
    resources.iter().find(|it| it["_self"] == path).unwrap_or_else(|| panic!("{path} is not in {told}"))
}

#[test]
fn the_dry_run_of_a_delete_lists_what_is_deleted_unlinked_and_changed() {
    let place = Place::new(SCHEMA);
    let server = company(&place, &[]);
    let mut client = server.client();
    let told = tried(&mut client, "DELETE", "/api/firms/f", "application/json", "");
    assert_eq!((&told["status"], told.get("reply")), (&json!(204), None));
    assert_eq!(told["deleted"]["count"], 7, "the firm, its teams and tasks, and Cid with the team: {told}");
    let ann = changed(&told, "/api/people/ann");
    assert_eq!(ann["unlinked"], json!(["firm", "lines.of"]), "{ann}");
    assert_eq!(ann["facts"]["firm"]["new"], Json::Null);
    assert_eq!(ann["derived"]["label"], json!({"old": "ONE", "new": null}));
    let two = changed(&told, "/api/firms/g");
    assert_eq!(two["derived"]["rank"], json!({"old": 30.0, "new": {"_error": "#div0"}}), "{two}");
    assert!(two.get("facts").is_none() && two.get("unlinked").is_none());
    assert_eq!(changed(&told, "/api/pets/rex")["derived"]["loved"], json!({"old": 1, "new": 0}));
    drop(client);
    drop(server);
    place.check();
}

#[test]
fn every_kind_of_write_can_be_tried() {
    let place = Place::new(SCHEMA);
    let server = company(&place, &[]);
    let mut client = server.client();
    let told = json_tried(
        &mut client,
        "POST",
        "/api/people",
        &json!({"_id": "dan", "name": "Dan", "pay": 5, "firm": "f"}),
    );
    let dan = &told["created"]["resources"][0];
    assert_eq!((&dan["type"], &dan["resource"]["label"]), (&json!("Person"), &json!("ONE")), "{told}");
    assert_eq!((&told["status"], &told["reply"]["_id"]), (&json!(201), &json!("dan")));
    assert_eq!(changed(&told, "/api/firms/f")["derived"]["cost"], json!({"old": 30, "new": 35}));
    json_tried(&mut client, "POST", "/api/people", &json!([{"name": "Eve", "firm": "f"}, {"name": "Fay"}]));
    json_tried(&mut client, "PUT", "/api/people/dan", &json!({"name": "Dan", "pay": 7}));
    json_tried(&mut client, "PATCH", "/api/people/dan", &json!({"firm": "g", "lines": [{"of": "g"}]}));
    let patch = json!([{"op": "replace", "path": "/pay", "value": 70}]).to_string();
    tried(&mut client, "PATCH", "/api/people/dan", "application/json-patch+json", &patch);
    let actions = json!([{"inc": {"key": "pay", "by": 1}}]).to_string();
    tried(&mut client, "PATCH", "/api/people/dan", "application/vnd.corollary.update+json", &actions);
    let told = json_tried(&mut client, "PATCH", "/api/firms/f/teams/t/tasks/k2", &json!({"_position": 0}));
    let moved = changed(&told, "/api/firms/f/teams/t/tasks/k2");
    assert_eq!(moved["facts"], json!({"_position": {"old": 2, "new": 0}}), "{told}");
    json_tried(&mut client, "POST", "/api/firms/g/pets", &json!({"_id": "rex"}));
    tried(&mut client, "DELETE", "/api/firms/f/pets/tom", "application/json", "");
    let batch = json!([
        {"method": "POST", "path": "/firms", "body": {"_id": "h", "name": "three"}},
        {"method": "PATCH", "path": "/people/ann", "body": {"firm": "$0._id"}},
        {"method": "DELETE", "path": "/firms/f/teams/u"},
        {"method": "GET", "path": "/firms/f"},
    ]);
    let told = json_tried(&mut client, "POST", "/api/_batch", &batch);
    assert_eq!(
        told["reply"][3]["body"]["size"], told["changed"]["resources"][0]["derived"]["size"]["new"],
        "{told}"
    );
    let update = json!({"where": {"expr": "pay > 15"}, "patch": {"pay": 1}});
    let told = json_tried(&mut client, "POST", "/api/people/_update", &update);
    assert_eq!(
        told["reply"]["changed"],
        told["changed"]["resources"].as_array().unwrap().iter().filter(|it| it["type"] == "Person").count()
    );
    let told =
        json_tried(&mut client, "POST", "/api/people/_delete", &json!({"where": {"expr": "boss != null"}}));
    assert_eq!((&told["reply"]["matched"], &told["deleted"]["count"]), (&json!(1), &json!(1)));
    let told = json_tried(&mut client, "POST", "/api/people/_delete", &json!({"where": {"expr": "false"}}));
    assert_eq!((&told["reply"]["matched"], &told["deleted"]["count"]), (&json!(0), &json!(0)));
    // Nothing is changed by what is there already.
    let told = json_tried(&mut client, "PATCH", "/api/people/ann", &json!({"pay": 10}));
    assert_eq!(told["changed"]["count"], 0, "{told}");
    drop(client);
    drop(server);
    place.check();
}

/// Method, path, headers, body, and the status that it is refused with.
type Case<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], Json, u16);

/// Whatever refuses the real write refuses the dry run, word for word.
#[test]
fn a_dry_run_is_refused_as_the_real_write_is() {
    let place = Place::new(SCHEMA);
    let server = company(&place, &[]);
    let mut client = server.client();
    let stale = [("content-type", "application/json"), ("if-match", "\"1\"")];
    let plain = [("content-type", "application/json")];
    let cases: [Case<'_>; 10] = [
        ("POST", "/api/firms", &plain, json!({"name": "one"}), 409),
        ("POST", "/api/firms", &plain, json!({"_id": "f", "name": "x"}), 409),
        ("POST", "/api/people", &plain, json!({"name": "A", "firm": "nobody"}), 422),
        ("POST", "/api/people", &plain, json!([{"name": "Xe"}, {"name": "Xi", "boss": "nobody"}]), 422),
        ("PATCH", "/api/people/bob", &stale, json!({"pay": 1}), 412),
        ("PATCH", "/api/people/nobody", &plain, json!({"pay": 1}), 404),
        ("PATCH", "/api/people/bob", &plain, json!({"pai": 1}), 422),
        ("DELETE", "/api/people/ann", &plain, json!(null), 409),
        (
            "POST",
            "/api/_batch",
            &plain,
            json!([{"method": "DELETE", "path": "/people/bob"}, {"method": "DELETE", "path": "/people/zoe"}]),
            422,
        ),
        ("POST", "/api/people/_delete", &plain, json!({}), 400),
    ];
    for (method, path, headers, body, status) in cases {
        let body = body.to_string();
        let mut ask = |path: &str| client.request(method, path, headers, body.as_bytes());
        let (dry, real) = (ask(&format!("{path}?dry_run=true")), ask(path));
        assert_eq!((dry.status, dry.json()), (real.status, real.json()), "{method} {path} {body}");
        if status != 422 {
            assert_eq!(real.status, status, "{}", real.text());
        }
        assert!(real.status >= 400);
    }
    client.get("/api/people?dry_run=true").problem(400, "parameter");
    client.post("/api/people?dry_run=perhaps", &json!({"name": "Xe"})).problem(400, "parameter");
    client.post("/api/_batch?dryrun=true", &json!([])).problem(400, "parameter");
    client.post("/api/people/_count?dry_run=true", &json!({})).problem(400, "parameter");
}

/// What is too large for a commit is told as the updates that would be begun, with their sizes; a long list is cut, and
/// counted.
#[test]
fn updates_are_told_with_their_sizes_and_long_lists_are_cut() {
    const PEOPLE: usize = 1_200;
    let place = Place::new(SCHEMA);
    let server = company(&place, &["--update-budget", "10", "--update-rate", "1"]);
    let mut client = server.client();
    let people: Vec<Json> = (0..PEOPLE)
        .map(|at| json!({"_id": format!("p{at:04}"), "name": "Xy", "firm": "g", "pay": 1}))
        .collect();
    let told = client.with("POST", "/api/people?dry_run=true", &[], &Json::Array(people.clone())).expect(200);
    assert_eq!(told["created"]["count"], PEOPLE);
    assert_eq!(told["created"]["resources"].as_array().unwrap().len(), 1_000);
    assert_eq!(client.read("/api/people?count=true")["count"], 3);
    client.post("/api/people", &Json::Array(people)).expect(201);
    let rename = json!({"name": "other"});
    let told = client.patch("/api/firms/g?dry_run=true", &rename).expect(200);
    let updates = told["updates"].as_array().unwrap();
    assert_eq!(updates.len(), 1, "{told}");
    let update = &updates[0];
    assert_eq!((&update["type"], &update["field"]), (&json!("Person"), &json!("label")));
    assert_eq!((&update["estimated"], &update["complete"]), (&json!(PEOPLE + 1), &json!(true)), "{update}");
    assert_eq!(update["cause"], json!({"field": "name", "path": "/api/firms/g"}));
    assert_eq!(client.read("/api/_updates")["results"], json!([]), "none was begun");
    // The second time it joins the one that is open.
    let real = client.patch("/api/firms/g", &rename);
    let told = client.patch("/api/firms/g?dry_run=true", &json!({"name": "third"})).expect(200);
    assert_eq!(told["updates"][0]["_id"].as_str(), real.header("corollary-updates"), "{told}");
    // A value that is behind beforehand says so.
    let told = client.patch("/api/people/p1000?dry_run=true", &json!({"pay": 3})).expect(200);
    assert_eq!(changed(&told, "/api/people/p1000")["_pending"], json!(["label"]), "{told}");
    assert_eq!(told["reply"]["label"], "OTHER", "{told}");
}
