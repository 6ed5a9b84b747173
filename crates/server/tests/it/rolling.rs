//! Servers over one database that are stopped and started again one after the other, while clients write and read: every
//! request is answered in the end, and every write is done once.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use crate::common::*;
use corollary_store::postgres::testing::Server as Database;

const SCHEMA: &str = "
type Counter in counters { n: int default 0, twice := self.n * 2, logs: inverse Log.of, all := count(self.logs) }
type Log in logs { of: link Counter, by: str }
";

/// The same with more, which clients of the one before need not know.
const NEWER: &str = "
type Counter in counters {
  n: int default 0
  twice := self.n * 2
  logs: inverse Log.of
  all := count(self.logs)
  clients := count(distinct(self.logs.by))
}
type Log in logs { of: link Counter, by: str, n := self.of.n }
type More in more { c: link Counter, n := self.c.n }
";

const CLIENTS: usize = 4;

/// Requests that have to be answered between one restart and the next.
const BETWEEN: usize = 24;

/// How long a request may take in the end, with all that is done to have it answered.
const IN_THE_END: Duration = Duration::from_secs(120);

/// Where the servers are now; none while one is not there.
type Addresses = [RwLock<Option<String>>; 2];

/// A client that knows both servers, and does what is sensible.
struct Sensible<'a> {
    addresses: &'a Addresses,
    at: usize,
    open: Option<(String, Client)>,
    again: &'a AtomicUsize,
}

impl Sensible<'_> {
    fn once(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
        let address = self.addresses[self.at].read().unwrap().clone();
        let address = address.ok_or(io::ErrorKind::ConnectionRefused)?;
        // A connection is kept for as long as it works.
        let open = self.open.take().filter(|(of, _)| *of == address);
        let (_, client) = self.open.insert(open.unwrap_or_else(|| (address.clone(), Client::new(&address))));
        client.try_request(method, path, headers, body)
    }

    /// The reply, which is a success: after a connection that broke or was refused, and after 503, it is sent again.
    fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let begun = Instant::now();
        loop {
            match self.once(method, path, headers, body) {
                Ok(reply) if reply.status == 503 => {
                    assert!(reply.header("retry-after").is_some(), "{reply:?}");
                }
                Ok(reply) => {
                    assert!(matches!(reply.status, 200..=299), "{method} {path}: {}", reply.text());
                    return reply;
                }
                Err(_) => self.open = None,
            }
            assert!(begun.elapsed() < IN_THE_END, "{method} {path} is not answered");
            self.again.fetch_add(1, Ordering::Relaxed);
            self.at = (self.at + 1) % 2;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What clients and whoever restarts the servers know of each other.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    again: AtomicUsize,
}

impl Shared {
    /// Waits until so many more requests have been answered.
    fn wait_for_more(&self, failed: &dyn Fn() -> bool) {
        let (begun, until) = (Instant::now(), self.answered.load(Ordering::Relaxed) + BETWEEN);
        while self.answered.load(Ordering::Relaxed) < until && !failed() {
            assert!(begun.elapsed() < IN_THE_END, "nothing is answered any more");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Writes and reads by `request` until it is told to stop; how many of its writes were acknowledged.
fn work(
    client: usize,
    shared: &Shared,
    mut request: impl FnMut(&str, &str, &[(&str, &str)], &[u8]) -> Reply,
) -> usize {
    let mut done = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let keys = ["inc", "log"].map(|what| format!("{what}-{client}-{done}"));
        let headers =
            [("content-type", "application/vnd.corollary.update+json"), ("idempotency-key", &keys[0])];
        let body = json!([{"inc": {"key": "n", "by": 1}}]).to_string();
        request("PATCH", "/api/counters/c", &headers, body.as_bytes());
        let headers = [("content-type", "application/json"), ("idempotency-key", &keys[1])];
        let body = json!({"_id": keys[1], "of": "c", "by": format!("client {client}")}).to_string();
        let revision = request("POST", "/api/logs", &headers, body.as_bytes()).revision().to_string();
        done += 1;
        // What was acknowledged by one server is seen at the other.
        let seen = request("GET", "/api/counters/c", &[("corollary-at-least", &revision)], b"").json();
        let at_least = |name: &str| seen[name].as_u64() >= Some(done as u64);
        assert!(
            at_least("n") && at_least("all") && seen["twice"].as_u64() == seen["n"].as_u64().map(|n| 2 * n),
            "{seen}"
        );
        shared.answered.fetch_add(3, Ordering::Relaxed);
    }
    done
}

/// Nothing is lost, nothing is done twice, and everything follows.
fn judge(place: &Place, server: Server, done: usize) {
    let seen = server.client().read("/api/counters/c");
    assert_eq!((&seen["n"], &seen["all"], &seen["twice"]), (&json!(done), &json!(done), &json!(2 * done)));
    assert_eq!(server.client().ids("/api/logs?limit=1000").len(), done);
    assert!(server.stop().0.success());
    place.check();
}

/// Two places over one database, and a schema for both.
fn places(database: &Database) -> [Place; 2] {
    [(); 2].map(|()| {
        let mut place = Place::new(SCHEMA);
        place.store = Some(database.url());
        place
    })
}

/// The schemas with which the servers are started again, one after the other.
fn restarts() -> impl Iterator<Item = (usize, &'static str)> {
    [SCHEMA, NEWER, NEWER].into_iter().flat_map(|schema| [(0, schema), (1, schema)])
}

#[test]
fn clients_that_try_again_lose_nothing_to_servers_that_stop() {
    let database = Database::new();
    let places = places(&database);
    let mut servers = [0, 1].map(|at: usize| Some(places[at].serve()));
    let addresses: Addresses =
        [0, 1].map(|at| RwLock::new(servers[at].as_ref().map(|server: &Server| server.address.clone())));
    servers[0].as_ref().unwrap().client().post("/api/counters", &json!({"_id": "c"})).expect(201);
    let shared = Shared::default();
    let done: usize = std::thread::scope(|scope| {
        let (addresses, shared) = (&addresses, &shared);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut sensible =
                        Sensible { addresses, at: client % 2, open: None, again: &shared.again };
                    work(client, shared, |method, path, headers, body| {
                        sensible.request(method, path, headers, body)
                    })
                })
            })
            .collect();
        let failed = || clients.iter().any(|client| client.is_finished());
        for (at, schema) in restarts() {
            shared.wait_for_more(&failed);
            let (status, _) = servers[at].take().unwrap().stop();
            *addresses[at].write().unwrap() = None;
            assert!(status.success(), "{status}");
            // The other one goes on alone.
            shared.wait_for_more(&failed);
            places[at].write("schema.cor", schema);
            let server = places[at].serve();
            *addresses[at].write().unwrap() = Some(server.address.clone());
            servers[at] = Some(server);
        }
        shared.wait_for_more(&failed);
        shared.stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("every request is answered")).sum()
    });
    println!("{done} pairs of writes, {} requests sent again", shared.again.load(Ordering::Relaxed));
    let [one, other] = servers.map(Option::unwrap);
    assert_eq!(other.client().read("/api/counters/c")["clients"], json!(CLIENTS));
    assert!(one.stop().0.success());
    judge(&places[1], other, done);
}

