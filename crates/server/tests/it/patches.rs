//! The kinds of PATCH over HTTP: JSON Patch and update actions, one by one, in batches, and many at once.

use std::sync::{Arc, Barrier};
use std::thread;

use crate::common::company::Company;
use crate::common::*;

const E1: &str = "/api/employees/E1";

fn json_patch(client: &mut Client, path: &str, patch: &Json) -> Reply {
    let kind = [("content-type", "application/json-patch+json")];
    client.request("PATCH", path, &kind, patch.to_string().as_bytes())
}

fn act(client: &mut Client, path: &str, actions: &Json) -> Reply {
    let kind = [("content-type", "application/vnd.corollary.update+json")];
    client.request("PATCH", path, &kind, actions.to_string().as_bytes())
}

#[test]
fn a_json_patch_changes_what_it_names_and_nothing_else() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    client
        .patch(
            E1,
            &json!({"notes": ["a", "b"], "any": {"x": [1, 2]}, "address": {"city": "Rome", "street": "Via"}}),
        )
        .expect(200);
    let before = client.read(E1);
    let patch = json!([
        {"op": "test", "path": "/name", "value": "ned"},
        {"op": "test", "path": "/ratio", "value": before["ratio"]},
        {"op": "replace", "path": "/age", "value": 42},
        {"op": "add", "path": "/notes/1", "value": "x"},
        {"op": "remove", "path": "/address/street"},
        {"op": "copy", "from": "/name", "path": "/nick"},
        {"op": "move", "from": "/any/x/0", "path": "/any/y"},
        {"op": "add", "path": "/tags", "value": ["b", "a"]},
        {"op": "add", "path": "/tags/-", "value": "a"},
        {"op": "replace", "path": "/division", "value": "D2"},
        {"op": "add", "path": "/boss", "value": {"_id": "E3"}},
    ]);
    let after = json_patch(client, E1, &patch);
    assert_eq!(after.revision(), before["_revision"].as_str().unwrap().parse::<u64>().unwrap() + 1);
    let after = after.expect(200);
    assert_eq!(after, client.read(E1));
    for (name, wanted) in [
        ("age", json!(42)),
        ("notes", json!(["a", "x", "b"])),
        ("address", json!({"city": "Rome"})),
        ("nick", json!("ned")),
        ("any", json!({"x": [2], "y": 1})),
        ("tags", json!(["a", "b"])),
        ("division", json!({"_id": "D2", "_self": "/api/divisions/D2"})),
        ("boss_name", json!("fred")),
        ("created", before["created"].clone()),
    ] {
        assert_eq!(after[name], wanted, "{name}");
    }
    // What is derived followed; a patch that changes nothing makes no revision.
    assert_eq!(client.read("/api/divisions/D2")["heads"], 2);
    let same = json!([{"op": "replace", "path": "/age", "value": 42}, {"op": "test", "path": "/age", "value": 42.0}]);
    assert_eq!(json_patch(client, E1, &same).expect(200)["_revision"], after["_revision"]);
    company.end();
}

