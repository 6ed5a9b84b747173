//! Proxies: what another server has, under a path of this one, with the same statuses, headers and bodies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use crate::common::*;

const PARTNERS: &str = r#"
type Partner in partners {
  name: str required unique
  size: int min 0
  twin: link Partner
}
"#;

fn here(url: &str) -> String {
    format!(
        "type Own in owns {{ name: str }}\n\
         mount friends proxy \"{url}/api/partners\"\n\
         mount seen/friends proxy \"{url}/api/partners\" {{ allow read }}\n"
    )
}

/// Another server, and one that shows it.
fn two() -> ((Place, Server, Client), (Place, Server, Client)) {
    let there = Place::new(PARTNERS);
    let other = there.serve();
    let place = Place::new(&here(&other.url()));
    let server = place.serve();
    let (client, mine) = (other.client(), server.client());
    ((there, other, client), (place, server, mine))
}

/// A server that gives one reply to each connection, and tells what it was asked.
fn plain(replies: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let mut heads = Vec::new();
        for reply in replies {
            let (connection, _) = listener.accept().unwrap();
            heads.push(request(&connection));
            let mut connection = connection;
            connection.write_all(&reply).unwrap();
        }
        heads
    });
    (url, asked)
}

/// The head of a request, its body read.
fn request(connection: &TcpStream) -> String {
    let mut reader = BufReader::new(connection);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&lower);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head.push_str(&String::from_utf8(body).unwrap());
    head
}

fn reply(body: &str, headers: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n\r\n{body}")
        .into_bytes()
}

#[test]
fn what_is_done_through_a_proxy_is_done_there_and_told_as_it_was() {
    let ((_there, _other, mut client), (_place, _server, mut mine)) = two();
    let made = mine.post("/api/friends", &json!({"_id": "p1", "name": "one", "size": 1}));
    assert_eq!(made.header("location"), Some("/api/friends/p1"));
    let made = made.expect(201);
    assert_eq!((&made["_self"], &made["name"]), (&json!("/api/friends/p1"), &json!("one")));
    let there = client.read("/api/partners/p1");
    assert_eq!(there["_self"], "/api/partners/p1");
    let one = mine.get("/api/friends/p1");
    let tag = one.header("etag").unwrap().to_string();
    assert_eq!(Some(tag.as_str()), client.get("/api/partners/p1").header("etag"));
    let json_kind = ("content-type", "application/json");
    let patch = |mine: &mut Client, tag: &str, body: Json| {
        let headers = [json_kind, ("if-match", tag)];
        mine.request("PATCH", "/api/friends/p1", &headers, body.to_string().as_bytes())
    };
    let patched = patch(&mut mine, &tag, json!({"size": 2, "twin": "p1"})).expect(200);
    assert_eq!(patched["twin"], json!({"_id": "p1", "_self": "/api/friends/p1"}));
    patch(&mut mine, &tag, json!({"size": 3})).problem(412, "precondition");
    let wrong = json!({"name": "one", "size": -1});
    let (here, there) = (mine.post("/api/friends", &wrong), client.post("/api/partners", &wrong));
    assert_eq!(here.problem(422, "min"), there.problem(422, "min"));
    mine.get("/api/friends/nobody").problem(404, "not-found");
    mine.put("/api/friends/p1", &json!({"name": "uno"})).expect(200);
    let many: Vec<Json> =
        (2..10).map(|at| json!({"_id": format!("p{at}"), "name": format!("n{at}")})).collect();
    mine.post("/api/friends", &many.into()).expect(201);
    // Pages lead on where they were asked for.
    let page = mine.read("/api/friends?limit=4&order=name&count=true");
    assert_eq!(page["count"], 9);
    let next = page["next"].as_str().unwrap();
    assert!(next.starts_with("/api/friends?"), "{next}");
    assert_eq!(mine.read(next)["results"][0]["_self"], "/api/friends/p6");
    assert_eq!(mine.list("/api/friends").len(), 9);
    let asked = mine
        .post("/api/friends/_query", &json!({"where": {"kv": {"key": "name", "value": "uno"}}}))
        .expect(200);
    assert_eq!(asked["results"][0]["_self"], "/api/friends/p1");
    let lines = mine.request("GET", "/api/friends?limit=2", &[("accept", "application/x-ndjson")], b"");
    assert_eq!(lines.text().matches("\"_self\":\"/api/friends/").count(), 2, "{}", lines.text());
    mine.delete("/api/friends/p9").expect_status(204);
    client.get("/api/partners/p9").problem(404, "not-found");
    // Under another name it is to look at only.
    assert_eq!(mine.read("/api/seen/friends/p1")["_self"], "/api/seen/friends/p1");
    let refused = mine.delete("/api/seen/friends/p1");
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    refused.problem(405, "method-not-allowed");
    mine.post("/api/seen/friends/_delete", &json!({"where": {"expr": "true"}}))
        .problem(405, "method-not-allowed");
    for path in ["/api/friends/../owns", "/api/friends/%2e%2e/owns"] {
        mine.get(path).problem(400, "path");
    }
    let batch = json!([{"method": "DELETE", "path": "/api/friends/p1"}]);
    mine.post("/api/_batch", &batch).problem(404, "not-found");
    assert!(mine.read("/api/_openapi.json")["paths"]["/api/seen/friends"].get("post").is_none());
}

