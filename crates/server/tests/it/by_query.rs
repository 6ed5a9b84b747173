//! What is asked of a list with a body: `_query`, `_count`, `_update`, `_delete`.

use crate::common::client::encoded;
use crate::common::company::Company;
use crate::common::*;

fn ids(reply: &Json) -> Vec<&str> {
    reply["results"].as_array().unwrap().iter().map(|item| item["_id"].as_str().unwrap()).collect()
}

#[test]
fn a_query_with_a_body_is_a_get_with_parameters() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    client.post("/api/divisions/D1/sections", &json!({"_id": "S1", "name": "north", "total": 5})).expect(201);
    let cases = [
        (json!({}), String::new()),
        (json!({"where": {}}), String::new()),
        (json!({"where": {"greater": {"key": "age", "value": 30}}}), "filter=age%3E30".into()),
        (
            json!({"where": {"greater": {"key": "age", "value": 31, "equals": true}}, "order": "-age"}),
            "filter=age%3E%3D31&order=-age".into(),
        ),
        (
            json!({"where": {"and": [{"kv": {"key": "division", "value": "D1"}}, {"not": {"kv": {"key": "boss", "value": null}}}]}}),
            format!("filter={}", encoded("division = 'D1' and not (boss = null)")),
        ),
        (
            json!({"where": {"kv": {"key": "boss.name", "value": "ned", "equals": false}}}),
            format!("filter={}", encoded("not (boss.name = 'ned')")),
        ),
        (
            json!({"where": {"kvs": {"key": "level", "values": ["upper", "lower"]}}}),
            format!("filter={}", encoded("level in ['upper', 'lower']")),
        ),
        (
            json!({"where": {"expr": "age < 40"}, "count": true, "fields": ["name", "age"]}),
            format!("filter={}&count=true&fields=name,age", encoded("age < 40")),
        ),
        (
            json!({"order": ["division.name", "-age"], "size": 2, "expand": "boss", "count": true}),
            "order=division.name,-age&limit=2&expand=boss&count=true".into(),
        ),
    ];
    for (body, parameters) in cases {
        let asked = client.post("/api/employees/_query", &body).expect(200);
        let read = client.read(&format!("/api/employees?{parameters}"));
        for part in ["results", "count", "revision"] {
            assert_eq!(asked.get(part), read.get(part), "{part} of {body}");
        }
        assert_eq!(asked["next"].is_null(), read["next"].is_null(), "{body}");
        let condition = json!({"where": body.get("where").cloned().unwrap_or_default()});
        let counted = client.post("/api/employees/_count", &condition).expect(200);
        let parameters =
            parameters.split('&').find(|part| part.starts_with("filter")).unwrap_or_default().to_string();
        assert_eq!(counted["count"], client.list(&format!("/api/employees?{parameters}")).len(), "{body}");
    }
    // A list below a resource, and pages by token and by number.
    let nested = client
        .post("/api/divisions/D1/staff/_query", &json!({"where": {"lesser": {"key": "age", "value": 40}}}));
    assert_eq!(ids(&nested.expect(200)), ["E2"]);
    assert_eq!(client.post("/api/divisions/D1/sections/_count", &json!({})).expect(200)["count"], 1);
    let mut body = json!({"order": "-age", "size": 2});
    let first = client.post("/api/employees/_query", &body).expect(200);
    assert_eq!(ids(&first), ["E1", "E2"]);
    body["page_token"] = first["next"].clone();
    let second = client.post("/api/employees/_query", &body).expect(200);
    assert_eq!((ids(&second), &second["next"]), (vec!["E3"], &Json::Null));
    body["where"] = json!({"exist": {"key": "age"}});
    client.post("/api/employees/_query", &body).problem(400, "page-token");
    let from =
        client.post("/api/employees/_query", &json!({"order": "-age", "start": 1, "size": 1})).expect(200);
    assert_eq!(ids(&from), ["E2"]);
    let on = json!({"order": "-age", "size": 1, "page_token": from["next"]});
    assert_eq!(ids(&client.post("/api/employees/_query", &on).expect(200)), ["E3"]);
    let behind = client.post("/api/employees/_query", &json!({"start": 3})).expect(200);
    assert_eq!((ids(&behind), &behind["next"]), (vec![], &Json::Null));
    company.end();
}

#[test]
fn what_is_wrong_with_what_is_asked_is_told() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let query = "/api/employees/_query";
    let cases = [
        (json!({"wher": {}}), "parameter", "parameter /wher"),
        (json!({"size": 1_001}), "parameter", "parameter /size"),
        (json!({"size": 0}), "parameter", "parameter /size"),
        (json!({"start": 10_000}), "parameter", "parameter /start"),
        (json!({"start": -1}), "parameter", "parameter /start"),
        (json!({"start": 1, "page_token": "x"}), "parameter", "parameter /start"),
        (json!({"count": 1}), "parameter", "parameter /count"),
        (json!({"order": [1]}), "parameter", "parameter /order"),
        (json!({"fields": "nme"}), "parameter", "parameter ?fields"),
        (json!({"where": {"kv": {"key": "aeg", "value": 1}}}), "filter", "filter /where/kv/key"),
        (
            json!({"where": {"or": [{"exist": {"key": "age"}}, {"expr": "age >"}]}}),
            "filter",
            "filter /where/or/1/expr",
        ),
        (json!({"order": "nme"}), "order", "parameter ?order"),
    ];
    for (body, code, error) in cases {
        let reply = client.post(query, &body);
        reply.problem(400, code);
        assert_eq!(reply.errors(), [error], "{body}");
    }
    client.post(query, &json!([])).problem(400, "body");
    client.get(query).problem(405, "method-not-allowed");
    client.post(&format!("{query}?limit=1"), &json!({})).problem(400, "parameter");
    client.post("/api/employees/E1/_query", &json!({})).problem(404, "not-found");
    client.post("/api/nothing/_query", &json!({})).problem(404, "not-found");
    client.post("/api/employees/_search", &json!({})).problem(404, "not-found");
    client.post("/api/employees/_count", &json!({"size": 1})).problem(400, "parameter");
    company.end();
}

