//! Resources over HTTP: what can be written, what comes back, and what an error says.

use std::thread;

use crate::common::company::Company;
use crate::common::*;

#[test]
fn what_is_created_is_shown_as_it_is_stored() {
    let mut company = Company::new();
    let client = &mut company.client;
    let created = client.post("/api/employees", &json!({"name": "ned"}));
    let body = created.expect(201);
    let id = body["_id"].as_str().unwrap();
    let path = format!("/api/employees/{id}");
    assert_eq!(created.header("location"), Some(path.as_str()));
    assert_eq!(body["_self"], path);
    assert_eq!(created.header("etag").unwrap(), format!("\"{}\"", body["_revision"].as_str().unwrap()));
    assert_eq!(created.revision().to_string(), body["_revision"]);
    let read = client.get(&path);
    assert_eq!(read.expect(200), body);
    assert_eq!(read.header("etag"), created.header("etag"));
    // Optional fields that nobody set are absent, those with defaults are there.
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["_id", "_self", "_revision", "name", "level", "created"]);
    assert_eq!(body["level"], "mid");
    // An id of the client's own; the second of the same is refused.
    let named = client.post("/api/employees", &json!({"_id": "bob.1", "name": "bob"})).expect(201);
    assert_eq!(named["_self"], "/api/employees/bob.1");
    client.post("/api/employees", &json!({"_id": "bob.1", "name": "bob"})).problem(409, "exists");
    client.post("/api/employees", &json!({"_id": "a/b", "name": "bob"})).problem(422, "id");
    let head = client.request("HEAD", "/api/employees/bob.1", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    company.end();
}

#[test]
fn defaults_are_given_once_and_null_takes_a_value_away_where_it_may() {
    let mut company = Company::new();
    let client = &mut company.client;
    let one = client.post("/api/employees", &json!({"name": "ned", "nick": null})).expect(201);
    thread::sleep(std::time::Duration::from_millis(2));
    let two = client.post("/api/employees", &json!({"name": "bob"})).expect(201);
    assert_ne!(one["created"], two["created"], "a computed default is computed for each");
    assert_eq!(one.get("nick"), Some(&Json::Null), "an explicit null is kept where it is allowed");
    assert_eq!(two.get("nick"), None);
    let path = one["_self"].as_str().unwrap();
    let patched = client.patch(path, &json!({"age": 5})).expect(200);
    assert_eq!((&patched["created"], &patched["level"]), (&one["created"], &one["level"]));
    let cleared = client.patch(path, &json!({"age": null, "level": null})).expect(200);
    assert_eq!((cleared.get("age"), cleared.get("level")), (None, None));
    client.patch(path, &json!({"name": null})).problem(422, "required");
    client.post("/api/employees", &json!({"name": "ann", "age": null})).problem(422, "null");
    // A replacement is like a new resource: what it does not name gets its default, or goes.
    let replaced = client.put(path, &json!({"name": "ned"})).expect(200);
    assert_eq!(replaced["level"], "mid");
    assert_eq!((replaced.get("nick"), replaced.get("age")), (None, None));
    assert_ne!(replaced["_revision"], cleared["_revision"]);
    client.put(path, &json!({"age": 3})).problem(422, "required");
    company.end();
}

