//! Checks and repairs by a running server, and beside running servers: what is wrong is told by resource and field, mended
//! by updates while all goes on, and taken up after a kill.

use std::time::{Duration, Instant};

use crate::common::*;
use corollary_engine::{EngineOptions, catalog, keys, open};
use corollary_store::postgres::testing::Server as Database;
use corollary_store::{Batch, Direction, EmbeddedStore, KeyRange, PostgresOptions, PostgresStore, Store};
use corollary_value::{Id, Value};
use jiff::Timestamp;

const LEAVES: usize = 600;

const SCHEMA: &str = "
type Hub in hubs { name: str required, leaves: inverse Leaf.hub, total := sum(self.leaves.n) }
type Leaf in leaves { hub: link Hub, n: int default 0 index, label := upper(self.hub.name), longer := self.label + '!' }
";

/// Leaves of one hub, in a store that nobody has open.
fn fill(place: &Place) {
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/hubs", &json!({"_id": "h", "name": "one"})).expect(201);
    let leaf = |at: usize| json!({"_id": format!("l{at:04}"), "hub": "h", "n": at});
    client
        .with("POST", "/api/leaves?wait=true", &[], &Json::Array((0..LEAVES).map(leaf).collect()))
        .expect(201);
    drop(client);
    server.stop();
}

/// Changes stored values behind everybody's back.
fn spoil(store: std::sync::Arc<dyn Store>, values: &[(&str, &str, &str, Value)]) {
    let text = catalog::stored_schema(&*store).unwrap().unwrap();
    let executor =
        open(store.clone(), &text, &EngineOptions::default(), Timestamp::now(), &mut |_| {}).unwrap();
    let engine = executor.engine();
    let mut batch = Batch::new();
    for (ty, id, field, value) in values {
        let ty = engine.schema().type_named(ty).unwrap();
        let key = keys::doc(engine.schema().ty(ty).id, &Id::parse(id).unwrap());
        let layout = &engine.layouts()[ty.0 as usize];
        let stored = store.snapshot().unwrap().get(keys::DOC, &key).unwrap().unwrap();
        let mut doc = layout.decode(&stored).unwrap();
        assert!(doc.set(engine.schema().ty(ty).named(field).unwrap().0, value.clone()));
        let mut bytes = Vec::new();
        layout.encode(&doc, &mut bytes);
        batch.put(keys::DOC, key, bytes);
    }
    store.commit(&batch).unwrap();
}

fn embedded(place: &Place) -> std::sync::Arc<EmbeddedStore> {
    std::sync::Arc::new(crate::common::embedded(&place.data()).unwrap())
}

fn wrong() -> [(&'static str, &'static str, &'static str, Value); 3] {
    [
        ("Leaf", "l0003", "label", Value::Str("WRONG".into())),
        ("Leaf", "l0590", "longer", Value::Absent),
        ("Hub", "h", "total", Value::Int(7)),
    ]
}

/// The lines of a check, the last one apart.
fn checked(client: &mut Client, body: &Json) -> (Vec<Json>, Json) {
    let reply = client.post("/api/_check", body);
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("application/x-ndjson")),
        "{reply:?}"
    );
    let text = reply.text();
    let mut lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.pop().unwrap();
    assert_eq!(end["event"], "end", "{end}");
    lines.retain(|line| line["event"] == "found");
    (lines, end)
}

