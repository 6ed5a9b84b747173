//! What stands around the API, on the real binary: request ids, the access log, time and memory limits, compression,
//! other origins, metrics, the reference page.

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use crate::common::client::{read_chunk, read_head, send};
use crate::common::*;

const SCHEMA: &str = r#"
type Firm in firms { name: str required, people: inverse Person.firm, size := count(self.people) }
type Person in people { name: str required, firm: link Firm, note: str }
"#;

fn place() -> Place {
    Place::new(SCHEMA)
}

#[test]
fn each_request_has_an_id() {
    let place = place();
    let server = place.serve();
    let mut client = server.client();
    let given = client.request("GET", "/api/firms", &[("x-request-id", "abc-1")], b"");
    assert_eq!(given.header("x-request-id"), Some("abc-1"));
    let long = "x".repeat(129);
    let mut ids: Vec<String> = [None, Some("with space"), Some(long.as_str()), None]
        .into_iter()
        .map(|id| {
            let headers: Vec<(&str, &str)> = id.map(|id| ("x-request-id", id)).into_iter().collect();
            let reply = client.request("GET", "/api/nowhere", &headers, b"");
            reply.problem(404, "not-found");
            let made = reply.header("x-request-id").unwrap().to_string();
            assert_ne!(Some(made.as_str()), id);
            made
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[test]
fn what_a_request_took_is_told_step_by_step() {
    let place = place();
    let server = Server::start(&place, &["--log", "warn,spans=debug", "--log-form", "json"]);
    let mut client = server.client();
    let headers = [("x-request-id", "made"), ("content-type", "application/json")];
    client.request("POST", "/api/firms", &headers, br#"{"_id":"f","name":"one"}"#).expect(201);
    client.request("GET", "/api/firms?filter=size%3D0", &[("x-request-id", "read")], b"").expect(200);
    let lines = [("x-request-id", "told"), ("accept", "application/x-ndjson")];
    assert_eq!(client.request("GET", "/api/firms", &lines, b"").status, 200);
    let steps = |id: &str, said: &str| {
        let lines = said.lines().map(|line| serde_json::from_str::<Json>(line).expect(line));
        // From the outside in, the step itself last.
        let scopes = lines.map(|line| {
            assert!(line["message"] == "close" && line["time.busy"].is_string(), "{line}");
            let above = line["spans"].as_array().cloned().unwrap_or_default();
            above.into_iter().chain([line["span"].clone()]).collect::<Vec<Json>>()
        });
        let mut steps: Vec<String> = scopes
            .filter(|scope| scope[0]["id"] == id)
            .map(|scope| {
                scope.iter().map(|span| span["name"].as_str().unwrap()).collect::<Vec<_>>().join("/")
            })
            .collect();
        steps.sort();
        steps.dedup();
        steps
    };
    let expected = [
        (
            "made",
            &[
                "request",
                "request/group",
                "request/group/commit",
                "request/group/commit/sync",
                "request/group/transaction",
                "request/group/transaction/evaluate",
                "request/group/transaction/write",
                "request/read",
            ][..],
        ),
        ("read", &["request", "request/read", "request/read/plan", "request/read/walk"]),
        ("told", &["request", "request/read", "request/read/plan"]),
    ];
    // The thread that writes them may be behind.
    let begun = Instant::now();
    while expected.iter().any(|(id, expected)| steps(id, &server.said()) != **expected) {
        if begun.elapsed() > PATIENCE {
            panic!("{}", server.said());
        }
        sleep(Duration::from_millis(20));
    }
    server.stop();
}

#[test]
fn the_access_log_has_a_line_for_each_request() {
    let place = place();
    let server = Server::start(
        &place,
        &["--log", "warn,access=info", "--log-form", "json", "--actor-header", "X-Who"],
    );
    let mut client = server.client();
    client.post("/api/firms", &json!({"_id": "f", "name": "one"})).expect(201);
    client
        .request("GET", "/api/firms/f?fields=name", &[("x-request-id", "mine"), ("x-who", "Åse")], b"")
        .expect(200);
    client.get("/api/firms/g").problem(404, "not-found");
    // The thread that writes them may be a moment behind.
    let mut lines = Vec::new();
    for _ in 0..400 {
        lines = server.said().lines().map(str::to_string).collect();
        if lines.len() == 3 {
            break;
        }
        sleep(Duration::from_millis(10));
    }
    let lines: Vec<Json> = lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (line["method"].as_str(), line["path"].as_str(), line["query"].as_str(), line["status"].as_u64())
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some("POST"), Some("/api/firms"), None, Some(201)),
            (Some("GET"), Some("/api/firms/f"), Some("fields=name"), Some(200)),
            (Some("GET"), Some("/api/firms/g"), None, Some(404)),
        ]
    );
    assert_eq!(lines[1]["id"], "mine");
    let actors: Vec<_> = lines.iter().map(|line| line["actor"].as_str()).collect();
    assert_eq!(actors, [None, Some("Åse"), None]);
    assert!(
        lines.iter().all(|line| line["us"].is_u64() && line["peer"].as_str().unwrap().starts_with("127."))
    );
}

#[test]
fn without_being_asked_it_logs_no_request() {
    let place = place();
    let server = place.serve();
    server.client().get("/api/firms").expect(200);
    assert_eq!(server.said(), "");
    server.stop();
    let error = Server::try_start(&place, &["--log", "access=loud"]).err().unwrap();
    assert!(error.contains("`access=loud` is no filter"), "{error}");
}

/// The value of a line of the metrics.
#[track_caller]
fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// A name of a metric, without what a family adds to it.
fn family(name: &str) -> &str {
    let ends = ["_total", "_bucket", "_sum", "_count"];
    ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

#[test]
fn the_dashboard_shows_all_that_is_told_and_nothing_else() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let dashboard: Json = serde_json::from_slice(&std::fs::read(root.join("grafana.json")).unwrap()).unwrap();
    let targets =
        dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array());
    let shown: BTreeSet<String> = targets
        .flatten()
        .flat_map(|target| target["expr"].as_str().unwrap().split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter_map(|word| word.strip_prefix("corollary_"))
        .map(|name| family(name).to_string())
        .collect();
    let place = place();
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/firms", &json!({"name": "one"})).expect(201);
    let text = client.get("/metrics").text();
    let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE corollary_")?.split(' ').next());
    let told: BTreeSet<String> = told.map(String::from).collect();
    assert!(told.len() > 40, "{told:?}");
    let missing: Vec<_> = told.difference(&shown).collect();
    assert!(missing.is_empty(), "the dashboard does not show {missing:?}");
    // What comes with hooks and tables in SQL alone is described beside the others.
    let described = std::fs::read_to_string(root.join("operations.md")).unwrap();
    let unknown = shown.difference(&told).filter(|name| !described.contains(&format!("`{name}_total`")));
    assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new());
    server.stop();
}