#[test]
fn values_come_back_without_loss() {
    let mut company = Company::new();
    let client = &mut company.client;
    let cases = [
        ("hired", json!("2021-12-01T10:30:00.123456789+02:00"), json!("2021-12-01T08:30:00.123456789Z")),
        ("hired", json!("2021-12-01T08:30:00Z"), json!("2021-12-01T08:30:00Z")),
        ("born", json!("1980-02-29"), json!("1980-02-29")),
        ("shift", json!("PT8H30M"), json!("PT8H30M")),
        ("price", json!("1234567890123456789012345.678"), json!("1234567890123456789012345.678")),
        ("price", json!("10.50"), json!("10.50")),
        ("price", json!(10.5), json!("10.5")),
        ("price", json!(9_007_199_254_740_993_i64), json!("9007199254740993")),
        ("score", json!(0.1), json!(0.1)),
        ("score", json!(-1e300), json!(-1e300)),
        ("score", json!(5e-324), json!(5e-324)),
        ("score", json!(7), json!(7.0)),
        ("photo", json!("AAH+/w=="), json!("AAH+/w==")),
        ("any", json!({"a": [1, 2.5, null, {"b": "x"}]}), json!({"a": [1, 2.5, null, {"b": "x"}]})),
        ("any", json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_993_i64)),
        ("extra", json!({"b": 1, "a": 2}), json!({"b": 1, "a": 2})),
        ("tags", json!(["b", "a", "b"]), json!(["a", "b"])),
        ("notes", json!(["b", "a", "b"]), json!(["b", "a", "b"])),
        ("address", json!({"city": "Rome \u{1f30d} \"\\\n"}), json!({"city": "Rome \u{1f30d} \"\\\n"})),
        ("email", json!(" Ned@X.Org "), json!("ned@x.org")),
    ];
    for (at, (field, given, shown)) in cases.into_iter().enumerate() {
        let id = format!("v{at}");
        let mut body = json!({"_id": id, "name": "ned"});
        body[field] = given.clone();
        let created = client.post("/api/employees", &body).expect(201);
        assert_eq!(created[field], shown, "{field} {given}");
        let read = client.get(&format!("/api/employees/{id}"));
        assert_eq!(read.json()[field], shown, "{field} {given}");
        // What was shown is understood again, and is the same.
        let again = client.put(&format!("/api/employees/{id}"), &read.json());
        assert_eq!((again.expect(200), again.revision()), (read.json(), read.revision()));
    }
    for age in [i64::MAX, i64::MIN, 9_007_199_254_740_993] {
        let path = "/api/employees/v0";
        let body = format!("{{\"any\": {{\"n\": {age}}}}}");
        client.request("PATCH", path, &[], body.as_bytes()).expect(200);
        assert!(client.get(path).text().contains(&format!("\"n\":{age}}}")), "{age}");
    }
    company.end();
}

#[test]
fn all_errors_of_a_body_are_told_at_once_each_with_its_place() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let bad = json!({
        "_id": "no way",
        "nam": "ned",
        "email": 5,
        "age": "x",
        "level": "top",
        "plate": "x1",
        "hired": "yesterday",
        "born": "2021-02-30",
        "price": "ten",
        "score": "1",
        "photo": "%%%",
        "extra": {"k": "v"},
        "tags": ["a", 1],
        "notes": ["a", "b", "c", "d"],
        "address": {"street": 1, "town": "x"},
        "division": 7,
        "heads": 3,
        "ratio": 1,
    });
    let expected = [
        "enum /level",
        "id /_id",
        "max_length /notes",
        "pattern /plate",
        "read-only /ratio",
        "required /name",
        "type /age",
        "type /born",
        "type /division",
        "type /email",
        "type /extra/k",
        "type /hired",
        "type /photo",
        "type /price",
        "type /score",
        "type /tags/1",
        "type /address/street",
        "unknown-field /address/town",
        "unknown-field /heads",
        "unknown-field /nam",
    ];
    let mut expected: Vec<String> = expected.map(String::from).to_vec();
    expected.sort();
    let reply = client.post("/api/employees", &bad);
    let problem = reply.problem(422, reply.json()["code"].as_str().unwrap());
    assert_eq!(reply.errors(), expected);
    assert!(problem["errors"].to_string().contains("did you mean `name`?"), "{problem}");
    assert_eq!(client.ids("/api/employees"), ["E1", "E2", "E3"]);
    // The same through PUT and PATCH, and nothing has changed.
    let before = client.read("/api/employees/E1");
    let reply = client.put("/api/employees/E1", &bad);
    assert_eq!((reply.status, reply.errors()), (422, expected));
    let reply =
        client.patch("/api/employees/E1", &json!({"name": "x", "age": 151, "address": {"street": "s"}}));
    assert_eq!((reply.status, reply.errors()), (422, vec!["max /age".into(), "min_length /name".into()]));
    let reply = client.patch("/api/employees/E1", &json!({"address": {"street": "s"}}));
    assert_eq!((reply.status, reply.errors()), (422, vec!["required /address/city".into()]));
    assert_eq!(client.read("/api/employees/E1"), before);
    company.end();
}

