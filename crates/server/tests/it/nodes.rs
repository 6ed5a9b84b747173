//! Several servers over one PostgreSQL database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::*;
use corollary_store::postgres::testing::Server as Database;
use rustix::process::Signal;

/// What a server has to follow the other one in.
const SOON: Duration = Duration::from_secs(5);

fn place(database: &Arc<Database>, schema: &str) -> Place {
    let mut place = Place::new(schema);
    place.store = Some(database.url());
    place
}

const COUNTER: &str = "
type Counter in counters { n: int default 0, twice := self.n * 2, logs: inverse Log.of, all := count(self.logs) }
type Log in logs { of: link Counter }
";

#[test]
fn what_is_written_on_one_is_watched_and_read_on_the_other() {
    let database = Database::new();
    let (one, other) = (place(&database, COUNTER), place(&database, COUNTER));
    let (a, b) = (one.serve(), other.serve());
    let (mut to_a, mut to_b) = (a.client(), b.client());
    let features = to_b.read("/api/_features");
    assert!(features["features"].as_array().unwrap().contains(&json!("shared")), "{features}");
    let mut watch = b.watch("/api/counters?watch=true");
    assert_eq!(watch.told(), "synced");
    let created = to_a.post("/api/counters", &json!({"_id": "c"}));
    created.expect(201);
    assert_eq!(watch.told(), "added /api/counters/c");
    for n in 1..=20 {
        let written = to_a.patch("/api/counters/c", &json!({"n": n}));
        written.expect(200);
        let revision = written.header("corollary-revision").unwrap().to_string();
        let begun = Instant::now();
        let seen =
            to_b.request("GET", "/api/counters/c", &[("corollary-at-least", &revision)], b"").expect(200);
        assert_eq!((&seen["n"], &seen["twice"]), (&json!(n), &json!(2 * n)));
        assert!(begun.elapsed() < SOON);
        let event = watch.next();
        assert_eq!((event.kind(), &event.data["resource"]["twice"]), ("modified", &json!(2 * n)));
        assert_eq!(event.revision().to_string(), revision);
        // What one server has told the other one is asked for at once.
        let next = to_a.patch("/api/counters/c", &json!({"n": -n}));
        let next = next.header("corollary-revision").unwrap().to_string();
        let mut resumed = b.watch(&format!("/api/counters?watch=true&since={next}"));
        assert_eq!(resumed.told(), "synced");
        assert_eq!(watch.next().data["resource"]["twice"], json!(-2 * n));
    }
    to_b.post("/api/logs", &json!({"of": "c"})).expect(201);
    assert_eq!(watch.next().data["resource"]["all"], json!(1));
    to_b.request("GET", "/api/counters/c", &[("corollary-at-least", "100000")], b"")
        .problem(504, "corollary-at-least");
    drop((to_a, to_b, watch));
    a.stop();
    b.stop();
    one.check();
}

#[test]
fn two_servers_count_one_counter() {
    const CLIENTS: usize = 5;
    const EACH: usize = 20;
    let database = Database::new();
    let (one, other) = (place(&database, COUNTER), place(&database, COUNTER));
    let servers = [one.serve(), other.serve()];
    servers[0].client().post("/api/counters", &json!({"_id": "c"})).expect(201);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for server in &servers {
            for _ in 0..CLIENTS {
                scope.spawn(move || {
                    let mut client = server.client();
                    for _ in 0..EACH {
                        let body = json!([{"inc": {"key": "n", "by": 1}}]).to_string();
                        let headers = [("content-type", "application/vnd.corollary.update+json")];
                        client.request("PATCH", "/api/counters/c", &headers, body.as_bytes()).expect(200);
                        client.post("/api/logs", &json!({"of": "c"})).expect(201);
                    }
                });
            }
        }
    });
    let all = 2 * CLIENTS * EACH;
    println!("{} writes by two servers in {:?}", 2 * all, begun.elapsed());
    for server in &servers {
        let least = format!("{}", 1 + 2 * all);
        let headers = [("corollary-at-least", least.as_str())];
        let seen = server.client().request("GET", "/api/counters/c", &headers, b"").expect(200);
        assert_eq!((&seen["n"], &seen["twice"], &seen["all"]), (&json!(all), &json!(2 * all), &json!(all)));
        assert_eq!(seen["_revision"], json!(least), "revisions have no gaps");
    }
    for server in servers {
        server.stop();
    }
    one.check();
}