fn wait_for(client: &mut Client, ids: &Json) {
    let begun = Instant::now();
    for id in ids.as_array().unwrap() {
        let path = format!("/api/_updates/{}", id.as_str().unwrap());
        while client.read(&path)["state"] != "done" {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // And what has come of them, or of writes meanwhile.
    let is_open = |update: &Json| update["state"] != "done";
    while client.read("/api/_updates")["results"].as_array().unwrap().iter().any(is_open) {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_finds_what_is_wrong_and_mends_it_while_it_serves() {
    let place = Place::new(SCHEMA);
    fill(&place);
    spoil(embedded(&place), &wrong());
    let server = Server::start(&place, &["--update-batch", "50"]);
    let mut client = server.client();
    let (found, end) = checked(&mut client, &json!({}));
    // What is computed from a wrong value as that is stored is not told: `longer` of l0003 is, and what is kept for the sum.
    let told: Vec<String> = found
        .iter()
        .map(|line| match line["_self"].as_str() {
            Some(path) => format!("{path} {} {} {}", line["field"], line["stored"], line["expected"]),
            None => line["detail"].as_str().unwrap().to_string(),
        })
        .collect();
    assert!(told.contains(&"/api/leaves/l0003 \"label\" \"WRONG\" \"ONE\"".to_string()), "{told:?}");
    assert!(told.contains(&"/api/leaves/l0590 \"longer\" null \"ONE!\"".to_string()), "{told:?}");
    assert!(told.contains(&format!("/api/hubs/h \"total\" 7 {}", LEAVES * (LEAVES - 1) / 2)), "{told:?}");
    assert_eq!(end["findings"], json!(found.len()));
    assert_eq!((&end["resources"], end.get("updates")), (&json!(LEAVES + 1), None), "{end}");
    assert_eq!(
        client.read("/api/leaves/l0003")["label"],
        "WRONG",
        "nothing is mended that nobody asked to mend"
    );

    client.patch("/api/_updates", &json!({"rate": 500})).expect(200);
    let (_, end) = checked(&mut client, &json!({"repair": true}));
    let ids = end["updates"].clone();
    assert!(ids.as_array().unwrap().len() >= 3 && end["to_build"] == json!([]), "{end}");
    // Right from here on, and writes are counted.
    let leaf = client.read("/api/leaves/l0003");
    assert_eq!((&leaf["label"], &leaf["longer"]), (&json!("ONE"), &json!("ONE!")));
    let update = client.read(&format!("/api/_updates/{}", ids[0].as_str().unwrap()));
    assert_eq!((&update["cause"]["repair"], update["state"] == "done"), (&json!(true), false), "{update}");
    let listed = run(&["updates", "--url", &server.url(), "--no-follow"]);
    assert!(stdout(&listed).contains("to mend it"), "{listed:?}");
    client.patch("/api/leaves/l0000", &json!({"n": 1_000})).expect(200);
    // A kill in the middle: the next start goes on.
    drop(client);
    server.kill();
    let server = place.serve();
    let mut client = server.client();
    client.patch("/api/leaves/l0001", &json!({"n": 1_001})).expect(200);
    wait_for(&mut client, &ids);
    assert_eq!(client.read("/api/hubs/h")["total"], json!(LEAVES * (LEAVES - 1) / 2 + 1_000 + 1_000));
    let (found, end) = checked(&mut client, &json!({"sample": null}));
    assert_eq!((found.len(), &end["findings"], &end["pending"]), (0, &json!(0), &json!(0)), "{end}");
    let (_, end) = checked(&mut client, &json!({"sample": 10}));
    assert_eq!(end["resources"], json!(11), "{end}");
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn what_is_asked_of_a_check_is_held_to_its_form() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    for (body, what) in [
        (json!({"repair": 1}), "true or false"),
        (json!({"sample": 0}), "from 1 on"),
        (json!({"reapir": true}), "did you mean `repair`?"),
    ] {
        let problem = client.post("/api/_check", &body).problem(422, "invalid");
        assert!(problem["detail"].as_str().unwrap().contains(what), "{problem}");
    }
    client.post("/api/_check", &json!([])).problem(400, "json");
    client.post("/api/_check?sample=3", &json!({})).problem(400, "parameter");
    client.get("/api/_check").problem(405, "method-not-allowed");
    assert_eq!(checked(&mut client, &json!({})).1["resources"], 0);
}

/// Entries of an index are mended row by row, while the server serves; then the values.
#[test]
fn entries_of_an_index_are_mended_while_it_is_served() {
    let place = Place::new(SCHEMA);
    fill(&place);
    {
        let store = embedded(&place);
        let mut rows = Vec::new();
        let snapshot = store.snapshot().unwrap();
        snapshot
            .scan(keys::INDEX, &KeyRange::all(), Direction::Forward, 3, &mut |key, _| {
                rows.push(key.to_vec());
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        drop(snapshot);
        let mut batch = Batch::new();
        rows.into_iter().for_each(|row| batch.delete(keys::INDEX, row));
        store.commit(&batch).unwrap();
        spoil(store, &wrong()[..1]);
    }
    let server = place.serve();
    let output = run(&["check", "--server", &server.url()]);
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    assert!(said.contains("Leaf l0003: label is \"WRONG\", and \"ONE\" follows"), "{said}");
    assert!(said.contains("the index of Leaf.n is not what the values give"), "{said}");
    let by_n =
        |client: &mut Client| client.read("/api/leaves?filter=n%20%3C%203&count=true")["count"].clone();
    assert_eq!(by_n(&mut server.client()), 0, "a list goes by its index");
    let output = run(&["check", "--server", &server.url(), "--repair"]);
    assert!(output.status.success() && stdout(&output).contains("after the repair: "), "{output:?}");
    assert!(stdout(&output).contains("3 rows of the index of Leaf.n are mended"), "{output:?}");
    let mut client = server.client();
    assert_eq!(
        (by_n(&mut client), client.read("/api/leaves/l0003")["longer"].clone()),
        (json!(3), json!("ONE!"))
    );
    drop(client);
    server.stop();
    place.check();
    let output = run(&["check", "--server", "http://127.0.0.1:9"]);
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("does not answer"),
        "{output:?}"
    );
}

/// What cannot be mended while the server runs is named, with the reason and the remedy; no value is mended before, since
/// they are computed by way of it.
#[test]
fn what_has_to_be_built_is_named_and_left_alone() {
    let place = Place::new(
        "
    type List in lists { name: str, items: ordered collection Item, first := first(self.items).n }
    type Item { n: int, twice := self.n * 2 }
    ",
    );
    {
        let server = place.serve();
        let mut client = server.client();
        client.post("/api/lists", &json!({"_id": "l"})).expect(201);
        for at in 0..9 {
            client
                .post("/api/lists/l/items", &json!({"_id": format!("i{at}"), "n": at, "_position": 0}))
                .expect(201);
        }
        drop(client);
        server.stop();
    }
    {
        let store = embedded(&place);
        let mut rows = Vec::new();
        let snapshot = store.snapshot().unwrap();
        snapshot
            .scan(keys::INDEX, &KeyRange::all(), Direction::Forward, 100, &mut |key, _| {
                rows.push(key.to_vec());
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        drop(snapshot);
        let mut batch = Batch::new();
        rows.into_iter().step_by(2).for_each(|row| batch.delete(keys::INDEX, row));
        store.commit(&batch).unwrap();
        spoil(store, &[("Item", "i3", "twice", Value::Int(1))]);
    }
    let server = place.serve();
    let (_, end) = checked(&mut server.client(), &json!({"repair": true}));
    assert_eq!((&end["updates"], &end["mended_rows"]), (&json!([]), &json!({})), "{end}");
    let build = end["to_build"].as_array().unwrap();
    assert!(build.iter().any(|it| it["what"].as_str().unwrap().contains("index")), "{end}");
    assert!(build.iter().all(|it| it["how"].as_str().unwrap().contains("check --repair")), "{end}");
    let output = run(&["check", "--server", &server.url(), "--repair"]);
    let error = stderr(&output);
    assert!(
        output.status.code() == Some(1) && error.contains("cannot be mended while the server runs"),
        "{output:?}"
    );
    server.stop();
    let output = place.run(&["check", "--repair"]);
    assert!(output.status.success() && stderr(&output).contains("building "), "{output:?}");
    let server = place.serve();
    let output = run(&["check", "--server", &server.url()]);
    assert!(output.status.success() && stdout(&output).contains("no difference"), "{output:?}");
    let items = server.client().list("/api/lists/l/items");
    let order: Vec<&Json> = items.iter().map(|item| &item["n"]).collect();
    assert_eq!(order, [8, 7, 6, 5, 4, 3, 2, 1, 0].map(Json::from).iter().collect::<Vec<_>>());
    server.stop();
    place.check();
}

/// There is one check at a time: whoever reads slowly has the next one refused, and hanging up makes room.
#[test]
fn one_check_runs_at_a_time_and_ends_with_its_client() {
    let place = Place::new(SCHEMA);
    fill(&place);
    // So much to tell that it cannot all be on its way.
    let long = Value::Str("x".repeat(60_000).into());
    let names: Vec<String> = (0..LEAVES).map(|at| format!("l{at:04}")).collect();
    let values: Vec<_> = names.iter().map(|name| ("Leaf", name.as_str(), "label", long.clone())).collect();
    spoil(embedded(&place), &values);
    let server = place.serve();
    let mut slow = std::net::TcpStream::connect(&server.address).unwrap();
    client::send(&mut slow, "POST", "/api/_check", &[], b"").unwrap();
    let mut slow = std::io::BufReader::with_capacity(64, slow);
    assert_eq!(client::read_head(&mut slow).unwrap().status, 200);
    let mut client = server.client();
    let begun = Instant::now();
    client.post("/api/_check", &json!({})).problem(409, "checking");
    // Meanwhile others write and read.
    client.patch("/api/leaves/l0007", &json!({"n": 5})).expect(200);
    drop(slow);
    while client.post("/api/_check", &json!({"sample": 1})).status != 200 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Over a database `check` is a server among servers: what is behind an update is not wrong, and a repair stops nobody.
#[test]
fn a_check_and_a_repair_run_beside_servers() {
    let database = Database::new();
    let place = |schema: &str| {
        let mut place = Place::new(schema);
        place.store = Some(database.url());
        place
    };
    let (one, other) = (place(SCHEMA), place(SCHEMA));
    fill(&one);
    let flags = ["--update-budget", "10", "--update-rate", "100", "--update-batch", "10"];
    let (a, b) = (Server::start(&one, &flags), Server::start(&other, &flags));
    let (mut to_a, mut to_b) = (a.client(), b.client());
    let reply = to_a.patch("/api/hubs/h", &json!({"name": "two"}));
    let id = reply.header("corollary-updates").expect("an update").to_string();
    let output = one.run(&["check"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        stdout(&output).contains("are yet to be reached by an update")
            || stdout(&output).contains("no difference"),
        "{output:?}"
    );
    assert_ne!(
        to_a.read(&format!("/api/_updates/{id}"))["state"],
        "done",
        "it was open while it was looked at"
    );
    let (found, end) = checked(&mut to_b, &json!({}));
    assert!(found.is_empty() && end["pending"].as_u64() > Some(0), "{found:?} {end}");
    for client in [&mut to_a, &mut to_b] {
        client.patch("/api/_updates", &json!({"rate": null, "batch": 4096})).expect(200);
    }
    wait_for(&mut to_a, &json!([id]));
    let store = PostgresStore::open(&database.url(), &keys::KEYSPACES, PostgresOptions::default()).unwrap();
    spoil(std::sync::Arc::new(store), &wrong());
    let output = one.run(&["check", "--repair"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout(&output).contains("Leaf l0003: label is WRONG, and TWO follows"), "{output:?}");
    assert!(
        stdout(&output).contains("after the repair: ") && stdout(&output).ends_with("no difference\n"),
        "{output:?}"
    );
    // Both are there, and right; a write of its own comes after all that a server may not have heard of yet.
    for client in [&mut to_a, &mut to_b] {
        client.post("/api/leaves", &json!({"hub": "h", "n": 0})).expect(201);
        assert_eq!(client.read("/api/leaves/l0003")["longer"], "TWO!");
        assert_eq!(client.read("/api/hubs/h")["total"], json!(LEAVES * (LEAVES - 1) / 2));
        client.patch("/api/leaves/l0003", &json!({"n": 3})).expect(200);
    }
    drop((to_a, to_b));
    a.stop();
    b.stop();
    one.check();
}
