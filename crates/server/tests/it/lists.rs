//! Lists, and what follows from facts, as readers see them.

use std::thread;

use crate::common::client::encoded;
use crate::common::company::Company;
use crate::common::*;

#[test]
fn lists_filter_order_and_page() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let more: Vec<Json> = (0..9)
        .map(|at| json!({"_id": format!("F{at}"), "name": format!("f{at}"), "age": 50 + at % 3}))
        .collect();
    client.post("/api/employees", &more.into()).expect(201);
    // Twelve by ten, by six, by twelve.
    let page = client.read("/api/employees?limit=10&count=true");
    assert_eq!((page["results"].as_array().unwrap().len(), &page["count"]), (10, &json!(12)));
    let page = client.read(page["next"].as_str().unwrap());
    assert_eq!((page["results"].as_array().unwrap().len(), &page["next"]), (2, &Json::Null));
    let page = client.read("/api/employees?limit=6");
    let page = client.read(page["next"].as_str().unwrap());
    assert_eq!((page["results"].as_array().unwrap().len(), &page["next"]), (6, &Json::Null));
    assert_eq!(client.read("/api/employees?limit=12")["next"], Json::Null);
    assert_eq!(client.read("/api/employees").get("count"), None);
    let filtered =
        |client: &mut Client, filter: &str| client.ids(&format!("/api/employees?filter={}", encoded(filter)));
    assert_eq!(filtered(client, "age > 30 & age < 50"), ["E1", "E2"]);
    assert_eq!(filtered(client, "division.name = 'sales'"), ["E1", "E2"]);
    assert_eq!(filtered(client, "(age<30 | name='ned') & boss = null"), ["E1"]);
    assert_eq!(filtered(client, "!(age >= 31) | boss_name = 'ned'"), ["E2", "E3"]);
    assert_eq!(filtered(client, "name ~ 'ED'"), ["E1", "E3"]);
    // Ties are in the order of ids, in the direction of the last part; every page size walks the same.
    let orders = [
        ("-age,name", "F2 F5 F8 F1 F4 F7 F0 F3 F6 E1 E2 E3"),
        ("boss_name,-age", "F8 F5 F2 F7 F4 F1 F6 F3 F0 E1 E2 E3"),
    ];
    for (order, expected) in orders {
        for limit in [1, 5, 12, 100] {
            let ids = client.ids(&format!("/api/employees?order={order}&limit={limit}"));
            assert_eq!(ids.join(" "), expected, "{order} by {limit}");
        }
    }
    assert_eq!(client.ids("/api/divisions/D1/staff?order=age&limit=1"), ["E2", "E1"]);
    assert_eq!(client.ids("/api/divisions/D1/older"), ["E1", "E2"]);
    let shown = client.read("/api/employees/E2?fields=name,boss&expand=boss.division,division.sections");
    assert_eq!(shown["boss"]["division"]["name"], "sales");
    assert_eq!((shown.get("age"), &shown["division"]["sections"]), (None, &json!([])));
    assert_eq!(client.read("/api/employees/E1?expand=boss").get("boss"), None);
    let items = client.list("/api/divisions?fields=name&expand=staff&limit=1");
    assert_eq!(items[0]["staff"][1]["name"], "bob");
    assert_eq!(
        client.read("/api/employees/E1/division/staff?fields=name")["results"][0].as_object().unwrap().len(),
        4
    );
    company.end();
}