#[test]
fn a_watch_goes_through_a_proxy() {
    let ((_there, _other, mut client), (_place, server, _mine)) = two();
    let mut watch = server.watch("/api/friends?watch=true");
    assert_eq!(watch.told(), "synced");
    client.post("/api/partners", &json!({"_id": "p1", "name": "one"})).expect(201);
    let event = watch.next();
    assert_eq!((event.kind(), event.path()), ("added", "/api/friends/p1"));
    assert_eq!(event.data["resource"]["_self"], "/api/friends/p1");
    client.delete("/api/partners/p1").expect_status(204);
    assert_eq!(watch.told(), "removed /api/friends/p1");
}

#[test]
fn what_is_of_a_connection_or_says_who_asks_stays_behind() {
    let told = reply(
        "{\"a\": 1.50, \"next\": \"/api/partners?page=2\"}",
        "content-type: application/json\r\nset-cookie: a=b\r\nx-more: yes",
    );
    let (url, asked) = plain(vec![told.clone(), told]);
    let schema = format!(
        "mount plain proxy \"{url}/api/partners\"\nmount known proxy \"{url}/api/partners\" {{ forward credentials }}\n"
    );
    let place = Place::new(&schema);
    let server = place.serve();
    let mut client = server.client();
    let headers = [
        ("authorization", "Bearer secret"),
        ("cookie", "who=me"),
        ("x-request-id", "mine-1"),
        ("prefer", "wait=1"),
        ("te", "trailers"),
        ("x-own", "stays"),
        ("connection", "x-own"),
        ("content-type", "text/plain"),
    ];
    let reply = client.request("POST", "/api/plain/a%20b?q=%2F", &headers, b"body");
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, "{\"a\": 1.50, \"next\": \"/api/plain?page=2\"}")
    );
    assert_eq!((reply.header("set-cookie"), reply.header("x-more")), (None, Some("yes")));
    let reply = server.client().request("POST", "/api/known", &headers[..2], b"");
    assert_eq!(reply.header("set-cookie"), Some("a=b"));
    let asked = asked.join().unwrap();
    assert!(asked[0].starts_with("post /api/partners/a%20b?q=%2f http/1.1"), "{}", asked[0]);
    for there in ["x-request-id: mine-1", "prefer: wait=1", "corollary-hops: 1", "content-type: text/plain"] {
        assert!(asked[0].contains(there), "{there}: {}", asked[0]);
    }
    for gone in ["secret", "who=me", "x-own", "te: "] {
        assert!(!asked[0].contains(gone), "{gone}: {}", asked[0]);
    }
    assert!(asked[0].ends_with("body"), "{}", asked[0]);
    assert!(asked[1].contains("bearer secret") && asked[1].contains("who=me"), "{}", asked[1]);
}

#[test]
fn what_is_too_long_to_be_read_goes_through_as_it_is() {
    let long = format!("{{\"_self\": \"/api/partners/x\", \"long\": \"{}\"}}", "x".repeat(9 << 20));
    let text = "{\"_self\": \"/api/partners/x\"}";
    let (url, asked) =
        plain(vec![reply(&long, "content-type: application/json"), reply(text, "content-type: text/plain")]);
    let place = Place::new(&format!("mount plain proxy \"{url}/api/partners\"\n"));
    let server = place.serve();
    let reply = server.client().get("/api/plain/x");
    assert_eq!(reply.status, 200);
    assert!(reply.text() == long, "{} bytes", reply.text().len());
    assert_eq!(server.client().get("/api/plain/x").text(), text);
    asked.join().unwrap();
}

#[test]
fn a_server_that_is_away_or_silent_is_told_of() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // Nobody listens at the first.
    let schema = format!(
        "mount away proxy \"http://127.0.0.9:9\"\nmount silent proxy \"http://{}/api\"\n",
        silent.local_addr().unwrap()
    );
    let place = Place::new(&schema);
    let server = Server::start(&place, &["--proxy-body-mib", "1"]);
    let mut client = server.client();
    let reply = client.get("/api/away/things");
    assert!(reply.header("retry-after").is_some());
    reply.problem(502, "bad-gateway");
    client.request("POST", "/api/silent", &[], &vec![b'x'; (1 << 20) + 1]).problem(413, "body-limit");
    drop(client);
    server.stop();
    let server = Server::start(&place, &["--proxy-seconds", "1"]);
    let reply = server.client().get("/api/silent");
    assert!(reply.header("retry-after").is_some());
    reply.problem(504, "gateway-timeout");
}

#[test]
fn a_proxy_that_leads_back_to_itself_is_stopped() {
    let place = Place::new("type Own in owns { name: str }\n");
    let server = place.serve();
    let mut client = server.client();
    let schema =
        format!("type Own in owns {{ name: str }}\nmount mirror proxy \"{}/api/mirror\"\n", server.url());
    client.request("PUT", "/api/_schema", &[("content-type", "text/plain")], schema.as_bytes()).expect(200);
    client.get("/api/mirror/x").problem(508, "loop");
    client.get("/api/owns").expect(200);
}
