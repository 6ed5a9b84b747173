//! Large consequences as several clients see them at once: the same progress for all who look, and writers that none of it
//! gets in the way of.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::*;

const LEAVES: usize = 2_000;

/// Waits until no update is open.
fn settle(client: &mut Client) {
    let begun = Instant::now();
    let open = |client: &mut Client| {
        let updates = client.read("/api/_updates")["results"].as_array().unwrap().clone();
        updates.into_iter().filter(|update| update["state"] != "done").collect::<Vec<_>>()
    };
    loop {
        let open = open(client);
        if open.is_empty() {
            return;
        }
        assert!(begun.elapsed() < 3 * PATIENCE, "{open:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn fill(client: &mut Client) {
    client.post("/api/hubs", &json!({"_id": "h", "name": "one"})).expect(201);
    let leaves = (0..LEAVES).map(|at| json!({"_id": format!("l{at:04}"), "hub": "h"})).collect();
    client.with("POST", "/api/leaves?wait=true", &[], &Json::Array(leaves)).expect(201);
}

/// Two clients attach to one update at different times, and a third one waits for it: all are told of the same end; the
/// record stays readable, also behind a restart.
#[test]
fn whoever_attaches_to_an_update_sees_the_same() {
    let place = Place::new(hub::SCHEMA);
    let server =
        Server::start(&place, &["--update-budget", "10", "--update-rate", "2000", "--update-batch", "50"]);
    let mut client = server.client();
    fill(&mut client);
    let reply = client.patch("/api/hubs/h", &json!({"name": "two"}));
    let id = reply.header("corollary-updates").expect("an update").to_string();
    let path = format!("/api/_updates/{id}");
    let mut first = server.watch(&path);
    let begun = first.next().data;
    let mut second = server.watch(&path);
    let mut all = server.watch("/api/_updates");
    // Who waits for less than it takes is told what still runs.
    let waited = Instant::now();
    let short = client.with("PATCH", "/api/hubs/h", &[("prefer", "wait=0")], &json!({"name": "three"}));
    assert!(short.header("corollary-updates").is_some_and(|ids| ids.contains(&id)), "{short:?}");
    assert!(waited.elapsed() < Duration::from_secs(2));
    let told = |watch: &mut Watch| {
        let mut told = Vec::new();
        while let Ok(event) = watch.try_next() {
            told.push(event.data);
        }
        told
    };
    let (first, second) = (told(&mut first), told(&mut second));
    let visited = |told: &[Json]| told.iter().map(|it| it["visited"].as_u64().unwrap()).collect::<Vec<_>>();
    for told in [&first, &second] {
        assert!(told.len() > 3 && visited(told).is_sorted(), "{told:?}");
        assert!(told.iter().all(|it| it["visited"].as_u64() <= it["estimated"].as_u64()), "{told:?}");
        assert_eq!(told.last().unwrap()["state"], "done");
    }
    assert_eq!(first.last(), second.last());
    assert_eq!(begun["_id"], json!(id));
    assert!(told(&mut all).iter().any(|it| it["_id"] == json!(id)), "who looks at all of them sees it, too");
    let record = client.read(&path);
    assert_eq!(Some(&record), second.last());
    settle(&mut client);
    drop(client);
    server.stop();
    let server = place.serve();
    assert_eq!(server.client().read(&path), record, "a restart forgets no record");
    drop(server);
    place.check();
}

/// What the derived values of an update leave in resources while it runs is gone with its end: nothing is marked, and what
/// is shown is what a server that never had an update would show.
#[test]
fn an_update_leaves_no_trace_in_any_resource() {
    let place = Place::new(hub::SCHEMA);
    let server = Server::start(&place, &["--update-budget", "10"]);
    let mut client = server.client();
    fill(&mut client);
    client.with("PATCH", "/api/hubs/h?wait=true", &[], &json!({"name": "two"})).expect(200);
    settle(&mut client);
    let plain = Place::new(hub::SCHEMA);
    let other = Server::start(&plain, &["--update-budget", "1000000"]);
    let mut never = other.client();
    never.post("/api/hubs", &json!({"_id": "h", "name": "two"})).expect(201);
    let leaves = (0..LEAVES).map(|at| json!({"_id": format!("l{at:04}"), "hub": "h"})).collect();
    never.with("POST", "/api/leaves?wait=true", &[], &Json::Array(leaves)).expect(201);
    settle(&mut never);
    let shown = |client: &mut Client| {
        let mut all = client.list("/api/leaves");
        // Only when it was changed differs.
        all.iter_mut().for_each(|leaf| drop(leaf.as_object_mut().unwrap().remove("_revision")));
        all
    };
    let (with, without) = (shown(&mut client), shown(&mut never));
    assert_eq!(with.len(), LEAVES);
    assert_eq!(with, without);
    let one = client.get("/api/leaves/l1999");
    assert!(one.header("corollary-pending").is_none() && one.json().get("_pending").is_none(), "{one:?}");
}

/// Eight writers against a hub, an inventory and a counter while updates run: no increment is lost, nothing is oversold, and
/// nobody gets an answer other than the one that it asked for.
#[test]
fn eight_writers_lose_nothing_while_updates_run() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 25;
    const STOCK: i64 = 120;
    const SCHEMA: &str = "
    type Hub in hubs { name: str required, leaves: inverse Leaf.hub, sum := sum(self.leaves.n) }
    type Leaf in leaves { hub: link Hub, n: int default 0, label := upper(self.hub.name), longer := self.label + '!' }
    type Item in items { stock: int required min 0, sales: inverse Sale.item, sold := sum(self.sales.count) }
    type Sale in sales { item: link Item required, count: int required, of := self.item.stock }
    type Counter in counters { n: int default 0, twice := self.n * 2 }
    ";
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &["--update-budget", "10", "--update-batch", "64"]);
    let mut client = server.client();
    fill(&mut client);
    client.post("/api/items", &json!({"_id": "i", "stock": STOCK})).expect(201);
    client.post("/api/counters", &json!({"_id": "c"})).expect(201);
    let (sold, refused, done) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (sold_by, refused_by, is_done) = (&sold, &refused, &done);
    // The first of them is there before anybody writes: how many come behind it is a matter of how fast the machine is.
    let mut renaming = server.client();
    let rename = |renaming: &mut Client, round: u32| {
        let reply = renaming.patch("/api/hubs/h", &json!({"name": format!("name{round}")}));
        assert!(reply.header("corollary-updates").is_some(), "all leaves are behind: {reply:?}");
    };
    rename(&mut renaming, 0);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|me| {
                let mut client = server.client();
                scope.spawn(move || {
                    let actions = [("content-type", "application/vnd.corollary.update+json")];
                    let inc = |client: &mut Client, path: &str, key: &str, by: i64| {
                        let body = json!([{"inc": {"key": key, "by": by}}]).to_string();
                        client.request("PATCH", path, &actions, body.as_bytes())
                    };
                    for round in 0..ROUNDS {
                        inc(&mut client, "/api/counters/c", "n", 1).expect(200);
                        let leaf = format!("/api/leaves/l{:04}", (me * ROUNDS + round) * 7 % LEAVES);
                        inc(&mut client, &leaf, "n", 1).expect(200);
                        // Both or neither.
                        let batch = json!([
                            {"method": "PATCH", "path": "/api/items/i", "body": [{"inc": {"key": "stock", "by": -1}}],
                             "content_type": "application/vnd.corollary.update+json"},
                            {"method": "POST", "path": "/api/sales", "body": {"item": "i", "count": 1}},
                        ]);
                        let reply = client.post("/api/_batch", &batch);
                        match reply.status {
                            200 => sold_by.fetch_add(1, Ordering::Relaxed),
                            422 => refused_by.fetch_add(1, Ordering::Relaxed),
                            _ => panic!("{reply:?}"),
                        };
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            let mut round = 0;
            while !is_done.load(Ordering::Relaxed) {
                round += 1;
                rename(&mut renaming, round);
                std::thread::sleep(Duration::from_millis(15));
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    settle(&mut client);
    let all = (WRITERS * ROUNDS) as i64;
    let counter = client.read("/api/counters/c");
    assert_eq!((&counter["n"], &counter["twice"]), (&json!(all), &json!(2 * all)));
    let item = client.read("/api/items/i");
    assert_eq!((&item["stock"], &item["sold"]), (&json!(0), &json!(STOCK)), "{item}");
    assert_eq!(sold.into_inner() as i64, STOCK);
    assert_eq!(refused.into_inner() as i64, all - STOCK);
    let hub = client.read("/api/hubs/h");
    assert_eq!(hub["sum"], json!(all));
    let label = hub["name"].as_str().unwrap().to_uppercase();
    assert!(client.list("/api/leaves").iter().all(|leaf| leaf["longer"] == json!(format!("{label}!"))));
    drop(client);
    server.kill();
    place.check();
}
