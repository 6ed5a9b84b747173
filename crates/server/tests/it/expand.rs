//! Expansion: what stands in full, which members of it and what of these; and how often that asks the store.

use crate::common::client::encoded;
use crate::common::company::{COMPANY, Company};
use crate::common::*;

fn staffed() -> Company {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let sections = [("S1", "one", 30), ("S2", "two", 300), ("S3", "three", 200)];
    let sections = sections.map(|(id, name, total)| json!({"_id": id, "name": name, "total": total}));
    client.post("/api/divisions/D1/sections", &json!(sections)).expect(201);
    for (section, member) in [("S2", "M1"), ("S2", "M2"), ("S3", "M3")] {
        let path = format!("/api/divisions/D1/sections/{section}/members");
        client.post(&path, &json!({"_id": member, "name": member})).expect(201);
    }
    company
}

#[track_caller]
fn expanded(client: &mut Client, path: &str, expand: &str) -> Json {
    client.read(&format!("{path}?expand={}", encoded(expand)))
}

/// The ids of a list, joined.
fn ids(list: &Json) -> String {
    let ids = list.as_array().unwrap().iter().map(|it| it["_id"].as_str().unwrap());
    ids.collect::<Vec<_>>().join(" ")
}

#[test]
fn members_are_chosen_ordered_and_cut() {
    let mut company = staffed();
    let client = &mut company.client;
    for (brackets, members) in [
        ("", "S1 S2 S3"),
        ("[total > 100]", "S2 S3"),
        ("[total > 100 order by total]", "S3 S2"),
        ("[order by -total]", "S2 S3 S1"),
        ("[order by total desc limit 2]", "S2 S3"),
        ("[total > 30 order by name limit 1]", "S3"),
        ("[limit 2]", "S1 S2"),
        ("[name in ['one', 'a]b limit 1'] or total = 200]", "S1 S3"),
        ("[count(members) > 0 order by -count(members), name]", "S2 S3"),
        ("[total > 1000]", ""),
    ] {
        let division = expanded(client, "/api/divisions/D1", &format!("sections{brackets}"));
        assert_eq!(ids(&division["sections"]), members, "{brackets}");
        assert_eq!(division["name"], "sales");
        // The same on a list, where all of them are chosen at once.
        let list = expanded(client, "/api/divisions", &format!("sections{brackets}"));
        assert_eq!(list["results"][0]["sections"], division["sections"], "{brackets}");
        assert_eq!(list["results"][1]["sections"], json!([]));
    }
    // Links, inverses and derived lists are lists as well.
    let division = expanded(client, "/api/divisions/D1", "staff[order by -age],older[limit 1]{name}");
    assert_eq!(ids(&division["staff"]), "E1 E2");
    assert_eq!(division["older"].as_array().unwrap().len(), 1);
    client.post("/api/divisions/D1/managers", &json!({"_id": "E3"})).expect(200);
    client.post("/api/divisions/D1/managers", &json!({"_id": "E1"})).expect(200);
    assert_eq!(ids(&expanded(client, "/api/divisions/D1", "managers[age < 40]")["managers"]), "E3");
    assert_eq!(ids(&expanded(client, "/api/divisions/D1", "managers[limit 1]")["managers"]), "E3");
    company.end();
}

