//! Another schema, applied while the data is written, read and watched: nobody notices but by what is new.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::*;
use corollary_store::postgres::testing::Server as Database;

const SCHEMA: &str = "
type Counter in counters { n: int default 0, logs: inverse Log.of }
type Log in logs { of: link Counter, at: int }
";

/// The schema with some derived fields more.
fn with(fields: usize) -> String {
    let more: String = (0..fields).map(|at| format!(", x{at} := self.n * {at}")).collect();
    SCHEMA.replacen(
        "logs: inverse Log.of",
        &format!("logs: inverse Log.of, all := count(self.logs){more}"),
        1,
    )
}

/// A request, sent again as long as the server found no moment between the commits of the others: then nothing was done.
fn ask(client: &mut Client, method: &str, path: &str, kind: &str, body: &[u8]) -> Reply {
    loop {
        let reply = client.request(method, path, &[("content-type", kind)], body);
        if reply.status != 503 || !reply.text().contains("found no moment") {
            return reply;
        }
    }
}

fn apply(client: &mut Client, schema: &str) -> Json {
    ask(client, "PUT", "/api/_schema", "text/plain", schema.as_bytes()).expect(200)
}

fn increment(client: &mut Client) {
    let action = br#"[{"inc": {"key": "n", "by": 1}}]"#;
    // 202: it is done, and another server has replaced the schema before it could be shown.
    let written = ask(client, "PATCH", "/api/counters/c", "application/vnd.corollary.update+json", action);
    assert!(matches!(written.status, 200 | 202), "{}", written.text());
    let written = ask(client, "POST", "/api/logs", "application/json", br#"{"of": "c"}"#);
    assert!(matches!(written.status, 201 | 202), "{}", written.text());
}

/// How many increments each writer makes at least.
const EACH: u64 = 6;

/// How many increments were made by some servers while `change` ran; every read and every write came through.
fn while_written(servers: &[&Server], change: impl FnOnce()) -> u64 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = servers
            .iter()
            .flat_map(|server| [*server; 2])
            .map(|server| {
                let done = &done;
                scope.spawn(move || {
                    let mut client = server.client();
                    let mut made = 0;
                    while made < EACH || !done.load(Ordering::Relaxed) {
                        increment(&mut client);
                        client.read("/api/counters/c");
                        client.read("/api/logs?limit=3");
                        made += 1;
                    }
                    made
                })
            })
            .collect();
        // However it ends, the writers end, too.
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change));
        done.store(true, Ordering::Relaxed);
        changed.unwrap();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    })
}

#[test]
fn no_request_fails_while_one_schema_takes_the_place_of_another() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/counters", &json!({"_id": "c"})).expect(201);
    let made = while_written(&[&server], || {
        for fields in 1..=6 {
            let applied = apply(&mut client, &with(fields));
            assert_eq!(
                (&applied["applied"], &applied["class"]),
                (&json!(true), &json!("derived")),
                "{applied}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let counter = client.read("/api/counters/c");
    assert_eq!(
        (&counter["n"], &counter["all"], &counter["x5"]),
        (&json!(made), &json!(made), &json!(made * 5))
    );
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn a_watch_goes_on_behind_a_change_of_the_schema() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/counters", &json!({"_id": "c"})).expect(201);
    let mut watch = server.watch("/api/counters?watch=true");
    assert_eq!((watch.told(), watch.told()), ("added /api/counters/c".into(), "synced".into()));
    client.patch("/api/counters/c", &json!({"n": 1})).expect(200);
    let last = watch.next().revision();
    client.patch("/api/counters/c", &json!({"n": 2})).expect(200);
    // A rule changes nothing that is stored, so the log goes on.
    apply(&mut client, &SCHEMA.replacen("n: int default 0", "n: int default 0, max 100", 1));
    client.patch("/api/counters/c", &json!({"n": 3})).expect(200);
    client.patch("/api/counters/c", &json!({"n": 300})).problem(422, "max");
    let mut watch = server.watch(&format!("/api/counters?watch=true&since={last}"));
    for n in 2..=3 {
        let event = watch.next();
        assert_eq!((event.kind(), &event.data["resource"]["n"]), ("modified", &json!(n)));
    }
    drop((watch, client));
    server.stop();
    place.check();
}

#[test]
fn the_file_from_before_does_not_bring_the_old_schema_back_and_another_one_does_what_it_says() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/counters", &json!({"_id": "c", "n": 4})).expect(201);
    apply(&mut client, &with(3));
    apply(&mut client, &with(4));
    server.stop();
    // The server is started with the file that it was started with first.
    let server = place.serve();
    assert_eq!(server.client().read("/api/counters/c")["x3"], json!(12));
    assert!(server.said().contains("is served"), "{}", server.said());
    server.stop();
    place.write("schema.cor", with(1));
    let server = place.serve();
    let counter = server.client().read("/api/counters/c");
    assert_eq!((&counter["x0"], counter.get("x3")), (&json!(0), None));
    server.stop();
    // The first file is another schema again by now.
    place.write("schema.cor", SCHEMA);
    let server = place.serve();
    assert_eq!(server.client().read("/api/counters/c").get("x0"), None);
    server.stop();
    place.check();
}

#[test]
fn all_servers_over_one_database_serve_the_schema_that_one_of_them_was_given() {
    let database = Database::new();
    let (one, other) = (Place::over(&database, SCHEMA), Place::over(&database, SCHEMA));
    let (a, b) = (one.serve(), other.serve());
    let (mut to_a, mut to_b) = (a.client(), b.client());
    to_a.post("/api/counters", &json!({"_id": "c"})).expect(201);
    let made = while_written(&[&a, &b], || {
        for fields in [2, 4] {
            apply(&mut to_a, &with(fields));
            let name = format!("x{}", fields - 1);
            let begun = Instant::now();
            while to_b.read("/api/counters/c").get(&name).is_none() {
                assert!(begun.elapsed() < PATIENCE, "the other server does not follow");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    for (client, made) in [&mut to_a, &mut to_b].into_iter().zip(made + 1..) {
        // A server may be a moment behind with what another one wrote, and its own write comes after all of it.
        increment(client);
        let counter = client.read("/api/counters/c");
        assert_eq!(
            (&counter["n"], &counter["all"], &counter["x3"]),
            (&json!(made), &json!(made), &json!(made * 3))
        );
    }
    drop((to_a, to_b));
    a.stop();
    b.stop();
    one.check();
}
