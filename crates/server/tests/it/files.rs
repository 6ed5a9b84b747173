//! Files through the real server: large ones, in memory that does not grow with them; what is cut short; what is lost with
//! a process and what is not.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::common::*;
use corollary_engine::keys;
use corollary_store::postgres::testing::Server as Database;
use corollary_store::{Batch, Direction, KeyRange, Keyspace, Store};

const SCHEMA: &str = "
type Folder in folders {
  name:  str
  docs:  collection Doc
  bytes := sum(self.docs.scan.size)
}
type Doc { scan: file }
type Kept in kepts history { scan: file max '1 KiB' }
";

const SCAN: &str = "/api/folders/f/docs/d/scan";

/// Bytes that look like chance.
fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.below(u64::MAX).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn with_doc(server: &Server) -> Client {
    let mut client = server.client();
    client.post("/api/folders", &json!({"_id": "f"})).expect(201);
    client.post("/api/folders/f/docs", &json!({"_id": "d"})).expect(201);
    client
}

const BYTES: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

/// How many entries a keyspace of the data has; no server runs on it.
fn entries(data: &Path, keyspace: Keyspace) -> usize {
    let store = crate::common::embedded(data).unwrap();
    let mut count = 0;
    let visit = &mut |_: &[u8], _: &[u8]| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    };
    let snapshot = store.snapshot().unwrap();
    snapshot.scan(keyspace, &KeyRange::all(), Direction::Forward, usize::MAX, visit).unwrap();
    count
}