#[test]
fn metrics_tell_what_happened() {
    let place = place();
    let server = Server::start(&place, &["--update-budget", "3"]);
    let mut client = server.client();
    client.post("/api/firms", &json!({"_id": "f", "name": "one"})).expect(201);
    let people: Vec<Json> =
        (0..5).map(|at| json!({"_id": format!("p{at}"), "name": "x", "firm": "f"})).collect();
    client.post("/api/people", &Json::Array(people)).expect(201);
    // It changes nothing.
    client.patch("/api/firms/f", &json!({"name": "one"})).expect(200);
    client.post("/api/people", &json!({"firm": "nobody"})).problem(422, "required");
    client.post("/api/people", &json!({"name": "y", "firm": "nobody"})).problem(422, "link");
    for _ in 0..3 {
        client.get("/api/people/p1").expect(200);
    }
    client.get("/somewhere/else").problem(404, "not-found");
    let reply = client.get("/metrics");
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"));
    let here = |name: &str| metric(&text, &format!("corollary_{name}"));
    assert_eq!(here("commits_total"), 2.0);
    assert_eq!(here("transactions_total"), 4.0, "what is refused before the executor is none");
    assert_eq!(here("transactions_refused_total"), 1.0);
    assert_eq!(here("revision"), 2.0);
    assert_eq!(here("group_transactions_count"), 4.0);
    assert_eq!(here("group_seconds_count"), 4.0);
    assert!(here("evaluations_total") >= 5.0 && here("derived_values_changed_total") >= 1.0, "{text}");
    assert_eq!(here("http_requests_total{method=\"GET\",collection=\"people\",status=\"200\"}"), 3.0);
    assert_eq!(here("http_requests_total{method=\"POST\",collection=\"people\",status=\"422\"}"), 2.0);
    assert_eq!(here("http_requests_total{method=\"GET\",collection=\"other\",status=\"404\"}"), 1.0);
    assert_eq!(here("http_request_seconds_count{method=\"GET\",collection=\"people\"}"), 3.0);
    assert_eq!(here("http_requests_running"), 1.0, "this one");
    assert_eq!(here("http_connections"), 1.0);
    assert_eq!(here("watches"), 0.0);
    assert_eq!(here("queue_transactions"), 0.0);
    assert_eq!(here("updates{state=\"running\"}"), 0.0);
    assert!(here("cache_hits_total") >= 3.0 && here("cache_documents") >= 6.0 && here("cache_bytes") > 0.0);
    assert_eq!(
        here("store_commits_total"),
        metric(&client.get("/metrics").text(), "corollary_store_commits_total")
    );
    let _watch = server.watch("/api/people?watch=true");
    assert_eq!(metric(&client.get("/metrics").text(), "corollary_watches"), 1.0);
}

