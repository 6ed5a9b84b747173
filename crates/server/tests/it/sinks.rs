//! Hooks that deliver to a file or to a stream of NATS JetStream: at least once, in order, through the end of any process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::nats::Nats;
use crate::common::receiver::until;
use crate::common::*;
use corollary_store::postgres::testing::Server as Database;

const SCHEMA: &str = "
type Customer in customers { name: str, orders: inverse Order.customer, total := sum(self.orders.amount) }
type Order in orders { customer: link Customer, amount: int default 0 }
";

/// A hook that tries again soon.
fn hook(id: &str, path: &str, url: &str) -> Json {
    json!({ "_id": id, "path": path, "url": url, "retry": { "first_seconds": 0.02, "most_seconds": 0.2 } })
}

/// A server with a folder for files.
fn serve(place: &Place) -> Server {
    let folder = folder(place);
    fs::create_dir_all(&folder).unwrap();
    Server::start(place, &["--sink-folder", folder.to_str().unwrap()])
}

fn folder(place: &Place) -> PathBuf {
    place.path("sinks")
}

fn caught_up(state: &Json) -> bool {
    state["lag"] == json!(0)
}

/// The lines of a file, each of them whole.
fn lines(path: &Path) -> Vec<Json> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'j>(json: &'j Json, name: &str) -> &'j str {
    json[name].as_str().unwrap()
}

fn revision(event: &Json) -> u64 {
    text(event, "revision").parse().unwrap()
}

/// What was written to orders behind a revision, as the log tells it.
fn written(client: &mut Client, since: u64) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for commit in client.list(&format!("/api/_log?path=/orders&since={since}&limit=1000")) {
        let changes = commit["changes"].as_array().unwrap();
        all.extend(changes.iter().map(|change| (revision(&commit), text(change, "path").to_owned())));
    }
    all
}

