//! Resources among others: children, links, deletion, and writes of many at once.

use crate::common::company::Company;
use crate::common::*;

#[test]
fn nested_resources_have_one_canonical_path() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let created =
        client.post("/api/divisions/D1/sections", &json!({"_id": "S1", "name": "one", "total": 30}));
    assert_eq!(created.expect(201)["_self"], "/api/divisions/D1/sections/S1");
    assert_eq!(created.header("location"), Some("/api/divisions/D1/sections/S1"));
    client
        .post("/api/divisions/D1/sections", &json!([{"_id": "S2", "name": "two", "total": 10}]))
        .expect(201);
    client.post("/api/divisions/D2/sections", &json!({"_id": "S3", "name": "three"})).expect(201);
    let member = client.post("/api/divisions/D1/sections/S1/members", &json!({"_id": "M1", "name": "m"}));
    let path = "/api/divisions/D1/sections/S1/members/M1";
    assert_eq!(member.expect(201)["_self"], path);
    let read = client.get(path);
    assert_eq!((read.expect(200)["name"].as_str(), read.header("content-location")), (Some("m"), Some(path)));
    assert_eq!(client.ids("/api/divisions/D1/sections"), ["S1", "S2"]);
    assert_eq!(client.ids("/api/divisions/D2/sections"), ["S3"]);
    client.get("/api/divisions/D2/sections/S1").problem(404, "not-found");
    client.patch("/api/divisions/D2/sections/S1", &json!({"total": 0})).problem(404, "not-found");
    let division = client.read("/api/divisions/D1");
    assert_eq!((&division["sold"], &division["teams"]), (&json!(40), &json!(1)));
    let section = client.patch("/api/divisions/D1/sections/S1", &json!({"total": 90})).expect(200);
    assert_eq!(section["share"], 0.9);
    // Through a link the resource is the one there.
    let through = client.get("/api/employees/E2/boss");
    assert_eq!(through.expect(200)["_self"], "/api/employees/E1");
    assert_eq!(through.header("content-location"), Some("/api/employees/E1"));
    assert_eq!(client.read("/api/employees/E2/division/sections/S1/members/M1")["_self"], path);
    assert_eq!(client.read("/api/employees/E2")["boss"], json!({"_id": "E1", "_self": "/api/employees/E1"}));
    company.end();
}

/// A PUT that creates below a parent made a resource without that parent: it was in no collection, its path was
/// `/api/_/ID`, and no sum knew of it.
#[test]
fn a_put_below_a_parent_creates_a_child() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let absent = [("if-none-match", "*")];
    let body = json!({"name": "one", "total": 5});
    let created = client.with("PUT", "/api/divisions/D1/sections/S1", &absent, &body).expect(201);
    assert_eq!(created["_self"], "/api/divisions/D1/sections/S1");
    assert_eq!(client.ids("/api/divisions/D1/sections"), ["S1"]);
    assert_eq!(client.read("/api/divisions/D1")["sold"], 5);
    client.with("PUT", "/api/divisions/D9/sections/S2", &absent, &body).problem(404, "not-found");
    // Another parent's child is not there, but its id is taken.
    client.with("PUT", "/api/divisions/D2/sections/S1", &absent, &body).problem(404, "not-found");
    // What is only linked, or follows, is not created there.
    let person = json!({"name": "ann"});
    for list in ["managers", "staff", "older"] {
        let path = format!("/api/divisions/D1/{list}/A");
        let reply = client.with("PUT", &path, &absent, &person);
        assert!(matches!(reply.status, 404 | 405), "{path}: {}", reply.text());
    }
    client.get("/api/employees/A").problem(404, "not-found");
    company.end();
}

