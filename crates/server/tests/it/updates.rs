//! Large consequences on the real binary: the reply names the update, reads are exact meanwhile, progress only grows,
//! watches hear of each change once, and a kill at any time loses nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::common::*;

const LEAVES: usize = 3_000;

/// A server with many dependants of one hub; slow enough that an update can be looked at.
fn hub(place: &Place, more: &[&str]) -> Server {
    hub_with(place, LEAVES, more)
}

fn hub_with(place: &Place, leaves: usize, more: &[&str]) -> Server {
    let server = Server::start(place, more);
    let mut client = server.client();
    client.post("/api/hubs", &json!({"_id": "h", "name": "one"})).expect(201);
    let leaves: Vec<Json> = (0..leaves).map(|at| json!({"_id": format!("l{at:04}"), "hub": "h"})).collect();
    for leaves in leaves.chunks(LEAVES) {
        let leaves = Json::Array(leaves.to_vec());
        client.with("POST", "/api/leaves", &[("prefer", "wait=20")], &leaves).expect(201);
    }
    server
}

fn rename(client: &mut Client, name: &str, headers: &[(&str, &str)]) -> Reply {
    let reply = client.with("PATCH", "/api/hubs/h", headers, &json!({"name": name}));
    reply.expect(200);
    reply
}