#[test]
fn long_replies_are_compressed_for_those_who_take_it() {
    let place = place();
    let server = place.serve();
    let mut client = server.client();
    let note = "a long note ".repeat(300);
    client.post("/api/people", &json!({"_id": "p", "name": "Ann", "note": note})).expect(201);
    let plain = client.get("/api/people/p");
    assert_eq!((plain.header("content-encoding"), plain.header("etag")), (None, Some("\"1\"")));
    let packed = client.request("GET", "/api/people/p", &[("accept-encoding", "gzip")], b"");
    assert_eq!((packed.header("content-encoding"), packed.header("etag")), (Some("gzip"), Some("W/\"1\"")));
    assert!(packed.header("vary").is_some_and(|vary| vary.contains("accept-encoding")));
    assert!(packed.body.len() < 300, "{}", packed.body.len());
    let mut read = Vec::new();
    GzDecoder::new(&packed.body[..]).read_to_end(&mut read).unwrap();
    assert_eq!(read, plain.body);
    // The tag of what was compressed is one of the resource.
    let gzip = ("accept-encoding", "gzip");
    let tag = packed.header("etag").unwrap().to_string();
    assert_eq!(client.request("GET", "/api/people/p", &[gzip, ("if-none-match", &tag)], b"").status, 304);
    let written = client.with("PATCH", "/api/people/p", &[gzip, ("if-match", &tag)], &json!({"name": "Bob"}));
    assert_eq!(written.status, 200);
    client
        .with("PATCH", "/api/people/p", &[gzip, ("if-match", &tag)], &json!({"name": "Cid"}))
        .problem(412, "precondition");
    // A short one is not, and a watch neither.
    client.post("/api/people", &json!({"_id": "q", "name": "Ann"})).expect(201);
    let short = client.request("GET", "/api/people/q", &[gzip], b"");
    assert_eq!(short.header("content-encoding"), None);
    let mut watch = Client::connect(&server.address).unwrap();
    let headers = [gzip, ("accept", "application/x-ndjson")];
    send(watch.get_mut(), "GET", "/api/people?watch=true", &headers, b"").unwrap();
    let head = read_head(&mut watch).unwrap();
    assert_eq!((head.status, head.header("content-encoding")), (200, None));
    assert!(read_chunk(&mut watch).unwrap().unwrap().starts_with(b"{\"type\":\"added\""));
}

#[test]
fn pages_of_named_origins_may_use_the_api() {
    let place = place();
    let server = Server::start(&place, &["--cors", "https://a.example", "--cors", "http://b.example:8080"]);
    let mut client = server.client();
    let asked = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "content-type,if-match"),
    ];
    let allowed = client.request("OPTIONS", "/api/firms/f", &asked, b"");
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://a.example"));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("content-type,if-match"));
    let origin = |origin| [("origin", origin)];
    let seen = client.request("GET", "/api/firms", &origin("http://b.example:8080"), b"");
    assert_eq!(seen.header("access-control-allow-origin"), Some("http://b.example:8080"));
    assert!(seen.header("access-control-expose-headers").unwrap().contains("etag"));
    let other = client.request("GET", "/api/firms", &origin("https://c.example"), b"");
    assert_eq!(other.header("access-control-allow-origin"), None);
    let error = run(&["serve", "--cors", "a.example"]);
    assert!(stderr(&error).contains("`a.example` is no origin"), "{}", stderr(&error));
    // Without being told, none.
    let closed =
        place_and_server().1.client().request("GET", "/api/firms", &origin("https://a.example"), b"");
    assert_eq!(closed.header("access-control-allow-origin"), None);
}