#[test]
fn a_list_that_cannot_be_made_says_why() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    for (query, code, parts) in [
        ("filter=agee%3E3", "filter", &["column 1", "did you mean `age`?"][..]),
        ("filter=age%3E%3D30%20%26%20nme%3D'x'", "filter", &["column 11", "`nme`"]),
        ("filter=", "filter", &["column 1"]),
        ("filter=age%3E'x'", "filter", &["column"]),
        ("filter=(age%3E3", "filter", &["column"]),
        ("filter=age", "filter", &["column"]),
        ("order=name,-agee", "order", &["column 7", "did you mean `age`?"]),
        ("expand=bos", "parameter", &["did you mean `boss`?"]),
        ("expand=boss.nme", "parameter", &["`nme`"]),
        ("expand=age", "parameter", &["nothing to expand"]),
        ("expand=boss.boss.boss.boss.boss.boss.boss.boss.boss", "parameter", &["deeper than 8"]),
        ("fields=nam", "parameter", &["did you mean `name`?"]),
        ("page_token=zzz", "page-token", &["not one that this query gave"]),
        ("limit=1001", "parameter", &["1 to 1000"]),
        ("limit=-1", "parameter", &["1 to 1000"]),
        ("nope=1", "parameter", &["`nope`"]),
    ] {
        let problem = client.get(&format!("/api/employees?{query}")).problem(400, code);
        let detail = problem["detail"].as_str().unwrap();
        assert!(parts.iter().all(|part| detail.contains(part)), "{query}: {problem}");
    }
    // A token is for the query that gave it.
    let next = client.read("/api/employees?limit=1&order=age")["next"].as_str().unwrap().to_string();
    let token = next.split("page_token=").nth(1).unwrap();
    client.read(&format!("/api/employees?order=age&page_token={token}"));
    for other in
        ["/api/employees?order=name", "/api/employees?filter=age%3E1&order=age", "/api/divisions?order=sales"]
    {
        client.get(&format!("{other}&page_token={token}")).problem(400, "page-token");
    }
    for cut in 1..token.len() {
        let reply = client.get(&format!("/api/employees?order=age&page_token={}", &token[..cut]));
        reply.problem(400, "page-token");
    }
    company.end();
}

#[test]
fn a_condition_that_would_visit_too_many_names_the_index_that_helps() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    // One more than may be visited.
    for part in 0..11 {
        let size = if part == 10 { 1 } else { 10_000 };
        let badges: Vec<Json> =
            (0..size).map(|_| json!({"owner": "E1", "room": format!("r{part}")})).collect();
        client.post("/api/badges", &badges.into()).expect(201);
    }
    let problem = client.get("/api/badges?filter=owner.name%3D'none'").problem(400, "scan-limit");
    assert!(problem["detail"].as_str().unwrap().contains("100000"), "{problem}");
    assert_eq!(client.ids("/api/badges?filter=owner.name%3D'none'&allow_scan=true"), Vec::<String>::new());
    assert_eq!(client.read("/api/badges?filter=room%3D'r10'&count=true")["count"], 1);
    assert_eq!(client.read("/api/badges?limit=3")["results"].as_array().unwrap().len(), 3);
    client.get("/api/badges?watch=true").problem(400, "watch-limit");
}

#[test]
fn what_follows_is_there_right_after_each_write() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    let division = |client: &mut Client, id: &str| {
        let it = client.read(&format!("/api/divisions/{id}"));
        let older: Vec<String> =
            it["older"].as_array().unwrap().iter().map(|it| it["_id"].as_str().unwrap().into()).collect();
        (
            it["heads"].as_i64().unwrap(),
            it["age_total"].as_i64().unwrap(),
            it["mean_age"].as_f64(),
            older.join(" "),
        )
    };
    assert_eq!(division(client, "D1"), (2, 72, Some(36.0), "E1 E2".into()));
    client.patch("/api/employees/E1", &json!({"age": 20})).expect(200);
    assert_eq!(division(client, "D1"), (2, 51, Some(25.5), "E2".into()));
    client.patch("/api/employees/E2", &json!({"division": "D2"})).expect(200);
    assert_eq!(division(client, "D1"), (1, 20, Some(20.0), "".into()));
    assert_eq!(division(client, "D2"), (2, 52, Some(26.0), "E2".into()));
    client.delete("/api/employees/E1");
    assert_eq!(division(client, "D1"), (0, 0, None, "".into()));
    // A value that cannot be computed says why, blocks nothing, and heals.
    let made = client.patch("/api/employees/E3", &json!({"age": 0})).expect(200);
    assert_eq!(made["ratio"], json!({"_error": "#div0"}));
    assert_eq!(client.ids("/api/employees?filter=is_error(ratio)"), ["E3"]);
    assert_eq!(client.patch("/api/employees/E3", &json!({"age": 50})).expect(200)["ratio"], 2.0);
    company.end();
}