/// Begins to send a file, and sends only so much of it.
fn begin(server: &Server, length: usize, sent: &[u8]) -> std::io::BufReader<std::net::TcpStream> {
    let mut connection = Client::connect(&server.address).unwrap();
    let head = format!("PUT {SCAN} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    connection.get_mut().write_all(sent).unwrap();
    connection
}

/// Waits until the metrics have this line.
#[track_caller]
fn until_told(client: &mut Client, line: &str) {
    let begun = std::time::Instant::now();
    loop {
        let metrics = client.get("/metrics").text();
        if metrics.lines().any(|it| it == line) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no {line} in {metrics}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_large_file_goes_in_and_out_as_a_whole_and_in_parts() {
    const SIZE: usize = (12 << 20) + 1;
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = with_doc(&server);
    for (seed, status) in [(1, 201), (2, 204)] {
        let whole = content(SIZE, seed);
        client.request("PUT", SCAN, &BYTES, &whole).expect_status(status);
        let reply = client.get(SCAN);
        assert_eq!(reply.header("content-length"), Some(&*SIZE.to_string()));
        assert!(reply.body == whole, "other bytes came back");
        let part = client.request("GET", SCAN, &[("range", "bytes=262100-1048700")], b"");
        assert_eq!((part.status, part.body == whole[262_100..=1_048_700]), (206, true));
        let last = client.request("GET", SCAN, &[("range", "bytes=-1")], b"");
        assert_eq!((last.status, &last.body[..]), (206, &whole[SIZE - 1..]));
    }
    assert_eq!(client.read("/api/folders/f")["bytes"], json!(SIZE));
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn an_upload_that_a_kill_cuts_short_leaves_nothing_behind_the_next_start() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = with_doc(&server);
    client.request("PUT", SCAN, &BYTES, b"first").expect_status(201);
    let before = commits(&mut client);
    let connection = begin(&server, 50 << 20, &content(6 << 20, 1));
    // Some of it is in the store by then.
    until_commits(&mut client, before + 3);
    server.kill();
    drop((connection, client));
    let server = place.serve();
    assert_eq!(server.client().get(SCAN).text(), "first");
    server.stop();
    assert_eq!(entries(&place.data(), keys::BLOB), 1);
    place.check();
}

/// Waits until bodies take room.
#[track_caller]
fn until_room_is_taken(client: &mut Client) {
    let begun = std::time::Instant::now();
    while client.get("/metrics").text().lines().any(|it| it == "corollary_http_bodies_bytes 0.0") {
        assert!(begun.elapsed() < PATIENCE, "nobody sends anything");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Batches that the store has committed.
fn commits(client: &mut Client) -> u64 {
    let metrics = client.get("/metrics").text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("corollary_store_commits_total "));
    line.unwrap().parse().unwrap()
}

/// Waits until the store has committed so many batches.
#[track_caller]
fn until_commits(client: &mut Client, wanted: u64) {
    let begun = std::time::Instant::now();
    while commits(client) < wanted {
        assert!(begun.elapsed() < PATIENCE, "nothing comes into the store");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let place = Place::new(SCHEMA);
    let mut server = place.serve();
    with_doc(&server);
    for round in 0..4 {
        let whole = content(700_000 + round, round as u64);
        let reply = server.client().request("PUT", SCAN, &BYTES, &whole);
        assert!(matches!(reply.status, 201 | 204), "{}", reply.text());
        server.kill();
        server = place.serve();
        assert!(server.client().get(SCAN).body == whole, "other bytes are there in round {round}");
    }
    server.stop();
    place.check();
}

#[test]
fn who_stops_sending_leaves_nothing_and_who_is_slow_is_told() {
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &["--request-seconds", "2"]);
    let mut client = with_doc(&server);
    let connection = begin(&server, 50 << 20, &content(3 << 20, 1));
    until_room_is_taken(&mut client);
    drop(connection);
    until_told(&mut client, "corollary_http_bodies_bytes 0.0");
    let mut connection = begin(&server, 3 << 20, &content(2 << 20, 1));
    let mut told = String::new();
    connection.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 408") && told.contains("body-time"), "{told}");
    client.get(SCAN).expect_status(404);
    drop(client);
    server.stop();
    assert_eq!(entries(&place.data(), keys::BLOB), 0);
    place.check();
}

#[test]
fn limits_of_the_server_and_of_the_field_hold_whether_the_length_is_told_or_not() {
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &["--max-file-mib", "1", "--max-bodies-mib", "2"]);
    let mut client = with_doc(&server);
    client.post("/api/kepts", &json!({"_id": "k"})).expect(201);
    let large = content((1 << 20) + 1, 1);
    let told = client.request("PUT", SCAN, &BYTES, &large).problem(413, "file-limit");
    assert!(told["detail"].as_str().unwrap().contains("1048576"), "{told}");
    client.request("PUT", SCAN, &BYTES, &large[1..]).expect_status(201);
    let told = client.request("PUT", "/api/kepts/k/scan", &BYTES, &large[..1_025]).problem(413, "file-limit");
    assert_eq!(told["detail"], "`scan` has at most 1024 bytes");
    // Without a length it is known when it comes.
    let mut connection = Client::connect(&server.address).unwrap();
    let head = format!(
        "PUT {SCAN} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    for part in large.chunks(100_000) {
        let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
        chunk.extend_from_slice(part);
        chunk.extend_from_slice(b"\r\n");
        connection.get_mut().write_all(&chunk).unwrap();
    }
    connection.get_mut().write_all(b"0\r\n\r\n").unwrap();
    let mut told = String::new();
    connection.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 413") && told.contains("file-limit"), "{told}");
    // Two that are under way take the room of all.
    let first = begin(&server, 1 << 20, b"");
    let second = begin(&server, 1 << 20, b"");
    until_told(&mut client, "corollary_http_bodies_bytes 2097152.0");
    client.request("PUT", SCAN, &BYTES, b"x").problem(503, "busy");
    drop((first, second));
    until_told(&mut client, "corollary_http_bodies_bytes 0.0");
    client.request("PUT", SCAN, &BYTES, b"x").expect_status(204);
    until_told(&mut client, "corollary_files 1.0");
    until_told(&mut client, "corollary_files_stored_bytes 1.0");
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn a_watch_tells_of_a_file_and_of_what_follows() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = with_doc(&server);
    let mut docs = server.watch("/api/folders/f/docs?watch=true");
    let mut folders = server.watch("/api/folders?watch=true");
    docs.synced();
    folders.synced();
    client.request("PUT", SCAN, &[("content-type", "text/plain")], b"hello").expect_status(201);
    let event = docs.next();
    assert_eq!(event.kind(), "modified");
    let told = &event.data["resource"]["scan"];
    assert_eq!(
        (&told["_self"], &told["size"], &told["type"]),
        (&json!(SCAN), &json!(5), &json!("text/plain"))
    );
    assert_eq!(event.data["changed"], json!(["scan"]));
    assert_eq!(folders.next().data["resource"]["bytes"], json!(5));
    client.delete(SCAN).expect_status(204);
    let event = docs.next();
    assert_eq!((&event.data["resource"].get("scan"), &event.data["old"]["scan"]["size"]), (&None, &json!(5)));
    assert_eq!(folders.next().data["resource"]["bytes"], json!(0));
}

#[test]
fn servers_over_one_database_have_the_files_of_each_other() {
    let database = Database::new();
    let place = |database: &Arc<Database>| {
        let mut place = Place::new(SCHEMA);
        place.store = Some(database.url());
        place
    };
    let (one, other) = (place(&database), place(&database));
    let (a, b) = (one.serve(), other.serve());
    let mut to_a = with_doc(&a);
    let mut to_b = b.client();
    for round in 0..6 {
        let whole = content(400_000 + round, round as u64);
        let (from, to) = if round % 2 == 0 { (&mut to_a, &mut to_b) } else { (&mut to_b, &mut to_a) };
        let sent = from.request("PUT", SCAN, &BYTES, &whole);
        assert!(matches!(sent.status, 201 | 204), "{}", sent.text());
        let revision = sent.header("corollary-revision").unwrap().to_string();
        let got = to.request("GET", SCAN, &[("corollary-at-least", &revision)], b"");
        assert!(got.body == whole, "{} of round {round}", got.status);
    }
    // Both at once, over and over: whoever is last has it, as a whole.
    let (first, second) = (content(300_000, 91), content(300_000, 92));
    std::thread::scope(|scope| {
        for (address, bytes) in [(&a.address, &first), (&b.address, &second)] {
            scope.spawn(move || {
                let mut client = Client::new(address);
                (0..5).for_each(|_| drop(client.request("PUT", SCAN, &BYTES, bytes).expect_status(204)));
            });
        }
    });
    let last = to_a.get(SCAN).body;
    assert!(last == first || last == second, "it is of neither");
    drop((to_a, to_b));
    a.stop();
    b.stop();
    one.check();
}

#[test]
fn a_backup_has_the_files() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = with_doc(&server);
    let whole = content(900_000, 5);
    client.request("PUT", SCAN, &BYTES, &whole).expect_status(201);
    let file = place.path("all.backup");
    let backup = client.get("/api/_backup");
    fs::write(&file, &backup.body).unwrap();
    drop(client);
    server.stop();
    let other = Place::new(SCHEMA);
    let data = other.data();
    let restored =
        corollary(&["restore", file.to_str().unwrap(), "--data", data.to_str().unwrap()]).output().unwrap();
    assert!(restored.status.success(), "{}", stderr(&restored));
    other.check();
    let server = other.serve();
    assert!(server.client().get(SCAN).body == whole, "other bytes were restored");
}

#[test]
fn a_check_tells_of_bytes_that_are_left_over_and_mends_them_while_a_server_runs_or_none_does() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    with_doc(&server).request("PUT", SCAN, &BYTES, b"hello").expect_status(201);
    server.stop();
    let tamper = || {
        let store = crate::common::embedded(&place.data()).unwrap();
        let mut batch = Batch::new();
        batch.put(keys::BLOB, [7; 20], [1; 100]);
        store.commit(&batch).unwrap();
    };
    tamper();
    let output = place.run(&["check"]);
    assert!(stdout(&output).contains("bytes that belong to no file"), "{}", stdout(&output));
    assert!(!output.status.success());
    let output = place.run(&["check", "--repair"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    place.check();
    tamper();
    let server = place.serve();
    let mut client = server.client();
    let told = client.request("POST", "/api/_check", &[], b"{\"repair\": true}").text();
    assert!(told.contains("\"mended_rows\":{\"files\":1}"), "{told}");
    assert_eq!(client.get(SCAN).text(), "hello");
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn an_export_leaves_files_out_and_says_so() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/kepts", &json!({"_id": "k"})).expect(201);
    client.request("PUT", "/api/kepts/k/scan", &BYTES, b"hello").expect_status(201);
    drop(client);
    server.stop();
    let output = place.run(&["export", "Kept"]);
    assert_eq!(stdout(&output), "{\"_id\":\"k\"}\n", "{}", stderr(&output));
    assert!(stderr(&output).contains("a backup has them"), "{}", stderr(&output));
}