#[test]
fn a_unique_value_is_given_once_even_to_fifty_at_a_time() {
    let mut company = Company::new();
    let client = &mut company.client;
    client.post("/api/employees", &json!({"name": "ned", "email": "ned@x.org"})).expect(201);
    let reply = client.post("/api/employees", &json!({"name": "bob", "email": "NED@x.org"}));
    reply.problem(409, "unique");
    assert_eq!(reply.errors(), ["unique /email"]);
    let address = &company.server.address;
    let statuses: Vec<u16> = thread::scope(|scope| {
        let one = |at: usize| {
            let body = json!({"name": format!("n{at}"), "email": "one@x.org"});
            Client::new(address).post("/api/employees", &body).status
        };
        let threads: Vec<_> = (0..50).map(|at| scope.spawn(move || one(at))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 49, "{statuses:?}");
    let client = &mut company.client;
    assert_eq!(client.ids("/api/employees?filter=email%3D'one@x.org'").len(), 1);
    // Whoever gives it up leaves it to others.
    let path = client.list("/api/employees?filter=email%3D'one@x.org'")[0]["_self"].clone();
    client.patch(path.as_str().unwrap(), &json!({"email": null})).expect(200);
    client.post("/api/employees", &json!({"name": "next", "email": "one@x.org"})).expect(201);
    company.end();
}

#[test]
fn what_may_not_change_does_not_and_a_change_of_nothing_is_none() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    client.post("/api/employees", &json!({"_id": "i", "name": "ian", "born": "2000-01-01"})).expect(201);
    let before = client.read("/api/employees/i");
    let reply = client.patch("/api/employees/i", &json!({"born": "2000-01-02", "age": 7}));
    assert_eq!((reply.status, reply.errors()), (422, vec!["immutable /born".into()]));
    assert_eq!(client.read("/api/employees/i"), before);
    let once = client.patch("/api/employees/i", &json!({"token": "t"})).expect(200);
    let reply = client.patch("/api/employees/i", &json!({"token": "u"}));
    assert_eq!((reply.status, reply.errors()), (422, vec!["write-once /token".into()]));
    // The same once more: no revision, no event.
    let revision = client.get("/api/employees/i").revision();
    let mut watch = company.server.watch("/api/employees?watch=true");
    watch.synced();
    let facts = json!({"name": "ian", "born": "2000-01-01", "token": "t", "created": once["created"]});
    for reply in [
        client.patch("/api/employees/i", &json!({"token": "t", "name": "ian", "age": null})),
        client.patch("/api/employees/i", &json!({})),
        client.put("/api/employees/i", &facts),
    ] {
        assert_eq!(reply.expect(200), once);
        assert_eq!(reply.revision(), revision);
    }
    client.patch("/api/employees/i", &json!({"age": 8})).expect(200);
    let event = watch.next();
    assert_eq!((event.kind(), &event.data["changed"]), ("modified", &json!(["age", "ratio"])), "{event:?}");
    company.end();
}

#[test]
fn writes_and_reads_heed_entity_tags() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let path = "/api/employees/E1";
    let first = client.get(path).header("etag").unwrap().to_string();
    let body = json!({"name": "ned", "age": 42});
    let second = client.with("PUT", path, &[("if-match", &first)], &body);
    second.expect(200);
    let second = second.header("etag").unwrap().to_string();
    assert_ne!(first, second);
    client.with("PUT", path, &[("if-match", &first)], &body).problem(412, "precondition");
    client.with("PATCH", path, &[("if-match", &first)], &json!({"age": 1})).problem(412, "precondition");
    client.request("DELETE", path, &[("if-match", &first)], b"").problem(412, "precondition");
    client
        .with("PATCH", path, &[("if-match", &format!("{first}, {second}"))], &json!({"age": 43}))
        .expect(200);
    client.with("PATCH", path, &[("if-match", "*")], &json!({"age": 44})).expect(200);
    client
        .with("PATCH", path, &[("if-match", "\"from elsewhere\"")], &json!({}))
        .problem(412, "precondition");
    client.with("PATCH", path, &[("if-match", "bare")], &json!({})).problem(400, "etag");
    // Of two at once with one tag, one succeeds.
    let tag = client.get(path).header("etag").unwrap().to_string();
    let (address, tag) = (&company.server.address, tag.as_str());
    let mut statuses: Vec<u16> = thread::scope(|scope| {
        let put = move |age: i64| {
            let headers = [("if-match", tag)];
            Client::new(address).with("PUT", path, &headers, &json!({"name": "ned", "age": age})).status
        };
        let threads = [scope.spawn(move || put(1)), scope.spawn(move || put(2))];
        threads.map(|thread| thread.join().unwrap()).to_vec()
    });
    statuses.sort();
    assert_eq!(statuses, [200, 412]);
    // A read of what has not changed is short.
    let tag = client.get(path).header("etag").unwrap().to_string();
    let reply = client.request("GET", path, &[("if-none-match", &tag)], b"");
    assert_eq!((reply.status, reply.body.len(), reply.header("etag")), (304, 0, Some(tag.as_str())));
    client.request("GET", path, &[("if-none-match", &first)], b"").expect(200);
    client.request("GET", "/api/employees/none", &[("if-none-match", "*")], b"").problem(404, "not-found");
    company.end();
}