/// Waits until no update is open.
#[track_caller]
pub fn settled(client: &mut Client) -> Vec<Json> {
    let (mut begun, mut before) = (Instant::now(), Vec::new());
    loop {
        let updates = client.read("/api/_updates")["results"].as_array().unwrap().clone();
        if updates.iter().all(|update| update["state"] == "done") {
            return updates;
        }
        // As long as they get on there is no hurry.
        if updates != before {
            (begun, before) = (Instant::now(), updates.clone());
        }
        assert!(begun.elapsed() < PATIENCE, "{updates:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_large_consequence_is_named_followed_and_exact_throughout() {
    let place = Place::new(hub::SCHEMA);
    let server = hub(&place, &["--update-budget", "10", "--update-rate", "2000", "--update-batch", "100"]);
    let mut client = server.client();
    let since = client.get("/api/leaves/l0000").revision();
    let mut watch = server.watch(&format!("/api/leaves?watch=true&since={since}"));
    let reply = rename(&mut client, "two", &[]);
    let id = reply.header("corollary-updates").expect("an update").to_string();
    assert!(!id.contains(','), "{id}");
    let path = format!("/api/_updates/{id}");
    let begun = client.read(&path);
    assert_eq!((&begun["type"], &begun["field"]), (&json!("Leaf"), &json!("label")), "{begun}");
    assert_eq!(begun["cause"]["path"], "/api/hubs/h");
    assert_eq!(begun["cause"]["revision"], reply.revision().to_string());

    // Every read is exact from then on, whether the update has come there or not.
    let mut progress = server.watch(&path);
    let mut random = Random::new(7);
    let mut reads = 0;
    loop {
        for _ in 0..20 {
            let leaf = client.get(&format!("/api/leaves/l{:04}", random.below(LEAVES as u64)));
            let json = leaf.expect(200);
            assert_eq!((&json["label"], &json["longer"]), (&json!("TWO"), &json!("TWO!")), "{json}");
            assert!(json.get("_pending").is_none() && leaf.header("corollary-pending").is_none(), "{leaf:?}");
            reads += 1;
        }
        if client.read(&path)["state"] == "done" {
            break;
        }
    }
    assert!(reads > 20, "the update was still running while it was read");

    // What is found by a field that is behind says so, and does not any more in the end.
    let mut told = Vec::new();
    while let Ok(event) = progress.try_next() {
        told.push(event.data);
    }
    let visited: Vec<u64> = told.iter().map(|update| update["visited"].as_u64().unwrap()).collect();
    assert!(visited.len() > 3 && visited.is_sorted(), "{visited:?}");
    let last = told.last().unwrap();
    assert_eq!((&last["state"], &last["visited"]), (&json!("done"), &json!(LEAVES)), "{last}");
    assert_eq!((&last["estimated"], &last["changed"]), (&json!(LEAVES), &json!(2 * LEAVES)), "{last}");
    let by_field = json!([
        {"type": "Leaf", "field": "label", "changed": LEAVES, "follows": false},
        {"type": "Leaf", "field": "longer", "changed": LEAVES, "follows": true},
    ]);
    assert_eq!(last["fields"], by_field, "{last}");

    // One event for each resource.
    let mut changed = BTreeMap::new();
    while changed.len() < LEAVES {
        let event = watch.next();
        if event.kind() == "modified" {
            let resource = &event.data["resource"];
            assert_eq!(resource["label"], "TWO");
            *changed.entry(resource["_id"].as_str().unwrap().to_string()).or_insert(0) += 1;
        }
    }
    assert!(changed.values().all(|times| *times == 1));
    drop(server);
    place.check();
}

#[test]
fn a_list_that_goes_by_what_is_behind_says_so_and_is_exact_on_demand() {
    let place = Place::new(hub::SCHEMA);
    let server = hub(&place, &["--update-budget", "10", "--update-rate", "4000", "--update-batch", "100"]);
    let mut client = server.client();
    rename(&mut client, "two", &[]);
    let query = format!("/api/leaves?count=true&limit=1&filter={}", client::encoded("label = 'TWO'"));
    let reply = client.get(&query);
    assert_eq!(reply.header("corollary-pending"), Some("Leaf.label"), "{reply:?}");
    assert_eq!(reply.json()["_pending"], json!(["Leaf.label"]));
    // By facts alone nothing is behind.
    let by_facts = client.get(&format!("/api/leaves?limit=1&filter={}", client::encoded("n = 0")));
    assert_eq!(by_facts.header("corollary-pending"), None);
    let exact = client.request("GET", &query, &[("consistency", "exact")], b"");
    let json = exact.expect(200);
    assert_eq!((&json["count"], json.get("_pending")), (&json!(LEAVES), None), "{json}");
    client.request("GET", &query, &[("consistency", "roughly")], b"").problem(400, "consistency");
}

#[test]
fn a_write_waits_as_long_as_it_is_told_to() {
    let place = Place::new(hub::SCHEMA);
    let server = hub(&place, &["--update-budget", "10", "--update-rate", "3000", "--update-batch", "100"]);
    let mut client = server.client();
    let begun = Instant::now();
    let short = rename(&mut client, "two", &[("prefer", "respond-async, wait=0")]);
    assert!(begun.elapsed() < Duration::from_secs(1) && short.header("corollary-updates").is_some());
    let long = client.with("PATCH", "/api/hubs/h?wait=true", &[], &json!({"name": "three"}));
    long.expect(200);
    assert_eq!(long.header("corollary-updates"), None, "all has ended: {long:?}");
    assert!(settled(&mut client).iter().all(|update| update["ended_at"].is_string()));
    assert_eq!(client.read("/api/leaves/l2999")["label"], "THREE");
    client
        .with("PATCH", "/api/hubs/h", &[("prefer", "wait=soon")], &json!({"name": "x"}))
        .problem(400, "prefer");
    client.get("/api/hubs/h?wait=true").problem(400, "parameter");
}

#[test]
fn a_background_field_is_computed_for_whoever_reads_it_before() {
    let place = Place::new(hub::SCHEMA);
    // So slow that it does not come to all of them.
    let server = Server::start(&place, &["--update-rate", "1"]);
    let mut client = server.client();
    for n in 0..20 {
        let reply = client.post("/api/leaves", &json!({"_id": format!("l{n}"), "n": n}));
        assert!(reply.header("corollary-updates").is_some(), "{reply:?}");
        assert_eq!(reply.expect(201)["later"], 2 * n);
        assert_eq!(client.read(&format!("/api/leaves/l{n}"))["later"], 2 * n);
    }
    let visited = |updates: &[Json]| updates.iter().map(|it| it["visited"].as_u64().unwrap()).sum::<u64>();
    let updates = client.read("/api/_updates")["results"].as_array().unwrap().clone();
    let open = updates.iter().filter(|update| update["state"] != "done").count();
    assert!(open == 1 && visited(&updates) < 20, "what waits shares one: {updates:?}");
    // SIGTERM does not wait for it, and the next start goes on.
    let (status, _) = server.stop();
    assert!(status.success());
    let server = Server::start(&place, &[]);
    let updates = settled(&mut server.client());
    assert_eq!(visited(&updates), 20, "each is done once: {updates:?}");
}

#[test]
fn what_is_asked_for_and_is_not_there_is_told() {
    let place = Place::new(hub::SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    assert_eq!(
        client.read("/api/_updates"),
        json!({"results": [], "pace": {"at_once": null, "batch": 4096, "rate": null, "share": 20}})
    );
    client.get("/api/_updates/7-0").problem(404, "not-found");
    client.get("/api/_updates/nonsense").problem(404, "not-found");
    client.get("/api/_updates?limit=3").problem(400, "parameter");
    client.delete("/api/_updates").problem(405, "method-not-allowed");
    let output = run(&["updates", "--url", &server.url()]);
    assert!(output.status.success() && stdout(&output) == "no updates\n", "{output:?}");
}

/// A number from the environment, for the long form of a test (`cargo xtask torture-updates`).
fn set(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Killed again and again while updates run, with the name changed again meanwhile.
#[test]
fn an_update_survives_being_killed() {
    let (leaves, kills) = (set("COROLLARY_LEAVES", LEAVES), set("COROLLARY_KILLS", 8));
    let place = Place::new(hub::SCHEMA);
    let flags = ["--update-budget", "10", "--update-batch", if leaves > LEAVES { "4096" } else { "64" }];
    let mut server = hub_with(&place, leaves, &flags);
    let mut random = Random::new(seed());
    let mut name = String::new();
    for round in 0..kills {
        let mut client = server.client();
        if round % 2 == 0 {
            name = format!("name{round}");
            rename(&mut client, &name, &[]);
        }
        std::thread::sleep(Duration::from_millis(random.below(40 * (leaves / LEAVES) as u64)));
        server.kill();
        server = Server::start(&place, &flags);
        let shown = server.client().read(&format!("/api/leaves/l{:04}", random.below(leaves as u64)));
        assert_eq!(shown["label"], name.to_uppercase(), "in round {round}");
    }
    let mut client = server.client();
    let updates = settled(&mut client);
    assert!(!updates.is_empty());
    assert!(updates.iter().all(|update| update["visited"] == update["estimated"]), "{updates:?}");
    let label = client.read("/api/leaves/l0000")["label"].clone();
    assert_eq!(label, name.to_uppercase());
    assert!(client.list("/api/leaves").iter().all(|leaf| leaf["label"] == label));
    server.kill();
    place.check();
}

/// Several write to what an update is about while it runs, and the source changes again and again.
#[test]
fn writers_and_updates_do_not_get_in_each_others_way() {
    const WRITERS: usize = 4;
    const ROUNDS: usize = 40;
    let place = Place::new(hub::SCHEMA);
    let server = hub(&place, &["--update-budget", "10", "--update-batch", "128"]);
    std::thread::scope(|scope| {
        for me in 0..WRITERS {
            let mut client = server.client();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let path = format!("/api/leaves/l{:04}", round * WRITERS + me);
                    match round % 4 {
                        0 => drop(client.delete(&path).expect(204)),
                        1 => {
                            let body = json!({"_id": format!("new{me}-{round}"), "hub": "h", "n": round});
                            assert_eq!(client.post("/api/leaves", &body).expect(201)["later"], 2 * round);
                        }
                        2 => assert_eq!(
                            client.patch(&path, &json!({"hub": null})).expect(200).get("label"),
                            None
                        ),
                        // The name may change at any time, and goes forward only.
                        _ => {
                            let name = |client: &mut Client| {
                                let hub = client.read("/api/hubs/h")["name"].as_str().unwrap().to_string();
                                hub.strip_prefix("name").map_or(0, |number| number.parse::<u32>().unwrap())
                            };
                            let before = name(&mut client);
                            let leaf = client.read(&path)["label"].as_str().unwrap().to_string();
                            let seen =
                                leaf.strip_prefix("NAME").map_or(0, |number| number.parse::<u32>().unwrap());
                            let after = name(&mut client);
                            assert!(before <= seen && seen <= after, "{before} {seen} {after}");
                        }
                    }
                }
            });
        }
        let mut client = server.client();
        for round in 1..=12 {
            rename(&mut client, &format!("name{round}"), &[]);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut client = server.client();
    settled(&mut client);
    let leaves = client.list("/api/leaves");
    assert_eq!(leaves.len(), LEAVES, "as many are gone as have come");
    assert!(leaves.iter().all(|leaf| match leaf["hub"].is_null() {
        true => leaf.get("label").is_none(),
        false => leaf["longer"] == "NAME12!",
    }));
    drop(client);
    server.kill();
    place.check();
}

/// A schema with new fields over much data: served at once, exact throughout, killed and gone on with.
#[test]
fn new_fields_are_filled_while_they_are_served() {
    let place = Place::new(hub::SCHEMA);
    hub(&place, &[]).kill();
    let more = hub::SCHEMA
        .replace("inverse Leaf.hub", "inverse Leaf.hub\n  sum := sum(self.leaves.twice)")
        .replace("later   :=", "twice   := self.n * 2\n  later   :=");
    place.write("schema.cor", &more);
    let flags = ["--update-rate", "4000", "--update-batch", "100"];
    let mut server = Server::start(&place, &flags);
    let mut client = server.client();
    let updates = client.read("/api/_updates")["results"].as_array().unwrap().clone();
    let open: Vec<&Json> = updates.iter().filter(|update| update["state"] != "done").collect();
    assert_eq!(open.len(), 2, "{updates:?}");
    for update in &open {
        assert_eq!(update["cause"]["schema"], true, "{update}");
        assert!(["fill", "gather"].contains(&update["task"].as_str().unwrap()), "{update}");
    }
    let mut random = Random::new(seed());
    let mut expected = 0;
    for round in 0..10 {
        let path = format!("/api/leaves/l{:04}", random.below(LEAVES as u64));
        let n = client.read(&path)["n"].as_i64().unwrap();
        assert_eq!(client.read(&path)["twice"], 2 * n);
        expected += 2 * (n + 1) - 2 * n;
        client.patch(&path, &json!({"n": n + 1})).expect(200);
        assert_eq!(client.read(&path)["twice"], 2 * (n + 1));
        if round % 4 == 3 {
            server.kill();
            server = Server::start(&place, &flags);
            client = server.client();
        }
    }
    let listed = run(&["updates", "--url", &server.url(), "--no-follow"]);
    assert!(stdout(&listed).contains("for a new schema"), "{listed:?}");
    for update in settled(&mut client).iter().filter(|update| update["cause"]["schema"] == true) {
        assert_eq!((&update["visited"], &update["estimated"]), (&json!(LEAVES), &json!(LEAVES)), "{update}");
    }
    assert_eq!(client.read("/api/hubs/h")["sum"], expected);
    drop(client);
    server.kill();
    place.check();
}

#[test]
fn updates_go_as_fast_as_they_are_told_to_while_they_run() {
    let place = Place::new(hub::SCHEMA);
    let server = hub(&place, &["--update-budget", "10", "--update-rate", "1000000"]);
    let mut client = server.client();
    client.patch("/api/_updates", &json!({"rate": 1})).expect(200);
    let id = rename(&mut client, "two", &[]).header("corollary-updates").unwrap().to_string();
    std::thread::sleep(Duration::from_millis(50));
    assert_ne!(client.read(&format!("/api/_updates/{id}"))["state"], "done");
    assert_eq!(client.read("/api/_updates")["pace"]["rate"], 1);
    let faster =
        client.patch("/api/_updates", &json!({"rate": null, "batch": 500, "at_once": 2, "share": 80}));
    assert_eq!(faster.expect(200), json!({"rate": null, "batch": 500, "at_once": 2, "share": 80}));
    settled(&mut client);
    for (body, what) in [
        (json!({"batch": 0}), "`batch`"),
        (json!({"batch": 1_000_000}), "100000"),
        (json!({"rate": "fast"}), "`rate`"),
        (json!({"rates": 1}), "did you mean `rate`?"),
        (json!({"at_once": 0}), "`at_once` is a number from 1"),
        (json!({"share": 101}), "`share` is a number from 1 to 100"),
    ] {
        let reply = client.patch("/api/_updates", &body);
        reply.problem(422, "invalid");
        assert!(reply.json()["detail"].as_str().unwrap().contains(what), "{reply:?}");
    }
    client.patch("/api/_updates", &json!([1])).problem(400, "json");
    client.patch(&format!("/api/_updates/{id}"), &json!({"state": "running"})).problem(409, "ended");
    client.patch(&format!("/api/_updates/{id}"), &json!({"state": "done"})).problem(422, "invalid");
}

/// What cannot go on says why and when it is tried again; it goes on when it can, at once where that is asked for.
#[test]
fn an_update_that_failed_goes_on() {
    let place = Place::new(&hub::SCHEMA.replace("upper(self.hub.name)", "upper(self.hub.name) index"));
    let server = hub(&place, &["--update-budget", "10"]);
    let mut client = server.client();
    let id = rename(&mut client, &"x".repeat(20_000), &[]).header("corollary-updates").unwrap().to_string();
    let path = format!("/api/_updates/{id}");
    let begun = Instant::now();
    let failed = loop {
        let update = client.read(&path);
        if update["failures"].as_u64() > Some(1) {
            break update;
        }
        assert!(begun.elapsed() < PATIENCE, "{update}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((&failed["state"], failed["retry_at"].is_string()), (&json!("failed"), true), "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("label"), "{failed}");
    client.patch(&path, &json!({"state": "running"})).expect(202);
    rename(&mut client, "short", &[]);
    client.patch(&path, &json!({"state": "running"})).expect(202);
    settled(&mut client);
    assert_eq!(client.read("/api/leaves/l2999")["label"], "SHORT");
}

#[test]
fn a_type_and_a_field_may_have_a_budget_of_their_own() {
    let place = Place::new(hub::SCHEMA);
    for (flags, updates) in [
        (&["--update-budget", "10", "--budget-of", "Leaf.label=5000"][..], false),
        (&["--update-budget", "5000", "--budget-of", "Leaf=10"], true),
        (&["--budget-of", "Leaf.label=5000", "--budget-of", "Leaf=10"], false),
    ] {
        let place = Place::new(hub::SCHEMA);
        let server = hub(&place, flags);
        let reply = rename(&mut server.client(), "two", &[]);
        assert_eq!(reply.header("corollary-updates").is_some(), updates, "with {flags:?}");
    }
    for (budget, said) in
        [("Leaf.lable=1", "did you mean label?"), ("Hubb=1", "did you mean Hub?"), ("Leaf", "TYPE=N")]
    {
        let refused = Server::try_start(&place, &["--budget-of", budget]).err().expect("a refusal");
        assert!(refused.contains(said), "{refused}");
    }
}