fn place_and_server() -> (Place, Server) {
    let place = place();
    let server = place.serve();
    (place, server)
}

#[test]
fn a_reply_does_not_take_longer_than_its_time() {
    let place = place();
    let server = Server::start(&place, &["--request-seconds", "1"]);
    let mut client = server.client();
    // A revision that does not come is waited for, for longer than that.
    let late = client.request("GET", "/api/firms", &[("corollary-at-least", "99")], b"");
    late.problem(504, "time-limit");
    // A body that does not come.
    let mut slow = Client::connect(&server.address).unwrap();
    let head = b"POST /api/firms HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    slow.get_mut().write_all(head).unwrap();
    assert_eq!(read_head(&mut slow).unwrap().status, 408);
    // A watch is none: its reply has begun.
    let mut watch = server.watch("/api/firms?watch=true");
    assert_eq!(watch.next().kind(), "synced");
    sleep(Duration::from_millis(1_200));
    client.post("/api/firms", &json!({"_id": "f", "name": "one"})).expect(201);
    assert_eq!(watch.next().kind(), "added");
}

#[test]
fn bodies_take_no_more_memory_than_they_may_together() {
    let place = place();
    let server = Server::start(&place, &["--max-bodies-mib", "1"]);
    let mut client = server.client();
    // One that has sent nearly all of its mebibyte.
    let mut large = Client::connect(&server.address).unwrap();
    let body = json!({"_id": "big", "name": "x".repeat(1_000_000)}).to_string();
    let (early, late) = body.as_bytes().split_at(body.len() - 10);
    let head = format!(
        "POST /api/firms HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    large.get_mut().write_all(head.as_bytes()).unwrap();
    large.get_mut().write_all(early).unwrap();
    let second = json!({"_id": "more", "name": "x".repeat(200_000)});
    let held = |client: &mut Client| metric(&client.get("/metrics").text(), "corollary_http_bodies_bytes");
    assert!((0..2_000).any(|_| held(&mut client) > 900_000.0), "the body was not read");
    let refused = client.post("/api/firms", &second);
    refused.problem(503, "busy");
    assert_eq!(refused.header("retry-after"), Some("1"));
    client.get("/api/firms").expect(200);
    large.get_mut().write_all(late).unwrap();
    assert_eq!(read_head(&mut large).unwrap().status, 201);
    client.post("/api/firms", &second).expect(201);
    assert_eq!(held(&mut client), 0.0);
}

#[test]
fn connections_past_the_limit_wait_for_those_before() {
    let place = place();
    let server = Server::start(&place, &["--max-connections", "2"]);
    let ask = |connection: &mut BufReader<std::net::TcpStream>| {
        send(connection.get_mut(), "GET", "/healthz", &[], b"").unwrap()
    };
    let mut open: Vec<_> = (0..3).map(|_| Client::connect(&server.address).unwrap()).collect();
    open.iter_mut().for_each(ask);
    let mut last = open.pop().unwrap();
    for connection in &mut open {
        assert_eq!(read_head(connection).unwrap().status, 200);
    }
    last.get_ref().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(read_head(&mut last).is_err(), "three at a time");
    last.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    open.pop();
    assert_eq!(read_head(&mut last).unwrap().status, 200);
}

#[test]
fn the_reference_page_asks_for_the_document_only() {
    let (_place, server) = place_and_server();
    let reply = server.client().get("/docs");
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").unwrap().starts_with("text/html"));
    assert!(reply.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let page = reply.text();
    assert!(page.contains("fetch(\"/api/_openapi.json\")"));
    assert!(
        !page.contains("http://") && !page.contains("https://") && !page.contains("src="),
        "nothing from elsewhere"
    );
}
