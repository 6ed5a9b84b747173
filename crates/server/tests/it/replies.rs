//! The reply to a write on the real binary: what it shows is true as of its own commit, while updates run and end in
//! between, and what may be behind is marked. One client writes, so what each reply has to show is known.

use crate::common::*;

const LEAVES: usize = 60;

/// Derived values that are not marked are what follows from the name of the hub and from `n`; returns whether one was
/// marked.
#[track_caller]
fn holds(shown: &Json, name: &str, n: usize) -> bool {
    let is_marked = |field: &str| {
        shown["_pending"].as_array().is_some_and(|pending| pending.iter().any(|name| name == field))
    };
    let label = name.to_uppercase();
    let expected = [("label", json!(label)), ("longer", json!(format!("{label}!"))), ("later", json!(2 * n))];
    for (field, expected) in &expected {
        assert!(is_marked(field) || shown[field] == *expected, "{field} of {shown} with {name} and {n}");
    }
    assert_eq!(shown["n"], n, "{shown}");
    expected.iter().any(|(field, _)| is_marked(field))
}

/// Every kind of reply, again and again while an update of thirty steps or so begins and ends.
#[test]
fn each_kind_of_reply_is_true_as_of_its_commit() {
    let place = Place::new(hub::SCHEMA);
    let server = Server::start(&place, &["--update-budget", "5", "--update-batch", "2"]);
    let mut client = server.client();
    client.post("/api/hubs", &json!({"_id": "h", "name": "one"})).expect(201);
    let leaves: Vec<Json> =
        (0..LEAVES).map(|at| json!({"_id": format!("l{at:02}"), "hub": "h", "n": 0})).collect();
    client.post("/api/leaves", &Json::Array(leaves)).expect(201);
    let mut random = Random::new(seed());
    let mut n = [0; LEAVES];
    let (mut made, mut marked, mut open) = (0, 0, 0);
    for round in 0..30 {
        let name = format!("name{round}");
        client.patch("/api/hubs/h", &json!({"name": name})).expect(200);
        for kind in 0..8 {
            let at = random.below(LEAVES as u64) as usize;
            let (path, next) = (format!("/api/leaves/l{at:02}"), round * 10 + kind + 1);
            let body = json!({"hub": "h", "n": next});
            let reply = match kind {
                0 => client.patch(&path, &json!({"n": next})),
                1 => client.put(&path, &body),
                2 => {
                    let actions = json!([{"set": {"key": "n", "value": next}}]);
                    let kind = ("content-type", "application/vnd.corollary.update+json");
                    client.request("PATCH", &path, &[kind], actions.to_string().as_bytes())
                }
                3 => {
                    // A `test` of a derived field goes by what is true when it runs.
                    let patch = json!([
                        {"op": "test", "path": "/longer", "value": format!("{}!", name.to_uppercase())},
                        {"op": "replace", "path": "/n", "value": next},
                    ]);
                    let kind = ("content-type", "application/json-patch+json");
                    client.request("PATCH", &path, &[kind], patch.to_string().as_bytes())
                }
                4 => client.post("/api/leaves", &body),
                5 => client.post("/api/leaves", &json!([body, body])),
                6 => client.post(
                    "/api/_batch",
                    &json!([
                        {"method": "PATCH", "path": path, "body": {"n": next}},
                        {"method": "POST", "path": "/leaves", "body": body},
                        {"method": "GET", "path": path},
                    ]),
                ),
                _ => client.with("PATCH", &path, &[("prefer", "wait=10")], &json!({"n": next})),
            };
            assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
            open += usize::from(reply.header("corollary-updates").is_some());
            let json = reply.json();
            let shown: Vec<&Json> = match &json {
                Json::Array(items) => items.iter().map(|item| item.get("body").unwrap_or(item)).collect(),
                one => vec![one],
            };
            for shown in shown {
                assert!(shown["_revision"].as_str().unwrap().parse::<u64>().unwrap() >= reply.revision());
                marked += usize::from(holds(shown, &name, next));
            }
            if kind < 7 && !json.is_array() {
                // The tag is that of what is shown, and the revision that of the commit.
                assert_eq!(reply.header("etag"), Some(&*format!("\"{}\"", reply.revision())));
            }
            if matches!(kind, 0..=3 | 6..) {
                n[at] = next;
            } else {
                made += 1;
            }
            if kind % 3 == 0 {
                let at = random.below(LEAVES as u64) as usize;
                holds(&client.read(&format!("/api/leaves/l{at:02}")), &name, n[at]);
            }
        }
    }
    assert!(open > 0 && made > 0);
    assert_eq!(marked, 0, "all of it takes little to compute");
    // What somebody reads may be sent back, though what is stored is older.
    client.patch("/api/hubs/h", &json!({"name": "last"})).expect(200);
    let read = client.read("/api/leaves/l59");
    client.put("/api/leaves/l59", &read).expect(200);
    drop(client);
    server.kill();
    place.check();
}
