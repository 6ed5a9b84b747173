//! `Idempotency-Key` on the real binary: a write that is sent again is done once and told the same, also when two are sent
//! at once and when the server is killed in between.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::*;

const SCHEMA: &str = r#"
type Firm in firms { name: str unique, people: inverse Person.firm, size := count(self.people) }
type Person in people { name: str, n: int default 0, firm: link Firm }
"#;

fn keyed(client: &mut Client, key: &str, method: &str, path: &str, body: &Json) -> Reply {
    client.with(method, path, &[("idempotency-key", key)], body)
}

/// What is the same of two replies.
fn parts(reply: &Reply) -> (u16, String, Vec<Option<&str>>) {
    let names = ["content-type", "corollary-revision", "etag", "location", "corollary-updates"];
    (reply.status, reply.text(), names.iter().map(|name| reply.header(name)).collect())
}

#[test]
fn a_repetition_of_any_write_is_told_what_the_first_was() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/firms", &json!({"_id": "f", "name": "one"})).expect(201);
    client.post("/api/people", &json!({"_id": "a", "name": "Ann"})).expect(201);
    let writes: [(&str, &str, Json, u16); 8] = [
        ("POST", "/api/people", json!({"name": "Bob", "firm": "f"}), 201),
        ("POST", "/api/people", json!([{"name": "Cid"}, {"name": "Dan"}]), 201),
        ("PATCH", "/api/people/a", json!({"n": 7}), 200),
        ("PUT", "/api/people/a", json!({"name": "Ann", "n": 8}), 200),
        (
            "POST",
            "/api/_batch",
            json!([{"method": "POST", "path": "/people", "body": {"name": "Eve"}}, {"method": "GET", "path": "/firms/f"}]),
            200,
        ),
        ("POST", "/api/people/_update", json!({"where": {"expr": "n > 7"}, "patch": {"n": 9}}), 200),
        ("POST", "/api/people/_delete", json!({"where": {"expr": "name = 'Cid'"}}), 200),
        ("DELETE", "/api/people/a", json!(null), 204),
    ];
    for (at, (method, path, body, status)) in writes.iter().enumerate() {
        let key = format!("key {at}");
        let first = keyed(&mut client, &key, method, path, body);
        assert_eq!(first.status, *status, "{}", first.text());
        let count = client.read("/api/people?count=true")["count"].clone();
        // Something else happens in between.
        client.patch("/api/firms/f", &json!({"name": format!("name {at}")})).expect(200);
        for _ in 0..2 {
            let again = keyed(&mut client, &key, method, path, body);
            assert_eq!(parts(&again), parts(&first), "{method} {path}");
        }
        assert_eq!(client.read("/api/people?count=true")["count"], count);
        keyed(&mut client, &key, method, &format!("{path}?wait=true"), body).problem(422, "idempotency-key");
        if *method == "DELETE" {
            // Its body is not read.
            continue;
        }
        let mut other = body.clone();
        match &mut other {
            Json::Object(members) => drop(members.insert("x".into(), json!(1))),
            Json::Array(items) => items.push(json!({"name": "Zoe"})),
            other => *other = json!({"x": 1}),
        }
        keyed(&mut client, &key, method, path, &other).problem(422, "idempotency-key");
    }
    drop(client);
    drop(server);
    place.check();
}

#[test]
fn what_changed_nothing_is_remembered_and_what_was_refused_is_not() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/firms", &json!({"_id": "f", "name": "one"})).expect(201);
    let revision = client.get("/api/firms").revision();
    let same = json!({"name": "one"});
    let first = keyed(&mut client, "no-op", "PATCH", "/api/firms/f", &same);
    assert_eq!((first.status, first.revision()), (200, revision), "nothing has changed");
    assert_eq!(client.get("/api/firms").revision(), revision);
    client.patch("/api/firms/f", &json!({"name": "two"})).expect(200);
    assert_eq!(parts(&keyed(&mut client, "no-op", "PATCH", "/api/firms/f", &same)), parts(&first));
    assert_eq!(client.read("/api/firms/f")["name"], "two");

    let taken = json!({"name": "two"});
    keyed(&mut client, "late", "POST", "/api/firms", &taken).problem(409, "unique");
    client.patch("/api/firms/f", &json!({"name": "three"})).expect(200);
    keyed(&mut client, "late", "POST", "/api/firms", &taken).expect(201);
    keyed(&mut client, "late", "POST", "/api/firms", &taken).expect(201);
    assert_eq!(client.ids("/api/firms").len(), 2);

    let long = "k".repeat(256);
    for key in ["", &long] {
        keyed(&mut client, key, "POST", "/api/firms", &taken).problem(400, "idempotency-key");
    }
    keyed(&mut client, "dry", "POST", "/api/firms?dry_run=true", &json!({"name": "x"}))
        .problem(400, "idempotency-key");
    keyed(&mut client, "asked", "POST", "/api/firms/_count", &json!({})).problem(400, "idempotency-key");
    client.request("GET", "/api/firms", &[("idempotency-key", "k")], b"").problem(400, "idempotency-key");
}