#[test]
fn links_are_added_and_removed_as_often_as_asked() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let list = "/api/divisions/D1/managers";
    client.post(list, &json!({"_id": "E1"})).expect(200);
    let twice = client.post(list, &json!({"_id": "E1"}));
    assert_eq!(twice.expect(200)["managers"].as_array().unwrap().len(), 1);
    let revision = twice.revision();
    assert_eq!(client.post(list, &json!({"_self": "/api/employees/E1"})).revision(), revision);
    client.post(list, &json!({"_id": "E3"})).expect(200);
    assert_eq!(client.ids(list), ["E1", "E3"]);
    assert_eq!(client.read("/api/divisions/D1/managers/E3")["name"], "fred");
    for target in [json!({"_id": "E9"}), json!({"_id": "D1"})] {
        let reply = client.post(list, &target);
        assert_eq!((reply.status, reply.errors()), (422, vec!["link /managers".into()]));
    }
    client.post(list, &json!({"id": "E1"})).problem(422, "type");
    let reply = client.patch("/api/employees/E1", &json!({"division": "D9", "boss": "D1"}));
    assert_eq!((reply.status, reply.errors()), (422, vec!["link /boss".into(), "link /division".into()]));
    assert_eq!(client.delete("/api/divisions/D1/managers/E1").status, 204);
    assert_eq!(client.delete("/api/divisions/D1/managers/E1").status, 204);
    assert_eq!(client.ids(list), ["E3"]);
    assert_eq!(client.read("/api/employees/E1")["name"], "ned");
    // Every form of a link is understood.
    for form in
        [json!("E1"), json!({"_id": "E1"}), json!({"_self": "/api/employees/E1"}), json!("/api/employees/E1")]
    {
        client.patch("/api/employees/E3", &json!({"boss": null})).expect(200);
        assert_eq!(client.patch("/api/employees/E3", &json!({"boss": form})).expect(200)["boss_name"], "ned");
    }
    client.patch("/api/employees/E3", &json!({"boss": "/api/divisions/D1"})).problem(422, "link");
    company.end();
}

#[test]
fn a_deletion_does_what_the_links_say() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    client.post("/api/desks", &json!({"_id": "T", "place": "window"})).expect(201);
    client.patch("/api/employees/E1", &json!({"desk": "T"})).expect(200);
    client
        .post("/api/badges", &json!([{"_id": "B1", "owner": "E1"}, {"_id": "B3", "owner": "E3"}]))
        .expect(201);
    client.post("/api/divisions/D1/managers", &json!({"_id": "E1"})).expect(200);
    client.post("/api/divisions/D1/sections", &json!({"_id": "S1", "name": "one", "total": 30})).expect(201);
    client.post("/api/divisions/D1/sections/S1/members", &json!({"_id": "M1", "name": "m"})).expect(201);
    let reply = client.delete("/api/desks/T");
    reply.problem(409, "restrict");
    assert!(reply.text().contains("Desk T is linked by `desk` of Employee E1"));
    // Unlinked where nothing else is said, deleted where it cascades; what is derived follows.
    assert_eq!(client.delete("/api/employees/E1").status, 204);
    client.get("/api/employees/E1").problem(404, "not-found");
    assert_eq!(client.ids("/api/badges"), ["B3"]);
    let bob = client.read("/api/employees/E2");
    assert_eq!((bob.get("boss"), bob.get("boss_name")), (None, None));
    let division = client.read("/api/divisions/D1");
    assert_eq!((&division["heads"], &division["age_total"]), (&json!(1), &json!(31)));
    assert_eq!(division["managers"], json!([]));
    assert_eq!(client.delete("/api/desks/T").status, 204);
    // A parent takes its children with it.
    assert_eq!(client.delete("/api/divisions/D1").status, 204);
    client.get("/api/divisions/D1/sections/S1").problem(404, "not-found");
    assert_eq!(client.read("/api/employees/E2").get("division"), None);
    client.post("/api/divisions", &json!({"_id": "D1", "name": "again"})).expect(201);
    assert_eq!(client.ids("/api/divisions/D1/sections"), Vec::<String>::new());
    assert_eq!(client.read("/api/divisions/D1")["sold"], 0);
    company.end();
}