/// Writes orders until it is told to stop, or the server is gone.
fn write(server: &Server, done: &Arc<AtomicBool>, next: &Arc<AtomicU64>) -> thread::JoinHandle<()> {
    let (mut client, done, next) = (server.client(), done.clone(), next.clone());
    thread::spawn(move || {
        while !done.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let path = format!("/api/orders/o{}", n % 7);
            let body = json!({ "amount": n }).to_string();
            let kind = ("content-type", "application/json");
            if client.try_request("PUT", &path, &[kind], body.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// Seven orders; the revision behind which a hook on them begins.
fn orders(client: &mut Client) -> u64 {
    let all: Vec<Json> = (0..7).map(|n| json!({ "_id": format!("o{n}") })).collect();
    client.post("/api/orders", &json!(all)).expect_status(201).revision()
}

#[test]
fn a_file_has_a_line_for_each_event_in_the_order_of_the_log() {
    let place = Place::new(SCHEMA);
    let server = serve(&place);
    let mut client = server.client();
    let made = client.post("/api/_hooks", &hook("f", "/orders", "file:orders.ndjson")).expect(201);
    assert_eq!(made["secret"], Json::Null, "nothing is signed");
    client.post("/api/orders", &json!([{"_id": "a"}, {"_id": "b", "amount": 3}])).expect_status(201);
    client.patch("/api/orders/b", &json!({"amount": 4})).expect_status(200);
    client.patch("/api/orders/a", &json!({"amount": 5})).expect_status(200);
    client.delete("/api/orders/b").expect_status(204);
    until(&mut client, "f", "all is written", |state| caught_up(state) && state["delivered"] == json!(5));
    let found = lines(&folder(&place).join("orders.ndjson"));
    let told: Vec<(&str, &str)> = found.iter().map(|line| (text(line, "type"), text(line, "path"))).collect();
    assert_eq!(
        told,
        [
            ("added", "/api/orders/a"),
            ("added", "/api/orders/b"),
            ("modified", "/api/orders/b"),
            ("modified", "/api/orders/a"),
            ("removed", "/api/orders/b")
        ]
    );
    assert_eq!((&found[2]["old"], &found[2]["resource"]["amount"]), (&json!({"amount": 3}), &json!(4)));
    let ids: BTreeSet<&str> = found.iter().map(|line| text(line, "id")).collect();
    assert_eq!(ids.len(), 5);
    // What is moved away stays as it is, and a new one is begun.
    fs::rename(folder(&place).join("orders.ndjson"), folder(&place).join("old")).unwrap();
    client.patch("/api/orders/a", &json!({"amount": 6})).expect_status(200);
    until(&mut client, "f", "the new one is written", |state| state["delivered"] == json!(6));
    assert_eq!(lines(&folder(&place).join("orders.ndjson")).len(), 1);
    assert_eq!(lines(&folder(&place).join("old")).len(), 5);
    server.stop();
}

#[test]
fn a_file_misses_nothing_through_kills_and_all_of_its_lines_are_whole() {
    let place = Place::new(SCHEMA);
    let path = folder(&place).join("orders.ndjson");
    let server = serve(&place);
    let mut client = server.client();
    let since = orders(&mut client);
    client.post("/api/_hooks", &hook("f", "/orders", "file:orders.ndjson")).expect_status(201);
    drop(client);
    server.kill();
    let (next, mut random) = (Arc::new(AtomicU64::new(1)), Random::new(seed()));
    for _ in 0..6 {
        let server = serve(&place);
        let done: Arc<AtomicBool> = Arc::default();
        let writer = write(&server, &done, &next);
        thread::sleep(Duration::from_millis(100 + random.below(300)));
        server.kill();
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        // As if it had been killed within a line.
        let length = fs::metadata(&path).map_or(0, |there| there.len());
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        if length > 0 {
            std::io::Write::write_all(&mut file, b"{\"id\":\"f-1").unwrap();
        }
    }
    let server = serve(&place);
    let mut client = server.client();
    client.patch("/api/orders/o0", &json!({"amount": -1})).expect_status(200);
    until(&mut client, "f", "all is written", caught_up);
    let found = lines(&path);
    let expected = written(&mut client, since);
    assert!(expected.len() > 50, "{}", expected.len());
    let mut known = BTreeMap::new();
    let mut first = Vec::new();
    for line in &found {
        match known.insert(text(line, "id"), line) {
            Some(before) => assert_eq!(before, line, "one id, two lines"),
            None => first.push((revision(line), text(line, "path").to_owned())),
        }
    }
    println!("{} events, {} lines", first.len(), found.len());
    assert_eq!(first, expected);
    server.stop();
}

#[test]
fn a_file_that_cannot_be_written_is_waited_for() {
    let place = Place::new(SCHEMA);
    let server = serve(&place);
    let mut client = server.client();
    let path = folder(&place).join("x");
    fs::write(&path, "mine\n").unwrap();
    client.post("/api/_hooks", &hook("f", "/orders", "file:x")).expect_status(201);
    client.post("/api/orders", &json!({"_id": "a"})).expect_status(201);
    client.post("/api/orders", &json!({"_id": "b"})).expect_status(201);
    let state = until(&mut client, "f", "it fails", |state| state["status"] == json!("failing"));
    assert!(text(&state, "error").contains("no hook has written"), "{state}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine\n");
    fs::remove_file(&path).unwrap();
    until(&mut client, "f", "it is written", |state| caught_up(state) && state["status"] == json!("active"));
    let found = lines(&path);
    assert_eq!(
        found.iter().map(|line| text(line, "path")).collect::<Vec<_>>(),
        ["/api/orders/a", "/api/orders/b"]
    );
    server.stop();
}

#[test]
fn what_cannot_be_delivered_to_is_refused_with_its_place() {
    let place = Place::new(SCHEMA);
    let server = serve(&place);
    let mut client = server.client();
    for url in [
        "file:",
        "file:../x",
        "file:/etc/x",
        "file:a/b",
        "file:.x",
        "nats:x",
        "nats://x",
        "nats://x/a.*",
        "nats://me:pw@x/a",
        "nats://x:y/a",
        "stdout:",
    ] {
        let refused = client.post("/api/_hooks", &hook("w", "/orders", url)).expect_status(422);
        assert_eq!(refused.errors(), ["url /url"], "{url}");
    }
    let mut wrong = hook("w", "/orders", "file:a");
    (wrong["secret"], wrong["headers"]) =
        (json!("whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"), json!({"x": "y"}));
    let refused = client.post("/api/_hooks", &wrong).expect_status(422);
    assert_eq!(refused.errors(), ["header /headers", "secret /secret"]);
    for (name, value) in [("nats-msg-id", "1"), ("authorization", "s3cret")] {
        let mut wrong = hook("w", "/orders", "nats://x/a");
        wrong["headers"] = json!({ name: value });
        let refused = client.post("/api/_hooks", &wrong).expect_status(422);
        assert_eq!(refused.errors(), [format!("header /headers/{name}")]);
    }
    client.post("/api/_hooks", &hook("f", "/orders", "file:a")).expect_status(201);
    let second = client.post("/api/_hooks", &hook("g", "/orders", "file:a")).problem(422, "invalid");
    assert!(text(&second, "detail").contains("hook `f`"), "{second}");
    client.post("/api/_hooks", &hook("g", "/orders", "file:b")).expect_status(201);
    client.patch("/api/_hooks/g", &json!({"url": "file:a"})).problem(422, "invalid");
    server.stop();
    let server = place.serve();
    let mut client = server.client();
    let refused = client.post("/api/_hooks", &hook("h", "/orders", "file:c")).problem(422, "sink-folder");
    assert_eq!(refused["errors"][0]["path"], json!("/url"));
    // What was declared before waits for a server that has a folder.
    until(&mut client, "f", "nobody delivers", |state| state["status"] == json!("waiting"));
    server.stop();
    let failed = Server::try_start(&place, &["--sink-folder", "/nothing/there"]).err().unwrap();
    assert!(failed.contains("/nothing/there is no folder"), "{failed}");
}

/// Now and then a line said that the schema had been replaced, instead of the commits behind that.
#[test]
fn the_log_is_told_on_standard_output() {
    let place = Place::new(SCHEMA);
    let mut child = corollary(&["serve", "--listen", "127.0.0.1:0", "--log-to", "-"])
        .args(place.args())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut told = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    let mut client = Client::new(line.trim_end().rsplit_once("://").unwrap().1);
    client.post("/api/orders", &json!({"_id": "a", "amount": 3})).expect_status(201);
    client
        .put("/api/_schema", &json!({"text": SCHEMA.replace("name: str", "name: str, note: str")}))
        .expect_status(200);
    for (at, amount) in (4..30).enumerate() {
        let name = format!("note: str, more{at}: str");
        client.put(
            "/api/_schema",
            &json!({"text": SCHEMA.replace("name: str", &format!("name: str, {name}"))}),
        );
        client.patch("/api/orders/a", &json!({"amount": amount})).expect_status(200);
    }
    let mut next = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut told, &mut line).unwrap();
        serde_json::from_str::<Json>(&line).unwrap()
    };
    let added = next();
    assert_eq!((text(&added, "revision"), &added["changes"][0]["new"]), ("1", &json!({"amount": 3})));
    for amount in 4..30 {
        let modified = next();
        assert_eq!(modified["changes"][0]["old"], json!({"amount": amount - 1}), "{modified}");
    }
    drop(client);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_stream_has_each_event_once_with_its_id() {
    let place = Place::new(SCHEMA);
    let server = serve(&place);
    let mut client = server.client();
    let nats = Nats::new();
    nats.stream("S", "shop.orders");
    let mut wanted = hook("n", "/orders", &nats.url("shop.orders"));
    wanted["headers"] = json!({"x-shop": "one"});
    client.post("/api/_hooks", &wanted).expect_status(201);
    client.post("/api/orders", &json!({"_id": "a", "amount": 3})).expect_status(201);
    client.patch("/api/orders/a", &json!({"amount": 4})).expect_status(200);
    client.delete("/api/orders/a").expect_status(204);
    let stored = nats.until("S", 3);
    let told: Vec<&str> = stored.iter().map(|message| text(&message.event, "type")).collect();
    assert_eq!(told, ["added", "modified", "removed"]);
    for line in ["Content-Type: application/json", "Corollary-Hook: n", "x-shop: one"] {
        assert!(stored[0].headers.contains(line), "{stored:?}");
    }
    until(&mut client, "n", "all is delivered", |state| caught_up(state) && state["delivered"] == json!(3));
    // From the beginning once more: the stream knows all of it.
    client.patch("/api/_hooks/n", &json!({"since": "0"})).expect_status(200);
    until(&mut client, "n", "all is delivered again", |state| state["delivered"] == json!(6));
    assert_eq!(nats.stored("S").len(), 3);
    server.stop();
}

#[test]
fn a_stream_misses_nothing_through_kills_of_both_sides() {
    let place = Place::new(SCHEMA);
    let mut nats = Nats::new();
    nats.stream("S", "orders");
    let server = serve(&place);
    let mut client = server.client();
    let since = orders(&mut client);
    client.post("/api/_hooks", &hook("n", "/orders", &nats.url("orders"))).expect_status(201);
    drop(client);
    server.kill();
    let (next, mut random) = (Arc::new(AtomicU64::new(1)), Random::new(seed()));
    for round in 0..6 {
        let server = serve(&place);
        let done: Arc<AtomicBool> = Arc::default();
        let writer = write(&server, &done, &next);
        thread::sleep(Duration::from_millis(100 + random.below(300)));
        if round % 2 == 0 {
            nats.kill();
            thread::sleep(Duration::from_millis(random.below(300)));
            nats.start();
            thread::sleep(Duration::from_millis(random.below(300)));
        }
        server.kill();
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    }
    let server = serve(&place);
    let mut client = server.client();
    until(&mut client, "n", "all is delivered", caught_up);
    let expected = written(&mut client, since);
    assert!(expected.len() > 50, "{}", expected.len());
    let stored = nats.stored("S");
    let ids: BTreeSet<&str> = stored.iter().map(|message| message.id()).collect();
    assert_eq!(ids.len(), stored.len(), "what came twice was dropped");
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for message in &stored {
        let before = last.insert(message.path(), message.revision());
        assert!(before.is_none_or(|before| before < message.revision()), "{message:?} behind {before:?}");
    }
    let mut came: Vec<_> =
        stored.iter().map(|message| (message.revision(), message.path().to_owned())).collect();
    came.sort();
    println!("{} events", came.len());
    assert_eq!(came, expected);
    server.stop();
}

#[test]
fn a_stream_that_is_missing_or_full_is_told_of_and_letters_are_sent_again() {
    let place = Place::new(SCHEMA);
    let server = serve(&place);
    let mut client = server.client();
    let nats = Nats::with(&["--user", "me", "--pass", "a:b"], json!({"user": "me", "pass": "a:b"}));
    let mut wanted = hook("n", "/orders", &nats.url("orders"));
    wanted["retry"]["give_up_seconds"] = json!(0.3);
    wanted["timeout_seconds"] = json!(2);
    client.post("/api/_hooks", &wanted).expect_status(201);
    client.post("/api/orders", &json!({"_id": "a"})).expect_status(201);
    let state = until(&mut client, "n", "it is not let in", |state| state["letters"] == json!(1));
    let letters = client.read("/api/_hooks/n/letters");
    assert!(text(&letters["results"][0], "error").contains("Authorization Violation"), "{letters} {state}");
    let let_in = json!({"headers": {"authorization": "Basic bWU6YTpi"}});
    client.patch("/api/_hooks/n", &let_in).expect_status(200);
    client.post("/api/orders", &json!({"_id": "b"})).expect_status(201);
    until(&mut client, "n", "nobody takes it", |state| state["letters"] == json!(2));
    let letters = client.read("/api/_hooks/n/letters");
    assert!(text(&letters["results"][1], "error").contains("no stream"), "{letters}");
    nats.stream("S", "orders");
    client.post("/api/_hooks/n/replay", &json!({"all": true})).expect_status(202);
    let stored = nats.until("S", 2);
    let headers = &stored[0].headers;
    assert!(!headers.to_lowercase().contains("authorization"), "{headers}");
    until(&mut client, "n", "no letter is left", |state| state["letters"] == json!(0));
    server.stop();
}

#[test]
fn of_two_servers_the_one_with_a_folder_writes() {
    let database = Database::new();
    let (one, other) = (Place::over(&database, SCHEMA), Place::over(&database, SCHEMA));
    fs::create_dir_all(folder(&other)).unwrap();
    let a = Server::start(&one, &["--node", "a"]);
    let b = Server::start(&other, &["--node", "b", "--sink-folder", folder(&other).to_str().unwrap()]);
    let (mut to_a, mut to_b) = (a.client(), b.client());
    to_a.post("/api/_hooks", &hook("f", "/orders", "file:orders")).problem(422, "sink-folder");
    to_b.post("/api/_hooks", &hook("f", "/orders", "file:orders")).expect_status(201);
    to_a.post("/api/orders", &json!({"_id": "x"})).expect_status(201);
    to_b.post("/api/orders", &json!({"_id": "y"})).expect_status(201);
    until(&mut to_a, "f", "b writes", |state| state["node"] == json!("b") && state["delivered"] == json!(2));
    assert_eq!(lines(&folder(&other).join("orders")).len(), 2);
    drop(to_b);
    b.stop();
    // Who has no folder leaves it to others.
    to_a.post("/api/orders", &json!({"_id": "z"})).expect_status(201);
    until(&mut to_a, "f", "it waits", |state| state["status"] == json!("waiting"));
    let b = Server::start(&other, &["--node", "b", "--sink-folder", folder(&other).to_str().unwrap()]);
    until(&mut to_a, "f", "b goes on", |state| state["delivered"] == json!(3));
    let paths: Vec<String> =
        lines(&folder(&other).join("orders")).iter().map(|line| text(line, "path").to_owned()).collect();
    assert_eq!(paths, ["/api/orders/x", "/api/orders/y", "/api/orders/z"]);
    drop(to_a);
    b.stop();
    a.stop();
}

#[test]
fn a_stream_is_spoken_to_in_secret_by_who_trusts_it() {
    let mut place = Place::new(SCHEMA);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_string()]).unwrap();
    let (key, cert) =
        (place.write("key.pem", made.signing_key.serialize_pem()), place.write("cert.pem", made.cert.pem()));
    let nats = Nats::with(&["--tls", "--tlscert", &cert, "--tlskey", &key], json!({}));
    let url = nats.url("orders").replace("nats://", "tls://");
    // Who does not trust the certificate sends nothing.
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/_hooks", &hook("n", "/orders", &url)).expect_status(201);
    client.post("/api/orders", &json!({"_id": "a"})).expect_status(201);
    let state = until(&mut client, "n", "it fails", |state| state["status"] == json!("failing"));
    assert!(text(&state, "error").contains("certificate"), "{state}");
    server.stop();
    place.environment.push(("SSL_CERT_FILE".into(), cert));
    let server = place.serve();
    let mut client = server.client();
    // Here nobody has made a stream; that is known from what came through.
    let state = until(&mut client, "n", "it comes through", |state| {
        state["error"].as_str().is_some_and(|error| error.contains("no stream"))
    });
    assert_eq!(state["delivered"], json!(0));
    server.stop();
}

#[test]
fn a_hook_that_goes_elsewhere_is_signed_where_that_is_needed() {
    let place = Place::new(SCHEMA);
    let server = serve(&place);
    let mut client = server.client();
    let wanted = hook("h", "/orders", "https://localhost:1/in");
    let first = client.post("/api/_hooks", &wanted).expect(201);
    assert!(text(&first, "secret").starts_with("whsec_"));
    let changed = client.patch("/api/_hooks/h", &json!({"url": "file:orders"})).expect(200);
    assert_eq!(changed["secret"], Json::Null);
    client.post("/api/orders", &json!({"_id": "a"})).expect_status(201);
    until(&mut client, "h", "it is written", caught_up);
    let changed = client.patch("/api/_hooks/h", &json!({"url": "https://localhost:1/in"})).expect(200);
    assert!(text(&changed, "secret").starts_with("whsec_"), "nobody could know it otherwise: {changed}");
    assert_ne!(changed["secret"], first["secret"]);
    server.stop();
}