#[test]
fn of_many_at_once_one_is_done_and_all_are_told_the_same() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    for round in 0..5 {
        let (key, path) = (format!("round {round}"), format!("/api/firms/f{round}"));
        let replies: Vec<(u16, String)> = std::thread::scope(|scope| {
            let send = |_: usize| {
                let (mut client, key, path) = (server.client(), &key, &path);
                scope.spawn(move || {
                    let body = json!({"name": format!("firm {round}")});
                    // A creation that would be in its own way.
                    let headers = [("idempotency-key", key.as_str()), ("if-none-match", "*")];
                    let reply = client.with("PUT", path, &headers, &body);
                    (reply.status, reply.text())
                })
            };
            let threads: Vec<_> = (0..12).map(send).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(replies.iter().all(|reply| reply.0 == 201 && *reply == replies[0]), "{replies:?}");
    }
    assert_eq!(server.client().ids("/api/firms").len(), 5);
}

/// Killed at any moment, the client sends again what it has had no reply to, and what it has: each is there once, and what
/// was told stands.
#[test]
fn a_key_survives_being_killed() {
    let place = Place::new(SCHEMA);
    let mut server = place.serve();
    server.client().post("/api/firms", &json!({"_id": "f", "name": "one"})).expect(201);
    let mut random = Random::new(seed());
    let mut told: BTreeMap<usize, String> = BTreeMap::new();
    let mut next = 0;
    for round in 0..12 {
        let address = server.address.clone();
        let begin = next;
        let writer = std::thread::spawn(move || {
            let mut client = Client::new(&address);
            let mut told = Vec::new();
            for at in begin.. {
                let headers =
                    [("content-type", "application/json"), ("idempotency-key", &*format!("key {at}"))];
                let body = json!({"name": format!("p{at}"), "firm": "f"}).to_string();
                match client.try_request("POST", "/api/people", &headers, body.as_bytes()) {
                    Ok(reply) if reply.status == 201 => told.push((at, reply.text())),
                    Ok(reply) => assert_eq!(reply.status, 503, "{}", reply.text()),
                    Err(_) => return (at, told),
                }
            }
            unreachable!("the server is killed")
        });
        std::thread::sleep(Duration::from_millis(20 + random.below(60)));
        server.kill();
        let (open, more) = writer.join().unwrap();
        told.extend(more);
        server = place.serve();
        let mut client = server.client();
        // The one whose reply never came, and some of the others.
        let mut repeated: Vec<usize> = told.keys().copied().filter(|_| random.below(4) == 0).collect();
        repeated.push(open);
        for at in repeated {
            let body = json!({"name": format!("p{at}"), "firm": "f"});
            let reply = keyed(&mut client, &format!("key {at}"), "POST", "/api/people", &body);
            assert_eq!(reply.status, 201, "in round {round}: {}", reply.text());
            let first = told.entry(at).or_insert_with(|| reply.text());
            assert_eq!(reply.text(), *first, "in round {round}");
        }
        next = open + 1;
    }
    let mut client = server.client();
    let mut names: Vec<String> = Vec::new();
    for person in client.list("/api/people?limit=1000") {
        names.push(person["name"].as_str().unwrap().to_string());
    }
    names.sort();
    let mut expected: Vec<String> = told.keys().map(|at| format!("p{at}")).collect();
    expected.sort();
    assert_eq!(names, expected, "each is there once");
    assert_eq!(client.read("/api/firms/f")["size"], told.len());
    drop(client);
    server.kill();
    place.check();
}