#[test]
fn an_update_by_query_changes_what_matches_in_one_revision() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let update = "/api/employees/_update";
    let before = client.get("/api/employees").revision();
    let body = json!({"where": {"greater": {"key": "age", "value": 30}}, "patch": {"level": "upper"}});
    let reply = client.post(update, &body);
    // E1 is `upper` already.
    assert_eq!(reply.expect(200), json!({"matched": 2, "changed": 1, "revision": (before + 1).to_string()}));
    assert_eq!(reply.revision(), before + 1);
    assert_eq!(client.read("/api/employees/E2")["level"], "upper");
    assert_eq!(client.read("/api/employees/E3")["level"], "mid");
    // All are looked at before the first changes: nobody's name decides about another.
    let renames = json!({"where": {"expr": "boss.name = 'ned' or name = 'ned'"}, "patch": {"name": "nemo"}});
    let reply = client.post(update, &renames).expect(200);
    assert_eq!((&reply["matched"], &reply["changed"]), (&json!(3), &json!(3)));
    let counted = json!({
        "patch": [{"inc": {"key": "age", "by": 1}}, {"add": {"key": "tags", "value": "t"}}],
        "content_type": "application/vnd.corollary.update+json",
    });
    assert_eq!(client.post(update, &counted).expect(200)["changed"], 3);
    let patched = json!({
        "where": {"exist": {"key": "boss"}},
        "patch": [{"op": "test", "path": "/tags/0", "value": "t"}, {"op": "copy", "from": "/name", "path": "/nick"}],
        "content_type": "application/json-patch+json",
    });
    assert_eq!(client.post(update, &patched).expect(200)["changed"], 2);
    let all = client.list("/api/employees?fields=age,nick,name");
    let shown: Vec<_> = all.iter().map(|item| (item["age"].clone(), item.get("nick").cloned())).collect();
    assert_eq!(
        shown,
        [(json!(42), None), (json!(32), Some(json!("nemo"))), (json!(22), Some(json!("nemo")))]
    );
    assert_eq!(client.read("/api/divisions/D1")["age_total"], 74);
    // One that is refused refuses all, and is named.
    let state = client.list("/api/employees");
    let too_old = json!({"patch": [{"inc": {"key": "age", "by": 120}}], "content_type": "application/vnd.corollary.update+json"});
    let problem = client.post(update, &too_old).problem(422, "max");
    assert!(problem["detail"].as_str().unwrap().starts_with("Employee E1: "), "{problem}");
    client.post(update, &json!({"patch": {"age": "x"}})).problem(422, "type");
    client.post(update, &json!({"patch": {"_id": "E9"}})).problem(400, "parameter");
    client.post(update, &json!({"where": {}})).problem(400, "parameter");
    client.post(update, &json!({"patch": {}, "content_type": "text/plain"})).problem(400, "parameter");
    assert_eq!(client.list("/api/employees"), state);
    let nobody = json!({"where": {"greater": {"key": "age", "value": 99}}, "patch": {"level": "mid"}});
    let reply = client.post(update, &nobody).expect(200);
    assert_eq!((&reply["matched"], &reply["changed"]), (&json!(0), &json!(0)));
    company.end();
}

#[test]
fn a_delete_by_query_needs_a_condition_and_takes_what_hangs_on_it() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let delete = "/api/employees/_delete";
    for body in [json!({}), json!({"where": {}}), json!({"where": null})] {
        client.post(delete, &body).problem(400, "empty-condition");
    }
    client.request("POST", delete, &[], b"").problem(400, "empty-condition");
    client.post(delete, &json!({"where": {"and": []}})).problem(400, "filter");
    assert_eq!(client.ids("/api/employees").len(), 3);
    // A badge goes with its owner; who is linked by `restrict` stays, and so do all.
    client.post("/api/badges", &json!({"_id": "B1", "owner": "E2"})).expect(201);
    client.post("/api/desks", &json!([{"_id": "K1"}, {"_id": "K2"}])).expect(201);
    client.patch("/api/employees/E3", &json!({"desk": "K2"})).expect(200);
    client.post("/api/desks/_delete", &json!({"where": {"expr": "true"}})).problem(409, "restrict");
    assert_eq!(client.ids("/api/desks"), ["K1", "K2"]);
    let younger = json!({"where": {"lesser": {"key": "age", "value": 40}}});
    let reply = client.post(delete, &younger).expect(200);
    assert_eq!((&reply["matched"], &reply["changed"]), (&json!(2), &json!(2)));
    assert_eq!(client.ids("/api/employees"), ["E1"]);
    assert_eq!(client.ids("/api/badges"), [""; 0]);
    assert_eq!(client.read("/api/divisions/D1")["heads"], 1);
    // Of a chain that cascades, each is deleted once.
    client.post("/api/divisions/D1/sections", &json!([{"name": "a"}, {"name": "b", "total": 2}])).expect(201);
    let reply =
        client.post("/api/divisions/D1/sections/_delete", &json!({"where": {"expr": "true"}})).expect(200);
    assert_eq!(reply["changed"], 2);
    client.patch("/api/divisions/D1", &json!({"managers": ["E1"]})).expect(200);
    client
        .post("/api/divisions/D1/managers/_delete", &json!({"where": {"expr": "true"}}))
        .problem(405, "method-not-allowed");
    company.end();
}
