//! Lists that are told line by line, on the real binary: however many they are, whoever reads them, and whatever happens
//! meanwhile. What they tell is in `tests/cases/lines.case`.

use std::io::{self, BufReader};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::client::{read_chunk, read_head, send};
use crate::common::*;

const SCHEMA: &str = r#"
type Team in teams { name: str, members: inverse Person.team, size := count(self.members) }
type Person in people { name: str required, team: link Team, note: str, tasks: collection Task, open := count(self.tasks) }
type Task { what: str }
"#;

/// Resources, and bytes of each, which no buffers between here and the server hold together.
const MANY: usize = 1_200;
const NOTE_BYTES: usize = 16_384;

const LINES: (&str, &str) = ("accept", "application/x-ndjson");

fn fill(client: &mut Client) {
    let note = "n".repeat(NOTE_BYTES);
    for first in (0..MANY).step_by(300) {
        let people =
            (first..first + 300).map(|n| json!({"_id": format!("p{n:05}"), "name": "x", "note": note}));
        client.post("/api/people", &people.collect()).expect(201);
    }
}

/// Asks for a list, and reads the head of the reply.
fn begin(server: &Server, path: &str) -> (BufReader<TcpStream>, Reply) {
    let mut connection = Client::connect(&server.address).unwrap();
    send(connection.get_mut(), "GET", path, &[LINES], b"").unwrap();
    let head = read_head(&mut connection).unwrap();
    (connection, head)
}

/// Reads to the end, if it comes.
fn rest(connection: &mut BufReader<TcpStream>, mut body: Vec<u8>) -> (Vec<u8>, io::Result<()>) {
    loop {
        match read_chunk(connection) {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, Ok(())),
            Err(error) => return (body, Err(error)),
        }
    }
}

fn lines(body: &[u8]) -> Vec<Json> {
    String::from_utf8_lossy(body).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Waits until a list is told again.
#[track_caller]
fn until_there_is_room(server: &Server) {
    let begun = Instant::now();
    loop {
        let reply = server.client().request("GET", "/api/teams", &[LINES], b"");
        if reply.status == 200 {
            return;
        }
        reply.problem(503, "busy");
        assert!(begun.elapsed() < PATIENCE, "there is no room yet");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_stalls_or_goes_away_is_not_waited_for() {
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &["--max-lists", "1", "--stall-seconds", "2"]);
    fill(&mut server.client());
    let (mut stalled, head) = begin(&server, "/api/people");
    assert_eq!((head.status, head.header("corollary-revision")), (200, Some("4")));
    let first = read_chunk(&mut stalled).unwrap().unwrap();
    let busy = server.client().request("GET", "/api/teams", &[LINES], b"").problem(503, "busy");
    assert!(busy["detail"].as_str().unwrap().starts_with("1 lists are being told"), "{busy}");
    until_there_is_room(&server);
    // What was on the way comes, and no end: it once came, as if that were all.
    let (body, end) = rest(&mut stalled, first);
    assert!(end.is_err());
    let whole = String::from_utf8_lossy(&body).lines().count();
    assert!(whole < MANY, "{whole}");

    let (gone, _) = begin(&server, "/api/people");
    drop(gone);
    until_there_is_room(&server);
    server.stop();
}

#[test]
fn a_list_is_of_one_state_whatever_happens_meanwhile() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    fill(&mut client);
    let (mut slow, head) =
        begin(&server, "/api/people?filter=note != 'changed'&fields=_facts".replace(' ', "%20").as_str());
    assert_eq!(head.status, 200);
    let first = read_chunk(&mut slow).unwrap().unwrap();
    client.patch("/api/people/p01199", &json!({"note": "changed"})).expect(200);
    client.delete("/api/people/p01198").expect(204);
    // Nor does another schema wait for who reads.
    let schema = SCHEMA.replace("open := count(self.tasks)", "more: int");
    client.request("PUT", "/api/_schema", &[("content-type", "text/plain")], schema.as_bytes()).expect(200);
    let (body, end) = rest(&mut slow, first);
    end.unwrap();
    let told = lines(&body);
    assert_eq!(told.len(), MANY);
    for (n, line) in told.iter().enumerate() {
        assert_eq!((line["_id"].as_str(), line["open"].is_null()), (Some(&*format!("p{n:05}")), true));
        assert_eq!(line["note"].as_str().map(str::len), Some(NOTE_BYTES), "{n}");
    }
    server.stop();
}

#[test]
fn what_goes_wrong_behind_the_first_line_is_told_by_the_last() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let people = (0..40).map(|n| json!({"_id": format!("p{n:02}"), "name": "x"}));
    client.post("/api/people", &people.collect()).expect(201);
    let tasks = (0..1_001).map(|n| json!({"_id": format!("t{n:04}")}));
    client.post("/api/people/p39/tasks", &tasks.collect()).expect(201);
    let (mut broken, head) = begin(&server, "/api/people?expand=tasks");
    assert_eq!(head.status, 200);
    let (body, end) = rest(&mut broken, Vec::new());
    assert!(end.is_err(), "the end of a whole list");
    let told = lines(&body);
    let (last, before) = told.split_last().unwrap();
    assert_eq!(
        (last["error"]["code"].as_str(), last["error"]["status"].as_u64()),
        (Some("expand-limit"), Some(400))
    );
    assert!(!before.is_empty() && before.len() < 40);
    assert!(before.iter().enumerate().all(|(n, line)| line["_id"] == format!("p{n:02}")));
    server.stop();
}