/// Reads of one resource and of lists at once with writes to it: each shows one state.
#[test]
fn readers_see_whole_commits() {
    let company = Company::with_staff();
    let address = &company.server.address;
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = Client::new(address);
            for age in 0..150 {
                let items: Vec<Json> = ["E1", "E2"]
                    .map(|id| json!({"method": "PATCH", "path": format!("/api/employees/{id}"), "body": {"age": age}}))
                    .to_vec();
                client.post("/api/_batch", &items.into()).expect(200);
            }
        });
        let mut client = Client::new(address);
        while !writer.is_finished() {
            let division = client.read("/api/divisions/D1?expand=staff");
            let ages: Vec<i64> =
                division["staff"].as_array().unwrap().iter().map(|it| it["age"].as_i64().unwrap()).collect();
            let total = division["age_total"].as_i64().unwrap();
            assert!(ages[0] == ages[1] || total == 72, "{division}");
            assert_eq!(total, ages[0] + ages[1], "{division}");
        }
        writer.join().unwrap();
    });
    company.end();
}

#[test]
fn a_page_that_is_known_is_not_sent_again() {
    let mut company = Company::with_staff();
    let client = &mut company.client;
    for path in [
        "/api/employees?order=-age&limit=2",
        "/api/divisions/D1/staff",
        "/api/divisions.staff.age",
        "/api/employees?expand=boss{name}",
    ] {
        let first = client.get(path);
        let tag = first.header("etag").unwrap().to_string();
        assert!(tag.starts_with("W/\""), "{tag}");
        let again = client.request("GET", path, &[("if-none-match", &format!("\"x\", {tag}"))], b"");
        assert_eq!(
            (again.status, again.body.len(), again.header("etag")),
            (304, 0, Some(tag.as_str())),
            "{path}"
        );
        // A commit that has no part in it does not change it.
        client.post("/api/desks", &json!({"place": path})).expect(201);
        let known = [("if-none-match", tag.as_str())];
        let again = client.request("GET", path, &known, b"");
        assert_eq!(again.status, 304);
        assert!(again.revision() > first.revision());
        let age = client.read("/api/employees/E1")["age"].as_i64().unwrap();
        client.patch("/api/employees/E1", &json!({"age": age + 1, "name": format!("ned{age}")})).expect(200);
        let changed = client.request("GET", path, &known, b"");
        assert_ne!(changed.expect(200), first.json(), "{path}");
        assert_ne!(changed.header("etag"), Some(tag.as_str()));
    }
    company.end();
}

/// Each page gave its thread away, which cost a third of the throughput and had the slowest of a hundred wait three times as long: it is
/// tried where it is asked for, with few visits, and read as a long one where these are too few.
#[test]
fn a_page_is_the_same_however_many_are_visited_for_it() {
    const ALL: usize = 1_200;
    let place = Place::new("type Item in items { n: int, odd: bool, even: bool index }");
    let server = place.serve();
    let mut client = server.client();
    let item = |n: usize| json!({"_id": format!("i{n:04}"), "n": (n * 7) % ALL, "odd": n % 2 == 1, "even": n.is_multiple_of(2)});
    client.post("/api/items", &Json::from_iter((0..ALL).map(item))).expect(201);
    let by_n = |mut found: Vec<usize>| {
        found.sort_by_key(|n| (n * 7) % ALL);
        found
    };
    let last: Vec<usize> = (ALL - 5..ALL).collect();
    let asked: [(&str, Vec<usize>); 6] = [
        ("", (0..ALL).collect()),
        ("odd=true", (0..ALL).filter(|n| n % 2 == 1).collect()),
        ("_id>='i1195'", last),
        ("n<0", Vec::new()),
        ("odd=true and even=true", Vec::new()),
        ("odd=false and n>1190", (0..ALL).filter(|n| n.is_multiple_of(2) && (n * 7) % ALL > 1_190).collect()),
    ];
    for (filter, found) in asked {
        for (order, found) in [("", found.clone()), ("n", by_n(found))] {
            for limit in [30, 100, 101, 1_000] {
                let ids = |items: &[usize]| items.iter().map(|n| format!("i{n:04}")).collect::<Vec<_>>();
                let path = format!("/api/items?limit={limit}&order={order}&filter={}", encoded(filter));
                let path = if filter.is_empty() { path.replace("&filter=", "") } else { path };
                let path = if order.is_empty() { path.replace("&order=", "") } else { path };
                assert_eq!(client.ids(&path), ids(&found), "{path}");
            }
        }
    }
    client.get("/api/items?filter=odd=true&allow_scan=true&count=true&limit=1").expect(200);
}