#[test]
fn what_a_killed_server_leaves_of_an_update_another_one_ends() {
    const LEAVES: usize = 600;
    let database = Database::new();
    let (one, other) = (place(&database, hub::SCHEMA), place(&database, hub::SCHEMA));
    let slow = ["--update-budget", "10", "--update-rate", "200", "--update-batch", "10"];
    let a = Server::start(&one, &slow);
    let b = Server::start(&other, &["--update-budget", "10"]);
    let (mut to_a, mut to_b) = (a.client(), b.client());
    to_a.post("/api/hubs", &json!({"_id": "h", "name": "one"})).expect(201);
    let leaves = (0..LEAVES).map(|at| json!({"_id": format!("l{at:04}"), "hub": "h"})).collect();
    // By the other one, which has no rate.
    to_b.with("POST", "/api/leaves", &[("prefer", "wait=20")], &Json::Array(leaves)).expect(201);
    let reply = to_a.patch("/api/hubs/h", &json!({"name": "two"}));
    reply.expect(200);
    let id = reply.header("corollary-updates").expect("an update").to_string();
    let path = format!("/api/_updates/{id}");
    let begun = Instant::now();
    let visited = |client: &mut Client| client.read(&path)["visited"].as_u64().unwrap();
    while visited(&mut to_a) < 20 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let owner = to_a.read(&path)["node"].clone();
    a.kill();
    // The other one shows what is right meanwhile, by the facts.
    assert_eq!(to_b.read("/api/leaves/l0599")["label"], json!("TWO"));
    let begun = Instant::now();
    let ended = loop {
        let update = to_b.read(&path);
        if update["state"] == "done" {
            break update;
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "{update}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_ne!(ended["node"], owner);
    assert_eq!(ended["visited"], json!(LEAVES), "what was done was not done again");
    assert_eq!(to_b.read("/api/leaves/l0599")["longer"], json!("TWO!"));
    drop(to_b);
    b.stop();
    other.check();
}

#[test]
fn a_server_that_sleeps_wakes_up_to_what_there_is() {
    let database = Database::new();
    let (one, other) = (place(&database, COUNTER), place(&database, COUNTER));
    let (a, b) = (one.serve(), other.serve());
    let (mut to_a, mut to_b) = (a.client(), b.client());
    to_a.post("/api/counters", &json!({"_id": "c", "n": 1})).expect(201);
    a.signal(Signal::STOP);
    for n in 2..=30 {
        to_b.put("/api/counters/c", &json!({"n": n})).expect(200);
    }
    a.signal(Signal::CONT);
    let body = json!([{"inc": {"key": "n", "by": 1}}]).to_string();
    let headers = [("content-type", "application/vnd.corollary.update+json")];
    let done = to_a.request("PATCH", "/api/counters/c", &headers, body.as_bytes()).expect(200);
    assert_eq!((&done["n"], &done["twice"]), (&json!(31), &json!(62)));
    drop((to_a, to_b));
    a.stop();
    b.stop();
    one.check();
}

#[test]
fn another_schema_stops_the_servers_that_do_not_have_it() {
    let database = Database::new();
    let one = place(&database, COUNTER);
    let newer =
        place(&database, &format!("{COUNTER} type More in more {{ c: link Counter, n := self.c.n }}"));
    let mut a = one.serve();
    a.client().post("/api/counters", &json!({"_id": "c", "n": 1})).expect(201);
    let b = newer.serve();
    let status = a.wait();
    assert_eq!(status.code(), Some(1));
    assert!(a.said().contains("another server has changed the schema"), "{}", a.said());
    let mut to_b = b.client();
    to_b.post("/api/more", &json!({"_id": "m", "c": "c"})).expect(201);
    assert_eq!(to_b.read("/api/more/m")["n"], json!(1));
    drop(to_b);
    b.stop();
    newer.check();
}