#[test]
fn many_are_created_all_or_none() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let reply =
        client.post("/api/employees", &json!([{"_id": "A", "name": "ann"}, {"name": "bea", "boss": "A"}]));
    let created = reply.expect(201);
    assert_eq!((&created[0]["_id"], &created[1]["boss_name"]), (&json!("A"), &json!("ann")));
    assert_eq!(created[1]["_revision"], created[0]["_revision"]);
    let ndjson = [("content-type", "application/x-ndjson")];
    let lines = b"{\"_id\": \"N1\", \"name\": \"nan\"}\n\n  {\"_id\": \"N2\", \"name\": \"nat\"}";
    let created = client.request("POST", "/api/employees", &ndjson, lines).expect(201);
    assert_eq!((created.as_array().unwrap().len(), &created[1]["_id"]), (2, &json!("N2")));
    assert_eq!(client.post("/api/employees", &json!([])).expect(201), json!([]));
    let before = client.ids("/api/employees");
    let reply = client.post(
        "/api/employees",
        &json!([{"name": "xx"}, {"name": "x", "age": -1}, {"name": "yy"}, {"nme": "zz"}]),
    );
    assert_eq!(reply.status, 422);
    let expected = ["1 min /age", "1 min_length /name", "3 required /name", "3 unknown-field /nme"];
    assert_eq!(reply.errors(), expected);
    let reply = client.post("/api/employees", &json!([{"name": "xx"}, {"_id": "A", "name": "yy"}]));
    assert_eq!((reply.status, reply.errors()), (409, vec!["1 exists".into()]));
    let reply = client.post(
        "/api/employees",
        &json!([{"name": "xx", "email": "e@x"}, {"name": "yy", "email": "f@x"}, {"name": "zz", "email": "e@x"}]),
    );
    assert_eq!(reply.status, 409);
    assert!(reply.errors().contains(&"2 unique /email".into()), "{:?}", reply.errors());
    let reply = client.post("/api/employees", &json!([{"name": "xx"}, {"name": "yy", "boss": "E9"}]));
    assert_eq!((reply.status, reply.errors()), (422, vec!["1 link /boss".into()]));
    client.post("/api/employees", &json!([{"name": "xx"}, 5])).problem(400, "body");
    let reply = client.request("POST", "/api/employees", &ndjson, b"{\"name\": \"xx\"}\n{\"name\"\n");
    assert!(reply.problem(400, "json")["detail"].as_str().unwrap().starts_with("line 2: "));
    client.post("/api/divisions/D1/staff", &json!([{"name": "xx"}])).problem(405, "method-not-allowed");
    client.post("/api/employees/E1", &json!([{"name": "xx"}])).problem(405, "method-not-allowed");
    assert_eq!(client.ids("/api/employees"), before);
    company.end();
}