#[test]
fn a_put_creates_only_where_it_says_so() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let absent = [("if-none-match", "*")];
    client.put("/api/employees/new", &json!({"name": "ann"})).problem(404, "not-found");
    let created = client.with("PUT", "/api/employees/new", &absent, &json!({"name": "ann"}));
    assert_eq!(created.expect(201)["_id"], "new");
    assert_eq!(created.header("location"), Some("/api/employees/new"));
    client.with("PUT", "/api/employees/new", &absent, &json!({"name": "bea"})).problem(412, "precondition");
    client.put("/api/employees/new", &json!({"_id": "other", "name": "ann"})).problem(422, "id");
    client.put("/api/employees/new", &json!({"_id": "new", "name": "eve"})).expect(200);
    // Of many at once, one creates; the others are told that their condition does not hold.
    let address = &company.server.address;
    let statuses: Vec<u16> = thread::scope(|scope| {
        let put =
            || Client::new(address).with("PUT", "/api/employees/x", &absent, &json!({"name": "ann"})).status;
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(put)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 19, "{statuses:?}");
    company.end();
}

/// `Accept` was passed over: who asked for what there is not was sent JSON.
#[test]
fn a_reply_that_is_ruled_out_is_refused_before_anything_is_done() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let mut ask = |method: &str, path: &str, accept: &str, body: &str| {
        client.request(method, path, &[("accept", accept)], body.as_bytes())
    };
    let html = "text/html,application/xhtml+xml";
    let refused = ask("GET", "/api/employees/E1", html, "").problem(406, "not-acceptable");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .ends_with("application/json, application/x-ndjson, text/event-stream")
    );
    ask("GET", "/api/employees", "application/json;q=0", "").problem(406, "not-acceptable");
    for path in ["/api", "/api/_features", "/api/_hooks", "/api/_log", "/api/_openapi.json", "/api/_updates"]
    {
        ask("GET", path, "image/png", "").problem(406, "not-acceptable");
    }
    // A browser takes anything, and so does who names no kind.
    for accept in [&format!("{html},*/*;q=0.8"), "", "application/*", "APPLICATION/JSON"] {
        ask("GET", "/api/employees/E1", accept, "").expect(200);
        ask("GET", "/api/_features", accept, "").expect(200);
    }
    // Lines are for lists; who takes JSON as well gets that of one resource.
    ask("GET", "/api/employees/E1", "application/x-ndjson", "").problem(406, "not-acceptable");
    ask("GET", "/api/employees/E1", "application/x-ndjson, application/json;q=0.5", "").expect(200);
    ask("GET", "/api/employees", "application/x-ndjson", "").expect_status(200);
    // Nothing is written whose reply nobody takes.
    let before = ask("GET", "/api", "*/*", "").json()["revision"].clone();
    ask("PATCH", "/api/employees/E1", html, r#"{"age": 77}"#).problem(406, "not-acceptable");
    ask("POST", "/api/employees", "application/x-ndjson", r#"{"name": "New"}"#)
        .problem(406, "not-acceptable");
    ask("POST", "/api/_batch", html, r#"[{"method": "DELETE", "path": "/api/employees/E1"}]"#)
        .problem(406, "not-acceptable");
    ask("POST", "/api/_hooks", html, "{}").problem(406, "not-acceptable");
    assert_eq!(ask("GET", "/api", "*/*", "").json()["revision"], before);
    ask("DELETE", "/api/employees/E1", html, "").expect(204);
    company.end();
}

#[test]
fn who_writes_over_something_says_what_where_that_is_asked() {
    let place = Place::new("type Doc in docs { n: int, more: links Doc, scan: file }");
    let server = Server::start(&place, &["--require-if-match"]);
    let mut client = server.client();
    let told = "precondition-required";
    let made = client.post("/api/docs", &json!({"_id": "a", "n": 1}));
    made.expect(201);
    let tag = made.header("etag").unwrap().to_string();
    client.put("/api/docs/a", &json!({"n": 2})).problem(428, told);
    client.patch("/api/docs/a", &json!({"n": 2})).problem(428, told);
    client
        .request("PATCH", "/api/docs/a", &[("content-type", "application/json-patch+json")], b"[]")
        .problem(428, told);
    client.delete("/api/docs/a").problem(428, told);
    let item = json!([{"method": "PATCH", "path": "/api/docs/a", "body": {"n": 2}}]);
    client.post("/api/_batch", &item).problem(428, told);
    client.request("PUT", "/api/docs/a/scan", &[("content-type", "text/plain")], b"x").problem(428, told);
    client.delete("/api/docs/a/scan").problem(428, told);
    assert_eq!(client.read("/api/docs/a")["n"], 1);

    client.with("PATCH", "/api/docs/a", &[("if-match", &tag)], &json!({"n": 2})).expect(200);
    client.with("PATCH", "/api/docs/a", &[("if-match", &tag)], &json!({"n": 3})).problem(412, "precondition");
    client.with("PUT", "/api/docs/a", &[("if-match", "*")], &json!({"n": 4})).expect(200);
    client.with("PUT", "/api/docs/b", &[("if-none-match", "*")], &json!({"n": 1})).expect(201);
    let revision = client.read("/api/docs/b")["_revision"].clone();
    let item = json!([{"method": "PATCH", "path": "/api/docs/b", "body": {"n": 2}, "if_match": revision}]);
    client.post("/api/_batch", &item).expect(200);
    // What works on whatever is there loses nothing: actions, links one by one, conditions of a change of many.
    let actions = [("content-type", "application/vnd.corollary.update+json")];
    client.request("PATCH", "/api/docs/a", &actions, br#"[{"inc": {"key": "n"}}]"#).expect(200);
    client.post("/api/docs/a/more", &json!({"_id": "b"})).expect(200);
    client.delete("/api/docs/a/more/b").expect(204);
    client.post("/api/docs/_update", &json!({"where": {"expr": "n = 5"}, "patch": {"n": 6}})).expect(200);
    client.request("PUT", "/api/docs/a/scan", &[("if-none-match", "*")], b"x").expect_status(201);
    assert_eq!(client.read("/api/docs/a")["n"], 6);
    drop(server.stop());
    place.check();
}

#[test]
fn requests_that_are_wrong_in_form_are_told_how() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let plain = [("content-type", "text/plain")];
    let reply = client.request("POST", "/api/employees", &plain, b"x").problem(415, "media-type");
    assert!(reply["detail"].as_str().unwrap().contains("application/json, application/x-ndjson"), "{reply}");
    let reply = client.request("PATCH", "/api/employees/E1", &plain, b"{}").problem(415, "media-type");
    assert!(reply["detail"].as_str().unwrap().contains("application/merge-patch+json"), "{reply}");
    for kind in ["application/json-patch+json", "application/vnd.corollary.update+json"] {
        client
            .request("PUT", "/api/employees/E1", &[("content-type", kind)], b"[]")
            .problem(415, "media-type");
    }
    let merge = [("content-type", "application/merge-patch+json; charset=utf-8")];
    client.request("PATCH", "/api/employees/E1", &merge, b"{\"age\": 40}").expect(200);
    let json = [("content-type", "application/json")];
    for body in ["", "{", "{\"age\": 1e999}", "nul", "\u{0}"] {
        client.request("PATCH", "/api/employees/E1", &json, body.as_bytes()).problem(400, "json");
    }
    client.patch("/api/employees/E1", &json!([])).problem(400, "body");
    client.put("/api/employees/E1", &json!("x")).problem(400, "body");
    client.request("POST", "/api/employees", &json, b"\xff\xfe").problem(400, "json");
    let cases = [
        ("POST", "/api/employees/E1", "GET, PUT, PATCH, DELETE"),
        ("PUT", "/api/employees", "GET, POST"),
        ("DELETE", "/api/employees", "GET, POST"),
        ("PATCH", "/api/divisions/D1/staff", "GET"),
        ("POST", "/api/divisions/D1/staff", "GET"),
        ("POST", "/api/divisions/D1/older", "GET"),
        ("GET", "/api/_batch", "POST"),
        ("POST", "/api/_schema", "GET, PUT"),
        ("PUT", "/api/_schema/plan", "POST"),
        ("DELETE", "/healthz", "GET,HEAD"),
        ("OPTIONS", "/api/employees", "GET, POST"),
        ("OPTIONS", "/api/employees/E1", "GET, PUT, PATCH, DELETE"),
        ("BREW", "/api/employees/E1", "GET, PUT, PATCH, DELETE"),
    ];
    for (method, path, allow) in cases {
        let body: &[u8] = if method == "OPTIONS" || method == "BREW" { b"" } else { b"{}" };
        let reply = client.request(method, path, &[], body);
        reply.problem(405, "method-not-allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
    // A method that is not allowed is the first thing to tell, whatever the body is like.
    client.request("POST", "/api/employees/E1", &[], b"").problem(405, "method-not-allowed");
    company.end();
}

#[test]
fn a_body_may_be_eight_mebibytes_and_no_more() {
    let mut company = Company::with_staff();
    let sized = |bytes: usize| {
        let head = "{\"any\": \"";
        format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
    };
    let limit = 8 << 20;
    let client = &mut company.client;
    client.request("PATCH", "/api/employees/E1", &[], sized(limit).as_bytes()).expect(200);
    let reply = client.request("PATCH", "/api/employees/E1", &[], sized(limit + 1).as_bytes());
    assert!(reply.problem(413, "body-limit")["detail"].as_str().unwrap().contains("8388608"));
    let mut client = company.server.client();
    client.request("POST", "/api/_batch", &[], sized(limit + 1).as_bytes()).problem(413, "body-limit");
    let mut client = company.server.client();
    let items: Vec<Json> = (0..10_001).map(|_| json!({"name": "xx"})).collect();
    client.post("/api/employees", &items.into()).problem(413, "batch-limit");
    let read = company.server.client().read("/api/employees/E1");
    assert_eq!(read["any"].as_str().unwrap().len(), limit - 11);
    company.end();
}

#[test]
fn a_path_that_leads_nowhere_says_where_it_ends() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let cases = [
        ("/api/employee", "there is no collection `employee`; did you mean `employees`?"),
        ("/api/employees/E9", "there is no Employee E9"),
        ("/api/employees/E1/divison", "Employee has no field `divison`; did you mean `division`?"),
        ("/api/employees/E1/age", "`age` of Employee is a value, and leads nowhere"),
        ("/api/employees/E1/boss", "`boss` of Employee E1 is empty"),
        ("/api/divisions/D9/sections", "there is no Division D9"),
        ("/api/divisions/D9/staff", "there is no Division D9"),
        ("/api/divisions/D1/sections/S9/members", "there is no Section S9"),
        ("/api/divisions/D1/staff/E3", "there is no Employee E3 here"),
        ("/api/divisions/D1/managers/E1", "there is no Employee E1 here"),
        ("/api/divisions/D1/older/E3", "there is no Employee E3 here"),
        ("/api/_nothing", "there is no `_nothing` in this version"),
        ("/elsewhere", "the API is under /api"),
    ];
    for (path, detail) in cases {
        assert_eq!(client.get(path).problem(404, "not-found")["detail"], detail, "{path}");
    }
    let encoded = client.get("/api/%65mployees/%45%31");
    assert_eq!(encoded.expect(200)["_id"], "E1");
    client.get("/api/employees/%ff").problem(400, "path");
    client.get("/api/employees/a%2Fb").problem(400, "path");
    client.get(&format!("/api/employees/{}", "x".repeat(9_000))).problem(400, "path");
    client.post("/api/divisions/D9/sections", &json!({"name": "x"})).problem(404, "not-found");
    client.post("/api/divisions/D9/sections", &json!([{"name": "x"}])).problem(404, "not-found");
    client.patch("/api/employees/E9", &json!({"age": 1})).problem(404, "not-found");
    client.delete("/api/employees/E9").problem(404, "not-found");
    client.get("/api/employees?watch=maybe").problem(400, "parameter");
    let reply = client.get("/api/employees?limit=0&ordr=age");
    reply.problem(400, "parameter");
    assert_eq!(reply.errors(), ["parameter ?limit", "parameter ?ordr"]);
    assert!(reply.text().contains("did you mean `order`?"));
    company.end();
}

/// JSON nested deeper than what is stored can hold was taken in, and could not be read any more after a restart.
#[test]
fn json_that_is_too_deep_is_refused_and_the_resource_stays_readable() {
    let mut company = Company::with_staff();
    let deep = |depth: usize| format!("{{\"any\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    let object = |depth: usize| format!("{}1{}", "{\"any\":".repeat(depth), "}".repeat(depth));
    for depth in [1, 50, 64, 65, 99, 100, 101, 102, 110, 120, 126, 200] {
        let client = &mut company.client;
        for body in [deep(depth), object(depth)] {
            let reply = client.request("PATCH", "/api/employees/E1", &[], body.as_bytes());
            match reply.status {
                200 => assert!(depth <= 65),
                422 => assert_eq!(reply.errors(), ["too-deep /any"]),
                _ => drop(reply.problem(400, "json")),
            }
        }
    }
    let before = company.client.read("/api/employees/E1");
    let Company { server, place, .. } = company;
    server.kill();
    let server = place.serve();
    let mut client = server.client();
    assert_eq!(client.read("/api/employees/E1"), before);
    let company = Company { server, client, place };
    company.end();
}

/// A decimal written as a JSON number with more digits than a float holds lost the rest without a word.
#[test]
fn a_decimal_is_never_rounded() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    for number in ["12345678901234567890.12", "0.12345678901234567", "1e40", "9007199254740993.5"] {
        let body = format!("{{\"price\": {number}}}");
        let reply = client.request("PATCH", "/api/employees/E1", &[], body.as_bytes());
        assert_eq!((reply.status, reply.errors()), (422, vec!["type /price".into()]), "{number}");
    }
    for (number, shown) in [
        ("1.25", "1.25"),
        ("-0.000001", "-0.000001"),
        ("18446744073709551615", "18446744073709551615"),
        ("123456789012345", "123456789012345"),
    ] {
        let body = format!("{{\"price\": {number}}}");
        let made = client.request("PATCH", "/api/employees/E1", &[], body.as_bytes()).expect(200);
        assert_eq!(made["price"], shown);
    }
    company.end();
}

/// After a rule was tightened, a resource that broke it could not be written back whole any more, not even with another
/// field changed: the unchanged value was refused before anybody looked at what is stored.
#[test]
fn what_was_stored_under_older_rules_may_stay() {
    let place = Place::new("type Thing in things {\n  name: str\n  age: int\n  note: str\n}\n");
    let server = place.serve();
    server.client().post("/api/things", &json!({"_id": "T", "age": 200})).expect(201);
    server.stop();
    place.write(
        "schema.cor",
        "type Thing in things {\n  name: str required\n  age: int max 150\n  note: str\n}\n",
    );
    let server = place.serve();
    let mut client = server.client();
    client.put("/api/things/T", &json!({"age": 200, "note": "a"})).expect(200);
    client.patch("/api/things/T", &json!({"age": 200, "note": "b"})).expect(200);
    let reply = client.put("/api/things/T", &json!({"age": 201, "note": "c"}));
    assert_eq!((reply.status, reply.errors()), (422, vec!["max /age".into()]));
    let reply = client.post("/api/things", &json!({"age": 200}));
    assert_eq!((reply.status, reply.errors()), (422, vec!["max /age".into(), "required /name".into()]));
    client.put("/api/things/T", &json!({"name": "x", "age": 1})).expect(200);
    // Once it keeps the rules it goes on keeping them.
    client.put("/api/things/T", &json!({"age": 1})).problem(422, "required");
    client.patch("/api/things/T", &json!({"age": 200})).problem(422, "max");
    server.stop();
    place.check();
}

/// Who read a resource, changed a fact and sent all of it back was refused for the derived values in it.
#[test]
fn what_was_read_can_be_sent_back() {
    let mut company = Company::new();
    let client = &mut company.client;
    client.post("/api/divisions", &json!({"_id": "d", "name": "sales", "sales": 7})).expect(201);
    client
        .post("/api/employees", &json!({"_id": "e", "name": "ned", "age": 40, "division": "d"}))
        .expect(201);
    client.post("/api/employees", &json!({"_id": "f", "name": "bob", "boss": "e", "age": 0})).expect(201);
    for path in ["/api/divisions/d", "/api/employees/e", "/api/employees/f"] {
        let shown = client.read(path);
        assert_eq!(client.put(path, &shown).expect(200), shown, "nothing has changed");
        assert_eq!(client.patch(path, &shown).expect(200), shown, "nothing has changed");
    }
    let mut shown = client.read("/api/divisions/d");
    assert_eq!(shown["heads"], 1);
    shown["heads"] = json!(2);
    client.put("/api/divisions/d", &shown).problem(422, "read-only");
    client.patch("/api/divisions/d", &json!({"older": []})).problem(422, "read-only");
    client.patch("/api/divisions/d", &json!({"_id": "x", "sales": 1})).problem(422, "id");
    company.end();
}

/// Headers that ask for what this version cannot do were passed over in silence, as were parameters of lists on one
/// resource.
#[test]
fn what_cannot_be_done_is_not_passed_over() {
    let mut company = Company::new();
    let client = &mut company.client;
    client.post("/api/divisions", &json!({"_id": "d", "name": "sales"})).expect(201);
    let last = client.get("/api/divisions/d").revision();
    let at_least = |revision: u64| revision.to_string();
    let request = |client: &mut Client, value: &str| {
        client.request("GET", "/api/divisions/d", &[("corollary-at-least", value)], b"")
    };
    request(client, &at_least(last)).expect(200);
    request(client, &at_least(last + 1)).problem(504, "corollary-at-least");
    request(client, "soon").problem(400, "corollary-at-least");
    client.get("/api/divisions/d?filter=sales%3E1&limit=5").problem(400, "parameter");
    client.get("/api/divisions/d?fields=name").expect(200);
    company.end();
}

#[test]
fn limits_are_set_and_told() {
    let place = Place::new("type Doc in docs { n: int, t: str }");
    let options = ["--max-path-kib", "1", "--max-expression-kib", "1", "--max-batch", "2"];
    let server = Server::start(&place, &options);
    let mut client = server.client();
    let told = |problem: Json, what: &str| {
        assert!(problem["detail"].as_str().unwrap().contains(what), "{problem}");
    };
    client.post("/api/docs", &json!([{"_id": "a"}, {"_id": "b"}])).expect(201);
    told(client.post("/api/docs", &json!([{}, {}, {}])).problem(413, "batch-limit"), "2");
    let three = json!([{"method": "DELETE", "path": "/api/docs/a"}]);
    let long = format!("/api/docs/{}", "x".repeat(1_100));
    told(client.get(&long).problem(400, "path"), "1024");
    told(client.post("/api/_batch", &json!([{"method": "GET", "path": long}])).problem(400, "path"), "1024");
    told(client.post("/api/_move", &json!({"from": long, "to": "/api/docs"})).problem(400, "path"), "1024");
    client.post("/api/_batch", &three).expect(200);
    let filter = format!("t='{}'", "y".repeat(1_100));
    told(client.get(&format!("/api/docs?filter={filter}")).problem(400, "parameter"), "1024");
    let tree = json!({"where": {"expr": filter}});
    for verb in ["_query", "_count", "_update", "_delete"] {
        let mut body = tree.clone();
        if verb == "_update" {
            body["patch"] = json!({"n": 1});
        }
        told(client.post(&format!("/api/docs/{verb}"), &body).problem(400, "parameter"), "1024");
    }
    server.stop();
}