#[test]
fn braces_say_what_is_shown_and_go_deeper() {
    let mut company = staffed();
    let client = &mut company.client;
    let names = |value: &Json| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let shown = expanded(
        client,
        "/api/employees/E2",
        "boss{name,age},division.sections[total>100 order by -total]{name,total}",
    );
    assert_eq!(names(&shown["boss"]), "_id _self _revision name age");
    assert!(names(&shown["division"]).contains("sales"), "a step on the way stands in full");
    assert_eq!(ids(&shown["division"]["sections"]), "S2 S3");
    assert_eq!(names(&shown["division"]["sections"][0]), "_id _self _revision name total");
    assert_eq!(shown["division"]["sections"][0]["_self"], "/api/divisions/D1/sections/S2");
    let shown = expanded(
        client,
        "/api/divisions/D1",
        "sections[total > 100]{ total, members[limit 1]{name} },staff{boss{name},division}",
    );
    assert_eq!(names(&shown["sections"][0]), "_id _self _revision total members");
    assert_eq!(
        shown["sections"][0]["members"],
        json!([{"_id": "M1", "_self": "/api/divisions/D1/sections/S2/members/M1", "_revision": shown["sections"][0]["members"][0]["_revision"], "name": "M1"}])
    );
    assert_eq!(shown["staff"][0].get("boss"), None, "a link that leads nowhere is not there");
    assert_eq!(shown["staff"][1]["boss"]["name"], "ned");
    assert_eq!(names(&shown["staff"][1]["division"]), "_id _self", "a plain name is shown as it always is");
    // A collection in braces shows its members; nothing in braces shows what is always there.
    let shown = expanded(client, "/api/divisions/D1", "sections{members}");
    assert_eq!(names(&shown["sections"][1]), "_id _self _revision members");
    assert_eq!(names(&expanded(client, "/api/employees/E2", "boss{}")["boss"]), "_id _self _revision");
    // With `fields`, and in the body of a query.
    let query =
        json!({"fields": "name", "expand": ["boss{age}", "division{name}"], "where": {"expr": "age = 31"}});
    let told = client.post("/api/employees/_query", &query).expect(200);
    assert_eq!(
        (&told["results"][0]["boss"]["age"], &told["results"][0]["division"]["name"]),
        (&json!(41), &json!("sales"))
    );
    company.end();
}

#[test]
fn mistakes_in_expansions_are_told() {
    let mut company = staffed();
    let client = &mut company.client;
    let deep = format!("boss{}", ".boss".repeat(8));
    let braces = format!("{}name{}", "boss{".repeat(9), "}".repeat(9));
    for (expand, says) in [
        ("bos", "did you mean `boss`?"),
        ("division.sectons", "did you mean `sections`?"),
        ("division{nam}", "did you mean `name`?"),
        ("division.sections[totl > 1]", "did you mean `total`?"),
        ("division.sections[order by totl]", "did you mean `total`?"),
        ("division.sections[order by members]", "an order needs one"),
        ("division.sections[total]", "must be true or false"),
        ("division.sections[limit 0]", "1 to 1000"),
        ("division.sections[total > 1", "without `]`"),
        ("division{name", "without `}`"),
        ("division{name}}", "closes nothing"),
        ("division{name}.boss", "into the braces"),
        ("division name", "divided by commas"),
        ("boss[age > 3]", "leads to one resource"),
        ("name", "is a value"),
        ("division.sections[limit 1],division.sections[limit 2]", "expanded twice"),
        (&deep, "deeper than 8"),
        (&braces, "deeper than 8"),
    ] {
        let problem =
            client.get(&format!("/api/employees/E2?expand={}", encoded(expand))).problem(400, "parameter");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{expand}: {problem}");
        assert_eq!(problem["errors"][0]["path"], "?expand");
    }
    // A circle is as long as it is asked for.
    let circle = expanded(client, "/api/divisions/D1", "staff.division.staff.division.staff");
    assert_eq!(circle["staff"][0]["division"]["staff"][1]["division"]["staff"][0]["_id"], "E1");
    company.end();
}