#[test]
fn a_json_patch_that_fails_anywhere_changes_nothing() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let before = client.read(E1);
    let first = json!({"op": "replace", "path": "/age", "value": 1});
    let cases = [
        (json!({"op": "test", "path": "/name", "value": "bob"}), 422, "test", vec!["test /1/value"]),
        (json!({"op": "remove", "path": "/nick"}), 422, "pointer", vec!["pointer /1/path"]),
        (json!({"op": "copy", "from": "/nick", "path": "/name"}), 422, "pointer", vec!["pointer /1/from"]),
        (json!({"op": "add", "path": "/nme", "value": 1}), 422, "unknown-field", vec!["unknown-field /nme"]),
        (
            json!({"op": "add", "path": "/heads", "value": 1}),
            422,
            "unknown-field",
            vec!["unknown-field /heads"],
        ),
        (json!({"op": "replace", "path": "/_id", "value": "E9"}), 422, "read-only", vec!["read-only /_id"]),
        (json!({"op": "replace", "path": "/ratio", "value": 9}), 422, "read-only", vec!["read-only /ratio"]),
        (json!({"op": "remove", "path": "/ratio"}), 422, "read-only", vec!["read-only /ratio"]),
        (json!({"op": "remove", "path": "/name"}), 422, "required", vec!["required /name"]),
        (json!({"op": "replace", "path": "/name", "value": 5}), 422, "type", vec!["type /name"]),
        (json!({"op": "replace", "path": "/age", "value": 151}), 422, "max", vec!["max /age"]),
        (json!({"op": "add", "path": "/score", "value": null}), 422, "null", vec!["null /score"]),
        (json!({"op": "add", "path": "/boss", "value": "E9"}), 422, "link", vec!["link /boss"]),
        (json!({"op": "replace", "path": "", "value": [1]}), 422, "type", vec![]),
        (json!({"op": "leave", "path": "/name"}), 400, "patch", vec!["patch /1/op"]),
        (json!({"op": "add", "path": "name", "value": 1}), 400, "patch", vec!["patch /1/path"]),
        (json!({"op": "add", "path": "/name"}), 400, "patch", vec!["patch /1/value"]),
        (json!("x"), 400, "patch", vec!["patch /1"]),
    ];
    for (operation, status, code, errors) in cases {
        let reply = json_patch(client, E1, &json!([first, operation]));
        reply.problem(status, code);
        if !errors.is_empty() {
            assert_eq!(reply.errors(), errors, "{operation}");
        }
        assert_eq!(client.read(E1), before, "{operation}");
    }
    json_patch(client, E1, &json!({"age": 1})).problem(400, "patch");
    let many = Json::Array(vec![json!({"op": "test", "path": "/age", "value": 41}); 1_001]);
    json_patch(client, E1, &many).problem(400, "patch");
    json_patch(client, "/api/employees/none", &json!([first])).problem(404, "not-found");
    let stale = [("content-type", "application/json-patch+json"), ("if-match", "\"1\"")];
    client.request("PATCH", E1, &stale, json!([first]).to_string().as_bytes()).problem(412, "precondition");
    assert_eq!(client.read(E1), before);
    company.end();
}

#[test]
fn update_actions_of_each_kind() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let cases = [
        (json!([{"set": {"key": "nick", "value": "n"}}]), "nick", json!("n")),
        (json!([{"set": {"key": "nick", "value": null}}]), "nick", Json::Null),
        (json!([{"set": {"key": "address.city", "value": "Rome"}}]), "address", json!({"city": "Rome"})),
        (
            json!([{"set": {"key": "address.street", "value": "Via"}}]),
            "address",
            json!({"city": "Rome", "street": "Via"}),
        ),
        (json!([{"clear": {"key": "address.street"}}]), "address", json!({"city": "Rome"})),
        (
            json!([{"set": {"key": "any.a.b", "value": [1]}}, {"push": {"key": "any.a.b", "value": {"c": 2}}}]),
            "any",
            json!({"a": {"b": [1, {"c": 2}]}}),
        ),
        (json!([{"inc": {"key": "age"}}, {"inc": {"key": "age", "by": 5}}]), "age", json!(47)),
        (json!([{"inc": {"key": "age", "by": 10, "limit": 50, "clamp": true}}]), "age", json!(50)),
        (json!([{"inc": {"key": "age", "by": 1, "limit": 40, "clamp": true}}]), "age", json!(50)),
        (json!([{"inc": {"key": "age", "by": -50, "limit": 18, "clamp": true}}]), "age", json!(18)),
        (json!([{"inc": {"key": "age", "by": 2, "limit": 20}}]), "age", json!(20)),
        (json!([{"inc": {"key": "price", "by": "0.10"}}]), "price", json!("0.10")),
        (json!([{"inc": {"key": "price", "by": 1.25, "limit": "1.35"}}]), "price", json!("1.35")),
        (json!([{"inc": {"key": "score", "by": 0.5, "limit": 9}}]), "score", json!(0.5)),
        (json!([{"inc": {"key": "shift", "by": "PT90M"}}]), "shift", json!("PT1H30M")),
        (
            json!([{"inc": {"key": "extra.hits", "by": 3}}, {"inc": {"key": "extra.hits"}}]),
            "extra",
            json!({"hits": 4}),
        ),
        (
            json!([{"push": {"key": "notes", "value": "b"}}, {"push": {"key": "notes", "values": ["c", "d"]}}]),
            "notes",
            json!(["b", "c", "d"]),
        ),
        (
            json!([{"push": {"key": "notes", "value": "a", "position": 0}}, {"pop": {"key": "notes"}}]),
            "notes",
            json!(["a", "b", "c"]),
        ),
        (
            json!([{"pop": {"key": "notes", "head": true}}, {"push": {"key": "notes", "value": "z", "position": 99}}]),
            "notes",
            json!(["b", "c", "z"]),
        ),
        (json!([{"add": {"key": "tags", "values": ["b", "a", "b"]}}]), "tags", json!(["a", "b"])),
        (
            json!([{"remove": {"key": "tags", "value": "a"}}, {"add": {"key": "tags", "value": "c"}}]),
            "tags",
            json!(["b", "c"]),
        ),
        (json!([{"set": {"key": "boss", "value": "E2"}}]), "boss_name", json!("bob")),
        (json!([{"clear": {"key": "boss"}}, {"clear": {"key": "nick"}}]), "boss", Json::Null),
    ];
    for (actions, field, wanted) in cases {
        let after = act(client, E1, &actions).expect(200);
        assert_eq!(after[field], wanted, "{actions}");
        assert_eq!(after, client.read(E1), "{actions}");
    }
    let d1 = "/api/divisions/D1";
    let managers = |reply: Reply| -> Vec<String> {
        let body = reply.expect(200);
        let ids = body["managers"].as_array().unwrap().iter();
        ids.map(|link| link["_id"].as_str().unwrap().to_string()).collect()
    };
    let added = json!([{"add": {"key": "managers", "values": ["E1", {"_id": "E2"}, "E1"]}}]);
    assert_eq!(managers(act(client, d1, &added)), ["E1", "E2"]);
    let moved = json!([{"remove": {"key": "managers", "value": "E1"}}, {"push": {"key": "managers", "values": ["E3", "E1"], "position": 0}}]);
    assert_eq!(managers(act(client, d1, &moved)), ["E3", "E1", "E2"]);
    // To take the last away where nothing is left does nothing, and makes no revision.
    let revision = client.read(E1)["_revision"].clone();
    let popped = act(client, "/api/employees/E2", &json!([{"pop": {"key": "notes"}}])).expect(200);
    assert_eq!(popped.get("notes"), None);
    assert_eq!(client.read(E1)["_revision"], revision);
    company.end();
}