#[test]
fn a_batch_is_one_transaction() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let reply = client.post(
        "/api/_batch",
        &json!([
            {"method": "POST", "path": "/api/divisions", "body": {"name": "new"}},
            {"method": "POST", "path": "$0._self/sections", "body": {"name": "one", "total": 5}},
            {"method": "POST", "path": "$1._self/members", "body": {"name": "m"}},
            {"method": "POST", "path": "/api/employees", "body": {"_id": "A", "name": "ann", "age": 50, "division": "$0._id"}},
            {"method": "PATCH", "path": "/api/employees/$3._id", "body": {"boss": {"_id": "$3._id"}}},
            {"method": "PUT", "path": "/api/employees/E1", "body": {"name": "ned", "notes": ["$5.00", "$0.x", "$"]}},
            {"method": "DELETE", "path": "/api/employees/E3"},
            {"method": "GET", "path": "$0._self"},
        ]),
    );
    let items = reply.expect(200);
    let statuses: Vec<u64> =
        items.as_array().unwrap().iter().map(|it| it["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 201, 201, 201, 200, 200, 204, 200]);
    let division = &items[7]["body"];
    assert_eq!(
        (&division["heads"], &division["sold"], &division["teams"]),
        (&json!(1), &json!(5), &json!(1))
    );
    assert_eq!(items[4]["body"]["boss_name"], "ann");
    let member = items[2]["body"]["_self"].as_str().unwrap();
    assert_eq!(client.read(member)["name"], "m");
    let revision = reply.revision().to_string();
    for item in items.as_array().unwrap().iter().filter(|item| item["status"] != 204) {
        assert_eq!(item["body"]["_revision"], revision, "{item}");
    }
    // One bad item, and nothing is written.
    let before = client.get("/api/employees");
    for (bad, status, error) in [
        (
            json!({"method": "PATCH", "path": "/api/employees/A", "body": {"age": "x"}}),
            422,
            Some("1 type /age"),
        ),
        (
            json!({"method": "PATCH", "path": "/api/employees/A", "body": {"boss": "E9"}}),
            422,
            Some("1 link /boss"),
        ),
        (json!({"method": "DELETE", "path": "/api/employees/E9"}), 404, Some("1 not-found")),
        (
            json!({"method": "PATCH", "path": "/api/employees/A", "body": {}, "if_match": "\"1\""}),
            412,
            Some("1 precondition"),
        ),
        (
            json!({"method": "POST", "path": "/api/employees", "body": {"_id": "A", "name": "xx"}}),
            409,
            Some("1 exists"),
        ),
        (json!({"method": "GET", "path": "/api/employees"}), 400, None),
        (json!({"method": "BREW", "path": "/api/employees"}), 400, None),
        (json!({"method": "GET", "path": "/api/employes/A"}), 404, None),
        (json!({"method": "GET", "path": "$1._self"}), 400, None),
        (json!({"method": "GET", "path": "$0._elf"}), 400, None),
        (json!({"method": "GET", "path": "/api/employees/A", "if-match": "1"}), 400, None),
        (json!("x"), 400, None),
    ] {
        let good = json!({"method": "PATCH", "path": "/api/employees/A", "body": {"age": 99}});
        let reply = client.post("/api/_batch", &json!([good, bad]));
        let problem = reply.problem(status, reply.json()["code"].as_str().unwrap());
        assert!(problem["detail"].as_str().unwrap().starts_with("item 1: "), "{problem}");
        if let Some(error) = error {
            assert_eq!(reply.errors(), [error]);
        }
    }
    assert_eq!(client.get("/api/employees").json(), before.json());
    client.post("/api/_batch", &json!({"method": "GET"})).problem(400, "body");
    assert_eq!(client.post("/api/_batch", &json!([])).expect(200), json!([]));
    // A lock that holds.
    let tag = client.read("/api/employees/A")["_revision"].clone();
    let item = json!({"method": "PATCH", "path": "/api/employees/A", "body": {"age": 51}, "if_match": tag});
    assert_eq!(client.post("/api/_batch", &json!([item])).expect(200)[0]["body"]["age"], 51);
    company.end();
}

/// A batch could not add to the links of a resource that it had created itself: the path was looked up in the state
/// before the batch, where there is none.
#[test]
fn a_batch_links_from_what_it_has_just_created() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let reply = client.post(
        "/api/_batch",
        &json!([
            {"method": "POST", "path": "/api/divisions", "body": {"_id": "D3", "name": "new"}},
            {"method": "POST", "path": "$0._self/managers", "body": {"_id": "E1"}},
            {"method": "POST", "path": "/api/divisions/D3/managers", "body": {"_id": "E2"}},
        ]),
    );
    reply.expect(200);
    assert_eq!(client.ids("/api/divisions/D3/managers"), ["E1", "E2"]);
    let alone = json!([{"method": "POST", "path": "/api/divisions/D4/managers", "body": {"_id": "E1"}}]);
    client.post("/api/_batch", &alone).problem(404, "not-found");
    company.end();
}

/// A resource with more than 256 parents was created, since the engine allows 1,024, and then neither it nor a list that
/// showed it could be read: the path had a limit of its own.
#[test]
fn a_resource_below_many_parents_can_be_read() {
    let place = Place::new("type Folder in folders { name: str, sub: collection Folder }");
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/folders", &json!({"_id": "0"})).expect(201);
    let mut path = "/api/folders/0".to_string();
    for n in 1..300 {
        let made = client.post(&format!("{path}/sub"), &json!({"_id": n.to_string()})).expect(201);
        path = made["_self"].as_str().unwrap().to_string();
    }
    assert_eq!(client.read(&path)["_id"], "299");
    assert_eq!(client.list("/api/folders?limit=1000").len(), 300);
    server.stop();
    place.check();
}
