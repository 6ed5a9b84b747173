//! Paths that go on behind a name: fields, what all members have together, conditions midway; and paths that lead nowhere.

use crate::common::company::Company;
use crate::common::*;

fn staffed() -> Company {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let sections =
        json!([{"_id": "S1", "name": "one", "total": 30}, {"_id": "S2", "name": "two", "total": 300}]);
    client.post("/api/divisions/D1/sections", &sections).expect(201);
    client.post("/api/divisions/D2/sections", &json!({"_id": "S3", "name": "a/b", "total": 500})).expect(201);
    for (section, member) in [("D1/sections/S1", "M1"), ("D1/sections/S2", "M2"), ("D2/sections/S3", "M3")] {
        let path = format!("/api/divisions/{section}/members");
        client.post(&path, &json!({"_id": member, "name": member})).expect(201);
    }
    company
}

#[test]
fn fields_are_read_by_their_paths() {
    let mut company = staffed();
    let client = &mut company.client;
    let address = json!({"city": "Rome", "street": "Via"});
    client
        .patch("/api/employees/E2", &json!({"address": address, "tags": ["b", "a"], "price": "10.50"}))
        .expect(200);
    for (path, value) in [
        ("/api/divisions/D1.name", json!("sales")),
        ("/api/divisions/D1.heads", json!(2)),
        ("/api/employees/E2.price", json!("10.50")),
        ("/api/employees/E2.address", address.clone()),
        ("/api/employees/E2.address.city", json!("Rome")),
        ("/api/employees/E2.boss.name", json!("ned")),
        ("/api/employees/E2/boss.name", json!("ned")),
        ("/api/employees/E2.boss.boss.name", Json::Null),
        ("/api/employees/E1.address", Json::Null),
        ("/api/divisions/D1/sections/S2.share", json!(300.0 / 330.0)),
    ] {
        let reply = client.get(path);
        assert_eq!(reply.expect(200), value, "{path}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert!(reply.revision() > 0);
    }
    assert_eq!(client.read("/api/employees/E2.tags")["results"], json!(["a", "b"]));
    // A link leads to the resource, with all that reads of one take.
    let boss = client.get("/api/employees/E2.boss?fields=name");
    assert_eq!(boss.expect(200)["_self"], "/api/employees/E1");
    assert_eq!(boss.header("content-location"), Some("/api/employees/E1"));
    client.get("/api/employees/E1.boss").problem(404, "not-found");
    company.end();
}

#[test]
fn what_all_members_have_is_read_at_once() {
    let mut company = staffed();
    let client = &mut company.client;
    for (path, values) in [
        ("/api/divisions/D1/sections.total", json!([30, 300])),
        ("/api/divisions/D1/sections[total > 100].name", json!(["two"])),
        ("/api/divisions/D1.sections[total > 100].name", json!(["two"])),
        ("/api/divisions.sections.total", json!([30, 300, 500])),
        ("/api/divisions[name = 'sales'].sections.total", json!([30, 300])),
        ("/api/divisions.sections[total > 100].members.name", json!(["M2", "M3"])),
        ("/api/divisions.sections[name = 'a/b'].members.name", json!(["M3"])),
        ("/api/divisions[code = 'none'].name", json!([])),
        ("/api/employees.boss.name", json!(["ned"])),
    ] {
        let encoded = path.replace(' ', "%20").replace('>', "%3E").replace('\'', "%27");
        let told = client.read(&encoded);
        assert_eq!(told["results"], values, "{path}");
        assert!(told["next"].is_null() && told["revision"].is_string());
        let brackets = encoded.replace('[', "%5B").replace(']', "%5D").replace("a/b", "a%2Fb");
        assert_eq!(client.read(&brackets), told, "{brackets}");
    }
    assert_eq!(client.read("/api/divisions.sections.total?count=true")["count"], 3);
    // Resources are a list like any other, page by page.
    let path = "/api/divisions.sections%5Btotal%3E100%5D.members";
    assert_eq!(client.ids(path), ["M2", "M3"]);
    assert_eq!(client.ids(&format!("{path}?limit=1")), ["M2", "M3"]);
    assert_eq!(client.ids(&format!("{path}?order=-name&fields=name")), ["M3", "M2"]);
    assert_eq!(client.ids(&format!("{path}?filter=name='M3'")), ["M3"]);
    assert_eq!(client.ids("/api/employees%5Bage%3E30%5D"), ["E1", "E2"]);
    company.end();
}

/// An id may have dots: it is the id that is meant where somebody has it.
#[test]
fn ids_with_dots_go_before_fields() {
    let mut company = staffed();
    let client = &mut company.client;
    client
        .post("/api/employees", &json!([{"_id": "e.name", "name": "dotted"}, {"_id": "e", "name": "plain"}]))
        .expect(201);
    client.post("/api/employees", &json!({"_id": "bob.1", "name": "bob"})).expect(201);
    assert_eq!(client.read("/api/employees/e.name")["_id"], "e.name");
    assert_eq!(client.read("/api/employees/e.name.name"), "dotted");
    assert_eq!(client.read("/api/employees/e.age"), Json::Null);
    assert_eq!(client.read("/api/employees/bob.1.name"), "bob");
    client.delete("/api/employees/e.name").expect(204);
    assert_eq!(client.read("/api/employees/e.name"), "plain");
    // A dot that is percent-encoded is part of a name.
    client.get("/api/employees/e%2Ename").problem(404, "not-found");
    // What is written is the resource, never a field.
    client.delete("/api/employees/e.name").problem(404, "not-found");
    assert_eq!(client.read("/api/employees/e")["name"], "plain");
    company.end();
}

#[test]
fn wrong_paths_name_the_step() {
    let mut company = staffed();
    let client = &mut company.client;
    for (path, status, code, says) in [
        ("/api/divisions/D1.nmae", 404, "not-found", "did you mean `name`?"),
        ("/api/divisions/D1/sections.totl", 404, "not-found", "did you mean `total`?"),
        ("/api/divisions.sections.mebers.name", 404, "not-found", "did you mean `members`?"),
        ("/api/divisons.name", 404, "not-found", "did you mean `divisions`?"),
        ("/api/divisions/D1/sectoins.total", 404, "not-found", "did you mean `sections`?"),
        ("/api/divisions/D9.name", 404, "not-found", "D9"),
        ("/api/divisions/D1/sections/S9.name", 404, "not-found", "S9"),
        ("/api/divisions/D1.name.size", 404, "not-found", "size"),
        ("/api/divisions/D1/sections%5Btotl%3E1%5D.name", 400, "filter", "did you mean `total`?"),
        ("/api/divisions/D1/sections%5Btotal%3E.name", 400, "path", ""),
        ("/api/divisions/D1.name%2B1", 400, "path", "no path"),
        ("/api/divisions.sections.total?filter=true", 400, "parameter", "`filter`"),
        ("/api/divisions.sections.total?watch=true&limit=5", 400, "parameter", "limit"),
    ] {
        let problem = client.get(path).problem(status, code);
        assert!(problem["detail"].as_str().unwrap().contains(says), "{path}: {problem}");
    }
    company.end();
}