/// Tells a server with much time to drain to stop, and waits until it has heard of it: two signals at once would be one.
fn drain(server: &Server) {
    server.terminate();
    let begun = Instant::now();
    while server.client().get("/readyz").status != 503 {
        assert!(begun.elapsed() < PATIENCE, "it is told to stop, and says that it is ready");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What spreads requests over the servers that are ready: it looks at `/readyz`, and nothing is ever sent twice.
#[test]
fn a_server_that_drains_is_left_before_it_stops() {
    let database = Database::new();
    let places = places(&database);
    // Longer than any test: a second SIGTERM ends it.
    let start = |place: &Place| Server::start(place, &["--drain-seconds", "3600"]);
    let mut servers = [0, 1].map(|at: usize| Some(start(&places[at])));
    // Whoever sends a request holds the lock until it is answered.
    let ready: Arc<Addresses> = Arc::new(
        [0, 1].map(|at| RwLock::new(servers[at].as_ref().map(|server: &Server| server.address.clone()))),
    );
    servers[0].as_ref().unwrap().client().post("/api/counters", &json!({"_id": "c"})).expect(201);
    let shared = Shared::default();
    let done: usize = std::thread::scope(|scope| {
        let (ready, shared) = (&ready, &shared);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut next = client;
                    work(client, shared, |method, path, headers, body| {
                        loop {
                            next += 1;
                            let address = ready[next % 2].read().unwrap();
                            let Some(address) = &*address else { continue };
                            let reply = Client::new(address).request(method, path, headers, body);
                            assert!(matches!(reply.status, 200..=299), "{method} {path}: {}", reply.text());
                            return reply;
                        }
                    })
                })
            })
            .collect();
        let failed = || clients.iter().any(|client| client.is_finished());
        for (at, schema) in restarts() {
            shared.wait_for_more(&failed);
            let server = servers[at].take().unwrap();
            drain(&server);
            // It is asked for everything still.
            shared.wait_for_more(&failed);
            *ready[at].write().unwrap() = None;
            let (status, _) = server.stop();
            assert!(status.success(), "{status}");
            places[at].write("schema.cor", schema);
            let server = start(&places[at]);
            server.client().get("/readyz").expect_status(200);
            *ready[at].write().unwrap() = Some(server.address.clone());
            servers[at] = Some(server);
        }
        shared.wait_for_more(&failed);
        shared.stop.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("every request is answered at once")).sum()
    });
    let [one, other] = servers.map(Option::unwrap);
    drain(&one);
    assert!(one.stop().0.success());
    drain(&other);
    judge(&places[1], other, done);
}

#[test]
fn a_server_that_drains_serves_and_tells_its_clients_to_go() {
    let place = Place::new(SCHEMA);
    let mut server = Server::start(&place, &["--drain-seconds", "3600"]);
    let mut client = server.client();
    client.post("/api/counters", &json!({"_id": "c"})).expect(201);
    assert_eq!(client.get("/readyz").expect_status(200).header("connection"), None);
    let mut watch = server.watch("/api/counters/c?watch=true");
    assert_eq!(watch.told(), "added /api/counters/c");
    assert_eq!(watch.told(), "synced");
    drain(&server);
    let refused = client.get("/readyz");
    refused.problem(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    // It writes, reads, and tells watches of it; with each reply its connection ends.
    let written = client.patch("/api/counters/c", &json!({"n": 1}));
    assert_eq!(written.header("connection"), Some("close"));
    written.expect(200);
    assert_eq!(client.read("/api/counters/c")["twice"], json!(2));
    assert_eq!(watch.next().data["resource"]["twice"], json!(2));
    client.get("/healthz").expect_status(200);
    server.terminate();
    assert!(server.wait().success());
    place.check();
}