#[test]
fn update_actions_that_are_wrong_change_nothing() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    client.patch(E1, &json!({"notes": ["a"], "nick": null, "any": 5})).expect(200);
    let before = client.read(E1);
    let first = json!({"inc": {"key": "age"}});
    let cases = [
        (json!({"set": {"key": "age", "value": "x"}}), 422, "type", "type /1/set/value"),
        (json!({"set": {"key": "age", "value": 200}}), 422, "max", "max /age"),
        (json!({"inc": {"key": "age", "by": 1, "limit": 41}}), 422, "limit", "limit /age"),
        (json!({"inc": {"key": "age", "by": 1.5}}), 422, "type", "type /1/inc/by"),
        (json!({"inc": {"key": "name"}}), 422, "type", "type /1/inc"),
        (json!({"inc": {"key": "any", "by": "x"}}), 422, "type", "type /1/inc/by"),
        (json!({"inc": {"key": "age", "by": i64::MAX}}), 422, "type", "type /age"),
        (json!({"push": {"key": "any", "value": 1}}), 422, "type", "type /any"),
        (json!({"push": {"key": "notes", "value": 1}}), 422, "type", "type /1/push/value"),
        (
            json!({"push": {"key": "notes", "values": ["a", "b", "c"]}}),
            422,
            "max_length",
            "max_length /notes",
        ),
        (json!({"push": {"key": "tags", "value": "a"}}), 422, "type", "type /1/push"),
        (json!({"add": {"key": "notes", "value": "a"}}), 422, "type", "type /1/add"),
        (json!({"add": {"key": "boss", "value": "E2"}}), 422, "type", "type /1/add"),
        (json!({"clear": {"key": "name"}}), 422, "required", "required /name"),
        (json!({"set": {"key": "ratio", "value": 1}}), 422, "read-only", "read-only /1/set/key"),
        (json!({"set": {"key": "nam", "value": 1}}), 422, "unknown-field", "unknown-field /1/set/key"),
        (
            json!({"set": {"key": "address.town", "value": 1}}),
            422,
            "unknown-field",
            "unknown-field /1/set/key",
        ),
        (json!({"set": {"key": "age.x", "value": 1}}), 422, "unknown-field", "unknown-field /1/set/key"),
        (json!({"set": {"key": "boss", "value": "E9"}}), 422, "link", "link /boss"),
        (json!({"set": {"key": "age"}}), 400, "actions", "actions /1/set"),
        (json!({"set": {"key": "age", "valu": 1}}), 400, "actions", "actions /1"),
        (json!({"sett": {"key": "age"}}), 400, "actions", "actions /1"),
        (json!({"inc": {"key": "age", "clamp": true}}), 400, "actions", "actions /1/inc"),
        (json!({"push": {"key": "notes", "value": "a", "position": -1}}), 400, "actions", "actions /1/push"),
        (json!({"push": {"key": "notes", "value": "a", "values": []}}), 400, "actions", "actions /1/push"),
        (json!({"set": {"key": "age", "value": 1}, "clear": {"key": "nick"}}), 400, "actions", "actions /1"),
    ];
    for (action, status, code, error) in cases {
        let reply = act(client, E1, &json!([first, action]));
        reply.problem(status, code);
        assert_eq!(reply.errors(), [error], "{action}");
        assert_eq!(client.read(E1), before, "{action}");
    }
    act(client, E1, &json!({"inc": {"key": "age"}})).problem(400, "actions");
    act(client, E1, &Json::Array(vec![first; 1_001])).problem(400, "actions");
    company.end();
}