/// How often ten requests ask the store when nothing is in the cache: it does not grow with the page, but for a filter
/// through a link, which asks for each target once.
#[test]
fn what_ten_requests_ask_of_the_store() {
    let place = Place::new(COMPANY);
    let server = place.serve();
    let mut client = server.client();
    let numbers = 0..40;
    let divisions: Vec<Json> =
        numbers.clone().map(|n| json!({"_id": format!("d{n:02}"), "name": format!("n{n}")})).collect();
    client.post("/api/divisions", &json!(divisions)).expect(201);
    let staff: Vec<Json> = (0..200)
        .map(|n| {
            let boss = if n < 20 { Json::Null } else { format!("e{:03}", n % 20).into() };
            let mut it = json!({"_id": format!("e{n:03}"), "name": "ned", "age": 20 + n % 50, "division": format!("d{:02}", n % 40)});
            if !boss.is_null() {
                it["boss"] = boss;
            }
            it
        })
        .collect();
    client.post("/api/employees", &json!(staff)).expect(201);
    for n in numbers {
        let sections = [1, 2].map(|it| json!({"_id": format!("s{n}-{it}"), "name": "s", "total": it * 100}));
        client.post(&format!("/api/divisions/d{n:02}/sections"), &json!(sections)).expect(201);
    }
    assert!(server.stop().0.success());
    let mut told = String::new();
    for path in [
        "/api/employees/e030",
        "/api/employees/e030?expand=boss,division",
        "/api/divisions/d01/sections/s1-1",
        "/api/employees?limit=100",
        "/api/employees?limit=100&expand=boss{name},division{name}",
        "/api/divisions?limit=40&expand=sections",
        "/api/divisions?limit=40&expand=sections[total>100]{total},staff[limit 2]{name}",
        "/api/divisions?limit=40&expand=staff.boss.division",
        "/api/divisions.sections.total",
        "/api/employees?filter=division.name='n3'&allow_scan=true",
    ] {
        let server = place.serve();
        let (path_only, query) = path.split_once('?').unwrap_or((path, ""));
        let query = encoded(query).replace("%3D", "=").replace("%26", "&");
        let reply = server.client().get(&format!("{path_only}?{query}"));
        reply.expect(200);
        told.push_str(&format!("{:>3}  {path}\n", reply.header("corollary-store-reads").unwrap()));
        assert!(server.stop().0.success());
    }
    let expected = "  1  /api/employees/e030
  3  /api/employees/e030?expand=boss,division
  2  /api/divisions/d01/sections/s1-1
  1  /api/employees?limit=100
  3  /api/employees?limit=100&expand=boss{name},division{name}
  4  /api/divisions?limit=40&expand=sections
  6  /api/divisions?limit=40&expand=sections[total>100]{total},staff[limit 2]{name}
  4  /api/divisions?limit=40&expand=staff.boss.division
  3  /api/divisions.sections.total
 41  /api/employees?filter=division.name='n3'&allow_scan=true
";
    assert_eq!(told, expected, "\n{told}");
    place.check();
}

/// Links within objects are read as those of fields are: all of a page together.
#[test]
fn links_in_objects_are_read_together() {
    let place = Place::new(
        "type Maker in makers { name: str }
         type Product in products { name: str, maker: link Maker }
         type Order in orders { lines: [{ product: link Product, amount: int }] }",
    );
    let server = place.serve();
    let mut client = server.client();
    let named = |kind: &str, n: usize| json!({"_id": format!("{kind}{n:03}"), "name": "n"});
    let makers: Vec<Json> = (0..50).map(|n| named("m", n)).collect();
    client.post("/api/makers", &makers.into()).expect(201);
    let products = (0..200).map(|n| {
        let mut product = named("p", n);
        product["maker"] = format!("m{:03}", n % 50).into();
        product
    });
    client.post("/api/products", &products.collect()).expect(201);
    let line = |n: usize| json!({"product": format!("p{:03}", n % 200), "amount": n});
    let orders =
        (0..100).map(|n| json!({"_id": format!("o{n:03}"), "lines": [line(n), line(7 * n), line(13 * n)]}));
    client.post("/api/orders", &orders.collect()).expect(201);
    assert!(server.stop().0.success());
    for (limit, reads) in [(1, "4"), (100, "4")] {
        let server = place.serve();
        let reply = server.client().get(&format!("/api/orders?limit={limit}&expand=lines.product.maker"));
        assert_eq!(reply.header("corollary-store-reads"), Some(reads), "{limit}");
        let page = reply.expect(200);
        let last = &page["results"].as_array().unwrap().last().unwrap()["lines"][2]["product"];
        assert_eq!(last["maker"]["name"], "n", "{last}");
        assert!(server.stop().0.success());
    }
}