/// A chunk whose resources expand more together than one reply may hold was refused, though a line is a reply of its own.
#[test]
fn lines_that_expand_much_go_a_few_at_a_time() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let people = (0..30).map(|n| json!({"_id": format!("p{n:02}"), "name": "x"}));
    client.post("/api/people", &people.collect()).expect(201);
    for n in 0..30 {
        let tasks = (0..800).map(|at| json!({"_id": format!("t{n:02}{at:03}")}));
        client.post(&format!("/api/people/p{n:02}/tasks"), &tasks.collect()).expect(201);
    }
    let reply = client.request("GET", "/api/people?expand=tasks", &[LINES], b"");
    let told = lines(&reply.body);
    assert_eq!(told.len(), 30);
    for (n, line) in told.iter().enumerate() {
        let tasks = line["tasks"].as_array().unwrap();
        assert_eq!((tasks.len(), line["open"].as_u64()), (800, Some(800)), "{n}");
        assert_eq!(tasks[799]["_id"], format!("t{n:02}799"));
    }
    server.stop();
}

#[test]
fn a_collection_goes_from_one_server_to_another() {
    let place = Place::new(SCHEMA);
    let (from, other) = (place.serve(), Place::new(SCHEMA));
    let (to, mut there) = (other.serve(), from.client());
    let teams: Json = (0..30).map(|n| json!({"_id": format!("t{n}"), "name": "é\n\"x\""})).collect();
    there.post("/api/teams", &teams).expect(201);
    let people = (0..3_000).map(|n| json!({"name": format!("n{n}"), "team": format!("t{}", n % 30)}));
    there.post("/api/people", &people.collect()).expect(201);
    let mut here = to.client();
    for path in ["/api/teams", "/api/people"] {
        let all = there.request("GET", &format!("{path}?fields=_facts"), &[LINES], b"");
        assert_eq!(all.status, 200);
        here.request("POST", path, &[("content-type", "application/x-ndjson")], &all.body).expect(201);
    }
    for path in ["/api/teams", "/api/people"] {
        let plain = |body: &[u8]| {
            let mut all = lines(body);
            all.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("_revision")));
            all
        };
        let there = plain(&there.request("GET", path, &[LINES], b"").body);
        assert_eq!(plain(&here.request("GET", path, &[LINES], b"").body), there);
        assert_eq!(there.len(), if path == "/api/teams" { 30 } else { 3_000 });
    }
    from.stop();
    to.stop();
    other.check();
}