#[test]
fn counts_of_many_at_once_add_up_and_pushes_stand_in_their_order() {
    let company = Company::with_staff();
    let address = company.server.address.clone();
    let mut client = company.server.client();
    client.patch("/api/employees/E2", &json!({"any": {"log": []}})).expect(200);
    let barrier = Arc::new(Barrier::new(10));
    let threads: Vec<_> = (0..10)
        .map(|at: i64| {
            let (address, barrier) = (address.clone(), barrier.clone());
            thread::spawn(move || {
                let mut client = Client::new(&address);
                barrier.wait();
                for round in 0..10 {
                    let actions = json!([
                        {"inc": {"key": "extra.count"}},
                        {"push": {"key": "any.log", "values": [at * 100 + round, at]}},
                    ]);
                    act(&mut client, "/api/employees/E2", &actions).expect(200);
                    let patch = json!([{"op": "add", "path": "/tags", "value": [format!("{at}-{round}")]}]);
                    json_patch(&mut client, "/api/employees/E3", &patch).expect(200);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let after = client.read("/api/employees/E2");
    assert_eq!(after["extra"]["count"], 100);
    let log: Vec<i64> =
        after["any"]["log"].as_array().unwrap().iter().map(|it| it.as_i64().unwrap()).collect();
    assert_eq!(log.len(), 200);
    for pair in log.chunks(2) {
        assert_eq!(pair[0] / 100, pair[1], "the pushes of one request stand together");
    }
    for at in 0..10 {
        let own = log.chunks(2).filter(|pair| pair[1] == at).map(|pair| pair[0] % 100);
        assert_eq!(own.collect::<Vec<_>>(), (0..10).collect::<Vec<_>>(), "in the order of the requests");
    }
    company.end();
}

#[test]
fn items_of_a_batch_may_be_patches_of_each_kind() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let revision = client.get("/api").json()["revision"].as_str().unwrap().parse::<u64>().unwrap();
    let update = "application/vnd.corollary.update+json";
    let patch = "application/json-patch+json";
    let batch = json!([
        {"method": "PATCH", "path": "/employees/E1", "body": {"age": 50}},
        {"method": "PATCH", "path": "/employees/E1", "content_type": update, "body": [{"inc": {"key": "age"}}]},
        {"method": "PATCH", "path": "/employees/E1", "content_type": patch, "body": [{"op": "test", "path": "/age", "value": 51}, {"op": "add", "path": "/nick", "value": "n"}]},
    ]);
    let reply = client.post("/api/_batch", &batch);
    assert_eq!(reply.revision(), revision + 1);
    assert_eq!(reply.expect(200)[2]["body"]["nick"], "n");
    assert_eq!(client.read(E1)["age"], 51);
    let before = client.read(E1);
    let failing = json!([
        {"method": "PATCH", "path": "/employees/E1", "content_type": update, "body": [{"inc": {"key": "age"}}]},
        {"method": "PATCH", "path": "/employees/E2", "content_type": patch, "body": [{"op": "test", "path": "/name", "value": "x"}]},
    ]);
    let reply = client.post("/api/_batch", &failing);
    reply.problem(422, "test");
    assert_eq!(reply.errors(), ["1 test /0/value"]);
    assert_eq!(client.read(E1), before);
    client
        .post(
            "/api/_batch",
            &json!([{"method": "PATCH", "path": "/employees/E1", "content_type": "text/plain"}]),
        )
        .problem(400, "batch");
    company.end();
}
